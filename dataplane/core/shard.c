#include "dataplane/core/shard.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/config/config.h"
#include "dataplane/store/store.h"
#include "drivers/net/transport.h"

enum {
    MAILBOX_CAPACITY = 4096,
    SMALL_BLOB_SIZE = 2048,
    TRANSPORT_BUDGET = 256,
    POLLER_BUDGET = 64,
    MESSAGE_BUDGET = 256,
    TIMER_BUDGET = 1024,
    SLEEP_MAX_US = 100000,
    POLLED_SLEEP_MAX_US = 250 /* a port without interrupts is looked at this often when idle */
};

int shard_init(struct shard *s, uint32_t index, uint32_t count, struct shard *const *all,
               const struct config *config, struct counters *counters)
{
    s->index = index;
    s->count = count;
    s->all = all;
    s->config = config;
    s->counters = counters;
    s->now_us = clock_monotonic_us();
    s->wall_us = clock_wall_us();
    s->spin_us = (uint32_t)config->shards_spin_us;
    wheel_init(&s->wheel, s->now_us);
    blob_home_init(&s->blob_home);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0)
        return -errno;

    int err = mailbox_init(&s->mailbox, MAILBOX_CAPACITY);
    if (err < 0)
        goto close_epoll;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->mailbox.event_fd, &event) < 0) {
        err = -errno;
        goto close_mailbox;
    }
    s->small_blobs =
        blob_pool_new(&s->blob_home, (uint32_t)config->net_small_blobs, SMALL_BLOB_SIZE);
    if (s->small_blobs != NULL)
        return 0;
    err = -ENOMEM;

close_mailbox:
    mailbox_fini(&s->mailbox);
close_epoll:
    close(s->epoll_fd);
    return err;
}

void shard_fini(struct shard *s)
{
    if (s->small_blobs == NULL)
        return;
    blob_pool_free(&s->small_blobs);
    mailbox_fini(&s->mailbox);
    close(s->epoll_fd);
}

static int shard_watch(struct shard *s, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int shard_add_transport(struct shard *s, struct transport *t)
{
    if (s->transport_count == ARRAY_COUNT(s->transports))
        return -ENOSPC;
    int fd = t->ops->wait_fd(t);
    int err = fd >= 0 ? shard_watch(s, fd) : 0;
    if (err < 0)
        return err;
    s->must_poll = s->must_poll || fd == -1;
    s->transports[s->transport_count++] = t;
    return 0;
}

int shard_add_poller(struct shard *s, const struct shard_poller *poller)
{
    if (s->poller_count == SHARD_POLLERS_MAX)
        return -ENOSPC;
    if (poller->fd >= 0) {
        int err = shard_watch(s, poller->fd);
        if (err < 0)
            return err;
    }
    s->pollers[s->poller_count++] = *poller;
    return 0;
}

void shard_read_clocks(struct shard *s)
{
    uint64_t now_us = clock_monotonic_us();

    if (now_us > s->now_us)
        s->now_us = now_us;
    s->wall_us = clock_wall_us();
}

static unsigned shard_take_messages(struct shard *s)
{
    struct message m;
    unsigned taken = 0;

    while (taken < MESSAGE_BUDGET && mailbox_take(&s->mailbox, &m)) {
        m.handle(s, &m);
        taken++;
    }
    return taken;
}

unsigned shard_turn(struct shard *s)
{
    unsigned work = 0;

    for (uint32_t i = 0; i < s->transport_count; i++)
        work += s->transports[i]->ops->poll(s->transports[i], s->now_us, TRANSPORT_BUDGET);
    for (uint32_t i = 0; i < s->poller_count; i++)
        work += s->pollers[i].poll(s->pollers[i].user, s->now_us, POLLER_BUDGET);
    work += shard_take_messages(s);
    work += wheel_poll(&s->wheel, s->now_us, TIMER_BUDGET);

    for (uint32_t i = 0; i < s->transport_count; i++)
        s->transports[i]->ops->flush(s->transports[i], s->now_us);
    (void)blob_home_poll(&s->blob_home);
    if (s->store != NULL) {
        store_poll(s->store);
        store_quiescent(s->store);
    }
    counter_inc(&s->counters->shard_iterations);
    return work;
}

static bool shard_has_work(const struct shard *s)
{
    for (uint32_t i = 0; i < s->transport_count; i++) {
        const struct transport *t = s->transports[i];
        if (t->ops->has_work != NULL && t->ops->has_work(t))
            return true;
    }
    return false;
}

/* Sleeps until something is readable, a message comes, or the next timer is due. */
static void shard_sleep(struct shard *s)
{
    uint64_t limit_us = s->must_poll ? POLLED_SLEEP_MAX_US : SLEEP_MAX_US;
    uint64_t next_us = wheel_next_us(&s->wheel);
    struct epoll_event events[8];

    if (next_us <= s->now_us || atomic_load_explicit(&s->stop, memory_order_acquire))
        return;
    if (next_us - s->now_us < limit_us)
        limit_us = next_us - s->now_us;
    if (!mailbox_prepare_sleep(&s->mailbox))
        return;
    if (shard_has_work(s)) { /* only now: whoever hands over from here on sees that we sleep */
        mailbox_awake(&s->mailbox);
        return;
    }
    if (s->store != NULL)
        store_offline(s->store);
    struct timespec timeout = {.tv_sec = (time_t)(limit_us / 1000000),
                               .tv_nsec = (long)(limit_us % 1000000) * 1000};
    int ready = epoll_pwait2(s->epoll_fd, events, ARRAY_COUNT(events), &timeout, NULL);
    (void)ready; /* whatever woke us, every source is polled */
    if (s->store != NULL)
        store_online(s->store);
    mailbox_awake(&s->mailbox);
    counter_inc(&s->counters->shard_wakeups);
}

void shard_run(struct shard *s)
{
    shard_read_clocks(s);
    uint64_t last_work_us = s->now_us;

    /* Acquire: pairs with shard_stop's release. */
    while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
        uint64_t turn_start_us = s->now_us;
        unsigned work = shard_turn(s);
        if (work > 0)
            last_work_us = s->now_us;
        else if (s->now_us - last_work_us >= s->spin_us)
            shard_sleep(s);
        shard_read_clocks(s);
        counter_add(work > 0 ? &s->counters->shard_busy_us : &s->counters->shard_idle_us,
                    s->now_us - turn_start_us);
    }
}

/* Only there to wake the shard. */
static void shard_handle_stop(struct shard *s, const struct message *m)
{
    (void)s;
    (void)m;
}

void shard_stop(struct shard *s)
{
    struct message wake = {.handle = shard_handle_stop};

    /* Release: pairs with shard_run's acquire. */
    atomic_store_explicit(&s->stop, true, memory_order_release);
    (void)mailbox_post(&s->mailbox, &wake); /* full: it is awake */
}

void shard_wake(struct shard *s)
{
    mailbox_wake(&s->mailbox);
}

int shard_post(struct shard *to, const struct message *m)
{
    return mailbox_post(&to->mailbox, m);
}
