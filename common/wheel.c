#include "common/wheel.h"

#include "common/check.h"

enum { LEVEL_BITS = 8, SLOT_MASK = WHEEL_SLOTS - 1 };
static_assert(WHEEL_SLOTS == 1 << LEVEL_BITS, "slot index is LEVEL_BITS wide");

static const uint64_t TICKS_AHEAD_MAX = ((uint64_t)1 << (LEVEL_BITS * WHEEL_LEVELS)) - 1 -
                                        ((uint64_t)1 << (LEVEL_BITS * (WHEEL_LEVELS - 1)));

void wheel_init(struct wheel *w, uint64_t now_us)
{
    *w = (struct wheel){.tick = now_us >> WHEEL_TICK_SHIFT};
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
}

/* Puts 't' into the lowest level whose range reaches its deadline. */
static void wheel_place(struct wheel *w, struct timer *t)
{
    uint64_t ahead = t->deadline_tick - w->tick;
    unsigned level = 0;

    while (level < WHEEL_LEVELS - 1 && ahead >> (LEVEL_BITS * (level + 1)) != 0)
        level++;
    unsigned slot = (unsigned)(t->deadline_tick >> (LEVEL_BITS * level)) & SLOT_MASK;
    list_push_back(&w->slots[level][slot], &t->link);
    w->occupied[level][slot / 64] |= (uint64_t)1 << (slot % 64);
}

void wheel_arm(struct wheel *w, struct timer *t, uint64_t deadline_us)
{
    /* Rounded up: never early. */
    uint64_t tick = (deadline_us >> WHEEL_TICK_SHIFT) + 1;

    if (tick <= w->tick)
        tick = w->tick + 1;
    if (tick - w->tick > TICKS_AHEAD_MAX)
        tick = w->tick + TICKS_AHEAD_MAX;
    if (timer_is_armed(t))
        list_remove(&t->link);
    else
        w->armed_count++;
    t->deadline_tick = tick;
    wheel_place(w, t);
}

void wheel_cancel(struct wheel *w, struct timer *t)
{
    if (!timer_is_armed(t))
        return;
    list_remove(&t->link);
    w->armed_count--;
}

/* The first tick after w->tick whose slot at 'level' may hold something; UINT64_MAX: none. */
static uint64_t level_next_tick(const struct wheel *w, unsigned level)
{
    uint64_t position = w->tick >> (LEVEL_BITS * level);

    for (unsigned step = 1; step <= WHEEL_SLOTS;) {
        unsigned slot = (unsigned)(position + step) & SLOT_MASK;
        uint64_t word = w->occupied[level][slot / 64] >> (slot % 64);
        if (word != 0) {
            step += (unsigned)__builtin_ctzll(word);
            return step <= WHEEL_SLOTS ? (position + step) << (LEVEL_BITS * level) : UINT64_MAX;
        }
        step += 64 - slot % 64;
    }
    return UINT64_MAX;
}

static uint64_t wheel_next_tick(const struct wheel *w)
{
    uint64_t next = UINT64_MAX;

    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t tick = level_next_tick(w, level);
        if (tick < next)
            next = tick;
    }
    return next;
}

uint64_t wheel_next_us(const struct wheel *w)
{
    if (w->armed_count == 0)
        return UINT64_MAX;
    if (!list_is_empty(&w->slots[0][w->tick & SLOT_MASK])) /* left over from a spent budget */
        return w->tick << WHEEL_TICK_SHIFT;
    uint64_t tick = wheel_next_tick(w);
    return tick == UINT64_MAX ? UINT64_MAX : tick << WHEEL_TICK_SHIFT;
}

/* Takes everything out of one slot into 'out'. */
static void slot_take(struct wheel *w, unsigned level, uint64_t tick, struct list *out)
{
    unsigned slot = (unsigned)(tick >> (LEVEL_BITS * level)) & SLOT_MASK;

    w->occupied[level][slot / 64] &= ~((uint64_t)1 << (slot % 64));
    list_splice(out, &w->slots[level][slot]);
}

/* Moves w->tick to 'tick' and re-places what the higher levels hold for it. */
static void wheel_advance(struct wheel *w, uint64_t tick)
{
    w->tick = tick;
    for (unsigned level = 1; level < WHEEL_LEVELS; level++) {
        if ((tick & (((uint64_t)1 << (LEVEL_BITS * level)) - 1)) != 0)
            return;
        struct list moved;
        list_init(&moved);
        slot_take(w, level, tick, &moved);
        for (struct list *node; (node = list_pop_front(&moved)) != NULL;)
            wheel_place(w, CONTAINER_OF(node, struct timer, link));
    }
}

uint32_t wheel_poll(struct wheel *w, uint64_t now_us, uint32_t budget)
{
    uint64_t target = now_us >> WHEEL_TICK_SHIFT;
    uint32_t fired = 0;

    while (fired < budget) {
        struct list *due = &w->slots[0][w->tick & SLOT_MASK];
        struct list *node = list_pop_front(due);
        if (node != NULL) {
            struct timer *t = CONTAINER_OF(node, struct timer, link);
            w->armed_count--;
            fired++;
            t->fire(t, now_us);
            continue;
        }
        w->occupied[0][(w->tick & SLOT_MASK) / 64] &=
            ~((uint64_t)1 << ((w->tick & SLOT_MASK) % 64));
        if (w->tick >= target)
            break;
        uint64_t next = wheel_next_tick(w);
        wheel_advance(w, next < target ? next : target);
    }
    return fired;
}
