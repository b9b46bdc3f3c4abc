/* kernel.h - a persistent tap interface through which the kernel's own network stack shares a port.
 *
 * One queue a shard; a queue is used by its shard alone and never blocks. */
#ifndef DRIVERS_PORT_KERNEL_KERNEL_H
#define DRIVERS_PORT_KERNEL_KERNEL_H

#include "common/bytes.h"

enum { KERNEL_NAME_MAX = 15, KERNEL_ADDRESSES_MAX = 8, KERNEL_QUEUES_MAX = 128 };

struct kernel_address {
    uint8_t addr[16]; /* network order; IPv4 in the first four bytes */
    uint8_t family;   /* 4 or 6 */
    uint8_t prefix_bits;
};

struct kernel_config {
    const char *name; /* of the interface; made when there is none */
    uint8_t mac[6];   /* the port's */
    uint16_t mtu;
    struct kernel_address addresses[KERNEL_ADDRESSES_MAX]; /* added to those it has */
    uint32_t address_count;
};

struct kernel_port;

/* Makes or takes over the interface, sets its addresses and brings it up. '*ret' is owned: close
 * it with kernel_close(). 0; -EINVAL: bad name; -EPERM, -EBUSY, -errno. Each is logged with what
 * to do. */
int kernel_open(const struct kernel_config *config, unsigned queues, struct kernel_port **ret);
/* Closes the queues; the interface stays. Ignores NULL. */
void kernel_close(struct kernel_port **k);

/* Gives the kernel the frame 'head' followed by 'rest' (both borrowed). 0, -EAGAIN: it takes no
 * more now; -errno. */
int kernel_write(struct kernel_port *k, unsigned queue, struct bytes head, struct bytes rest);
/* Takes a frame that the kernel sends. Its size; 0: none waits. */
size_t kernel_read(struct kernel_port *k, unsigned queue, uint8_t *buffer, size_t size);
/* Readable while frames wait. */
int kernel_fd(const struct kernel_port *k, unsigned queue);

#endif
