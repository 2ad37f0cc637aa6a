/* holdfast-sim: seeds in, verdicts out. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "tests/sim/many.h"
#include "tests/sim/measure.h"
#include "tests/sim/minimise.h"
#include "tests/sim/scenario.h"

enum { EXIT_GOOD, EXIT_BAD, EXIT_USAGE };

enum mode { MODE_ONE, MODE_MANY, MODE_MINIMISE };

struct command {
    enum mode mode;
    struct many_options many;
};

enum flag_id {
    FLAG_SEED = 1,
    FLAG_SEEDS,
    FLAG_NODES,
    FLAG_SECONDS,
    FLAG_STEPS,
    FLAG_PROFILE,
    FLAG_CLIENTS,
    FLAG_THINK,
    FLAG_WITHOUT,
    FLAG_TRACE,
    FLAG_LOG,
    FLAG_PLAN,
    FLAG_MINIMISE,
    FLAG_JOBS,
    FLAG_MIX,
    FLAG_FIRST,
    FLAG_MINUTES,
    FLAG_REPORT,
    FLAG_HISTORY,
};

static const struct option flags[] = {
    { "seed", required_argument, NULL, FLAG_SEED },
    { "seeds", required_argument, NULL, FLAG_SEEDS },
    { "nodes", required_argument, NULL, FLAG_NODES },
    { "seconds", required_argument, NULL, FLAG_SECONDS },
    { "steps", required_argument, NULL, FLAG_STEPS },
    { "profile", required_argument, NULL, FLAG_PROFILE },
    { "clients", required_argument, NULL, FLAG_CLIENTS },
    { "think-ms", required_argument, NULL, FLAG_THINK },
    { "without-fault", required_argument, NULL, FLAG_WITHOUT },
    { "trace", no_argument, NULL, FLAG_TRACE },
    { "log", no_argument, NULL, FLAG_LOG },
    { "plan", no_argument, NULL, FLAG_PLAN },
    { "minimise", no_argument, NULL, FLAG_MINIMISE },
    { "jobs", required_argument, NULL, FLAG_JOBS },
    { "mix", no_argument, NULL, FLAG_MIX },
    { "first", no_argument, NULL, FLAG_FIRST },
    { "minutes", required_argument, NULL, FLAG_MINUTES },
    { "report", required_argument, NULL, FLAG_REPORT },
    { "history", required_argument, NULL, FLAG_HISTORY },
    { NULL, 0, NULL, 0 },
};

static int usage(void)
{
    fputs("holdfast-sim --seed N [--trace] [--plan] [--log] [--history FILE] [--minimise]\n"
          "             [--without-fault N,N]\n"
          "holdfast-sim --seeds A-B [--jobs N] [--mix] [--first]\n"
          "holdfast-sim --minutes N [--jobs N] [--mix] [--report FILE]\n"
          "  with [--nodes 3] [--seconds 30] [--steps N] [--profile usual] [--clients 8]\n"
          "       [--think-ms 100]\n"
          "holdfast-sim --scenario NAME|all|list [SEED [--trace] [--log]]\n"
          "holdfast-sim --measure failover [RUNS | LOSS SEED] | speed\n"
          "profiles:\n",
          stderr);
    sim_profiles_print(stderr);
    return EXIT_USAGE;
}

static bool parse_number(const char **text, uint64_t *ret_number)
{
    char *end;
    *ret_number = strtoull(*text, &end, 10);
    bool is_number = end != *text && **text != '-';
    *text = end;
    return is_number;
}

static bool parse_all(const char *text, uint64_t max, uint64_t *ret_number)
{
    return parse_number(&text, ret_number) && *text == '\0' && *ret_number <= max;
}

static bool parse_seeds(const char *text, struct many_options *many)
{
    return parse_number(&text, &many->seed_first) && *text++ == '-' &&
           parse_all(text, UINT64_MAX, &many->seed_last) && many->seed_first <= many->seed_last;
}

static bool parse_without(const char *text, struct run_options *run)
{
    while (*text) {
        uint64_t fault;
        if (run->left_out_count == RUN_LEFT_OUT_MAX || !parse_number(&text, &fault) ||
            (*text != ',' && *text != '\0'))
            return false;
        run->left_out[run->left_out_count++] = (uint32_t)fault;
        text += *text == ',';
    }
    return true;
}

static bool parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret_number)
{
    uint64_t number;
    if (!parse_all(text, max, &number) || number < min)
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

/* Seeds that nobody has run. */
static uint64_t seed_unused(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000;
}

