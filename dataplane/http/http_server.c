#include "dataplane/http/http_server.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_conditional.h"
#include "dataplane/http/http_conn.h"
#include "dataplane/http/http_date.h"
#include "dataplane/http/http_pages.h"
#include "dataplane/http/http_text.h"
#include "drivers/net/transport.h"

enum { CACHE_ENTRIES_MIN = 8, CACHE_ENTRIES_MAX = 256 };

/* --- heads and chunk lines, rendered once --- */

const struct http_head_context *http_server_context(struct http_server *server)
{
    int64_t second = server->shard->wall_us / 1000000;

    if (second != server->date_second) {
        server->date_second = second;
        http_date_write(second, server->context.date);
    }
    return &server->context;
}

/* Where to look for a head; that it is the one is checked in full. */
static uint32_t head_hash(const struct http_head *head)
{
    uint64_t kind = (uint64_t)head->status << 32 | (uint64_t)head->flags << 16 |
                    (uint64_t)head->type << 8 | head->cache;

    return (uint32_t)http_hash_add(head->etag + head->range_first,
                                   head->content_length ^ kind << 8);
}

struct blob *http_head_blob(struct http_server *server, const struct http_head *head)
{
    struct counters *counters = server->shard->counters;
    const struct http_head_context *context = http_server_context(server);
    struct http_head_entry *entry = &server->heads[head_hash(head) & server->cache_mask];

    if (entry->blob != NULL && entry->second == server->date_second &&
        memcmp(&entry->key, head, sizeof(*head)) == 0) {
        counter_inc(&counters->http_head_cache_hits);
        return blob_ref(entry->blob);
    }
    struct blob *blob = blob_pool_get(server->shard->small_blobs);
    if (blob == NULL)
        return NULL;
    counter_inc(&counters->http_head_cache_misses);
    struct writer w = writer_of(blob_pool_data(blob), blob->size);
    http_head_write(&w, head, context);
    CHECK(writer_is_ok(&w));
    blob->size = (uint32_t)w.size;

    blob_unref(&entry->blob);
    entry->key = *head;
    entry->second = server->date_second;
    entry->blob = blob_ref(blob);
    return blob;
}

struct blob *http_chunk_blob(struct http_server *server, uint32_t size)
{
    struct http_chunk_entry *entry =
        &server->chunks[(uint32_t)http_hash_add(0, size) & server->cache_mask];

    if (entry->blob != NULL && entry->size == size)
        return blob_ref(entry->blob);
    struct blob *blob = blob_pool_get(server->shard->small_blobs);
    if (blob == NULL)
        return NULL;
    struct writer w = writer_of(blob_pool_data(blob), blob->size);
    writer_printf(&w, "%x\r\n", size);
    blob->size = (uint32_t)w.size;

    blob_unref(&entry->blob);
    entry->size = size;
    entry->blob = blob_ref(blob);
    return blob;
}

/* Both caches together hold at most a quarter of the small blobs. */
static int caches_new(struct http_server *server)
{
    uint32_t count = CACHE_ENTRIES_MIN;

    while (count < CACHE_ENTRIES_MAX && count * 16 <= server->shard->config->net_small_blobs)
        count *= 2;
    server->cache_mask = count - 1;
    server->heads = calloc(count, sizeof(*server->heads));
    server->chunks = calloc(count, sizeof(*server->chunks));
    server->chunk_end = blob_pool_get(server->shard->small_blobs);
    if (server->heads == NULL || server->chunks == NULL || server->chunk_end == NULL)
        return -ENOMEM;
    struct writer w = writer_of(blob_pool_data(server->chunk_end), server->chunk_end->size);
    writer_str(&w, "\r\n0\r\n\r\n");
    server->chunk_end->size = (uint32_t)w.size;
    return 0;
}

static void caches_free(struct http_server *server)
{
    for (uint32_t i = 0; i <= server->cache_mask && server->cache_mask > 0; i++) {
        if (server->heads != NULL)
            blob_unref(&server->heads[i].blob);
        if (server->chunks != NULL)
            blob_unref(&server->chunks[i].blob);
    }
    blob_unref(&server->chunk_end);
    free(server->heads);
    free(server->chunks);
}

