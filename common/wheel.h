/* wheel.h - hierarchical timing wheel: arm and cancel in O(1).
 *
 * Four levels of 256 slots, one tick of 128 us at the lowest: deadlines up to 6 days ahead,
 * later ones are clamped. A timer never fires early and at most one tick late, plus the
 * caller's polling interval. One thread. A zeroed timer is disarmed. */
#ifndef COMMON_WHEEL_H
#define COMMON_WHEEL_H

#include "common/list.h"

#include <stdint.h>

enum { WHEEL_LEVELS = 4, WHEEL_SLOTS = 256, WHEEL_TICK_SHIFT = 7 };

struct timer {
    struct list link;
    uint64_t deadline_tick;
    void (*fire)(struct timer *t, uint64_t now_us); /* disarmed before; may re-arm or free it */
};

struct wheel {
    uint64_t tick; /* everything up to and including it has fired */
    uint32_t armed_count;
    uint64_t occupied[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* bit set: slot may hold timers */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_us);

static inline bool timer_is_armed(const struct timer *t)
{
    return list_is_linked(&t->link);
}

/* Arms 't', or moves it when already armed. A deadline in the past fires at the next poll. */
void wheel_arm(struct wheel *w, struct timer *t, uint64_t deadline_us);

/* Does nothing when 't' is not armed. */
void wheel_cancel(struct wheel *w, struct timer *t);

/* Fires at most 'budget' due timers; returns how many fired. */
uint32_t wheel_poll(struct wheel *w, uint64_t now_us, uint32_t budget);

/* When wheel_poll() next has something to do, in us; UINT64_MAX when nothing is armed. May be
 * earlier than the first deadline (a cascade), never later. */
uint64_t wheel_next_us(const struct wheel *w);

#endif
