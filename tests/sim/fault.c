#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/fault_internal.h"

enum { RESTART_US = 300000, STEP_US = 200000, LATER_US = 150000 };

struct sim_host *fault_host(const struct planned *p, uint32_t i)
{
    return &p->nemesis->sim->hosts[i];
}

uint32_t fault_node_count(const struct planned *p)
{
    return p->nemesis->sim->options.node_count;
}

bool fault_strikes(const struct planned *p, uint32_t i)
{
    return i < fault_node_count(p) && (p->nodes & 1u << i);
}

/* ---- links ---- */

void fault_block(struct planned *p, uint32_t from, uint32_t to)
{
    if (from == to || (p->links[from] & (uint64_t)1 << to))
        return;
    p->links[from] |= (uint64_t)1 << to;
    sim_net_link(&p->nemesis->sim->net, from, to)->blocked++;
}

void fault_block_both(struct planned *p, uint32_t a, uint32_t b)
{
    fault_block(p, a, b);
    fault_block(p, b, a);
}

void fault_unblock_all(struct planned *p)
{
    struct sim *sim = p->nemesis->sim;
    for (uint32_t from = 0; from < sim->host_count; from++) {
        for (uint32_t to = 0; to < sim->host_count; to++) {
            if (p->links[from] & (uint64_t)1 << to)
                sim_net_link(&sim->net, from, to)->blocked--;
        }
        p->links[from] = 0;
    }
}

/* The struck nodes on one side, the other nodes on the other; clients reach both. */
static void begin_halves(struct planned *p)
{
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t b = 0; b < fault_node_count(p); b++) {
            if (fault_strikes(p, a) && !fault_strikes(p, b))
                fault_block_both(p, a, b);
        }
    }
}

/* Clients do not reach them either. */
static void begin_isolate(struct planned *p)
{
    begin_halves(p);
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t c = sim->options.node_count; c < sim->host_count; c++) {
            if (fault_strikes(p, a) && prng_below(&p->chance, 2) == 0)
                fault_block_both(p, a, c);
        }
    }
}

static void begin_one_way(struct planned *p)
{
    bool is_deaf = prng_below(&p->chance, 2) == 0;
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t b = 0; b < fault_node_count(p); b++) {
            if (fault_strikes(p, a) && !fault_strikes(p, b))
                fault_block(p, is_deaf ? b : a, is_deaf ? a : b);
        }
    }
}

/* Each sees its neighbours alone: everybody a majority, no two the same. */
static void begin_ring(struct planned *p)
{
    uint32_t n = fault_node_count(p);
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = 0; b < n; b++) {
            uint32_t apart = (b + n - a) % n;
            if (apart != 1 && apart != n - 1)
                fault_block_both(p, a, b);
        }
    }
    if (n == 3)
        fault_block_both(p, (uint32_t)prng_below(&p->chance, n),
                         (uint32_t)prng_below(&p->chance, n));
}

/* Two halves, and one node that sees both. */
static void begin_bridge(struct planned *p)
{
    uint32_t n = fault_node_count(p);
    uint32_t bridge = (uint32_t)prng_below(&p->chance, n);
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            bool is_across = (a + n - bridge) % n <= n / 2 && (b + n - bridge) % n > n / 2;
            is_across |= (b + n - bridge) % n <= n / 2 && (a + n - bridge) % n > n / 2;
            if (a != bridge && b != bridge && is_across)
                fault_block_both(p, a, b);
        }
    }
}

static void begin_clients_cut(struct planned *p)
{
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t c = sim->options.node_count; c < sim->host_count; c++) {
            if (fault_strikes(p, a))
                fault_block(p, prng_below(&p->chance, 2) ? a : c,
                            prng_below(&p->chance, 2) ? c : a);
        }
    }
}

static void links_change(struct planned *p, uint32_t slow_us, uint32_t loss_ppm, uint64_t clog_us)
{
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t b = 0; b < sim->host_count; b++) {
            if (!fault_strikes(p, a))
                continue;
            struct sim_link *both[] = { sim_net_link(&sim->net, a, b),
                                        sim_net_link(&sim->net, b, a) };
            for (int i = 0; i < 2; i++) {
                both[i]->slow_us = slow_us;
                both[i]->loss_ppm = loss_ppm;
                both[i]->clogged_until_us = sim->now_us + clog_us;
            }
        }
    }
}

/* Answers to a leader's old heartbeats still arrive when nobody hears it any more: by its own
 * clock it leads on while others have elected. They become late little by little, since a leader
 * that hears nothing for a while steps down. */
static void begin_old_echoes(struct planned *p)
{
    p->late_us = 0;
    event_set(&p->nemesis->sim->events, &p->step, p->nemesis->sim->now_us);
}

