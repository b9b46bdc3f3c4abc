#include "dataplane/media/aac.h"

#include <errno.h>

#include "dataplane/media/bits.h"

enum {
    TYPE_LC = 2,
    TYPE_SBR = 5,
    TYPE_ER_LC = 17,
    TYPE_ER_LTP = 19,
    TYPE_ER_SCALABLE = 20,
    TYPE_ER_BSAC = 22,
    TYPE_ER_LD = 23,
    TYPE_PS = 29,
    TYPE_ESCAPE = 31,
    TYPE_ER_ELD = 39,
    TYPE_USAC = 42,
    RATE_ESCAPE = 15,
    SYNC_EXTENSION = 0x2b7
};

/* Table 1.18; 0: reserved. */
static uint32_t rate_of(uint32_t index)
{
    static const uint32_t rates[13] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                       22050, 16000, 12000, 11025, 8000,  7350};

    return index < 13 ? rates[index] : 0;
}

/* Table 1.19; 0: reserved, or told by a program_config_element. */
static uint32_t channels_of(uint32_t configuration)
{
    static const uint8_t channels[15] = {0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8};

    return configuration < 15 ? channels[configuration] : 0;
}

static uint32_t take_object_type(struct bits *b)
{
    uint32_t type = bits_take(b, 5);

    return type == TYPE_ESCAPE ? 32 + bits_take(b, 6) : type;
}

static uint32_t take_rate(struct bits *b)
{
    uint32_t index = bits_take(b, 4);

    return index == RATE_ESCAPE ? bits_take(b, 24) : rate_of(index);
}

/* Channels of a program_config_element(), 4.5.2.1: single elements count one, pairs two. */
static uint32_t program_channels(struct bits *b)
{
    uint32_t channels = 0;

    bits_skip(b, 4 + 2 + 4); /* tag, object type, rate */
    uint32_t lists[3];       /* front, side, back */
    for (unsigned i = 0; i < 3; i++)
        lists[i] = bits_take(b, 4);
    uint32_t lfe = bits_take(b, 2);
    bits_skip(b, 3 + 4); /* number of data and coupling elements */
    if (bits_flag(b))
        bits_skip(b, 4); /* mono mixdown */
    if (bits_flag(b))
        bits_skip(b, 4); /* stereo mixdown */
    if (bits_flag(b))
        bits_skip(b, 3); /* matrix mixdown */
    for (unsigned list = 0; list < 3; list++) {
        for (uint32_t i = 0; i < lists[list]; i++) {
            channels += 1 + bits_flag(b); /* is_cpe */
            bits_skip(b, 4);
        }
    }
    return channels + lfe;
}

/* GASpecificConfig(), 4.4.1, as far as it is wanted. */
static void general_audio(struct bits *b, uint32_t type, uint32_t channel_configuration,
                          struct aac_config *c)
{
    bool is_short = bits_flag(b); /* frameLengthFlag */

    if (bits_flag(b)) /* dependsOnCoreCoder */
        bits_skip(b, 14);
    bool has_extension = bits_flag(b);
    if (channel_configuration == 0)
        c->channel_count = program_channels(b);
    if (type == TYPE_ER_LD)
        c->frame_samples = is_short ? 480 : 512;
    else
        c->frame_samples = is_short ? 960 : 1024;
    if (has_extension) {
        if (type == TYPE_ER_BSAC)
            bits_skip(b, 5 + 11);
        if (type == TYPE_ER_LC || type == TYPE_ER_LTP || type == TYPE_ER_SCALABLE ||
            type == TYPE_ER_LD)
            bits_skip(b, 3);
        bits_skip(b, 1);
    }
}

static bool is_general_audio(uint32_t type)
{
    return (type >= 1 && type <= 4) || type == 6 || type == 7 || type == TYPE_ER_LC ||
           (type >= TYPE_ER_LTP && type <= TYPE_ER_LD);
}

/* Backward-compatible signalling of SBR and PS behind the config, 1.6.2.1 and 1.6.5.2. */
static void sync_extension(struct bits *b, uint32_t *sbr_rate, struct aac_config *c)
{
    if (bits_take(b, 11) != SYNC_EXTENSION || take_object_type(b) != TYPE_SBR || !bits_flag(b))
        return;
    uint32_t rate = take_rate(b);
    if (b->failed || rate == 0)
        return;
    *sbr_rate = rate;
    c->object_type = TYPE_SBR;
    if (bits_take(b, 11) == 0x548 && bits_flag(b) && !b->failed)
        c->object_type = TYPE_PS;
}

int aac_config_parse(struct bytes config, struct aac_config *ret_config)
{
    struct bits b = bits_of(config);
    struct aac_config c = {0};
    uint32_t sbr_rate = 0;

    uint32_t type = take_object_type(&b);
    c.object_type = (uint8_t)type;
    c.sample_rate_hz = take_rate(&b);
    uint32_t channel_configuration = bits_take(&b, 4);
    c.channel_count = channels_of(channel_configuration);
    if (type == TYPE_SBR || type == TYPE_PS) {
        sbr_rate = take_rate(&b);
        if (sbr_rate == 0)
            return -EBADMSG;
        type = take_object_type(&b);
        if (type == TYPE_ER_BSAC)
            bits_skip(&b, 4);
    }
    if (is_general_audio(type))
        general_audio(&b, type, channel_configuration, &c);
    else if (type == TYPE_ER_ELD)
        c.frame_samples = bits_flag(&b) ? 480 : 512;
    else if (type != TYPE_USAC) /* its frame length is in UsacConfig(): left at 0, varies */
        return -EBADMSG;
    if (b.failed || c.sample_rate_hz < 1000 || c.sample_rate_hz > 192000 || c.channel_count == 0 ||
        sbr_rate > 192000)
        return -EBADMSG;

    if (sbr_rate == 0 && type == TYPE_LC)
        sync_extension(&b, &sbr_rate, &c);
    if (sbr_rate > c.sample_rate_hz) { /* equal: downsampled SBR */
        c.frame_samples *= 2;
        c.sample_rate_hz *= 2;
    }
    if (c.object_type == TYPE_PS && c.channel_count == 1)
        c.channel_count = 2;
    *ret_config = c;
    return 0;
}

int adts_parse(struct bytes data, struct adts_header *ret_header)
{
    struct bits b = bits_of(data);
    struct adts_header h = {0};

    if (bits_take(&b, 12) != 0xfff)
        return -EBADMSG;
    bits_skip(&b, 1);          /* ID: MPEG-4 or MPEG-2 */
    if (bits_take(&b, 2) != 0) /* layer */
        return -EBADMSG;
    h.header_size = bits_flag(&b) ? ADTS_HEADER_SIZE : ADTS_HEADER_CRC_SIZE;
    h.object_type = (uint8_t)(bits_take(&b, 2) + 1);
    h.sample_rate_hz = rate_of(bits_take(&b, 4));
    bits_skip(&b, 1); /* private_bit */
    h.channel_count = channels_of(bits_take(&b, 3));
    bits_skip(&b, 4); /* original, home, copyright */
    h.frame_size = bits_take(&b, 13);
    bits_skip(&b, 11 + 2); /* buffer fullness, raw data blocks */
    if (b.failed || h.sample_rate_hz == 0 || h.frame_size < h.header_size)
        return -EBADMSG;
    *ret_header = h;
    return 0;
}
