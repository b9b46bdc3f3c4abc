#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIXTURE_SIZE_MAX = 1 << 16 };

struct bytes fixture_load(const char *name)
{
    char path[512];
    uint8_t *data = malloc(FIXTURE_SIZE_MAX);

    snprintf(path, sizeof(path), "%s/tests/fixtures/rtmp/%s", LEAT_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL || data == NULL) {
        print_error("cannot read %s\n", path);
        fail();
    }
    size_t size = fread(data, 1, FIXTURE_SIZE_MAX, file);
    fclose(file);
    data = realloc(data, size);
    assert_non_null(data);
    return bytes_of(data, size);
}

uint64_t fixture_random(void *state)
{
    uint64_t *value = state;

    *value = *value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *value;
}

struct bytes fixture_copy(struct bytes b)
{
    uint8_t *copy = malloc(b.size > 0 ? b.size : 1);

    assert_non_null(copy);
    if (b.size > 0)
        memcpy(copy, b.ptr, b.size);
    return bytes_of(copy, b.size);
}

void fixture_free(struct bytes *b)
{
    free((void *)(uintptr_t)b->ptr);
    *b = (struct bytes){0};
}
