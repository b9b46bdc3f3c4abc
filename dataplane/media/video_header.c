#include "dataplane/media/video_header.h"

#include <errno.h>

#include "common/cursor.h"
#include "dataplane/media/bits.h"

enum {
    H264_NAL_SPS = 7,
    HEVC_NAL_SPS = 33,
    HEVC_SUB_LAYERS_MAX = 7,
    HEVC_RPS_MAX = 64,      /* num_short_term_ref_pic_sets */
    HEVC_RPS_PICS_MAX = 16, /* pictures in one set */
    AV1_OBU_SEQUENCE = 1,
    AV1_OBU_DELIMITER = 2,
    EXTENDED_SAR = 255
};

static int format_check(const struct bits *b, const struct video_format *format)
{
    if (b->failed || format->width == 0 || format->width > VIDEO_SIDE_MAX || format->height == 0 ||
        format->height > VIDEO_SIDE_MAX)
        return -EBADMSG;
    return 0;
}

/* Takes the cropped edges off; leaves a size of 0 when nothing remains. */
static void crop(struct video_format *f, uint64_t horizontal, uint64_t vertical)
{
    f->width = horizontal < f->width ? (uint32_t)(f->width - horizontal) : 0;
    f->height = vertical < f->height ? (uint32_t)(f->height - vertical) : 0;
}

/* ------------------------------------------------------------------ H.264 */

static void h264_scaling_list(struct bits *b, unsigned size)
{
    int32_t last = 8;
    int32_t next = 8;

    for (unsigned i = 0; i < size && !b->failed; i++) {
        if (next != 0)
            next = (int32_t)(((int64_t)last + bits_se(b)) & 0xff); /* (last + delta + 256) % 256 */
        last = next == 0 ? last : next;
    }
}

static bool h264_has_chroma_format(uint32_t profile)
{
    static const uint8_t profiles[] = {100, 110, 122, 244, 44,  83, 86,
                                       118, 128, 138, 139, 134, 135};

    for (size_t i = 0; i < sizeof(profiles); i++)
        if (profiles[i] == profile)
            return true;
    return false;
}

/* The part of the SPS that the high profiles add; returns chroma_format_idc, or 0 when the colour
 * planes are separate (ChromaArrayType). */
static uint32_t h264_chroma(struct bits *b)
{
    uint32_t chroma_format = bits_ue_max(b, 3);
    bool is_separate = chroma_format == 3 && bits_flag(b);

    bits_ue(b);      /* bit_depth_luma_minus8 */
    bits_ue(b);      /* bit_depth_chroma_minus8 */
    bits_skip(b, 1); /* qpprime_y_zero_transform_bypass_flag */
    if (bits_flag(b)) {
        unsigned lists = chroma_format != 3 ? 8 : 12;

        for (unsigned i = 0; i < lists && !b->failed; i++)
            if (bits_flag(b))
                h264_scaling_list(b, i < 6 ? 16 : 64);
    }
    return is_separate ? 0 : chroma_format;
}

static void h264_picture_order(struct bits *b)
{
    uint32_t type = bits_ue_max(b, 2);

    if (type == 0) {
        bits_ue(b); /* log2_max_pic_order_cnt_lsb_minus4 */
    } else if (type == 1) {
        bits_skip(b, 1); /* delta_pic_order_always_zero_flag */
        bits_se(b);      /* offset_for_non_ref_pic */
        bits_se(b);      /* offset_for_top_to_bottom_field */
        uint32_t count = bits_ue_max(b, 255);
        for (uint32_t i = 0; i < count && !b->failed; i++)
            bits_se(b); /* offset_for_ref_frame */
    }
}

/* What VUI begins with in both codecs, up to and with the chroma sample location. */
static void vui_begin(struct bits *b)
{
    if (bits_flag(b) && bits_take(b, 8) == EXTENDED_SAR)
        bits_skip(b, 32);
    if (bits_flag(b))    /* overscan_info_present_flag */
        bits_skip(b, 1); /* overscan_appropriate_flag */
    if (bits_flag(b)) {  /* video_signal_type_present_flag */
        bits_skip(b, 4); /* video_format, video_full_range_flag */
        if (bits_flag(b))
            bits_skip(b, 24); /* colour description */
    }
    if (bits_flag(b)) { /* chroma_loc_info_present_flag */
        bits_ue(b);
        bits_ue(b);
    }
}

