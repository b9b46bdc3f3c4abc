/* crypto.h - the few primitives of libcrypto that are used outside TLS.
 *
 * Thin, without state and without allocation: callable from a shard. A failure inside
 * libcrypto here means a broken build or no memory at all, so it aborts. */
#ifndef DRIVERS_CRYPTO_CRYPTO_H
#define DRIVERS_CRYPTO_CRYPTO_H

#include "common/bytes.h"

enum { CRYPTO_SHA256_SIZE = 32 };

/* HMAC-SHA256 (RFC 2104, RFC 6234) over the 'count' parts in order, as if they were one. */
void crypto_hmac_sha256(struct bytes key, const struct bytes *parts, size_t count,
                        uint8_t out[static CRYPTO_SHA256_SIZE]);

/* Compares in a time that depends on the sizes only, never on the contents. */
bool crypto_is_equal(struct bytes a, struct bytes b);

#endif
