#include "dataplane/http/http_conn.h"

#include <errno.h>

#include "common/check.h"
#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/live_routes.h"
#include "drivers/net/transport.h"

struct counters *http_conn_counters(const struct http_conn *c)
{
    return c->server->shard->counters;
}

static uint64_t conn_now_us(const struct http_conn *c)
{
    return c->server->shard->now_us;
}

/* A response is under way, or so much is queued that no other should be started. */
static bool conn_is_busy(const struct http_conn *c)
{
    return c->phase == HTTP_WAITING || c->phase == HTTP_SENDING ||
           c->stream->queued_bytes > c->server->queue_high_bytes;
}

void http_conn_set_phase(struct http_conn *c, enum http_phase phase)
{
    struct counters *counters = http_conn_counters(c);

    if (c->phase == (uint8_t)phase)
        return;
    if (phase == HTTP_WAITING)
        counter_inc(&counters->http_waiting);
    if (c->phase == HTTP_WAITING) {
        if (list_is_linked(&c->waiter.link))
            channel_wait_cancel(&c->waiter);
        counter_dec(&counters->http_waiting);
    }
    c->phase = (uint8_t)phase;
    c->since_us = conn_now_us(c);
}

void http_conn_arm(struct http_conn *c, uint64_t deadline_us)
{
    /* The wheel rounds up in the same way; an earlier deadline already armed is left alone, and
     * finds out when it fires. */
    if (!timer_is_armed(&c->timer) ||
        (deadline_us >> WHEEL_TICK_SHIFT) + 1 < c->timer.deadline_tick)
        wheel_arm(&c->server->shard->wheel, &c->timer, deadline_us);
}

/* --- the input buffer --- */

static void input_put(struct http_conn *c)
{
    struct http_input *input = c->input;

    if (input == NULL)
        return;
    c->input = NULL;
    list_remove(&input->link);
    list_push_front(&c->server->free_inputs, &input->link);
}

/* An input buffer for 'c', if need be from the connection that has been reading longest: with
 * all buffers in use somebody is sending heads byte by byte, and it is not the newcomer. */
static bool input_get(struct http_conn *c)
{
    struct http_server *server = c->server;

    if (list_is_empty(&server->free_inputs) && !list_is_empty(&server->partial_inputs)) {
        struct http_input *oldest =
            CONTAINER_OF(server->partial_inputs.next, struct http_input, link);
        struct http_conn *victim = oldest->conn;
        counter_inc(&http_conn_counters(c)->http_heads_evicted);
        input_put(victim);
        victim->must_close = true;
        http_reply_text(victim, 408, 0, "The request took too long to arrive on a busy server.");
    }
    struct list *node = list_pop_front(&server->free_inputs);
    if (node == NULL)
        return false;
    c->input = CONTAINER_OF(node, struct http_input, link);
    c->input->conn = c;
    c->input->size = 0;
    c->input->scan = (struct http_head_scan){0};
    return true;
}

/* Appends what fits of 'in'; returns how much did. */
static size_t input_fill(struct http_conn *c, struct bytes in)
{
    struct http_input *input = c->input;
    size_t room = c->server->input_size - input->size;
    size_t size = in.size < room ? in.size : room;

    if (size > 0)
        memcpy(input->data + input->size, in.ptr, size);
    input->size += (uint32_t)size;
    return size;
}

/* Drops the first 'used' bytes; gives the buffer back when it is empty. */
static void input_consume(struct http_conn *c, size_t used)
{
    struct http_input *input = c->input;

    input->size -= (uint32_t)used;
    if (input->size == 0)
        input_put(c);
    else if (used > 0)
        memmove(input->data, input->data + used, input->size);
}

/* Reading connections stand in order of age, for input_get(). */
static void input_note_phase(struct http_conn *c)
{
    if (c->input == NULL)
        return;
    bool is_partial = c->phase == HTTP_READING;
    if (is_partial && !list_is_linked(&c->input->link))
        list_push_back(&c->server->partial_inputs, &c->input->link);
    else if (!is_partial)
        list_remove(&c->input->link);
}

/* --- ending --- */

void http_conn_abort(struct http_conn *c)
{
    if (c->is_aborted)
        return;
    c->is_aborted = true;
    http_conn_set_phase(c, HTTP_CLOSING);
    http_conn_drop_response(c);
    stream_abort(c->stream);
}

/* All responses are queued: FIN follows them. What the peer still sends is thrown away until it
 * closes too, lest a reset destroys what it has not read yet (RFC 9112 9.6). */
