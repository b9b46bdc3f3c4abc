/* http_reply.c - answering: heads, bodies, and how much of them is queued at once. */
#include <errno.h>
#include <stdarg.h>

#include "common/check.h"
#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_conditional.h"
#include "dataplane/http/http_conn.h"
#include "dataplane/http/http_text.h"
#include "dataplane/http/live_routes.h"
#include "drivers/net/transport.h"

enum { REPLY_TEXT_MAX = 512, ERROR_MAX_AGE_S = 1 };

void http_conn_drop_response(struct http_conn *c)
{
    blob_unref(&c->head);
    blob_unref(&c->body.blob);
    http_text_release(&c->body.text);
    c->body.left = 0;
}

void http_gather_add(struct http_gather *g, struct blob *blob, uint32_t offset, uint32_t size)
{
    DCHECK(g->count < HTTP_GATHER_MAX);
    g->extents[g->count++] = (struct extent){.blob = blob, .offset = offset, .size = size};
    g->bytes += size;
}

static void gather_release(struct http_gather *g)
{
    for (size_t i = 0; i < g->count; i++)
        blob_unref(&g->extents[i].blob);
    g->count = 0;
}

/* The stream cannot take more just now. Its sendable event comes when the queue falls to the
 * low-water mark from above, so the mark must be below what is queued. */
static void wait_for_room(struct http_conn *c)
{
    struct stream *s = c->stream;

    if (s->queued_bytes == 0)
        http_conn_abort(c); /* an empty queue that takes nothing never will */
    else if (s->low_water_bytes >= s->queued_bytes)
        s->low_water_bytes = s->queued_bytes - 1;
}

int http_conn_send(struct http_conn *c, const struct extent *extents, size_t count)
{
    struct stream *s = c->stream;
    uint64_t now_us = c->server->shard->now_us;
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += extents[i].size;
    if (s->queued_bytes == 0) {
        c->progress_us = now_us;
        c->taken_bytes = c->sent_bytes;
    }
    int err = stream_send(s, extents, count);
    if (err < 0)
        return err;
    c->sent_bytes += bytes;
    counter_add(&http_conn_counters(c)->http_sent_bytes, bytes);
    http_conn_arm(c, now_us + c->server->send_timeout_us / 4);
    return 0;
}

/* Sends what was gathered and drops its references; false: nothing was taken, and the connection
 * waits for room or is over. */
static bool gather_send(struct http_conn *c, struct http_gather *g)
{
    int err = g->count > 0 ? http_conn_send(c, g->extents, g->count) : 0;

    gather_release(g);
    if (err == -ENOBUFS)
        wait_for_room(c);
    else if (err < 0)
        http_conn_abort(c);
    else
        c->stream->low_water_bytes = c->server->queue_high_bytes / 2;
    return err == 0;
}

static enum http_gather_result gather_blob(struct http_body *body, struct http_gather *g)
{
    uint64_t room = g->bytes < g->budget ? g->budget - g->bytes : 0;
    uint32_t size = (uint32_t)(body->left < room ? body->left : room);

    if (size > 0)
        http_gather_add(g, blob_ref(body->blob), body->offset, size);
    body->offset += size;
    body->left -= size;
    return body->left == 0 ? HTTP_GATHER_END : HTTP_GATHER_MORE;
}

static enum http_gather_result gather_body(struct http_conn *c, struct http_body *body,
                                           struct http_gather *g)
{
    if (body->left == 0)
        return HTTP_GATHER_END;
    if (body->blob != NULL)
        return gather_blob(body, g);
    return body->text != NULL ? http_text_gather(body, g) : live_gather(c, body, g);
}

void http_conn_pump(struct http_conn *c)
{
    while (c->phase == HTTP_SENDING) {
        uint32_t queued = c->stream->queued_bytes;
        if (queued > c->server->queue_high_bytes)
            return; /* until sendable */
        struct http_gather g;
        g.count = 0;
        g.bytes = 0;
        g.budget = (uint64_t)c->server->queue_high_bytes + 1 - queued;
        if (c->head != NULL)
            http_gather_add(&g, blob_ref(c->head), 0, c->head->size);
        struct http_body next = c->body;
        enum http_gather_result result = gather_body(c, &next, &g);
        if (!gather_send(c, &g))
            return;
        if (c->body.left > 0 && c->body.blob == NULL && c->body.text == NULL)
            channel_count_bytes(c->live.channel, c->server->shard, g.bytes);
        blob_unref(&c->head);
        c->body = next;

        switch (result) {
        case HTTP_GATHER_MORE:
            break;
        case HTTP_GATHER_END:
            http_conn_drop_response(c);
            http_conn_done(c);
            return;
        case HTTP_GATHER_WAIT:
            http_conn_wait(c, c->wait_us);
            return;
        case HTTP_GATHER_LOST:
            counter_inc(&http_conn_counters(c)->http_responses_truncated);
            http_conn_abort(c);
            return;
        }
    }
}