static void echoes_on_step(struct planned *p)
{
    struct sim *sim = p->nemesis->sim;
    bool is_late = p->late_us >= p->fault->size * 1000;
    p->late_us += LATER_US;
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t b = 0; b < fault_node_count(p); b++) {
            if (!fault_strikes(p, a) || fault_strikes(p, b))
                continue;
            if (is_late)
                fault_block(p, a, b);
            else
                sim_net_link(&sim->net, b, a)->slow_us = (uint32_t)p->late_us;
        }
    }
    if (is_late)
        sim_trace_line(sim, "fault %td: is heard no more", p - p->nemesis->planned);
    else
        event_set(&sim->events, &p->step, sim->now_us + STEP_US);
}

static void begin_reset(struct planned *p)
{
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < fault_node_count(p); a++) {
        for (uint32_t b = 0; b < sim->host_count; b++) {
            if (fault_strikes(p, a) && prng_below(&p->chance, 2) == 0)
                sim_net_reset(&sim->net, a, b);
        }
    }
}

/* ---- nodes ---- */

struct sim_host *fault_leader(const struct planned *p)
{
    struct sim_host *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        const struct node *node = sim_host_node(fault_host(p, i));
        if (!node || node->closing_parts > 0 || node->status.role != RAFT_LEADER ||
            node->status.term < term)
            continue;
        leader = fault_host(p, i);
        term = node->status.term;
    }
    return leader;
}

static void strike_leader(struct planned *p)
{
    const struct sim_host *leader = fault_leader(p);
    if (leader)
        p->nodes = 1u << leader->index;
}

/* Where a spare host would be struck, another one is. */
static uint32_t nodes_in_use(const struct planned *p)
{
    uint32_t n = fault_node_count(p);
    uint32_t nodes = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = i;
        while (fault_strikes(p, i) && !fault_host(p, at)->is_used && (at + 1) % n != i)
            at = (at + 1) % n;
        if (fault_strikes(p, i))
            nodes |= 1u << at;
    }
    return nodes;
}

static void begin_kill(struct planned *p, struct sim_host *h)
{
    sim_host_kill(h);
    if (p->fault->kind == FAULT_POWER_LATE && h->has_power)
        sim_host_start_later(h, prng_below(&p->chance, 200000));
}

static void begin_death_within(struct planned *p, struct sim_host *h)
{
    sim_host_kill_within(h, p->fault->size, p->fault->kind == FAULT_POWER_WITHIN);
}

static void begin_terminate(struct planned *p, struct sim_host *h)
{
    IGNORE(!p, "it is of the host alone");
    sim_host_terminate(h);
}

static void begin_power(struct planned *p, struct sim_host *h)
{
    IGNORE(!p, "it is of the host alone");
    sim_host_cut_power(h);
}

static void begin_pause(struct planned *p, struct sim_host *h)
{
    IGNORE(!p, "it is of the host alone");
    sim_host_pause(h);
}

static void begin_disk(struct planned *p, struct sim_host *h)
{
    const struct sim_fault *f = p->fault;
    if (f->kind == FAULT_DISK_STALL)
        h->disk_faults.stalled_until_us = h->sim->now_us + f->for_us;
    if (f->kind == FAULT_DISK_SLOW)
        h->disk_faults.slow_us = (uint32_t)f->size * 1000;
    if (f->kind == FAULT_DISK_ERRORS)
        h->disk_faults.write_errors_ppm = (uint32_t)f->size;
    if (f->kind == FAULT_DISK_FULL)
        h->disk_faults.is_full = true;
}

static void begin_clock_jump(struct planned *p, struct sim_host *h)
{
    int64_t ms = (int64_t)p->fault->size;
    h->clock_offset_ms += prng_below(&p->chance, 2) ? ms : -ms;
}

static void begin_link_change(struct planned *p)
{
    const struct sim_fault *f = p->fault;
    links_change(p, f->kind == FAULT_SLOW_LINKS ? (uint32_t)f->size * 1000 : 0,
                 f->kind == FAULT_LOSS ? (uint32_t)f->size : 0,
                 f->kind == FAULT_CLOG ? f->for_us : 0);
}

