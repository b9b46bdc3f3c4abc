#include "dataplane/link/link.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/log.h"
#include "common/mpsc.h"
#include "dataplane/core/shard.h"

enum {
    QUESTIONS_MAX = 256, /* in flight, of all shards together; a request id's low byte */
    REPORTS_MAX = 256,   /* waiting to be sent */
    QUESTION_PACKET_MAX = 8 + sizeof(struct link_question),
    RECONNECT_MIN_US = 50000,
    RECONNECT_MAX_US = 1000000,
    HELLO_TIMEOUT_US = 2000000,
    COUNTERS_INTERVAL_US = 1000000,
    RECEIVE_INTERVAL_US = 1000 /* a busy shard makes one receive call in this time */
};

/* What another shard hands to shard 0. */
struct ask {
    struct shard *asking;
    link_answer_function *answer;
    uint64_t cookie;
    char name[CHANNEL_NAME_MAX + 1];
    char key[STREAM_KEY_MAX + 1];
};

/*   FREE      in link.free
 *   UNSENT    in link.unsent: until there is a connection, or again after one was lost
 *   SENT      in no list: leatd has it
 *   DECIDED   in link.decided: until the asking shard's mailbox takes the answer
 * The deadline runs while UNSENT or SENT. */
enum question_state { QUESTION_FREE, QUESTION_UNSENT, QUESTION_SENT, QUESTION_DECIDED };

struct question {
    struct list node;
    struct timer deadline;
    struct link *link;
    uint64_t deadline_us;
    uint32_t request_id; /* index in the low byte; the rest changes with each use */
    enum question_state state;
    enum link_verdict verdict;
    struct ask ask;
};

/*   WAITING   no socket; 'timer' fires the next attempt
 *   GREETING  connected, our hello is sent; 'timer' bounds the wait for leatd's
 *   READY     'timer' fires the next counters report */
enum link_state { LINK_WAITING, LINK_GREETING, LINK_READY };

struct link {
    struct shard *shard; /* shard 0 */
    struct sockaddr_un address;
    int fd;
    int epoll_fd; /* holds 'fd', whichever it is now, so that the shard has one to watch */
    enum link_state state;
    struct timer timer;
    uint64_t reconnect_us; /* the next pause */
    uint64_t received_us;  /* when the socket was last looked at */
    bool is_loss_logged;

    struct mpsc *asks;    /* any shard to shard 0 */
    struct mpsc *reports; /* any shard to shard 0 */
    /* Keeps 'asks' and 'questions' from ever being full. Release when a question ends, acquire
     * when one begins: whoever sees the place also sees that the queue's cell is empty. */
    atomic_uint in_flight;
    struct list free;
    struct list unsent;
    struct list decided;
    struct question questions[QUESTIONS_MAX];

    struct link_message message; /* scratch */
    uint8_t packet[LINK_MESSAGE_MAX];
};

static struct counters *counters_of(const struct link *l)
{
    return l->shard->counters;
}

/* --- questions --- */

static void question_decide(struct question *q, enum link_verdict verdict)
{
    struct link *l = q->link;
    struct counters *counters = counters_of(l);

    wheel_cancel(&l->shard->wheel, &q->deadline);
    list_remove(&q->node);
    list_push_back(&l->decided, &q->node);
    q->state = QUESTION_DECIDED;
    q->verdict = verdict;
    explicit_bzero(q->ask.key, sizeof(q->ask.key));
    counter_inc(verdict == LINK_ALLOWED       ? &counters->link_allowed
                : verdict == LINK_UNAVAILABLE ? &counters->link_unanswered
                                              : &counters->link_refused);
}

static void question_expired(struct timer *t, uint64_t now_us)
{
    (void)now_us;
    question_decide(CONTAINER_OF(t, struct question, deadline), LINK_UNAVAILABLE);
}

/* On the asking shard. */
static void handle_answer(struct shard *s, const struct message *m)
{
    link_answer_function *answer = (link_answer_function *)(uintptr_t)m->args[0];

    answer(s, m->args[1], (enum link_verdict)m->args[2]);
}

/* Hands one decided question's answer over; false: the asking shard's mailbox is full. */
static bool question_deliver(struct question *q)
{
    struct link *l = q->link;
    struct message m = {
        .handle = handle_answer,
        .args = {(uint64_t)(uintptr_t)q->ask.answer, q->ask.cookie, (uint64_t)q->verdict}};
    struct shard *asking = q->ask.asking;

    if (asking != l->shard && shard_post(asking, &m) < 0)
        return false;
    q->state = QUESTION_FREE;
    list_remove(&q->node);
    list_push_back(&l->free, &q->node);
    atomic_fetch_sub_explicit(&l->in_flight, 1, memory_order_release);
    if (asking == l->shard)
        handle_answer(asking, &m);
    return true;
}

