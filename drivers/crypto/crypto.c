/* The one-shot HMAC() of OpenSSL 3 fetches and allocates on every call; the SHA256_ functions
 * work in the caller's memory. They are marked deprecated there, hence the API level. */
#define OPENSSL_API_COMPAT 0x10100000L

#include "drivers/crypto/crypto.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "common/check.h"

static_assert(CRYPTO_SHA256_SIZE == SHA256_DIGEST_LENGTH, "size of a SHA-256 digest");

static void hash_begin(SHA256_CTX *hash, const uint8_t key[static SHA256_CBLOCK], uint8_t pad)
{
    uint8_t block[SHA256_CBLOCK];

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)(key[i] ^ pad);
    CHECK(SHA256_Init(hash) == 1);
    CHECK(SHA256_Update(hash, block, sizeof(block)) == 1);
    OPENSSL_cleanse(block, sizeof(block));
}

void crypto_hmac_sha256(struct bytes key, const struct bytes *parts, size_t count,
                        uint8_t out[static CRYPTO_SHA256_SIZE])
{
    uint8_t block_key[SHA256_CBLOCK] = {0}; /* K of RFC 2104 section 2 */
    SHA256_CTX hash;

    if (key.size > sizeof(block_key))
        SHA256(key.ptr, key.size, block_key);
    else if (key.size > 0)
        memcpy(block_key, key.ptr, key.size);

    hash_begin(&hash, block_key, 0x36);
    for (size_t i = 0; i < count; i++)
        if (parts[i].size > 0)
            CHECK(SHA256_Update(&hash, parts[i].ptr, parts[i].size) == 1);
    uint8_t inner[CRYPTO_SHA256_SIZE];
    CHECK(SHA256_Final(inner, &hash) == 1);

    hash_begin(&hash, block_key, 0x5c);
    CHECK(SHA256_Update(&hash, inner, sizeof(inner)) == 1);
    CHECK(SHA256_Final(out, &hash) == 1);
    OPENSSL_cleanse(block_key, sizeof(block_key));
    OPENSSL_cleanse(&hash, sizeof(hash));
}

bool crypto_is_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.size) == 0);
}
