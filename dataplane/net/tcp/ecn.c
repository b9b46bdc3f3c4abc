/* Explicit congestion notification (RFC 3168, with RFC 8311): routers mark packets instead of
 * dropping them, the receiver echoes the mark until it hears that the sender has reacted. What is
 * sent is in output.c, the reaction in recovery.c. Where the RFCs leave a choice, Linux's is taken.
 */
#include "dataplane/net/stack.h"

enum {
    SETUP = TCP_ECE | TCP_CWR,
    ASKING_SYNS = 1 /* lost, and perhaps because they asked: then one that does not (§6.1.1.1) */
};

bool tcp_ecn_accepts(const struct net_stack *s, const struct tcp_segment *syn)
{
    /* §6.1.1: a SYN is never ECN-capable itself, so something on the way rewrites the field. */
    return s->config.ecn != NET_ECN_OFF && (syn->flags & SETUP) == SETUP && syn->ecn == IP_ECN_NONE;
}

void tcp_ecn_negotiate(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    bool is_agreed;

    if ((segment->flags & TCP_ACK) == 0)
        is_agreed = tcp_ecn_accepts(s, segment);
    else /* both flags: a peer, or a middlebox, that reflects what it does not know */
        is_agreed = (segment->flags & SETUP) == TCP_ECE;
    /* §6.1.1: not when one of the SYNs that we sent did not ask. */
    if ((c->flags & (CONN_IS_PASSIVE | CONN_ECN_ASKED)) == 0)
        is_agreed = false;
    c->flags &= ~(uint32_t)CONN_HAS_ECN;
    if (is_agreed)
        c->flags |= CONN_HAS_ECN;
}

uint8_t tcp_ecn_syn_flags(struct net_stack *s, struct tcp_conn *c)
{
    if (c->state == TCP_SYN_RECEIVED)
        return (c->flags & CONN_HAS_ECN) != 0 ? TCP_ECE : 0;
    if (s->config.ecn == NET_ECN_ON && c->retries < ASKING_SYNS) {
        c->flags |= CONN_ECN_ASKED;
        return SETUP;
    }
    if ((c->flags & CONN_ECN_ASKED) != 0)
        NET_COUNT(s, tcp_ecn_fallbacks);
    c->flags &= ~(uint32_t)CONN_ECN_ASKED;
    return 0;
}

void tcp_ecn_receive(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    bool was_due = (c->flags & CONN_ECE_DUE) != 0;

    if ((segment->flags & TCP_CWR) != 0) { /* §6.1.3 */
        c->flags &= ~(uint32_t)CONN_ECE_DUE;
        c->flags |= CONN_ACK_NOW; /* the peer's window may be one segment now */
        tcp_want_output(s, c);
        was_due = false;
    }
    if (segment->ecn == IP_ECN_NONE) {
        if ((c->flags & CONN_ECN_SEEN) != 0) /* a retransmission, then (§6.1.5) */
            tcp_receive_quicken(c);
        return;
    }
    c->flags |= CONN_ECN_SEEN;
    if (segment->ecn != IP_ECN_CE)
        return;
    NET_COUNT(s, tcp_ecn_marks);
    c->flags |= CONN_ECE_DUE;
    if (!was_due)
        tcp_receive_quicken(c);
}
