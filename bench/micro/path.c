#include "bench/micro/path.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/micro/path_kernel.h"
#include "common/check.h"
#include "dataplane/net/tcp/congestion.h"
#include "tests/sim/world.h"

enum {
    HOST_SENDER = 1, /* last bytes of the addresses */
    HOST_CONTENDER = 2,
    HOST_RECEIVER = 3,
    TAPS_MAX = 3,
    FRAME_MAX = 2048,
    READ_BURST = 64,
    REORDER_US_MIN = 2000,
    QUEUE_BYTES_MIN = 75000, /* 50 packets */
    SEND_BYTES = 64 << 10,
    SEND_QUEUE_BYTES = 8 << 20, /* as the configuration's defaults, net.send_queue and ... */
    STREAMS_MAX = 20000,        /* ... net.streams_max: what reassembly may hold follows from it */
    SLEEP_US_MAX = 100000,
    RELAY_NICE = -10
};

/* A kernel end and its place on the wire. */
struct tap {
    struct path_kernel kernel;
    struct port *port;
    struct blob_home blobs;
    struct counters counters;
    uint8_t frame[FRAME_MAX];
};

struct path {
    const struct path_options *options;
    struct world world;
    struct world_host *host; /* ours; NULL: both ends are Linux */
    struct tap taps[TAPS_MAX];
    uint32_t tap_count;
    struct path_totals *totals;
    uint64_t late_us; /* sum over turns: how long after its time the relay looked at a frame */
    uint64_t late_count;
    bool is_over;
};

static uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- our end's application --- */

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct path *p = s->user;

    (void)now_us;
    p->totals->bytes[s->peer.addr[3] % PATH_HOSTS_MAX] += in.size;
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    struct path *p = s->user;
    struct extent e = world_extent(p->host, 0, 0, SEND_BYTES);

    (void)now_us;
    while (stream_send(s, &e, 1) == 0)
        continue;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    const struct path *p = s->user;

    (void)now_us;
    if (!p->is_over)
        fprintf(stderr, "leat-bench: a connection ended: %s\n", strerror(-error));
}

static const struct stream_events events = {
    .data = on_data, .sendable = on_sendable, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)now_us;
    s->events = &events;
    s->user = user;
    return 0;
}

static int host_start(struct path *p)
{
    static const struct listen_events listen_events = {.accept = on_accept};
    struct transport *t = p->host->transport;
    struct endpoint at;

    if (p->options->is_sender_linux) {
        endpoint_parse("10.92.0.3:9000", &at);
        return t->ops->listen(t, &at, &listen_events, p);
    }
    endpoint_parse("10.92.0.3:9000", &at);
    for (uint32_t i = 0; i < p->options->flows; i++) {
        struct stream *s = t->ops->connect(t, &at, &events, p, p->world.now_us);
        if (s == NULL)
            return -ENOMEM;
        s->low_water_bytes = SEND_QUEUE_BYTES / 2;
    }
    return 0;
}

/* --- the relay --- */

static void blob_released(struct blob *b)
{
    (void)b;
}

/* What the kernel sent goes onto the wire. */
static void tap_read(struct tap *t, uint64_t now_us)
{
    struct port_queue *q = t->port->driver->queue(t->port, 0);

    for (int i = 0; i < READ_BURST; i++) {
        ssize_t size = read(t->kernel.tap, t->frame, sizeof(t->frame));
        if (size < 14)
            break;
        uint8_t *header = q->driver->tx_begin(q, false);
        CHECK(header != NULL); /* the port has no limit */
        struct blob blob = {0};
        blob_init(&blob, &t->blobs, bytes_of(t->frame, (size_t)size), blob_released, NULL);
        memcpy(header, t->frame, 14);
        const struct extent rest = {.blob = &blob, .offset = 14, .size = (uint32_t)size - 14};
        (void)q->driver->tx_commit(
            q, &(struct packet_out){
                   .extents = &rest, .extent_count = 1, .header_size = 14, .l2_size = 14});
    }
    q->driver->tx_flush(q, now_us);
}

