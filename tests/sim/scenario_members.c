/* Members that change and members that fall behind: configurations, snapshots, transfer. */
#include <inttypes.h>
#include <stdio.h>

#include "server/membership_change.h"
#include "server/node_internal.h"
#include "tests/sim/scenario.h"

enum { BEHIND = 800, VALUE_BYTES = 12 << 10, IN_FLIGHT = 20, CHANGE_MS_MAX = 10000 };

/* ---- falling behind ---- */

/* So much that the log no longer reaches whoever is away, in the leader's memory either. */
static void write_much(struct scene *s, uint32_t node)
{
    static char value[VALUE_BYTES + 1];
    memset(value, 'v', VALUE_BYTES);
    struct scene_op *ops[IN_FLIGHT] = { NULL };
    for (uint32_t i = 0; i < BEHIND && !scene_has_failed(s); i++) {
        char key[16];
        snprintf(key, sizeof key, "k%04u", (unsigned)prng_below(&s->chance, 1000));
        struct scene_op **op = &ops[i % IN_FLIGHT];
        if (*op)
            scene_expect(s, scene_end(s, *op)->is_ok, "a write fails: %s", (*op)->answer.text);
        *op = scene_begin_put(s, node, key, value);
    }
    for (uint32_t i = 0; i < IN_FLIGHT; i++)
        scene_end(s, ops[i]);
}

static uint64_t snapshots_received(struct scene *s, uint32_t node)
{
    const struct node *n = sim_host_node(scene_host(s, node));
    return n ? node_counters(n).snapshots_received : 0;
}

/* etcd 18055: a member got a second snapshot while it still applied the first; the first one's
 * file was removed under its feet, and it stopped. Here one is received at a time, into an
 * environment of its own that is switched to when it is whole (I3). */
static void play_18055(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    uint32_t behind = scene_other(s, leader, leader);
    scene_isolate(s, behind);
    write_much(s, leader);
    scene_join(s);
    scene_run_us(s, prng_below(&s->chance, 400000)); /* anywhere within the first */
    scene_isolate(s, behind);
    write_much(s, scene_leader_but(s, behind));
    scene_join(s);
    scene_heal(s);
    scene_expect(s, snapshots_received(s, behind) > 0, "no snapshot was needed");
    sim_host_kill(scene_host(s, behind));
    scene_heal(s);
}

/* The same, but whoever receives it is killed at one of its blocking calls or commits, or loses
 * its power there: what it then has is the old state or the new one. */
static void play_snapshot_killed(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    uint32_t behind = scene_other(s, leader, leader);
    scene_isolate(s, behind);
    write_much(s, leader);
    scene_join(s);
    for (int i = 0; i < 4 && !scene_has_failed(s); i++) {
        sim_host_kill_within(scene_host(s, behind), 1 + prng_below(&s->chance, 25),
                             prng_below(&s->chance, 2));
        scene_run(s, 500);
        if (!scene_host(s, behind)->proc)
            scene_start_node(s, behind);
        scene_run(s, 100);
    }
    scene_heal(s);
}

/* ---- changes ---- */

struct change {
    struct member_change_request request; /* first */
    struct member_change what;
    enum etcd_error error;
    bool is_done;
};

static void on_changed(struct member_change_request *request, enum etcd_error error)
{
    struct change *c = (struct change *)request;
    c->error = error;
    c->is_done = true;
}

static uint64_t id_of(struct scene *s, uint32_t node)
{
    return sim_host_node(scene_host(s, node))->identity.member_id;
}

/* By a call in the leader's process, as its operator would; false: not now. */
static bool change_once(struct scene *s, enum member_change_type type, uint64_t id)
{
    struct change c = { .request = { .changes = &c.what, .change_count = 1, .done = on_changed },
                        .what = { .type = type, .id = id } };
    struct sim_host *h = scene_host(s, scene_leader(s));
    if (scene_has_failed(s))
        return true;
    struct sim_proc *before = sim_proc_enter(h->proc);
    node_change_members(sim_host_node(h), &c.request);
    sim_proc_enter(before);
    sim_proc_wake(h->proc, s->sim->now_us);
    for (int ms = 0; !c.is_done && !scene_has_failed(s); ms++) {
        scene_expect(s, ms < CHANGE_MS_MAX, "a change of the members does not end");
        scene_run(s, 1);
    }
    return c.error == ETCD_OK;
}

/* A leader that is new, or has not heard of all for long, refuses at first. */
static void change(struct scene *s, enum member_change_type type, uint64_t id)
{
    for (int i = 0; !change_once(s, type, id) && !scene_has_failed(s); i++) {
        scene_expect(s, i < 100, "the members cannot be changed");
        scene_run(s, SCENE_HEARTBEAT_MS);
    }
}

static void expect_roles(struct scene *s, uint64_t id, unsigned roles)
{
    for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++) {
        const struct membership *m = node_membership(sim_host_node(scene_host(s, i)));
        for (uint32_t k = 0; k < m->member_count; k++)
            scene_expect(s, m->members[k].id != id || m->members[k].roles == roles,
                         "%s has another role for %" PRIx64, scene_host(s, i)->name, id);
    }
}

/* etcd 19557, 20793: that a learner had been promoted was in one of two stores alone, so after
 * upgrades it was a learner again; and a snapshot carried the wrong record on to new members. Here
 * there is one record, a part of the state (I3, I5): it is the same after kills, after the power
 * went, and at a member that was away and has it by snapshot. */
static void play_19557(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    uint32_t changed = scene_other(s, leader, leader);
    uint32_t away = scene_other(s, leader, changed);
    if (scene_has_failed(s))
        return;
    uint64_t id = id_of(s, changed);
    change(s, MEMBER_DEMOTE, id);
    scene_heal(s);
    expect_roles(s, id, RAFT_LEARNER);
    scene_isolate(s, away);
    scene_run(s, prng_below(&s->chance, 500));
    scene_join(s);
    scene_heal(s);
    change(s, MEMBER_PROMOTE, id);
    leader = scene_leader(s);
    away = scene_other(s, leader, changed);
    scene_isolate(s, away);
    write_much(s, leader);
    scene_join(s);
    scene_heal(s);
    expect_roles(s, id, RAFT_VOTER);
    for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++) {
        if (prng_below(&s->chance, 2))
            sim_host_cut_power(scene_host(s, i));
        else
            sim_host_kill(scene_host(s, i));
    }
    scene_heal(s);
    expect_roles(s, id, RAFT_VOTER);
}

const struct scenario scenarios_of_members[] = {
    { "etcd-18055", "a second snapshot right after the first does no harm", play_18055, 0 },
    { "snapshot-killed", "nor does a death while one is received", play_snapshot_killed, 0 },
    { "etcd-19557", "a promotion outlives crashes, and travels in snapshots", play_19557, 0 },
    { 0 },
};
