#include "dataplane/http/live_routes.h"

#include "common/check.h"
#include "common/config/config.h"
#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/live_plan.h"
#include "dataplane/store/store.h"

static bool is_sending(const struct http_conn *c)
{
    return c->body.left > 0;
}

static uint64_t configured_segment_us(const struct http_conn *c)
{
    return c->server->shard->config->media_segment * 1000;
}

/* The channel is still the one that the request was for, and can be watched. */
static bool channel_is_current(const struct http_conn *c)
{
    struct channel *ch = c->live.channel;

    return channel_generation(ch) == c->live.generation &&
           channel_find(c->server->channels, bytes_of_str(channel_name(ch))) == ch;
}

static void refuse_object(struct http_conn *c)
{
    counter_inc(&http_conn_counters(c)->http_out_of_blobs);
    http_reply_text(c, 503, 1, "Out of memory for more viewers; try again.");
}

static void send_object(struct http_conn *c, const struct http_request *r, struct live_plan *plan)
{
    struct blob *blob = object_view(c->server->shard->store, plan->object);

    if (blob == NULL) {
        refuse_object(c);
        return;
    }
    http_reply_blob(c, r, &plan->head, blob);
    if (!c->is_head)
        channel_count_bytes(c->live.channel, c->server->shard, plan->head.content_length);
    blob_unref(&blob);
}

/* Where byte 'first' of the segment is: sets the body's part and offset. */
static void body_seek(struct http_body *body, const struct segment_entry *segment, uint64_t first)
{
    while (body->part < segment->part_count) {
        struct object *o = segment->parts[body->part].object;
        uint32_t size = o != NULL ? object_size(o) : 0; /* a gap */
        if (first < size)
            break;
        first -= size;
        body->part++;
    }
    body->offset = (uint32_t)first;
}

/* A complete segment has a length and ranges. One that still grows is sent as it comes: in
 * chunks, or to HTTP/1.0 until the connection ends. */
static void send_segment(struct http_conn *c, const struct http_request *r, struct live_plan *plan)
{
    c->wait_us = plan->wait_us;
    c->body = (struct http_body){.framing = HTTP_FRAMING_LENGTH};
    if (plan->segment->is_complete) {
        uint64_t first = http_apply_conditions(r, &plan->head, plan->segment->size);
        c->body.left = plan->head.content_length;
        body_seek(&c->body, plan->segment, first);
    } else {
        plan->head.status = 200;
        plan->head.flags |= HTTP_HEAD_NO_LENGTH;
        c->body.left = UINT64_MAX;
        c->body.framing = HTTP_FRAMING_UNTIL_CLOSE;
        if (c->is_http_1_0) {
            c->must_close = true;
        } else {
            plan->head.flags |= HTTP_HEAD_CHUNKED;
            c->body.framing = HTTP_FRAMING_CHUNKED;
        }
    }
    if (c->is_head)
        c->body.left = 0;
    http_reply_body(c, &plan->head);
}

/* Answers c->live from the channel's present snapshot. 'r' NULL: after a wait, when the request
 * itself is gone; its conditions and range, which may be ignored, are. */
static void live_answer(struct http_conn *c, const struct http_request *r)
{
    const struct channel_snapshot *s = channel_snapshot(c->live.channel);
    struct live_plan plan = live_plan_make(&c->live, s, configured_segment_us(c));

    switch (plan.action) {
    case LIVE_SEND_OBJECT:
        send_object(c, r, &plan);
        break;
    case LIVE_SEND_SEGMENT:
        send_segment(c, r, &plan);
        break;
    case LIVE_AWAIT:
        if (c->phase != HTTP_WAITING)
            counter_inc(&http_conn_counters(c)->http_blocked_requests);
        http_conn_wait(c, plan.wait_us);
        break;
    case LIVE_REFUSE:
        http_reply_text(c, plan.status, 0, "%s", plan.why);
        break;
    }
}

void live_ready(struct channel_waiter *waiter, uint64_t now_us)
{
    struct http_conn *c = CONTAINER_OF(waiter, struct http_conn, waiter);

    (void)now_us;
    if (is_sending(c)) {
        http_conn_set_phase(c, HTTP_SENDING);
        http_conn_pump(c);
    } else if (channel_is_current(c)) {
        live_answer(c, NULL);
    } else {
        http_reply_text(c, 404, 0, "The channel is no longer live.");
    }
    http_conn_resume(c);
}

void live_timeout(struct http_conn *c)
{
    counter_inc(&http_conn_counters(c)->http_blocked_timeouts);
    if (is_sending(c)) {
        counter_inc(&http_conn_counters(c)->http_responses_truncated);
        http_conn_abort(c);
        return;
    }
    http_reply_text(c, 503, 1,
                    "Nothing new came within %llu ms: the publisher may have stalled or gone.",
                    (unsigned long long)(c->wait_us / 1000));
}

/* --- sending a segment --- */

enum { EXTENTS_A_PART = 3 /* size line, bytes, CRLF */ };

static const struct segment_entry *current_segment(const struct http_conn *c)
{
    if (!channel_is_current(c))
        return NULL;
    const struct channel_snapshot *s = channel_snapshot(c->live.channel);
    if (s == NULL)
        return NULL;
    const struct track_snapshot *t = snapshot_track(s, bytes_of_str(c->live.track));
    return t != NULL ? live_segment_find(t, c->live.number) : NULL;
}

/* Adds what the budget allows of the part that 'body' is at; false: out of blobs. */
static bool gather_part(struct http_conn *c, struct http_body *body, struct object *o,
                        struct http_gather *g)
{
    bool is_chunked = body->framing == HTTP_FRAMING_CHUNKED;
    uint32_t part_size = object_size(o);
    uint64_t room = g->budget - g->bytes;
    uint64_t size = part_size - body->offset;
    struct blob *view = object_view(c->server->shard->store, o);