/* Timing is the last that is wanted, so a header that ends within it is as one without it. */
static void vui_timing(struct bits *b, uint32_t ticks_per_frame, struct video_format *f)
{
    if (!bits_flag(b))
        return;
    uint32_t units_in_tick = bits_take(b, 32);
    uint32_t time_scale = bits_take(b, 32);
    if (b->failed || units_in_tick == 0 || units_in_tick > UINT32_MAX / ticks_per_frame ||
        time_scale == 0)
        return;
    f->rate_num = time_scale;
    f->rate_den = units_in_tick * ticks_per_frame;
}

int h264_sps_parse(struct bytes nal, struct video_format *ret_format)
{
    struct bits b = bits_of_nal(nal);
    struct video_format f = {0};
    uint32_t chroma = 1; /* 4:2:0 unless the SPS says otherwise */

    if ((bits_take(&b, 8) & 0x1f) != H264_NAL_SPS)
        return -EBADMSG;
    uint32_t profile = bits_take(&b, 8);
    bits_skip(&b, 16);   /* constraint flags, level_idc */
    bits_ue_max(&b, 31); /* seq_parameter_set_id */
    if (h264_has_chroma_format(profile))
        chroma = h264_chroma(&b);
    bits_ue_max(&b, 12); /* log2_max_frame_num_minus4 */
    h264_picture_order(&b);
    bits_ue(&b);      /* max_num_ref_frames */
    bits_skip(&b, 1); /* gaps_in_frame_num_value_allowed_flag */

    uint32_t width_mbs = bits_ue_max(&b, VIDEO_SIDE_MAX / 16 - 1) + 1;
    uint32_t height_units = bits_ue_max(&b, VIDEO_SIDE_MAX / 16 - 1) + 1;
    uint32_t frame_mbs_only = bits_flag(&b);
    if (!frame_mbs_only)
        bits_skip(&b, 1); /* mb_adaptive_frame_field_flag */
    bits_skip(&b, 1);     /* direct_8x8_inference_flag */
    f.width = width_mbs * 16;
    f.height = height_units * 16 * (2 - frame_mbs_only);

    if (bits_flag(&b)) { /* frame_cropping_flag; units of table 6-1 */
        uint64_t unit_x = chroma == 1 || chroma == 2 ? 2 : 1;
        uint64_t unit_y = (chroma == 1 ? 2u : 1u) * (2 - frame_mbs_only);
        uint64_t horizontal = bits_ue(&b);
        horizontal += bits_ue(&b);
        uint64_t vertical = bits_ue(&b);
        vertical += bits_ue(&b);
        crop(&f, horizontal * unit_x, vertical * unit_y);
    }
    bool has_vui = bits_flag(&b);
    int error = format_check(&b, &f);
    if (error != 0)
        return error;
    if (has_vui) {
        vui_begin(&b);
        vui_timing(&b, 2, &f); /* a tick is a field */
    }
    *ret_format = f;
    return 0;
}

/* ------------------------------------------------------------------- HEVC */

/* profile_tier_level(1, max_sub_layers_minus1), 7.3.3. */
static void hevc_profile_tier_level(struct bits *b, uint32_t sub_layers_minus1)
{
    uint32_t has_profile = 0;
    uint32_t has_level = 0;

    bits_skip(b, 88 + 8);
    for (uint32_t i = 0; i < sub_layers_minus1; i++) {
        has_profile |= bits_flag(b) << i;
        has_level |= bits_flag(b) << i;
    }
    if (sub_layers_minus1 > 0)
        bits_skip(b, 2 * (8 - sub_layers_minus1));
    for (uint32_t i = 0; i < sub_layers_minus1; i++) {
        if (has_profile >> i & 1)
            bits_skip(b, 88);
        if (has_level >> i & 1)
            bits_skip(b, 8);
    }
}

