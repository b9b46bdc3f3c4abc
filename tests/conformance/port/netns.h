/* netns.h - a network namespace of the test process's own, with a kernel end ("leatk") whose other
 * end is a tap or a veth. It goes with the process: the host's network is not touched. */
#ifndef TESTS_CONFORMANCE_PORT_NETNS_H
#define TESTS_CONFORMANCE_PORT_NETNS_H

#include <stdbool.h>

/* Moves the process into a new namespace. False: not permitted. */
bool netns_enter(void);

/* A veth "leatk" - "leatd", transmit offloads off, both up. */
bool netns_make_veth(void);

/* Gives "leatk" 10.99.0.1/24 and fd99::1/64 and brings it up. */
bool netns_configure(void);

#endif
