/* Writes the generated files into the source tree given. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/reference/reference.h"

enum { PATH_SIZE = 4096 };

static int file_write(const char *top, const struct reference_file *file)
{
    static char text[REFERENCE_SIZE_MAX];
    char path[PATH_SIZE];
    int size = file->write(text, sizeof(text));

    snprintf(path, sizeof(path), "%s/%s", top, file->path);
    FILE *out = size < 0 ? NULL : fopen(path, "w");
    if (out == NULL || fwrite(text, 1, (size_t)size, out) != (size_t)size || fclose(out) != 0) {
        perror(path);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: reference SOURCE_TREE\n", stderr);
        return 2;
    }
    for (const struct reference_file *f = reference_files; f->path != NULL; f++)
        if (file_write(argv[1], f) < 0)
            return EXIT_FAILURE;
    return EXIT_SUCCESS;
}
