#include "common/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int port_parse(const char *text, uint16_t *ret_port)
{
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    unsigned long port = strtoul(text, &end, 10);
    if (*end != '\0' || port > UINT16_MAX)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
    struct endpoint e = {0};
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');

    if (colon == NULL || port_parse(colon + 1, &e.port) < 0)
        return -EINVAL;
    size_t host_size = (size_t)(colon - text);
    if (host_size == 0 || (host_size == 1 && text[0] == '*')) {
        e.family = 6;
        *ret_endpoint = e;
        return 0;
    }
    bool is_bracketed = text[0] == '[' && text[host_size - 1] == ']';
    if (is_bracketed) {
        text++;
        host_size -= 2;
    }
    if (host_size >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, host_size);
    host[host_size] = '\0';
    e.family = is_bracketed ? 6 : 4;
    if (inet_pton(is_bracketed ? AF_INET6 : AF_INET, host, e.addr) != 1)
        return -EINVAL;
    *ret_endpoint = e;
    return 0;
}

const char *endpoint_format(const struct endpoint *e, char out[static ENDPOINT_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "none";

    if (e->family != 0)
        inet_ntop(e->family == 4 ? AF_INET : AF_INET6, e->addr, host, sizeof(host));
    snprintf(out, ENDPOINT_TEXT_MAX, e->family == 6 ? "[%s]:%u" : "%s:%u", host, e->port);
    return out;
}

bool endpoint_is_any(const struct endpoint *e)
{
    static const uint8_t zero[16];

    return memcmp(e->addr, zero, sizeof(zero)) == 0;
}

bool endpoint_is_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}
