/* device.h - a port for tests of steering: its frames are made by a function, what it sends is
 * shown to another. Every frame must be given back once. */
#ifndef TESTS_UNIT_DATAPLANE_NET_STEER_DEVICE_H
#define TESTS_UNIT_DATAPLANE_NET_STEER_DEVICE_H

#include "drivers/port/port.h"

enum { DEVICE_BUFFERS = 2048, DEVICE_BUFFER_BYTES = 128, DEVICE_QUEUES_MAX = 2 };

struct device_queue {
    struct port_queue base;
    bool is_taken[DEVICE_BUFFERS];
    uint8_t buffers[DEVICE_BUFFERS][DEVICE_BUFFER_BYTES];
    unsigned taken;
    uint8_t header[PORT_HEADER_MAX];
    unsigned flushes;
};

struct device {
    struct port base;
    struct port_info info;
    struct device_queue queues[DEVICE_QUEUES_MAX];
    bool is_closed;
    bool is_out_of_buffers; /* for sending */
    /* Writes the next frame that comes out of 'queue'; its size, 0: none now. */
    size_t (*receive)(void *user, unsigned queue, uint8_t frame[static DEVICE_BUFFER_BYTES]);
    void (*send)(void *user, unsigned queue, const uint8_t *frame, size_t size);
    void *user;
};

/* 'd' is the caller's, with receive and send to be set. */
void device_init(struct device *d, unsigned queues);

/* A frame between two endpoints (192.0.2.1 and 198.51.100.x); its size. */
size_t device_frame(uint8_t frame[static DEVICE_BUFFER_BYTES], uint8_t protocol, uint8_t host,
                    uint16_t peer_port, uint32_t mark);
uint32_t device_frame_mark(const uint8_t *frame);

#endif
