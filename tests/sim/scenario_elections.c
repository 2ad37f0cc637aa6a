/* Who leads, and what must not disturb it. */
#include "server/node_internal.h"
#include "tests/sim/scenario.h"

/* A node that was cut off comes back: it has asked for pre-votes in vain, so its term is the
 * cluster's own, and nobody lets go of the leader (thesis §9.6). */
static void play_rejoin(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    uint32_t lost = scene_other(s, leader, leader);
    uint64_t term = scene_term(s);
    scene_isolate(s, lost);
    for (int i = 0; i < 20; i++) {
        scene_put(s, leader, "key", "meanwhile");
        scene_run(s, 100 + prng_below(&s->chance, 400));
    }
    scene_expect(s, scene_term(s) == term, "the node that is cut off raises its term");
    scene_join(s);
    scene_wait_caught_up(s, lost);
    scene_run(s, 5 * SCENE_ELECTION_MS);
    scene_expect(s, scene_term(s) == term && scene_leader(s) == leader,
                 "a node that came back has caused an election");
}

static void stall(struct scene *s, uint32_t node)
{
    uint64_t term = scene_term(s);
    uint32_t leader = scene_leader(s);
    scene_load(s);
    for (int i = 0; i < 5; i++) {
        scene_run(s, 300 + prng_below(&s->chance, 300));
        scene_stall_disk(s, node, 200);
    }
    scene_run(s, 2 * SCENE_ELECTION_MS);
    scene_expect(s, scene_term(s) == term && scene_leader(s) == leader,
                 "a disk that stalls for 200 ms has caused an election");
    scene_load_end(s);
}

static void play_stall_of_leader(struct scene *s)
{
    scene_start(s);
    stall(s, scene_leader(s));
}

static void play_stall_of_follower(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    stall(s, scene_other(s, leader, leader));
}

/* For five seconds its disk takes nothing: what it leads stands still, so after an election timeout
 * it hands over, and does not come back for as long (design: a leader that no longer hears its
 * disk). */
static void play_stall_long(struct scene *s)
{
    scene_start(s);
    uint32_t old = scene_leader(s);
    scene_put(s, old, "key", "before");
    scene_stall_disk(s, old, 5 * SCENE_ELECTION_MS);
    struct scene_op *stuck = scene_begin_put(s, old, "key", "stuck");
    uint64_t began_us = s->sim->now_us;
    uint32_t leader = scene_leader_but(s, old);
    scene_expect(s, s->sim->now_us - began_us < 2000 * (uint64_t)SCENE_ELECTION_MS,
                 "a leader without a disk stays");
    scene_put(s, leader, "key", "after");
    uint64_t term = scene_term(s);
    scene_run(s, 6 * SCENE_ELECTION_MS);
    scene_expect(s, scene_leader(s) == leader && scene_term(s) == term,
                 "the one without a disk disturbs the others");
    scene_end(s, stuck);
    scene_heal(s);
}

const struct scenario scenarios_of_elections[] = {
    { "rejoin", "a node that was cut off comes back without an election", play_rejoin, 0 },
    { "stall-leader", "200 ms without the leader's disk cause no election", play_stall_of_leader,
      0 },
    { "stall-follower", "200 ms without a follower's disk cause no election",
      play_stall_of_follower, 0 },
    { "stall-long", "five seconds without it hand over", play_stall_long, 0 },
    { 0 },
};
