/* tcp.h - TCP (RFC 9293) as a part of the stack: connections, listeners, TIME_WAIT.
 *
 *   tcp_conn_new()            SYN_SENT, SYN_RECEIVED   in the flow table
 *   established               …                        a passive one is offered to its listener
 *   tcp_conn_close()          CLOSED   out of the flow table, nothing held, no timer;
 *                                      in tcp.closed until the user has had its closed event
 *   tcp_deliver_closed()      FREE     from poll() alone, so a connection's memory stays valid
 *                                      throughout every event and every packet
 *
 * Internal to dataplane/net. */
#ifndef DATAPLANE_NET_TCP_TCP_H
#define DATAPLANE_NET_TCP_TCP_H

#include <stdalign.h>

#include "common/wheel.h"
#include "dataplane/net/flow_table.h"
#include "dataplane/net/pool.h"
#include "dataplane/net/tcp/bbr.h"
#include "dataplane/net/tcp/congestion.h"
#include "dataplane/net/tcp/options.h"
#include "dataplane/net/tcp/range.h"
#include "dataplane/net/tcp/reassembly.h"
#include "dataplane/net/tcp/recovery.h"
#include "dataplane/net/tcp/send_queue.h"
#include "dataplane/net/tcp/seq.h"
#include "dataplane/net/tcp/settings.h"
#include "drivers/net/transport.h"

struct net_rx;
struct net_stack;

enum {
    TCP_LISTENERS_MAX = 16,
    TCP_TEMPLATE_MAX = 96,
    TCP_SOURCE_BUCKETS = 1024,
    TCP_PORT_COUNTERS = 256,
    TCP_RECENT_BITS = 14,
    TCP_MSS_MIN = 48, /* what peers may ask for, as Linux: see tcp_conn_set_mss() */
    TCP_CHALLENGE_INTERVAL_US = 500000 /* between answers that carry no news, as Linux */
};

enum tcp_header_flags {
    TCP_FIN = 1 << 0,
    TCP_SYN = 1 << 1,
    TCP_RST = 1 << 2,
    TCP_PSH = 1 << 3,
    TCP_ACK = 1 << 4,
    TCP_URG = 1 << 5,
    TCP_ECE = 1 << 6, /* RFC 3168 §6.1 */
    TCP_CWR = 1 << 7
};

enum tcp_state {
    TCP_CLOSED,
    TCP_SYN_SENT,
    TCP_SYN_RECEIVED,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_LAST_ACK,
    TCP_TIME_WAIT /* here only while a paused user has yet to take what arrived */
};

enum tcp_conn_flags {
    CONN_HAS_TIMESTAMPS = 1 << 0,
    CONN_HAS_SACK = 1 << 1,
    CONN_IS_PASSIVE = 1 << 2,
    CONN_IS_USERS = 1 << 3,   /* the user knows it: a closed event is due */
    CONN_FIN_QUEUED = 1 << 4, /* shutdown: a FIN follows snd_end */
    CONN_FIN_SENT = 1 << 5,
    CONN_FIN_RECEIVED = 1 << 6, /* rcv_nxt is behind it */
    CONN_EOF_TOLD = 1 << 7,
    CONN_ACK_NOW = 1 << 8,
    CONN_PAUSED = 1 << 9,
    CONN_WAS_ABOVE_LOW = 1 << 10, /* queued_bytes was above low_water_bytes */
    CONN_CWND_LIMITED = 1 << 11,  /* the window held us back since 'usage_end' was sent */
    CONN_SEND_ANYWAY = 1 << 12,   /* override silly-window avoidance once */
    CONN_IS_ORPHAN = 1 << 13,     /* tcp_conn_orphan() */
    CONN_ACK_PUSHED = 1 << 14,    /* a segment that was not full waits for its ACK */
    CONN_TELL_OPEN = 1 << 15,     /* connect(): the first sendable event is due */
    CONN_IS_HALF_OPEN = 1 << 16,
    CONN_HAS_SCALE = 1 << 17,
    CONN_FIN_KNOWN = 1 << 18,     /* a FIN came, perhaps before data that it follows: see fin_seq */
    CONN_IS_PERSISTING = 1 << 19, /* probes a closed window: counted in tcp.persisting */
    CONN_ACK_PUSHED_AGAIN = 1 << 20,
    CONN_PING_PONG = 1 << 21,  /* what arrives is answered by data: ACKs may wait for it */
    CONN_HAS_ECN = 1 << 22,    /* both ends know congestion marks (RFC 3168) */
    CONN_ECN_ASKED = 1 << 23,  /* every SYN that we sent asked for them */
    CONN_ECN_SEEN = 1 << 24,   /* the peer's data came as capable of them */
    CONN_ECE_DUE = 1 << 25,    /* a mark came: every ACK says so until the peer has reacted */
    CONN_CWR_DUE = 1 << 26,    /* the window was reduced: the next new data says so */
    CONN_MORE_COMES = 1 << 27, /* the user said so: the end of what is queued is not pushed */
    CONN_BEGINS = 1 << 28      /* nothing was queued before what is now, and none of it is sent */
};

