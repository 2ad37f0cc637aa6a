/* Leadership handed over: on request, and before this node stops (thesis §3.10). */
#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"

enum { TRANSFERS_MAX = 64 };

static bool begin(struct node *node, uint64_t to)
{
    struct raft_event event = { .type = RAFT_EV_TRANSFER, .transfer = { .to = to } };
    return node_step(node, &event);
}

/* ---- on request ---- */

static void finish(struct node_transfer *transfer, enum etcd_error error)
{
    struct node *node = transfer->node;
    io_timer_cancel(node->io, &transfer->timer);
    list_remove(&transfer->link);
    node->transfer_count--;
    transfer->node = NULL;
    transfer->done(transfer, error);
}

static void on_timeout(void *owner)
{
    finish(owner, ETCD_E_TIMEOUT_TRANSFER);
}

/* etcd: MoveLeader, errors and their order. */
static enum etcd_error check(const struct node *node, uint64_t to)
{
    if (node->has_failed || node->is_leaving)
        return ETCD_E_STOPPED;
    if (node->status.role != RAFT_LEADER)
        return ETCD_E_NOT_LEADER;
    const struct membership_member *member = membership_by_id(&node->config.in_force, to);
    if (!member || !(member->roles & (RAFT_VOTER | RAFT_VOTER_OUTGOING)))
        return ETCD_E_BAD_TRANSFEREE;
    return node->transfer_count == TRANSFERS_MAX ? ETCD_E_TOO_MANY_REQUESTS : ETCD_OK;
}

void node_transfer(struct node *node, struct node_transfer *transfer)
{
    enum etcd_error error = check(node, transfer->to);
    if (error != ETCD_OK || transfer->to == node->identity.member_id) {
        transfer->done(transfer, error);
        return;
    }
    /* The core gives up after one election timeout; then the target may still be at it. */
    uint64_t deadline_ms = io_now_ms(node->io) + 2ull * node->options.election_timeout_ms;
    timer_init(&transfer->timer, on_timeout, transfer);
    if (!io_timer_set(node->io, &transfer->timer, deadline_ms)) {
        transfer->done(transfer, ETCD_E_TOO_MANY_REQUESTS);
        return;
    }
    transfer->node = node;
    list_init(&transfer->link);
    list_push_back(&node->transfers, &transfer->link);
    node->transfer_count++;
    if (!begin(node, transfer->to))
        finish(transfer, ETCD_E_BAD_TRANSFEREE);
}

void node_cancel_transfer(struct node *node, struct node_transfer *transfer)
{
    if (!transfer->node)
        return;
    ASSERT(transfer->node == node);
    io_timer_cancel(node->io, &transfer->timer);
    list_remove(&transfer->link);
    node->transfer_count--;
    transfer->node = NULL;
}

static void finish_all(struct node *node, uint64_t leader, enum etcd_error error)
{
    struct list ended;
    list_init(&ended);
    for (struct list *at = node->transfers.next; at != &node->transfers;) {
        struct node_transfer *transfer = LIST_ENTRY(at, struct node_transfer, link);
        at = at->next;
        if (leader != 0 && transfer->to != leader)
            continue;
        list_remove(&transfer->link);
        list_push_back(&ended, &transfer->link);
    }
    while (!list_is_empty(&ended))
        finish(LIST_ENTRY(ended.next, struct node_transfer, link), error);
}

void node_transfer_fail_all(struct node *node)
{
    if (node->transfer_count > 0) /* and the list is made */
        finish_all(node, 0, ETCD_E_STOPPED);
}

/* ---- before the end ---- */

/* Not from within a step: the timer's turn closes. */
static void leave_now(struct node *node)
{
    if (!io_timer_set(node->io, &node->leave_timer, io_now_ms(node->io)))
        node_fail(node, EXIT_CODE_FAILURE, "a timer cannot be set", "out of memory");
}

static void on_leave_timer(void *owner)
{
    node_close_parts(owner);
}

void node_transfer_open(struct node *node)
{
    list_init(&node->transfers);
    timer_init(&node->leave_timer, on_leave_timer, node);
}

void node_leave(struct node *node)
{
    uint64_t deadline_ms = io_now_ms(node->io);
    if (!node->has_failed && node->status.role == RAFT_LEADER && begin(node, 0)) {
        LOG_INFOF("handing leadership over before this node stops");
        deadline_ms += node->options.election_timeout_ms;
    }
    if (!io_timer_set(node->io, &node->leave_timer, deadline_ms))
        on_leave_timer(node);
}

void node_transfer_on_status(struct node *node, struct raft_status before)
{
    uint64_t leader = node->status.leader;
    if (leader == 0 || leader == before.leader)
        return;
    if (leader != node->identity.member_id) {
        if (node->transfer_count > 0 || node->is_leaving)
            node->counters.transfers++;
        finish_all(node, leader, ETCD_OK);
        if (node->is_leaving && node->closing_parts == 0)
            leave_now(node);
    }
}
