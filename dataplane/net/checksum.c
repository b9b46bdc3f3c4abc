#include "dataplane/net/checksum.h"

#include "common/check.h"
#include "dataplane/net/wire.h"

static inline uint64_t word_sum(const uint8_t *data)
{
    uint64_t word;

    memcpy(&word, data, sizeof(word));
    return (word & UINT32_MAX) + (word >> 32);
}

uint16_t checksum_sum(const uint8_t *data, size_t size)
{
    const uint8_t *data_start = data;
    uint64_t sum = 0;

    /* Native words: byte order only swaps the two bytes of the result (RFC 1071 §2(B)). Each
     * 32-bit half is added by itself, so that no carry is lost. */
    const uint8_t *end = data + size;
    for (; size >= 8; data += 8, size -= 8)
        sum += word_sum(data);
    if (size > 0) {
        uint64_t word = 0;

        /* Loads are little-endian, so what is missing reads as zeros behind. */
        if (end - data_start >= 8) {
            memcpy(&word, end - 8, 8);
            word >>= 8 * (8 - size);
        } else {
            memcpy(&word, data, size);
        }
        sum += (word & UINT32_MAX) + (word >> 32);
    }
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    return __builtin_bswap16(checksum_fold((uint32_t)sum));
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checksum_sum() pads the end so");

uint16_t checksum_extent(const struct extent *e)
{
    const struct blob *b = e->blob;
    uint32_t from = e->offset;
    uint32_t to = e->offset + e->size;
    uint32_t first = (from + BLOB_SUM_STRIDE - 1) / BLOB_SUM_STRIDE;
    uint32_t last = to / BLOB_SUM_STRIDE;

    DCHECK(to <= b->size && to >= from);
    if (b->sums == NULL || first >= last)
        return checksum_sum(b->data + from, e->size);

    /* The head's sum begins at 'from', the rest at an even position of the blob. */
    uint32_t head = checksum_sum(b->data + from, first * BLOB_SUM_STRIDE - from);
    uint32_t rest = (uint32_t)b->sums[last] + (uint16_t)~b->sums[first] +
                    checksum_sum(b->data + last * BLOB_SUM_STRIDE, to - last * BLOB_SUM_STRIDE);
    if ((from & 1) == 0)
        return checksum_fold(head + rest);
    return checksum_fold(head + __builtin_bswap16(checksum_fold(rest)));
}

static uint16_t slice_sum(struct checksum_memo *memo, const struct extent *e)
{
    const struct blob *b = e->blob;

    if (b->sums == NULL || e->size > UINT16_MAX)
        return checksum_extent(e);
    /* Neighbours in the blob are neighbours in the table: the next lookup is mostly for what
     * follows. */
    uint32_t home = (uint32_t)((b->id * 0x9e3779b97f4a7c15u) >> (64 - CHECKSUM_SET_BITS));
    uint32_t set = (home + e->offset / CHECKSUM_SET_SPAN) % CHECKSUM_SETS;
    uint32_t next = (home + (e->offset + e->size) / CHECKSUM_SET_SPAN) % CHECKSUM_SETS;
    struct checksum_slice *ways = memo->sets[set].ways;
    __builtin_prefetch(&memo->sets[next]);
    for (unsigned i = 0; i < CHECKSUM_WAYS; i++)
        if (ways[i].offset == e->offset && ways[i].blob_id == b->id && ways[i].size == e->size)
            return ways[i].sum;
    uint16_t sum = checksum_extent(e);
    ways[memo->next_way++ % CHECKSUM_WAYS] = (struct checksum_slice){
        .blob_id = b->id, .offset = e->offset, .size = (uint16_t)e->size, .sum = sum};
    return sum;
}

uint16_t checksum_extents(struct checksum_memo *memo, const struct extent *extents, size_t count)
{
    uint32_t sum = 0;
    uint32_t position = 0;

    for (size_t i = 0; i < count; i++) {
        uint16_t part = slice_sum(memo, &extents[i]);

        sum += (position & 1) != 0 ? __builtin_bswap16(part) : part;
        position += extents[i].size;
    }
    return checksum_fold(sum);
}

uint32_t checksum_pseudo_header(const uint8_t *source, const uint8_t *destination, uint8_t family,
                                uint8_t protocol)
{
    if (family == 4)
        return checksum_add32(checksum_add32(protocol, load_be32(source)), load_be32(destination));
    return (uint32_t)checksum_sum(source, 16) + checksum_sum(destination, 16) + protocol;
}

void checksum_prefix_sums(const uint8_t *data, size_t size, uint16_t *sums)
{
    uint32_t sum = 0;

    sums[0] = 0;
    for (size_t i = 1; i <= size / BLOB_SUM_STRIDE; i++) {
        sum = checksum_fold(sum + checksum_sum(data + (i - 1) * BLOB_SUM_STRIDE, BLOB_SUM_STRIDE));
        sums[i] = (uint16_t)sum;
    }
}
