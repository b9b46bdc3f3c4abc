#include "dataplane/rtmp/rtmp_session.h"

#include <errno.h>

#include "common/check.h"
#include "common/counters.h"
#include "dataplane/rtmp/amf0.h"
#include "dataplane/rtmp/rtmp_command.h"

enum {
    WINDOW_BYTES = 2500000,    /* that we ask the peer to acknowledge by */
    OUT_CHUNK_SIZE = 4096,     /* ours; larger than any message we send */
    OUT_SIZE = OUT_CHUNK_SIZE, /* bytes sent in one go */
    BANDWIDTH_DYNAMIC = 2,     /* limit type of Set Peer Bandwidth */
    STREAMS_MAX = 16,          /* createStream commands on one connection */
    CONTROL_CHUNK_STREAM = 2,  /* section 5.4 */
    COMMAND_CHUNK_STREAM = 3,
    STATUS_CHUNK_STREAM = 5,
    EVENT_PING_REQUEST = 6, /* section 7.1.7 */
    EVENT_PING_RESPONSE = 7,
    FLV_TAG_HEADER_SIZE = 11
};

void rtmp_session_init(struct rtmp_session *s, const struct rtmp_session_events *events, void *user,
                       struct counters *counters, const struct rtmp_random *random,
                       const struct rtmp_session_memory *memory)
{
    CHECK(memory->message_max >= RTMP_COMMAND_MAX);
    s->events = events;
    s->user = user;
    s->counters = counters;
    s->random = *random;
    s->memory = *memory;
    s->ack_window_bytes = WINDOW_BYTES;
    rtmp_chunk_init(&s->reader, memory->slots, memory->message_max, RTMP_COMMAND_MAX);
    rtmp_media_init(&s->media, &events->media, user, counters, memory->scratch,
                    memory->message_max);
}

static int over(struct rtmp_session *s, int error, const char *reason)
{
    s->state = RTMP_SESSION_OVER;
    s->reason = reason;
    return error;
}

/* ------------------------------------------------------------------- sending */

static void send_message(struct rtmp_session *s, uint8_t type, uint32_t chunk_stream,
                         uint32_t stream_id, struct bytes body)
{
    uint8_t out[OUT_SIZE];
    struct writer w = writer_of(out, sizeof(out));
    struct rtmp_message m = {
        .type = type, .chunk_stream = chunk_stream, .stream_id = stream_id, .body = body};
    uint32_t chunk_size = s->is_connected ? OUT_CHUNK_SIZE : RTMP_CHUNK_SIZE_DEFAULT;

    rtmp_chunk_write(&w, &m, chunk_size);
    CHECK(writer_is_ok(&w));
    s->events->send(s->user, writer_bytes(&w));
}

static void send_control(struct rtmp_session *s, uint8_t type, uint32_t value)
{
    uint8_t body[4];
    struct writer w = writer_of(body, sizeof(body));

    writer_be32(&w, value);
    send_message(s, type, CONTROL_CHUNK_STREAM, 0, writer_bytes(&w));
}

static void send_command(struct rtmp_session *s, const struct writer *body)
{
    CHECK(writer_is_ok(body));
    send_message(s, RTMP_COMMAND, COMMAND_CHUNK_STREAM, 0, writer_bytes(body));
}

static void send_status(struct rtmp_session *s, const char *level, const char *code,
                        const char *description)
{
    uint8_t body[512];
    struct writer w = writer_of(body, sizeof(body));

    rtmp_command_write_status(&w, "onStatus", level, code, description);
    CHECK(writer_is_ok(&w));
    send_message(s, RTMP_COMMAND, STATUS_CHUNK_STREAM, s->publish_stream, writer_bytes(&w));
}

/* ------------------------------------------------------------------ commands */

static int bad_command(struct rtmp_session *s, const char *reason)
{
    counter_inc(&s->counters->rtmp_bad_command);
    return over(s, -EPROTO, reason);
}

