/* SYN cookies (RFC 4987 §3.6): under pressure, what a half-open connection would remember is
 * put into the sequence number and the timestamp of the SYN-ACK, and read back from the ACK.
 *
 *   sequence number   1 bit which secret, 3 bits segment size, 28 bits keyed hash
 *   timestamp         the time in units of 64 ms, in the 6 bits below: 4 bits window scale (15:
 *                     none), 1 bit SACK, 1 bit ECN
 *
 * A secret lives for two periods: one in which cookies are made with it, and the next, in which
 * they are still believed. Without timestamps there is no scaling, SACK, or ECN. */
#include <errno.h>

#include "common/check.h"
#include "dataplane/net/stack.h"

enum {
    PERIOD_US = 64000000,
    HASH_BITS = 28,
    SIZE_SHIFT = HASH_BITS,
    SIZES = 8,
    SECRET_SHIFT = 31,
    TS_BITS = 6,
    TS_NO_SCALE = 15,
    TS_SACK = 1 << 4,
    TS_ECN = 1 << 5
};

/* What peers offer, mostly: IPv6's minimum, tunnels, PPPoE, Ethernet for each family, jumbo. */
static const uint16_t sizes[SIZES] = {216, 536, 1220, 1300, 1400, 1440, 1460, 8940};

static uint32_t cookie_hash(const struct siphash_key *key, const struct endpoint *local,
                            const struct endpoint *peer, uint32_t peer_iss, uint32_t size_index)
{
    const uint64_t words[2] = {flow_hash64(key, local, peer), (uint64_t)peer_iss << 8 | size_index};

    return (uint32_t)siphash_words(key, words, 2) & ((1u << HASH_BITS) - 1);
}

/* The period of 'now'; draws the secrets of those that began since the last call. */
static uint64_t cookie_period(struct net_stack *s)
{
    struct tcp_cookies *cookies = &s->tcp.cookies;
    uint64_t period = s->now_us / PERIOD_US + 1; /* never 0, which is "no secret yet" */

    if (cookies->period == period)
        return period;
    if (cookies->period + 1 != period) /* the other one is too old as well */
        cookies->keys[(period + 1) & 1] = (struct siphash_key){
            .k0 = s->env->random(s->env->random_user), .k1 = s->env->random(s->env->random_user)};
    cookies->keys[period & 1] = (struct siphash_key){.k0 = s->env->random(s->env->random_user),
                                                     .k1 = s->env->random(s->env->random_user)};
    cookies->period = period;
    return period;
}

/* The options of the answer: with them in its lowest bits, the latest time that is not ahead. */
static uint32_t cookie_timestamp(uint64_t now_us, const struct tcp_options *o, bool has_ecn)
{
    uint32_t now_ms = tcp_timestamp(now_us, 0);
    uint32_t bits = (o->has_shift ? o->shift : (uint32_t)TS_NO_SCALE) |
                    (o->is_sack_permitted ? TS_SACK : 0u) | (has_ecn ? TS_ECN : 0u);
    uint32_t value = now_ms >> TS_BITS << TS_BITS | bits;

    return value > now_ms ? value - (1u << TS_BITS) : value;
}

void tcp_cookie_send(struct net_stack *s, const struct tcp_segment *syn,
                     const struct endpoint *local, const struct endpoint *peer,
                     const struct tcp_settings *settings)
{
    uint8_t options[TCP_OPTIONS_MAX];
    const struct tcp_options *in = &syn->options;
    uint16_t peer_mss = in->mss;
    uint32_t size_index = SIZES - 1;

    if (peer_mss == 0)
        peer_mss = local->family == 4 ? TCP_MSS_DEFAULT_V4 : TCP_MSS_DEFAULT_V6;
    while (size_index > 0 && sizes[size_index] > peer_mss)
        size_index--;
    if (sizes[size_index] > peer_mss) {
        NET_COUNT(s, tcp_cookies_unfit);
        return;
    }
    uint64_t period = cookie_period(s);
    uint32_t cookie =
        (uint32_t)(period & 1) << SECRET_SHIFT | size_index << SIZE_SHIFT |
        cookie_hash(&s->tcp.cookies.keys[period & 1], local, peer, syn->seq, size_index);
    struct tcp_options out = {.mss = tcp_advertised_mss(s, local->family, settings)};
    uint32_t payload_max = out.mss;
    bool has_ecn = in->has_timestamps && tcp_ecn_accepts(s, syn);
    if (in->has_timestamps) {
        out.has_timestamps = true;
        out.ts_value =
            cookie_timestamp(s->now_us, in, has_ecn) + tcp_timestamp_offset(s, local, peer);
        out.ts_echo = in->ts_value;
        out.is_sack_permitted = in->is_sack_permitted;
        out.has_shift = in->has_shift;
        out.shift = tcp_receive_shift(s, settings);
        payload_max -= TCP_TIMESTAMPS_SIZE;
    }
    s->tcp.cookies.sent_us = s->now_us;
    NET_COUNT(s, tcp_cookies_sent);
    tcp_send_control(
        s, &(struct tcp_control){.local = *local,
                                 .peer = *peer,
                                 .seq = cookie,
                                 .ack = syn->seq + 1,
                                 .flags = TCP_SYN | TCP_ACK | (has_ecn ? TCP_ECE : 0),
                                 .window = tcp_receive_first_window(s, settings, payload_max),
                                 .settings = settings,
                                 .options = options,
                                 .options_size = tcp_options_write_syn(&out, options)});
}

int tcp_cookie_check(struct net_stack *s, const struct tcp_segment *segment,
                     const struct endpoint *local, const struct endpoint *peer,
                     struct tcp_segment *ret_syn)
{
    struct tcp_cookies *cookies = &s->tcp.cookies;
    uint32_t cookie = segment->ack - 1;
    uint32_t peer_iss = segment->seq - 1;
    uint32_t size_index = cookie >> SIZE_SHIFT & (SIZES - 1);

    /* Guesses count only while there are cookies to be answered. */
    if (cookies->period == 0 || s->now_us - cookies->sent_us > 2 * (uint64_t)PERIOD_US)
        return -ENOENT;
    (void)cookie_period(s);
    if (cookie_hash(&cookies->keys[cookie >> SECRET_SHIFT], local, peer, peer_iss, size_index) !=
        (cookie & ((1u << HASH_BITS) - 1))) {
        NET_COUNT(s, tcp_cookies_bad);
        return -EINVAL;
    }
    *ret_syn = (struct tcp_segment){
        .seq = peer_iss,
        .end = segment->seq,
        .flags = TCP_SYN,
        .options = {.mss = sizes[size_index]},
    };
    if (segment->options.has_timestamps) {
        struct tcp_options *o = &ret_syn->options;
        uint32_t bits = segment->options.ts_echo - tcp_timestamp_offset(s, local, peer);
        o->has_timestamps = true;
        o->ts_value = segment->options.ts_value;
        o->is_sack_permitted = (bits & TS_SACK) != 0;
        o->has_shift = (bits & TS_NO_SCALE) != TS_NO_SCALE;
        o->shift = o->has_shift ? (uint8_t)(bits & TS_NO_SCALE) : 0;
        if ((bits & TS_ECN) != 0)
            ret_syn->flags |= TCP_ECE | TCP_CWR;
    }
    NET_COUNT(s, tcp_cookies_accepted);
    return 0;
}