/* For each node that it strikes, or once for all. */
static const struct {
    void (*node)(struct planned *p, struct sim_host *h);
    void (*all)(struct planned *p);
} begins[FAULT_KINDS] = {
    [FAULT_KILL] = { .node = begin_kill },
    [FAULT_KILL_WITHIN] = { .node = begin_death_within },
    [FAULT_KILL_ALL] = { .node = begin_kill },
    [FAULT_TERMINATE] = { .node = begin_terminate },
    [FAULT_POWER] = { .node = begin_power },
    [FAULT_POWER_WITHIN] = { .node = begin_death_within },
    [FAULT_POWER_LATE] = { .node = begin_kill },
    [FAULT_POWER_ALL] = { .node = begin_power },
    [FAULT_PAUSE] = { .node = begin_pause },
    [FAULT_PAUSE_LEADER] = { .node = begin_pause },
    [FAULT_KILL_LEADER] = { .node = begin_kill },
    [FAULT_ISOLATE] = { .all = begin_isolate },
    [FAULT_ISOLATE_LEADER] = { .all = begin_isolate },
    [FAULT_HALVES] = { .all = begin_halves },
    [FAULT_ONE_WAY] = { .all = begin_one_way },
    [FAULT_RING] = { .all = begin_ring },
    [FAULT_BRIDGE] = { .all = begin_bridge },
    [FAULT_CLIENTS_CUT] = { .all = begin_clients_cut },
    [FAULT_SLOW_LINKS] = { .all = begin_link_change },
    [FAULT_OLD_ECHOES] = { .all = begin_old_echoes },
    [FAULT_LOSS] = { .all = begin_link_change },
    [FAULT_CLOG] = { .all = begin_link_change },
    [FAULT_RESET] = { .all = begin_reset },
    [FAULT_DISK_STALL] = { .node = begin_disk },
    [FAULT_DISK_SLOW] = { .node = begin_disk },
    [FAULT_DISK_ERRORS] = { .node = begin_disk },
    [FAULT_DISK_FULL] = { .node = begin_disk },
    [FAULT_CLOCK_JUMP] = { .node = begin_clock_jump },
    [FAULT_ROT] = { .node = fault_damage },
    [FAULT_LOST_WRITE] = { .node = fault_damage },
    [FAULT_ROW] = { .node = fault_damage },
    [FAULT_LOSE_VOTE] = { .node = fault_damage },
    [FAULT_WIPE] = { .node = fault_damage },
    [FAULT_ZONE_POWER] = { .node = begin_power },
    [FAULT_ZONE_CUT] = { .all = begin_isolate },
    [FAULT_MID_SNAPSHOT] = { .all = fault_snapshot_begin },
    [FAULT_MEMBER_ADD] = { .all = fault_change_begin },
    [FAULT_MEMBER_PROMOTE] = { .all = fault_change_begin },
    [FAULT_MEMBER_DEMOTE] = { .all = fault_change_begin },
    [FAULT_MEMBER_REMOVE] = { .all = fault_change_begin },
    [FAULT_MEMBER_JOINT] = { .all = fault_change_begin },
    [FAULT_MEMBER_REPLACE] = { .all = fault_change_begin },
    [FAULT_MEMBER_URLS] = { .all = fault_change_begin },
    [FAULT_TRANSFER] = { .all = fault_change_begin },
};

static void on_step(void *owner)
{
    struct planned *p = owner;
    if (p->fault->kind == FAULT_OLD_ECHOES)
        echoes_on_step(p);
    else if (p->fault->kind == FAULT_MID_SNAPSHOT)
        fault_snapshot_on_step(p);
    else
        fault_change_on_step(p);
}

static void on_begin(void *owner)
{
    struct planned *p = owner;
    const struct sim_fault *f = p->fault;
    struct sim *sim = p->nemesis->sim;
    p->has_begun = true;
    p->nodes = f->nodes;
    if (f->kind == FAULT_KILL_LEADER || f->kind == FAULT_PAUSE_LEADER ||
        f->kind == FAULT_ISOLATE_LEADER || f->kind == FAULT_OLD_ECHOES)
        strike_leader(p);
    p->nodes = nodes_in_use(p);
    sim_trace_line(sim, "fault %td: %s of %x", p - p->nemesis->planned, sim_fault_name(f->kind),
                   p->nodes);
    if (begins[f->kind].all)
        begins[f->kind].all(p);
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        if (begins[f->kind].node && fault_strikes(p, i))
            begins[f->kind].node(p, fault_host(p, i));
    }
    event_set(&sim->events, &p->end, sim->now_us + f->for_us);
}

/* ---- the end of one ---- */

static void node_back(struct sim_host *h)
{
    sim_host_give_power(h);
    sim_host_resume(h);
    sim_host_spare(h);
    h->starts_again = h->proc && h->is_stopping;
    if (!h->proc && h->is_used)
        IGNORE(sim_host_start(h), "sim_nemesis_on_end starts it again, or speaks");
}

static void disk_back(struct sim_host *h)
{
    h->disk_faults.stalled_until_us = 0;
    h->disk_faults.slow_us = 0;
    h->disk_faults.write_errors_ppm = 0;
    h->disk_faults.read_errors_ppm = 0;
    h->disk_faults.is_full = false;
}

