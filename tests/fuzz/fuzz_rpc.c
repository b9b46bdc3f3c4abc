/* A line of any bytes is answered with one line of JSON, or is a notification. */
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "control/api/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *call_echo(void *user, const json_t *params, struct rpc_error *error)
{
    (void)user;
    (void)error;
    return params == NULL ? json_null() : json_deep_copy(params);
}

static const struct rpc_method methods[] = {{"echo", call_echo}, {NULL, NULL}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct rpc rpc = {.methods = methods};
    char *answer = rpc_answer(&rpc, bytes_of(data, size));

    if (answer == NULL)
        return 0;
    json_t *json = json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
    CHECK(json != NULL && strchr(answer, '\n') == NULL);
    json_decref(json);
    free(answer);
    return 0;
}
