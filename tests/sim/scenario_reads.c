/* Linearizable reads when leaders change (I11). */
#include <inttypes.h>

#include "server/node_internal.h"
#include "tests/sim/scenario.h"

static void expect_new(struct scene *s, const struct scene_op *op)
{
    const struct scene_answer *a = &op->answer;
    scene_expect(s, !a->is_ok || !op->is_done || strcmp(a->value, "new") == 0,
                 "%s answers \"%s\" after \"new\" was acknowledged", scene_host(s, op->node)->name,
                 a->value);
}

/* etcd 741: a leader that others had replaced did not know yet, and answered reads from its own
 * state. Here it needs a majority's word for each round of reads. Cut off it never has it; paused
 * and woken up, it learns of its successor by asking. */
static void play_741(struct scene *s)
{
    scene_start(s);
    uint32_t old = scene_leader(s);
    scene_put(s, old, "key", "old");
    bool is_pause = prng_below(&s->chance, 2);
    if (is_pause && !scene_has_failed(s))
        sim_host_pause(scene_host(s, old));
    else
        scene_isolate(s, old);
    scene_run(s, prng_below(&s->chance, SCENE_ELECTION_MS));
    struct scene_op *early = scene_begin_get(s, old, "key"); /* may be from before the write */
    uint32_t leader = scene_leader_but(s, old);
    scene_put(s, leader, "key", "new");
    struct scene_op *reads[20];
    for (int i = 0; i < 20; i++) {
        reads[i] = scene_begin_get(s, old, "key");
        if (i == 10 && is_pause && !scene_has_failed(s))
            sim_host_resume(scene_host(s, old));
        scene_run_us(s, prng_below(&s->chance, 2000));
    }
    scene_run(s, prng_below(&s->chance, 2 * SCENE_ELECTION_MS));
    scene_heal(s);
    for (int i = 0; i < 20; i++) {
        scene_end(s, reads[i]);
        expect_new(s, reads[i]);
    }
    scene_end(s, early);
}

/* The others have this entry of the leader's, and nothing of it comes through any more. */
static void cut_behind_entry(struct scene *s, uint32_t leader, uint64_t index)
{
    uint32_t n = s->sim->options.node_count;
    uint32_t have = 0;
    for (int i = 0; i < 10000 && have < n - 1 && !scene_has_failed(s); i++) {
        scene_run_us(s, 10);
        have = 0;
        for (uint32_t k = 0; k < n; k++)
            have +=
                k != leader && raft_last_pos(sim_host_node(scene_host(s, k))->raft).index >= index;
    }
    scene_expect(s, have == n - 1, "the entry does not arrive");
    for (uint32_t k = 0; k < n; k++)
        scene_block(s, leader, k);
}

static uint32_t who_leads_now(struct scene *s)
{
    for (int i = 0; i < 100000 && !scene_has_failed(s); i++) {
        for (uint32_t k = 0; k < s->sim->options.node_count; k++) {
            const struct node *node = sim_host_node(scene_host(s, k));
            if (node && node->status.role == RAFT_LEADER)
                return k;
        }
        scene_run_us(s, 20);
    }
    scene_expect(s, false, "no new leader");
    return 0;
}

/* etcd 7331: a new leader answered reads as of its commit index before an entry of its own term
 * was committed; that index may be older than what the leader before it had acknowledged. Here the
 * reads wait for that entry. The others have "new", but not the news that it is committed; and the
 * new leader hears nobody for a while, so that it must wait indeed. */
static void play_7331(struct scene *s)
{
    scene_start(s);
    uint32_t old = scene_leader(s);
    scene_put(s, old, "key", "old");
    scene_heal(s);
    if (scene_has_failed(s))
        return;
    uint64_t last = raft_last_pos(sim_host_node(scene_host(s, old))->raft).index;
    struct scene_op *put = scene_begin_put(s, old, "key", "new");
    cut_behind_entry(s, old, last + 1);
    scene_expect(s, scene_end(s, put)->is_ok, "a majority has it");
    if (scene_has_failed(s))
        return;
    sim_host_kill(scene_host(s, old));
    uint32_t leader = who_leads_now(s);
    uint32_t other = scene_other(s, old, leader);
    if (scene_has_failed(s))
        return;
    const struct node *node = sim_host_node(scene_host(s, leader));
    scene_expect(s, raft_commit_index(node->raft) <= last, "it knows already");
    scene_block(s, other, leader);
    struct scene_op *first = scene_begin_get(s, leader, "key");
    struct scene_op *second = scene_begin_get(s, other, "key");
    scene_run(s, prng_below(&s->chance, SCENE_ELECTION_MS / 2));
    expect_new(s, first);
    scene_join(s);
    scene_expect(s, scene_end(s, first)->is_ok, "the new leader does not answer");
    scene_end(s, second);
    expect_new(s, first);
    expect_new(s, second);
    struct scene_answer now = scene_get(s, other, "key");
    scene_expect(s, strcmp(now.value, "new") == 0, "an acknowledged write is gone");
}

/* etcd 20418: a member asked for a read index, paused, and asked again under the same number; the
 * answer to its first question then passed for one to its second, and confirmed reads that had
 * begun after it. Here each question has a number of its own, and an answer confirms what had been
 * asked before. */
static void play_20418(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    uint32_t reader = scene_other(s, leader, leader);
    uint32_t writer = scene_other(s, leader, reader);
    scene_put(s, writer, "key", "old");
    struct sim_link *back = sim_net_link(&s->sim->net, leader, reader);
    for (int round = 0; round < 5 && !scene_has_failed(s); round++) {
        back->slow_us = (uint32_t)prng_below(&s->chance, 600000);
        struct scene_op *first = scene_begin_get(s, reader, "key");
        scene_run_us(s, prng_below(&s->chance, 1500));
        sim_host_pause(scene_host(s, reader));
        scene_run(s, prng_below(&s->chance, 2 * SCENE_ELECTION_MS));
        int64_t written = scene_put(s, writer, "key", "new");
        struct scene_op *second = scene_begin_get(s, reader, "key");
        scene_run_us(s, prng_below(&s->chance, 50000));
        if (scene_has_failed(s))
            return;
        sim_host_resume(scene_host(s, reader));
        scene_run_us(s, prng_below(&s->chance, 500000));
        struct scene_op *third = scene_begin_get(s, reader, "key");
        back->slow_us = 0;
        scene_end(s, first);
        const struct scene_answer *a = scene_end(s, second);
        const struct scene_answer *b = scene_end(s, third);
        scene_expect(s, !a->is_ok || a->revision >= written, "a read is stale: %" PRId64,
                     a->revision);
        scene_expect(s, !b->is_ok || b->revision >= written, "a read is stale: %" PRId64,
                     b->revision);
    }
}

const struct scenario scenarios_of_reads[] = {
    { "etcd-741", "a deposed leader answers no stale read", play_741, 0 },
    { "etcd-7331", "nor does a new one before its first commit", play_7331, 0 },
    { "etcd-20418", "nor a member that paused while it asked", play_20418, 0 },
    { 0 },
};
