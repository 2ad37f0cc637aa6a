/* How long a cluster is without a leader, and what must not cost it one: over many seeds, in
 * virtual time, at LAN delays.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/host.h"
#include "tests/sim/workload.h"

/* Election time-outs are drawn from [1, 2) times the least. */
enum { SEEDS = 100, ELECTION_MS = 1000, SILENCE_MS_MAX = 2 * ELECTION_MS, MS = 1000 };

struct cluster {
    struct sim *sim;
    struct workload *clients;
    char scratch[64];
};

static struct workload *clients_open(struct sim *sim)
{
    struct io_addr endpoints[SIM_NODES_MAX];
    uint32_t count = sim->options.node_count;
    for (uint32_t i = 0; i < count; i++)
        endpoints[i] = sim->hosts[i].client_addr;
    struct workload_options options = workload_options_usual();
    options.io = sim_host_io(&sim->hosts[count]);
    options.endpoints = endpoints;
    options.endpoint_count = count;
    options.seed = sim->options.seed;
    struct workload *clients = workload_open(&options);
    cr_assert_not_null(clients);
    workload_start(clients);
    return clients;
}

static void on_clients_closed(void *owner)
{
    ((struct cluster *)owner)->clients = NULL;
}

static struct cluster cluster_start(uint64_t seed, uint32_t node_count)
{
    struct cluster c = { .scratch = "/dev/shm/holdfast-failover-XXXXXX" };
    cr_assert_not_null(mkdtemp(c.scratch));
    c.sim = sim_new(&(struct sim_options){ .seed = seed,
                                           .node_count = node_count,
                                           .client_host_count = 1,
                                           .scratch = c.scratch,
                                           .election_ms = ELECTION_MS });
    for (uint32_t i = 0; i < node_count; i++)
        cr_assert(sim_host_start(&c.sim->hosts[i]));
    c.clients = clients_open(c.sim);
    sim_run_until(c.sim, c.sim->now_us + 3000 * MS + seed * 7919 % 200000);
    return c;
}

static void cluster_end(struct cluster *c)
{
    cr_assert(!c->sim->has_failed);
    workload_close(c->clients, on_clients_closed, c);
    while (c->clients)
        sim_run_until(c->sim, c->sim->now_us + 1000 * MS);
    sim_free(c->sim);
    rmdir(c->scratch);
}

static struct sim_host *leader_of(const struct cluster *c)
{
    struct sim_host *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < c->sim->options.node_count; i++) {
        struct sim_host *h = &c->sim->hosts[i];
        const struct node *node = sim_host_node(h);
        if (node && node->status.role == RAFT_LEADER && node->status.term > term) {
            leader = h;
            term = node->status.term;
        }
    }
    return leader;
}

static uint64_t term_of(const struct sim_host *h)
{
    return sim_host_node(h)->status.term;
}

/* Until another member leads a later term and has committed in it. */
static uint64_t us_until_led(struct cluster *c, uint64_t term, uint64_t max_us)
{
    uint64_t began_us = c->sim->now_us;
    while (c->sim->now_us < began_us + max_us) {
        sim_run_until(c->sim, c->sim->now_us + 500);
        const struct sim_host *h = leader_of(c);
        if (h && term_of(h) > term && sim_host_node(h)->applied_term == term_of(h))
            return c->sim->now_us - began_us;
    }
    return max_us;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t percentile(uint64_t *us, size_t count, size_t percent)
{
    qsort(us, count, sizeof *us, compare);
    return us[(count * percent + 99) / 100 - 1];
}

Test(failover, a_killed_leader_is_replaced_in_tens_of_milliseconds)
{
    static uint64_t us[SEEDS];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster c = cluster_start(seed, seed % 2 ? 5 : 3);
        struct sim_host *leader = leader_of(&c);
        uint64_t term = term_of(leader);
        sim_host_kill(leader);
        us[seed] = us_until_led(&c, term, 10000 * MS);
        cluster_end(&c);
    }
    uint64_t worst = percentile(us, SEEDS, 99);
    printf("leader killed: half within %lu us, 99%% within %lu us\n",
           (unsigned long)percentile(us, SEEDS, 50), (unsigned long)worst);
    cr_expect_lt(worst, 50 * MS, "%lu us", worst);
}

static void fall_silent(struct cluster *c, struct sim_host *leader)
{
    (void)c;
    sim_host_pause(leader);
}

static void isolate(struct cluster *c, struct sim_host *leader)
{
    for (uint32_t i = 0; i < c->sim->host_count; i++) {
        sim_net_link(&c->sim->net, leader->index, i)->blocked = i != leader->index;
        sim_net_link(&c->sim->net, i, leader->index)->blocked = i != leader->index;
    }
}

static void join(struct cluster *c)
{
    for (uint32_t i = 0; i < c->sim->host_count * c->sim->host_count; i++)
        c->sim->net.links[i].blocked = 0;
}

static void check_silence(void (*silence)(struct cluster *c, struct sim_host *leader))
{
    static uint64_t us[SEEDS];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster c = cluster_start(seed, seed % 2 ? 5 : 3);
        struct sim_host *leader = leader_of(&c);
        uint64_t term = term_of(leader);
        silence(&c, leader);
        us[seed] = us_until_led(&c, term, 10000 * MS);
        cluster_end(&c);
    }
    uint64_t worst = percentile(us, SEEDS, 99);
    printf("leader silent: half within %lu us, 99%% within %lu us\n",
           (unsigned long)percentile(us, SEEDS, 50), (unsigned long)worst);
    cr_expect_lt(worst, SILENCE_MS_MAX * MS, "%lu us", worst);
}

Test(failover, a_paused_leader_is_replaced_by_the_longest_election_timeout)
{
    check_silence(fall_silent);
}

Test(failover, an_isolated_leader_is_replaced_by_the_longest_election_timeout)
{
    check_silence(isolate);
}

Test(failover, a_disk_that_stalls_for_200_ms_costs_no_leader)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct cluster c = cluster_start(seed, 3);
        uint64_t term = term_of(leader_of(&c));
        for (uint32_t i = 0; i < 3; i++) {
            c.sim->hosts[i].disk_faults.stalled_until_us = c.sim->now_us + 200 * MS;
            sim_run_until(c.sim, c.sim->now_us + 1000 * MS);
            cr_assert_eq(term_of(leader_of(&c)), term, "seed %lu", seed);
        }
        cluster_end(&c);
    }
}

Test(failover, a_member_that_was_cut_off_comes_back_without_an_election)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct cluster c = cluster_start(seed, 3);
        struct sim_host *leader = leader_of(&c);
        uint64_t term = term_of(leader);
        struct sim_host *follower = &c.sim->hosts[(leader->index + 1 + seed % 2) % 3];
        isolate(&c, follower);
        sim_run_until(c.sim, c.sim->now_us + 6000 * MS);
        join(&c);
        sim_run_until(c.sim, c.sim->now_us + 6000 * MS);
        cr_assert_eq(leader_of(&c), leader, "seed %lu", seed);
        cr_assert_eq(term_of(leader), term, "seed %lu", seed);
        cr_assert_eq(term_of(follower), term, "seed %lu", seed);
        cluster_end(&c);
    }
}
