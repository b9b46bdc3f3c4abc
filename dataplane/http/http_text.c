#include "dataplane/http/http_text.h"

#include <stdarg.h>

#include "common/counters.h"

void http_text_init(struct http_text *t, struct blob_pool *pool)
{
    t->pool = pool;
    t->count = 0;
    t->w = (struct writer){0};
    t->failed = false;
}

static void text_seal(struct http_text *t)
{
    if (t->count > 0)
        t->blobs[t->count - 1]->size = (uint32_t)t->w.size;
}

/* Starts another blob; false: none to be had. */
static bool text_grow(struct http_text *t)
{
    struct blob *blob = t->count < HTTP_TEXT_BLOBS_MAX ? blob_pool_get(t->pool) : NULL;

    if (blob == NULL)
        return false;
    text_seal(t);
    t->blobs[t->count++] = blob;
    t->w = writer_of(blob_pool_data(blob), blob->size);
    return true;
}

void http_text_printf(struct http_text *t, const char *format, ...)
{
    char line[HTTP_TEXT_PRINT_MAX];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof(line))
        t->failed = true;
    struct bytes rest = bytes_of(line, t->failed ? 0 : (size_t)length);
    while (rest.size > 0) {
        size_t room = t->w.capacity - t->w.size;
        if (room == 0 && !text_grow(t)) {
            t->failed = true;
            return;
        }
        room = t->w.capacity - t->w.size;
        size_t size = rest.size < room ? rest.size : room;
        writer_put(&t->w, bytes_of(rest.ptr, size));
        rest = bytes_from(rest, size);
    }
}

size_t http_text_room(const struct http_text *t)
{
    size_t blobs_left = HTTP_TEXT_BLOBS_MAX - t->count;

    return (t->w.capacity - t->w.size) + blobs_left * blob_pool_blob_size(t->pool);
}

void http_text_reply(struct http_text *t, struct http_conn *c, struct http_head *head)
{
    text_seal(t);
    if (!t->failed) {
        head->status = 200;
        http_reply_blobs(c, head, t->blobs, t->count);
    } else {
        for (size_t i = 0; i < t->count; i++)
            blob_unref(&t->blobs[i]);
        counter_inc(&http_conn_counters(c)->http_out_of_blobs);
        http_reply_text(c, 503, 1, "Out of memory for the answer; try again.");
    }
    t->count = 0;
}