/* scaling_list_data(), 7.3.4. */
static void hevc_scaling_lists(struct bits *b)
{
    for (unsigned size_id = 0; size_id < 4; size_id++) {
        for (unsigned matrix = 0; matrix < 6 && !b->failed; matrix += size_id == 3 ? 3 : 1) {
            unsigned count = 1u << (4 + 2 * size_id);

            if (!bits_flag(b)) {
                bits_ue(b); /* scaling_list_pred_matrix_id_delta */
                continue;
            }
            if (size_id > 1)
                bits_se(b); /* scaling_list_dc_coef_minus8 */
            for (unsigned i = 0; i < (count < 64 ? count : 64) && !b->failed; i++)
                bits_se(b);
        }
    }
}

/* st_ref_pic_set(index), 7.3.7, of which only the number of pictures matters: the next set may be
 * coded relative to it. */
static uint32_t hevc_ref_pic_set(struct bits *b, uint32_t index, uint32_t previous_pics)
{
    uint32_t pics = 0;

    if (index > 0 && bits_flag(b)) { /* inter_ref_pic_set_prediction_flag */
        bits_skip(b, 1);             /* delta_rps_sign */
        bits_ue(b);                  /* abs_delta_rps_minus1 */
        for (uint32_t i = 0; i <= previous_pics && !b->failed; i++) {
            bool is_used = bits_flag(b);

            if (is_used || bits_flag(b)) /* use_delta_flag */
                pics++;
        }
    } else {
        pics = bits_ue_max(b, HEVC_RPS_PICS_MAX);
        pics += bits_ue_max(b, HEVC_RPS_PICS_MAX);
        for (uint32_t i = 0; i < pics && !b->failed; i++) {
            bits_ue(b);      /* delta_poc_minus1 */
            bits_skip(b, 1); /* used_by_curr_pic_flag */
        }
    }
    if (pics > HEVC_RPS_PICS_MAX)
        b->failed = true;
    return b->failed ? 0 : pics;
}

/* Everything between the picture size and the VUI. */
static void hevc_sps_middle(struct bits *b, uint32_t sub_layers_minus1)
{
    bits_ue(b); /* bit_depth_luma_minus8 */
    bits_ue(b); /* bit_depth_chroma_minus8 */
    uint32_t poc_bits_minus4 = bits_ue_max(b, 12);
    uint32_t layers = bits_flag(b) ? sub_layers_minus1 + 1 : 1;
    for (uint32_t i = 0; i < layers * 3; i++)
        bits_ue(b); /* dec_pic_buffering, num_reorder, latency_increase */
    for (unsigned i = 0; i < 6; i++)
        bits_ue(b); /* block and transform sizes and depths */
    if (bits_flag(b) && bits_flag(b))
        hevc_scaling_lists(b);
    bits_skip(b, 2);    /* amp, sample_adaptive_offset */
    if (bits_flag(b)) { /* pcm_enabled_flag */
        bits_skip(b, 8);
        bits_ue(b);
        bits_ue(b);
        bits_skip(b, 1);
    }
    uint32_t sets = bits_ue_max(b, HEVC_RPS_MAX);
    uint32_t pics = 0;
    for (uint32_t i = 0; i < sets && !b->failed; i++)
        pics = hevc_ref_pic_set(b, i, pics);
    if (bits_flag(b)) { /* long_term_ref_pics_present_flag */
        uint32_t count = bits_ue_max(b, 32);

        bits_skip(b, count * (poc_bits_minus4 + 4 + 1));
    }
    bits_skip(b, 2); /* temporal_mvp, strong_intra_smoothing */
}

static void hevc_vui(struct bits *b, struct video_format *f)
{
    vui_begin(b);
    bits_skip(b, 3);    /* neutral_chroma, field_seq, frame_field_info */
    if (bits_flag(b)) { /* default_display_window_flag */
        for (unsigned i = 0; i < 4; i++)
            bits_ue(b);
    }
    vui_timing(b, 1, f);
}

