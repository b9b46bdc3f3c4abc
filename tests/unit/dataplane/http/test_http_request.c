#include "dataplane/http/http_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"

enum { HEAD_MAX = 4096 };

/* Delimits and parses, as a connection does with all bytes at once. */
static int read_head(struct bytes in, struct http_request *r, size_t *ret_size)
{
    struct http_head_scan scan = {0};
    int status = http_head_scan(&scan, in, HEAD_MAX, ret_size);

    if (status != 0 || *ret_size == 0)
        return status;
    return http_request_parse(bytes_of(in.ptr, *ret_size), r);
}

struct refusal {
    const char *head;
    int status;
};

#define HOST "Host: a\r\n"

static const struct refusal refusals[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", 0},
    {"GET / HTTP/1.9\r\n" HOST "\r\n", 0},
    {"HEAD /a%20b?c=d HTTP/1.1\r\n" HOST "\r\n", 0},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET http://a/b HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET http://a?b HTTP/1.1\r\n" HOST "\r\n", 0},
    {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n", 0},
    {"CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nhOsT:\t [::1]:80 \t\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" HOST "X: a\tb \x80\xff\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", 0},
    /* request line */
    {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
    {"PRI * HTTP/2.0\r\n\r\n", 505},
    {"GET / http/1.1\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\r\n\r\n", 400},
    {"GET\r\n\r\n", 400},
    {"GET / HTTP/11\r\n" HOST "\r\n", 400},
    {"BREW / HTTP/1.1\r\n" HOST "\r\n", 501},
    {"get / HTTP/1.1\r\n" HOST "\r\n", 501},
    {"G@T / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET ftp://a/b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http:///b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
    /* path */
    {"GET /% HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /%4 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /%00 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a%2fb HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /%0d%0aX HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /.. HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a/../../b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /%2e%2E/etc HTTP/1.1\r\n" HOST "\r\n", 400},
    /* fields */
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n X: a\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\x80: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", 417},
    /* framing: what requests are smuggled with */
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501},
    {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    /* not HTTP */
    {"\x16\x03\x01\x02", 400},
    {" GET / HTTP/1.1\r\n\r\n", 400},
};

static void test_request_is_refused_with_its_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct http_request r;
        size_t size;
        int status = read_head(bytes_of_str(refusals[i].head), &r, &size);
        if (status != refusals[i].status)
            fail_msg("%s: expected %d, got %d", refusals[i].head, refusals[i].status, status);
        if (status == 0)
            assert_int_equal(size, strlen(refusals[i].head));
    }
}

/* However the bytes are cut, the outcome is the same. */
static void test_request_split_anywhere_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct bytes all = bytes_of_str(refusals[i].head);
        for (size_t cut = 0; cut <= all.size; cut++) {
            struct http_head_scan scan = {0};
            struct http_request r;
            size_t size = 0;
            int status = http_head_scan(&scan, bytes_of(all.ptr, cut), HEAD_MAX, &size);
            if (status == 0 && size == 0)
                status = http_head_scan(&scan, all, HEAD_MAX, &size);
            if (status == 0 && size > 0)
                status = http_request_parse(bytes_of(all.ptr, size), &r);
            if (status != refusals[i].status)
                fail_msg("%s cut at %zu: expected %d, got %d", refusals[i].head, cut,
                         refusals[i].status, status);
        }
    }
}

static void test_request_bytewise_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct bytes all = bytes_of_str(refusals[i].head);
        struct http_head_scan scan = {0};
        struct http_request r;
        size_t size = 0;
        int status = 0;
        for (size_t end = 1; end <= all.size && status == 0 && size == 0; end++)
            status = http_head_scan(&scan, bytes_of(all.ptr, end), HEAD_MAX, &size);
        if (status == 0 && size > 0)
            status = http_request_parse(bytes_of(all.ptr, size), &r);
        assert_int_equal(status, refusals[i].status);
    }
}

static struct http_request parsed(const char *head)
{
    static struct http_request r; /* its path is borrowed from itself */
    size_t size;
    int status = read_head(bytes_of_str(head), &r, &size);

    if (status != 0)
        fail_msg("%s: refused with %d", head, status);
    return r;
}

static void expect_path(const char *target, const char *path, const char *query)
{
    static struct http_request r;
    char head[512];
    size_t size;

    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\n" HOST "\r\n", target);
    assert_int_equal(read_head(bytes_of_str(head), &r, &size), 0);
    if (!bytes_equal_str(r.path, path) || !bytes_equal_str(r.query, query))
        fail_msg("%s: expected %s ? %s, got %.*s ? %.*s", target, path, query, (int)r.path.size,
                 (const char *)r.path.ptr, (int)r.query.size, (const char *)r.query.ptr);
}

static void test_request_path_is_decoded_and_normalised(void **state)
{
    (void)state;
    expect_path("/", "/", "");
    expect_path("/a/b", "/a/b", "");
    expect_path("/a/./b", "/a/b", "");
    expect_path("/a/../b", "/b", "");
    expect_path("/a/b/..", "/a/", "");
    expect_path("/a/b/.", "/a/b/", "");
    expect_path("/a/..", "/", "");
    expect_path("/.", "/", "");
    expect_path("/a//b", "/a//b", "");
    expect_path("/a/%2e%2e/b", "/b", "");
    expect_path("/...", "/...", "");
    expect_path("/a%41%7E%20", "/aA~ ", "");
    expect_path("/a?", "/a", "");
    expect_path("/a?b=/../c", "/a", "b=/../c");
    expect_path("/a?b?c", "/a", "b?c");
    expect_path("http://host", "/", "");
    expect_path("HTTP://host:80/x/y?z", "/x/y", "z");
    expect_path("https://host?q=1", "/", "q=1");
}