static unsigned questions_deliver(struct link *l, unsigned budget)
{
    unsigned delivered = 0;

    while (delivered < budget && !list_is_empty(&l->decided)) {
        if (!question_deliver(CONTAINER_OF(l->decided.next, struct question, node)))
            break;
        delivered++;
    }
    return delivered;
}

/* Moves what the shards asked into the table. */
static unsigned questions_accept(struct link *l, unsigned budget)
{
    uint64_t timeout_us = l->shard->config->control_answer_timeout * 1000;
    struct ask ask;
    unsigned accepted = 0;

    while (accepted < budget && mpsc_pop(l->asks, &ask)) {
        struct list *node = list_pop_front(&l->free);
        CHECK(node != NULL); /* in_flight bounds them */
        struct question *q = CONTAINER_OF(node, struct question, node);
        q->ask = ask;
        q->request_id += QUESTIONS_MAX;
        q->state = QUESTION_UNSENT;
        q->deadline_us = l->shard->now_us + timeout_us;
        wheel_arm(&l->shard->wheel, &q->deadline, q->deadline_us);
        list_push_back(&l->unsent, &q->node);
        accepted++;
    }
    explicit_bzero(&ask, sizeof(ask));
    return accepted;
}

/* --- the connection --- */

static void link_wait(struct link *l, uint64_t pause_us)
{
    l->state = LINK_WAITING;
    wheel_arm(&l->shard->wheel, &l->timer, l->shard->now_us + pause_us);
}

/* Ends the connection; unanswered questions go out again over the next one. */
static void link_lose(struct link *l, const char *why)
{
    if (l->state == LINK_READY) {
        counter_inc(&counters_of(l)->link_disconnects);
        atomic_store_explicit(&counters_of(l)->link_is_connected, 0, memory_order_relaxed);
        log_warn("link", LOG_MSG("lost leatd; connecting again"), LOG_STR("why", why));
        l->is_loss_logged = true;
    } else if (!l->is_loss_logged) {
        log_warn("link", LOG_MSG("cannot reach leatd; trying on"), LOG_STR("why", why),
                 LOG_STR("socket", l->address.sun_path));
        l->is_loss_logged = true;
    }
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    for (size_t i = 0; i < QUESTIONS_MAX; i++) {
        if (l->questions[i].state != QUESTION_SENT)
            continue;
        l->questions[i].state = QUESTION_UNSENT;
        list_push_back(&l->unsent, &l->questions[i].node);
    }
    link_wait(l, l->reconnect_us);
    l->reconnect_us *= 2;
    if (l->reconnect_us > RECONNECT_MAX_US)
        l->reconnect_us = RECONNECT_MAX_US;
}

/* Sends l->message. 1: sent; 0: no room now; -1: the connection is lost. */
static int link_send(struct link *l)
{
    size_t size = link_encode(&l->message, l->packet);
    ssize_t sent = send(l->fd, l->packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent >= 0)
        return 1;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return 0;
    link_lose(l, strerror(errno));
    return -1;
}

static void link_connect(struct link *l)
{
    struct epoll_event event = {.events = EPOLLIN};

    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || connect(l->fd, (const struct sockaddr *)&l->address, sizeof(l->address)) < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->fd, &event) < 0) {
        link_lose(l, strerror(errno));
        return;
    }
    l->state = LINK_GREETING;
    wheel_arm(&l->shard->wheel, &l->timer, l->shard->now_us + HELLO_TIMEOUT_US);
    l->message = (struct link_message){
        .type = LINK_HELLO,
        .hello = {.version = LINK_VERSION, .pid = (uint32_t)getpid(), .build = LINK_BUILD}};
    if (link_send(l) == 0)
        link_lose(l, "no room for a greeting");
}

static void link_greeted(struct link *l, const struct link_hello *hello)
{
    if (hello->version != LINK_VERSION) {
        log_error("link", LOG_MSG("leatd speaks another version of the link"),
                  LOG_INT("theirs", hello->version), LOG_INT("ours", LINK_VERSION));
        l->reconnect_us = RECONNECT_MAX_US;
        link_lose(l, "version mismatch");
        return;
    }
    l->state = LINK_READY;
    l->reconnect_us = RECONNECT_MIN_US;
    l->is_loss_logged = false;
    counter_inc(&counters_of(l)->link_connects);
    atomic_store_explicit(&counters_of(l)->link_is_connected, 1, memory_order_relaxed);
    log_info("link", LOG_MSG("connected to leatd"), LOG_INT("pid", hello->pid));
    wheel_arm(&l->shard->wheel, &l->timer, l->shard->now_us); /* counters: at once */
}

