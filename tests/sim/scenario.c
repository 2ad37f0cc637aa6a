#include "tests/sim/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/measure.h"
#include "tests/sim/run.h"

enum { EXIT_GOOD, EXIT_BAD, EXIT_USAGE, JOBS_MAX = 16 };

static const struct scenario *const tables[] = {
    scenarios_of_writes, scenarios_of_reads,   scenarios_of_elections,
    scenarios_of_disks,  scenarios_of_members,
};

static const char FAILOVER[] = "fail-over";

struct order {
    uint64_t seed_first;
    uint64_t seed_last;
    bool is_traced;
    bool is_logged;
};

static bool play_one(const struct scenario *c, const struct order *r, uint64_t seed)
{
    struct scene s;
    scene_open(&s, &(struct scene_options){ .seed = seed,
                                            .node_count = c->node_count ? c->node_count : 3,
                                            .is_traced = r->is_traced,
                                            .is_logged = r->is_logged });
    c->play(&s);
    return scene_close(&s);
}

/* In a process of its own: one that fails leaves its world as it stands. */
static pid_t play_apart(const struct scenario *c, const struct order *r, uint64_t seed)
{
    fflush(stdout);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid > 0)
        return pid;
    bool is_good = play_one(c, r, seed);
    fflush(stdout);
    _exit(is_good ? EXIT_GOOD : EXIT_BAD);
}

struct child {
    pid_t pid; /* 0: none */
    uint64_t seed;
};

/* Waits for one of them. Returns whether it was bad. */
static bool child_end(const struct scenario *c, struct child *children, size_t count)
{
    int status;
    pid_t pid = wait(&status);
    ASSERT(pid > 0);
    run_scratch_remove(pid);
    size_t i = 0;
    while (i < count - 1 && children[i].pid != pid)
        i++;
    children[i].pid = 0;
    if (status != 0)
        printf("  build/holdfast-sim --scenario %s %lu --trace\n", c->name,
               (unsigned long)children[i].seed);
    return status != 0;
}

/* As many at a time as there are processors. */
static bool play(const struct scenario *c, const struct order *r)
{
    struct child children[JOBS_MAX] = { 0 };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t jobs = processors < 1 ? 1 : processors > JOBS_MAX ? JOBS_MAX : (size_t)processors;
    size_t running = 0;
    unsigned bad = 0;
    for (uint64_t seed = r->seed_first; seed <= r->seed_last; seed++) {
        if (running == jobs) {
            bad += child_end(c, children, jobs);
            running--;
        }
        size_t i = 0;
        while (children[i].pid != 0)
            i++;
        children[i] = (struct child){ play_apart(c, r, seed), seed };
        running++;
    }
    for (; running > 0; running--)
        bad += child_end(c, children, jobs);
    if (bad == 0)
        printf("%s: good\n", c->name);
    else
        printf("%s: FAILED with %u of %lu seeds\n", c->name, bad,
               (unsigned long)(r->seed_last - r->seed_first + 1));
    return bad == 0;
}

static bool play_failover(void)
{
    bool is_good = measure_failover_holds();
    printf("%s: %s\n", FAILOVER, is_good ? "good" : "FAILED");
    return is_good;
}

static int list_all(void)
{
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct scenario *c = tables[t]; c->name; c++)
            printf("%-26s %s\n", c->name, c->about);
    }
    printf("%-26s %s\n", FAILOVER, "writes go on in time after each kind of loss of the leader");
    return EXIT_GOOD;
}

static int play_named(const char *name, const struct order *r)
{
    bool is_all = strcmp(name, "all") == 0;
    unsigned good = 0, bad = 0;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct scenario *c = tables[t]; c->name; c++) {
            if (!is_all && strcmp(name, c->name) != 0)
                continue;
            bool is_good = play(c, r);
            good += is_good;
            bad += !is_good;
        }
    }
    if (is_all || strcmp(name, FAILOVER) == 0) {
        bool is_good = play_failover();
        good += is_good;
        bad += !is_good;
    }
    if (good + bad == 0) {
        fprintf(stderr, "no scenario is called %s\n", name);
        return EXIT_USAGE;
    }
    printf("%u passed, %u failed\n", good, bad);
    return bad == 0 ? EXIT_GOOD : EXIT_BAD;
}

int scenario_main(int argc, char **argv)
{
    struct order r = { .seed_first = 1, .seed_last = SCENARIO_SEEDS };
    const char *name = argc > 0 ? argv[0] : "list";
    for (int i = 1; i < argc; i++) {
        char *end;
        if (strcmp(argv[i], "--trace") == 0) {
            r.is_traced = true;
        } else if (strcmp(argv[i], "--log") == 0) {
            r.is_logged = true;
        } else {
            r.seed_first = r.seed_last = strtoull(argv[i], &end, 10);
            if (*end != '\0' || end == argv[i]) {
                fprintf(stderr, "%s: not a seed\n", argv[i]);
                return EXIT_USAGE;
            }
        }
    }
    return strcmp(name, "list") == 0 ? list_all() : play_named(name, &r);
}
