/* rpc.h - JSON-RPC 2.0, one object a line: a request's text to its answer's text. No I/O. */
#ifndef CONTROL_API_RPC_H
#define CONTROL_API_RPC_H

#include <jansson.h>

#include "common/bytes.h"

/* JSON-RPC 2.0, section 5.1. */
enum {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_INTERNAL_ERROR = -32603,
    RPC_BUSY = -32000,    /* ours: too many clients */
    RPC_TOO_LONG = -32001 /* ours: the line is */
};

struct rpc_error {
    int code; /* 0: none */
    char message[160];
};

/* For methods: says what went wrong. A long text is cut. */
__attribute__((format(printf, 3, 4))) void rpc_fail(struct rpc_error *error, int code,
                                                    const char *format, ...);

struct rpc_method {
    const char *name;
    /* 'params': an object, or NULL; borrowed. Returns the result, owned by the caller; NULL: see
     * '*ret_error', or, when that has no code, out of memory. */
    json_t *(*call)(void *user, const json_t *params, struct rpc_error *ret_error);
};

/* The table's last entry has no name. */
struct rpc {
    const struct rpc_method *methods;
    void *user;
};

/* Answers one line, without its newline. Returns the answer's text, without a newline, to be
 * freed with free(); NULL: there is no answer to a notification, or no memory. */
char *rpc_answer(const struct rpc *rpc, struct bytes line);

/* The answer that tells of an error before a request was read. As rpc_answer(). */
char *rpc_refusal(int code, const char *message);

#endif