/* What has come over the wire goes to the kernel. */
static void tap_write(struct tap *t, uint64_t now_us)
{
    struct port_queue *q = t->port->driver->queue(t->port, 0);
    struct packet_in packets[PORT_BURST_MAX];
    unsigned count;

    while ((count = q->driver->rx_burst(q, packets, PORT_BURST_MAX, now_us)) > 0) {
        for (unsigned i = 0; i < count; i++)
            if (write(t->kernel.tap, packets[i].frame.ptr, packets[i].frame.size) < 0)
                break; /* a full queue is loss, as on any link */
        q->driver->rx_done(q, packets, count);
    }
}

static void relay_turn(struct path *p)
{
    uint64_t due_us = sim_wire_next_us(p->world.wire);

    p->world.now_us = clock_us();
    if (due_us <= p->world.now_us) {
        p->late_us += p->world.now_us - due_us;
        p->late_count++;
    }
    for (uint32_t i = 0; i < p->tap_count; i++)
        tap_read(&p->taps[i], p->world.now_us);
    world_turn(&p->world);
    for (uint32_t i = 0; i < p->tap_count; i++)
        tap_write(&p->taps[i], p->world.now_us);
}

static void relay_sleep(struct path *p)
{
    struct pollfd fds[TAPS_MAX];
    uint64_t next_us = sim_wire_next_us(p->world.wire);
    uint64_t timer_us = p->host != NULL ? wheel_next_us(&p->host->wheel) : UINT64_MAX;
    uint64_t now_us = clock_us();

    next_us = timer_us < next_us ? timer_us : next_us;
    uint64_t sleep_us = next_us > now_us ? next_us - now_us : 0;
    sleep_us = sleep_us < SLEEP_US_MAX ? sleep_us : SLEEP_US_MAX;
    for (uint32_t i = 0; i < p->tap_count; i++)
        fds[i] = (struct pollfd){.fd = p->taps[i].kernel.tap, .events = POLLIN};
    const struct timespec timeout = {.tv_nsec = (long)sleep_us * 1000};
    (void)ppoll(fds, p->tap_count, &timeout, NULL);
}

/* --- setting up --- */

static int tap_add(struct path *p, uint8_t host, uint32_t flows)
{
    struct tap *t = &p->taps[p->tap_count];
    const struct sim_port_config config = {.mac = {2, 0, 0, 0, 1, host}};
    int error = path_kernel_start(&t->kernel, host, HOST_RECEIVER, flows, p->totals);

    if (error < 0) {
        fprintf(stderr, "leat-bench: no TAP device in a new namespace: %s\n", strerror(-error));
        path_kernel_stop(&t->kernel);
        return error;
    }
    p->tap_count++;
    blob_home_init(&t->blobs);
    CHECK(sim_port_new(p->world.wire, &config, &t->port) == 0);
    t->port->driver->queue(t->port, 0)->counters = &t->counters;
    return 0;
}

static void host_add(struct path *p)
{
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    const struct net_config config = {.congestion = p->options->congestion};
    bool is_sender = !p->options->is_sender_linux;

    p->host = world_host_add(&p->world, is_sender ? "10.92.0.1/24" : "10.92.0.3/24", &config, &port,
                             STREAMS_MAX, SEND_QUEUE_BYTES);
}

/* Senders share one bottleneck; acknowledgements come back with delay alone. */
static void path_impair(struct path *p, struct port *sender, struct port *contender,
                        struct port *receiver)
{
    const struct path_options *o = p->options;
    uint64_t product_bytes = o->rate_bps / 8 * o->rtt_us / 1000000;
    struct sim_impairment data = {
        .delay_us = o->rtt_us / 2,
        .loss_ppm = o->loss_ppm,
        .reorder_ppm = o->reorder_ppm,
        .reorder_us = o->rtt_us / 4 > REORDER_US_MIN ? o->rtt_us / 4 : REORDER_US_MIN,
        .rate_bps = o->rate_bps,
        .queue_bytes =
            product_bytes > QUEUE_BYTES_MIN ? (uint32_t)product_bytes : (uint32_t)QUEUE_BYTES_MIN,
    };
    const struct sim_impairment back = {.delay_us = o->rtt_us / 2};