/* Whether a segment that is not full may go while others are on the way (RFC 9293 §3.7.4). */
enum tcp_nagle {
    TCP_NAGLE_OFF,   /* at once: what streams of media want */
    TCP_NAGLE_ON,    /* not while a small one is unacknowledged (Minshall's variant, as Linux) */
    TCP_NAGLE_CORKED /* not before the retransmission timeout */
};

enum tcp_timer_kind {
    TCP_TIMER_RETRANSMIT, /* and others, one at a time: see enum tcp_pending */
    TCP_TIMER_DELAYED_ACK,
    TCP_TIMER_KEEPALIVE,
    TCP_TIMER_LIFETIME, /* an orphan in FIN_WAIT_2 */
    TCP_TIMER_PACING,   /* the next burst may go */
    TCP_TIMER_KINDS
};

/* What TCP_TIMER_RETRANSMIT waits for. */
enum tcp_pending {
    TCP_PENDING_RETRANSMIT, /* also SYN, zero-window probe, and a neighbour that does not answer */
    TCP_PENDING_REORDER,    /* whether what seems lost is only late (RFC 8985 §6.2 step 5) */
    TCP_PENDING_PROBE       /* tail loss probe (§7.2) */
};

/* The search for a larger path MTU; see path_mtu.c. Zeroed: there is none. */
struct tcp_mtu_search {
    uint16_t low;         /* packets so large pass, ... */
    uint16_t high;        /* ... larger ones do not */
    uint16_t probe_bytes; /* payload of a packet between them that is out; 0: none */
    uint32_t probe_seq;
    uint32_t since_ms; /* modulo 2^32 */
};

/* A connection. Lines are grouped by what touches them: the first at connect, close and for
 * every event; the second and third for each packet sent or received; the rest for each ACK, or
 * rarely. */
struct tcp_conn {
    struct stream stream;

    /* Rarely, for want of a better place. */
    uint32_t retransmits; /* segments, ever */
    uint32_t iss;
    uint32_t irs;
    uint32_t hash;
    int error;                /* for the closed event */
    int soft_error;           /* what ICMP said, should the connection time out */
    uint32_t duplicates_told; /* segments that the peer said it had twice (RFC 2883) */
    uint16_t path_mtu;
    uint16_t peer_mss; /* as its SYN said */
    uint64_t ts_recent_us;
    uint64_t challenged_us;

