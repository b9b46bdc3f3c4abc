/* methods.h - what the control socket's clients can call; 'user' is the struct daemon.
 *
 *   status                          the processes, the link, the listeners
 *   channels                        configured and live channels
 *   counters                        the data plane's counters
 *   stop {leave_dataplane: bool}    end leatd, and leat-dp unless it is to be left
 */
#ifndef CONTROL_API_METHODS_H
#define CONTROL_API_METHODS_H

#include "control/api/rpc.h"

extern const struct rpc_method api_methods[];

#endif
