/* RAFT_SEED=n replays one of them with its trace on stderr.
 *
 * Random histories: faults of all kinds that the protocol promises to survive, under the checkers
 * of tests/support/raft_cluster_check.c; then everything heals, and progress is demanded. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/raft_cluster.h"

enum { STEPS = 2000 };

static uint64_t pick_node(struct cluster *c)
{
    return 1 + prng_below(&c->prng, c->options.node_count);
}

static struct cluster_options options_of(uint64_t seed)
{
    struct prng p = prng_seeded(seed ^ 0x5eed);
    struct cluster_options o = cluster_defaults(prng_below(&p, 3) == 0 ? 5 : 3, seed);
    o.learner_count = prng_below(&p, 4) == 0;
    o.link_max_ms = (uint32_t)prng_below(&p, 15) + 1;
    o.disk_max_ms = (uint32_t)prng_below(&p, 12) + 1;
    o.drop_permille = prng_below(&p, 2) == 0 ? 0 : (uint32_t)prng_below(&p, 150);
    o.duplicate_permille = (uint32_t)prng_below(&p, 100);
    o.flush_permille = (uint32_t)prng_below(&p, 500) + 50;
    o.core.pre_vote = prng_below(&p, 8) != 0;
    if (prng_below(&p, 3) == 0) { /* a window that is often full */
        o.core.window_entries_max = 16;
        o.core.window_bytes_max = 700;
        o.core.window_bytes_keep = prng_below(&p, 2) == 0 ? 0 : 200;
        o.core.uncommitted_bytes_max = 600;
        o.core.append_bytes_max = 128;
    }
    return o;
}

static void crash_one(struct cluster *c, uint64_t id)
{
    bool was_leader = id == cluster_leader(c);
    cluster_crash(c, id);
    if (!was_leader || prng_below(&c->prng, 2) == 0)
        return;
    for (uint64_t other = 1; other <= c->options.node_count; other++)
        if (cluster_node(c, other)->is_up && raft_status(cluster_node(c, other)->raft).leader == id)
            cluster_leader_dead(c, other);
}

static void cut_something(struct cluster *c)
{
    uint64_t a = pick_node(c);
    switch (prng_below(&c->prng, 4)) {
    case 0:
        cluster_cut_off(c, a, true);
        return;
    case 1:
        cluster_cut(c, a, pick_node(c), true);
        return;
    default:
        for (uint64_t i = 1; i <= c->options.node_count; i++)
            cluster_cut_off(c, i, false);
        return;
    }
}

static void use(struct cluster *c, uint64_t id)
{
    if (!cluster_node(c, id)->is_up)
        return;
    if (prng_below(&c->prng, 3) == 0)
        cluster_read(c, id);
    /* Deposed leaders that do not know it yet take proposals too. */
    for (id = 1; id <= c->options.node_count; id++)
        if (cluster_node(c, id)->is_up && prng_below(&c->prng, 2) == 0 &&
            raft_status(cluster_node(c, id)->raft).role == RAFT_LEADER)
            IGNORE(cluster_propose(c, id, 8 + (uint32_t)prng_below(&c->prng, 120)), "full is fine");
}

static void disturb(struct cluster *c)
{
    uint64_t id = pick_node(c);
    bool is_up = cluster_node(c, id)->is_up;
    switch (prng_below(&c->prng, 60)) {
    case 0:
    case 1:
        if (is_up)
            crash_one(c, id);
        return;
    case 2:
    case 3:
    case 4:
        if (!is_up)
            cluster_start(c, id);
        return;
    case 5:
        cut_something(c);
        return;
    case 6:
        if (is_up)
            cluster_link(c, id, pick_node(c), prng_below(&c->prng, 2) == 0);
        return;
    case 7: /* a false report now and then */
        if (is_up && prng_below(&c->prng, 8) == 0)
            cluster_leader_dead(c, id);
        return;
    case 8:
    case 9:
        if (is_up)
            cluster_flush(c, id);
        return;
    case 10: /* found its disk damaged, or repaired it */
        if (is_up)
            cluster_set_voice(c, id, prng_below(&c->prng, 4) != 0);
        return;
    default:
        if (prng_below(&c->prng, 2) == 0)
            use(c, id);
        return;
    }
}

