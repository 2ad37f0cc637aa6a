/* core.h: a consensus core behind the fuzzed messages, and a caller that keeps the contract of
 * raft.h whatever the peers say: member 1 of up to five. Invariants are checked after each step. */
#ifndef TESTS_FUZZ_CORE_H
#define TESTS_FUZZ_CORE_H

#include "tests/support/raft_rig.h"

/* What a core starts as: a configuration, and bits. */
enum core_start {
    CORE_START_VOTERS = 0,       /* {1,2,3} */
    CORE_START_JOINT = 1,        /* {1,2,3} on its way to {1,2,4} */
    CORE_START_LEARNERS = 2,     /* {1,2}, and 3 and 4 learn */
    CORE_START_LEARNS = 3,       /* {2,3}, and 1 learns */
    CORE_START_REMOVED = 4,      /* {2,3}, of which 1 is none */
    CORE_START_ALONE = 5,        /* {1} */
    CORE_START_KNOWS_NOBODY = 6, /* it joins */
    CORE_START_CONFIGS = 7,

    CORE_START_REPAIR = 8, /* it awaits repair */
    CORE_START_CUT = 16,   /* the log begins at 3, and 3 is in the log store */
    CORE_START_NO_PRE_VOTE = 32,
};

struct core {
    struct rig rig;
    uint64_t applied;
    uint64_t flushed;
    struct raft_fetch fetches[RAFT_MEMBERS_MAX]; /* not answered yet, one a member */
    uint32_t fetch_count;
    bool noop_is_due;
};

/* Of any byte: enum core_start. */
void core_open(struct core *c, uint8_t start);
void core_close(struct core *c);

enum core_event_kind {
    CORE_TIME,
    CORE_DURABLE,
    CORE_APPLIED,
    CORE_FLUSHED,
    CORE_PROPOSE,
    CORE_FETCHED,
    CORE_LINK,
    CORE_STARTED,
    CORE_READ,
    CORE_TICK,
    CORE_TRANSFER,
    CORE_SNAPSHOT_SENT,
    CORE_SNAPSHOT_INSTALLED,
    CORE_PROPOSE_CONFIG,
    CORE_EVENTS,
};

/* What happens on this node: time, the disk, clients, links. Any kind, any argument. */
void core_event(struct core *c, uint8_t kind, uint8_t argument);

/* False: impossible. */
bool core_message(struct core *c, const struct raft_msg *msg);

/* A configuration near the one in force, or far from it, or none at all: the pick says which. */
struct raft_config core_config(const struct core *c, uint8_t pick);

#endif
