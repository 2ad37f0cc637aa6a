#include "tests/sim/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/check.h"
#include "tests/sim/load.h"
#include "tests/sim/run.h"
#include "tests/sim/scene.h"

enum {
    RUNS = 500,
    RUNS_OF_TEST = 60,
    RUNS_MAX = 100000,
    WRITE_EACH_US = 1000,
    WARM_UP_MS = 500,
    PATIENCE_MS = 20000,
    SPEED_CLIENTS = 64,
    SPEED_SECONDS = 10,
    SLOW_CLIENTS = 8,
    SLOW_THINK_MS = 500,
    SLOW_SECONDS = 200,
};

/* ---- how a leader is lost ---- */

static void lose_power(struct scene *s, uint32_t leader)
{
    sim_host_cut_power(scene_host(s, leader));
}

static void kill_it(struct scene *s, uint32_t leader)
{
    sim_host_kill(scene_host(s, leader));
}

static void pause_it(struct scene *s, uint32_t leader)
{
    sim_host_pause(scene_host(s, leader));
}

static void terminate(struct scene *s, uint32_t leader)
{
    sim_host_terminate(scene_host(s, leader));
}

static const struct loss {
    const char *name;
    void (*happens)(struct scene *s, uint32_t leader);
    uint64_t p99_ms_max; /* of the promise; 0: none is made */
} losses[] = {
    { "kill -9", kill_it, 50 },
    { "SIGTERM", terminate, 50 },
    { "power cut", lose_power, 3 * SCENE_ELECTION_MS / 2 },
    { "partition", scene_isolate, 3 * SCENE_ELECTION_MS / 2 },
    { "pause", pause_it, 3 * SCENE_ELECTION_MS / 2 },
};

/* ---- a client that writes all the time ---- */

struct writer {
    struct scene *scene;
    uint32_t leader; /* the one that is lost */
    uint64_t lost_us;
    uint64_t served_us; /* the first write begun since then is acknowledged; 0: none yet */
    uint64_t count;
};

static void on_written(struct scene_op *op)
{
    struct writer *w = op->owner;
    if (op->answer.is_ok && w->lost_us > 0 && w->served_us == 0 && op->began_us >= w->lost_us)
        w->served_us = op->ended_us;
}

/* One write at each node but the leader, whatever became of those before. */
static void write_round(struct writer *w)
{
    struct scene *s = w->scene;
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        if (i == w->leader)
            continue;
        char key[16];
        snprintf(key, sizeof key, "k%02u", (unsigned)(w->count++ % 100));
        struct scene_op *op = scene_begin_put(s, i, key, "value");
        op->done = on_written;
        op->owner = w;
    }
    scene_run_us(s, WRITE_EACH_US);
}

/* Microseconds of virtual time; UINT64_MAX: something else was wrong. */
static uint64_t failover_us(const struct loss *loss, uint64_t seed, bool is_traced)
{
    struct scene s;
    scene_open(&s,
               &(struct scene_options){ .seed = seed, .node_count = 3, .is_traced = is_traced });
    scene_start(&s);
    struct writer w = { .scene = &s, .leader = scene_leader(&s) };
    uint64_t warm_up_ms = WARM_UP_MS + prng_below(&s.chance, 2 * SCENE_HEARTBEAT_MS);
    for (uint64_t ms = 0; ms < warm_up_ms; ms++)
        write_round(&w);
    scene_run_us(&s, prng_below(&s.chance, WRITE_EACH_US));
    w.lost_us = s.sim->now_us;
    loss->happens(&s, w.leader);
    for (uint64_t ms = 0; ms < PATIENCE_MS && w.served_us == 0 && !scene_has_failed(&s); ms++)
        write_round(&w);
    scene_expect(&s, w.served_us > 0, "no write goes through, %d s long", PATIENCE_MS / 1000);
    scene_heal(&s);
    return scene_close(&s) ? w.served_us - w.lost_us : UINT64_MAX;
}

/* ---- many of them ---- */

