/* holdfast-sim: seeds in, verdicts out. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/run.h"

static void usage(void)
{
    fputs("holdfast-sim [--seed N | --seeds A-B] [--nodes 3] [--seconds 30] [--profile usual]\n"
          "             [--clients 8] [--think MS] [--jobs 1] [--trace] [--log] [--plan]\n"
          "             [--without-fault N,N,...]\nprofiles:\n",
          stderr);
    sim_profiles_print(stderr);
}

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool run_one(const struct run_options *o)
{
    double began_s = wall_s();
    struct run_result r = run(o);
    double took_s = wall_s() - began_s;
    printf("seed %" PRIu64 " %s: %016" PRIx64 " %" PRIu64 " events, %" PRIu64 " entries, %" PRIu64
           " operations, %u faults, "
           "%.1f s in %.2f s\n",
           o->seed, r.is_good ? "good" : "FAILED", r.hash, r.event_count, r.applied_count,
           r.op_count, r.fault_count, (double)r.virtual_us / 1e6, took_s);
    return r.is_good;
}

int main(int argc, char **argv)
{
    struct run_options o = {
        .seed = 1, .node_count = 3, .seconds = 30, .client_count = 8, .think_ms = 20
    };
    const char *profile = "usual";
    uint64_t seed_last = 0;
    static const struct option flags[] = {
        { "seed", required_argument, NULL, 's' },
        { "seeds", required_argument, NULL, 'S' },
        { "nodes", required_argument, NULL, 'n' },
        { "seconds", required_argument, NULL, 't' },
        { "profile", required_argument, NULL, 'p' },
        { "clients", required_argument, NULL, 'c' },
        { "think", required_argument, NULL, 'k' },
        { "trace", no_argument, NULL, 'T' },
        { "log", no_argument, NULL, 'L' },
        { "plan", no_argument, NULL, 'P' },
        { "without-fault", required_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
    };
    int flag;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) >= 0) {
        switch (flag) {
        case 's':
            o.seed = strtoull(optarg, NULL, 10);
            break;
        case 'S': {
            char *end;
            o.seed = strtoull(optarg, &end, 10);
            seed_last = strtoull(end + 1, NULL, 10);
            break;
        }
        case 'n':
            o.node_count = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 't':
            o.seconds = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            profile = optarg;
            break;
        case 'c':
            o.client_count = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'k':
            o.think_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'T':
            o.is_traced = true;
            break;
        case 'L':
            o.is_logged = true;
            break;
        case 'P':
            o.prints_plan = true;
            break;
        case 'w':
            for (char *at = optarg; *at && o.left_out_count < RUN_LEFT_OUT_MAX;) {
                o.left_out[o.left_out_count++] = (uint32_t)strtoul(at, &at, 10);
                at += *at == ',';
            }
            break;
        default:
            usage();
            return 2;
        }
    }
    o.profile = sim_profile_find(profile);
    if (!o.profile) {
        usage();
        return 2;
    }
    if (seed_last == 0)
        return run_one(&o) ? 0 : 1;
    int bad = 0;
    for (; o.seed <= seed_last; o.seed++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            bool ok = run_one(&o);
            fflush(stdout);
            exit(ok ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        if (status != 0) {
            bad++;
            printf("seed %lu: status %x\n", o.seed, status);
        }
    }
    printf("%d bad\n", bad);
    return bad > 0;
}
