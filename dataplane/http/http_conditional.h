/* http_conditional.h - validators, preconditions and byte ranges (RFC 9110 8.8, 13, 14). */
#ifndef DATAPLANE_HTTP_HTTP_CONDITIONAL_H
#define DATAPLANE_HTTP_HTTP_CONDITIONAL_H

#include "common/bytes.h"

enum { HTTP_ETAG_SIZE = 18 }; /* 16 hexadecimal digits in quotes */

enum http_range {
    HTTP_RANGE_WHOLE,        /* none, malformed, or several: send everything */
    HTTP_RANGE_PART,         /* one satisfiable range */
    HTTP_RANGE_UNSATISFIABLE /* 416 */
};

/* Reads a Range value against a representation of 'size' bytes. For HTTP_RANGE_PART,
 * '*ret_first' is its first byte and '*ret_size' its size, at least 1. */
enum http_range http_range_parse(struct bytes value, uint64_t size, uint64_t *ret_first,
                                 uint64_t *ret_size);

/* Writes the strong entity tag made of 'hash'; no NUL. */
void http_etag_write(uint64_t hash, uint8_t out[static HTTP_ETAG_SIZE]);

/* Whether the list of an If-Match ('is_strong') or If-None-Match field names 'etag' or is "*". */
bool http_etag_list_has(struct bytes list, struct bytes etag, bool is_strong);

/* 64-bit hash of some bytes, and of a number on top of 'hash'. Not for adversaries. */
uint64_t http_hash_bytes(struct bytes b);
uint64_t http_hash_add(uint64_t hash, uint64_t number);

#endif