static void conn_shutdown(struct http_conn *c)
{
    if (c->phase == HTTP_CLOSING)
        return;
    http_conn_set_phase(c, HTTP_CLOSING);
    if (c->is_paused) {
        c->is_paused = false;
        stream_receive_pause(c->stream, false);
    }
    stream_shutdown(c->stream);
    http_conn_arm(c, conn_now_us(c) + HTTP_LINGER_US);
}

void http_conn_done(struct http_conn *c)
{
    http_conn_set_phase(c, HTTP_IDLE);
    if (c->must_close)
        conn_shutdown(c);
    else
        http_conn_arm(c, conn_now_us(c) + c->server->idle_timeout_us);
}

void http_conn_wait(struct http_conn *c, uint64_t wait_us)
{
    http_conn_set_phase(c, HTTP_WAITING);
    c->wait_us = wait_us;
    c->waiter.ready = live_ready;
    channel_wait(c->live.channel, c->server->shard, &c->waiter);
    http_conn_arm(c, c->since_us + wait_us);
}

/* --- requests --- */

static void count_refusal(struct counters *counters, int status)
{
    switch (status) {
    case 414:
        counter_inc(&counters->http_uris_too_long);
        break;
    case 417:
        counter_inc(&counters->http_expectations_failed);
        break;
    case 431:
        counter_inc(&counters->http_heads_too_large);
        break;
    case 501:
        counter_inc(&counters->http_not_implemented);
        break;
    case 505:
        counter_inc(&counters->http_versions_refused);
        break;
    default:
        counter_inc(&counters->http_bad_requests);
        break;
    }
}

/* Refuses what could not be read. Where the next request starts is unknown, so this is the last
 * answer. */
static void conn_refuse(struct http_conn *c, int status)
{
    const char *why = "The request is malformed.";

    if (status == 414)
        why = "The request target is too long.";
    else if (status == 417)
        why = "Only the expectation 100-continue is known.";
    else if (status == 431)
        why = "The request head is too large.";
    else if (status == 501)
        why = "The method or transfer coding is not implemented.";
    else if (status == 505)
        why = "Only versions 1.0 and 1.1 of HTTP are spoken here.";
    count_refusal(http_conn_counters(c), status);
    c->is_head = false;
    c->must_close = true;
    http_reply_text(c, (unsigned)status, 0, "%s", why);
}

/* RFC 9110 10.1.1: says that the body, which will be skipped, may come. False: could not. */
static bool send_continue(struct http_conn *c)
{
    struct blob *blob = blob_pool_get(c->server->shard->small_blobs);

    if (blob == NULL)
        return false;
    struct writer w = writer_of(blob_pool_data(blob), blob->size);
    writer_str(&w, "HTTP/1.1 100 Continue\r\n\r\n");
    blob->size = (uint32_t)w.size;
    struct extent e = extent_of(blob);
    int err = http_conn_send(c, &e, 1);
    blob_unref(&blob);
    return err == 0;
}

static void conn_request(struct http_conn *c, struct bytes head)
{
    struct http_request r;
    int status = http_request_parse(head, &r);

    c->blank_lines = 0;
    counter_inc(&http_conn_counters(c)->http_requests);
    if (status != 0) {
        conn_refuse(c, status);
        return;
    }
    c->is_head = r.method == HTTP_HEAD;
    c->is_http_1_0 = r.is_http_1_0;
    if (!r.is_keep_alive)
        c->must_close = true;
    if (r.has_chunked_body || r.body_bytes > HTTP_BODY_MAX) {
        /* No resource wants one: the answer is given, the body never read. */
        counter_inc(&http_conn_counters(c)->http_bodies_refused);
        c->must_close = true;
    } else {
        c->body_left = r.body_bytes;
    }
    if (r.expects_continue && !c->must_close) {
        /* Refused without it, the peer may or may not send the body: the end is unknown. */
        c->must_close = r.method == HTTP_OTHER || !send_continue(c);
    }
    http_route(c, &r);
}

/* Skips empty lines before a request line; true: go on at '*used'. */
static bool skip_blank_line(struct http_conn *c, struct bytes rest, size_t *used)
{
    if (rest.size < 2)
        return false;
    if (rest.ptr[1] != '\n' || c->blank_lines >= HTTP_BLANK_LINES_MAX) {
        conn_refuse(c, 400);
        return false;
    }
    c->blank_lines++;
    *used += 2;
    return true;
}

