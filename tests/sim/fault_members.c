/* Changes of the members and transfers of leadership, through the node's own interface, asked of
 * whoever leads, again until one succeeds or the time is over.
 *
 * A host that was spare joins as soon as it is asked for, before or after its member is added; one
 * whose member was never added is tried again by the next change.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/fault_internal.h"

enum { AGAIN_US = 250000, JOIN_LATER_US = 1500000, VOTERS_MIN = 2 };

static uint32_t voter_count(const struct raft_config *config)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->member_count; i++)
        count += (config->members[i].roles & RAFT_VOTER) != 0;
    return count;
}

static struct sim_host *host_of(const struct planned *p, uint64_t id)
{
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        struct sim_host *h = fault_host(p, i);
        if (h->is_used && h->member_id == id)
            return h;
    }
    return NULL;
}

static bool is_chosen(const struct planned *p, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (p->change.changes[i].id == id)
            return true;
    }
    return false;
}

/* One of the members with this role whom no other part of the change is about; 0: none. */
static uint64_t member_pick(struct planned *p, size_t count, unsigned roles)
{
    const struct raft_config *config = sim_check_config(p->nemesis->sim);
    uint64_t ids[RAFT_MEMBERS_MAX];
    uint32_t id_count = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        if ((config->members[i].roles & roles) && !is_chosen(p, count, config->members[i].id))
            ids[id_count++] = config->members[i].id;
    }
    return id_count > 0 ? ids[prng_below(&p->chance, id_count)] : 0;
}

static struct membership_urls urls_of(const struct sim_host *h, bool both, uint32_t first)
{
    struct membership_urls urls = { .count = both ? SIM_PEER_PORTS : 1 };
    for (uint32_t i = 0; i < urls.count; i++)
        urls.urls[i] = h->peer_urls[both ? i : first % SIM_PEER_PORTS];
    return urls;
}

/* ---- who joins ---- */

static uint64_t cluster_id(const struct planned *p)
{
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        const struct node *node = sim_host_node(fault_host(p, i));
        if (node)
            return node->identity.cluster_id;
    }
    return 0;
}

static void join_begin(struct planned *p, struct sim_host *h)
{
    uint64_t cluster = cluster_id(p);
    if (cluster == 0)
        return;
    sim_host_adopt(h, cluster, prng_next(&p->chance) | 1);
    sim_host_start_later(h, prng_below(&p->chance, JOIN_LATER_US));
}

/* Added and removed before it was met: somebody has to look after it. */
static void retire_unmet(struct sim_host *h)
{
    const struct node *node = sim_host_node(h);
    if (!node || node->membership.member_count > 0 || !sim_check_was_removed(h->sim, h->member_id))
        return;
    sim_host_kill(h);
    if (!h->proc)
        sim_host_retire(h);
}

/* One that waits to be added, or a spare one. NULL: all hosts are taken. */
static struct sim_host *host_to_add(struct planned *p, size_t count)
{
    struct sim *sim = p->nemesis->sim;
    struct sim_host *spare = NULL;
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        struct sim_host *h = fault_host(p, i);
        retire_unmet(h);
        bool waits = h->is_used && h->join.cluster_id != 0 &&
                     !sim_check_is_member(sim, h->member_id) &&
                     !sim_check_was_removed(sim, h->member_id);
        if (waits && !is_chosen(p, count, h->member_id))
            return h;
        if (!h->is_used && !h->proc && h->has_power)
            spare = h;
    }
    if (spare)
        join_begin(p, spare);
    return spare && spare->is_used ? spare : NULL;
}

/* ---- what to ask for ---- */