    if (view == NULL)
        return false;
    if (is_chunked && body->offset == 0) {
        struct blob *line = http_chunk_blob(c->server, part_size);
        if (line == NULL) {
            blob_unref(&view);
            return false;
        }
        http_gather_add(g, line, 0, line->size);
    }
    size = size < room ? size : room;
    size = size < body->left ? size : body->left;
    http_gather_add(g, view, body->offset, (uint32_t)size);
    if (body->left != UINT64_MAX)
        body->left -= size;
    body->offset += (uint32_t)size;
    if (body->offset == part_size) {
        if (is_chunked)
            http_gather_add(g, blob_ref(c->server->chunk_end), 0, 2);
        body->part++;
        body->offset = 0;
    }
    return true;
}

enum http_gather_result live_gather(struct http_conn *c, struct http_body *body,
                                    struct http_gather *g)
{
    const struct segment_entry *segment = current_segment(c);

    if (segment == NULL)
        return HTTP_GATHER_LOST;
    while (body->left > 0 && body->part < segment->part_count) {
        if (segment->parts[body->part].object == NULL) { /* a gap */
            body->part++;
            continue;
        }
        if (g->bytes >= g->budget || g->count + EXTENTS_A_PART > HTTP_GATHER_MAX - 1)
            break;
        if (!gather_part(c, body, segment->parts[body->part].object, g)) {
            counter_inc(&http_conn_counters(c)->http_out_of_blobs);
            return HTTP_GATHER_LOST;
        }
    }
    if (body->left == 0)
        return HTTP_GATHER_END;
    if (body->part < segment->part_count)
        return HTTP_GATHER_MORE;
    if (!segment->is_complete)
        return body->left == UINT64_MAX ? HTTP_GATHER_WAIT : HTTP_GATHER_LOST;
    if (body->left != UINT64_MAX)
        return HTTP_GATHER_LOST; /* shorter than it was said to be */
    if (body->framing == HTTP_FRAMING_CHUNKED)
        http_gather_add(g, blob_ref(c->server->chunk_end), 2, 5);
    body->left = 0;
    return HTTP_GATHER_END;
}

/* --- routing --- */

/* Reads the delivery directives of a playlist request (rfc8216bis 6.2.5); false: refused. */
static bool read_directives(struct http_conn *c, struct bytes query)
{
    struct live_request *live = &c->live;
    struct bytes value;
    uint64_t part = 0;

    if (http_query_find(query, "_HLS_msn", &value)) {
        live->has_msn = true;
        if (!http_number_parse(value, &live->number) || live->number > INT64_MAX) {
            http_reply_text(c, 400, 0, "_HLS_msn is not a media sequence number.");
            return false;
        }
    }
    if (http_query_find(query, "_HLS_part", &value)) {
        live->has_part = true;
        if (!live->has_msn) {
            http_reply_text(c, 400, 0, "_HLS_part needs _HLS_msn.");
            return false;
        }
        if (!http_number_parse(value, &part) || part > INT32_MAX) {
            http_reply_text(c, 400, 0, "_HLS_part is not a part index.");
            return false;
        }
        live->part = (uint32_t)part;
    }
    if (http_query_find(query, "_HLS_skip", &value))
        live->wants_delta = bytes_equal_str(value, "YES") || bytes_equal_str(value, "v2");
    return true;
}

static void count_kind(struct counters *counters, enum live_kind kind)
{
    switch (kind) {
    case LIVE_MULTIVARIANT:
        counter_inc(&counters->http_requests_multivariant);
        break;
    case LIVE_MPD:
        counter_inc(&counters->http_requests_mpd);
        break;
    case LIVE_PLAYLIST:
        counter_inc(&counters->http_requests_playlist);
        break;
    case LIVE_INIT:
        counter_inc(&counters->http_requests_init);
        break;
    case LIVE_SEGMENT:
        counter_inc(&counters->http_requests_segment);
        break;
    case LIVE_PART:
        counter_inc(&counters->http_requests_part);
        break;
    case LIVE_NONE:
        break;
    }
}

void live_route(struct http_conn *c, const struct http_request *r, struct bytes path)
{
    const uint8_t *slash = path.size > 0 ? memchr(path.ptr, '/', path.size) : NULL;
    struct bytes name = slash != NULL ? bytes_of(path.ptr, (size_t)(slash - path.ptr)) : path;
    struct live_path target = {.kind = LIVE_NONE};

    if (slash != NULL)
        target = live_path_parse(bytes_from(path, name.size + 1));
    if (target.kind == LIVE_NONE || target.track.size >= HTTP_TRACK_NAME_MAX) {
        http_reply_text(c, 404, 0, "There is nothing here.");
        return;
    }
    count_kind(http_conn_counters(c), target.kind);
    struct channel *ch =
        name.size <= CHANNEL_NAME_MAX ? channel_find(c->server->channels, name) : NULL;
    if (ch == NULL) {
        http_reply_text(c, 404, 0, "This channel is not live.");
        return;
    }
    channel_count_viewer(ch, c->server->shard, &c->viewer_slot);
    c->live = (struct live_request){
        .channel = ch,
        .generation = channel_generation(ch),
        .number = target.number,
        .part = target.part,
        .kind = (uint8_t)target.kind,
    };
    if (target.track.size > 0)
        memcpy(c->live.track, target.track.ptr, target.track.size);
    if (target.kind == LIVE_PLAYLIST && !read_directives(c, r->query))
        return;
    live_answer(c, r);
}
