/* check_internal.h: shared by check*.c alone. */
#ifndef TESTS_SIM_CHECK_INTERNAL_H
#define TESTS_SIM_CHECK_INTERNAL_H

#include "base/map.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/check_promise.h"
#include "tests/sim/host.h"

enum {
    CHECK_MEMBERS_MAX = 128, /* of a run, those that were removed counted */
    CHECK_VOTES = 16,        /* a member's newest */
};

/* One index of the log that everybody shares. */
struct applied {
    uint64_t term;
    uint64_t sum;  /* of the entry's bytes */
    uint64_t hash; /* the state after it; 0: nobody's was seen */
    uint64_t by;   /* the term in which somebody first applied it: committed in that or before */
};

struct node_view {
    bool is_known;
    enum raft_role role;
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    int64_t revision;
    uint32_t turns;
};

/* What a member has promised, in all its lives. */
struct check_member {
    uint64_t id;
    uint64_t *terms; /* of what it has held durably while it was whole; 0: not that it was seen */
    uint64_t terms_capacity;
    uint64_t base;  /* all up to it: by a snapshot */
    uint64_t up_to; /* of this life */
    struct {
        uint64_t term;
        uint64_t vote;
    } votes[CHECK_VOTES];
    uint32_t vote_count;
};

struct sim_check {
    struct sim *sim;
    struct map leaders; /* term -> host index + 1 */
    struct applied *log;
    uint64_t log_count;
    uint64_t log_capacity;
    struct node_view nodes[SIM_NODES_MAX];
    struct raft_config config; /* as of log_count; without members: not seen yet */
    struct sim_promise promises[SIM_NODES_MAX];
    struct check_member members[CHECK_MEMBERS_MAX];
    uint32_t member_count;
};

/* check_quorum.c */
void check_config_learn(struct sim_check *check, const struct raft_config *config);
void check_promises(struct sim_host *h, struct node *node, bool is_first);
void check_commit(struct sim_host *h, uint64_t index, uint64_t term);
void check_election(struct sim_host *h, const struct node *node);
void check_quorum_done(struct sim_check *check);

#endif
