/* Whole members: three of them in the simulator's world, without faults, and clients that ask one
 * of them, 64 calls at a time or one. All instructions of all three count, with what the world
 * itself takes: not its checkers and disks, nor clients' sessions and what they do with answers.
 */
#include <stdio.h>
#include <string.h>

#include "tests/perf/operations.h"
#include "tests/sim/scene.h"

enum { KEYS = 1000, SETTLE_MS = 5000 };

#define NOT_OURS                                                                       \
    "sim_check_turn sim_trace sim_h2_submit sim_h2_fill sim_h2_receive tell_finished " \
    "fake_disk_write"

static struct scene scene;
static uint32_t leader;
static uint32_t follower;
static struct prng chance;

static const char *key_of(uint32_t number)
{
    static char key[PERF_KEY_BYTES + 1];
    snprintf(key, sizeof key, "k%07u", number);
    return key;
}

static uint32_t key_number(void)
{
    return (uint32_t)prng_below(&chance, KEYS);
}

static struct scene_op *put(uint32_t node, uint32_t number)
{
    char value[PERF_VALUE_BYTES + 1];
    memset(value, 'a' + (int)prng_below(&chance, 26), PERF_VALUE_BYTES);
    value[PERF_VALUE_BYTES] = '\0';
    return scene_begin_put(&scene, node, key_of(number), value);
}

static void cluster_open(void)
{
    scene_open(&scene, &(struct scene_options){ .seed = 1, .node_count = 3 });
    scene_start(&scene);
    leader = scene_leader(&scene);
    follower = (leader + 1) % 3;
    chance = prng_seeded(3);
    struct scene_op *last = NULL;
    for (uint32_t number = 0; number < KEYS; number++) {
        last = put(number % 3, number);
        if (number % PERF_BATCH == 0)
            ASSERT(scene_end(&scene, last)->is_ok);
    }
    ASSERT(scene_end(&scene, last)->is_ok);
    scene_run(&scene, SETTLE_MS); /* what follows from these: flushes, trims */
}

static void cluster_close(void)
{
    ASSERT(scene_close(&scene));
}

static struct scene_op *begin_put(uint32_t node)
{
    return put(node, key_number());
}

static struct scene_op *begin_get(uint32_t node)
{
    return scene_begin_get(&scene, node, key_of(key_number()));
}

static struct scene_op *ops[PERF_BATCH];
static uint32_t op_count;

static void prepare(struct scene_op *(*begin)(uint32_t node), uint32_t node, uint32_t count)
{
    for (op_count = 0; op_count < count; op_count++)
        ops[op_count] = begin(node);
}

static void put_1_at_leader(void)
{
    prepare(begin_put, leader, 1);
}

static void put_64_at_leader(void)
{
    prepare(begin_put, leader, PERF_BATCH);
}

static void put_64_at_follower(void)
{
    prepare(begin_put, follower, PERF_BATCH);
}

static void get_64_at_leader(void)
{
    prepare(begin_get, leader, PERF_BATCH);
}

static void get_64_at_follower(void)
{
    prepare(begin_get, follower, PERF_BATCH);
}

/* Until all are answered, and what follows from it has come to everybody. */
static void run(void)
{
    for (uint32_t i = 0; i < op_count; i++)
        ASSERT(scene_end(&scene, ops[i])->is_ok);
    scene_run(&scene, 2);
}

const struct perf_operation perf_cluster_operations[] = {
    { .name = "cluster-put-1-at-leader",
      .rounds = 100,
      .counts_as = 1,
      .without = NOT_OURS,
      .open = cluster_open,
      .prepare = put_1_at_leader,
      .round = run,
      .close = cluster_close },
    { .name = "cluster-put-64-at-leader",
      .rounds = 40,
      .counts_as = PERF_BATCH,
      .without = NOT_OURS,
      .open = cluster_open,
      .prepare = put_64_at_leader,
      .round = run,
      .close = cluster_close },
    { .name = "cluster-put-64-at-follower",
      .rounds = 40,
      .counts_as = PERF_BATCH,
      .without = NOT_OURS,
      .open = cluster_open,
      .prepare = put_64_at_follower,
      .round = run,
      .close = cluster_close },
    { .name = "cluster-get-64-at-leader",
      .rounds = 40,
      .counts_as = PERF_BATCH,
      .without = NOT_OURS,
      .open = cluster_open,
      .prepare = get_64_at_leader,
      .round = run,
      .close = cluster_close },
    { .name = "cluster-get-64-at-follower",
      .rounds = 40,
      .counts_as = PERF_BATCH,
      .without = NOT_OURS,
      .open = cluster_open,
      .prepare = get_64_at_follower,
      .round = run,
      .close = cluster_close },
    { 0 },
};
