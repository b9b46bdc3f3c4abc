/* rtmp_command.h - the commands of RTMP 1.0 section 7.2: reading requests, writing answers.
 *
 * Bodies of command messages; chunking is rtmp_chunk.h's. */
#ifndef DATAPLANE_RTMP_RTMP_COMMAND_H
#define DATAPLANE_RTMP_RTMP_COMMAND_H

#include "common/bytes.h"
#include "common/writer.h"

enum rtmp_command_kind {
    RTMP_COMMAND_UNKNOWN,
    RTMP_COMMAND_ANSWER, /* _result, _error, onStatus: we ask nothing, so it is ignored */
    RTMP_COMMAND_CONNECT,
    RTMP_COMMAND_RELEASE_STREAM,
    RTMP_COMMAND_FC_PUBLISH,
    RTMP_COMMAND_CREATE_STREAM,
    RTMP_COMMAND_PUBLISH,
    RTMP_COMMAND_FC_UNPUBLISH,
    RTMP_COMMAND_DELETE_STREAM,
    RTMP_COMMAND_CLOSE_STREAM,
    RTMP_COMMAND_PLAY,
    RTMP_COMMAND_CHECK_BANDWIDTH,
    RTMP_COMMAND_STREAM_LENGTH
};

/* Strings are borrowed from the message. */
struct rtmp_command {
    enum rtmp_command_kind kind;
    struct bytes name;
    double transaction; /* 0: wants no answer */
    struct bytes app;   /* connect */
    struct bytes tc_url;
    struct bytes flash_version;
    struct bytes stream; /* publish, FCPublish, play, …: the stream's name */
};

/* -EBADMSG: not a name and a transaction number, or values that cannot be read. */
int rtmp_command_parse(struct bytes body, struct rtmp_command *ret_command);

/* The answer to connect, with what we take by Enhanced RTMP v2. */
void rtmp_command_write_connected(struct writer *w, double transaction);
/* _result: null, then null, undefined or a number. */
void rtmp_command_write_result(struct writer *w, double transaction);
void rtmp_command_write_number(struct writer *w, double transaction, double number);
/* _error with an information object. */
void rtmp_command_write_error(struct writer *w, double transaction, const char *code,
                              const char *description);
/* 'name' is onStatus, onFCPublish or onFCUnpublish; 'level' is status or error. */
void rtmp_command_write_status(struct writer *w, const char *name, const char *level,
                               const char *code, const char *description);

#endif
