#include "control/ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/bytes.h"

enum { ANSWER_TIMEOUT_S = 10, CHUNK = 65536 };

static void timeout_set(struct client *c, unsigned seconds)
{
    struct timeval timeout = {.tv_sec = (time_t)seconds};

    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

int client_connect(struct client *c, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!bytes_to_str(bytes_of_str(path), address.sun_path, sizeof(address.sun_path)))
        return -ENAMETOOLONG;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    timeout_set(c, ANSWER_TIMEOUT_S);
    if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return 0;
    int err = -errno;
    client_close(c);
    return err;
}

void client_close(struct client *c)
{
    close(c->fd);
    c->fd = -1;
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Reads up to a newline into '*ret_line', to be freed, without it. */
static int receive_line(int fd, char **ret_line)
{
    char *line = NULL;
    size_t size = 0;
    size_t capacity = 0;
    int err = 0;

    while (err == 0) {
        if (capacity - size < CHUNK) {
            capacity = capacity == 0 ? (size_t)CHUNK * 2 : capacity * 2;
            char *larger = capacity > CLIENT_ANSWER_MAX ? NULL : realloc(line, capacity);
            if (larger == NULL) {
                err = -ENOMEM;
                break;
            }
            line = larger;
        }
        ssize_t got = recv(fd, line + size, CHUNK, 0);
        if (got < 0 && errno != EINTR)
            err = errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (got == 0)
            err = -EPROTO;
        if (got <= 0)
            continue;
        char *newline = memchr(line + size, '\n', (size_t)got);
        size += (size_t)got;
        if (newline != NULL) {
            *newline = '\0';
            *ret_line = line;
            return 0;
        }
    }
    free(line);
    return err;
}

/* 'params' is consumed. NULL: no memory. */
static char *request_text(const char *method, json_t *params)
{
    json_t *request = json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", 1, "method",
                                method, "params", params);
    char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);

    json_decref(request);
    return text;
}

int client_call(struct client *c, const char *method, json_t *params, json_t **ret_answer)
{
    char *request = request_text(method, params);
    char *line = NULL;

    if (request == NULL)
        return -ENOMEM;
    int err = send_all(c->fd, request, strlen(request));
    if (err == 0)
        err = send_all(c->fd, "\n", 1);
    free(request);
    if (err == 0 || err == -EPIPE) /* it may have said why it closed */
        err = receive_line(c->fd, &line);
    if (err < 0)
        return err;

    json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    free(line);
    bool is_answer = json_object_get(answer, "result") != NULL ||
                     json_is_object(json_object_get(answer, "error"));
    if (!is_answer) {
        json_decref(answer);
        return -EPROTO;
    }
    *ret_answer = answer;
    return 0;
}

int client_wait_close(struct client *c, unsigned timeout_s)
{
    char ignored[256];
    ssize_t size;

    timeout_set(c, timeout_s);
    do
        size = recv(c->fd, ignored, sizeof(ignored), 0);
    while (size > 0 || (size < 0 && errno == EINTR));
    return size == 0 || errno != EAGAIN ? 0 : -ETIMEDOUT;
}
