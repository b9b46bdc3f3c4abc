#include "dataplane/net/steer/steer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dataplane/net/steer/flow.h"
#include "dataplane/net/steer/internal.h"

enum {
    FRAMES_MAX = 1024, /* of one device queue with all other shards, so that its pool lasts */
    FRAMES_MIN = 64,   /* with each of them */
    OUTBOX_SLOTS = 512,
    L2_SIZE_MAX = 18 /* Ethernet and VLAN */
};

static struct steer_port *steer_port_of(struct port *p)
{
    return CONTAINER_OF(p, struct steer_port, base);
}

static const struct port_info *steer_info(const struct port *p)
{
    return &((const struct steer_port *)(const void *)p)->info;
}
static_assert(offsetof(struct steer_port, base) == 0, "steer_info() casts");

static struct port_queue *steer_queue(struct port *base, unsigned index)
{
    struct steer_port *p = steer_port_of(base);
    struct steer_queue *q = &p->queues[index];

    CHECK(index < p->shards);
    if (index < p->owners) {
        q->inner = p->inner->driver->queue(p->inner, index);
        q->driver = p->inner->driver;
    }
    return &q->base;
}

static int steer_register_memory(struct port *base, struct bytes memory)
{
    struct port *inner = steer_port_of(base)->inner;

    return inner->driver->register_memory == NULL ? 0
                                                  : inner->driver->register_memory(inner, memory);
}

static int steer_wait_fd(struct port_queue *base)
{
    struct steer_queue *q = steer_queue_of(base);

    return q->inner != NULL ? q->driver->wait_fd(q->inner) : PORT_WAIT_WOKEN;
}

static bool steer_has_work(const struct port_queue *base)
{
    const struct steer_queue *q = (const struct steer_queue *)(const void *)base;

    return steer_has_received(q) || steer_has_to_send(q) || steer_has_room_again(q);
}
static_assert(offsetof(struct steer_queue, base) == 0, "steer_has_work() casts");

static bool steer_takes_flow(const struct port_queue *base, const struct endpoint *local,
                             const struct endpoint *peer)
{
    const struct steer_queue *q = (const struct steer_queue *)(const void *)base;
    const struct steer_port *p = q->steer;

    return steer_shard(steer_flow_hash(&p->config.key, local, peer), p->shards) == q->shard;
}

static void steer_free(struct steer_port *p)
{
    for (unsigned i = 0; p->frames != NULL && i < p->owners * p->shards; i++) {
        if (p->frames[i] != NULL)
            free(p->frames[i]->slots);
        free(p->frames[i]);
    }
    for (unsigned i = 0; p->outboxes != NULL && i < p->shards - p->owners; i++)
        free(p->outboxes[i].slots);
    if (p->memory != NULL)
        munmap(p->memory, p->memory_bytes);
    free(p->frames);
    free(p->outboxes);
    free(p->queues);
    free(p);
}

static void steer_close(struct port **pp)
{
    if (*pp == NULL)
        return;
    struct steer_port *p = steer_port_of(*pp);

    *pp = NULL;
    for (unsigned i = 0; i < p->owners; i++)
        if (p->queues[i].inner != NULL)
            steer_give_back_all(&p->queues[i]);
    p->inner->driver->close(&p->inner); /* before the memory that its buffers point into */
    steer_free(p);
}

static const struct port_driver steer_driver = {
    .name = "steer",
    .info = steer_info,
    .queue = steer_queue,
    .rx_burst = steer_rx_burst,
    .rx_done = steer_rx_done,
    .tx_begin = steer_tx_begin,
    .tx_commit = steer_tx_commit,
    .tx_cancel = steer_tx_cancel,
    .tx_flush = steer_tx_flush,
    .register_memory = steer_register_memory,
    .wait_fd = steer_wait_fd,
    .has_work = steer_has_work,
    .is_blocked = steer_is_blocked,
    .takes_flow = steer_takes_flow,
    .close = steer_close,
};

