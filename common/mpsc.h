/* mpsc.h - bounded lock-free queue of fixed-size items, many producers, one consumer
 * (D. Vyukov's bounded queue, restricted to one consumer). */
#ifndef COMMON_MPSC_H
#define COMMON_MPSC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mpsc;

/* 'capacity' items, a power of two, of 'item_size' bytes. NULL: no memory. Returns owned. */
struct mpsc *mpsc_new(uint32_t capacity, uint32_t item_size);
void mpsc_free(struct mpsc **q);

/* Copies 'item' in; false: full. Any thread. */
bool mpsc_push(struct mpsc *q, const void *item);

/* Copies the oldest item out; false: empty. The consumer's thread only. */
bool mpsc_pop(struct mpsc *q, void *ret_item);

/* Whether an item is ready; the consumer's thread only. */
bool mpsc_has_item(const struct mpsc *q);

#endif