int hevc_sps_parse(struct bytes nal, struct video_format *ret_format)
{
    struct bits b = bits_of_nal(nal);
    struct video_format f = {0};

    if ((bits_take(&b, 16) >> 9 & 0x3f) != HEVC_NAL_SPS)
        return -EBADMSG;
    bits_skip(&b, 4); /* sps_video_parameter_set_id */
    uint32_t sub_layers_minus1 = bits_take(&b, 3);
    if (sub_layers_minus1 >= HEVC_SUB_LAYERS_MAX)
        return -EBADMSG;
    bits_skip(&b, 1); /* sps_temporal_id_nesting_flag */
    hevc_profile_tier_level(&b, sub_layers_minus1);
    bits_ue_max(&b, 15); /* sps_seq_parameter_set_id */
    uint32_t chroma = bits_ue_max(&b, 3);
    if (chroma == 3 && bits_flag(&b)) /* separate_colour_plane_flag */
        chroma = 0;
    f.width = bits_ue(&b);
    f.height = bits_ue(&b);
    if (bits_flag(&b)) { /* conformance_window_flag; units of table 6-1 */
        uint64_t horizontal = bits_ue(&b);
        horizontal += bits_ue(&b);
        uint64_t vertical = bits_ue(&b);
        vertical += bits_ue(&b);
        crop(&f, horizontal * (chroma == 1 || chroma == 2 ? 2 : 1),
             vertical * (chroma == 1 ? 2 : 1));
    }
    int error = format_check(&b, &f);
    if (error != 0)
        return error;

    /* Only the frame rate is behind this point, so a failure costs no more than that. */
    hevc_sps_middle(&b, sub_layers_minus1);
    if (bits_flag(&b))
        hevc_vui(&b, &f);
    *ret_format = f;
    return 0;
}

/* -------------------------------------------------------------------- AV1 */

/* leb128(), 4.10.5. */
static size_t av1_leb128(struct cursor *c)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        uint8_t byte = cursor_u8(c);

        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0)
            return value <= UINT32_MAX ? (size_t)value : SIZE_MAX;
    }
    c->failed = true;
    return 0;
}

/* Takes one OBU (5.3.1) off 'c'; without a size field it reaches to the end. False: malformed. */
static bool av1_obu_take(struct cursor *c, uint8_t *ret_type, struct bytes *ret_payload)
{
    uint8_t header = cursor_u8(c);
    bool has_extension = header & 0x04;
    bool has_size = header & 0x02;

    if (has_extension)
        cursor_skip(c, 1);
    *ret_type = header >> 3 & 0x0f;
    *ret_payload = cursor_take(c, has_size ? av1_leb128(c) : cursor_left(c));
    return cursor_is_ok(c) && header >> 7 == 0;
}

bool av1_find_sequence(struct bytes obus, struct bytes *ret_obu, struct bytes *ret_payload)
{
    struct cursor c = cursor_of(obus);

    while (cursor_left(&c) > 0) {
        const uint8_t *start = c.ptr;
        uint8_t type;
        struct bytes payload;

        if (!av1_obu_take(&c, &type, &payload))
            return false;
        if (type != AV1_OBU_SEQUENCE)
            continue;
        *ret_obu = bytes_of(start, (size_t)(c.ptr - start));
        *ret_payload = payload;
        return true;
    }
    return false;
}

struct bytes av1_skip_delimiters(struct bytes obus)
{
    struct cursor c = cursor_of(obus);
    uint8_t type;
    struct bytes payload;

    for (struct cursor next = c; cursor_left(&next) > 0; c = next)
        if (!av1_obu_take(&next, &type, &payload) || type != AV1_OBU_DELIMITER)
            return cursor_take_rest(&c);
    return (struct bytes){0};
}

