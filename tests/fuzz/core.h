/* core.h: a consensus core behind the fuzzed messages, and a caller that keeps the contract of
 * raft.h whatever the peers say: member 1 of 3. Invariants are checked after each step. */
#ifndef TESTS_FUZZ_CORE_H
#define TESTS_FUZZ_CORE_H

#include "tests/support/raft_rig.h"

struct core {
    struct rig rig;
    uint64_t applied;
    uint64_t flushed;
    struct raft_fetch fetches[RAFT_MEMBERS_MAX]; /* not answered yet */
    uint32_t fetch_count;
    bool noop_is_due;
};

void core_open(struct core *c);
void core_close(struct core *c);

/* What happens on this node: time, the disk, clients, links. Any kind, any argument. */
void core_event(struct core *c, uint8_t kind, uint8_t argument);

/* False: impossible. */
bool core_message(struct core *c, const struct raft_msg *msg);

#endif
