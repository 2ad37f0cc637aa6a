/* run.h: one seed's run, from the start to the verdict.
 *
 * The members start, clients work, faults come (fault.h); then everything heals and the cluster
 * must elect, commit and converge within a bound of virtual time; then the clients stop, what they
 * saw is judged, and all members must be equal and end in order.
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include <sys/types.h>

#include "tests/sim/fault.h"

enum { RUN_LEFT_OUT_MAX = SIM_FAULTS_MAX, RUN_CLIENTS = 8 };

struct run_options {
    uint64_t seed;
    uint32_t node_count;
    uint32_t seconds; /* of faults, virtual */
    uint64_t steps;   /* or so many events of the world, whichever comes first; 0: any */
    uint32_t client_count;
    uint32_t think_ms;
    const struct sim_profile *profile;
    bool is_traced;
    bool is_logged;
    bool prints_plan;
    const char *history_path;            /* what the clients did, as EDN; NULL: not written */
    uint32_t left_out[RUN_LEFT_OUT_MAX]; /* faults */
    uint32_t left_out_count;
};

struct run_result {
    bool is_good;
    uint64_t hash; /* of everything that happened */
    uint64_t event_count;
    uint64_t virtual_us;
    uint64_t op_count;
    uint64_t applied_count;
    uint32_t fault_count;
};

struct run_result run(const struct run_options *options);

/* The faults that it would have. */
void run_plan(const struct run_options *options, struct sim_plan *ret_plan);

/* A directory for this process's files, which is then the current one: paths are part of what nodes
 * say, and the same in each run. */
void run_scratch_enter(void);

/* What a run in that process left on the disk, should it have died. */
void run_scratch_remove(pid_t pid);

#endif
