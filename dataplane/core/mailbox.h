/* mailbox.h - bounded many-to-one queue of small messages to a shard. */
#ifndef DATAPLANE_CORE_MAILBOX_H
#define DATAPLANE_CORE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/mpsc.h"

struct shard;

/* Copied in and out. 'handle' runs on the receiving shard and borrows the message. */
struct message {
    void (*handle)(struct shard *s, const struct message *m);
    uint64_t args[7];
};

struct mailbox {
    struct mpsc *queue;
    int event_fd;
    atomic_bool is_asleep; /* the receiver is in epoll, or about to be */
};

/* 'capacity' messages, a power of two. 0 or -errno. */
int mailbox_init(struct mailbox *box, uint32_t capacity);
void mailbox_fini(struct mailbox *box);

/* Any thread. -ENOBUFS: full. Wakes the receiver when it sleeps. */
int mailbox_post(struct mailbox *box, const struct message *m);

/* Any thread: wakes the receiver when it sleeps, or is about to without having seen what the
 * caller wrote before. */
void mailbox_wake(struct mailbox *box);

/* Receiver only. */
bool mailbox_take(struct mailbox *box, struct message *ret_message);
/* Returns false when a message came in meanwhile: do not sleep. */
bool mailbox_prepare_sleep(struct mailbox *box);
void mailbox_awake(struct mailbox *box);

#endif
