/* uring.h - transport over kernel sockets driven by io_uring: the embedded default.
 *
 * Needs Linux 6.1 or later; no root, no hugepages, no DPDK. One per shard. Each shard has its own
 * listening sockets (SO_REUSEPORT), so that the kernel spreads connections over the shards.
 *
 * The ring belongs to the thread that calls uring_new(): every later call is made on it. */
#ifndef DRIVERS_NET_URING_URING_H
#define DRIVERS_NET_URING_URING_H

#include "drivers/net/transport.h"

/* Zeroed members mean the default. */
struct uring_config {
    uint32_t zero_copy_min;          /* bytes; sends of at least this use SEND_ZC; 0: never */
    uint32_t receive_buffers;        /* lent to the kernel, power of two; 1024 */
    uint32_t receive_buffers_parked; /* held by paused streams, at most; 4096 */
    uint32_t receive_buffer_bytes;   /* 8192; a longer datagram is dropped */
    uint32_t unsent_bytes_max;       /* per stream in the kernel, TCP_NOTSENT_LOWAT; 262144 */
};

/* Makes a transport; 'env' is copied, what it points to is borrowed. '*ret' is owned by the caller
 * (ops->free). -ENOSYS, -EPERM, -EINVAL: this kernel has no io_uring, forbids it or is too old;
 * -ENOMEM; -EMFILE. Each is logged with what to do. */
int uring_new(const struct uring_config *config, const struct transport_env *env,
              struct transport **ret);

#endif
