/* settings.h - what a user may set for a connection or a listener of its own, and what it may
 * know of a connection. Internal to dataplane/net, and for those who put sockets over it. */
#ifndef DATAPLANE_NET_TCP_SETTINGS_H
#define DATAPLANE_NET_TCP_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

struct endpoint;
struct net_stack;
struct stream_events;
struct tcp_conn;

/* All-zero members mean the stack's configuration (struct net_config). Whoever hands in settings
 * keeps them in place until the connection's closed event, or the listener's end; changes take
 * effect with the next tcp_conn_use(). */
struct tcp_settings {
    uint32_t keepalive_idle_ms; /* RFC 9293 §3.8.4 */
    uint32_t keepalive_interval_ms;
    uint32_t keepalive_probes_max;
    uint32_t user_timeout_ms;      /* RFC 5482: sent, or waiting at a closed window, for so long */
    uint32_t receive_window_bytes; /* a fixed window: no tuning */
    uint32_t fin_wait_2_ms;        /* of an orphan; 0: a minute */
    uint16_t mss_max;              /* both ways, options included */
    uint8_t syn_retries;           /* 0: 6 */
    uint8_t hop_limit;             /* of IPv6, TTL of IPv4; 0: 64 */
    uint8_t traffic_class;         /* its upper six bits: DSCP (RFC 2474) */
    bool is_keepalive_off;
};

/* Puts 'settings' (borrowed; NULL: the stack's own) into force; 'mss_max' and the window's scale
 * only before the SYN. */
void tcp_conn_use(struct net_stack *s, struct tcp_conn *c, const struct tcp_settings *settings);

/* For the connections that 'local' accepts from now on. -ENOENT: nobody listens there. */
int tcp_listener_use(struct net_stack *s, const struct endpoint *local,
                     const struct tcp_settings *settings);

/* Opens a connection from 'local', which is one of our addresses with a port. NULL: in use, or
 * out of connections. Events as those of transport_ops.connect. */
struct tcp_conn *tcp_conn_open(struct net_stack *s, const struct endpoint *local,
                               const struct endpoint *peer, const struct tcp_settings *settings,
                               const struct stream_events *events, void *user);

/* Likewise from the address that leads to 'peer', and a port that is free (RFC 6056). */
struct tcp_conn *tcp_conn_connect(struct net_stack *s, const struct endpoint *peer,
                                  const struct tcp_settings *settings,
                                  const struct stream_events *events, void *user);

/* Every segment is acknowledged at once for a while, or acknowledgements may wait (TCP_QUICKACK).
 */
void tcp_conn_set_quick_ack(struct net_stack *s, struct tcp_conn *c, bool is_quick);

/* The user has gone, its data is not wanted: more of it resets the connection (RFC 1122
 * §4.2.2.13). The peer's FIN is still waited for, so long as the settings say. */
void tcp_conn_orphan(struct net_stack *s, struct tcp_conn *c);

struct tcp_conn_info {
    uint8_t state; /* enum tcp_state */
    uint8_t snd_shift;
    uint8_t rcv_shift;
    uint8_t retries;
    uint8_t probes;
    bool has_timestamps;
    bool has_sack;
    uint16_t mss;
    uint16_t advertised_mss;
    uint16_t rcv_mss;
    uint16_t path_mtu;
    uint32_t srtt_us;
    uint32_t rto_us;
    uint32_t cwnd_bytes;
    uint32_t ssthresh_bytes; /* UINT32_MAX: none yet */
    uint32_t in_flight_bytes;
    uint32_t unacked_bytes;
    uint32_t unsent_bytes;
    uint32_t snd_wnd_bytes;
    uint32_t rcv_budget_bytes; /* what the window is tuned to */
    uint32_t bytes_acked;      /* modulo 2^32, as the next */
    uint32_t bytes_received;
};
void tcp_conn_info(const struct net_stack *s, const struct tcp_conn *c,
                   struct tcp_conn_info *ret_info);

#endif