static void av1_timing(struct bits *b, struct video_format *f)
{
    uint32_t units_in_tick = bits_take(b, 32);
    uint32_t time_scale = bits_take(b, 32);
    bool is_constant = bits_flag(b);

    if (!is_constant)
        return;
    uint32_t ticks = bits_ue(b); /* uvlc() is coded as ue(v); the value is one less */
    if (b->failed || units_in_tick == 0 || time_scale == 0 || ticks >= UINT32_MAX / units_in_tick)
        return;
    f->rate_num = time_scale;
    f->rate_den = units_in_tick * (ticks + 1);
}

static void av1_operating_points(struct bits *b, uint32_t delay_bits)
{
    bool has_display_delay = bits_flag(b);
    uint32_t count = bits_take(b, 5) + 1;

    for (uint32_t i = 0; i < count && !b->failed; i++) {
        bits_skip(b, 12); /* operating_point_idc */
        if (bits_take(b, 5) > 7)
            bits_skip(b, 1); /* seq_tier */
        if (delay_bits > 0 && bits_flag(b))
            bits_skip(b, 2 * delay_bits + 1); /* operating_parameters_info() */
        if (has_display_delay && bits_flag(b))
            bits_skip(b, 4);
    }
}

int av1_sequence_parse(struct bytes payload, struct video_format *ret_format)
{
    struct bits b = bits_of(payload);
    struct video_format f = {0};

    bits_skip(&b, 3 + 1); /* seq_profile, still_picture */
    if (bits_flag(&b)) {  /* reduced_still_picture_header */
        bits_skip(&b, 5);
    } else {
        uint32_t delay_bits = 0;

        if (bits_flag(&b)) { /* timing_info_present_flag */
            av1_timing(&b, &f);
            if (bits_flag(&b)) { /* decoder_model_info_present_flag */
                delay_bits = bits_take(&b, 5) + 1;
                bits_skip(&b, 32 + 5 + 5);
            }
        }
        av1_operating_points(&b, delay_bits);
    }
    uint32_t width_bits = bits_take(&b, 4) + 1;
    uint32_t height_bits = bits_take(&b, 4) + 1;
    f.width = bits_take(&b, width_bits) + 1;
    f.height = bits_take(&b, height_bits) + 1;
    int error = format_check(&b, &f);
    if (error == 0)
        *ret_format = f;
    return error;
}

/* -------------------------------------------------------------------- VP9 */

/* Reads up to and with frame_type; returns the profile, or -1 when this is no key frame. */
static int vp9_frame_begin(struct bits *b)
{
    enum { FRAME_MARKER = 2 };

    if (bits_take(b, 2) != FRAME_MARKER)
        return -1;
    uint32_t profile = bits_flag(b);
    profile |= bits_flag(b) << 1;
    if (profile == 3)
        bits_skip(b, 1);
    if (bits_flag(b)) /* show_existing_frame */
        return -1;
    return bits_flag(b) == 0 && !b->failed ? (int)profile : -1;
}

bool vp9_is_keyframe(struct bytes frame)
{
    struct bits b = bits_of(frame);

    return vp9_frame_begin(&b) >= 0;
}

int vp9_keyframe_parse(struct bytes frame, struct video_format *ret_format)
{
    enum { SYNC_CODE = 0x498342, CS_RGB = 7 };
    struct bits b = bits_of(frame);
    struct video_format f = {0};

    int profile = vp9_frame_begin(&b);
    if (profile < 0)
        return -EBADMSG;
    bits_skip(&b, 2); /* show_frame, error_resilient_mode */
    if (bits_take(&b, 24) != SYNC_CODE)
        return -EBADMSG;
    if (profile >= 2)
        bits_skip(&b, 1); /* ten_or_twelve_bit */
    bool is_rgb = bits_take(&b, 3) == CS_RGB;
    if (!is_rgb)
        bits_skip(&b, 1); /* color_range */
    if (profile == 1 || profile == 3)
        bits_skip(&b, is_rgb ? 1 : 3); /* subsampling, reserved */
    f.width = bits_take(&b, 16) + 1;
    f.height = bits_take(&b, 16) + 1;
    int error = format_check(&b, &f);
    if (error == 0)
        *ret_format = f;
    return error;
}
