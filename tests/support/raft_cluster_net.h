/* raft_cluster_net.h: the cluster's own machinery, shared by its files. */
#ifndef TESTS_SUPPORT_RAFT_CLUSTER_NET_H
#define TESTS_SUPPORT_RAFT_CLUSTER_NET_H

#include "tests/support/raft_cluster.h"

void cluster_later(struct cluster *c, struct cluster_event event);
struct cluster_event cluster_pop(struct cluster *c);

void cluster_send(struct cluster *c, const struct raft_msg *msg);
void cluster_message_done(struct raft_msg *msg);

/* Starts the write that a ready asks for. */
void cluster_write(struct cluster *c, struct cluster_node *n, const struct raft_ready *ready);

/* Writes up to seq reach the disk, by chance some later ones with them; returns the newest, 0:
 * none was left. */
uint64_t cluster_writes_land(struct cluster *c, struct cluster_node *n, uint64_t seq);

/* A crash: by chance a prefix of the writes under way reaches the disk. */
void cluster_writes_lose(struct cluster *c, struct cluster_node *n);

void cluster_disk_append(struct cluster_disk *disk, const struct raft_entry *entry);

#endif
