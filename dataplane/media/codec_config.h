/* codec_config.h - decoder configurations as publishers send them, into struct track_info. */
#ifndef DATAPLANE_MEDIA_CODEC_CONFIG_H
#define DATAPLANE_MEDIA_CODEC_CONFIG_H

#include "dataplane/media/media.h"
#include "dataplane/media/video_header.h"

/* Checks 'config' (of the form noted at enum codec) and fills all of '*ret_info':
 *  - avcC and hvcC are stored with NAL lengths of 4 bytes, whatever they said, since that is how
 *    ingest delivers access units; what they said is codec_config_length_size(config);
 *  - a vpcC without version and flags gets them;
 *  - width and height stay 0 where the configuration does not tell them: VP9 always, AV1 without a
 *    sequence header in av1C. codec_config_complete() then finds them in a key frame;
 *  - for AAC rate and samples are those of the decoder's output; for Opus always 48000.
 * 0; -EBADMSG: malformed; -ENOSPC: larger than CODEC_CONFIG_MAX; -ENOTSUP: a codec without
 * configuration (MP3, none). On failure '*ret_info' is untouched. */
int codec_config_parse(enum codec codec, struct bytes config, struct track_info *ret_info);

/* Whether all that packaging needs is known. */
bool codec_config_is_complete(const struct track_info *info);

/* Takes from a key frame of the track what its configuration left open, or what has changed since:
 * VP9's size; AV1's size and sequence header. 1: 'info' changed; 0: nothing new; -EBADMSG: not a
 * key frame, or nothing to be found in it. */
int codec_config_complete(struct track_info *info, struct bytes keyframe);

/* Bytes of the NAL lengths that go with an avcC or hvcC: 1 to 4. */
unsigned codec_config_length_size(enum codec codec, struct bytes config);

/* Size and, where the stream declares it, frame rate. -EBADMSG: not a video track with a complete
 * configuration. */
int codec_config_format(const struct track_info *info, struct video_format *ret_format);

/* What the header of the MPEG-1 or -2 layer III frame 'frame' says. -EBADMSG: not one. */
int codec_config_parse_mp3(struct bytes frame, struct track_info *ret_info);

const char *codec_name(enum codec codec);

#endif
