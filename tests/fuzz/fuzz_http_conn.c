/* fuzz_http_conn.c - whole connections: a script of bytes from peers, time, parts that come and go,
 * and peers that take bytes or do not. The transport checks every extent; the end checks that
 * nothing is left.
 *
 * The script is a sequence of operations, one byte each, with their operands. */
#include "common/check.h"
#include "common/cursor.h"
#include "tests/unit/dataplane/http/http_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OPERATIONS_MAX = 200, PEERS = 3, RUN_US = 1000, SECOND_US = 1000000 };

struct run {
    struct world *w;
    struct channel *ch;
    struct peer *peers[PEERS];
    uint32_t part_count;
};

static void operate(struct run *run, struct cursor *in)
{
    uint8_t code = cursor_u8(in);
    struct peer **peer = &run->peers[(code >> 4) % PEERS];
    uint16_t operand;

    if (*peer == NULL || (*peer)->is_closed)
        *peer = world_connect(run->w, (code >> 4) % PEERS == 2);
    switch (code & 15) {
    case 0:
        peer_eof(*peer);
        break;
    case 1:
        peer_reset(*peer);
        break;
    case 2:
        (*peer)->takes = cursor_be16(in);
        break;
    case 3:
        (*peer)->takes = UINT64_MAX;
        break;
    case 4:
        world_run(run->w, (uint64_t)cursor_u8(in) * SECOND_US / 4);
        break;
    case 5:
    case 6:
        operand = cursor_be16(in);
        if (run->ch != NULL && run->part_count++ < 100)
            fake_channel_part(run->ch, 1u + operand % 20000u, (operand & 7) == 0);
        break;
    case 7:
        if (run->ch != NULL && channel_snapshot(run->ch) != NULL &&
            channel_snapshot(run->ch)->tracks[0].segment_count > 0)
            fake_channel_evict(run->ch);
        break;
    case 8:
        if (run->ch != NULL)
            fake_channel_end(run->ch);
        run->ch = run->ch == NULL ? fake_channel_start(run->w, "cam") : NULL;
        run->part_count = 0;
        break;
    default: {
        struct bytes sent = cursor_take(in, cursor_left(in) < 255 ? cursor_left(in) : 255);
        const uint8_t *stop = sent.size > 0 ? memchr(sent.ptr, 0xff, sent.size) : NULL;
        if (stop != NULL) { /* the rest is script again */
            in->ptr = stop + 1;
            sent.size = (size_t)(stop - sent.ptr);
        }
        peer_send(*peer, sent.ptr, sent.size);
        break;
    }
    }
    world_run(run->w, RUN_US);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world *shared; /* making one takes milliseconds */
    struct cursor in = cursor_of(bytes_of(data, size));

    if (shared == NULL) {
        shared = world_new();
        shared->config.net_send_queue = 65536;
        shared->config.http_head_max = 1024;
        shared->config.http_head_buffers = 2;
        world_start(shared);
    }
    struct run run = {.w = shared, .ch = fake_channel_start(shared, "cam")};
    for (int i = 0; i < OPERATIONS_MAX && cursor_left(&in) > 0; i++)
        operate(&run, &in);

    if (run.ch != NULL)
        fake_channel_end(run.ch);
    for (int i = 0; i < PEERS; i++)
        if (run.peers[i] != NULL)
            peer_reset(run.peers[i]);
    world_run(shared, RUN_US);
    CHECK(shared->shard.wheel.armed_count == 0);
    CHECK(counter_read(&shared->counters.http_connections) == 0);
    CHECK(counter_read(&shared->counters.http_waiting) == 0);
    CHECK(store_shard_used_bytes(shared->shard.store) == 0);
    return 0;
}
