/* nearest.h - which of several names a mistyped one was meant to be. */
#ifndef COMMON_CONFIG_NEAREST_H
#define COMMON_CONFIG_NEAREST_H

#include "common/bytes.h"

/* Edits (insert, delete, change, or swap of two neighbours) from 'a' to 'b'; names longer than 64
 * bytes are compared by their first 64. */
unsigned nearest_distance(struct bytes a, struct bytes b);

struct nearest {
    struct bytes wanted;
    struct bytes best; /* empty: none offered yet; borrowed from the offer */
    unsigned distance;
};

struct nearest nearest_of(struct bytes wanted);

/* Keeps 'candidate' if it is nearer than what was offered before. */
void nearest_offer(struct nearest *n, struct bytes candidate);

#endif
