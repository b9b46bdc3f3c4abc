/* node.h - one data plane: the shards, what they share, and what each of them runs.
 *
 *   node_new()    memory taken, port opened, nothing runs
 *   node_start()  every shard's thread is up and listening
 *   node_stop()   all threads have ended
 *   node_free()   everything returned
 */
#ifndef DATAPLANE_NODE_H
#define DATAPLANE_NODE_H

#include <stdbool.h>

struct config;
struct node;

enum net_mode { NET_MODE_URING, NET_MODE_DPDK };

/* 'auto' becomes dpdk when a port device is configured, else uring; '*ret_why' (static text) tells
 * why. -EINVAL: no such mode, or dpdk without port.device. */
int node_choose_mode(const struct config *config, enum net_mode *ret_mode, const char **ret_why);

/* 'config' and 'run_dir' are borrowed for the node's life. Errors are logged; 0 or -errno. */
int node_new(const struct config *config, enum net_mode mode, const char *run_dir,
             struct node **ret_node);

/* 0; -errno of the first shard that could not start (logged), with all threads ended again. */
int node_start(struct node *n);
void node_stop(struct node *n);
void node_free(struct node **n);

#endif
