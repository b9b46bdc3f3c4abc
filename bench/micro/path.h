/* path.h - transfers over an impaired path, in real time: our stack, or Linux's, at either end.
 *
 * The relay is the simulated wire of drivers/port/sim, driven by the clock: loss, delay,
 * reordering, rate and queue, from a seed. A kernel end is a child process in a network namespace
 * of its own whose TAP device the relay joins to the wire; our stack sits on the wire itself. */
#ifndef BENCH_MICRO_PATH_H
#define BENCH_MICRO_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct path_options {
    bool is_sender_linux;
    bool is_receiver_linux;
    bool has_contender;     /* a Linux sender beside the other, through the same bottleneck */
    const char *congestion; /* of our end; NULL: the standard one */
    uint32_t rtt_us;        /* half of it each way */
    uint32_t loss_ppm;      /* of what senders send; acknowledgements pass */
    uint32_t reorder_ppm;
    uint64_t rate_bps;
    uint32_t flows; /* of each sender */
    uint32_t seconds;
    uint64_t seed;
};

/* Runs the transfer and writes one JSON object to 'out'. 0 or -errno (said on stderr). Needs
 * root for namespaces when a kernel end is asked for. */
int path_run(const struct path_options *options, FILE *out);

#endif
