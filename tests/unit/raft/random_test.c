/* RAFT_SEED=n replays one of them with its trace on stderr; RAFT_SEEDS=n runs so many in each test.
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

/* Disks lose something in some runs; there, a quorum can do without any one voter. */
static bool are_disks_bad(uint64_t seed)
{
    return seed % 3 == 0;
}

static uint32_t voters_min(const struct cluster *c)
{
    return are_disks_bad(c->options.seed) ? 3 : 1;
}

static struct cluster_options options_of(uint64_t seed)
{
    struct prng p = prng_seeded(seed ^ 0x5eed);
    static const uint32_t sizes[] = { 3, 3, 3, 5, 5, 7 };
    struct cluster_options o = cluster_defaults(sizes[prng_below(&p, 6)], seed);
    bool may_have_learner = o.node_count > 3 || !are_disks_bad(seed);
    o.learner_count = may_have_learner && prng_below(&p, 4) == 0;
    if (prng_below(&p, 2) == 0) { /* some are only added later */
        o.node_count = o.node_count < 7 ? o.node_count + 2 : 7;
        o.spare_count = 2;
    }
    o.trim_permille = prng_below(&p, 2) == 0 ? 0 : (uint32_t)prng_below(&p, 400);
    o.snapshot_fail_permille = (uint32_t)prng_below(&p, 300);
    o.stays_joint = prng_below(&p, 10) == 0;
    o.link_max_ms = (uint32_t)prng_below(&p, 15) + 1;
    o.disk_max_ms = (uint32_t)prng_below(&p, 12) + 1;
    o.drop_permille = prng_below(&p, 2) == 0 ? 0 : (uint32_t)prng_below(&p, 150);
    o.duplicate_permille = (uint32_t)prng_below(&p, 100);
    o.late_permille = prng_below(&p, 2) == 0 ? 0 : (uint32_t)prng_below(&p, 100);
    o.late_max_ms = 150;
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

/* ---- members ---- */

static struct raft_config random_config(struct cluster *c)
{
    for (;;) {
        char text[2 * CLUSTER_NODES_MAX + 1];
        uint32_t size = 0;
        uint32_t voters = 0;
        for (uint32_t i = 0; i < c->options.node_count; i++) {
            uint64_t kind = prng_below(&c->prng, 8);
            if (kind < 2)
                continue;
            text[size++] = kind < 3 ? 'L' : ' ';
            text[size++] = (char)('1' + i);
            voters += kind >= 3;
        }
        text[size] = '\0';
        if (voters >= voters_min(c))
            return cluster_config(text);
    }
}

/* One member more, less or changed. */
static struct raft_config nearby_config(struct cluster *c, const struct raft_config *present)
{
    struct raft_config to = raft_config_left(present);
    uint32_t i = (uint32_t)prng_below(&c->prng, to.member_count);
    switch (prng_below(&c->prng, 3)) {
    case 0:
        to.members[i].roles ^= RAFT_VOTER | RAFT_LEARNER;
        return to;
    case 1:
        to.member_count--;
        memmove(to.members + i, to.members + i + 1, (to.member_count - i) * sizeof to.members[0]);
        return to;
    default:
        return random_config(c);
    }
}

static uint32_t voter_count(const struct raft_config *config)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->member_count; i++)
        count += (config->members[i].roles & RAFT_VOTER) != 0;
    return count;
}

static void change_members(struct cluster *c)
{
    uint64_t leader = cluster_leader(c);
    if (leader == 0)
        return;
    struct raft_config_at present = raft_config_in_force(cluster_node(c, leader)->raft);
    struct raft_config to = nearby_config(c, &present.config);
    if (voter_count(&to) < voters_min(c))
        return;
    if (raft_config_is_joint(&present.config))
        to = raft_config_left(&present.config);
    else if (prng_below(&c->prng, 8) != 0) /* else maybe one that may not follow */
        to = cluster_config_towards(&present.config, &to);
    if (prng_below(&c->prng, 8) == 0) /* likewise */
        to.members[prng_below(&c->prng, to.member_count)].roles ^= RAFT_VOTER_OUTGOING;
    enum raft_err err = cluster_propose_config(c, leader, &to);
    ASSERT(err == RAFT_OK || err == RAFT_E_CONFIG || err == RAFT_E_FULL);
}

static void transfer(struct cluster *c)
{
    uint64_t leader = cluster_leader(c);
    if (leader == 0)
        return;
    uint64_t to = prng_below(&c->prng, 2) == 0 ? 0 : pick_node(c);
    enum raft_err err = cluster_transfer(c, leader, to);
    ASSERT(err == RAFT_OK || err == RAFT_E_TRANSFEREE);
}