static void end_node(struct planned *p, struct sim_host *h)
{
    switch (p->fault->kind) {
    case FAULT_POWER_LATE:
        sim_host_cut_power(h);
        sim_host_give_power(h);
        sim_host_start_later(h, RESTART_US);
        break;
    case FAULT_DISK_STALL:
    case FAULT_DISK_SLOW:
    case FAULT_DISK_ERRORS:
    case FAULT_DISK_FULL:
        disk_back(h);
        break;
    case FAULT_KILL:
    case FAULT_KILL_WITHIN:
    case FAULT_KILL_ALL:
    case FAULT_KILL_LEADER:
    case FAULT_TERMINATE:
    case FAULT_POWER:
    case FAULT_POWER_WITHIN:
    case FAULT_POWER_ALL:
    case FAULT_PAUSE:
    case FAULT_PAUSE_LEADER:
    case FAULT_ROT:
    case FAULT_LOST_WRITE:
    case FAULT_ROW:
    case FAULT_LOSE_VOTE:
    case FAULT_WIPE:
    case FAULT_ZONE_POWER:
    case FAULT_MID_SNAPSHOT:
        node_back(h);
        break;
    case FAULT_ZONE_CUT:
    case FAULT_MEMBER_ADD:
    case FAULT_MEMBER_PROMOTE:
    case FAULT_MEMBER_DEMOTE:
    case FAULT_MEMBER_REMOVE:
    case FAULT_MEMBER_JOINT:
    case FAULT_MEMBER_REPLACE:
    case FAULT_MEMBER_URLS:
    case FAULT_TRANSFER:
    case FAULT_ISOLATE:
    case FAULT_ISOLATE_LEADER:
    case FAULT_HALVES:
    case FAULT_ONE_WAY:
    case FAULT_RING:
    case FAULT_BRIDGE:
    case FAULT_CLIENTS_CUT:
    case FAULT_SLOW_LINKS:
    case FAULT_OLD_ECHOES:
    case FAULT_LOSS:
    case FAULT_CLOG:
    case FAULT_RESET:
    case FAULT_CLOCK_JUMP:
    case FAULT_KINDS:
        break;
    }
}

static void on_end(void *owner)
{
    struct planned *p = owner;
    sim_trace_line(p->nemesis->sim, "fault %td ends", p - p->nemesis->planned);
    if (!fault_change_goes_on(p))
        event_cancel(&p->nemesis->sim->events, &p->step);
    fault_unblock_all(p);
    if (p->fault->kind == FAULT_SLOW_LINKS || p->fault->kind == FAULT_LOSS ||
        p->fault->kind == FAULT_OLD_ECHOES)
        links_change(p, 0, 0, 0);
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        if (fault_strikes(p, i))
            end_node(p, fault_host(p, i));
    }
}

/* ---- all of them ---- */

struct sim_nemesis *sim_nemesis_new(struct sim *sim, const struct sim_plan *plan)
{
    struct sim_nemesis *n = calloc(1, sizeof *n);
    ASSERT(n);
    n->sim = sim;
    n->plan = *plan;
    for (uint32_t i = 0; i < plan->count; i++) {
        struct planned *p = &n->planned[i];
        p->nemesis = n;
        p->fault = &n->plan.faults[i];
        p->chance = sim_chance(sim, SIM_CHANCE_FAULT, i, 0);
        fault_change_init(p);
        p->links = calloc(sim->host_count, sizeof *p->links);
        ASSERT(p->links);
        event_init(&p->begin, on_begin, p);
        event_init(&p->step, on_step, p);
        event_init(&p->end, on_end, p);
        if (!p->fault->is_left_out)
            event_set(&sim->events, &p->begin, p->fault->at_us);
    }
    return n;
}

void sim_nemesis_free(struct sim_nemesis *n)
{
    for (uint32_t i = 0; i < n->plan.count; i++) {
        fault_change_cancel(&n->planned[i]);
        event_cancel(&n->sim->events, &n->planned[i].begin);
        event_cancel(&n->sim->events, &n->planned[i].step);
        event_cancel(&n->sim->events, &n->planned[i].end);
        free(n->planned[i].links);
    }
    free(n);
}

void sim_nemesis_heal(struct sim_nemesis *n)
{
    struct sim *sim = n->sim;
    sim_trace_line(sim, "all faults end");
    for (uint32_t i = 0; i < n->plan.count; i++) {
        struct planned *p = &n->planned[i];
        event_cancel(&sim->events, &p->begin);
        if (!fault_change_goes_on(p))
            event_cancel(&sim->events, &p->step);
        event_cancel(&sim->events, &p->end);
        fault_unblock_all(p);
        p->nodes = ~0u;
        links_change(p, 0, 0, 0);
    }
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        disk_back(&sim->hosts[i]);
        node_back(&sim->hosts[i]);
    }
}