    /* For each packet, both ways. */
    alignas(64) uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t snd_end; /* behind the last byte queued; a queued FIN has this number */
    uint32_t snd_wnd; /* bytes, from snd_una */
    uint32_t rcv_nxt;
    uint32_t rcv_edge; /* first number that we did not say we take; never moves back */
    uint32_t ts_recent;
    uint32_t ts_offset; /* our timestamps are milliseconds plus this */
    uint32_t flags;     /* enum tcp_conn_flags */
    uint32_t neighbour;
    uint32_t neighbour_generation; /* 0: the template has no destination */
    uint32_t const_sum;            /* of what is the same in every segment, pseudo-header too */
    uint16_t mss;                  /* payload of one packet, options already taken off */
    uint8_t state;                 /* enum tcp_state */
    uint8_t snd_shift;
    uint8_t rcv_shift;
    uint8_t template_size;
    uint16_t ip_sum; /* folded; of the IPv4 header without its total length and ECN field */
    uint64_t last_sent_us;

    /* Ethernet, IP and TCP header with timestamps, ready but for what changes. In the place of the
     * checksum is that of the pseudo-header without its length, as cards want it. */
    alignas(64) uint8_t template[TCP_TEMPLATE_MAX];
    struct send_queue queue;

    /* For each ACK. */
    struct tcp_ranges ranges;
    struct tcp_congestion congestion;
    uint64_t deadlines_us[TCP_TIMER_KINDS]; /* 0: off. The wheel's timer may fire before */
    struct timer timer;
    struct list link;         /* in tcp.output, .beginning or .closed */
    struct list resumed_link; /* in tcp.resumed */
    uint32_t srtt_us;         /* 0: no sample yet */
    uint32_t mdev_us;         /* mean deviation, times 4; likewise its maximum and rttvar */
    uint32_t mdev_max_us;     /* of this round trip */
    uint32_t rttvar_us;
    uint32_t rtt_end; /* the round trip ends when this is acknowledged */
    uint32_t rto_us;
    uint32_t min_rtt_us;      /* of the last five minutes; UINT32_MAX: no sample */
    uint32_t min_rtt_ms;      /* when that was */
    uint32_t usage_end;       /* see CONN_CWND_LIMITED */
    uint32_t usage_bytes_max; /* most in flight, up to usage_end */
    uint32_t delivered_bytes; /* ever, modulo 2^32 */
    uint8_t backoff;          /* of rto_us; a round-trip sample ends it */
    uint8_t pending;          /* enum tcp_pending */
    struct tcp_recovery recovery;
    uint64_t paced_until_us; /* what was sent is paid for until then */
    uint32_t snd_wl1;        /* RFC 9293 §3.10.7.4 */
    uint32_t snd_wl2;
    uint32_t snd_wnd_max; /* largest ever offered */

    /* For each data segment received. */
    struct reassembly reassembly;
    uint32_t delivered; /* next number for the user: rcv_nxt, less what waits while paused */
    uint32_t last_ack;  /* rcv_nxt as last sent (RFC 7323 §4.3) */
    uint32_t fin_seq;
    struct tcp_sack_block duplicate; /* to report (RFC 2883); start == end: none */
    uint32_t unacked_bytes;          /* received since our last ACK */
    uint32_t rcv_mss;                /* largest segment seen */
    uint8_t quick_acks;              /* at the start, every segment is acknowledged at once */

    /* Rarely. */
    uint8_t nagle;       /* enum tcp_nagle */
    uint32_t snd_small;  /* behind the latest segment sent that was not full */
    uint32_t held_bytes; /* delivered, and not consumed by the user yet: taken off the window */
    uint8_t retries;     /* timeouts in a row */
    uint8_t probes;      /* keepalives unanswered */
    uint8_t listener;
    uint64_t received_us;
    const struct tcp_settings *settings;

    /* The receive window, and when to acknowledge: see receive.c. */
    uint32_t rcv_budget_bytes; /* offered, less held_bytes */
    uint32_t rcv_space_bytes;  /* what the budget may grow to */
    uint32_t round_seq;        /* consumed when this round trip began */
    uint32_t round_us;         /* when that was, modulo 2^32 */
    uint32_t round_bytes;      /* consumed in the best round trip so far */
    uint32_t data_received_ms; /* modulo 2^32 */
    uint32_t stalled_ms;       /* since when nothing is acknowledged; with retries > 0 */
    uint16_t ack_delay_ms;     /* 0: no data yet */
    struct tcp_mtu_search search;
};
static_assert(sizeof(struct tcp_conn) <= 832, "an idle viewer's memory (DESIGN.md §6)");

