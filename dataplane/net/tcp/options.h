/* options.h - TCP options: maximum segment size, window scale and timestamps (RFC 7323),
 * selective acknowledgement (RFC 2018). */
#ifndef DATAPLANE_NET_TCP_OPTIONS_H
#define DATAPLANE_NET_TCP_OPTIONS_H

#include "common/bytes.h"

enum {
    TCP_OPTIONS_MAX = 40,
    TCP_TIMESTAMPS_SIZE = 12, /* with the padding that everybody sends */
    TCP_SHIFT_MAX = 14,       /* RFC 7323 §2.3 */
    TCP_SACK_BLOCKS_MAX = 4,
    TCP_MSS_DEFAULT_V4 = 536, /* RFC 9293 §3.7.1 */
    TCP_MSS_DEFAULT_V6 = 1220
};

struct tcp_sack_block {
    uint32_t start;
    uint32_t end; /* first byte not in the block */
};

struct tcp_options {
    uint16_t mss; /* 0: not given */
    uint8_t shift;
    uint8_t sack_count;
    bool has_shift;
    bool has_timestamps;
    bool is_sack_permitted;
    uint32_t ts_value;
    uint32_t ts_echo;
    struct tcp_sack_block sacks[TCP_SACK_BLOCKS_MAX];
};

/* -EBADMSG: an option's length is wrong; '*ret_options' is then what came before it. Unknown
 * options are skipped. */
int tcp_options_parse(struct bytes in, struct tcp_options *ret_options);

/* Writes those of 'o' that are set as a SYN carries them; returns the size, a multiple of 4. */
size_t tcp_options_write_syn(const struct tcp_options *o, uint8_t out[static TCP_OPTIONS_MAX]);

/* Writes the timestamps option, TCP_TIMESTAMPS_SIZE bytes. */
void tcp_options_write_timestamps(uint32_t value, uint32_t echo, uint8_t *out);

/* Writes a SACK option of 'count' blocks, at most what 'room' bytes hold; returns its size. */
size_t tcp_options_write_sack(const struct tcp_sack_block *blocks, unsigned count, size_t room,
                              uint8_t *out);

#endif