static bool part_make(struct planned *p, size_t at, enum member_change_type type)
{
    struct member_change *c = &p->change.changes[at];
    struct sim_host *h;
    *c = (struct member_change){ .type = type };
    switch (type) {
    case MEMBER_ADD_LEARNER:
    case MEMBER_ADD_VOTER:
        h = host_to_add(p, at);
        c->id = h ? h->member_id : 0;
        if (h)
            c->peer = urls_of(h, false, 0);
        break;
    case MEMBER_PROMOTE:
        c->id = member_pick(p, at, RAFT_LEARNER);
        break;
    case MEMBER_DEMOTE:
        c->id = member_pick(p, at, RAFT_VOTER);
        break;
    case MEMBER_REMOVE:
        c->id = member_pick(p, at, RAFT_VOTER | RAFT_LEARNER);
        break;
    case MEMBER_SET_PEER_URLS:
        c->id = member_pick(p, at, RAFT_VOTER | RAFT_LEARNER);
        h = host_of(p, c->id);
        if (h)
            c->peer = urls_of(h, p->fault->size % 3 == 0, (uint32_t)p->fault->size);
        else
            c->id = 0;
        break;
    }
    return c->id != 0;
}

static void joint_make(struct planned *p)
{
    struct fault_change *c = &p->change;
    size_t wanted = 2 + p->fault->size % (FAULT_CHANGES_MAX - 1);
    size_t count = 0;
    for (size_t i = 0; i < wanted; i++) {
        static const enum member_change_type types[] = { MEMBER_ADD_LEARNER, MEMBER_ADD_VOTER,
                                                         MEMBER_PROMOTE,     MEMBER_DEMOTE,
                                                         MEMBER_REMOVE,      MEMBER_ADD_VOTER,
                                                         MEMBER_PROMOTE,     MEMBER_REMOVE };
        count += part_make(p, count, types[prng_below(&p->chance, 8)]);
    }
    c->request.change_count = count;
}

/* A member loses its disk, and in one change another one takes its place. */
static void replace_make(struct planned *p)
{
    struct fault_change *c = &p->change;
    struct sim_host *h;
    if (!c->must_succeed) {
        for (uint32_t i = 0; i < fault_node_count(p) && c->gone_id == 0; i++) {
            h = fault_host(p, i);
            if (!h->proc && h->is_used && (h->hurt == HURT_VOTE || h->hurt == HURT_BLANK))
                c->gone_id = h->member_id;
        }
        if (c->gone_id == 0)
            c->gone_id = member_pick(p, 0, RAFT_VOTER);
        h = host_of(p, c->gone_id);
        if (!h || !h->has_power || (h->hurt == HURT_NOT && !fault_may_hurt(p, h, NULL)))
            return;
        sim_host_kill(h);
        if (h->proc)
            return;
        sim_trace_line(h->sim, "%s is lost, and is to be replaced", h->name);
        sim_host_retire(h);
        join_begin(p, h);
        c->must_succeed = true;
        c->replacement = h;
    }
    h = c->replacement;
    if (!h->is_used)
        return;
    c->changes[0] = (struct member_change){ .type = MEMBER_REMOVE, .id = c->gone_id };
    c->changes[1] = (struct member_change){
        .type = p->fault->size % 2 ? MEMBER_ADD_VOTER : MEMBER_ADD_LEARNER,
        .id = h->member_id,
        .peer = urls_of(h, false, 0),
    };
    c->request.change_count = 2;
}

static void change_make(struct planned *p)
{
    struct fault_change *c = &p->change;
    enum sim_fault_kind kind = p->fault->kind;
    enum member_change_type type = MEMBER_SET_PEER_URLS;
    c->request.change_count = 0;
    if (kind == FAULT_MEMBER_JOINT) {
        joint_make(p);
        return;
    }
    if (kind == FAULT_MEMBER_REPLACE) {
        replace_make(p);
        return;
    }
    if (kind == FAULT_MEMBER_ADD)
        type = p->fault->size % 3 ? MEMBER_ADD_LEARNER : MEMBER_ADD_VOTER;
    else if (kind == FAULT_MEMBER_PROMOTE)
        type = MEMBER_PROMOTE;
    else if (kind == FAULT_MEMBER_DEMOTE)
        type = MEMBER_DEMOTE;
    else if (kind == FAULT_MEMBER_REMOVE)
        type = MEMBER_REMOVE;
    c->request.change_count = part_make(p, 0, type);
    const struct sim_host *leader = fault_leader(p);
    bool of_leader = kind == FAULT_MEMBER_REMOVE || kind == FAULT_MEMBER_DEMOTE;
    if (of_leader && p->fault->size % 3 == 0 && leader && c->request.change_count > 0)
        c->changes[0].id = leader->member_id;
}

