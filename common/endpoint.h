/* endpoint.h - an IPv4 or IPv6 address with a port. All-zero is "none". */
#ifndef COMMON_ENDPOINT_H
#define COMMON_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct endpoint {
    uint8_t addr[16]; /* network order; IPv4 in the first four bytes, the rest zero */
    uint16_t port;    /* host order */
    uint8_t family;   /* 4, 6, or 0: none */
};

enum { ENDPOINT_TEXT_MAX = 64 };

/* Reads "1.2.3.4:80", "[::1]:80", "*:80" (IPv6 any, dual stack) or ":80" (the same).
 * -EINVAL: not an endpoint, '*ret_endpoint' untouched. */
int endpoint_parse(const char *text, struct endpoint *ret_endpoint);

/* Writes the form that endpoint_parse() reads; returns 'out'. */
const char *endpoint_format(const struct endpoint *e, char out[static ENDPOINT_TEXT_MAX]);

bool endpoint_is_any(const struct endpoint *e);
bool endpoint_is_equal(const struct endpoint *a, const struct endpoint *b);

#endif