    sim_impair(sender, &data);
    if (contender != NULL) {
        sim_impair(contender, &data);
        sim_share_rate(contender, sender);
    }
    sim_impair(receiver, &back);
}

static int path_open(struct path *p)
{
    const struct path_options *o = p->options;
    struct port *contender = NULL;
    int error = 0;

    if (!o->is_sender_linux || !o->is_receiver_linux)
        host_add(p);
    struct port *sender = p->host != NULL ? p->host->port : NULL;
    struct port *receiver = sender;
    if (o->is_sender_linux && (error = tap_add(p, HOST_SENDER, o->flows)) == 0)
        sender = p->taps[p->tap_count - 1].port;
    if (error == 0 && o->has_contender && (error = tap_add(p, HOST_CONTENDER, o->flows)) == 0)
        contender = p->taps[p->tap_count - 1].port;
    if (error == 0 && o->is_receiver_linux && (error = tap_add(p, HOST_RECEIVER, 0)) == 0)
        receiver = p->taps[p->tap_count - 1].port;
    if (error < 0)
        return error;
    path_impair(p, sender, contender, receiver);
    /* The receiver first: it must listen. */
    for (uint32_t i = p->tap_count; i-- > 0;)
        path_kernel_go(&p->taps[i].kernel);
    return p->host != NULL ? host_start(p) : 0;
}

static void path_close(struct path *p)
{
    p->is_over = true;
    for (uint32_t i = 0; i < p->tap_count; i++) {
        path_kernel_stop(&p->taps[i].kernel);
        p->taps[i].port->driver->close(&p->taps[i].port);
    }
    if (p->host != NULL)
        p->host->transport->ops->free(&p->host->transport);
    world_fini(&p->world);
    munmap(p->totals, sizeof(*p->totals));
}

static void path_report(const struct path *p, uint64_t elapsed_us, FILE *out)
{
    uint64_t retransmits = p->host != NULL ? p->host->counters.tcp_retransmits : 0;
    uint64_t timeouts = p->host != NULL ? p->host->counters.tcp_timeouts : 0;

    fprintf(out,
            "{\"bytes\": %" PRIu64 ", \"contender_bytes\": %" PRIu64 ", \"elapsed_us\": %" PRIu64
            ", \"no_buffer\": %" PRIu64 ", \"retransmits\": %" PRIu64 ", \"timeouts\": %" PRIu64
            ", \"late_us\": %" PRIu64 "}\n",
            p->totals->bytes[HOST_SENDER], p->totals->bytes[HOST_CONTENDER], elapsed_us,
            p->host != NULL ? p->host->counters.tcp_no_buffer_left : 0, retransmits, timeouts,
            p->late_count != 0 ? p->late_us / p->late_count : 0);
}

int path_run(const struct path_options *options, FILE *out)
{
    static struct path path;
    struct path *p = &path;

    if (options->flows == 0 || options->flows > PATH_FLOWS_MAX || options->rtt_us == 0 ||
        options->rate_bps == 0 ||
        (options->congestion != NULL && tcp_congestion_find(options->congestion) == NULL))
        return -EINVAL;
    /* The path must not be slower than it says because others use the processor. */
    (void)setpriority(PRIO_PROCESS, 0, RELAY_NICE);
    *p = (struct path){.options = options};
    p->totals =
        mmap(NULL, sizeof(*p->totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p->totals != MAP_FAILED);
    world_init(&p->world, options->seed);
    p->world.now_us = clock_us();
    int error = path_open(p);
    uint64_t start_us = clock_us();
    uint64_t end_us = start_us + (uint64_t)options->seconds * 1000000;
    while (error == 0 && p->world.now_us < end_us) {
        relay_turn(p);
        relay_sleep(p);
    }
    if (error == 0)
        path_report(p, p->world.now_us - start_us, out);
    path_close(p);
    return error;
}
