/* What is committed is what would be generated, and every configuration that we ship loads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config/config.h"
#include "tools/reference/reference.h"

enum { PATH_SIZE = 4096 };

static const char *top; /* of the source tree */
static struct config cfg;

static size_t file_read(const char *path, char *out, size_t out_size)
{
    FILE *file = fopen(path, "r");

    if (file == NULL)
        fail_msg("%s: cannot be read", path);
    size_t size = fread(out, 1, out_size, file);
    fclose(file);
    return size;
}

static void test_reference_files_are_current(void **state)
{
    (void)state;
    static char wanted[REFERENCE_SIZE_MAX];
    static char committed[REFERENCE_SIZE_MAX];
    char path[PATH_SIZE];

    for (const struct reference_file *f = reference_files; f->path != NULL; f++) {
        int size = f->write(wanted, sizeof(wanted));
        assert_true(size > 0);
        snprintf(path, sizeof(path), "%s/%s", top, f->path);
        size_t committed_size = file_read(path, committed, sizeof(committed));
        if (committed_size != (size_t)size || memcmp(wanted, committed, committed_size) != 0)
            fail_msg("%s is not current: run `ninja -C BUILD reference`", f->path);
    }
}

static void test_reference_every_configuration_loads(void **state)
{
    (void)state;
    static const char *const patterns[] = {"configs/*.yaml", "configs/examples/*.yaml"};
    char error[CONFIG_ERROR_MAX];

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        char pattern[PATH_SIZE];
        glob_t found;
        snprintf(pattern, sizeof(pattern), "%s/%s", top, patterns[i]);
        assert_int_equal(glob(pattern, 0, NULL, &found), 0); /* at least one */
        for (size_t k = 0; k < found.gl_pathc; k++)
            if (config_read_file(found.gl_pathv[k], &cfg, error) < 0)
                fail_msg("%s", error);
        globfree(&found);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_files_are_current),
        cmocka_unit_test(test_reference_every_configuration_loads),
    };

    top = argc > 1 ? argv[1] : ".";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
