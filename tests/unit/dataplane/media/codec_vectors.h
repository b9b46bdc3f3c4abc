/* codec_vectors.h - decoder configurations as real encoders wrote them, as hexadecimal text. */
#ifndef TESTS_CODEC_VECTORS_H
#define TESTS_CODEC_VECTORS_H

#include "common/bytes.h"

/* x264, 1920x1080 baseline, 60000/1001 frames per second. */
#define AVCC_1080P                                                                                 \
    "0142c02affe100186742c02ad900780227e5c04400000fa4000753003c60c92001000568cb83cb20"
/* x264, 1918x1078 High 4:4:4 interlaced, 30000/1001 frames per second. */
#define AVCC_INTERLACED                                                                            \
    "01f40028ffe1001a67f40028919b280f0089ee6c04400000fa40003a9807c58b658001000668fba3c44844fff8f8" \
    "00"
/* x265, 854x480, 24000/1001 frames per second; its SEI left out. */
#define HVCC_480P                                                                                  \
    "0104080000009e08000000005af000fcfff8f800000f03a00001001740010c01ffff0408000003009e0800000300" \
    "005a959809a10001002c4201010408000003009e0800000300005a9000d6403c3bf2cacd24995e02dc0808001000" \
    "003e900005dc0080a2000100084401c172860c4624"
/* libaom, 638x358. */
#define AV1C_638 "812100000a0d2000000cc4fb6536be48086801"
/* libvpx, profile 1. */
#define VPCC "010000000015820202020000"
/* ffmpeg's AAC, 48 kHz 5.1, with a sync extension that says: no SBR. */
#define ASC_51 "11b056e500"
/* libopus, stereo, pre-skip 312. */
#define OPUS_HEAD "4f707573486561640102380180bb0000000000"

/* Turns text like the above into bytes in 'out'; fails the test when it does not fit. */
struct bytes hex(const char *text, uint8_t *out, size_t out_size);

/* Puts bits together for headers written by hand. */
struct bit_writer {
    uint8_t data[256];
    size_t bit_count;
};

void put_bits(struct bit_writer *w, uint64_t value, unsigned count);
void put_ue(struct bit_writer *w, uint32_t value);
/* All written bits, filled up with zeros to a byte. */
struct bytes put_end(const struct bit_writer *w);

#endif
