/* amf0.h - Action Message Format 0 (Adobe, 2007): reading without a tree, and writing.
 *
 * amf0_read() gives a scalar, or opens an object or array whose members are then read in
 * order. What is of no interest is skipped, to a bounded depth. Strings are borrowed from the
 * input. */
#ifndef DATAPLANE_RTMP_AMF0_H
#define DATAPLANE_RTMP_AMF0_H

#include "common/cursor.h"
#include "common/writer.h"

enum { AMF0_DEPTH_MAX = 16 };

/* Type markers, section 2.1. */
enum amf0_type {
    AMF0_NUMBER = 0,
    AMF0_BOOLEAN = 1,
    AMF0_STRING = 2,
    AMF0_OBJECT = 3,
    AMF0_NULL = 5,
    AMF0_UNDEFINED = 6,
    AMF0_REFERENCE = 7,
    AMF0_ECMA_ARRAY = 8,
    AMF0_OBJECT_END = 9,
    AMF0_STRICT_ARRAY = 10,
    AMF0_DATE = 11,
    AMF0_LONG_STRING = 12,
    AMF0_UNSUPPORTED = 13,
    AMF0_XML = 15,
    AMF0_TYPED_OBJECT = 16
};

struct amf0_value {
    enum amf0_type type;
    bool boolean;
    uint32_t count;      /* STRICT_ARRAY: elements; ECMA_ARRAY: as announced, which may be wrong */
    double number;       /* NUMBER; DATE: milliseconds since 1970 */
    struct bytes string; /* STRING, LONG_STRING, XML; TYPED_OBJECT: the class */
};

/* Reads one value, of an object or array only its opening. -EBADMSG: truncated; -ENOTSUP: a type
 * that AMF0 reserves, or AMF3. The cursor is then of no further use. */
int amf0_read(struct cursor *c, struct amf0_value *ret_value);

/* After an opened object, typed object or ECMA array: 1, and the next member's name, its value to
 * be read or skipped next; 0: it has ended (also where the data end without the end marker, as some
 * encoders send it); -EBADMSG. */
int amf0_next_member(struct cursor *c, struct bytes *ret_name);

/* Skips one whole value. Errors as amf0_read(); -ELOOP: nested deeper than AMF0_DEPTH_MAX. */
int amf0_skip(struct cursor *c);

/* Skips what is left of a value just read: nothing for a scalar. */
int amf0_skip_body(struct cursor *c, const struct amf0_value *opened);

/* STRING or LONG_STRING. */
bool amf0_is_string(const struct amf0_value *v);

void amf0_write_number(struct writer *w, double number);
void amf0_write_boolean(struct writer *w, bool boolean);
void amf0_write_string(struct writer *w, struct bytes string); /* STRING up to 65535 bytes */
void amf0_write_text(struct writer *w, const char *text);
void amf0_write_null(struct writer *w);
void amf0_write_undefined(struct writer *w);
void amf0_write_object(struct writer *w);                   /* members follow, then … */
void amf0_write_ecma_array(struct writer *w, uint32_t n);   /* the same */
void amf0_write_end(struct writer *w);                      /* … this */
void amf0_write_strict_array(struct writer *w, uint32_t n); /* 'n' values follow */
void amf0_write_name(struct writer *w, const char *name);   /* of a member: its value follows */

#endif