/* A zeroed array of cache lines; NULL: no memory. */
static void *lines_new(size_t count, size_t size)
{
    void *memory = aligned_alloc(STEER_LINE, count * size);

    if (memory != NULL)
        memset(memory, 0, count * size);
    return memory;
}

static int frames_new(struct steer_port *p)
{
    uint32_t capacity = FRAMES_MAX;

    while (capacity > FRAMES_MIN && capacity * (p->shards - 1) > FRAMES_MAX)
        capacity /= 2;
    p->frames = calloc((size_t)p->owners * p->shards, sizeof(struct steer_frames *));
    if (p->frames == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < p->owners * p->shards; i++) {
        if (i / p->shards == i % p->shards)
            continue;
        p->frames[i] = lines_new(1, sizeof(struct steer_frames));
        if (p->frames[i] == NULL)
            return -ENOMEM;
        p->frames[i]->mask = capacity - 1;
        p->frames[i]->slots = lines_new(capacity, sizeof(struct packet_in));
        if (p->frames[i]->slots == NULL)
            return -ENOMEM;
    }
    return 0;
}

static int outboxes_new(struct steer_port *p)
{
    unsigned count = p->shards - p->owners;
    uint32_t slot_bytes =
        ((uint32_t)p->info.mtu + L2_SIZE_MAX + STEER_LINE - 1) & ~(uint32_t)(STEER_LINE - 1);

    if (count == 0)
        return 0;
    p->memory_bytes = (size_t)count * OUTBOX_SLOTS * slot_bytes;
    void *memory =
        mmap(NULL, p->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    p->memory = memory;
    p->outboxes = lines_new(count, sizeof(struct steer_outbox));
    if (p->outboxes == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        struct steer_outbox *box = &p->outboxes[i];
        box->mask = OUTBOX_SLOTS - 1;
        box->slot_bytes = slot_bytes;
        box->slots = lines_new(OUTBOX_SLOTS, sizeof(struct steer_slot));
        if (box->slots == NULL)
            return -ENOMEM;
        for (uint32_t slot = 0; slot < OUTBOX_SLOTS; slot++) {
            struct steer_slot *s = &box->slots[slot];
            s->data = p->memory + ((size_t)i * OUTBOX_SLOTS + slot) * slot_bytes;
            /* Never released: the slots are the pool. */
            s->blob = (struct blob){.data = s->data,
                                    .size = slot_bytes,
                                    .refs = 1,
                                    .id = slot + 1,
                                    .port_shared = {.refs = 1}};
        }
    }
    return steer_register_memory(&p->base, bytes_of(p->memory, p->memory_bytes));
}

int steer_open(const struct steer_config *config, struct port **inner, struct port **ret)
{
    const struct port_info *info = (*inner)->driver->info(*inner);
    struct steer_port *p = calloc(1, sizeof(*p));
    int err = 0;

    CHECK(info->queues >= 1 && info->queues <= config->shards && config->shards <= SHARDS_MAX);
    if (p == NULL)
        return -ENOMEM;
    p->base.driver = &steer_driver;
    p->config = *config;
    p->inner = *inner;
    p->shards = config->shards;
    p->owners = info->queues;
    p->info = *info;
    p->info.queues = (uint16_t)p->shards;
    p->info.keeps_flows = true;
    if (p->owners < p->shards) { /* an outbox holds single frames */
        p->info.offloads &= ~(uint32_t)PORT_OFFLOAD_TSO;
        p->info.tso_bytes_max = 0;
    }
    p->queues = lines_new(p->shards, sizeof(struct steer_queue));
    if (p->queues == NULL)
        err = -ENOMEM;
    for (unsigned i = 0; err == 0 && i < p->shards; i++)
        p->queues[i] = (struct steer_queue){
            .base = {.driver = &steer_driver, .port = &p->base}, .steer = p, .shard = i};
    if (err == 0)
        err = frames_new(p);
    if (err == 0)
        err = outboxes_new(p);
    if (err < 0) {
        steer_free(p);
        return err;
    }
    *inner = NULL;
    *ret = &p->base;
    return 0;
}
