#include "dataplane/core/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *box, uint32_t capacity)
{
    box->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (box->event_fd < 0)
        return -errno;
    box->queue = mpsc_new(capacity, sizeof(struct message));
    if (box->queue == NULL) {
        close(box->event_fd);
        return -ENOMEM;
    }
    atomic_init(&box->is_asleep, false);
    return 0;
}

void mailbox_fini(struct mailbox *box)
{
    if (box->queue == NULL)
        return;
    mpsc_free(&box->queue);
    close(box->event_fd);
}

int mailbox_post(struct mailbox *box, const struct message *m)
{
    if (!mpsc_push(box->queue, m))
        return -ENOBUFS;
    mailbox_wake(box);
    return 0;
}

void mailbox_wake(struct mailbox *box)
{
    /* Sequentially consistent, with mailbox_prepare_sleep: either the receiver sees what we wrote
     * before it sleeps, or we see that it is about to. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&box->is_asleep, memory_order_relaxed)) {
        uint64_t one = 1;
        ssize_t written = write(box->event_fd, &one, sizeof(one));
        (void)written; /* EAGAIN: it is readable already, which is all we want */
    }
}

bool mailbox_take(struct mailbox *box, struct message *ret_message)
{
    return mpsc_pop(box->queue, ret_message);
}

bool mailbox_prepare_sleep(struct mailbox *box)
{
    atomic_store_explicit(&box->is_asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with mailbox_post */
    if (!mpsc_has_item(box->queue))
        return true;
    atomic_store_explicit(&box->is_asleep, false, memory_order_relaxed);
    return false;
}

void mailbox_awake(struct mailbox *box)
{
    uint64_t count;

    atomic_store_explicit(&box->is_asleep, false, memory_order_relaxed);
    ssize_t got = read(box->event_fd, &count, sizeof(count));
    (void)got; /* EAGAIN: something else woke us */
}
