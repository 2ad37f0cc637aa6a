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

/* All of them, now. */
uint64_t cluster_writes_finish(struct cluster_node *n);

void cluster_disk_append(struct cluster_disk *disk, const struct raft_entry *entry);
void cluster_disk_truncate(struct cluster_disk *disk, uint64_t last);
void cluster_disk_forget_past(struct cluster_disk *disk);
void cluster_disk_free(struct cluster_disk *disk);

/* ---- raft_cluster_snapshot.c ---- */

void cluster_snapshot_begin(struct cluster *c, struct cluster_node *n, uint64_t to);
void cluster_on_snapshot(struct cluster *c, const struct cluster_snapshot *snapshot);
void cluster_on_snapshot_sent(struct cluster *c, struct cluster_node *n,
                              const struct cluster_snapshot *snapshot);
uint64_t cluster_hash_at(const struct cluster *c, uint64_t index);

/* Makes an entry; its bytes begin with the value's number. */
struct raft_entry cluster_entry_new(struct raft_pos pos, enum raft_entry_type type, uint64_t value,
                                    uint32_t size_bytes);
uint64_t cluster_extend_hash(uint64_t hash, const struct raft_entry *entry);
bool cluster_happens(struct cluster *c, uint32_t permille);

#endif
