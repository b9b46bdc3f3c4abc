/* hystart.h - HyStart++ (RFC 9406): when slow start should end. */
#ifndef DATAPLANE_NET_TCP_HYSTART_H
#define DATAPLANE_NET_TCP_HYSTART_H

#include "dataplane/net/tcp/congestion.h"

void hystart_init(struct tcp_hystart *h);

/* By how many bytes the window grows for an acknowledgement in slow start; '*ret_is_over': slow
 * start ends here. */
uint32_t hystart_acked(struct tcp_hystart *h, const struct tcp_ack_sample *sample,
                       bool *ret_is_over);

#endif