static void keep(struct bytes text, uint8_t out[static RTMP_APP_MAX], size_t *ret_size)
{
    *ret_size = text.size <= RTMP_APP_MAX ? text.size : 0;
    if (*ret_size > 0)
        memcpy(out, text.ptr, *ret_size);
}

/* What the client calls itself, made fit for a log line. */
static void keep_encoder(struct rtmp_session *s, struct bytes text)
{
    size_t size = text.size <= RTMP_ENCODER_MAX ? text.size : RTMP_ENCODER_MAX;

    for (size_t i = 0; i < size; i++)
        s->encoder[i] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? (char)text.ptr[i] : '?';
    s->encoder[size] = '\0';
}

static int on_connect(struct rtmp_session *s, const struct rtmp_command *c)
{
    uint8_t body[1024];
    struct writer w = writer_of(body, sizeof(body));

    if (c->app.size > RTMP_APP_MAX || !rtmp_target_is_app(c->app)) {
        counter_inc(&s->counters->rtmp_connect_refused);
        rtmp_command_write_error(&w, c->transaction, "NetConnection.Connect.InvalidApp",
                                 "publish to rtmp://HOST/live with NAME?key=KEY as stream key");
        send_command(s, &w);
        return over(s, -ESHUTDOWN, "application is not live");
    }
    keep(c->app, s->app, &s->app_size);
    keep(c->tc_url, s->tc_url, &s->tc_url_size);
    keep_encoder(s, c->flash_version);

    send_control(s, RTMP_WINDOW_SIZE, WINDOW_BYTES);
    uint8_t bandwidth[5];
    struct writer b = writer_of(bandwidth, sizeof(bandwidth));
    writer_be32(&b, WINDOW_BYTES);
    writer_u8(&b, BANDWIDTH_DYNAMIC);
    send_message(s, RTMP_PEER_BANDWIDTH, CONTROL_CHUNK_STREAM, 0, writer_bytes(&b));
    send_control(s, RTMP_SET_CHUNK_SIZE, OUT_CHUNK_SIZE);
    s->is_connected = true;
    rtmp_command_write_connected(&w, c->transaction);
    send_command(s, &w);
    return 0;
}

static void on_fc_publish(struct rtmp_session *s, const struct rtmp_command *c)
{
    uint8_t body[256];
    struct writer w = writer_of(body, sizeof(body));

    if (c->transaction != 0) {
        rtmp_command_write_result(&w, c->transaction);
        send_command(s, &w);
    }
    w = writer_of(body, sizeof(body));
    rtmp_command_write_status(&w, "onFCPublish", "status", "NetStream.Publish.Start", "");
    send_command(s, &w);
}

static int on_create_stream(struct rtmp_session *s, const struct rtmp_command *c)
{
    uint8_t body[64];
    struct writer w = writer_of(body, sizeof(body));

    if (s->stream_count == STREAMS_MAX)
        return bad_command(s, "too many createStream commands");
    s->stream_count++;
    rtmp_command_write_number(&w, c->transaction, s->stream_count);
    send_command(s, &w);
    return 0;
}

static int on_publish(struct rtmp_session *s, const struct rtmp_command *c, uint32_t stream_id,
                      uint64_t now_us)
{
    struct rtmp_target target;

    if (!s->is_connected)
        return bad_command(s, "publish before connect");
    if (s->state == RTMP_SESSION_PUBLISHING)
        return bad_command(s, "publish while publishing");
    s->publish_stream = stream_id;
    int error = rtmp_target_parse(bytes_of(s->app, s->app_size),
                                  bytes_of(s->tc_url, s->tc_url_size), c->stream, &target);
    if (error != 0) {
        counter_inc(&s->counters->rtmp_publish_bad_name);
        send_status(s, "error", "NetStream.Publish.BadName",
                    error == -EACCES ? "a stream key is needed: NAME?key=KEY"
                                     : "not a channel name: use letters, digits, - and _");
        return over(s, -ESHUTDOWN,
                    error == -EACCES ? "publish without key" : "publish with bad name");
    }
    counter_inc(&s->counters->rtmp_publish_asked);
    s->state = RTMP_SESSION_ASKING;
    s->events->publish(s->user, &target, now_us);
    explicit_bzero(target.key, sizeof(target.key));
    return 0;
}

