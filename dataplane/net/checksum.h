/* checksum.h - the Internet checksum (RFC 1071), over memory and over extents.
 *
 * Sums are kept in 32 bits, in host order of big-endian 16-bit words, and folded at the end;
 * adding two sums or a 16-bit field to one is plain addition (at most 2^16 of them). */
#ifndef DATAPLANE_NET_CHECKSUM_H
#define DATAPLANE_NET_CHECKSUM_H

#include <stdalign.h>

#include "common/blob.h"

enum {
    CHECKSUM_SET_BITS = 12,
    CHECKSUM_SETS = 1 << CHECKSUM_SET_BITS,
    CHECKSUM_WAYS = 4,
    CHECKSUM_SET_SPAN = 1024 /* bytes of a blob whose slices share a set: one or two */
};

/* To 16 bits with end-around carry. */
static inline uint16_t checksum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* What goes into the header field. */
static inline uint16_t checksum_finish(uint32_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

static inline uint32_t checksum_add32(uint32_t sum, uint32_t value)
{
    return sum + (value >> 16) + (value & 0xffff);
}

/* The folded sum of 'size' bytes, the first at an even position; an odd end is padded with 0. */
uint16_t checksum_sum(const uint8_t *data, size_t size);

/* The folded sum of the extent as if it began at an even position. Looks the middle up in
 * blob->sums where the blob has them, and reads at most 126 bytes then. */
uint16_t checksum_extent(const struct extent *e);

/* Sums of slices of blobs that have blob->sums. Viewers of one part cut it into the same packets,
 * so the first of them computes a slice's sum, and for the others it is found in one line that
 * stays in the cache; the payload's own lines are not touched. All-zero is empty. */
struct checksum_memo {
    struct checksum_set {
        alignas(64) struct checksum_slice {
            uint64_t blob_id;
            uint32_t offset;
            uint16_t size;
            uint16_t sum;
        } ways[CHECKSUM_WAYS];
    } sets[CHECKSUM_SETS];
    uint32_t next_way; /* to be overwritten */
};
static_assert(sizeof(struct checksum_set) == 64, "one cache line");

/* The folded sum of the extents laid one after the other. */
uint16_t checksum_extents(struct checksum_memo *memo, const struct extent *extents, size_t count);

/* The sum of a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1) with its length left 0. */
uint32_t checksum_pseudo_header(const uint8_t *source, const uint8_t *destination, uint8_t family,
                                uint8_t protocol);

/* Fills sums[0 … size / BLOB_SUM_STRIDE] for struct blob; 'sums' has room for that many. */
void checksum_prefix_sums(const uint8_t *data, size_t size, uint16_t *sums);

#endif
