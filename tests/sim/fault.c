#include "tests/sim/fault.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "storage/journal_internal.h"
#include "tests/sim/check.h"

enum { RESTART_US = 300000, STEP_US = 200000, LATER_US = 150000 };

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
};

struct sim_nemesis {
    struct sim *sim;
    struct sim_plan plan;
    struct planned planned[SIM_FAULTS_MAX];
};

static struct sim_host *host_at(const struct planned *p, uint32_t i)
{
    return &p->nemesis->sim->hosts[i];
}

static uint32_t node_count(const struct planned *p)
{
    return p->nemesis->sim->options.node_count;
}

static bool strikes(const struct planned *p, uint32_t i)
{
    return i < node_count(p) && (p->nodes & 1u << i);
}

/* ---- links ---- */

static void block(struct planned *p, uint32_t from, uint32_t to)
{
    if (from == to || (p->links[from] & (uint64_t)1 << to))
        return;
    p->links[from] |= (uint64_t)1 << to;
    sim_net_link(&p->nemesis->sim->net, from, to)->blocked++;
}

static void block_both(struct planned *p, uint32_t a, uint32_t b)
{
    block(p, a, b);
    block(p, b, a);
}

static void unblock_all(struct planned *p)
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
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t b = 0; b < node_count(p); b++) {
            if (strikes(p, a) && !strikes(p, b))
                block_both(p, a, b);
        }
    }
}

/* Clients do not reach them either. */
static void begin_isolate(struct planned *p)
{
    begin_halves(p);
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t c = sim->options.node_count; c < sim->host_count; c++) {
            if (strikes(p, a) && prng_below(&p->chance, 2) == 0)
                block_both(p, a, c);
        }
    }
}

static void begin_one_way(struct planned *p)
{
    bool is_deaf = prng_below(&p->chance, 2) == 0;
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t b = 0; b < node_count(p); b++) {
            if (strikes(p, a) && !strikes(p, b))
                block(p, is_deaf ? b : a, is_deaf ? a : b);
        }
    }
}

/* Each sees its neighbours alone: everybody a majority, no two the same. */
static void begin_ring(struct planned *p)
{
    uint32_t n = node_count(p);
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = 0; b < n; b++) {
            uint32_t apart = (b + n - a) % n;
            if (apart != 1 && apart != n - 1)
                block_both(p, a, b);
        }
    }
    if (n == 3)
        block_both(p, (uint32_t)prng_below(&p->chance, n), (uint32_t)prng_below(&p->chance, n));
}

/* Two halves, and one node that sees both. */
static void begin_bridge(struct planned *p)
{
    uint32_t n = node_count(p);
    uint32_t bridge = (uint32_t)prng_below(&p->chance, n);
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            bool is_across = (a + n - bridge) % n <= n / 2 && (b + n - bridge) % n > n / 2;
            is_across |= (b + n - bridge) % n <= n / 2 && (a + n - bridge) % n > n / 2;
            if (a != bridge && b != bridge && is_across)
                block_both(p, a, b);
        }
    }
}

static void begin_clients_cut(struct planned *p)
{
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t c = sim->options.node_count; c < sim->host_count; c++) {
            if (strikes(p, a))
                block(p, prng_below(&p->chance, 2) ? a : c, prng_below(&p->chance, 2) ? c : a);
        }
    }
}

