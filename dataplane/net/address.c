#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/net/stack.h"

/* Reads "addr" or, when 'has_prefix', "addr/bits" from text[0 … size). */
static int address_parse(const char *text, size_t size, bool has_prefix,
                         struct net_address *ret_address)
{
    char copy[64];
    struct net_address a = {0};

    if (size == 0 || size >= sizeof(copy))
        return -EINVAL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    char *slash = strchr(copy, '/');
    if ((slash != NULL) != has_prefix)
        return -EINVAL;
    if (slash != NULL)
        *slash = '\0';

    a.family = strchr(copy, ':') != NULL ? 6 : 4;
    if (inet_pton(a.family == 6 ? AF_INET6 : AF_INET, copy, a.addr) != 1)
        return -EINVAL;
    if (has_prefix) {
        char *end = NULL;
        unsigned long bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits == 0 ||
            bits > (a.family == 6 ? 128 : 32))
            return -EINVAL;
        a.prefix_bits = (uint8_t)bits;
    }
    *ret_address = a;
    return 0;
}

/* Addresses that no host may have as its own. */
static bool address_is_host(const struct net_address *a)
{
    if (address_is_zero(a->family, a->addr))
        return false;
    return a->family == 6 ? a->addr[0] != 0xff : a->addr[0] < 224 && a->addr[0] != 127;
}

int net_config_set_addresses(struct net_config *c, const char *text)
{
    struct net_address addresses[NET_ADDRESSES_MAX];
    uint32_t count = 0;

    for (;;) {
        size_t size = strcspn(text, ",");
        if (count == NET_ADDRESSES_MAX)
            return -ENOSPC;
        if (address_parse(text, size, true, &addresses[count]) < 0 ||
            !address_is_host(&addresses[count]))
            return -EINVAL;
        count++;
        if (text[size] == '\0')
            break;
        text += size + 1;
    }
    memcpy(c->addresses, addresses, count * sizeof(addresses[0]));
    c->address_count = count;
    return 0;
}

int net_config_set_gateways(struct net_config *c, const char *text)
{
    struct net_address v4 = {0};
    struct net_address v6 = {0};

    while (*text != '\0') {
        struct net_address a;
        size_t size = strcspn(text, ",");
        if (address_parse(text, size, false, &a) < 0 || !address_is_host(&a))
            return -EINVAL;
        struct net_address *to = a.family == 6 ? &v6 : &v4;
        if (to->family != 0)
            return -EINVAL;
        *to = a;
        text += size;
        if (*text == ',' && *++text == '\0')
            return -EINVAL;
    }
    c->gateway_v4 = v4;
    c->gateway_v6 = v6;
    return 0;
}

bool address_is_zero(uint8_t family, const uint8_t *addr)
{
    static const uint8_t zero[16];

    return memcmp(addr, zero, address_size(family)) == 0;
}

/* Our entry for 'addr', in any state but free; NULL: none. */
static const struct own_address *own_find(const struct net_stack *s, uint8_t family,
                                          const uint8_t *addr)
{
    for (uint32_t i = 0; i < s->own_count; i++) {
        const struct own_address *o = &s->own[i];
        if (o->address.family == family && o->state != OWN_FREE &&
            address_is_equal(family, o->address.addr, addr))
            return o;
    }
    return NULL;
}

bool address_is_own(const struct net_stack *s, uint8_t family, const uint8_t *addr)
{
    const struct own_address *o = own_find(s, family, addr);

    return o != NULL && o->state == OWN_USABLE;
}

bool address_is_configured(const struct net_stack *s, uint8_t family, const uint8_t *addr)
{
    return own_find(s, family, addr) != NULL;
}

static bool prefix_covers(const struct net_address *a, const uint8_t *addr)
{
    size_t whole = a->prefix_bits / 8;
    unsigned rest = a->prefix_bits % 8;

    if (memcmp(a->addr, addr, whole) != 0)
        return false;
    return rest == 0 || (a->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

bool address_is_broadcast(const struct net_stack *s, const uint8_t *addr)
{
    uint32_t value = load_be32(addr);

    if (value == UINT32_MAX)
        return true;
    for (uint32_t i = 0; i < s->own_fixed; i++) {
        const struct net_address *a = &s->own[i].address;
        if (a->family != 4 || a->prefix_bits >= 31) /* RFC 3021: /31 has none */
            continue;
        uint32_t host_bits = UINT32_MAX >> a->prefix_bits;
        if ((value & host_bits) == host_bits && prefix_covers(a, addr))
            return true;
    }
    return false;
}

bool address_is_on_link(const struct net_stack *s, uint8_t family, const uint8_t *addr)
{
    if (family == 6 && address_is_link_local(addr))
        return true;
    for (uint32_t i = 0; i < s->own_count; i++) {
        const struct own_address *o = &s->own[i];
        if (o->address.family == family && o->state != OWN_FREE && o->is_on_link &&
            prefix_covers(&o->address, addr))
            return true;
    }
    return false;
}

/* How well 'o' suits as source towards 'destination' (RFC 6724 §5, as far as it concerns us):
 * same prefix, then not deprecated. 0: not at all. */
static unsigned suits(const struct net_stack *s, const struct own_address *o, uint8_t family,
                      const uint8_t *destination)
{
    bool is_near = family == 6 && (address_is_link_local(destination) ||
                                   (destination[0] == 0xff && (destination[1] & 0x0f) == 2));

    if (o->state != OWN_USABLE || o->address.family != family ||
        (family == 6 && address_is_link_local(o->address.addr) != is_near))
        return 0;
    return 1 + (s->now_us < o->preferred_until_us ? 1u : 0u) +
           (prefix_covers(&o->address, destination) ? 2u : 0u);
}

const uint8_t *address_for(const struct net_stack *s, uint8_t family, const uint8_t *destination)
{
    const struct own_address *best = NULL;
    unsigned best_suits = 0;

    for (uint32_t i = 0; i < s->own_count; i++) {
        unsigned now = suits(s, &s->own[i], family, destination);
        if (now > best_suits) {
            best = &s->own[i];
            best_suits = now;
        }
    }
    return best != NULL ? best->address.addr : NULL;
}

struct endpoint endpoint_of(uint8_t family, const uint8_t *addr, uint16_t port)
{
    struct endpoint e = {.port = port, .family = family};

    memcpy(e.addr, addr, address_size(family));
    return e;
}

bool endpoint_takes(const struct endpoint *bound, uint8_t family, const uint8_t *addr,
                    uint16_t port)
{
    if (bound->port != port)
        return false;
    if (endpoint_is_any(bound))
        return bound->family == 6 || bound->family == family;
    return bound->family == family && memcmp(bound->addr, addr, address_size(family)) == 0;
}
