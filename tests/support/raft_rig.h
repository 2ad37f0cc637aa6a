/* raft_rig.h: one consensus core, driven by hand: events in, the last ready to look at. The node is
 * member 1 of so many; the others are played by the test. raft_check_invariants after each step.
 */
#ifndef TESTS_SUPPORT_RAFT_RIG_H
#define TESTS_SUPPORT_RAFT_RIG_H

#include "raft/raft.h"

enum { RIG_ENTRIES_MAX = 64 };

struct rig {
    struct raft *raft;
    void *memory;
    struct raft_options options;
    struct raft_start start;
    uint64_t now_ms;
    struct raft_ready ready;
    uint64_t seq;         /* of the newest write */
    uint64_t commit_seen; /* the last index handed out */
};

/* Options that a test may change before rig_open: 3 voters, 100 ms, 20 ms, a window of 16. */
struct rig rig_defaults(void);

/* Opens, restores entries whose terms are the digits of `terms`, and gives it a voice. */
void rig_open(struct rig *rig, const char *terms);
void rig_close(struct rig *rig);

enum raft_err rig_step(struct rig *rig, struct raft_event event);
void rig_tick(struct rig *rig, uint64_t after_ms);

/* The newest write is durable. */
void rig_durable(struct rig *rig);

/* A message to the node; `to` is filled in, and `from` when it is 0: member 2. */
enum raft_err rig_receive(struct rig *rig, struct raft_msg msg);

/* An append of entries with these terms, of so many bytes each, and its outcome. */
enum raft_err rig_append(struct rig *rig, uint64_t term, struct raft_pos prev, const char *terms,
                         uint64_t commit, uint32_t size_bytes);

/* Applies all that was handed out, and flushes up to flushed_index. */
void rig_apply(struct rig *rig);
void rig_flush(struct rig *rig, uint64_t flushed_index);

/* Proposes at the next position. */
enum raft_err rig_propose(struct rig *rig, enum raft_entry_type type, uint32_t size_bytes);

/* The same with a configuration. */
enum raft_err rig_propose_config(struct rig *rig, const struct raft_config *config);

/* An append whose entries at the configs' indexes are these configurations. */
enum raft_err rig_append_configs(struct rig *rig, uint64_t term, struct raft_pos prev,
                                 const char *terms, const struct raft_config_at *configs,
                                 uint32_t config_count);

/* A member accepts up to match, rejects what followed prev, or answers a heartbeat round. */
enum raft_err rig_accept(struct rig *rig, uint64_t from, uint64_t match);
enum raft_err rig_reject(struct rig *rig, uint64_t from, uint64_t prev, struct raft_pos hint);
enum raft_err rig_alive(struct rig *rig, uint64_t from, uint64_t round);

/* Makes it the leader of its next term, NOOP proposed and durable. */
void rig_elect(struct rig *rig);

/* The first message of this type in the last ready, to that member (0: to anyone); or NULL. */
const struct raft_msg *rig_message(const struct rig *rig, enum raft_msg_type type, uint64_t to);
const struct raft_msg_append *rig_append_to(const struct rig *rig, uint64_t to);
uint32_t rig_message_count(const struct rig *rig, enum raft_msg_type type);

/* Entries with these terms, from `first` on; release with rig_entries_done. */
void rig_entries(struct raft_entry *entries, uint64_t first, const char *terms,
                 uint32_t size_bytes);
void rig_entries_done(struct raft_entry *entries, const char *terms);

#endif
