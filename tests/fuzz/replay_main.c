/* replay_main.c - runs every file given, and every file in the directories given, through a fuzz
 * target, so that what a fuzzer once found stays found. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { PATH_SIZE_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, long size)
{
    FILE *file = fopen(path, "rb");
    /* Its own allocation, of its exact size: a sanitizer sees what is read past its end. */
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    int err = -1;

    if (file != NULL && data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size)
        err = LLVMFuzzerTestOneInput(data, (size_t)size);
    else
        fprintf(stderr, "%s: cannot be read\n", path);
    if (file != NULL)
        fclose(file);
    free(data);
    return err;
}

/* Returns how many files were run, or -1. Directories are not searched further down. */
static int replay(const char *path, int is_nested)
{
    struct stat st;
    int count = 0;

    if (stat(path, &st) < 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return replay_file(path, (long)st.st_size) < 0 ? -1 : 1;
    if (is_nested)
        return 0;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        perror(path);
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && count >= 0;) {
        char nested[PATH_SIZE_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(nested, sizeof(nested), "%s/%s", path, entry->d_name);
        int done = replay(nested, 1);
        count = done < 0 ? -1 : count + done;
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++) {
        int done = replay(argv[i], 0);
        if (done < 0)
            return EXIT_FAILURE;
        count += done;
    }
    printf("%d inputs replayed\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
