/* spsc.h - bounded lock-free queue of fixed-size items, one producer, one consumer. */
#ifndef COMMON_SPSC_H
#define COMMON_SPSC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spsc;

/* 'capacity' items, a power of two, of 'item_size' bytes. NULL: no memory. Returns owned. */
struct spsc *spsc_new(uint32_t capacity, uint32_t item_size);
void spsc_free(struct spsc **q);
bool spsc_push(struct spsc *q, const void *item); /* false: full */
bool spsc_pop(struct spsc *q, void *ret_item);    /* false: empty */

#endif
