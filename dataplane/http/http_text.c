#include "dataplane/http/http_text.h"

#include <stdarg.h>

#include "common/counters.h"
#include "dataplane/core/shard.h"

struct http_text *http_text_take(struct http_server *server)
{
    struct list *node = list_pop_front(&server->free_texts);

    if (node == NULL)
        return NULL;
    struct http_text *t = CONTAINER_OF(node, struct http_text, link);
    t->count = 0;
    t->size = 0;
    t->w = (struct writer){0};
    t->failed = false;
    return t;
}

void http_text_release(struct http_text **pt)
{
    struct http_text *t = *pt;

    *pt = NULL;
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->count; i++)
        blob_unref(&t->blobs[i]);
    list_push_front(&t->server->free_texts, &t->link);
}

/* What was written becomes the last blob's size. */
static void text_seal(struct http_text *t)
{
    if (t->count > 0)
        t->blobs[t->count - 1]->size = (uint32_t)t->w.size;
}

/* Starts another blob; false: none to be had. */
static bool text_grow(struct http_text *t)
{
    struct blob_pool *pool = t->server->shard->small_blobs;
    struct blob *blob = t->count < HTTP_TEXT_BLOBS_MAX ? blob_pool_get(pool) : NULL;

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
        t->size += size;
        rest = bytes_from(rest, size);
    }
}

size_t http_text_room(const struct http_text *t)
{
    size_t blobs_left = HTTP_TEXT_BLOBS_MAX - t->count;

    return (t->w.capacity - t->w.size) +
           blobs_left * blob_pool_blob_size(t->server->shard->small_blobs);
}

void http_text_reply(struct http_text *t, struct http_conn *c, struct http_head *head)
{
    if (t == NULL || t->failed) {
        http_text_release(&t);
        counter_inc(&http_conn_counters(c)->http_out_of_blobs);
        http_reply_text(c, 503, 1, "Out of memory for the answer; try again.");
        return;
    }
    text_seal(t);
    head->status = 200;
    head->content_length = t->size;
    c->body = (struct http_body){.text = t, .left = c->is_head ? 0 : t->size};
    http_reply_body(c, head);
}

enum http_gather_result http_text_gather(struct http_body *body, struct http_gather *g)
{
    const struct http_text *t = body->text;

    while (body->left > 0 && g->count < HTTP_GATHER_MAX && g->bytes < g->budget) {
        struct blob *blob = t->blobs[body->part++];
        http_gather_add(g, blob_ref(blob), 0, blob->size);
        body->left -= blob->size;
    }
    return body->left == 0 ? HTTP_GATHER_END : HTTP_GATHER_MORE;
}
