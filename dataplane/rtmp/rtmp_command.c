#include "dataplane/rtmp/rtmp_command.h"

#include <errno.h>

#include "common/check.h"
#include "dataplane/rtmp/amf0.h"

/* Enhanced RTMP v2: FourCcInfoMask and CapsExMask. */
enum { FOURCC_CAN_FORWARD = 4, CAPS_MULTITRACK = 2, CAPS_MOD_EX = 4, CAPS_NANO_OFFSET = 8 };

static const char *const video_fourccs[] = {"avc1", "hvc1", "av01", "vp09"};
static const char *const audio_fourccs[] = {"mp4a", "Opus"};

static enum rtmp_command_kind kind_of(struct bytes name)
{
    static const struct {
        const char *name;
        enum rtmp_command_kind kind;
    } known[] = {
        {"connect", RTMP_COMMAND_CONNECT},
        {"releaseStream", RTMP_COMMAND_RELEASE_STREAM},
        {"FCPublish", RTMP_COMMAND_FC_PUBLISH},
        {"createStream", RTMP_COMMAND_CREATE_STREAM},
        {"publish", RTMP_COMMAND_PUBLISH},
        {"FCUnpublish", RTMP_COMMAND_FC_UNPUBLISH},
        {"deleteStream", RTMP_COMMAND_DELETE_STREAM},
        {"closeStream", RTMP_COMMAND_CLOSE_STREAM},
        {"play", RTMP_COMMAND_PLAY},
        {"play2", RTMP_COMMAND_PLAY},
        {"_checkbw", RTMP_COMMAND_CHECK_BANDWIDTH},
        {"getStreamLength", RTMP_COMMAND_STREAM_LENGTH},
        {"_result", RTMP_COMMAND_ANSWER},
        {"_error", RTMP_COMMAND_ANSWER},
        {"onStatus", RTMP_COMMAND_ANSWER},
    };

    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (bytes_equal_str(name, known[i].name))
            return known[i].kind;
    return RTMP_COMMAND_UNKNOWN;
}

/* The command object of connect. */
static int parse_connect(struct cursor *c, struct rtmp_command *command)
{
    struct amf0_value v;
    struct bytes name;
    int result = amf0_read(c, &v);

    if (result != 0 || (v.type != AMF0_OBJECT && v.type != AMF0_ECMA_ARRAY))
        return -EBADMSG;
    while ((result = amf0_next_member(c, &name)) == 1) {
        if (amf0_read(c, &v) != 0)
            return -EBADMSG;
        if (!amf0_is_string(&v)) {
            if (amf0_skip_body(c, &v) != 0)
                return -EBADMSG;
            continue;
        }
        if (bytes_equal_str(name, "app"))
            command->app = v.string;
        else if (bytes_equal_str(name, "tcUrl"))
            command->tc_url = v.string;
        else if (bytes_equal_str(name, "flashVer"))
            command->flash_version = v.string;
    }
    return result;
}

int rtmp_command_parse(struct bytes body, struct rtmp_command *ret_command)
{
    struct cursor c = cursor_of(body);
    struct rtmp_command command = {0};
    struct amf0_value v;

    if (amf0_read(&c, &v) != 0 || v.type != AMF0_STRING)
        return -EBADMSG;
    command.name = v.string;
    command.kind = kind_of(v.string);
    if (cursor_left(&c) > 0) { /* some clients end a notification here */
        if (amf0_read(&c, &v) != 0 || v.type != AMF0_NUMBER)
            return -EBADMSG;
        command.transaction = v.number;
    }
    if (command.kind == RTMP_COMMAND_CONNECT) {
        if (parse_connect(&c, &command) != 0)
            return -EBADMSG;
    } else if (cursor_left(&c) > 0) {
        if (amf0_skip(&c) != 0) /* the command object: null */
            return -EBADMSG;
        if (cursor_left(&c) > 0 && amf0_read(&c, &v) == 0 && amf0_is_string(&v))
            command.stream = v.string;
    }
    *ret_command = command;
    return 0;
}

static void write_head(struct writer *w, const char *name, double transaction)
{
    amf0_write_text(w, name);
    amf0_write_number(w, transaction);
}

static void write_member_text(struct writer *w, const char *name, const char *text)
{
    amf0_write_name(w, name);
    amf0_write_text(w, text);
}

static void write_member_number(struct writer *w, const char *name, double number)
{
    amf0_write_name(w, name);
    amf0_write_number(w, number);
}

static void write_fourccs(struct writer *w, const char *name, const char *const *fourccs,
                          size_t count)
{
    amf0_write_name(w, name);
    amf0_write_object(w);
    for (size_t i = 0; i < count; i++)
        write_member_number(w, fourccs[i], FOURCC_CAN_FORWARD);
    amf0_write_end(w);
}

void rtmp_command_write_connected(struct writer *w, double transaction)
{
    write_head(w, "_result", transaction);

    amf0_write_object(w); /* properties */
    write_member_text(w, "fmsVer", "FMS/3,5,7,7009");
    write_member_number(w, "capabilities", 31);
    amf0_write_name(w, "fourCcList");
    amf0_write_strict_array(w, ARRAY_COUNT(video_fourccs) + ARRAY_COUNT(audio_fourccs));
    for (size_t i = 0; i < ARRAY_COUNT(video_fourccs); i++)
        amf0_write_text(w, video_fourccs[i]);
    for (size_t i = 0; i < ARRAY_COUNT(audio_fourccs); i++)
        amf0_write_text(w, audio_fourccs[i]);
    write_fourccs(w, "videoFourCcInfoMap", video_fourccs, ARRAY_COUNT(video_fourccs));
    write_fourccs(w, "audioFourCcInfoMap", audio_fourccs, ARRAY_COUNT(audio_fourccs));
    write_member_number(w, "capsEx", CAPS_MULTITRACK | CAPS_MOD_EX | CAPS_NANO_OFFSET);
    amf0_write_end(w);

    amf0_write_object(w); /* information */
    write_member_text(w, "level", "status");
    write_member_text(w, "code", "NetConnection.Connect.Success");
    write_member_text(w, "description", "Connection succeeded.");
    write_member_number(w, "objectEncoding", 0);
    amf0_write_end(w);
}

void rtmp_command_write_result(struct writer *w, double transaction)
{
    write_head(w, "_result", transaction);
    amf0_write_null(w);
    amf0_write_undefined(w);
}

void rtmp_command_write_number(struct writer *w, double transaction, double number)
{
    write_head(w, "_result", transaction);
    amf0_write_null(w);
    amf0_write_number(w, number);
}

static void write_information(struct writer *w, const char *level, const char *code,
                              const char *description)
{
    amf0_write_null(w);
    amf0_write_object(w);
    write_member_text(w, "level", level);
    write_member_text(w, "code", code);
    write_member_text(w, "description", description);
    amf0_write_end(w);
}

void rtmp_command_write_error(struct writer *w, double transaction, const char *code,
                              const char *description)
{
    write_head(w, "_error", transaction);
    write_information(w, "error", code, description);
}

void rtmp_command_write_status(struct writer *w, const char *name, const char *level,
                               const char *code, const char *description)
{
    write_head(w, name, 0);
    write_information(w, level, code, description);
}
