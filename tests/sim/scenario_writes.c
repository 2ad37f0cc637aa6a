/* What was acknowledged, and what a crash may do to it. */
#include <inttypes.h>
#include <stdio.h>

#include "server/node_internal.h"
#include "tests/sim/scenario.h"

static uint32_t any_node(struct scene *s)
{
    return (uint32_t)prng_below(&s->chance, s->sim->options.node_count);
}

static void run_a_while(struct scene *s, uint64_t min_ms, uint64_t max_ms)
{
    scene_run_us(s, min_ms * 1000 + prng_below(&s->chance, (max_ms - min_ms) * 1000));
}

/* ---- kill -9 ---- */

/* etcd 13766: the index of the last applied entry could reach the disk in one commit and the
 * entry's effect in the next; killed in between, a member took the entry for applied and never
 * applied it. Here both are of one transaction (I3): members die within their blocking calls and
 * commits, and the state's hash at each index says who has skipped something. */
static void play_13766(struct scene *s)
{
    scene_start(s);
    scene_load(s);
    for (int i = 0; i < 8; i++) {
        uint32_t node = any_node(s);
        sim_host_kill_within(scene_host(s, node), 1 + prng_below(&s->chance, 30), false);
        run_a_while(s, 300, 900);
        if (!scene_host(s, node)->proc)
            scene_start_node(s, node);
    }
    scene_heal(s);
    scene_load_end(s);
    scene_heal(s);
}

/* etcd 15548: members that were restored one by one compared hashes with some of another history,
 * and raised the alarm over data that was whole. Here a hash is of an index and travels in
 * heartbeats of one cluster; members that start again one by one, in order or not, raise none. */
static void play_15548(struct scene *s)
{
    scene_start(s);
    scene_load(s);
    for (uint32_t i = 0; i < 2 * s->sim->options.node_count && !scene_has_failed(s); i++) {
        struct sim_host *h = scene_host(s, i % s->sim->options.node_count);
        if (prng_below(&s->chance, 2))
            sim_host_terminate(h);
        else
            sim_host_kill(h);
        run_a_while(s, 100, 1500);
        scene_heal(s);
    }
    scene_load_end(s);
    for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++) {
        const struct node *node = sim_host_node(scene_host(s, i));
        scene_expect(s, !node->is_corrupt, "%s raises a false alarm", scene_host(s, i)->name);
    }
}

/* All at once, under load: nobody is left to ask, and what was acknowledged is on the disks. */
static void play_kill_all(struct scene *s)
{
    scene_start(s);
    scene_load(s);
    for (int round = 0; round < 3; round++) {
        run_a_while(s, 300, 900);
        for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++)
            sim_host_kill(scene_host(s, i));
        scene_heal(s);
    }
    scene_load_end(s);
}

/* ---- power ---- */

static void cut_all(struct scene *s)
{
    for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++)
        sim_host_cut_power(scene_host(s, i));
}

/* The whole site loses power: each disk keeps what was synced and any part of the rest. */
static void play_site_power(struct scene *s)
{
    scene_start(s);
    scene_load(s);
    for (int round = 0; round < 3; round++) {
        run_a_while(s, 300, 900);
        cut_all(s);
        scene_heal(s);
    }
    scene_load_end(s);
}

/* etcd 14370: a cluster of one acknowledged a write when it was applied, with its log entry still
 * on the way to the disk. Here an entry counts as committed by those that have it durable, and
 * one's own vote is no exception (I1). */
static void play_14370(struct scene *s)
{
    play_site_power(s);
}

/* What a member reads back after a crash of the process may be in the page cache alone. It is
 * synced again before the member acknowledges anything on top of it (I6): after the power cut
 * that follows nothing is missing. */
static void play_power_after_kill(struct scene *s)
{
    scene_start(s);
    scene_load(s);
    for (int round = 0; round < 3; round++) {
        run_a_while(s, 200, 600);
        for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++)
            sim_host_kill(scene_host(s, i));
        scene_heal(s);
        run_a_while(s, 0, 100);
        cut_all(s);
        scene_heal(s);
    }
    scene_load_end(s);
}

/* ---- compaction ---- */

/* etcd 17780: the revision was found at start as the newest in the tree. When that was a deletion
 * and a compaction had just taken it, a crash right then made the revision fall, and a revision
 * was given twice. Here it is stored as a number of its own. */
static void play_17780(struct scene *s)
{
    scene_start(s);
    for (int round = 0; round < 6 && !scene_has_failed(s); round++) {
        for (int i = 0; i < 5; i++)
            scene_put(s, 0, "key", "value");
        int64_t deleted = scene_delete(s, 0, "key");
        struct scene_op *op = scene_begin_compact(s, 0, deleted, true);
        sim_host_kill_within(scene_host(s, 0), 1 + prng_below(&s->chance, 4), round % 2);
        run_a_while(s, 100, 400);
        if (scene_host(s, 0)->proc)
            sim_host_kill(scene_host(s, 0));
        scene_start_node(s, 0);
        scene_wait_serving(s, 0);
        scene_end(s, op);
        scene_reconnect(s);
        struct scene_answer a = scene_get(s, 0, "key");
        scene_expect(s, a.revision == deleted && a.count == 0,
                     "the revision was %" PRId64 " and is %" PRId64, deleted, a.revision);
        scene_expect(s, scene_put(s, 0, "other", "value") == deleted + 1, "not the next revision");
    }
}