static void test_request_keep_alive_by_version(void **state)
{
    (void)state;
    assert_true(parsed("GET / HTTP/1.1\r\n" HOST "\r\n").is_keep_alive);
    assert_false(parsed("GET / HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n").is_keep_alive);
    assert_false(parsed("GET / HTTP/1.0\r\n\r\n").is_keep_alive);
    assert_true(parsed("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").is_keep_alive);
    assert_false(parsed("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").is_keep_alive);
}

static void test_request_fields_are_read(void **state)
{
    (void)state;
    struct http_request r =
        parsed("GET / HTTP/1.1\r\nHost: h:1\r\nRange: bytes=0-1\r\n"
               "If-Range: \"x\"\r\nIf-None-Match: \"a\", \"b\"\r\nIf-Match: *\r\n"
               "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");

    assert_true(bytes_equal_str(r.host, "h:1"));
    assert_true(bytes_equal_str(r.range, "bytes=0-1"));
    assert_true(bytes_equal_str(r.if_range, "\"x\""));
    assert_true(bytes_equal_str(r.if_none_match, "\"a\", \"b\""));
    assert_true(bytes_equal_str(r.if_match, "*"));
    assert_int_equal(r.body_bytes, 12);
    assert_true(r.expects_continue);
}

static void test_request_repeated_range_is_ignored(void **state)
{
    (void)state;
    struct http_request r =
        parsed("GET / HTTP/1.1\r\n" HOST "Range: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n");

    assert_int_equal(r.range.size, 0);
}

static void test_request_limits(void **state)
{
    (void)state;
    static char head[HEAD_MAX * 2];
    struct http_head_scan scan = {0};
    size_t size;

    int length = snprintf(head, sizeof(head), "GET /");
    memset(head + length, 'a', HTTP_TARGET_MAX + 100);
    assert_int_equal(http_head_scan(&scan, bytes_of(head, HTTP_TARGET_MAX + 105), HEAD_MAX, &size),
                     414);

    length = snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nX: ");
    memset(head + length, 'a', sizeof(head) - (size_t)length);
    scan = (struct http_head_scan){0};
    assert_int_equal(http_head_scan(&scan, bytes_of(head, HEAD_MAX - 1), HEAD_MAX, &size), 0);
    assert_int_equal(size, 0);
    assert_int_equal(http_head_scan(&scan, bytes_of(head, HEAD_MAX), HEAD_MAX, &size), 431);

    struct http_request r;
    struct bytes many = {.ptr = (const uint8_t *)head};
    many.size = (size_t)snprintf(head, sizeof(head), "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        many.size += (size_t)snprintf(head + many.size, sizeof(head) - many.size, "A:\r\n");
    many.size += (size_t)snprintf(head + many.size, sizeof(head) - many.size, "\r\n");
    assert_int_equal(read_head(many, &r, &size), 431);
}

static void test_query_find(void **state)
{
    (void)state;
    struct bytes value;
    struct bytes query = bytes_of_str("a=1&_HLS_msn=42&b&_HLS_msn=43&c=");

    assert_true(http_query_find(query, "_HLS_msn", &value));
    assert_true(bytes_equal_str(value, "42"));
    assert_true(http_query_find(query, "b", &value));
    assert_int_equal(value.size, 0);
    assert_true(http_query_find(query, "c", &value));
    assert_int_equal(value.size, 0);
    assert_false(http_query_find(query, "_HLS", &value));
    assert_false(http_query_find((struct bytes){0}, "a", &value));
}

static void test_accepts_coding(void **state)
{
    static const struct {
        const char *value;
        bool accepts;
    } table[] = {
        {"gzip", true},
        {"deflate, GZip;q=0.5, br", true},
        {"*", true},
        {"br, *;q=0.1", true},
        {"gzip ; q=0.001", true},
        {"", false},
        {"br", false},
        {"gzip;q=0", false},
        {"gzip;q=0.000, *", false},
        {"*;q=0", false},
        {"xgzip", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (http_accepts_coding(bytes_of_str(table[i].value), "gzip") != table[i].accepts)
            fail_msg("'%s'", table[i].value);
}

static void test_number_parse(void **state)
{
    (void)state;
    uint64_t n = 7;

    assert_true(http_number_parse(bytes_of_str("18446744073709551615"), &n));
    assert_true(n == UINT64_MAX);
    assert_true(http_number_parse(bytes_of_str("007"), &n));
    assert_int_equal(n, 7);
    assert_false(http_number_parse(bytes_of_str("18446744073709551616"), &n));
    assert_false(http_number_parse(bytes_of_str(""), &n));
    assert_false(http_number_parse(bytes_of_str("-1"), &n));
    assert_false(http_number_parse(bytes_of_str("1 "), &n));
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_is_refused_with_its_status),
        cmocka_unit_test(test_request_split_anywhere_gives_the_same),
        cmocka_unit_test(test_request_bytewise_gives_the_same),
        cmocka_unit_test(test_request_path_is_decoded_and_normalised),
        cmocka_unit_test(test_request_keep_alive_by_version),
        cmocka_unit_test(test_request_fields_are_read),
        cmocka_unit_test(test_request_repeated_range_is_ignored),
        cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_query_find),
        cmocka_unit_test(test_accepts_coding),
        cmocka_unit_test(test_number_parse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
