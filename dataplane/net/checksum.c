#include "dataplane/net/checksum.h"

#include "common/check.h"

uint16_t checksum_sum(const uint8_t *data, size_t size)
{
    uint64_t sum = 0;

    /* Native words: byte order only swaps the two bytes of the result (RFC 1071 §2(B)). Each
     * 32-bit half is added by itself, so that no carry is lost. */
    while (size >= 16) {
        uint64_t words[2];

        memcpy(words, data, sizeof(words));
        sum +=
            (words[0] & UINT32_MAX) + (words[0] >> 32) + (words[1] & UINT32_MAX) + (words[1] >> 32);
        data += 16;
        size -= 16;
    }
    while (size >= 2) {
        uint16_t word;

        memcpy(&word, data, sizeof(word));
        sum += word;
        data += 2;
        size -= 2;
    }
    if (size > 0)
        sum += data[0]; /* little-endian: the low byte comes first */
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    return __builtin_bswap16(checksum_fold((uint32_t)sum));
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checksum_sum() pads the odd byte so");

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

uint16_t checksum_extents(const struct extent *extents, size_t count)
{
    uint32_t sum = 0;
    uint32_t position = 0;

    for (size_t i = 0; i < count; i++) {
        uint16_t part = checksum_extent(&extents[i]);

        sum += (position & 1) != 0 ? __builtin_bswap16(part) : part;
        position += extents[i].size;
    }
    return checksum_fold(sum);
}

uint32_t checksum_pseudo_header(const uint8_t *source, const uint8_t *destination, uint8_t family,
                                uint8_t protocol)
{
    size_t size = family == 4 ? 4 : 16;

    return (uint32_t)checksum_sum(source, size) + checksum_sum(destination, size) + protocol;
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