/* etcd 18089, 19179: a compaction at the very revision of a deletion forgot the deletion, so who
 * asked from that revision on missed it. Reads are the judge here, watches have their own tests:
 * at that revision the key is gone, before it is compacted, whatever dies. */
static void play_18089(struct scene *s)
{
    scene_start(s);
    for (int round = 0; round < 3; round++) {
        int64_t put = scene_put(s, any_node(s), "key", "value");
        scene_put(s, any_node(s), "other", "value");
        int64_t deleted = scene_delete(s, any_node(s), "key");
        scene_compact(s, any_node(s), deleted);
        for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
            scene_expect(s, scene_get_at(s, i, "key", deleted).count == 0,
                         "what is deleted is back");
            const struct scene_answer *a =
                scene_end(s, scene_begin_txn(s, i, "key", put, "never", "value"));
            scene_expect(s, a->status == GRPC_OUT_OF_RANGE, "what is compacted is read");
        }
        cut_all(s);
        scene_heal(s);
        scene_reconnect(s);
        for (uint32_t i = 0; i < s->sim->options.node_count; i++)
            scene_expect(s, scene_get_at(s, i, "key", deleted).count == 0,
                         "what is deleted is back");
    }
}

/* etcd 18667: the member that a client was connected to checked the revision that a transaction
 * reads at, and failed it; all others left its reads out and applied its writes. Here every member
 * applies the same steps (I5): nobody has the write. And a compaction that races with it is before
 * or after it in the log, for everybody. */
static void play_18667(struct scene *s)
{
    scene_start(s);
    uint32_t n = s->sim->options.node_count;
    int64_t old = scene_put(s, any_node(s), "read", "1");
    scene_compact(s, any_node(s), scene_put(s, any_node(s), "read", "2"));
    for (uint32_t i = 0; i < n; i++) {
        const struct scene_answer *a =
            scene_end(s, scene_begin_txn(s, i, "read", old, "written", "value"));
        scene_expect(s, a->status == GRPC_OUT_OF_RANGE, "status %d: %s", (int)a->status, a->text);
    }
    scene_heal(s);
    for (uint32_t i = 0; i < n; i++)
        scene_expect(s, scene_get_serializable(s, i, "written").count == 0,
                     "a failed transaction has written at %s", scene_host(s, i)->name);
    for (int i = 0; i < 10; i++) {
        int64_t at = scene_put(s, any_node(s), "read", "3");
        int64_t newer = scene_put(s, any_node(s), "read", "4");
        struct scene_op *txn = scene_begin_txn(s, any_node(s), "read", at, "raced", "value");
        scene_run_us(s, prng_below(&s->chance, 300));
        struct scene_op *compact = scene_begin_compact(s, any_node(s), newer, false);
        scene_end(s, txn);
        scene_end(s, compact);
    }
    scene_heal(s); /* equal, by hash */
}

/* ---- once, not twice ---- */

enum { RETRIED = 60 };

/* Requests go to members that must forward them; then one of those things happens after which a
 * library may send again what has been done already. */
static void trouble(struct scene *s, uint32_t leader)
{
    switch (prng_below(&s->chance, 4)) {
    case 0:
        sim_host_kill(scene_host(s, leader));
        break;
    case 1:
        scene_isolate(s, leader);
        break;
    case 2: /* requests arrive, answers do not */
        for (uint32_t i = 0; i < s->sim->options.node_count; i++)
            scene_block(s, leader, i);
        break;
    default:
        for (uint32_t i = 0; i < s->sim->options.node_count; i++)
            sim_net_reset(&s->sim->net, leader, i);
        break;
    }
}

/* etcd 14890, 18424: libraries sent a transaction again after an answer was lost, and it ran
 * twice. What a client does is its own affair; here the members forward and try again on behalf of
 * clients, and must not do the same: a request takes effect once at most, and once exactly if it
 * was acknowledged. */
static void play_14890(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    struct scene_op *ops[RETRIED];
    uint64_t trouble_at = prng_below(&s->chance, RETRIED);
    for (uint64_t i = 0; i < RETRIED; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02u", (unsigned)i);
        uint32_t follower = scene_other(s, leader, leader);
        ops[i] = i % 2 ? scene_begin_put(s, follower, key, "value")
                       : scene_begin_txn(s, follower, "k", 0, key, "value");
        scene_run_us(s, prng_below(&s->chance, 300));
        if (i == trouble_at && !scene_has_failed(s))
            trouble(s, leader);
    }
    scene_run(s, 3 * SCENE_ELECTION_MS);
    scene_heal(s);
    for (uint64_t i = 0; i < RETRIED; i++)
        scene_end(s, ops[i]);
    scene_reconnect(s);
    for (uint64_t i = 0; i < RETRIED && !scene_has_failed(s); i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02u", (unsigned)i);
        const struct scene_answer *a = &ops[i]->answer;
        struct scene_answer seen = scene_get(s, any_node(s), key);
        scene_expect(s, seen.version <= 1, "%s ran %" PRId64 " times", key, seen.version);
        scene_expect(s, !a->is_ok || seen.version == 1, "%s was acknowledged and is gone", key);
    }
}

