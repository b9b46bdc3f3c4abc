/* fuzz_http_request.c - a request head, whole and byte by byte: the same outcome, and nothing read
 * past what was given. */
#include <stdlib.h>

#include "common/check.h"
#include "dataplane/http/http_conditional.h"
#include "dataplane/http/http_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_MAX = 2048 };

static bool is_inside(struct bytes inner, const uint8_t *outer, size_t size)
{
    return inner.size == 0 || (inner.ptr >= outer && inner.size <= size &&
                               (size_t)(inner.ptr - outer) <= size - inner.size);
}

static void check_request(const struct http_request *r, const uint8_t *data, size_t size)
{
    uint64_t first = 0;
    uint64_t count = 0;
    struct bytes value;

    CHECK(r->is_asterisk || r->method == HTTP_OTHER || r->path.size > 0);
    CHECK(r->path.size == 0 || r->path.ptr[0] == '/');
    CHECK(r->path.size < 3 || memmem(r->path.ptr, r->path.size, "/../", 4) == NULL);
    CHECK(r->path.size == 0 || memchr(r->path.ptr, '\0', r->path.size) == NULL);
    CHECK(!(r->has_chunked_body && r->body_bytes > 0));
    CHECK(is_inside(r->host, data, size) && is_inside(r->query, data, size));
    CHECK(is_inside(r->range, data, size) && is_inside(r->if_none_match, data, size));
    (void)http_query_find(r->query, "_HLS_msn", &value);
    (void)http_etag_list_has(r->if_none_match, bytes_of_str("\"0123456789abcdef\""), false);
    if (http_range_parse(r->range, 1000, &first, &count) == HTTP_RANGE_PART)
        CHECK(count > 0 && first < 1000 && count <= 1000 - first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head_scan whole = {0};
    struct http_head_scan bytewise = {0};
    struct http_request r;
    size_t whole_size = 0;
    size_t bytewise_size = 0;
    int bytewise_status = 0;

    int status = http_head_scan(&whole, bytes_of(data, size), HEAD_MAX, &whole_size);
    for (size_t end = 0; end <= size && bytewise_status == 0 && bytewise_size == 0; end++)
        bytewise_status = http_head_scan(&bytewise, bytes_of(data, end), HEAD_MAX, &bytewise_size);
    CHECK(status == bytewise_status && whole_size == bytewise_size);
    CHECK(whole_size <= size);
    if (status == 0 && whole_size > 0 && http_request_parse(bytes_of(data, whole_size), &r) == 0)
        check_request(&r, data, whole_size);
    return 0;
}