/* --- receiving --- */

static void handle_verdict(struct link *l, const struct link_message *m)
{
    struct question *q = &l->questions[m->request_id % QUESTIONS_MAX];

    if (q->state != QUESTION_SENT || q->request_id != m->request_id) {
        counter_inc(&counters_of(l)->link_late_verdicts);
        return;
    }
    question_decide(q, m->verdict);
}

/* One message from leatd; false: it has no business sending this now. */
static bool link_handle(struct link *l, const struct link_message *m)
{
    if (l->state == LINK_GREETING) {
        if (m->type != LINK_HELLO)
            return false;
        link_greeted(l, &m->hello);
        return true;
    }
    if (m->type == LINK_VERDICT) {
        handle_verdict(l, m);
        return true;
    }
    if (m->type == LINK_STOP) {
        log_info("link", LOG_MSG("leatd asks us to stop"));
        kill(getpid(), SIGTERM); /* the main thread waits for it */
        return true;
    }
    return false;
}

static unsigned link_receive(struct link *l, unsigned budget)
{
    unsigned received = 0;

    l->received_us = l->shard->now_us;
    while (received < budget && l->fd >= 0) {
        ssize_t size = recv(l->fd, l->packet, sizeof(l->packet), MSG_DONTWAIT | MSG_TRUNC);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (size <= 0) {
            link_lose(l, size == 0 ? "closed by leatd" : strerror(errno));
            break;
        }
        received++;
        if ((size_t)size > sizeof(l->packet) ||
            link_decode(bytes_of(l->packet, (size_t)size), &l->message) < 0 ||
            !link_handle(l, &l->message)) {
            counter_inc(&counters_of(l)->link_bad_messages);
            link_lose(l, "a message that makes no sense");
        }
    }
    return received;
}

/* --- sending --- */

/* Sends the oldest unsent question, with the time that is left for it. As link_send(). */
static int question_send(struct link *l, struct question *q)
{
    uint64_t now_us = l->shard->now_us;
    uint64_t left_us = q->deadline_us > now_us ? q->deadline_us - now_us : 0;

    l->message = (struct link_message){
        .type = LINK_PUBLISH,
        .request_id = q->request_id,
        .question = {.deadline_ms = (uint32_t)(left_us / 1000)},
    };
    memcpy(l->message.question.name, q->ask.name, sizeof(q->ask.name));
    memcpy(l->message.question.key, q->ask.key, sizeof(q->ask.key));
    int sent = link_send(l);
    explicit_bzero(&l->message.question, sizeof(l->message.question));
    explicit_bzero(l->packet, QUESTION_PACKET_MAX);
    return sent;
}

static unsigned questions_send(struct link *l, unsigned budget)
{
    unsigned count = 0;

    while (count < budget && l->state == LINK_READY && !list_is_empty(&l->unsent)) {
        struct question *q = CONTAINER_OF(l->unsent.next, struct question, node);
        if (question_send(l, q) <= 0)
            break;
        list_remove(&q->node);
        q->state = QUESTION_SENT;
        count++;
    }
    return count;
}

/* Sends what the shards reported, or drops it when leatd is not there to read it. */
static unsigned reports_send(struct link *l, unsigned budget)
{
    unsigned count = 0;

    while (count < budget) {
        struct link_channel_report report;
        if (!mpsc_pop(l->reports, &report))
            break;
        count++;
        l->message = (struct link_message){.type = LINK_CHANNEL, .channel = report};
        bool is_sent = l->state == LINK_READY && link_send(l) > 0;
        counter_inc(is_sent ? &counters_of(l)->link_reports
                            : &counters_of(l)->link_reports_dropped);
    }
    return count;
}

static uint64_t counter_total(const struct link *l, const struct counter_info *info)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < l->shard->count; i++) {
        const struct counters *counters = l->shard->all[i]->counters;
        total += counters_sum(&counters, 1, info);
    }
    return total;
}

/* All counters, in as many pages as it takes; a page that does not go out ends it until the next
 * time. */
static void counters_send(struct link *l)
{
    size_t count = 0;
    const struct counter_info *table = counters_table(&count);
    struct link_counters *page = &l->message.counters;

    for (size_t at = 0; at < count;) {
        l->message.type = LINK_COUNTERS;
        l->message.request_id = 0;
        page->is_first = at == 0;
        page->count = 0;
        while (at < count && page->count < LINK_COUNTERS_PER_PAGE) {
            struct link_counter *counter = &page->list[page->count++];
            CHECK(bytes_to_str(bytes_of_str(table[at].name), counter->name, sizeof(counter->name)));
            counter->unit = (uint8_t)table[at].unit;
            counter->value = counter_total(l, &table[at]);
            at++;
        }
        page->is_last = at == count;
        if (link_send(l) <= 0)
            return;
    }
}