static void on_unpublish(struct rtmp_session *s, uint64_t now_us)
{
    if (s->state != RTMP_SESSION_PUBLISHING)
        return;
    s->state = RTMP_SESSION_OPEN;
    s->reader.message_max = RTMP_COMMAND_MAX;
    send_status(s, "status", "NetStream.Unpublish.Success", "publishing has ended");
    s->events->unpublish(s->user, now_us);
}

static int on_play(struct rtmp_session *s, uint32_t stream_id)
{
    s->publish_stream = stream_id;
    counter_inc(&s->counters->rtmp_play_refused);
    send_status(s, "error", "NetStream.Play.Failed",
                "streams are not played over RTMP here: open /watch/NAME over HTTP");
    return over(s, -ESHUTDOWN, "play is not served over RTMP");
}

static void on_unknown(struct rtmp_session *s, const struct rtmp_command *c)
{
    uint8_t body[256];
    struct writer w = writer_of(body, sizeof(body));

    counter_inc(&s->counters->rtmp_command_unknown);
    if (c->transaction == 0)
        return;
    rtmp_command_write_error(&w, c->transaction, "NetConnection.Call.Failed", "unknown command");
    send_command(s, &w);
}

static void answer(struct rtmp_session *s, const struct rtmp_command *c)
{
    uint8_t body[64];
    struct writer w = writer_of(body, sizeof(body));

    if (c->transaction == 0)
        return;
    if (c->kind == RTMP_COMMAND_STREAM_LENGTH)
        rtmp_command_write_number(&w, c->transaction, 0);
    else
        rtmp_command_write_result(&w, c->transaction);
    send_command(s, &w);
}

static int on_command(struct rtmp_session *s, uint32_t stream_id, struct bytes body,
                      uint64_t now_us)
{
    struct rtmp_command c;

    if (rtmp_command_parse(body, &c) != 0) {
        counter_inc(&s->counters->rtmp_bad_amf);
        return 0;
    }
    switch (c.kind) {
    case RTMP_COMMAND_CONNECT:
        return on_connect(s, &c);
    case RTMP_COMMAND_CREATE_STREAM:
        return on_create_stream(s, &c);
    case RTMP_COMMAND_PUBLISH:
        return on_publish(s, &c, stream_id, now_us);
    case RTMP_COMMAND_PLAY:
        return on_play(s, stream_id);
    case RTMP_COMMAND_FC_PUBLISH:
        on_fc_publish(s, &c);
        return 0;
    case RTMP_COMMAND_FC_UNPUBLISH:
    case RTMP_COMMAND_DELETE_STREAM:
    case RTMP_COMMAND_CLOSE_STREAM:
        on_unpublish(s, now_us);
        answer(s, &c);
        return 0;
    case RTMP_COMMAND_RELEASE_STREAM:
    case RTMP_COMMAND_CHECK_BANDWIDTH:
    case RTMP_COMMAND_STREAM_LENGTH:
        answer(s, &c);
        return 0;
    case RTMP_COMMAND_ANSWER:
        return 0;
    case RTMP_COMMAND_UNKNOWN:
        break;
    }
    on_unknown(s, &c);
    return 0;
}

/* ---------------------------------------------------------- data and control */

/* One member of onMetaData: scalars as text. */
static void push_metadata(struct rtmp_session *s, struct bytes name, const struct amf0_value *v)
{
    char text[32];

    if (amf0_is_string(v)) {
        s->events->media.metadata(s->user, name, v->string);
    } else if (v->type == AMF0_NUMBER || v->type == AMF0_BOOLEAN) {
        if (v->type == AMF0_NUMBER)
            snprintf(text, sizeof(text), "%.6g", v->number);
        else
            snprintf(text, sizeof(text), "%s", v->boolean ? "true" : "false");
        s->events->media.metadata(s->user, name, bytes_of_str(text));
    }
}

