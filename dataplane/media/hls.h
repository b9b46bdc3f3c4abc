/* hls.h - renders HLS playlists from a channel's window, by draft-pantos-hls-rfc8216bis
 * (sections cited as "bis"). No I/O, no state. */
#ifndef DATAPLANE_MEDIA_HLS_H
#define DATAPLANE_MEDIA_HLS_H

#include "common/writer.h"
#include "dataplane/media/window.h"

/* What a channel fixes when it is first shown, for all its playlists. */
struct manifest_options {
    uint32_t target_duration_s; /* no segment rounds to more */
    uint64_t part_target_us;    /* no part is longer */
    uint64_t part_us;           /* as configured, >= part_target_us */
    uint64_t segment_us;
    bool is_live;  /* a publisher is there */
    bool is_ended; /* nothing more will come */
};

/* Bytes that no rendering of the track's playlist exceeds. */
uint32_t hls_media_bytes_max(const struct window *w, const struct window_track *t);

/* The media playlist of 't'; 'is_delta': with EXT-X-SKIP, see hls_skippable_count(). */
void hls_render_media(struct writer *out, const struct window *w, const struct window_track *t,
                      const struct manifest_options *options, bool is_delta);

/* Segments that a delta update leaves out; 0: there is nothing to skip. */
uint32_t hls_skippable_count(const struct window *w, const struct window_track *t,
                             const struct manifest_options *options);

uint32_t hls_multivariant_bytes_max(const struct window *w);
void hls_render_multivariant(struct writer *out, const struct window *w);

#endif
