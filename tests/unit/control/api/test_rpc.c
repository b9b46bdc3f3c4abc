#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/writer.h"
#include "control/api/rpc.h"

static unsigned calls;

static json_t *call_echo(void *user, const json_t *params, struct rpc_error *error)
{
    (void)user;
    (void)error;
    calls++;
    return params == NULL ? json_string("nothing") : json_deep_copy(params);
}

static json_t *call_fail(void *user, const json_t *params, struct rpc_error *error)
{
    (void)user;
    (void)params;
    rpc_fail(error, RPC_INVALID_PARAMS, "no: %s", "\xff\xc3\xa9");
    return NULL;
}

static json_t *call_starve(void *user, const json_t *params, struct rpc_error *error)
{
    (void)user;
    (void)params;
    (void)error;
    return NULL;
}

static const struct rpc_method methods[] = {
    {"echo", call_echo}, {"fail", call_fail}, {"starve", call_starve}, {NULL, NULL}};
static const struct rpc rpc = {.methods = methods};

static void assert_answer(const char *line, const char *expected)
{
    char *answer = rpc_answer(&rpc, bytes_of_str(line));

    if (answer == NULL && expected == NULL)
        return;
    if (answer == NULL || expected == NULL || strcmp(answer, expected) != 0)
        fail_msg("for %s\nexpected %s\ncame     %s", line, expected, answer);
    free(answer);
}

#define RPC_ERROR(code, message, id)                                                               \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code ",\"message\":\"" message "\"}" \
    "}"

static void test_rpc_answers_calls(void **state)
{
    (void)state;
    assert_answer("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"a\":[1]},\"id\":7}",
                  "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":[1]}}");
    assert_answer("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":\"x\"}",
                  "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":\"nothing\"}");
    assert_answer("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":null}",
                  "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":\"nothing\"}");
}

static void test_rpc_does_notifications_silently(void **state)
{
    (void)state;
    calls = 0;
    assert_answer("{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}", NULL);
    assert_int_equal(calls, 1);
    assert_answer("{\"jsonrpc\":\"2.0\",\"method\":\"nope\"}", NULL);
}

static void test_rpc_refuses_with_the_codes_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *answer;
    } cases[] = {
        {"[]", RPC_ERROR("-32600", "batches are not taken: one object a line", "null")},
        {"1", RPC_ERROR("-32600", "a request is an object", "null")},
        {"{}", RPC_ERROR("-32600", "\\\"jsonrpc\\\" must be \\\"2.0\\\"", "null")},
        {"{\"jsonrpc\":2,\"method\":\"echo\",\"id\":1}",
         RPC_ERROR("-32600", "\\\"jsonrpc\\\" must be \\\"2.0\\\"", "null")},
        {"{\"jsonrpc\":\"2.0\",\"id\":1}",
         RPC_ERROR("-32600", "\\\"method\\\" must be a string", "null")},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":[1]}",
         RPC_ERROR("-32600", "\\\"id\\\" must be a string, a number or null", "null")},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":1,\"id\":1}",
         RPC_ERROR("-32600", "\\\"params\\\" must be an object", "null")},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[],\"id\":1}",
         RPC_ERROR("-32602", "parameters are given by name", "1")},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"nope\",\"id\":1}",
         RPC_ERROR("-32601", "there is no method \\\"nope\\\"", "1")},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}",
         RPC_ERROR("-32602", "no: \xc3\xa9", "1")},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"starve\",\"id\":1}",
         RPC_ERROR("-32603", "out of memory", "1")},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_answer(cases[i].line, cases[i].answer);
}

static void test_rpc_refuses_what_is_not_json(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",         "{",    "nonsense", "{\"a\":1,\"a\":2}",  "\"\\u0000\"",
        "\"\xff\"", "{}{}", "\x01",     "{\"jsonrpc\":\"2.0", "{\"method\":\"\xc3"};

    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char *answer = rpc_answer(&rpc, bytes_of_str(lines[i]));
        assert_non_null(answer);
        if (strstr(answer, "\"code\":-32700") == NULL)
            fail_msg("for %s came %s", lines[i], answer);
        json_t *json = json_loads(answer, 0, NULL);
        assert_non_null(json);
        json_decref(json);
        free(answer);
    }
}

/* A long method name is cut between characters, so that the answer stays JSON. */
static void test_rpc_cuts_long_names_between_characters(void **state)
{
    (void)state;
    char line[512];
    struct writer w = writer_of(line, sizeof(line));

    writer_str(&w, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a");
    for (int i = 0; i < 60; i++)
        writer_str(&w, "\xc3\xa9");
    writer_str(&w, "\"}");
    assert_true(writer_is_ok(&w));
    char *answer = rpc_answer(&rpc, writer_bytes(&w));
    assert_non_null(answer);
    json_t *json = json_loads(answer, 0, NULL);
    assert_non_null(json);
    json_decref(json);
    free(answer);
}

static unsigned allocations_left;

static void *allocate_some(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

/* Each allocation fails in turn: there is no answer, or one that says so, or the right one; and
 * nothing leaks. */
static void test_rpc_survives_without_memory(void **state)
{
    (void)state;
    static const char line[] =
        "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"a\":[1,\"x\"]},\"id\":7}";
    static const char expected[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":[1,\"x\"]}}";
    unsigned allowed = 0;
    bool is_right = false;

    for (; !is_right && allowed < 1000; allowed++) {
        allocations_left = allowed;
        json_set_alloc_funcs(allocate_some, free);
        char *answer = rpc_answer(&rpc, bytes_of_str(line));
        json_set_alloc_funcs(malloc, free);
        is_right = answer != NULL && strcmp(answer, expected) == 0;
        if (answer != NULL && !is_right)
            assert_non_null(strstr(answer, "\"error\""));
        free(answer);
    }
    assert_true(is_right);
    assert_true(allowed > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rpc_answers_calls),
        cmocka_unit_test(test_rpc_does_notifications_silently),
        cmocka_unit_test(test_rpc_refuses_with_the_codes_of_the_specification),
        cmocka_unit_test(test_rpc_refuses_what_is_not_json),
        cmocka_unit_test(test_rpc_survives_without_memory),
        cmocka_unit_test(test_rpc_cuts_long_names_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
