/* packet_scripts SHARED-OBJECT PATH... - runs packet scripts: files, and all of those below
 * folders.
 *
 * Prints one line for each script that fails, and a total; fails when one did. */
#include <dlfcn.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/script/run.h"

typedef void interface_init(const char *flags, struct packetdrill_interface *ret);

static char *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(SCRIPT_BYTES_MAX + 2);

    if (f == NULL || text == NULL) {
        free(text);
        if (f != NULL)
            (void)fclose(f);
        return NULL;
    }
    *ret_size = fread(text, 1, SCRIPT_BYTES_MAX + 1, f);
    text[*ret_size] = '\0';
    (void)fclose(f);
    return text;
}

static bool file_run(const char *path, interface_init *init)
{
    struct script s = {0};
    struct script_error e = {0};
    size_t size = 0;
    char *text = file_read(path, &size);

    if (text == NULL)
        (void)script_fail(&e, 0, "cannot be read");
    else if (script_parse(&s, text, size, &e))
        (void)run_script(&s, init, &e);
    if (e.text[0] != '\0')
        printf("not ok %s:%d: %s\n", path, e.line, e.text);
    script_free(&s);
    free(text);
    return e.text[0] == '\0';
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool is_script(const FTSENT *entry)
{
    const char *dot = strrchr(entry->fts_name, '.');

    return entry->fts_info == FTS_F &&
           (entry->fts_level == FTS_ROOTLEVEL || (dot != NULL && strcmp(dot, ".pkt") == 0));
}

int main(int argc, char **argv)
{
    int run = 0;
    int failed = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: packet_scripts SHARED-OBJECT SCRIPT-OR-FOLDER...\n");
        return 2;
    }
    void *object = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    interface_init *init = NULL;
    if (object != NULL)
        *(void **)(&init) = dlsym(object, "packetdrill_interface_init");
    if (init == NULL) {
        fprintf(stderr, "packet_scripts: %s\n", dlerror());
        return 2;
    }
    FTS *tree = fts_open(argv + 2, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (tree == NULL)
        return 2;
    for (FTSENT *entry; (entry = fts_read(tree)) != NULL;)
        if (is_script(entry)) {
            run++;
            failed += !file_run(entry->fts_path, init);
        }
    (void)fts_close(tree);
    printf("%d scripts, %d failed\n", run, failed);
    return run == 0 || failed > 0;
}