/* "@setDataFrame", "onMetaData", {…}, or without the first. Everything else is ignored. */
static void on_data(struct rtmp_session *s, struct bytes body)
{
    struct cursor c = cursor_of(body);
    struct amf0_value v;
    struct bytes name;
    int more = -EBADMSG;

    if (s->state != RTMP_SESSION_PUBLISHING)
        return;
    if (amf0_read(&c, &v) != 0 || v.type != AMF0_STRING) {
        counter_inc(&s->counters->rtmp_bad_amf);
        return;
    }
    if (bytes_equal_str(v.string, "@setDataFrame") && amf0_read(&c, &v) != 0) {
        counter_inc(&s->counters->rtmp_bad_amf);
        return;
    }
    if (v.type != AMF0_STRING || !bytes_equal_str(v.string, "onMetaData"))
        return;
    if (amf0_read(&c, &v) == 0 && (v.type == AMF0_OBJECT || v.type == AMF0_ECMA_ARRAY)) {
        while ((more = amf0_next_member(&c, &name)) == 1) {
            if (amf0_read(&c, &v) != 0)
                break;
            push_metadata(s, name, &v);
            if (amf0_skip_body(&c, &v) != 0)
                break;
        }
    }
    if (more != 0)
        counter_inc(&s->counters->rtmp_bad_amf);
}

static void on_media(struct rtmp_session *s, uint8_t type, uint32_t timestamp_ms, struct bytes body,
                     uint64_t now_us)
{
    if (s->state != RTMP_SESSION_PUBLISHING) {
        counter_inc(&s->counters->rtmp_media_unexpected);
        return;
    }
    rtmp_media_push(&s->media, type == RTMP_VIDEO ? MEDIA_VIDEO : MEDIA_AUDIO, timestamp_ms, body,
                    now_us);
}

/* Section 7.1.6: FLV tags in one message, whose timestamp stands for that of the first. */
static void on_aggregate(struct rtmp_session *s, const struct rtmp_message *m, uint64_t now_us)
{
    struct cursor c = cursor_of(m->body);
    bool is_first = true;
    uint32_t shift_ms = 0;

    while (cursor_left(&c) >= FLV_TAG_HEADER_SIZE) {
        uint8_t type = cursor_u8(&c);
        uint32_t size = cursor_be24(&c);
        uint32_t timestamp_ms = cursor_be24(&c);
        timestamp_ms |= (uint32_t)cursor_u8(&c) << 24;
        cursor_skip(&c, 3); /* stream id */
        struct bytes body = cursor_take(&c, size);
        if (cursor_left(&c) > 0) /* back pointer; some leave the last one out */
            cursor_skip(&c, 4);
        if (!cursor_is_ok(&c))
            break;
        if (is_first)
            shift_ms = m->timestamp_ms - timestamp_ms;
        is_first = false;
        if (type == RTMP_AUDIO || type == RTMP_VIDEO)
            on_media(s, type, timestamp_ms + shift_ms, body, now_us);
        else if (type == RTMP_DATA)
            on_data(s, body);
        else
            counter_inc(&s->counters->rtmp_message_ignored);
    }
    if (!cursor_is_ok(&c) || cursor_left(&c) > 0)
        counter_inc(&s->counters->rtmp_unit_bad);
}

static void on_user_control(struct rtmp_session *s, struct bytes body)
{
    struct cursor c = cursor_of(body);
    uint16_t event = cursor_be16(&c);
    uint32_t value = cursor_be32(&c);
    uint8_t answer_body[6];
    struct writer w = writer_of(answer_body, sizeof(answer_body));

    if (!cursor_is_ok(&c) || event != EVENT_PING_REQUEST)
        return;
    writer_be16(&w, EVENT_PING_RESPONSE);
    writer_be32(&w, value);
    send_message(s, RTMP_USER_CONTROL, CONTROL_CHUNK_STREAM, 0, writer_bytes(&w));
}

