/* utc.h - Unix time as ISO 8601 text, without the C library's locks and time zones. */
#ifndef DATAPLANE_MEDIA_UTC_H
#define DATAPLANE_MEDIA_UTC_H

#include <stdint.h>

enum { UTC_TEXT_MAX = 32 };

/* "2026-11-24T03:17:55.123Z"; returns 'out'. Times outside the years 1970 to 9999 are clamped. */
const char *utc_format(int64_t wall_us, char out[static UTC_TEXT_MAX]);

#endif
