#include "control/api/rpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

enum { OUTPUT_FLAGS = JSON_COMPACT };

/* Keeps whole characters only: what is cut or was not UTF-8 could not be put into JSON. */
void rpc_fail(struct rpc_error *error, int code, const char *format, ...)
{
    char text[256];
    va_list args;
    size_t kept = 0;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    error->code = code;
    for (struct bytes left = bytes_of_str(text); left.size > 0;) {
        uint32_t point = 0;
        size_t size = utf8_next(left, &point);
        if (size > 0 && kept + size < sizeof(error->message)) {
            memcpy(error->message + kept, left.ptr, size);
            kept += size;
        }
        left = bytes_from(left, size == 0 ? 1 : size);
    }
    error->message[kept] = '\0';
}

/* Consumes 'answer'. */
static char *text_of(json_t *answer)
{
    char *text = answer == NULL ? NULL : json_dumps(answer, OUTPUT_FLAGS);

    json_decref(answer);
    return text;
}

/* 'id' is borrowed; NULL: not known. */
static char *error_text(const json_t *id, const struct rpc_error *error)
{
    return text_of(json_pack("{s:s, s:O?, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error",
                             "code", error->code, "message", error->message));
}

char *rpc_refusal(int code, const char *message)
{
    json_t *null = json_null();
    struct rpc_error error;

    rpc_fail(&error, code, "%s", message);
    return error_text(null, &error);
}

static const struct rpc_method *method_find(const struct rpc *rpc, const char *name)
{
    const struct rpc_method *m = rpc->methods;

    while (m->name != NULL && strcmp(m->name, name) != 0)
        m++;
    return m->name == NULL ? NULL : m;
}

/* Section 4: what is wrong with a request; NULL: nothing. */
static const char *request_fault(const json_t *request)
{
    const json_t *id = json_object_get(request, "id");
    const json_t *params = json_object_get(request, "params");
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));

    if (json_is_array(request))
        return "batches are not taken: one object a line";
    if (!json_is_object(request))
        return "a request is an object";
    if (version == NULL || strcmp(version, "2.0") != 0)
        return "\"jsonrpc\" must be \"2.0\"";
    if (!json_is_string(json_object_get(request, "method")))
        return "\"method\" must be a string";
    if (id != NULL && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
        return "\"id\" must be a string, a number or null";
    if (params != NULL && !json_is_object(params) && !json_is_array(params))
        return "\"params\" must be an object";
    return NULL;
}

/* Calls the method of a valid request. Returns its result, owned, or NULL and the error. */
static json_t *request_call(const struct rpc *rpc, const json_t *request, struct rpc_error *error)
{
    const char *name = json_string_value(json_object_get(request, "method"));
    const json_t *params = json_object_get(request, "params");
    const struct rpc_method *method = method_find(rpc, name);
    json_t *result = NULL;

    if (method == NULL) {
        rpc_fail(error, RPC_METHOD_NOT_FOUND, "there is no method \"%.64s\"", name);
    } else if (params != NULL && !json_is_object(params)) {
        rpc_fail(error, RPC_INVALID_PARAMS, "parameters are given by name");
    } else {
        result = method->call(rpc->user, params, error);
    }
    if (result == NULL && error->code == 0)
        rpc_fail(error, RPC_INTERNAL_ERROR, "out of memory");
    return result;
}

char *rpc_answer(const struct rpc *rpc, struct bytes line)
{
    struct rpc_error error = {0};
    json_error_t parse_error;
    json_t *request = json_loadb((const char *)line.ptr, line.size,
                                 JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &parse_error);
    char *text = NULL;

    if (request == NULL) {
        rpc_fail(&error, RPC_PARSE_ERROR, "not JSON: %s", parse_error.text);
        return error_text(json_null(), &error);
    }
    const char *fault = request_fault(request);
    if (fault != NULL) {
        json_decref(request);
        return rpc_refusal(RPC_INVALID_REQUEST, fault);
    }

    const json_t *id = json_object_get(request, "id");
    json_t *result = request_call(rpc, request, &error);
    if (id != NULL && result != NULL)
        text = text_of(json_pack("{s:s, s:O, s:O}", "jsonrpc", "2.0", "id", id, "result", result));
    else if (id != NULL)
        text = error_text(id, &error);
    json_decref(result);
    json_decref(request);
    return text;
}
