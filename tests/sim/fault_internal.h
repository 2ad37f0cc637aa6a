/* fault_internal.h: shared by fault*.c alone: one fault of the plan, at work. */
#ifndef TESTS_SIM_FAULT_INTERNAL_H
#define TESTS_SIM_FAULT_INTERNAL_H

#include "server/node.h"
#include "tests/sim/fault.h"

enum { FAULT_CHANGES_MAX = 4 };

/* fault_members.c: a change of the members, or a transfer, that is asked for. */
struct fault_change {
    bool is_under_way;
    bool is_done;
    bool must_succeed; /* a member's disk is gone: another one takes its place */
    uint64_t gone_id;
    struct sim_host *replacement;
    struct member_change_request request;
    struct member_change changes[FAULT_CHANGES_MAX];
    struct node_transfer transfer;
    struct node *node; /* asked */
    uint32_t tries;
};

struct planned {
    struct sim_nemesis *nemesis;
    const struct sim_fault *fault;
    struct prng chance;
    struct event begin;
    struct event step; /* of a fault that grows */
    uint64_t late_us;
    struct event end;
    bool has_begun;
    uint32_t nodes;  /* whom it struck in the end */
    uint64_t *links; /* those that it blocked: bits, a word a host */
    struct fault_change change;
    uint32_t stage; /* fault_snapshot.c */
};

struct sim_nemesis {
    struct sim *sim;
    struct sim_plan plan;
    struct planned planned[SIM_FAULTS_MAX];
};

/* fault.c */
struct sim_host *fault_host(const struct planned *p, uint32_t i);
uint32_t fault_node_count(const struct planned *p);
bool fault_strikes(const struct planned *p, uint32_t i);
struct sim_host *fault_leader(const struct planned *p); /* NULL: nobody leads */
void fault_block(struct planned *p, uint32_t from, uint32_t to);
void fault_block_both(struct planned *p, uint32_t a, uint32_t b);
void fault_unblock_all(struct planned *p);

/* fault_damage.c */
void fault_damage(struct planned *p, struct sim_host *h);

/* Whether a minority of the voters would be hurt at most, of the members in `next` (NULL: of all
 * that some node goes by) and with h hurt, too (NULL: nobody more). */
bool fault_may_hurt(const struct planned *p, const struct sim_host *h,
                    const struct raft_config *next);

/* fault_snapshot.c */
void fault_snapshot_begin(struct planned *p);
void fault_snapshot_on_step(struct planned *p);

/* fault_members.c */
void fault_change_init(struct planned *p);
void fault_change_begin(struct planned *p);
void fault_change_on_step(struct planned *p);
void fault_change_cancel(struct planned *p);
bool fault_change_goes_on(const struct planned *p); /* after its time */

#endif
