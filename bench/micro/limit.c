/* The bare loop that bounds two cores over a ring. Sender: attach the payload, write 66 header
 * bytes, enqueue; take answers and free them. Receiver: read each header, free, and send one
 * ACK-sized packet for every two. No protocol, no state: nothing that sends real packets this way
 * can be faster. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "bench/micro/stack.h"
#include "common/check.h"
#include "common/clock.h"

enum {
    BURST = 32,
    RING_SIZE = 1024,
    MBUFS = 16384,
    HEADER_BYTES = 66, /* Ethernet, IPv4, TCP with timestamps */
    PAYLOAD_BYTES = 1448,
    PART_BYTES = 150 * 1024,
    RECEIVER_CORE = 1
};

struct limit {
    struct rte_ring *forward;
    struct rte_ring *back;
    struct rte_mempool *headers; /* the sender's */
    struct rte_mempool *answers; /* the receiver's */
    uint8_t *part;
    struct rte_mbuf_ext_shared_info shared;
    atomic_bool stop;
    atomic_uint_fast64_t received;
    uint64_t checksum; /* of the headers, so that they are really read */
};

static void part_free(void *address, void *argument)
{
    (void)address;
    (void)argument;
}

static void pin_to(unsigned core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *receiver_main(void *argument)
{
    struct limit *l = argument;
    struct rte_mbuf *in[BURST];
    struct rte_mbuf *out[BURST];
    unsigned owed = 0;
    uint64_t received = 0;

    pin_to(RECEIVER_CORE);
    CHECK(rte_thread_register() == 0);
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        unsigned count = rte_ring_sc_dequeue_burst(l->forward, (void **)in, BURST, NULL);
        for (unsigned i = 0; i < count; i++) {
            const uint32_t *header = rte_pktmbuf_mtod(in[i], const uint32_t *);
            for (unsigned word = 0; word < HEADER_BYTES / 4; word++)
                l->checksum += header[word];
        }
        rte_pktmbuf_free_bulk(in, count);
        received += count;
        atomic_store_explicit(&l->received, received, memory_order_relaxed);
        owed += count;
        unsigned answers = owed / 2;
        if (answers > BURST)
            answers = BURST;
        if (answers == 0 || rte_pktmbuf_alloc_bulk(l->answers, out, answers) != 0)
            continue;
        for (unsigned i = 0; i < answers; i++)
            memset(rte_pktmbuf_append(out[i], HEADER_BYTES), 0, HEADER_BYTES);
        unsigned sent = rte_ring_sp_enqueue_burst(l->back, (void **)out, answers, NULL);
        rte_pktmbuf_free_bulk(out + sent, answers - sent);
        owed -= 2 * sent;
    }
    rte_thread_unregister();
    return NULL;
}

/* One burst from the sender; false when the ring or the pool is full. */
static bool sender_burst(struct limit *l, uint32_t *offset)
{
    struct rte_mbuf *mbufs[2 * BURST];
    static const uint8_t header[HEADER_BYTES];

    if (rte_ring_free_count(l->forward) < BURST ||
        rte_pktmbuf_alloc_bulk(l->headers, mbufs, 2 * BURST) != 0)
        return false;
    for (unsigned i = 0; i < BURST; i++) {
        struct rte_mbuf *head = mbufs[i];
        struct rte_mbuf *payload = mbufs[BURST + i];
        memcpy(rte_pktmbuf_append(head, HEADER_BYTES), header, HEADER_BYTES);
        rte_mbuf_ext_refcnt_update(&l->shared, 1);
        rte_pktmbuf_attach_extbuf(payload, l->part + *offset, rte_mem_virt2iova(l->part),
                                  PAYLOAD_BYTES, &l->shared);
        payload->data_len = PAYLOAD_BYTES;
        payload->pkt_len = PAYLOAD_BYTES;
        head->next = payload;
        head->nb_segs = 2;
        head->pkt_len += PAYLOAD_BYTES;
        *offset = *offset + 2 * PAYLOAD_BYTES > PART_BYTES ? 0 : *offset + PAYLOAD_BYTES;
    }
    CHECK(rte_ring_sp_enqueue_bulk(l->forward, (void **)mbufs, BURST, NULL) == BURST);
    return true;
}

static void sender_run(struct limit *l, uint64_t until_us)
{
    struct rte_mbuf *answers[BURST];
    uint32_t offset = 0;

    while (clock_monotonic_us() < until_us) {
        for (unsigned turn = 0; turn < 64; turn++) {
            (void)sender_burst(l, &offset);
            unsigned count = rte_ring_sc_dequeue_burst(l->back, (void **)answers, BURST, NULL);
            rte_pktmbuf_free_bulk(answers, count);
        }
    }
}

static int limit_prepare(struct limit *l)
{
    l->forward =
        rte_ring_create("limit_forward", RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    l->back =
        rte_ring_create("limit_back", RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    l->headers = rte_pktmbuf_pool_create("limit_headers", MBUFS, 256, 0, 256, SOCKET_ID_ANY);
    l->answers = rte_pktmbuf_pool_create("limit_answers", MBUFS, 256, 0, 256, SOCKET_ID_ANY);
    l->part = rte_malloc("limit_part", PART_BYTES, 4096);
    l->shared = (struct rte_mbuf_ext_shared_info){.free_cb = part_free};
    rte_mbuf_ext_refcnt_set(&l->shared, 1); /* ours: the packets' never reach zero */
    return l->forward && l->back && l->headers && l->answers && l->part ? 0 : -ENOMEM;
}

int limit_run(const struct stack_options *options, FILE *out)
{
    static struct limit l;
    pthread_t receiver;

    if (limit_prepare(&l) < 0) {
        fprintf(stderr, "leat-bench: no memory for the rings: %s\n", rte_strerror(rte_errno));
        return -ENOMEM;
    }
    if (pthread_create(&receiver, NULL, receiver_main, &l) != 0)
        return -EAGAIN;
    sender_run(&l, clock_monotonic_us() + 500000); /* warm-up */
    uint64_t start_us = clock_monotonic_us();
    uint64_t before = atomic_load(&l.received);
    sender_run(&l, start_us + (uint64_t)options->seconds * 1000000);
    uint64_t packets = atomic_load(&l.received) - before;
    uint64_t elapsed_us = clock_monotonic_us() - start_us;
    atomic_store(&l.stop, true);
    pthread_join(receiver, NULL);
    fprintf(out,
            "{\"packets\": %lu, \"payload_bytes\": %lu, \"elapsed_us\": %lu, \"check\": %lu}\n",
            packets, packets * PAYLOAD_BYTES, elapsed_us, l.checksum);
    return 0;
}
