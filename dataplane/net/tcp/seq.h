/* seq.h - comparing 32-bit sequence numbers modulo 2^32 (RFC 9293 §3.4). */
#ifndef DATAPLANE_NET_TCP_SEQ_H
#define DATAPLANE_NET_TCP_SEQ_H

#include <stdbool.h>
#include <stdint.h>

static inline bool seq_is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool seq_is_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_is_after(a, b) ? a : b;
}

static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
    return seq_is_before(a, b) ? a : b;
}

#endif
