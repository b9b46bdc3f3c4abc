/* live_plan.h - what a live request gets, given a snapshot: something now, or later, or never.
 *
 * Pure: decides and touches nothing. The rules for blocking are those of rfc8216bis 6.2.5.2 (a
 * playlist with _HLS_msn and _HLS_part) and 6.2.6 (a preload hint). */
#ifndef DATAPLANE_HTTP_LIVE_PLAN_H
#define DATAPLANE_HTTP_LIVE_PLAN_H

#include "dataplane/http/http_conn.h"

enum live_action {
    LIVE_SEND_OBJECT,
    LIVE_SEND_SEGMENT, /* complete or growing */
    LIVE_AWAIT,
    LIVE_REFUSE
};

struct live_plan {
    enum live_action action;
    struct object *object;               /* LIVE_SEND_OBJECT */
    const struct segment_entry *segment; /* LIVE_SEND_SEGMENT */
    struct http_head head;               /* of what is sent, without its status and size */
    uint64_t wait_us;                    /* LIVE_AWAIT: no longer than this in all */
    unsigned status;                     /* LIVE_REFUSE */
    const char *why;                     /* LIVE_REFUSE; static text */
};

/* 's' NULL: nothing has been published yet. The plan borrows from 's'. 'segment_target_us' is
 * the configured one, for when 's' is NULL. */
struct live_plan live_plan_make(const struct live_request *r, const struct channel_snapshot *s,
                                uint64_t segment_target_us);

/* The segment 'msn' of 't'; NULL: not listed (any more, or yet). */
const struct segment_entry *live_segment_find(const struct track_snapshot *t, uint64_t msn);

#endif
