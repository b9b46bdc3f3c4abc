#include "dataplane/media/lane.h"

#include "common/check.h"

bool lane_has_room(const struct lane *l, uint32_t size)
{
    return l->count < LANE_SAMPLES_MAX && size <= l->staging_size - l->data_size;
}

void lane_push(struct lane *l, const struct lane_sample *s)
{
    CHECK(lane_has_room(l, s->size));
    if (l->first + l->count == LANE_SAMPLES_MAX) {
        memmove(l->samples, l->samples + l->first, l->count * sizeof(l->samples[0]));
        l->first = 0;
    }
    *lane_at(l, l->count++) = *s;
}

void lane_append(struct lane *l, struct bytes data)
{
    CHECK(l->count > 0 && data.size == lane_at(l, l->count - 1)->size);
    if (data.size > l->staging_size - l->data_start - l->data_size) {
        memmove(l->staging, l->staging + l->data_start, l->data_size);
        l->data_start = 0;
    }
    memcpy(l->staging + l->data_start + l->data_size, data.ptr, data.size);
    l->data_size += (uint32_t)data.size;
}

struct bytes lane_bytes(const struct lane *l, uint32_t count)
{
    uint32_t size = 0;

    CHECK(count <= l->count);
    for (uint32_t i = 0; i < count; i++)
        size += l->samples[l->first + i].size;
    CHECK(size <= l->data_size);
    return bytes_of(l->staging + l->data_start, size);
}

void lane_drop(struct lane *l, uint32_t count)
{
    uint32_t size = (uint32_t)lane_bytes(l, count).size;

    l->first += count;
    l->count -= count;
    l->data_start += size;
    l->data_size -= size;
    if (l->count == 0)
        l->first = 0;
    if (l->data_size == 0)
        l->data_start = 0;
}

void lane_clear(struct lane *l)
{
    l->first = 0;
    l->count = 0;
    l->data_start = 0;
    l->data_size = 0;
}

/* A packet of one CELT frame whose first symbol is the silence flag (RFC 6716 4.3: probability
 * 2^-15, so all ones select it), full band, in the longest frame size that divides 'ticks'. */
static uint32_t opus_silence(const struct track_info *info, uint32_t ticks, uint8_t *out,
                             uint32_t *ret_size)
{
    enum { MAPPING_FAMILY_AT = 18, CELT_FULLBAND = 28 };

    if (info->config_size <= MAPPING_FAMILY_AT || info->config[MAPPING_FAMILY_AT] != 0)
        return 0;
    for (int size = 3; size >= 0; size--) {
        uint32_t samples = 120u << size;
        if (ticks < samples || ticks % samples != 0)
            continue;
        uint8_t stereo = info->channel_count == 2 ? 4 : 0;
        out[0] = (uint8_t)((CELT_FULLBAND + size) << 3 | stereo);
        out[1] = 0xff;
        out[2] = 0xfe;
        *ret_size = 3;
        return samples;
    }
    return 0;
}

/* raw_data_block() (ISO/IEC 14496-3 4.4.2.1) with max_sfb 0: no spectrum, so silence. */
static uint32_t aac_silence(const struct track_info *info, uint32_t ticks, uint8_t *out,
                            uint32_t *ret_size)
{
    /* Mono: ID_SCE and tag (7 bits 0), global_gain (8), ics_info with a long sine window and
     * max_sfb 0 (11), no pulse, TNS or gain control (3), ID_END (111). */
    static const uint8_t mono[] = {0x00, 0x00, 0x00, 0x07};
    /* Stereo: ID_CPE 001, tag 0, common_window 0, then twice the same stream, ID_END. */
    static const uint8_t stereo[] = {0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0e};
    enum { AAC_LC = 2 };

    if (info->frame_samples == 0 || ticks < info->frame_samples || info->config_size < 2 ||
        info->config[0] >> 3 != AAC_LC)
        return 0;
    if (info->channel_count == 1) {
        memcpy(out, mono, sizeof(mono));
        *ret_size = sizeof(mono);
    } else if (info->channel_count == 2) {
        memcpy(out, stereo, sizeof(stereo));
        *ret_size = sizeof(stereo);
    } else {
        return 0;
    }
    return info->frame_samples;
}

uint32_t lane_silence(const struct track_info *info, uint32_t ticks,
                      uint8_t out[static LANE_SILENCE_BYTES_MAX], uint32_t *ret_size)
{
    if (info->codec == CODEC_OPUS)
        return opus_silence(info, ticks, out, ret_size);
    if (info->codec == CODEC_AAC)
        return aac_silence(info, ticks, out, ret_size);
    return 0;
}