static bool parse_flag(struct command *c, enum flag_id flag, const char *text)
{
    struct run_options *run = &c->many.run;
    switch (flag) {
    case FLAG_SEED:
        return parse_all(text, UINT64_MAX, &run->seed);
    case FLAG_SEEDS:
        c->mode = MODE_MANY;
        return parse_seeds(text, &c->many);
    case FLAG_NODES:
        return parse_u32(text, 1, SIM_NODES_MAX, &run->node_count);
    case FLAG_SECONDS:
        return parse_u32(text, 0, 1000000, &run->seconds);
    case FLAG_STEPS:
        return parse_all(text, UINT64_MAX, &run->steps);
    case FLAG_PROFILE:
        run->profile = sim_profile_find(text);
        return run->profile != NULL;
    case FLAG_CLIENTS:
        return parse_u32(text, 0, 4096, &run->client_count);
    case FLAG_THINK:
        return parse_u32(text, 0, 1000000, &run->think_ms);
    case FLAG_WITHOUT:
        return parse_without(text, run);
    case FLAG_TRACE:
        run->is_traced = true;
        return true;
    case FLAG_LOG:
        run->is_logged = true;
        return true;
    case FLAG_PLAN:
        run->prints_plan = true;
        return true;
    case FLAG_MINIMISE:
        c->mode = MODE_MINIMISE;
        return true;
    case FLAG_JOBS:
        return parse_u32(text, 1, MANY_JOBS_MAX, &c->many.jobs);
    case FLAG_MIX:
        c->many.is_mixed = true;
        return true;
    case FLAG_FIRST:
        c->many.ends_at_bad = true;
        return true;
    case FLAG_MINUTES:
        c->mode = MODE_MANY;
        c->many.seed_first = seed_unused();
        return parse_u32(text, 1, 100000, &c->many.minutes);
    case FLAG_REPORT:
        c->many.report_path = text;
        return true;
    case FLAG_HISTORY:
        run->history_path = text;
        return true;
    }
    return false;
}

static int run_one(const struct run_options *o)
{
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    struct run_result r = run(o);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double took_s =
        (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("seed %" PRIu64 ": %s, trace %016" PRIx64 ", %" PRIu64 " events, %" PRIu64
           " operations, %" PRIu64 " entries, %u faults, %.1f s\n",
           o->seed, r.is_good ? "good" : "FAILED", r.hash, r.event_count, r.op_count,
           r.applied_count, r.fault_count, (double)r.virtual_us / 1e6);
    fprintf(stderr, "took %.2f s\n", took_s);
    return r.is_good ? EXIT_GOOD : EXIT_BAD;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--scenario") == 0)
        return scenario_main(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "--measure") == 0)
        return measure_main(argc - 2, argv + 2);
    struct command c = {
        .many = { .run = { .seed = 1,
                           .node_count = 3,
                           .seconds = 30,
                           .client_count = RUN_CLIENTS,
                           .think_ms = 100,
                           .profile = sim_profile_find("usual") },
                  .seed_last = UINT64_MAX,
                  .jobs = 1 },
    };
    int flag;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) >= 0) {
        if (flag == '?' || !parse_flag(&c, (enum flag_id)flag, optarg))
            return usage();
    }
    if (optind != argc)
        return usage();
    switch (c.mode) {
    case MODE_ONE:
        return run_one(&c.many.run);
    case MODE_MANY:
        return many_run(&c.many) == 0 ? EXIT_GOOD : EXIT_BAD;
    case MODE_MINIMISE:
        break;
    }
    return minimise(&c.many.run) ? EXIT_BAD : EXIT_GOOD;
}
