/* rtmp_handshake.h - the server's side of the RTMP handshake, simple and with digests.
 *
 * Simple: RTMP 1.0 section 5.2. With digests: a client that fills the version field of C1
 * proves with an HMAC-SHA256, at one of two places in C1, that it is (like) a Flash player,
 * and expects the same of the server. Which one is used is found from C1 alone; a C1 whose
 * digest does not verify gets the simple handshake.
 *
 * Sans-I/O. A zeroed struct is the start. */
#ifndef DATAPLANE_RTMP_RTMP_HANDSHAKE_H
#define DATAPLANE_RTMP_RTMP_HANDSHAKE_H

#include "common/bytes.h"
#include "common/writer.h"

enum {
    RTMP_HANDSHAKE_SIZE = 1536,                             /* of C1, C2, S1, S2 */
    RTMP_HANDSHAKE_REPLY_SIZE = 1 + 2 * RTMP_HANDSHAKE_SIZE /* S0 S1 S2 */
};

enum rtmp_handshake_kind {
    RTMP_HANDSHAKE_SIMPLE,
    RTMP_HANDSHAKE_DIGEST_0, /* digest in the first half of C1, from byte 8 on */
    RTMP_HANDSHAKE_DIGEST_1  /* digest in the second half, from byte 772 on */
};

struct rtmp_random {
    uint64_t (*next)(void *user);
    void *user;
};

struct rtmp_handshake {
    uint32_t received_bytes;
    enum rtmp_handshake_kind kind;
    bool is_done; /* C2 has been received: what follows is chunks */
    uint8_t c1[RTMP_HANDSHAKE_SIZE];
};

/* Takes what belongs to the handshake off the front of '*in'. When C1 is complete, appends S0 S1 S2
 * (RTMP_HANDSHAKE_REPLY_SIZE bytes) to 'reply'. 0; -EPROTONOSUPPORT: C0 is not version 3, so this
 * is not plain RTMP; -ENOSPC: no room in 'reply'. */
int rtmp_handshake_push(struct rtmp_handshake *h, struct bytes *in, uint32_t now_ms,
                        const struct rtmp_random *random, struct writer *reply);

#endif
