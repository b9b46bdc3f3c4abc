#include "dataplane/http/http_conditional.h"

#include "dataplane/http/http_request.h"

/* A number of a byte-range spec: all digits; one too large for 64 bits means "very far". */
static bool range_number(struct bytes text, uint64_t *ret_number)
{
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    if (!http_number_parse(text, ret_number))
        *ret_number = UINT64_MAX;
    return true;
}

/* RFC 9110 14.1.2: the last 'count' bytes. */
static enum http_range suffix_range(uint64_t count, uint64_t size, uint64_t *ret_first,
                                    uint64_t *ret_size)
{
    if (count == 0 || size == 0)
        return HTTP_RANGE_UNSATISFIABLE;
    *ret_size = count < size ? count : size;
    *ret_first = size - *ret_size;
    return HTTP_RANGE_PART;
}

enum http_range http_range_parse(struct bytes value, uint64_t size, uint64_t *ret_first,
                                 uint64_t *ret_size)
{
    static const char unit[] = "bytes=";
    const size_t unit_size = sizeof(unit) - 1;
    uint64_t first;
    uint64_t last;

    if (value.size <= unit_size || !http_token_equal(bytes_of(value.ptr, unit_size), unit))
        return HTTP_RANGE_WHOLE;
    struct bytes spec = http_trim(bytes_from(value, unit_size));
    const uint8_t *dash = spec.size > 0 ? memchr(spec.ptr, '-', spec.size) : NULL;
    if (dash == NULL)
        return HTTP_RANGE_WHOLE;
    struct bytes before = bytes_of(spec.ptr, (size_t)(dash - spec.ptr));
    struct bytes after = bytes_from(spec, before.size + 1);

    if (before.size == 0) {
        if (!range_number(after, &last))
            return HTTP_RANGE_WHOLE;
        return suffix_range(last, size, ret_first, ret_size);
    }
    if (!range_number(before, &first))
        return HTTP_RANGE_WHOLE;
    if (after.size == 0)
        last = UINT64_MAX;
    else if (!range_number(after, &last) || last < first)
        return HTTP_RANGE_WHOLE;
    if (first >= size)
        return HTTP_RANGE_UNSATISFIABLE;
    if (last >= size)
        last = size - 1;
    *ret_first = first;
    *ret_size = last - first + 1;
    return HTTP_RANGE_PART;
}

void http_etag_write(uint64_t hash, uint8_t out[static HTTP_ETAG_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    out[0] = '"';
    for (unsigned i = 0; i < 16; i++)
        out[1 + i] = (uint8_t)digits[hash >> (60 - 4 * i) & 15];
    out[17] = '"';
}

bool http_etag_list_has(struct bytes list, struct bytes etag, bool is_strong)
{
    struct bytes element;

    if (bytes_equal_str(list, "*"))
        return true;
    /* Our tags hold no comma, so an element that was cut at one inside quotes cannot match. */
    while (http_list_next(&list, &element)) {
        bool is_weak = element.size > 2 && element.ptr[0] == 'W' && element.ptr[1] == '/';
        if (is_weak && is_strong)
            continue;
        if (bytes_equal(is_weak ? bytes_from(element, 2) : element, etag))
            return true;
    }
    return false;
}

uint64_t http_hash_add(uint64_t hash, uint64_t number)
{
    /* The finalizer of splitmix64. */
    uint64_t z = hash ^ (number + 0x9e3779b97f4a7c15u);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t http_hash_bytes(struct bytes b)
{
    uint64_t hash = http_hash_add(0, b.size);

    for (size_t i = 0; i < b.size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, b.ptr + i, b.size - i < 8 ? b.size - i : 8);
        hash = http_hash_add(hash, word);
    }
    return hash;
}