/* One disk at a time loses something, and no change of members is half done: with a voter less
 * that may stand still for good.
 *   1. {3,4,5} and the learner 2; 4 appends that 2 is a voter, alone, and is deposed
 *   2. 5 leads the next term, and brings an entry to 2 alone; then its disk loses it
 *   3. 4 needs 2's vote, who refuses a log older than its own, and as a learner cannot win itself.
 */
static bool may_damage(struct cluster *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->options.node_count; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (n->disk.awaits_repair && n->id != id)
            return false;
        if (cluster_config_at(c, n->disk.log, n->disk.last).index > c->truth_count ||
            (n->is_up && raft_config_in_force(n->raft).index > c->truth_count))
            return false;
    }
    return true;
}

static void damage(struct cluster *c, uint64_t id)
{
    if (!may_damage(c, id))
        return;
    if (cluster_node(c, id)->is_up)
        cluster_crash(c, id);
    uint64_t last = cluster_node(c, id)->disk.last;
    cluster_lose(c, id, last - prng_below(&c->prng, last < 12 ? last + 1 : 12),
                 prng_below(&c->prng, 3) == 0);
    cluster_start(c, id);
}

/* ---- faults ---- */

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
    switch (prng_below(&c->prng, 64)) {
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
    case 10: /* met nobody yet, or has */
        if (is_up)
            cluster_set_voice(c, id, prng_below(&c->prng, 4) != 0);
        return;
    case 11:
        change_members(c);
        return;
    case 12:
        if (prng_below(&c->prng, 3) == 0)
            transfer(c);
        return;
    case 13:
        if (prng_below(&c->prng, 2) == 0)
            cluster_stall(c, id, prng_below(&c->prng, 300));
        return;
    case 14:
        if (are_disks_bad(c->options.seed) && prng_below(&c->prng, 3) == 0)
            damage(c, id);
        return;
    default:
        if (prng_below(&c->prng, 2) == 0)
            use(c, id);
        return;
    }
}

/* On every member; there is none that is not in sight. */
static bool all_applied(struct cluster *c, uint64_t index)
{
    uint64_t leader = cluster_leader(c);
    if (leader == 0)
        return false;
    struct raft_config_at config = raft_config_in_force(cluster_node(c, leader)->raft);
    for (uint32_t i = 0; i < config.config.member_count; i++)
        if (cluster_node(c, config.config.members[i].id)->applied < index)
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
    c->options.late_permille = 0;
    c->options.flush_permille = 1000;
    c->options.snapshot_fail_permille = 0;
    c->options.stays_joint = false;
    for (uint32_t i = 0; i < c->options.node_count; i++)
        c->nodes[i].stalled_until_ms = 0;
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
    uint64_t snapshots, repairs, configs, transfers;
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
        t->snapshots += c->nodes[i].snapshot_count;
        t->repairs += c->nodes[i].repair_count;
        t->configs += c->nodes[i].config_count;
        t->transfers += c->nodes[i].timeout_now_count;
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
    if (getenv("RAFT_SEEDS"))
        count = strtoull(getenv("RAFT_SEEDS"), NULL, 10);
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, &t);
    if (getenv("RAFT_RANDOM_VERBOSE"))
        fprintf(
            stderr,
            "%lu steps, %lu elections, %lu committed, %lu of %lu reads served, %lu without "
            "room, %lu fetches, %lu snapshots, %lu repairs, %lu configurations, %lu transfers\n",
            (unsigned long)t.steps, (unsigned long)t.elections, (unsigned long)t.committed,
            (unsigned long)t.served, (unsigned long)t.reads, (unsigned long)t.no_room,
            (unsigned long)t.fetches, (unsigned long)t.snapshots, (unsigned long)t.repairs,
            (unsigned long)t.configs, (unsigned long)t.transfers);
    /* A run in which little happens proves little. */
    cr_assert_gt(t.elections, count);
    cr_assert_gt(t.committed, 20 * count);
    cr_assert_gt(t.served, 5 * count);
    cr_assert_gt(t.no_room, 0);
    cr_assert_gt(t.fetches, 0);
    cr_assert_gt(t.snapshots, count / 4);
    cr_assert_gt(t.repairs, count / 8);
    cr_assert_gt(t.configs, 2 * count);
    cr_assert_gt(t.transfers, count / 4);
}

Test(raft_random, keeps_its_promises_a)
{
    run_seeds(1, 300);
}

Test(raft_random, keeps_its_promises_b)
{
    run_seeds(1000001, 300);
}
