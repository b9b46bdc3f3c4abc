/* Any bytes as a packet script, and its checks against a TCP_INFO of zeros. */
#include <stdlib.h>

#include "tests/conformance/script/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lookup(void *user, const char *name, int64_t *ret)
{
    (void)user;
    *ret = 0;
    return name[0] == 't';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {0};
    struct script_error e = {0};

    if (script_parse(&s, (const char *)data, size, &e))
        for (int i = 0; i < s.event_count; i++)
            if (s.events[i].kind == EVENT_CODE)
                (void)code_check(s.events[i].code, s.events[i].code_size, lookup, NULL,
                                 s.events[i].line, &e);
    script_free(&s);
    return 0;
}