static void links_change(struct planned *p, uint32_t slow_us, uint32_t loss_ppm, uint64_t clog_us)
{
    struct sim *sim = p->nemesis->sim;
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t b = 0; b < sim->host_count; b++) {
            if (!strikes(p, a))
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

static void on_step(void *owner)
{
    struct planned *p = owner;
    struct sim *sim = p->nemesis->sim;
    bool is_late = p->late_us >= p->fault->size * 1000;
    p->late_us += LATER_US;
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t b = 0; b < node_count(p); b++) {
            if (!strikes(p, a) || strikes(p, b))
                continue;
            if (is_late)
                block(p, a, b);
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
    for (uint32_t a = 0; a < node_count(p); a++) {
        for (uint32_t b = 0; b < sim->host_count; b++) {
            if (strikes(p, a) && prng_below(&p->chance, 2) == 0)
                sim_net_reset(&sim->net, a, b);
        }
    }
}

/* ---- damage ---- */

/* A minority at most may be hurt in a run. */
static bool may_hurt(const struct planned *p, const struct sim_host *h)
{
    uint32_t hurt = 0;
    for (uint32_t i = 0; i < node_count(p); i++)
        hurt += host_at(p, i)->is_hurt;
    return h->is_hurt || hurt < (node_count(p) - 1) / 2;
}

/* In a segment that later ones follow, or well before the end of the only one: what was written
 * last cannot be told from a torn end, so nothing is promised for it. */
static void rot(struct planned *p, struct sim_host *h)
{
    const struct node *node = sim_host_node(h);
    const struct journal *j = node ? node->journal : NULL;
    if (!j || list_is_empty(&j->live))
        return;
    const struct journal_segment *s = LIST_ENTRY(j->live.next, struct journal_segment, link);
    uint64_t end = j->live.next->next == &j->live ? s->end / 2 : s->end;
    char name[JOURNAL_SEGMENT_NAME_BYTES], path[64];
    journal_segment_name(name, s->id);
    snprintf(path, sizeof path, "data/journal/%s", name);
    h->is_hurt = true;
    for (uint64_t i = 0; i < p->fault->size; i++)
        fake_disk_flip(h->disk, path, prng_below(&p->chance, end),
                       (uint8_t)(1u << prng_below(&p->chance, 8)));
}

static void lose_vote(struct planned *p, struct sim_host *h)
{
    static const char path[] = "data/journal/hard";
    int64_t size = fake_disk_path_size(h->disk, path);
    for (int64_t slot = 0; slot + 64 <= size; slot += JOURNAL_ALIGN_BYTES)
        fake_disk_flip(h->disk, path, (uint64_t)slot + prng_below(&p->chance, 64), 0xff);
    h->is_hurt = true;
}

static void begin_damage(struct planned *p, struct sim_host *h)
{
    if (!may_hurt(p, h))
        return;
    if (p->fault->kind == FAULT_ROT)
        rot(p, h);
    sim_host_kill(h);
    if (h->proc)
        return; /* it is just ending by itself */
    if (p->fault->kind == FAULT_LOSE_VOTE)
        lose_vote(p, h);
    if (p->fault->kind == FAULT_WIPE) {
        h->is_hurt = true;
        sim_host_wipe(h);
    }
}

/* ---- nodes ---- */

static void strike_leader(struct planned *p)
{
    for (uint32_t i = 0; i < node_count(p); i++) {
        const struct node *node = sim_host_node(host_at(p, i));
        if (node && node->status.role == RAFT_LEADER)
            p->nodes = 1u << i;
    }
}

static void begin_node(struct planned *p, struct sim_host *h)
{
    const struct sim_fault *f = p->fault;
    switch (f->kind) {
    case FAULT_KILL:
    case FAULT_KILL_ALL:
    case FAULT_KILL_LEADER:
        sim_host_kill(h);
        break;
    case FAULT_KILL_WITHIN:
    case FAULT_POWER_WITHIN:
        sim_host_kill_within(h, f->size, f->kind == FAULT_POWER_WITHIN);
        break;
    case FAULT_TERMINATE:
        sim_host_terminate(h);
        break;
    case FAULT_POWER:
    case FAULT_POWER_ALL:
        sim_host_cut_power(h);
        break;
    case FAULT_POWER_LATE:
        sim_host_kill(h);
        if (h->has_power)
            sim_host_start_later(h, prng_below(&p->chance, 200000));
        break;
    case FAULT_PAUSE:
    case FAULT_PAUSE_LEADER:
        sim_host_pause(h);
        break;
    case FAULT_DISK_STALL:
        h->disk_faults.stalled_until_us = h->sim->now_us + f->for_us;
        break;
    case FAULT_DISK_SLOW:
        h->disk_faults.slow_us = (uint32_t)f->size * 1000;
        break;
    case FAULT_DISK_ERRORS:
        h->disk_faults.write_errors_ppm = (uint32_t)f->size;
        break;
    case FAULT_DISK_FULL:
        h->disk_faults.is_full = true;
        break;
    case FAULT_CLOCK_JUMP:
        h->clock_offset_ms += prng_below(&p->chance, 2) ? (int64_t)f->size : -(int64_t)f->size;
        break;
    case FAULT_ROT:
    case FAULT_LOSE_VOTE:
    case FAULT_WIPE:
        begin_damage(p, h);
        break;
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
    case FAULT_KINDS:
        break; /* of links */
    }
}

static void begin_links(struct planned *p)
{
    const struct sim_fault *f = p->fault;
    switch (f->kind) {
    case FAULT_ISOLATE:
    case FAULT_ISOLATE_LEADER:
        begin_isolate(p);
        break;
    case FAULT_HALVES:
        begin_halves(p);
        break;
    case FAULT_ONE_WAY:
        begin_one_way(p);
        break;
    case FAULT_RING:
        begin_ring(p);
        break;
    case FAULT_BRIDGE:
        begin_bridge(p);
        break;
    case FAULT_CLIENTS_CUT:
        begin_clients_cut(p);
        break;
    case FAULT_SLOW_LINKS:
        links_change(p, (uint32_t)f->size * 1000, 0, 0);
        break;
    case FAULT_OLD_ECHOES:
        begin_old_echoes(p);
        break;
    case FAULT_LOSS:
        links_change(p, 0, (uint32_t)f->size, 0);
        break;
    case FAULT_CLOG:
        links_change(p, 0, 0, f->for_us);
        break;
    case FAULT_RESET:
        begin_reset(p);
        break;
    case FAULT_KILL:
    case FAULT_KILL_WITHIN:
    case FAULT_KILL_ALL:
    case FAULT_KILL_LEADER:
    case FAULT_TERMINATE:
    case FAULT_POWER:
    case FAULT_POWER_WITHIN:
    case FAULT_POWER_LATE:
    case FAULT_POWER_ALL:
    case FAULT_PAUSE:
    case FAULT_PAUSE_LEADER:
    case FAULT_DISK_STALL:
    case FAULT_DISK_SLOW:
    case FAULT_DISK_ERRORS:
    case FAULT_DISK_FULL:
    case FAULT_CLOCK_JUMP:
    case FAULT_ROT:
    case FAULT_LOSE_VOTE:
    case FAULT_WIPE:
    case FAULT_KINDS:
        break; /* of nodes */
    }
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
    sim_trace_line(sim, "fault %td: %s of %x", p - p->nemesis->planned, sim_fault_name(f->kind),
                   p->nodes);
    begin_links(p);
    for (uint32_t i = 0; i < node_count(p); i++) {
        if (strikes(p, i))
            begin_node(p, host_at(p, i));
    }
    event_set(&sim->events, &p->end, sim->now_us + f->for_us);
}

/* ---- the end of one ---- */

static void node_back(struct sim_host *h)
{
    sim_host_give_power(h);
    sim_host_resume(h);
    if (h->proc)
        h->proc->crash_after = 0;
    h->starts_again = h->proc && h->is_stopping;
    if (!h->proc)
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
    case FAULT_LOSE_VOTE:
    case FAULT_WIPE:
        node_back(h);
        break;
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
    event_cancel(&p->nemesis->sim->events, &p->step);
    unblock_all(p);
    if (p->fault->kind == FAULT_SLOW_LINKS || p->fault->kind == FAULT_LOSS ||
        p->fault->kind == FAULT_OLD_ECHOES)
        links_change(p, 0, 0, 0);
    for (uint32_t i = 0; i < node_count(p); i++) {
        if (strikes(p, i))
            end_node(p, host_at(p, i));
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
        event_cancel(&sim->events, &p->step);
        event_cancel(&sim->events, &p->end);
        unblock_all(p);
        p->nodes = ~0u;
        links_change(p, 0, 0, 0);
    }
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        disk_back(&sim->hosts[i]);
        node_back(&sim->hosts[i]);
    }
}