static int compare_us(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Each run in a process of its own, as scenarios are. */
static uint64_t failover_apart(const struct loss *loss, uint64_t seed)
{
    int ends[2];
    ASSERT(pipe(ends) == 0);
    fflush(stdout);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        uint64_t us = failover_us(loss, seed, false);
        _exit(write(ends[1], &us, sizeof us) == sizeof us && us != UINT64_MAX ? 0 : 1);
    }
    close(ends[1]);
    uint64_t us = UINT64_MAX;
    bool is_told = read(ends[0], &us, sizeof us) == sizeof us;
    close(ends[0]);
    int status;
    ASSERT(waitpid(pid, &status, 0) == pid);
    run_scratch_remove(pid);
    return is_told && status == 0 ? us : UINT64_MAX;
}

static double ms_of(uint64_t us)
{
    return (double)us / 1000;
}

/* Sorted; the p-th percentile is the least value that p percent do not exceed. */
static uint64_t percentile(const uint64_t *us, size_t count, size_t p)
{
    return us[(count * p + 99) / 100 - 1];
}

static bool measure_loss(const struct loss *loss, uint32_t runs)
{
    uint64_t *us = calloc(runs, sizeof *us);
    ASSERT(us);
    for (uint32_t i = 0; i < runs; i++)
        us[i] = failover_apart(loss, i + 1);
    uint64_t slowest = 0;
    for (uint32_t i = 0; i < runs; i++)
        slowest = us[i] > us[slowest] ? i : slowest;
    uint64_t slowest_seed = slowest + 1;
    qsort(us, runs, sizeof *us, compare_us);
    bool is_good = us[runs - 1] != UINT64_MAX &&
                   (loss->p99_ms_max == 0 || percentile(us, runs, 99) < loss->p99_ms_max * 1000);
    printf("%-10s median %8.1f ms, p90 %8.1f, p99 %8.1f, max %8.1f (seed %lu)%s\n", loss->name,
           ms_of(percentile(us, runs, 50)), ms_of(percentile(us, runs, 90)),
           ms_of(percentile(us, runs, 99)), ms_of(us[runs - 1]), (unsigned long)slowest_seed,
           is_good ? "" : ": TOO LONG");
    fflush(stdout);
    free(us);
    return is_good;
}

static int usage(void)
{
    fputs("--measure failover [RUNS]\n--measure failover NAME SEED\n--measure speed\n", stderr);
    return 2;
}

static bool measure_failover(uint32_t runs)
{
    bool is_good = true;
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++)
        is_good &= measure_loss(&losses[i], runs);
    return is_good;
}

/* One of them again, in full. */
static int failover_again(const char *name, uint64_t seed)
{
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        if (strcmp(name, losses[i].name) != 0)
            continue;
        uint64_t us = failover_us(&losses[i], seed, true);
        printf("%s, seed %lu: %.1f ms\n", name, (unsigned long)seed, ms_of(us));
        return us == UINT64_MAX;
    }
    return usage();
}

bool measure_failover_holds(void)
{
    return measure_failover(RUNS_OF_TEST);
}

/* ---- speed ---- */

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool measure_speed_of(const char *what, uint32_t clients, uint32_t think_ms,
                             uint32_t seconds)
{
    struct scene s;
    scene_open(&s, &(struct scene_options){ .seed = 1, .node_count = 3 });
    scene_start(&s);
    struct load *load = load_open(s.sim, clients, think_ms);
    scene_run(&s, 1000);
    uint64_t ops = load_ops(load);
    double began_s = wall_s();
    scene_run(&s, (uint64_t)seconds * 1000);
    double took_s = wall_s() - began_s;
    ops = load_ops(load) - ops;
    printf("%-14s %u clients: %.0f operations a wall second, %.1f simulated seconds a wall "
           "second\n",
           what, clients, (double)ops / took_s, seconds / took_s);
    load_stop(load);
    load_close(load);
    return scene_close(&s);
}

static bool measure_speed(void)
{
    return measure_speed_of("busy clients", SPEED_CLIENTS, 0, SPEED_SECONDS) &&
           measure_speed_of("slow clients", SLOW_CLIENTS, SLOW_THINK_MS, SLOW_SECONDS);
}

int measure_main(int argc, char **argv)
{
    const char *what = argc > 0 ? argv[0] : "";
    if (strcmp(what, "speed") == 0)
        return measure_speed() ? 0 : 1;
    if (strcmp(what, "failover") != 0)
        return usage();
    if (argc > 2)
        return failover_again(argv[1], strtoull(argv[2], NULL, 10));
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) : RUNS;
    if (runs == 0 || runs > RUNS_MAX)
        return usage();
    return measure_failover((uint32_t)runs) ? 0 : 1;
}