static void link_timer_fired(struct timer *t, uint64_t now_us)
{
    struct link *l = CONTAINER_OF(t, struct link, timer);

    switch (l->state) {
    case LINK_WAITING:
        link_connect(l);
        break;
    case LINK_GREETING:
        link_lose(l, "leatd does not greet");
        break;
    case LINK_READY:
        wheel_arm(&l->shard->wheel, &l->timer, now_us + COUNTERS_INTERVAL_US);
        counters_send(l);
        break;
    }
}

static unsigned link_poll(void *user, uint64_t now_us, unsigned budget)
{
    struct link *l = user;
    unsigned work = questions_accept(l, budget);

    if (l->fd >= 0 && now_us - l->received_us >= RECEIVE_INTERVAL_US)
        work += link_receive(l, budget);
    work += questions_send(l, budget);
    work += reports_send(l, budget);
    work += questions_deliver(l, budget);
    return work;
}

/* --- what the shards call --- */

/* Shard 0 is awake now, and polls the link on this turn or the next. */
static void handle_wake(struct shard *s, const struct message *m)
{
    (void)s;
    (void)m;
}

int link_ask_publish(struct link *link, struct shard *asking, struct bytes name, struct bytes key,
                     link_answer_function *answer, uint64_t cookie)
{
    struct ask ask = {.asking = asking, .answer = answer, .cookie = cookie};
    struct message wake = {.handle = handle_wake};

    if (!bytes_to_str(name, ask.name, sizeof(ask.name)) ||
        !bytes_to_str(key, ask.key, sizeof(ask.key)))
        return -EINVAL;
    unsigned before = atomic_fetch_add_explicit(&link->in_flight, 1, memory_order_acquire);
    if (before >= QUESTIONS_MAX) {
        atomic_fetch_sub_explicit(&link->in_flight, 1, memory_order_relaxed);
        counter_inc(&asking->counters->link_questions_full);
        return -ENOBUFS;
    }
    counter_inc(&asking->counters->link_questions);
    CHECK(mpsc_push(link->asks, &ask)); /* in_flight bounds them */
    explicit_bzero(&ask, sizeof(ask));
    (void)shard_post(link->shard, &wake); /* full: then it is awake anyway */
    return 0;
}

void link_report_channel(struct link *link, struct shard *from,
                         const struct link_channel_report *report)
{
    if (!mpsc_push(link->reports, report))
        counter_inc(&from->counters->link_reports_dropped);
}

int link_new(struct shard *shard0, const char *path, struct link **ret_link)
{
    struct link *l = calloc(1, sizeof(*l));
    int err = -ENOMEM;

    if (l == NULL)
        return err;
    l->shard = shard0;
    l->fd = -1;
    l->reconnect_us = RECONNECT_MIN_US;
    l->address.sun_family = AF_UNIX;
    l->timer.fire = link_timer_fired;
    list_init(&l->free);
    list_init(&l->unsent);
    list_init(&l->decided);
    for (uint32_t i = 0; i < QUESTIONS_MAX; i++) {
        struct question *q = &l->questions[i];
        q->link = l;
        q->request_id = i;
        q->deadline.fire = question_expired;
        list_push_back(&l->free, &q->node);
    }

    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->asks = mpsc_new(QUESTIONS_MAX, sizeof(struct ask));
    l->reports = mpsc_new(REPORTS_MAX, sizeof(struct link_channel_report));
    if (l->epoll_fd < 0)
        err = -errno;
    if (l->epoll_fd < 0 || l->asks == NULL || l->reports == NULL)
        goto fail;
    if (!bytes_to_str(bytes_of_str(path), l->address.sun_path, sizeof(l->address.sun_path))) {
        err = -ENAMETOOLONG;
        goto fail;
    }
    struct shard_poller poller = {.name = "link", .poll = link_poll, .user = l, .fd = l->epoll_fd};
    err = shard_add_poller(shard0, &poller);
    if (err < 0)
        goto fail;
    link_wait(l, 0);
    *ret_link = l;
    return 0;

fail:
    link_free(&l);
    return err;
}

void link_free(struct link **pl)
{
    struct link *l = *pl;

    *pl = NULL;
    if (l == NULL)
        return;
    wheel_cancel(&l->shard->wheel, &l->timer);
    for (size_t i = 0; i < QUESTIONS_MAX; i++)
        wheel_cancel(&l->shard->wheel, &l->questions[i].deadline);
    if (l->fd >= 0)
        close(l->fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    mpsc_free(&l->asks);
    mpsc_free(&l->reports);
    explicit_bzero(l, sizeof(*l));
    free(l);
}
