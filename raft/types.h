/* types.h: the plain values that raft/, storage/ and rpc/ share. No behaviour. */
#ifndef RAFT_TYPES_H
#define RAFT_TYPES_H

#include "base/block.h"
#include "base/slice.h"

enum {
    RAFT_MEMBERS_MAX = 16, /* voters and learners, both halves of a joint configuration */
};

/* Names one log entry: no two with the same position differ (Raft §5.3). */
struct raft_pos {
    uint64_t term;
    uint64_t index; /* 1-based; 0: before the first */
};

/* What must be durable before a node acts on it (Raft figure 2). `commit` is a hint that saves
 * work after a restart; it may lag. */
struct raft_hard_state {
    uint64_t term;
    uint64_t vote; /* member id; 0: none in this term */
    uint64_t commit;
};

/* The types of the entry envelope (proto/entry.h). A node stops at one that it does not know. */
enum raft_entry_type {
    RAFT_ENTRY_NOOP = 1,    /* a new leader's first (Raft §8) */
    RAFT_ENTRY_COMMAND = 2, /* for the state machine: holdfastpb.Command */
    RAFT_ENTRY_CONFIG = 3,  /* a membership, in force when applied to the log (Raft §6) */
};

/* One log entry in memory. `bytes` is its canonical encoding (proto/entry.h): the same bytes go
 * to the journal, to the peers and to the log store. They live in `block`, which whoever keeps
 * the entry references. */
struct raft_entry {
    struct raft_pos pos;
    enum raft_entry_type type;
    struct slice bytes;
    struct block *block;
};

/* Indexes [first, last]; empty when first > last. */
struct raft_range {
    uint64_t first;
    uint64_t last;
};

/* The state machine's rolling hash after the entry at `index`: equal on every replica (I5). */
struct raft_state_hash {
    uint64_t index; /* 0: unknown */
    uint64_t hash;
};

/* A configuration is joint while some member is RAFT_VOTER_OUTGOING: what a quorum decides needs a
 * majority of the voters and one of the outgoing voters. When it is left, an outgoing voter that is
 * a voter too or a learner stays as that, and one that is nothing else is removed. */
enum raft_member_role {
    RAFT_VOTER = 1,          /* of the configuration, or of a joint one's new half */
    RAFT_VOTER_OUTGOING = 2, /* of a joint configuration's old half */
    RAFT_LEARNER = 4, /* receives the log, counts in no quorum; no voter, but maybe outgoing */
};

struct raft_member {
    uint64_t id;    /* not 0 */
    unsigned roles; /* enum raft_member_role, ored */
};

struct raft_config {
    uint32_t member_count;
    struct raft_member members[RAFT_MEMBERS_MAX]; /* by id, ascending */
};

/* A configuration and the entry that made it: in force from when that is in the log (Raft §6). */
struct raft_config_at {
    uint64_t index; /* 0: older than what is known of the log */
    struct raft_config config;
};

/* Where a term begins in the log: the term of every index, without the entries. */
struct raft_term_start {
    uint64_t term;
    uint64_t first_index;
};

#endif
