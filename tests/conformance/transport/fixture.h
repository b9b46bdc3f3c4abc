/* fixture.h - a transport under test with its environment, its peer and a clock. */
#ifndef TESTS_CONFORMANCE_TRANSPORT_FIXTURE_H
#define TESTS_CONFORMANCE_TRANSPORT_FIXTURE_H

#include "common/blob.h"
#include "common/counters.h"
#include "common/wheel.h"
#include "drivers/net/transport.h"
#include "tests/conformance/transport/peer.h"

struct fixture;

/* One way to make a transport with something at its other end. */
struct provider {
    const char *name;
    /* Once a process. 0; -ENOTSUP: cannot run here, 'reason' says why. */
    int (*set_up)(const char **reason);
    void (*tear_down)(void);
    /* Fills f->t, f->peer, f->local_addr and f->peer_addr. 0 or -errno. */
    int (*open)(struct fixture *f);
    void (*close)(struct fixture *f);
    /* Moves the clock and whatever is beside f->t; waits a little when 'was_idle'. */
    void (*advance)(struct fixture *f, bool was_idle);
    uint8_t local_ipv6[16]; /* of the transport; zero: none */
};

enum {
    FIXTURE_STREAMS_MAX = 64,
    FIXTURE_QUEUE_BYTES_MAX = 1 << 20,
    FIXTURE_BLOBS = 512,
    FIXTURE_BLOB_BYTES = 16384
};

struct fixture {
    const struct provider *provider;
    struct transport *t;
    struct peer *peer;
    struct transport_env env;
    struct counters counters;
    struct wheel wheel;
    struct blob_home home;
    struct blob_pool *blobs;
    uint64_t now_us;
    uint64_t random_state;
    struct endpoint local_addr; /* of the transport, without port */
    struct endpoint peer_addr;  /* of the peer, without port */
    void *user;                 /* the provider's */
};

extern const struct provider provider_uring;
extern const struct provider provider_sim;
extern const struct provider provider_sim_offload;
extern const struct provider provider_sim_lossy;
extern const struct provider provider_tap;
extern const struct provider provider_af_packet;
extern const struct provider provider_af_xdp;

/* What one stream of the transport under test has seen. */
struct record {
    struct fixture *fixture;
    struct stream *stream; /* NULL once closed */
    uint64_t received_bytes;
    uint64_t received_hash; /* of the received bytes in order */
    unsigned data_count;
    unsigned sendable_count;
    unsigned eof_count;
    unsigned closed_count;
    int error; /* of the closed event */
    bool is_echo;
    bool is_shutdown_on_eof;
    bool is_pause_on_data;
    bool is_abort_on_data;
    bool is_paused;
};

/* A listener that gives each accepted stream the next record. */
struct acceptor {
    struct fixture *fixture;
    struct record records[FIXTURE_STREAMS_MAX * 8];
    unsigned count;        /* of accepted streams */
    struct record initial; /* copied into each */
    bool is_refusing;
};

extern const struct stream_events record_events;
extern const struct listen_events acceptor_events;

void fixture_open(struct fixture *f, const struct provider *provider);
/* Frees everything and checks that no blob is left in use. */
void fixture_close(struct fixture *f);

/* One turn: poll, timers, flush; returns what poll returned. */
unsigned fixture_turn(struct fixture *f);

/* Turns until 'is_done(user)' or five seconds of the fixture's clock have passed: then fails. */
void fixture_run(struct fixture *f, bool (*is_done)(void *user), void *user, const char *what);

/* Turns for 'us' of the fixture's clock: for what must not happen. */
void fixture_idle(struct fixture *f, uint64_t us);

/* The fixture's address with a port that no earlier case has used. */
struct endpoint fixture_local(struct fixture *f);
struct endpoint fixture_peer(struct fixture *f);

/* A blob of 'size' pattern bytes that continue at stream position 'at'. */
struct blob *fixture_blob(struct fixture *f, uint64_t at, uint32_t size);

/* The byte of the test pattern at a position, and the running hash of received bytes. */
static inline uint8_t pattern_at(uint64_t position)
{
    return (uint8_t)((position * 2654435761u) >> 13);
}

static inline uint64_t hash_bytes(uint64_t hash, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = hash * 1099511628211u + data[i] + 1;
    return hash;
}

/* The hash of the first 'size' pattern bytes. */
uint64_t pattern_hash(uint64_t size);

/* Runs all cases over 'provider'; the number of failures, or 77: skipped. */
int cases_run(const struct provider *provider);

#endif
