/* http_date.h - the two ways in which a time is written on the wire. */
#ifndef DATAPLANE_HTTP_HTTP_DATE_H
#define DATAPLANE_HTTP_HTTP_DATE_H

#include <stdint.h>

enum {
    HTTP_DATE_SIZE = 29, /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    HTTP_ISO_SIZE = 24   /* "1994-11-06T08:49:37.123Z" */
};

/* IMF-fixdate (RFC 9110 5.6.7) of a Unix time; no NUL. Years 0 to 9999, clamped. */
void http_date_write(int64_t unix_s, char out[static HTTP_DATE_SIZE]);

/* ISO 8601 with milliseconds, in UTC; no NUL. */
void http_iso_write(int64_t unix_us, char out[static HTTP_ISO_SIZE]);

#endif