/* Protocol control messages, section 5.4: all but User Control carry one number first. */
static int on_control(struct rtmp_session *s, const struct rtmp_message *m)
{
    struct cursor c = cursor_of(m->body);
    uint32_t value = cursor_be32(&c);

    if (!cursor_is_ok(&c)) {
        counter_inc(&s->counters->rtmp_bad_chunk);
        return over(s, -EPROTO, "control message too short");
    }
    switch (m->type) {
    case RTMP_SET_CHUNK_SIZE:
        if (rtmp_chunk_set_size(&s->reader, value) != 0) {
            counter_inc(&s->counters->rtmp_bad_chunk);
            return over(s, -EPROTO, "chunk size out of range");
        }
        break;
    case RTMP_ABORT:
        rtmp_chunk_abort(&s->reader, value);
        break;
    case RTMP_WINDOW_SIZE:
    case RTMP_PEER_BANDWIDTH:
        /* The second asks for our window, which we never fill; take it as a hint about theirs. */
        if (value > 0 && m->type == RTMP_WINDOW_SIZE)
            s->ack_window_bytes = value;
        break;
    default: /* acknowledgements: what we send is too little to be held back by them */
        break;
    }
    return 0;
}

/* Types 15 and 17 are 18 and 20 behind a byte that says 0: AMF0. Some leave it out. */
static struct bytes amf3_unwrap(struct bytes body)
{
    return body.size > 0 && body.ptr[0] == 0 ? bytes_from(body, 1) : body;
}

static int on_message(struct rtmp_session *s, const struct rtmp_message *m, uint64_t now_us)
{
    struct bytes body = m->body;

    counter_inc(&s->counters->rtmp_messages);
    switch (m->type) {
    case RTMP_SET_CHUNK_SIZE:
    case RTMP_ABORT:
    case RTMP_ACKNOWLEDGEMENT:
    case RTMP_WINDOW_SIZE:
    case RTMP_PEER_BANDWIDTH:
        return on_control(s, m);
    case RTMP_USER_CONTROL:
        on_user_control(s, body);
        return 0;
    case RTMP_AUDIO:
    case RTMP_VIDEO:
        on_media(s, m->type, m->timestamp_ms, body, now_us);
        return 0;
    case RTMP_AGGREGATE:
        on_aggregate(s, m, now_us);
        return 0;
    case RTMP_COMMAND_AMF3:
        return on_command(s, m->stream_id, amf3_unwrap(body), now_us);
    case RTMP_COMMAND:
        return on_command(s, m->stream_id, body, now_us);
    case RTMP_DATA_AMF3:
        on_data(s, amf3_unwrap(body));
        return 0;
    case RTMP_DATA:
        on_data(s, body);
        return 0;
    default:
        counter_inc(&s->counters->rtmp_message_ignored);
        return 0;
    }
}

/* -------------------------------------------------------------------- bytes */

static int chunk_error(struct rtmp_session *s, int error)
{
    switch (error) {
    case -EMSGSIZE:
        counter_inc(&s->counters->rtmp_message_too_large);
        return over(s, error, "message too large");
    case -ENOBUFS:
        counter_inc(&s->counters->rtmp_too_many_chunk_streams);
        return over(s, error, "too many chunk streams");
    default:
        counter_inc(&s->counters->rtmp_bad_chunk);
        return over(s, error, "bad chunk header");
    }
}

static int push_handshake(struct rtmp_session *s, struct bytes *in, uint64_t now_us)
{
    uint8_t reply[RTMP_HANDSHAKE_REPLY_SIZE];
    struct writer w = writer_of(reply, sizeof(reply));

    if (rtmp_handshake_push(&s->handshake, in, (uint32_t)(now_us / 1000), &s->random, &w) != 0) {
        counter_inc(&s->counters->rtmp_not_rtmp);
        return over(s, -EPROTONOSUPPORT, "not RTMP");
    }
    if (w.size > 0)
        s->events->send(s->user, writer_bytes(&w));
    if (s->handshake.is_done) {
        counter_inc(s->handshake.kind == RTMP_HANDSHAKE_SIMPLE
                        ? &s->counters->rtmp_handshake_simple
                        : &s->counters->rtmp_handshake_digest);
        s->state = RTMP_SESSION_OPEN;
    }
    return 0;
}