/* ---- a snapshot that takes longer than the log is retained for ---- */

enum { BESIDE_MS = 10, BESIDE_PUTS = 8 };

/* Writes at this rate, whatever becomes of them. */
static void write_beside(struct scene *s, uint32_t node, uint64_t for_ms)
{
    for (uint64_t at = 0; at < for_ms && !scene_has_failed(s); at += BESIDE_MS) {
        for (int i = 0; i < BESIDE_PUTS; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%u", (unsigned)prng_below(&s->chance, 5000));
            scene_begin_put(s, node, key, "a value of some length, as most are");
        }
        scene_run(s, BESIDE_MS);
    }
}

/* While a member gets a snapshot, more is written than the log is retained for, and catching up
 * with that takes a while: here the link is lost meanwhile. It gets all of it as entries, and not
 * one snapshot after the other for as long as writes go on. */
static void play_snapshot_beside_writes(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    uint32_t lost = scene_other(s, leader, leader);
    if (scene_has_failed(s))
        return;
    struct node *node = sim_host_node(scene_host(s, leader));
    node->options.memtable_bytes_max = 32 << 10;
    node->options.snapshot_bytes_per_s = 150 << 10;
    scene_isolate(s, lost);
    write_beside(s, leader, 12000); /* more than any leader keeps in memory */
    scene_join(s);
    for (int i = 0; i < 2000 && !scene_has_failed(s) && node->counters.snapshots_sent == 0; i++)
        write_beside(s, leader, BESIDE_MS);
    scene_isolate(s, lost);
    write_beside(s, leader, 3000);
    scene_join(s);
    write_beside(s, leader, 5000);
    if (scene_has_failed(s) || !scene_expect(s, scene_leader(s) == leader, "there was an election"))
        return;
    uint64_t ahead = node_status(node).applied_index;
    uint64_t behind = node_status(sim_host_node(scene_host(s, lost))).applied_index;
    scene_expect(s, node->counters.snapshots_sent == 1, "%lu snapshots were sent",
                 (unsigned long)node->counters.snapshots_sent);
    scene_expect(s, behind + 500 > ahead, "it has %lu of %lu entries", (unsigned long)behind,
                 (unsigned long)ahead);
    scene_wait_caught_up(s, lost);
}

/* ---- more than can be done ---- */

/* Without a quorum nothing is done, and what comes waits: in the node half of what may wait there,
 * and with its client the rest. Nobody is refused, and in the end all is done. */
static void play_too_fast(struct scene *s)
{
    enum { PUTS = 3000, A_STEP = 10, MORE_MAX = 256 /* that came with the last bytes */ };
    static struct scene_op *puts[PUTS];
    scene_start(s);
    uint32_t leader = scene_leader(s);
    if (scene_has_failed(s))
        return;
    scene_isolate(s, leader);
    for (int i = 0; i < PUTS && !scene_has_failed(s); i++) {
        puts[i] = scene_begin_put(s, leader, "key", "value");
        if (i % A_STEP == 0)
            scene_run(s, 1);
    }
    if (scene_has_failed(s))
        return;
    struct node_waiting waiting = node_waiting(sim_host_node(scene_host(s, leader)));
    scene_expect(s,
                 waiting.writes >= waiting.max / 2 && waiting.writes < waiting.max / 2 + MORE_MAX,
                 "%u writes wait, of %u", waiting.writes, waiting.max);
    scene_join(s);
    for (int i = 0; i < PUTS && !scene_has_failed(s); i++)
        scene_expect(s, scene_end(s, puts[i])->is_ok, "put %d: %s", i, puts[i]->answer.text);
}

const struct scenario scenarios_of_writes[] = {
    { "etcd-13766", "killed within any call, no member skips an entry", play_13766, 0 },
    { "etcd-14370", "one member alone acknowledges what is durable", play_14370, 1 },
    { "etcd-15548", "members that start again raise no false alarm", play_15548, 0 },
    { "etcd-17780", "killed in a compaction, the revision does not fall", play_17780, 1 },
    { "etcd-18089", "compaction at a deletion keeps it deleted", play_18089, 0 },
    { "etcd-18667", "a transaction that reads what is compacted fails everywhere", play_18667, 0 },
    { "etcd-14890", "no request takes effect twice", play_14890, 0 },
    { "snapshot-beside-writes", "writes go on, and one snapshot is enough",
      play_snapshot_beside_writes, 0 },
    { "too-fast", "what comes too fast waits with its client", play_too_fast, 0 },
    { "kill-all", "kill -9 of all at once loses nothing", play_kill_all, 0 },
    { "site-power", "a power cut of all at once loses nothing", play_site_power, 0 },
    { "power-after-kill", "nor does one right after a kill -9 and a start", play_power_after_kill,
      0 },
    { 0 },
};