static bool all_applied(struct cluster *c, uint64_t index)
{
    for (uint64_t id = 1; id <= c->options.node_count; id++)
        if (cluster_node(c, id)->applied < index)
            return false;
    return true;
}

/* No more faults: a leader, a new entry on every node and every read answered within some election
 * timeouts. */
static void heal_and_demand_progress(struct cluster *c)
{
    for (uint64_t id = 1; id <= c->options.node_count; id++)
        cluster_cut_off(c, id, false);
    c->options.drop_permille = 0;
    c->options.flush_permille = 1000;
    cluster_start_all(c);
    for (uint64_t id = 1; id <= c->options.node_count; id++)
        cluster_flush(c, id);
    for (uint64_t id = 1; id <= c->options.node_count; id++)
        cluster_set_voice(c, id, true);
    uint64_t until_ms = c->now_ms + 30ull * c->options.core.election_timeout_ms;
    uint64_t target = 0;
    uint64_t proposer = 0; /* its successor may drop what it proposed */
    while (cluster_step(c, until_ms)) {
        uint64_t leader = cluster_leader(c);
        if (leader != proposer && leader != 0 && cluster_propose(c, leader, 8) == RAFT_OK) {
            target = raft_last_pos(cluster_node(c, leader)->raft).index;
            proposer = leader;
        }
        if (target != 0 && all_applied(c, target))
            break;
    }
    cr_assert(target != 0 && all_applied(c, target), "seed %lu: no progress after healing",
              (unsigned long)c->options.seed);
    cluster_run(c, 5ull * c->options.core.election_timeout_ms);
    for (uint64_t i = 0; i < c->read_count; i++)
        cr_assert(c->reads[i].done || c->reads[i].life != cluster_node(c, c->reads[i].node)->life,
                  "seed %lu: read %lu is never answered", (unsigned long)c->options.seed,
                  (unsigned long)i);
}

struct totals {
    uint64_t steps, elections, committed, reads, served, no_room, fetches;
};

static void run_seed(uint64_t seed, struct totals *t)
{
    struct cluster_options options = options_of(seed);
    struct cluster *c = cluster_new(&options);
    if (getenv("RAFT_SEED"))
        c->trace_file = stderr;
    cluster_start_all(c);
    while (c->steps < STEPS) {
        if (!cluster_step(c, c->now_ms + 10))
            disturb(c);
        if (prng_below(&c->prng, 3) == 0)
            disturb(c);
    }
    heal_and_demand_progress(c);
    t->steps += c->steps;
    t->elections += c->elections;
    t->committed += c->truth_count;
    t->reads += c->read_count;
    for (uint64_t i = 0; i < c->read_count; i++)
        t->served += c->reads[i].done && !c->reads[i].refused;
    for (uint64_t i = 0; i < c->options.node_count; i++) {
        t->no_room += c->nodes[i].no_room_count;
        t->fetches += c->nodes[i].fetch_count;
    }
    cluster_free(c);
}

static void run_seeds(uint64_t first, uint64_t count)
{
    struct totals t = { 0 };
    if (getenv("RAFT_SEED")) {
        run_seed(strtoull(getenv("RAFT_SEED"), NULL, 10), &t);
        return;
    }
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, &t);
    if (getenv("RAFT_RANDOM_VERBOSE"))
        fprintf(stderr,
                "%lu steps, %lu elections, %lu committed, %lu of %lu reads served, %lu without "
                "room, %lu fetches\n",
                (unsigned long)t.steps, (unsigned long)t.elections, (unsigned long)t.committed,
                (unsigned long)t.served, (unsigned long)t.reads, (unsigned long)t.no_room,
                (unsigned long)t.fetches);
    /* A run in which little happens proves little. */
    cr_assert_gt(t.elections, count);
    cr_assert_gt(t.committed, 20 * count);
    cr_assert_gt(t.served, 5 * count);
    cr_assert_gt(t.no_room, 0);
    cr_assert_gt(t.fetches, 0);
}

Test(raft_random, keeps_its_promises_a)
{
    run_seeds(1, 300);
}

Test(raft_random, keeps_its_promises_b)
{
    run_seeds(1001, 300);
}