/* What is left of a connection that closed first, RFC 9293 §3.6.1. */
struct tcp_time_wait {
    struct list link; /* in tcp.time_waits, oldest first */
    struct endpoint local;
    struct endpoint peer;
    uint64_t expires_us;
    uint32_t hash;
    uint32_t snd_nxt;
    uint32_t rcv_nxt;
    uint32_t ts_recent;
    uint32_t ts_offset;
    uint16_t window;
    bool has_timestamps;
};

struct tcp_listener {
    struct endpoint local;
    const struct listen_events *events;
    void *user;
    const struct tcp_settings *settings; /* NULL: the stack's, as the next */
    const struct tcp_congestion_ops *congestion;
};

/* For SYN cookies; see syn_cookie.c. */
struct tcp_cookies {
    struct siphash_key keys[2]; /* by the lowest bit of the period */
    uint64_t period;            /* for which keys are drawn; 0: none yet */
    uint64_t sent_us;           /* the latest */
};

struct tcp {
    struct pool conns;
    struct pool chunks;
    struct pool ranges;
    struct pool buffers;
    struct pool bbrs;
    struct pool time_wait_pool;
    struct flow_table flows; /* values: conn index, or TIME_WAIT index with the top bit set */
    /* Conn indices by a hash that costs little: where the connection of a segment was last, so a
     * guess. Peers can make theirs collide here; then the flow table is asked. */
    uint32_t recent[1 << TCP_RECENT_BITS];
    struct list output;    /* connections with something to send */
    struct list beginning; /* the same with CONN_BEGINS: they come first */
    struct list closed;    /* whose users wait for the closed event */
    struct list resumed;   /* whose users take data again */
    struct list time_waits;
    struct timer time_wait_timer;
    struct tcp_listener listeners[TCP_LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t half_open;
    uint32_t persisting;                            /* that probe a closed window */
    uint16_t half_open_sources[TCP_SOURCE_BUCKETS]; /* by a keyed hash of who asks */
    uint16_t port_counters[TCP_PORT_COUNTERS];      /* RFC 6056 §3.3.4 */
    struct tcp_cookies cookies;
    struct tcp_settings settings; /* of whoever has none of its own */
    const struct tcp_congestion_ops *congestion;
};

/* A received segment. */
struct tcp_segment {
    uint32_t seq;
    uint32_t ack;
    uint32_t end;    /* seq + everything that takes a sequence number */
    uint32_t window; /* scaled */
    uint16_t raw_window;
    uint8_t flags;
    uint8_t ecn; /* of the IP header */
    struct bytes payload;
    struct tcp_options options;
};

int tcp_init(struct net_stack *s);
void tcp_fini(struct net_stack *s);

/* --- conn.c --- */

/* A connection in 'state', in the flow table, with a route. NULL: out of connections, or no
 * route (counted); in SYN_SENT the latter is its soft_error, for the closed event to tell. */
struct tcp_conn *tcp_conn_new(struct net_stack *s, const struct endpoint *local,
                              const struct endpoint *peer, enum tcp_state state);

/* Ends it: see the states above. Sends nothing. */
void tcp_conn_close(struct net_stack *s, struct tcp_conn *c, int error);

/* Resets the peer, and ends it. */
void tcp_conn_reset(struct net_stack *s, struct tcp_conn *c, int error);

/* Both directions have ended and ours is acknowledged: closes it as soon as its user has had
 * everything, and leaves a tcp_time_wait in its place unless the peer closed first. */
void tcp_conn_finish(struct net_stack *s, struct tcp_conn *c);

/* The connection between the endpoints; NULL: none. */
struct tcp_conn *tcp_conn_find(struct net_stack *s, const struct endpoint *local,
                               const struct endpoint *peer, uint32_t hash);

/* Takes up the options of the peer's SYN. */
void tcp_conn_take_options(struct net_stack *s, struct tcp_conn *c, const struct tcp_options *o);

/* The connection is not half-open any more. */
void tcp_half_open_end(struct net_stack *s, struct tcp_conn *c);

/* The largest segment that we take, as our SYN says it. */
uint16_t tcp_advertised_mss(const struct net_stack *s, uint8_t family,
                            const struct tcp_settings *settings);

/* For users that keep what is delivered to them: 'bytes' of it are not consumed yet, and are
 * taken off the window; tells the peer when the window opens by much. */
void tcp_conn_hold(struct net_stack *s, struct tcp_conn *c, uint32_t bytes);

void tcp_conn_set_nagle(struct net_stack *s, struct tcp_conn *c, enum tcp_nagle nagle);

static inline bool tcp_is_persisting(const struct tcp_conn *c)
{
    return (c->flags & CONN_IS_PERSISTING) != 0;
}
/* The window is open again, or the connection over. */
void tcp_persist_end(struct net_stack *s, struct tcp_conn *c);

/* Changes to another congestion control, with the window as it is; by name: -ENOENT: no such. One
 * that is not established begins with it then. */
void tcp_conn_use_congestion(struct net_stack *s, struct tcp_conn *c,
                             const struct tcp_congestion_ops *ops);
int tcp_conn_set_congestion(struct tcp_conn *c, const char *name);
/* Established: begins as congestion.ops says, or with CUBIC when tcp.bbrs is empty (counted). */
void tcp_conn_begin_congestion(struct net_stack *s, struct tcp_conn *c);

static inline bool tcp_fin_is_acked(const struct tcp_conn *c)
{
    return (c->flags & CONN_FIN_SENT) != 0 && c->snd_una == c->snd_end + 1;
}

/* Bytes believed to be in the network. */
static inline uint32_t tcp_in_flight(const struct tcp_conn *c)
{
    uint32_t gone = c->ranges.sacked_bytes + c->ranges.lost_bytes + c->recovery.dupack_bytes;
    uint32_t there = c->snd_nxt - c->snd_una + c->ranges.resent_bytes;

    return there > gone ? there - gone : 0;
}

/* The time for the timestamp option. */
static inline uint32_t tcp_timestamp(uint64_t now_us, uint32_t offset)
{
    return (uint32_t)(now_us / 1000) + offset;
}

uint32_t tcp_initial_sequence(const struct net_stack *s, const struct endpoint *local,
                              const struct endpoint *peer);

/* What is added to our timestamps towards 'peer': nobody learns our uptime from them, and a
 * connection that reuses the endpoints goes on where the last one was (RFC 7323 §5.4). */
uint32_t tcp_timestamp_offset(const struct net_stack *s, const struct endpoint *local,
                              const struct endpoint *peer);

/* The count of half-open connections from where 'peer' is: its address, its /64 in IPv6. */
uint16_t *tcp_half_open_source(struct net_stack *s, const struct endpoint *peer);

/* Delivers closed events and frees; returns how many. */
unsigned tcp_deliver_closed(struct net_stack *s);

/* --- time_wait.c --- */

void tcp_time_wait_enter(struct net_stack *s, const struct tcp_conn *c);
/* A segment for a connection that is over. True: it is a SYN for a new one, which may take its
 * place with a first sequence number behind '*ret_after'. */
bool tcp_time_wait_input(struct net_stack *s, uint32_t index, const struct net_rx *rx,
                         const struct tcp_segment *segment, uint32_t *ret_after);
/* The index of the TIME_WAIT between the endpoints; POOL_NONE: none. */
uint32_t tcp_time_wait_find(const struct net_stack *s, const struct endpoint *local,
                            const struct endpoint *peer, uint32_t hash);

/* --- segment.c: segments that are not a connection's data --- */

struct tcp_control {
    struct endpoint local;
    struct endpoint peer;
    uint32_t seq;
    uint32_t ack;
    uint8_t flags;
    uint16_t window;
    const uint8_t *options;
    size_t options_size;
    const struct tcp_settings *settings; /* for the IP header; NULL: as it is by itself */
};
void tcp_send_control(struct net_stack *s, const struct tcp_control *control);
uint8_t tcp_hop_limit(const struct tcp_settings *settings);
/* The reset that a segment without a connection deserves (RFC 9293 §3.10.7.1). */
void tcp_send_reset(struct net_stack *s, const struct net_rx *rx,
                    const struct tcp_segment *segment);
/* SYN or SYN and ACK, by state. */
void tcp_send_syn(struct net_stack *s, struct tcp_conn *c);

/* --- syn_cookie.c --- */

/* Answers a SYN without remembering it. */
void tcp_cookie_send(struct net_stack *s, const struct tcp_segment *syn,
                     const struct endpoint *local, const struct endpoint *peer,
                     const struct tcp_settings *settings);
/* 0: the ACK answers a cookie of ours; '*ret_syn' is what the SYN must have been. -EINVAL: it does
 * not, or not in order; -ENOENT: and none has been sent for long. */
int tcp_cookie_check(struct net_stack *s, const struct tcp_segment *segment,
                     const struct endpoint *local, const struct endpoint *peer,
                     struct tcp_segment *ret_syn);

/* --- output.c --- */

/* Puts it among those that the next flush looks at. */
void tcp_want_output(struct net_stack *s, struct tcp_conn *c);
/* Before data is queued or an acknowledgement taken: a model of the path learns that there was
 * nothing to send, and why it will not see what the path can do. */
void tcp_note_shortage(const struct net_stack *s, struct tcp_conn *c);
/* Sends what windows allow for all that want to, at most 'budget' packets. */
unsigned tcp_output_all(struct net_stack *s, unsigned budget);
bool tcp_has_output(const struct net_stack *s);
/* Acknowledges at once, not at the next flush. */
void tcp_send_ack(struct net_stack *s, struct tcp_conn *c);
/* A segment that makes the peer say where it is: keepalive and zero-window probe. */
void tcp_send_probe(struct net_stack *s, struct tcp_conn *c);
/* Sends a tail loss probe: new data, else the last segment again (RFC 8985 §7.3). 0: could not;
 * 1: new data; 2: the last segment. */
int tcp_send_tail_probe(struct net_stack *s, struct tcp_conn *c);
/* Acknowledges something suspicious, within the limits of RFC 5961 §7. */
void tcp_challenge(struct net_stack *s, struct tcp_conn *c);

/* --- ack.c --- */

/* What the acknowledgement in an acceptable segment does; its ack is at most snd_nxt. */
void tcp_ack(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment);

/* --- ecn.c: RFC 3168 --- */

/* The SYN of a peer asks for ECN and is to have it. */
bool tcp_ecn_accepts(const struct net_stack *s, const struct tcp_segment *syn);
/* Takes up what the peer's SYN, or SYN and ACK, says about it. */
void tcp_ecn_negotiate(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment);
/* The flags for it of the SYN, or SYN and ACK, that is about to be sent. */
uint8_t tcp_ecn_syn_flags(struct net_stack *s, struct tcp_conn *c);
/* The marks of an acceptable segment with data; only with CONN_HAS_ECN. */
void tcp_ecn_receive(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment);
/* The congestion window was reduced. */
static inline void tcp_ecn_reduced(struct tcp_conn *c)
{
    if ((c->flags & CONN_HAS_ECN) != 0)
        c->flags |= CONN_CWR_DUE;
}

/* --- recovery.c --- */

/* 'size' bytes from 'range' on were marked lost: a model of the path is told. */
void tcp_recovery_lost(const struct net_stack *s, struct tcp_conn *c, const struct tcp_range *range,
                       uint32_t size);

/* What loss recovery makes of an acknowledgement that is not simply the next. */
void tcp_recovery_ack(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news);
/* Whether an acknowledgement is one for tcp_recovery_ack(). */
static inline bool tcp_recovery_wants(const struct tcp_conn *c, const struct tcp_ack_news *news)
{
    return news->is_duplicate || news->is_sacked || news->is_dsack || news->has_ece ||
           c->recovery.phase != TCP_PHASE_OPEN;
}
/* A tail loss probe is out, and this is an acknowledgement (RFC 8985 §7.4.2). */
void tcp_recovery_probe_ack(struct net_stack *s, struct tcp_conn *c,
                            const struct tcp_ack_news *news, uint32_t ack);
/* Sets cwnd while the window is being reduced (RFC 6937). */
void tcp_recovery_rate(struct tcp_conn *c, const struct tcp_ack_news *news);
/* The retransmission timer expired with data in flight. */
void tcp_recovery_timeout(struct net_stack *s, struct tcp_conn *c);
/* The reordering timer expired: what was waited for is lost. */
void tcp_recovery_reordered_out(struct net_stack *s, struct tcp_conn *c);
/* Everything in flight goes again, in smaller packets: not congestion. */
void tcp_recovery_resize(struct net_stack *s, struct tcp_conn *c);
/* Bytes were sent, 'is_again' again. */
void tcp_recovery_sent(struct net_stack *s, struct tcp_conn *c, uint32_t size, bool is_again);
/* Loss recovery lets a retransmission, or new data, go now. */
static inline bool tcp_recovery_may_resend(const struct tcp_conn *c)
{
    return (c->recovery.flags & RECOVERY_NEW_ONLY) == 0;
}

/* --- path_mtu.c --- */

/* Recomputes c->mss from the path MTU and what the peer takes. */
void tcp_conn_set_mss(struct tcp_conn *c);
/* The peer's SYN has come: segments of the size to begin with. */
void tcp_mtu_start(struct net_stack *s, struct tcp_conn *c);
/* A router says that no larger packets pass. */
void tcp_mtu_told(struct net_stack *s, struct tcp_conn *c, uint16_t mtu);
/* The retransmission timer expired with data in flight: segments may be too large for the path. */
void tcp_mtu_timeout(struct net_stack *s, struct tcp_conn *c);
/* The payload of a larger packet that is to be tried next, as soon as the congestion window has
 * room for it; 0: none. */
uint32_t tcp_mtu_probe_due(struct net_stack *s, struct tcp_conn *c);
/* 'size' bytes from snd_nxt, more than c->mss, are such a packet. */
void tcp_mtu_probe_sent(struct net_stack *s, struct tcp_conn *c, uint32_t size);
/* snd_una has moved with a probe out. */
void tcp_mtu_probe_ack(struct net_stack *s, struct tcp_conn *c);
/* Something is lost. True: just a probe, which is no sign of congestion (RFC 4821 §7.6.2); it
 * goes again in smaller packets. */
bool tcp_mtu_probe_lost(struct net_stack *s, struct tcp_conn *c);

/* --- pacing.c --- */

/* How many bytes may go in this turn; UINT32_MAX: as many as windows allow. */
uint32_t tcp_pacing_allowance(const struct net_stack *s, const struct tcp_conn *c);
/* So many went. */
void tcp_pacing_sent(struct net_stack *s, struct tcp_conn *c, uint32_t bytes);
/* More is there to send when its time has come. */
void tcp_pacing_hold(struct net_stack *s, struct tcp_conn *c);

/* --- rack.c: RFC 8985 --- */

/* Takes up which transmission the latest arrival was. */
void tcp_rack_update(struct tcp_conn *c, const struct tcp_range_sample *sample);
/* Marks what was sent long enough before it lost, and sets the timer for what was not long
 * enough; true: it is set. */
bool tcp_rack_detect(struct net_stack *s, struct tcp_conn *c);
/* Widens or narrows the time that reordered segments are given. */
void tcp_rack_adapt(struct tcp_conn *c, uint32_t delivered_before);
/* Something arrived behind what was sent after it, up to the highest sacked. */
void tcp_rack_reordered(struct net_stack *s, struct tcp_conn *c, uint32_t seq);

/* --- receive.c --- */

/* The data and FIN of an acceptable segment. */
void tcp_receive(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment);
/* Delivers what waits, unless the user has paused. */
void tcp_receive_drain(struct net_stack *s, struct tcp_conn *c);
/* Delivers to those who resumed; returns to how many. */
unsigned tcp_deliver_resumed(struct net_stack *s);
/* The window of a SYN, in whole segments of 'mss', and the scale for those after it. */
uint16_t tcp_receive_first_window(const struct net_stack *s, const struct tcp_settings *settings,
                                  uint32_t mss);
uint8_t tcp_receive_shift(const struct net_stack *s, const struct tcp_settings *settings);
/* Begins with what our SYN offered. */
void tcp_receive_start(struct net_stack *s, struct tcp_conn *c, uint32_t first_window);
/* An ACK goes out: it was 'is_data' that carried it. */
void tcp_receive_acknowledged(struct net_stack *s, struct tcp_conn *c, bool is_data);
/* Data came again: our ACK was lost or late, so the next ones are sent at once. */
void tcp_receive_repeated(struct tcp_conn *c);
/* The next ACKs are sent at once: the sender's window may be small. */
void tcp_receive_quicken(struct tcp_conn *c);
/* The delayed ACK's time has come. */
void tcp_receive_ack_expired(struct net_stack *s, struct tcp_conn *c);
/* The window field of an outgoing segment; moves rcv_edge. */
uint16_t tcp_receive_window(struct net_stack *s, struct tcp_conn *c);

/* --- timer.c --- */

void tcp_timer_set(struct net_stack *s, struct tcp_conn *c, enum tcp_timer_kind kind,
                   uint64_t deadline_us);
static inline void tcp_timer_clear(struct tcp_conn *c, enum tcp_timer_kind kind)
{
    c->deadlines_us[kind] = 0;
}
void tcp_timer_fire(struct timer *t, uint64_t now_us);
/* Keepalive by the connection's settings, from its last sign of life. */
void tcp_timer_keepalive_start(struct net_stack *s, struct tcp_conn *c);
/* Nobody waits for the peer's FIN longer than the settings say; does nothing for others than
 * orphans in FIN_WAIT_2. */
void tcp_timer_fin_wait_start(struct net_stack *s, struct tcp_conn *c);
/* After a round trip was measured (RFC 6298). */
void tcp_timer_sample(struct tcp_conn *c, uint32_t rtt_us);
/* Keeps the smallest. */
void tcp_timer_sample_min(struct tcp_conn *c, uint32_t rtt_us, uint64_t now_us);
/* A tail loss probe would find what acknowledgements cannot (RFC 8985 §7.2). */
static inline bool tcp_timer_may_probe(const struct tcp_conn *c)
{
    return (c->flags & CONN_HAS_SACK) != 0 &&
           (c->recovery.phase == TCP_PHASE_OPEN || c->recovery.phase == TCP_PHASE_REDUCING);
}
/* Sets the tail loss probe or, where there is none to send, the retransmission timer. */
void tcp_timer_rearm(struct net_stack *s, struct tcp_conn *c);
/* The retransmission timer: from now, or when another was pending from when the oldest segment
 * was sent (RFC 8985 §7.3); off with nothing in flight. */
void tcp_timer_rearm_retransmit(struct net_stack *s, struct tcp_conn *c);
/* TCP_TIMER_RETRANSMIT for something else. */
void tcp_timer_set_pending(struct net_stack *s, struct tcp_conn *c, enum tcp_pending pending,
                           uint64_t deadline_us);
/* The retransmission timeout with its back-off. */
uint64_t tcp_timer_rto_us(const struct tcp_conn *c);

/* --- stream.c, and the rest of the transport's table in net.c --- */

extern const struct transport_ops net_transport_ops;

#endif
