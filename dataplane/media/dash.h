/* dash.h - renders the DASH manifest (ISO/IEC 23009-1, low-latency live of DASH-IF IOP part 4 and
 * ETSI TS 103 285) from a channel's window. No I/O, no state. Why it is a timeline with numbers:
 * docs/decisions, "DASH addresses segments by timeline and number". */
#ifndef DATAPLANE_MEDIA_DASH_H
#define DATAPLANE_MEDIA_DASH_H

#include "dataplane/media/hls.h"

/* Bytes that no rendering exceeds. */
uint32_t dash_bytes_max(const struct window *w);

/* 'now_wall_us' is Unix time: publishTime. The periods must be frozen. */
void dash_render(struct writer *out, const struct window *w, const struct manifest_options *options,
                 int64_t now_wall_us);

/* Whether the manifest rendered now leaves out the newest period, which will be told later. */
bool dash_holds_back(const struct window *w, const struct manifest_options *options,
                     int64_t now_wall_us);

#endif
