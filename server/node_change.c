/* Changes of the membership: one at a time, by the leader.
 *
 * A configuration is an entry with the whole membership in it, as the state machine has it right
 * before. So proposals wait until all of the log is applied, for about a round trip, and nothing
 * that members say of themselves can fall between what was read and what is written:
 *   1. entry 7 says which disk member 4 has (I7a), and is not applied yet
 *   2. entry 8 changes the members, made from the state at 6
 *   3. a member that begins with 8 would not know that 4 has a disk, and would believe another.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "proto/pb_arena.h"
#include "server/node_internal.h"

/* ---- whether it may be ---- */

static bool is_active(void *owner, uint64_t id)
{
    struct node *node = owner;
    struct raft_member_progress progress;
    if (id == node->identity.member_id)
        return true;
    return raft_member_progress(node->raft, id, &progress) && progress.active &&
           !progress.repairing;
}

/* Nine tenths of the log, as in etcd (etcd: isLearnerReady). */
static bool learner_is_ready(struct node *node, uint64_t id)
{
    struct raft_member_progress progress;
    uint64_t last = raft_last_pos(node->raft).index;
    return raft_member_progress(node->raft, id, &progress) && progress.active &&
           progress.match >= last - last / 10;
}

static enum etcd_error next_of(struct node *node, const struct member_change_request *request,
                               struct membership *ret_next)
{
    enum etcd_error error =
        membership_change(&node->membership, request->changes, request->change_count,
                          node->options.learners_max, ret_next);
    if (error == ETCD_OK)
        error = membership_change_is_safe(&node->membership, ret_next, is_active, node);
    for (size_t i = 0; i < request->change_count && error == ETCD_OK; i++) {
        const struct member_change *change = &request->changes[i];
        if (change->type == MEMBER_PROMOTE && !learner_is_ready(node, change->id))
            error = ETCD_E_LEARNER_NOT_READY;
    }
    return error;
}

/* etcd: a member's id is a hash of its URLs and the time. */
static void choose_ids(struct node *node, struct member_change_request *request)
{
    for (size_t i = 0; i < request->change_count; i++) {
        struct member_change *change = &request->changes[i];
        if (change->id == 0)
            change->id = membership_member_id(&change->peer, "", node->io->ops->random(node->io));
    }
}

static bool is_busy(const struct node *node)
{
    return node->change.state != NODE_CHANGE_NONE || node->leave_joint_due ||
           membership_is_joint(&node->membership) || membership_is_joint(&node->config.in_force);
}

/* ---- the request ---- */

static void finish(struct node *node, enum etcd_error error)
{
    struct member_change_request *request = node->change.request;
    io_timer_cancel(node->io, &node->change.timer);
    node->change.state = NODE_CHANGE_NONE;
    node->change.request = NULL;
    if (request)
        request->done(request, error);
}

static void on_timeout(void *owner)
{
    struct node *node = owner;
    finish(node, node->requests.leader_was_lost ? ETCD_E_TIMEOUT_LEADER : ETCD_E_TIMEOUT);
}

void node_change_open(struct node *node)
{
    timer_init(&node->change.timer, on_timeout, node);
}

static enum etcd_error begin(struct node *node, struct member_change_request *request)
{
    if (node->has_failed || node->is_leaving)
        return ETCD_E_STOPPED;
    if (node->status.role != RAFT_LEADER)
        return ETCD_E_NOT_LEADER;
    if (is_busy(node))
        return ETCD_E_TOO_MANY_REQUESTS;
    choose_ids(node, request);
    struct membership next;
    membership_init(&next);
    enum etcd_error error = next_of(node, request, &next);
    membership_done(&next);
    uint64_t deadline_ms = io_now_ms(node->io) + node->requests.timeout_ms;
    if (error == ETCD_OK && !io_timer_set(node->io, &node->change.timer, deadline_ms))
        error = ETCD_E_TOO_MANY_REQUESTS;
    return error;
}

void node_change_members(struct node *node, struct member_change_request *request)
{
    enum etcd_error error = begin(node, request);
    if (error != ETCD_OK) {
        request->done(request, error);
        return;
    }
    node->change.request = request;
    node->change.state = NODE_CHANGE_WAITS;
    node_want_turn(node);
}

void node_cancel_change(struct node *node, struct member_change_request *request)
{
    if (node->change.request == request)
        node->change.request = NULL; /* what was proposed goes its way */
    if (node->change.state == NODE_CHANGE_WAITS && !node->change.request)
        finish(node, ETCD_OK);
}

void node_change_fail(struct node *node, enum etcd_error error)
{
    if (node->change.state != NODE_CHANGE_NONE)
        finish(node, error);
}

/* ---- proposing ---- */

static void propose_change(struct node *node)
{
    struct membership next;
    membership_init(&next);
    enum etcd_error error = next_of(node, node->change.request, &next);
    if (error == ETCD_OK) {
        node->change.pos = raft_next_pos(node->raft);
        node->change.state = NODE_CHANGE_PROPOSED;
        if (!node_propose_config(node, &next))
            error = ETCD_E_TOO_MANY_REQUESTS; /* a transfer, or the window is full */
    }
    membership_done(&next);
    if (error != ETCD_OK)
        node_change_fail(node, error);
}

static void propose_leaving(struct node *node)
{
    struct membership next;
    membership_init(&next);
    if (membership_leave_joint(&node->membership, &next) != MEMBERSHIP_OK)
        node_fail(node, EXIT_CODE_FAILURE, "the membership cannot be changed", "out of memory");
    else
        IGNORE(!node_propose_config(node, &next), "still due: in a later turn");
    membership_done(&next);
}

bool node_change_holds(struct node *node)
{
    bool waits = node->change.state == NODE_CHANGE_WAITS;
    if (!waits && !node->leave_joint_due)
        return false;
    if (machine_state(node->machine)->applied.index != raft_last_pos(node->raft).index)
        return true;
    if (node->leave_joint_due)
        propose_leaving(node);
    else
        propose_change(node);
    return false;
}

/* ---- applied ---- */

static void change_on_config(struct node *node, struct raft_pos pos)
{
    struct node_change *change = &node->change;
    if (change->state == NODE_CHANGE_PROPOSED && pos.index >= change->pos.index) {
        if (pos.index != change->pos.index || pos.term != change->pos.term) {
            finish(node, ETCD_E_LEADER_CHANGED); /* another entry stands there */
            return;
        }
        change->state = NODE_CHANGE_LEAVES;
    }
    if (change->state == NODE_CHANGE_LEAVES && !membership_is_joint(&node->membership))
        finish(node, ETCD_OK);
}

void node_change_on_applied(struct node *node, struct raft_pos pos, bool is_config)
{
    if (is_config) {
        node_config_refresh(node);
        node->counters.configs_applied++;
        LOG_INFOF("the membership has changed", log_number("index", pos.index),
                  log_number("members", node->membership.member_count),
                  log_number("joint", membership_is_joint(&node->membership)));
        change_on_config(node, pos);
    } else if (node->change.state == NODE_CHANGE_PROPOSED && pos.index == node->change.pos.index) {
        finish(node, ETCD_E_LEADER_CHANGED);
    }
}