static int hold(struct rtmp_session *s, struct bytes in)
{
    if (in.size > RTMP_HOLD_SIZE - s->hold_bytes) {
        counter_inc(&s->counters->rtmp_early_overflow);
        return over(s, -EMSGSIZE, "too much media before publishing was granted");
    }
    if (in.size > 0)
        memmove(s->memory.hold + s->hold_bytes, in.ptr, in.size);
    s->hold_bytes += (uint32_t)in.size;
    return 0;
}

static int push_chunks(struct rtmp_session *s, struct bytes in, uint64_t now_us)
{
    struct rtmp_message m;

    while (s->state != RTMP_SESSION_ASKING) {
        uint32_t restarted = s->reader.restarted_count;
        int result = rtmp_chunk_pull(&s->reader, &in, &m);

        counter_add(&s->counters->rtmp_message_restarted, s->reader.restarted_count - restarted);
        if (result < 0)
            return chunk_error(s, result);
        if (result == 0)
            return 0;
        result = on_message(s, &m, now_us);
        if (result != 0)
            return result;
    }
    return hold(s, in);
}

/* Section 5.4.3; twice a window, so that a peer that waits for it never does. */
static void acknowledge(struct rtmp_session *s)
{
    if (s->received_bytes - s->acknowledged_bytes < s->ack_window_bytes / 2)
        return;
    s->acknowledged_bytes = s->received_bytes;
    send_control(s, RTMP_ACKNOWLEDGEMENT, s->received_bytes);
}

int rtmp_session_push(struct rtmp_session *s, struct bytes in, uint64_t now_us)
{
    int result = 0;

    counter_add(&s->counters->rtmp_received, in.size);
    s->received_bytes += (uint32_t)in.size;
    if (s->state == RTMP_SESSION_OVER)
        return -ESHUTDOWN;
    if (s->state == RTMP_SESSION_SHAKING)
        result = push_handshake(s, &in, now_us);
    if (result == 0 && s->state != RTMP_SESSION_SHAKING)
        result = push_chunks(s, in, now_us);
    if (result == 0 && s->is_connected)
        acknowledge(s);
    return result;
}

int rtmp_session_grant(struct rtmp_session *s, uint64_t now_us)
{
    CHECK(s->state == RTMP_SESSION_ASKING);
    counter_inc(&s->counters->rtmp_publish_granted);
    rtmp_media_reset(&s->media);
    s->state = RTMP_SESSION_PUBLISHING;
    s->reader.message_max = s->memory.message_max;
    send_status(s, "status", "NetStream.Publish.Start", "publishing");

    /* Should the held bytes end this publish and ask for another, hold() moves the rest of them
     * to the front. */
    struct bytes held = bytes_of(s->memory.hold, s->hold_bytes);
    s->hold_bytes = 0;
    return push_chunks(s, held, now_us);
}

void rtmp_session_refuse(struct rtmp_session *s, enum rtmp_refusal why)
{
    static const struct {
        const char *code;
        const char *description;
    } refusals[] = {
        [RTMP_REFUSED_KEY] = {"NetStream.Publish.BadName",
                              "publishing refused: wrong channel name or stream key"},
        [RTMP_REFUSED_UNAVAILABLE] = {"NetStream.Failed",
                                      "the stream key cannot be checked now, try again"},
        [RTMP_REFUSED_NO_ROOM] = {"NetStream.Failed", "no room for another channel, try later"},
        [RTMP_REFUSED_OVERTAKEN] = {"NetStream.Publish.BadName",
                                    "a newer publisher with the right key was first"},
    };

    CHECK(s->state == RTMP_SESSION_ASKING);
    send_status(s, "error", refusals[why].code, refusals[why].description);
    (void)over(s, -ESHUTDOWN, refusals[why].description);
}

void rtmp_session_end(struct rtmp_session *s, const char *reason)
{
    CHECK(s->state == RTMP_SESSION_PUBLISHING);
    send_status(s, "status", "NetStream.Unpublish.Success", reason);
    (void)over(s, -ESHUTDOWN, reason);
}
