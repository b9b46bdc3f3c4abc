/* path_kernel.h - the kernel's end of an impaired path: a child process in a network namespace of
 * its own, with a TAP device that the parent reads and writes. */
#ifndef BENCH_MICRO_PATH_KERNEL_H
#define BENCH_MICRO_PATH_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PATH_PORT = 9000, PATH_HOSTS_MAX = 4, PATH_FLOWS_MAX = 16 };

/* Shared by all processes: what receivers got, by the last byte of the sender's address. */
struct path_totals {
    uint64_t bytes[PATH_HOSTS_MAX];
};

struct path_kernel {
    pid_t pid;
    int tap;     /* nonblocking; frames without any header */
    int control; /* a byte starts the child's application */
};

/* Starts a child at 10.92.0.'host', link address 02:00:00:00:01:'host', that receives, or sends
 * 'flows' flows to 10.92.0.'to' with CUBIC. 0 or -errno. */
int path_kernel_start(struct path_kernel *k, uint8_t host, uint8_t to, uint32_t flows,
                      struct path_totals *totals);
void path_kernel_go(const struct path_kernel *k);
void path_kernel_stop(struct path_kernel *k);

#endif
