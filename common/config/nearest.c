#include "common/config/nearest.h"

enum { NAME_MAX_COMPARED = 64 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: rows[0] is the row being filled, rows[1] and rows[2] the ones before.
 */
unsigned nearest_distance(struct bytes a, struct bytes b)
{
    unsigned rows[3][NAME_MAX_COMPARED + 1] = {{0}};

    if (a.size > NAME_MAX_COMPARED)
        a.size = NAME_MAX_COMPARED;
    if (b.size > NAME_MAX_COMPARED)
        b.size = NAME_MAX_COMPARED;
    for (unsigned j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.size; i++) {
        memcpy(rows[2], rows[1], sizeof(rows[0]));
        memcpy(rows[1], rows[0], sizeof(rows[0]));
        rows[0][0] = i;
        for (unsigned j = 1; j <= b.size; j++) {
            unsigned change = a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1;
            unsigned best = least(rows[1][j - 1] + change, least(rows[1][j], rows[0][j - 1]) + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                best = least(best, rows[2][j - 2] + 1);
            rows[0][j] = best;
        }
    }
    return rows[0][b.size];
}

struct nearest nearest_of(struct bytes wanted)
{
    return (struct nearest){.wanted = wanted, .distance = UINT32_MAX};
}

void nearest_offer(struct nearest *n, struct bytes candidate)
{
    unsigned distance = nearest_distance(n->wanted, candidate);

    if (distance >= n->distance)
        return;
    n->distance = distance;
    n->best = candidate;
}