/* An operator who keeps what the design asks for. */
static bool is_allowed(const struct planned *p, const struct node *node)
{
    const struct fault_change *c = &p->change;
    if (membership_is_joint(&node->membership))
        return true; /* it is busy, and says so */
    struct membership next;
    membership_init(&next);
    enum etcd_error error = membership_change(&node->membership, c->changes,
                                              c->request.change_count, SIM_NODES_MAX, &next);
    struct raft_config config = membership_to_raft_config(&next);
    membership_done(&next);
    if (error != ETCD_OK)
        return true; /* it shall say so itself */
    return voter_count(&config) >= VOTERS_MIN && fault_may_hurt(p, NULL, &config);
}

/* ---- asking ---- */

static void again(struct planned *p)
{
    struct sim *sim = p->nemesis->sim;
    event_set(&sim->events, &p->step, sim->now_us + AGAIN_US);
}

static void on_answer(struct planned *p, enum etcd_error error)
{
    struct fault_change *c = &p->change;
    c->is_under_way = false;
    c->node = NULL;
    c->is_done = error == ETCD_OK;
    sim_trace_line(p->nemesis->sim, "fault %td: %s: %s", p - p->nemesis->planned,
                   sim_fault_name(p->fault->kind),
                   error == ETCD_OK ? "done" : etcd_error_text(error));
}

static void on_changed(struct member_change_request *request, enum etcd_error error)
{
    on_answer(LIST_ENTRY(request, struct planned, change.request), error);
}

static void on_transferred(struct node_transfer *transfer, enum etcd_error error)
{
    on_answer(LIST_ENTRY(transfer, struct planned, change.transfer), error);
}

static void ask(struct planned *p, struct sim_host *leader)
{
    struct fault_change *c = &p->change;
    bool is_transfer = p->fault->kind == FAULT_TRANSFER;
    if (is_transfer)
        c->transfer = (struct node_transfer){
            .to = member_pick(p, 0, RAFT_VOTER | (p->fault->size % 8 ? 0 : RAFT_LEARNER)),
            .done = on_transferred,
        };
    else
        change_make(p);
    struct node *node = sim_host_node(leader);
    if (!node) /* it was the one to be lost */
        return;
    if (is_transfer ? c->transfer.to == 0 : c->request.change_count == 0 || !is_allowed(p, node))
        return;
    sim_trace_line(p->nemesis->sim, "fault %td: %s asks %s: %zu changes", p - p->nemesis->planned,
                   sim_fault_name(p->fault->kind), leader->name, c->request.change_count);
    c->is_under_way = true;
    c->node = node;
    c->tries++;
    struct sim_proc *before = sim_proc_enter(leader->proc);
    if (is_transfer)
        node_transfer(node, &c->transfer);
    else
        node_change_members(node, &c->request);
    sim_proc_enter(before);
    if (leader->proc)
        sim_proc_wake(leader->proc, leader->sim->now_us);
}

void fault_change_init(struct planned *p)
{
    p->change.request.changes = p->change.changes;
    p->change.request.done = on_changed;
}

void fault_change_begin(struct planned *p)
{
    again(p);
}

void fault_change_on_step(struct planned *p)
{
    struct fault_change *c = &p->change;
    if (c->is_done)
        return;
    again(p);
    if (c->is_under_way)
        return;
    if (c->must_succeed && !sim_check_is_member(p->nemesis->sim, c->gone_id)) {
        c->is_done = true; /* an attempt of which nothing was heard */
        return;
    }
    struct sim_host *leader = fault_leader(p);
    if (leader && !leader->proc->is_paused && !leader->proc->is_dead)
        ask(p, leader);
}

void fault_change_cancel(struct planned *p)
{
    struct fault_change *c = &p->change;
    if (!c->is_under_way)
        return;
    if (p->fault->kind == FAULT_TRANSFER)
        node_cancel_transfer(c->node, &c->transfer);
    else
        node_cancel_change(c->node, &c->request);
    c->is_under_way = false;
}

bool fault_change_goes_on(const struct planned *p)
{
    return p->change.must_succeed && !p->change.is_done;
}