/* --- start and end --- */

static int conns_new(struct http_server *server, uint32_t count)
{
    server->conns = calloc(count, sizeof(*server->conns));
    if (server->conns == NULL)
        return -ENOMEM;
    server->conn_count = count;
    for (uint32_t i = 0; i < count; i++)
        list_push_back(&server->free_conns, &server->conns[i].link);
    return 0;
}

/* The memory is touched only as buffers are used; the most recently used come first. */
static int inputs_new(struct http_server *server, uint32_t count)
{
    size_t align = _Alignof(struct http_input);
    size_t stride = (sizeof(struct http_input) + server->input_size + align - 1) & ~(align - 1);

    server->input_memory = malloc(count * stride);
    if (server->input_memory == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        struct http_input *input = (void *)(server->input_memory + i * stride);
        input->link = (struct list){0};
        list_push_back(&server->free_inputs, &input->link);
    }
    return 0;
}

static int texts_new(struct http_server *server)
{
    server->texts = calloc(HTTP_TEXT_COUNT, sizeof(*server->texts));
    if (server->texts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < HTTP_TEXT_COUNT; i++) {
        server->texts[i].server = server;
        list_push_back(&server->free_texts, &server->texts[i].link);
    }
    return 0;
}

static void read_limits(struct http_server *server, const struct config *config)
{
    uint64_t queue_high_bytes = config->net_send_queue / 4;

    server->input_size = (uint32_t)config->http_head_max;
    server->head_timeout_us = config->http_head_timeout * 1000;
    server->idle_timeout_us = config->http_idle_timeout * 1000;
    server->send_timeout_us = config->http_send_timeout * 1000;
    server->queue_high_bytes = (uint32_t)queue_high_bytes;
    server->context.cors_origin = config->http_cors_origin.text;
}

int http_server_new(struct shard *s, struct channels *channels, struct http_server **ret_server)
{
    struct http_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        return -ENOMEM;
    server->shard = s;
    server->channels = channels;
    server->date_second = INT64_MIN;
    server->started_wall_us = s->wall_us;
    list_init(&server->free_conns);
    list_init(&server->free_inputs);
    list_init(&server->partial_inputs);
    list_init(&server->free_texts);
    read_limits(server, s->config);
    int err = conns_new(server, (uint32_t)s->config->net_streams_max);
    if (err == 0)
        err = inputs_new(server, (uint32_t)s->config->http_head_buffers);
    if (err == 0)
        err = caches_new(server);
    if (err == 0)
        err = texts_new(server);
    if (err == 0)
        err = http_pages_new(s, &server->pages);
    if (err < 0) {
        http_server_free(&server);
        return err;
    }
    *ret_server = server;
    return 0;
}

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    struct http_listener *listener = user;
    struct counters *counters = listener->server->shard->counters;

    (void)now_us;
    if (http_conn_open(listener->server, s, listener->role) == NULL) {
        counter_inc(&counters->http_connections_refused);
        return -ENOSPC;
    }
    counter_inc(&counters->http_connections_accepted);
    counter_inc(&counters->http_connections);
    return 0;
}

int http_server_listen(struct http_server *server, struct transport *t,
                       const struct endpoint *local, enum http_role role)
{
    static const struct listen_events events = {.accept = on_accept};

    if (server->listener_count == HTTP_LISTENERS_MAX)
        return -ENOSPC;
    struct http_listener *listener = &server->listeners[server->listener_count];
    *listener = (struct http_listener){.server = server, .role = role};
    int err = t->ops->listen(t, local, &events, listener);
    if (err == 0)
        server->listener_count++;
    return err;
}

void http_server_free(struct http_server **pserver)
{
    struct http_server *server = *pserver;

    *pserver = NULL;
    if (server == NULL)
        return;
    http_pages_free(&server->pages);
    caches_free(server);
    free(server->texts);
    free(server->input_memory);
    free(server->conns);
    free(server);
}