/* Handles whole requests in 'in' until one keeps the connection busy; returns how many bytes that
 * took. What is left starts a head, unless the connection is busy. */
static size_t conn_consume(struct http_conn *c, struct bytes in)
{
    struct http_head_scan scan = c->input != NULL ? c->input->scan : (struct http_head_scan){0};
    size_t used = 0;

    while (used < in.size && !conn_is_busy(c) && c->phase != HTTP_CLOSING) {
        struct bytes rest = bytes_from(in, used);
        size_t size;
        if (c->body_left > 0) {
            size = c->body_left < rest.size ? (size_t)c->body_left : rest.size;
            c->body_left -= size;
            used += size;
            continue;
        }
        if (rest.ptr[0] == '\r') {
            if (skip_blank_line(c, rest, &used))
                continue;
            break;
        }
        int status = http_head_scan(&scan, rest, c->server->input_size, &size);
        if (status != 0) {
            counter_inc(&http_conn_counters(c)->http_requests);
            conn_refuse(c, status);
            break;
        }
        if (size == 0)
            break;
        used += size;
        scan = (struct http_head_scan){0};
        if (c->phase == HTTP_READING)
            http_conn_set_phase(c, HTTP_IDLE);
        conn_request(c, bytes_of(rest.ptr, size));
    }
    if (c->input != NULL)
        c->input->scan = scan;
    return used;
}

/* Keeps 'in', which is part of a head or behind a busy request. */
static void conn_keep(struct http_conn *c, struct bytes in)
{
    if (in.size == 0 || c->must_close) /* nothing more will be answered */
        return;
    if (c->input == NULL && !input_get(c)) {
        if (conn_is_busy(c)) {
            counter_inc(&http_conn_counters(c)->http_pipeline_overflows);
            c->is_overflowed = true;
            return;
        }
        c->is_head = false;
        c->must_close = true;
        http_reply_text(c, 503, 1, "Too many requests are being read.");
        return;
    }
    if (input_fill(c, in) < in.size && !c->is_overflowed) {
        counter_inc(&http_conn_counters(c)->http_pipeline_overflows);
        c->is_overflowed = true;
    }
}

/* After input was handled: waits for more of a head, holds the peer back, or closes. */
static void conn_settle(struct http_conn *c)
{
    bool is_busy = conn_is_busy(c);

    if (c->phase == HTTP_CLOSING) {
        input_put(c);
        return;
    }
    if (!is_busy && (c->is_eof || c->is_overflowed)) {
        input_put(c);
        conn_shutdown(c);
        return;
    }
    if (!is_busy && c->input != NULL && c->phase == HTTP_IDLE) {
        http_conn_set_phase(c, HTTP_READING);
        http_conn_arm(c, c->since_us + c->server->head_timeout_us);
    } else if (c->input == NULL && c->phase == HTTP_READING) {
        http_conn_set_phase(c, HTTP_IDLE); /* it was an empty line */
    }
    input_note_phase(c);
    bool wants_pause = is_busy && c->input != NULL;
    if (wants_pause != c->is_paused) {
        c->is_paused = wants_pause;
        stream_receive_pause(c->stream, wants_pause);
    }
}

static void conn_run(struct http_conn *c, struct bytes in)
{
    c->is_running = true;
    while (c->phase != HTTP_CLOSING) {
        size_t used;
        if (c->input == NULL) {
            used = conn_consume(c, in);
            if (c->phase != HTTP_CLOSING)
                conn_keep(c, bytes_from(in, used));
            break;
        }
        if (!c->is_overflowed)
            in = bytes_from(in, input_fill(c, in));
        used = conn_consume(c, bytes_of(c->input->data, c->input->size));
        if (c->phase == HTTP_CLOSING)
            break;
        input_consume(c, used);
        if (used == 0 || conn_is_busy(c)) {
            conn_keep(c, c->is_overflowed ? (struct bytes){0} : in);
            break;
        }
        if (in.size == 0 && c->input != NULL && c->input->size > 0)
            break;
    }
    conn_settle(c);
    c->is_running = false;
}

void http_conn_resume(struct http_conn *c)
{
    if (!c->is_running && c->phase != HTTP_CLOSING)
        conn_run(c, (struct bytes){0});
}

/* --- events --- */

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct http_conn *c = s->user;

    (void)now_us;
    if (c->phase != HTTP_CLOSING && !c->is_overflowed)
        conn_run(c, in);
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    struct http_conn *c = s->user;

    (void)now_us;
    http_conn_pump(c);
    http_conn_resume(c);
}

