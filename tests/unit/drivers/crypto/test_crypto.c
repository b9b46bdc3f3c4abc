#include "drivers/crypto/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* RFC 4231 section 4.2, 4.3 and 4.7 (a key longer than a block). */
static void test_crypto_hmac_matches_rfc4231(void **state)
{
    static const uint8_t expected_1[32] =
        "\xb0\x34\x4c\x61\xd8\xdb\x38\x53\x5c\xa8\xaf\xce\xaf\x0b\xf1\x2b"
        "\x88\x1d\xc2\x00\xc9\x83\x3d\xa7\x26\xe9\x37\x6c\x2e\x32\xcf\xf7";
    static const uint8_t expected_2[32] =
        "\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7"
        "\x5a\x00\x3f\x08\x9d\x27\x39\x83\x9d\xec\x58\xb9\x64\xec\x38\x43";
    static const uint8_t expected_6[32] =
        "\x60\xe4\x31\x59\x1e\xe0\xb6\x7f\x0d\x8a\x26\xaa\xcb\xf5\xb7\x7f"
        "\x8e\x0b\xc6\x21\x37\x28\xc5\x14\x05\x46\x04\x0f\x0e\xe3\x7f\x54";
    uint8_t key[131];
    uint8_t out[32];
    struct bytes data = bytes_of_str("Hi There");

    (void)state;
    memset(key, 0x0b, sizeof(key));
    crypto_hmac_sha256(bytes_of(key, 20), &data, 1, out);
    assert_memory_equal(out, expected_1, 32);

    struct bytes parts[] = {bytes_of_str("what do ya want "), {0}, bytes_of_str("for nothing?")};
    crypto_hmac_sha256(bytes_of_str("Jefe"), parts, 3, out);
    assert_memory_equal(out, expected_2, 32);

    memset(key, 0xaa, sizeof(key));
    data = bytes_of_str("Test Using Larger Than Block-Size Key - Hash Key First");
    crypto_hmac_sha256(bytes_of(key, sizeof(key)), &data, 1, out);
    assert_memory_equal(out, expected_6, 32);
}

static void test_crypto_is_equal_compares_size_and_content(void **state)
{
    (void)state;
    assert_true(crypto_is_equal(bytes_of_str("abc"), bytes_of_str("abc")));
    assert_false(crypto_is_equal(bytes_of_str("abc"), bytes_of_str("abd")));
    assert_false(crypto_is_equal(bytes_of_str("abc"), bytes_of_str("abcd")));
    assert_true(crypto_is_equal((struct bytes){0}, (struct bytes){0}));
    assert_false(crypto_is_equal((struct bytes){0}, bytes_of_str("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crypto_hmac_matches_rfc4231),
        cmocka_unit_test(test_crypto_is_equal_compares_size_and_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
