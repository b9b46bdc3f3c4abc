#include "tests/conformance/script/run.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SLEEP_MAX_US = 1000000000,
    TOLERANCE_US = 4000,
    WORKER_WAIT_S = 2,        /* of real time, for a call that must have returned */
    WORKER_SPINS_MAX = 200000 /* of sched_yield() until a call blocks or has returned */
};

int64_t run_now_us(struct run *r)
{
    struct timeval tv = {0};

    r->ifc.gettimeofday(r->ifc.userdata, &tv, NULL);
    return (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
}

static int64_t script_now_us(struct run *r)
{
    return run_now_us(r) - r->start_us;
}

static bool time_check(struct run *r, const struct script_event *event, int64_t now_us)
{
    const struct script_time *t = &event->time;
    int64_t base_us = t->kind == TIME_AFTER ? r->offset_us : 0;
    int64_t begin_us = base_us + t->begin_us - r->tolerance_us;
    int64_t end_us = base_us + (t->is_range ? t->end_us : t->begin_us) + r->tolerance_us;

    if (t->kind == TIME_ANY || (now_us >= begin_us && now_us <= end_us))
        return true;
    return script_fail(
        r->error, event->line, "expected at %.6f (the event before was at %.6f), got at %.6f",
        (double)(base_us + t->begin_us) / 1e6, (double)r->offset_us / 1e6, (double)now_us / 1e6);
}

/* Moves time to when an event of ours is due. */
static bool time_wait(struct run *r, const struct script_event *event)
{
    const struct script_time *t = &event->time;
    int64_t due_us = (t->kind == TIME_AFTER ? r->offset_us : 0) + t->begin_us;
    int64_t now_us = script_now_us(r);

    while (t->kind != TIME_ANY && due_us > now_us) {
        int64_t step_us = due_us - now_us < SLEEP_MAX_US ? due_us - now_us : SLEEP_MAX_US;
        r->ifc.usleep(r->ifc.userdata, (useconds_t)step_us);
        now_us += step_us;
    }
    return time_check(r, event, now_us);
}

/* --- calls --- */

static void *worker_main(void *user)
{
    struct run *r = user;

    __atomic_store_n(&r->worker_tid, gettid(), __ATOMIC_RELEASE);
    const struct script_event *event = r->worker_event;
    (void)call_run(r, event, &r->worker_error);
    /* At once, for time waits for this (see shim.h). */
    int64_t now_us = script_now_us(r);
    int64_t due_us = r->worker_base_us + event->time.end_us;
    if (llabs(now_us - due_us) > r->tolerance_us)
        script_fail(&r->worker_error, event->line, "%s() should return at %.6f, did at %.6f",
                    event->call, (double)due_us / 1e6, (double)now_us / 1e6);
    __atomic_store_n(&r->is_worker_done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* As packetdrill: the state in the third field of the thread's stat file. */
static bool is_sleeping(int tid)
{
    char path[64];
    char text[128] = "";

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return true;
    size_t size = fread(text, 1, sizeof(text) - 1, f);
    text[size] = '\0';
    (void)fclose(f);
    const char *close = strrchr(text, ')');
    return close != NULL && strlen(close) > 2 && close[2] == 'S';
}

static bool worker_start(struct run *r, const struct script_event *event)
{
    r->worker_event = event;
    r->is_worker_done = false;
    r->worker_tid = 0;
    r->worker_error = (struct script_error){0};
    if (pthread_create(&r->worker, NULL, worker_main, r) != 0)
        return script_fail(r->error, event->line, "no thread");
    r->has_worker = true;
    for (int i = 0; i < WORKER_SPINS_MAX; i++) {
        int tid = __atomic_load_n(&r->worker_tid, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&r->is_worker_done, __ATOMIC_ACQUIRE) || (tid != 0 && is_sleeping(tid)))
            break;
        (void)sched_yield();
    }
    return true;
}

/* Waits for the blocking call, which must have returned by now. */
static bool worker_finish(struct run *r)
{
    if (!r->has_worker)
        return true;
    const struct script_event *event = r->worker_event;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WORKER_WAIT_S;
    if (pthread_timedjoin_np(r->worker, NULL, &until) != 0)
        return script_fail(r->error, event->line, "%s() still blocks", event->call);
    r->has_worker = false;
    if (r->worker_error.text[0] != '\0')
        return script_fail(r->error, event->line, "%s", r->worker_error.text);
    return true;
}

static bool event_call(struct run *r, const struct script_event *event)
{
    /* A time relative to the event before needs that time before it is overwritten. */
    int64_t base_us = event->time.kind == TIME_AFTER ? r->offset_us : 0;

    if (!worker_finish(r) || !time_wait(r, event))
        return false;
    if (!event->time.is_blocking)
        return call_run(r, event, r->error);
    r->worker_base_us = base_us;
    return worker_start(r, event);
}

/* --- packets --- */

static bool event_inbound(struct run *r, const struct script_event *event)
{
    if (!time_wait(r, event))
        return false;
    size_t size = packet_build(r, &event->packet, event->line);
    if (size == 0)
        return false;
    if (r->ifc.netdev_send(r->ifc.userdata, r->packet, size) < 0)
        return script_fail(r->error, event->line, "the packet was not taken");
    return true;
}

/* The next packet of the connection; its size, 0: none will come. */
static size_t next_packet(struct run *r, bool wants_icmp, uint8_t *packet, int64_t *ret_us)
{
    for (;;) {
        size_t size = RUN_PACKET_MAX;
        long long time_us = 0;
        if (r->ifc.netdev_receive(r->ifc.userdata, packet, &size, &time_us) < 0 || size == 0)
            return 0;
        *ret_us = time_us - r->start_us;
        if (packet_is_ours(r, wants_icmp, packet, size))
            return size;
    }
}

static bool event_outbound(struct run *r, const struct script_event *event)
{
    const struct script_packet *p = &event->packet;
    size_t wanted = p->protocol == PACKET_ICMP ? 0 : p->size;
    int64_t at_us = 0;
    char text[256];

    size_t size = next_packet(r, p->protocol == PACKET_ICMP, r->packet, &at_us);
    if (size == 0)
        return script_fail(r->error, event->line, "expected a packet, got none");
    size_t payload = packet_payload(r->packet, size);
    /* A script may say several segments in one line, as segmentation offload would send them. */
    bool is_ok = true;
    r->join_seq = 0;
    while (is_ok && !r->is_strict && payload > 0 && payload < wanted && p->protocol == PACKET_TCP) {
        size_t more = next_packet(r, false, r->more, &at_us);
        if (more == 0)
            break;
        payload += packet_payload(r->more, more);
        is_ok = packet_join(r, r->packet, &size, r->more, more, payload == wanted, event->line);
    }
    is_ok = is_ok && packet_check(r, p, r->packet, size, payload, event->line) &&
            time_check(r, event, at_us);
    if (!is_ok && r->error->text[0] != '\0') {
        size_t end = strlen(r->error->text);
        packet_print(r, r->packet, size, text, sizeof(text));
        (void)snprintf(r->error->text + end, sizeof(r->error->text) - end,
                       "\n    got %.6f > %s, %zu bytes of payload", (double)at_us / 1e6, text,
                       payload);
    }
    return is_ok;
}

/* --- a script --- */

static bool event_run(struct run *r, const struct script_event *event)
{
    switch (event->kind) {
    case EVENT_PACKET:
        return event->packet.is_inbound ? event_inbound(r, event) : event_outbound(r, event);
    case EVENT_CALL:
        return event_call(r, event);
    case EVENT_CODE:
        return time_wait(r, event) && code_run(r, event);
    }
    return false;
}

static bool run_setup(struct run *r)
{
    const struct script *s = r->script;
    const char *version = script_setting(s, "ip_version");
    const char *tolerance = script_setting(s, "tolerance_usecs");
    const char *local = script_setting(s, "local_ip");
    const char *remote = script_setting(s, "remote_ip");
    bool is_v6 = version != NULL && strcmp(version, "ipv6") == 0;
    char address[64];

    r->family = is_v6 ? 6 : 4;
    r->domain = version == NULL || strcmp(version, "ipv4") == 0 ? AF_INET : AF_INET6;
    r->tolerance_us = tolerance != NULL ? strtol(tolerance, NULL, 10) : TOLERANCE_US;
    r->is_strict = script_setting(s, "strict_segments") != NULL;
    if (local == NULL)
        local = is_v6 ? "fd3d:0a0b:17d6::1" : "192.168.0.1";
    if (remote == NULL)
        remote = is_v6 ? "2001:db8::1" : "192.0.2.1";
    (void)snprintf(address, sizeof(address), "%.*s", (int)strcspn(remote, "/"), remote);
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, local, r->local) != 1 ||
        inet_pton(is_v6 ? AF_INET6 : AF_INET, address, r->remote) != 1)
        return script_fail(r->error, 0, "not an address: %s or %s", local, remote);
    return true;
}

bool run_script(const struct script *s, void (*init)(const char *, struct packetdrill_interface *),
                struct script_error *e)
{
    struct run *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return script_fail(e, 0, "out of memory");
    r->script = s;
    r->error = e;
    r->tcp_fd = -1;
    bool is_ok = run_setup(r);
    init(script_setting(s, "so_flags"), &r->ifc);
    if (r->ifc.userdata == NULL)
        is_ok = script_fail(e, 0, "the stack refused to start");
    if (is_ok)
        r->start_us = run_now_us(r);
    for (int i = 0; i < s->event_count && is_ok; i++) {
        is_ok = event_run(r, &s->events[i]);
        r->offset_us = is_ok ? script_now_us(r) : r->offset_us;
    }
    if (is_ok)
        is_ok = worker_finish(r);
    if (!is_ok && r->has_worker && !__atomic_load_n(&r->is_worker_done, __ATOMIC_ACQUIRE))
        return false; /* its thread still uses both: left to the end of the process */
    if (r->has_worker)
        pthread_join(r->worker, NULL);
    if (r->ifc.userdata != NULL)
        r->ifc.free(r->ifc.userdata);
    free(r);
    return is_ok;
}