static void count_response(struct http_conn *c, unsigned status)
{
    struct counters *counters = http_conn_counters(c);

    if (status < 300)
        counter_inc(&counters->http_responses_2xx);
    else if (status < 400)
        counter_inc(&counters->http_responses_3xx);
    else if (status < 500)
        counter_inc(&counters->http_responses_4xx);
    else
        counter_inc(&counters->http_responses_5xx);
}

/* What the connection adds to every head. */
static void head_finish(struct http_conn *c, struct http_head *head)
{
    if (c->must_close)
        head->flags |= HTTP_HEAD_CLOSE;
    else if (c->is_http_1_0)
        head->flags |= HTTP_HEAD_KEEP_ALIVE;
    count_response(c, head->status);
}

/* Starts a response with 'head'; false: out of blobs, the connection is over. */
static bool reply_begin(struct http_conn *c, struct http_head *head)
{
    head_finish(c, head);
    DCHECK(c->head == NULL);
    c->head = http_head_blob(c->server, head);
    if (c->head == NULL) {
        counter_inc(&http_conn_counters(c)->http_out_of_blobs);
        http_conn_abort(c);
        return false;
    }
    http_conn_set_phase(c, HTTP_SENDING);
    return true;
}

void http_reply_text(struct http_conn *c, unsigned status, unsigned retry_after_s,
                     const char *format, ...)
{
    char text[REPLY_TEXT_MAX];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof(text) - 1, format, args);
    va_end(args);
    size_t size = length < 0 ? 0 : (size_t)length;
    if (size > sizeof(text) - 2)
        size = sizeof(text) - 2;
    text[size++] = '\n';

    bool is_missing = status == 404 || status == 410;
    struct http_head head = {
        .status = (uint16_t)status,
        .content_length = size,
        .retry_after_s = (uint16_t)retry_after_s,
        .type = HTTP_TYPE_TEXT,
        .cache = is_missing ? HTTP_CACHE_MAX_AGE : HTTP_CACHE_NO_STORE,
        .max_age_s = is_missing ? ERROR_MAX_AGE_S : 0,
        .flags = c->role == HTTP_PUBLIC ? HTTP_HEAD_MEDIA : 0,
    };
    if (status == 405)
        head.flags |= HTTP_HEAD_ALLOW;
    head_finish(c, &head);

    struct blob *blob = blob_pool_get(c->server->shard->small_blobs);
    if (blob == NULL) {
        counter_inc(&http_conn_counters(c)->http_out_of_blobs);
        http_conn_abort(c);
        return;
    }
    struct writer w = writer_of(blob_pool_data(blob), blob->size);
    http_head_write(&w, &head, http_server_context(c->server));
    if (!c->is_head)
        writer_put(&w, bytes_of(text, size));
    CHECK(writer_is_ok(&w));
    blob->size = (uint32_t)w.size;
    c->head = blob;
    http_conn_set_phase(c, HTTP_SENDING);
    http_conn_pump(c);
}

uint64_t http_apply_conditions(const struct http_request *r, struct http_head *head, uint64_t size)
{
    uint8_t text[HTTP_ETAG_SIZE];
    uint64_t first = 0;
    uint64_t count = size;

    head->status = 200;
    head->content_length = size;
    if (r == NULL || head->etag == 0)
        return 0;
    http_etag_write(head->etag, text);
    struct bytes etag = bytes_of(text, sizeof(text));

    /* In the order of RFC 9110 13.2.2. */
    if (r->if_match.size > 0 && !http_etag_list_has(r->if_match, etag, true)) {
        head->status = 412;
        head->content_length = 0;
        return 0;
    }
    if (r->if_none_match.size > 0 && http_etag_list_has(r->if_none_match, etag, false)) {
        head->status = 304;
        head->content_length = 0;
        head->type = HTTP_TYPE_NONE;
        head->flags |= HTTP_HEAD_NO_LENGTH;
        return 0;
    }
    if (r->range.size == 0 || r->method != HTTP_GET ||
        (r->if_range.size > 0 && !bytes_equal(r->if_range, etag)))
        return 0;
    switch (http_range_parse(r->range, size, &first, &count)) {
    case HTTP_RANGE_WHOLE:
        break;
    case HTTP_RANGE_PART:
        head->status = 206;
        head->content_length = count;
        head->range_first = first;
        head->whole_size = size;
        break;
    case HTTP_RANGE_UNSATISFIABLE:
        head->status = 416;
        head->content_length = 0;
        head->whole_size = size;
        return 0;
    }
    return first;
}

void http_reply_blob(struct http_conn *c, const struct http_request *r, struct http_head *head,
                     struct blob *body)
{
    uint64_t first = http_apply_conditions(r, head, body->size);
    uint64_t size = head->content_length;

    if (!reply_begin(c, head))
        return;
    if (size > 0 && !c->is_head)
        c->body = (struct http_body){
            .blob = blob_ref(body),
            .left = size,
            .offset = (uint32_t)first,
        };
    http_conn_pump(c);
}

void http_reply_empty(struct http_conn *c, struct http_head *head)
{
    if (reply_begin(c, head))
        http_conn_pump(c);
}

void http_reply_body(struct http_conn *c, struct http_head *head)
{
    if (reply_begin(c, head))
        http_conn_pump(c);
}
