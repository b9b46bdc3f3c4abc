/* reference.h - the files that are generated from keys.def and the counters' .def files. */
#ifndef TOOLS_REFERENCE_REFERENCE_H
#define TOOLS_REFERENCE_REFERENCE_H

#include <stddef.h>

enum { REFERENCE_SIZE_MAX = 1 << 18 };

struct reference_file {
    const char *path; /* from the top of the source tree */
    /* Bytes written into 'out', or -ENOSPC. */
    int (*write)(char *out, size_t out_size);
};

/* The last entry has no path. */
extern const struct reference_file reference_files[];

#endif
