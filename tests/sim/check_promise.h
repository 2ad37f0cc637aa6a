/* check_promise.h: what a member has told others is on its disk (I1, I7).
 *
 * A vote, and how much of the log it has acknowledged, or as a leader counted of its own. Looked at
 * twice: when it is told, against what the core knows durable; and at the member's next start,
 * whatever ended its last life, against what it found on its disk. What a later leader has
 * overwritten meanwhile is no promise any more, nor is what a member says it has lost, and waits to
 * be repaired for; a vote stays one.
 */
#ifndef TESTS_SIM_CHECK_PROMISE_H
#define TESTS_SIM_CHECK_PROMISE_H

#include "raft/types.h"
#include "tests/sim/sim.h"

struct node;

/* Of one host, across its lives. */
struct sim_promise {
    uint64_t member; /* who it was: another disk is another story */
    uint64_t term;   /* of the last vote that it told anybody */
    uint64_t vote;
    struct raft_pos acked;
};

/* After each turn; `node` is open. */
void sim_promise_turn(struct sim_promise *promise, struct sim_host *h, const struct node *node);

/* Its recovery is done, and nothing else. */
void sim_promise_on_start(struct sim_promise *promise, struct sim_host *h, const struct node *node);

#endif
