/* rtmp_target.h - which channel a publisher means, and with which key. */
#ifndef DATAPLANE_RTMP_RTMP_TARGET_H
#define DATAPLANE_RTMP_RTMP_TARGET_H

#include "common/bytes.h"
#include "common/limits.h"

/* NUL-terminated. The key is a secret: never logged. */
struct rtmp_target {
    char name[CHANNEL_NAME_MAX + 1];
    char key[STREAM_KEY_MAX + 1];
};

/* True when the application of connect is ours: "live", or "live/NAME". */
bool rtmp_target_is_app(struct bytes app);

/* Understands what encoders make of their one or two fields:
 *   app "live",      stream "NAME?key=KEY"   rtmp://HOST/live and NAME?key=KEY (OBS), or one URL
 *   app "live?key=KEY" (or so in tcUrl alone), stream "NAME"
 *   app "live/NAME", stream "KEY" or "?key=KEY"   rtmp://HOST/live/NAME and KEY (OBS)
 * The value of key may be percent-encoded. 0; -EINVAL: no valid channel name; -EACCES: no key, or
 * too long a one. On failure '*ret_target' is untouched. */
int rtmp_target_parse(struct bytes app, struct bytes tc_url, struct bytes stream,
                      struct rtmp_target *ret_target);

#endif