static void on_eof(struct stream *s, uint64_t now_us)
{
    struct http_conn *c = s->user;

    (void)now_us;
    c->is_eof = true;
    http_conn_resume(c);
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    struct http_conn *c = s->user;

    (void)now_us;
    if (error != 0)
        counter_inc(&http_conn_counters(c)->http_connections_reset);
    http_conn_release(c);
}

const struct stream_events http_conn_events = {
    .data = on_data,
    .sendable = on_sendable,
    .eof = on_eof,
    .closed = on_closed,
};

/* Whether a peer with bytes to take has taken none for too long; then it is dropped. Looked at
 * four times in send_timeout, since a stream does not tell when bytes leave. */
static bool conn_is_stalled(struct http_conn *c, uint64_t now_us)
{
    uint64_t taken_bytes = c->sent_bytes - c->stream->queued_bytes;

    if (taken_bytes != c->taken_bytes) {
        c->taken_bytes = taken_bytes;
        c->progress_us = now_us;
    }
    return now_us - c->progress_us >= c->server->send_timeout_us;
}

static void head_timed_out(struct http_conn *c)
{
    counter_inc(&http_conn_counters(c)->http_head_timeouts);
    input_put(c);
    c->is_head = false;
    c->must_close = true;
    http_reply_text(c, 408, 0, "The request took too long to arrive.");
}

/* Acts on a phase that has lasted too long. */
static void phase_timed_out(struct http_conn *c)
{
    switch ((enum http_phase)c->phase) {
    case HTTP_IDLE:
        counter_inc(&http_conn_counters(c)->http_idle_closed);
        conn_shutdown(c);
        break;
    case HTTP_READING:
        head_timed_out(c);
        break;
    case HTTP_WAITING:
        live_timeout(c);
        http_conn_resume(c);
        break;
    case HTTP_CLOSING:
        http_conn_abort(c);
        break;
    case HTTP_SENDING:
        break;
    }
}

/* How long the phase may last; UINT64_MAX: as long as the peer takes bytes. */
static uint64_t phase_limit_us(const struct http_conn *c)
{
    switch ((enum http_phase)c->phase) {
    case HTTP_IDLE:
        return c->server->idle_timeout_us;
    case HTTP_READING:
        return c->server->head_timeout_us;
    case HTTP_WAITING:
        return c->wait_us;
    case HTTP_CLOSING:
        return HTTP_LINGER_US;
    case HTTP_SENDING:
        break;
    }
    return UINT64_MAX;
}

static void conn_timer_fired(struct timer *t, uint64_t now_us)
{
    struct http_conn *c = CONTAINER_OF(t, struct http_conn, timer);

    if (c->is_aborted)
        return;
    if (c->stream->queued_bytes > 0) {
        if (conn_is_stalled(c, now_us)) {
            counter_inc(&http_conn_counters(c)->http_slow_viewers_dropped);
            http_conn_abort(c);
            return;
        }
        if (c->phase == HTTP_IDLE || c->phase == HTTP_CLOSING)
            c->since_us = now_us; /* these begin when the last byte is gone */
        http_conn_arm(c, now_us + c->server->send_timeout_us / 4);
    }
    uint64_t limit_us = phase_limit_us(c);
    if (limit_us == UINT64_MAX)
        return;
    if (now_us - c->since_us >= limit_us)
        phase_timed_out(c);
    else
        http_conn_arm(c, c->since_us + limit_us);
}

/* --- the pool --- */

struct http_conn *http_conn_open(struct http_server *server, struct stream *s, enum http_role role)
{
    struct list *node = list_pop_front(&server->free_conns);

    if (node == NULL)
        return NULL;
    struct http_conn *c = CONTAINER_OF(node, struct http_conn, link);
    *c = (struct http_conn){
        .stream = s,
        .server = server,
        .since_us = server->shard->now_us,
        .role = (uint8_t)role,
        .timer.fire = conn_timer_fired,
    };
    s->events = &http_conn_events;
    s->user = c;
    s->low_water_bytes = server->queue_high_bytes / 2;
    http_conn_arm(c, c->since_us + server->idle_timeout_us);
    return c;
}

void http_conn_release(struct http_conn *c)
{
    struct http_server *server = c->server;

    http_conn_set_phase(c, HTTP_CLOSING);
    http_conn_drop_response(c);
    input_put(c);
    wheel_cancel(&server->shard->wheel, &c->timer);
    counter_dec(&server->shard->counters->http_connections);
    list_push_front(&server->free_conns, &c->link);
}
