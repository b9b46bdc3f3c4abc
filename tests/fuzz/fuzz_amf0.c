/* AMF0 values, and the commands and targets that are made of them. */
#include <errno.h>

#include "common/check.h"
#include "dataplane/rtmp/amf0.h"
#include "dataplane/rtmp/rtmp_command.h"
#include "dataplane/rtmp/rtmp_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Skipping a value and reading it member by member must end at the same place. */
static int walk(struct cursor *c, unsigned depth)
{
    struct amf0_value v;
    struct bytes name;
    int result = amf0_read(c, &v);

    if (result != 0)
        return result;
    if (v.type == AMF0_OBJECT || v.type == AMF0_ECMA_ARRAY || v.type == AMF0_TYPED_OBJECT) {
        if (depth >= AMF0_DEPTH_MAX)
            return -ELOOP;
        while ((result = amf0_next_member(c, &name)) == 1) {
            result = walk(c, depth + 1);
            if (result != 0)
                return result;
        }
        return result;
    }
    if (v.type == AMF0_STRICT_ARRAY && depth >= AMF0_DEPTH_MAX)
        return -ELOOP;
    for (uint32_t i = 0; v.type == AMF0_STRICT_ARRAY && i < v.count; i++) {
        result = walk(c, depth + 1);
        if (result != 0)
            return result;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes all = bytes_of(data, size);
    struct cursor skipped = cursor_of(all);
    struct cursor walked = cursor_of(all);
    struct rtmp_command command;
    struct rtmp_target target;

    while (cursor_left(&skipped) > 0) {
        int result = amf0_skip(&skipped);

        CHECK(walk(&walked, 0) == result);
        if (result != 0)
            break;
        CHECK(walked.ptr == skipped.ptr);
    }
    if (rtmp_command_parse(all, &command) == 0) {
        if (rtmp_target_parse(command.app, command.tc_url, command.stream, &target) == 0)
            CHECK(target.name[0] != '\0' && target.key[0] != '\0');
        if (rtmp_target_parse(bytes_of_str("live"), command.tc_url, command.stream, &target) == 0)
            CHECK(strlen(target.name) <= CHANNEL_NAME_MAX && strlen(target.key) <= STREAM_KEY_MAX);
    }
    return 0;
}
