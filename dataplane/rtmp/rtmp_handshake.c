#include "dataplane/rtmp/rtmp_handshake.h"

#include <errno.h>

#include "common/check.h"
#include "drivers/crypto/crypto.h"

enum {
    VERSION = 3,
    DIGEST_SIZE = CRYPTO_SHA256_SIZE,
    DIGEST_RANGE = 764 - DIGEST_SIZE - 4, /* a digest block is 764 bytes with a 4-byte offset */
    CLIENT_KEY_SIZE = 30,                 /* of player_key and server_key: the text alone */
    SERVER_KEY_SIZE = 36
};

/* Well-known to every implementation, so no secrets: the text, then 32 fixed bytes. */
#define FIXED_BYTES                                                                                \
    "\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57"                             \
    "\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae"
static const char player_key[] = "Genuine Adobe Flash Player 001";
static const char server_key[] = "Genuine Adobe Flash Media Server 001" FIXED_BYTES;
static_assert(sizeof(player_key) == CLIENT_KEY_SIZE + 1, "key text");
static_assert(sizeof(server_key) == SERVER_KEY_SIZE + 32 + 1, "key text and fixed bytes");

/* Where the digest lies in a C1 or S1: the sum of four bytes says how far into its block. */
static size_t digest_position(const uint8_t packet[static RTMP_HANDSHAKE_SIZE],
                              enum rtmp_handshake_kind kind)
{
    size_t block = kind == RTMP_HANDSHAKE_DIGEST_0 ? 8 : 772;
    size_t sum = (size_t)packet[block] + packet[block + 1] + packet[block + 2] + packet[block + 3];

    return block + 4 + sum % DIGEST_RANGE;
}

/* The HMAC over the packet without the digest itself. */
static void digest_compute(const uint8_t packet[static RTMP_HANDSHAKE_SIZE], size_t position,
                           struct bytes key, uint8_t out[static DIGEST_SIZE])
{
    size_t after = position + DIGEST_SIZE;
    struct bytes parts[] = {bytes_of(packet, position),
                            bytes_of(packet + after, RTMP_HANDSHAKE_SIZE - after)};

    crypto_hmac_sha256(key, parts, ARRAY_COUNT(parts), out);
}

static bool digest_is_valid(const uint8_t c1[static RTMP_HANDSHAKE_SIZE],
                            enum rtmp_handshake_kind kind)
{
    size_t position = digest_position(c1, kind);
    uint8_t expected[DIGEST_SIZE];

    digest_compute(c1, position, bytes_of(player_key, CLIENT_KEY_SIZE), expected);
    return crypto_is_equal(bytes_of(expected, DIGEST_SIZE), bytes_of(c1 + position, DIGEST_SIZE));
}

static enum rtmp_handshake_kind kind_of(const uint8_t c1[static RTMP_HANDSHAKE_SIZE])
{
    static const uint8_t no_version[4] = {0};

    if (memcmp(c1 + 4, no_version, sizeof(no_version)) == 0)
        return RTMP_HANDSHAKE_SIMPLE;
    if (digest_is_valid(c1, RTMP_HANDSHAKE_DIGEST_0))
        return RTMP_HANDSHAKE_DIGEST_0;
    if (digest_is_valid(c1, RTMP_HANDSHAKE_DIGEST_1))
        return RTMP_HANDSHAKE_DIGEST_1;
    return RTMP_HANDSHAKE_SIMPLE;
}

static void fill_random(uint8_t *at, size_t size, const struct rtmp_random *random)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = random->next(random->user);

        memcpy(at + i, &word, size - i < 8 ? size - i : 8);
    }
}

/* S1 carries our digest; S2 is random bytes signed with a key made from the client's digest. */
static void sign(const struct rtmp_handshake *h, uint8_t *s1, uint8_t *s2)
{
    static const uint8_t server_version[4] = {4, 5, 0, 1}; /* clients expect digests from 3 on */
    uint8_t key[DIGEST_SIZE];

    memcpy(s1 + 4, server_version, sizeof(server_version));
    size_t position = digest_position(s1, h->kind);
    digest_compute(s1, position, bytes_of(server_key, SERVER_KEY_SIZE), s1 + position);

    struct bytes client_digest = bytes_of(h->c1 + digest_position(h->c1, h->kind), DIGEST_SIZE);
    crypto_hmac_sha256(bytes_of(server_key, sizeof(server_key) - 1), &client_digest, 1, key);
    struct bytes signed_part = bytes_of(s2, RTMP_HANDSHAKE_SIZE - DIGEST_SIZE);
    crypto_hmac_sha256(bytes_of(key, sizeof(key)), &signed_part, 1, s2 + signed_part.size);
}

static int answer(struct rtmp_handshake *h, uint32_t now_ms, const struct rtmp_random *random,
                  struct writer *reply)
{
    uint8_t *s0 = writer_reserve(reply, RTMP_HANDSHAKE_REPLY_SIZE);

    if (s0 == NULL)
        return -ENOSPC;
    uint8_t *s1 = s0 + 1;
    uint8_t *s2 = s1 + RTMP_HANDSHAKE_SIZE;

    s0[0] = VERSION;
    fill_random(s1, RTMP_HANDSHAKE_SIZE, random);
    for (size_t i = 0; i < 4; i++) {
        s1[i] = (uint8_t)(now_ms >> (24 - 8 * i));
        s1[4 + i] = 0;
    }
    h->kind = kind_of(h->c1);
    if (h->kind == RTMP_HANDSHAKE_SIMPLE) {
        /* Section 5.2.4 puts the time of receipt into bytes 4..7; clients that check S2 at all
         * compare it with C1 as a whole, so it is an exact echo. */
        memcpy(s2, h->c1, RTMP_HANDSHAKE_SIZE);
        return 0;
    }
    fill_random(s2, RTMP_HANDSHAKE_SIZE, random);
    sign(h, s1, s2);
    return 0;
}

int rtmp_handshake_push(struct rtmp_handshake *h, struct bytes *in, uint32_t now_ms,
                        const struct rtmp_random *random, struct writer *reply)
{
    enum { C1_END = 1 + RTMP_HANDSHAKE_SIZE, C2_END = C1_END + RTMP_HANDSHAKE_SIZE };

    if (h->received_bytes == 0 && in->size > 0) {
        if (in->ptr[0] != VERSION)
            return -EPROTONOSUPPORT;
        *in = bytes_from(*in, 1);
        h->received_bytes = 1;
    }
    if (h->received_bytes < C1_END && in->size > 0) {
        size_t missing = C1_END - h->received_bytes;
        size_t taken = in->size < missing ? in->size : missing;

        memcpy(h->c1 + h->received_bytes - 1, in->ptr, taken);
        h->received_bytes += (uint32_t)taken;
        *in = bytes_from(*in, taken);
        if (h->received_bytes == C1_END) {
            int error = answer(h, now_ms, random, reply);

            if (error != 0)
                return error;
        }
    }
    /* What C2 says is not checked: half of the clients send something else than an echo. */
    if (h->received_bytes >= C1_END && h->received_bytes < C2_END) {
        size_t missing = C2_END - h->received_bytes;
        size_t taken = in->size < missing ? in->size : missing;

        h->received_bytes += (uint32_t)taken;
        *in = bytes_from(*in, taken);
        h->is_done = h->received_bytes == C2_END;
    }
    return 0;
}
