/* siphash.h - SipHash-1-3 (Aumasson and Bernstein, 2012) over whole 64-bit words, for tables
 * that peers must not be able to fill with collisions, and for RFC 6528 sequence numbers. */
#ifndef DATAPLANE_NET_SIPHASH_H
#define DATAPLANE_NET_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t k0;
    uint64_t k1;
};

struct siphash_state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t siphash_rotl(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void siphash_round(struct siphash_state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = siphash_rotl(s->v1, 13) ^ s->v0;
    s->v3 = siphash_rotl(s->v3, 16) ^ s->v2;
    s->v0 = siphash_rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = siphash_rotl(s->v1, 17) ^ s->v2;
    s->v3 = siphash_rotl(s->v3, 21) ^ s->v0;
    s->v2 = siphash_rotl(s->v2, 32);
}

static inline uint64_t siphash_words(const struct siphash_key *key, const uint64_t *words,
                                     size_t count)
{
    struct siphash_state s = {
        .v0 = key->k0 ^ 0x736f6d6570736575u,
        .v1 = key->k1 ^ 0x646f72616e646f6du,
        .v2 = key->k0 ^ 0x6c7967656e657261u,
        .v3 = key->k1 ^ 0x7465646279746573u,
    };

    for (size_t i = 0; i < count; i++) {
        s.v3 ^= words[i];
        siphash_round(&s);
        s.v0 ^= words[i];
    }
    /* The last block holds the length in its top byte. */
    uint64_t last = (uint64_t)(count * 8) << 56;
    s.v3 ^= last;
    siphash_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    siphash_round(&s);
    siphash_round(&s);
    siphash_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
