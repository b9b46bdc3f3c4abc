/* A packet of any bytes is refused, or is a message that encodes to the same bytes. */
#include <string.h>

#include "common/abi/link.h"
#include "common/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct link_message m;
    static uint8_t packet[LINK_MESSAGE_MAX];

    memset(&m, 0, sizeof(m));
    if (link_decode(bytes_of(data, size), &m) < 0)
        return 0;
    if (m.type == LINK_HELLO && m.hello.version != LINK_VERSION)
        return 0; /* the rest of it is not ours to read */
    CHECK(size <= LINK_MESSAGE_MAX);
    size_t encoded = link_encode(&m, packet);
    CHECK(encoded == size && memcmp(packet, data, size) == 0);
    return 0;
}
