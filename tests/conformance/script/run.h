/* run.h - a script run against a stack behind packetdrill's interface. */
#ifndef TESTS_CONFORMANCE_SCRIPT_RUN_H
#define TESTS_CONFORMANCE_SCRIPT_RUN_H

#include <netinet/in.h>
#include <pthread.h>

#include "common/bytes.h"
#include "tests/conformance/packetdrill/interface.h"
#include "tests/conformance/script/script.h"

enum { RUN_FDS_MAX = 64, RUN_STAMPS_MAX = 256, RUN_PACKET_MAX = 65600 };

enum conn_phase { CONN_NONE, CONN_LISTENING, CONN_CONNECTING, CONN_OPEN };

/* The script's numbers and the stack's own. */
struct run_conn {
    enum conn_phase phase;
    uint16_t local_port;
    uint16_t remote_port;
    bool is_isn_known;
    bool is_isn_stale;   /* the next SYN of the stack begins another connection */
    uint32_t script_isn; /* of the stack */
    uint32_t live_isn;
    uint32_t remote_isn;
    struct {
        uint32_t script;
        uint32_t live;
    } stamps[RUN_STAMPS_MAX]; /* the stack's timestamps */
    int stamp_count;
};

struct run {
    const struct script *script;
    struct packetdrill_interface ifc;
    int domain;     /* of sockets */
    uint8_t family; /* on the wire: 4 or 6 */
    uint8_t local[16];
    uint8_t remote[16];
    int64_t tolerance_us;
    int64_t start_us;  /* live */
    int64_t offset_us; /* script time of the event before */
    bool is_strict;    /* one packet for each line */
    struct run_conn conn;
    struct {
        int script;
        int live;
    } fds[RUN_FDS_MAX];
    int fd_count;
    int tcp_fd; /* live, of the latest TCP socket: for checks */
    uint16_t ports_used;
    struct script_error *error;
    uint8_t packet[RUN_PACKET_MAX];
    uint8_t more[RUN_PACKET_MAX];
    uint32_t join_seq; /* see packet_join(); 0: nothing joined yet */

    /* The call that blocks, on its own thread. */
    pthread_t worker;
    bool has_worker;
    bool is_worker_done; /* atomic by the builtin, release and acquire */
    int worker_tid;
    const struct script_event *worker_event;
    int64_t worker_base_us; /* what its end is relative to */
    struct script_error worker_error;
};

/* Runs 's'. False: see 'e'. */
bool run_script(const struct script *s, void (*init)(const char *, struct packetdrill_interface *),
                struct script_error *e);

int64_t run_now_us(struct run *r);

/* --- packet.c --- */

/* Writes the packet to send, checksums included, to r->packet; 0: see the error. */
size_t packet_build(struct run *r, const struct script_packet *p, int line);
/* Whether 'packet' belongs to the connection under test; ICMP messages only when wanted. */
bool packet_is_ours(const struct run *r, bool wants_icmp, const uint8_t *packet, size_t size);
/* Payload of a TCP or UDP packet. */
size_t packet_payload(const uint8_t *packet, size_t size);
/* Makes '*packet' stand for itself and for 'next', the following segment, as packetdrill does: all
 * but the sequence number and CWR are the later one's. They must be alike, and equally long
 * unless 'is_last'. */
bool packet_join(struct run *r, uint8_t *packet, size_t *size, const uint8_t *next,
                 size_t next_size, bool is_last, int line);
bool packet_check(struct run *r, const struct script_packet *p, const uint8_t *packet, size_t size,
                  size_t payload, int line);
/* As a script would write it. */
void packet_print(const struct run *r, const uint8_t *packet, size_t size, char *out,
                  size_t out_size);

/* --- calls.c --- */

/* Makes the call and checks its result. */
bool call_run(struct run *r, const struct script_event *event, struct script_error *e);
bool code_run(struct run *r, const struct script_event *event);

#endif
