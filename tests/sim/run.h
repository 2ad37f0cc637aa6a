/* run.h: one seed's run, from the start to the verdict.
 *
 * The members start, clients work, faults come (fault.h); then everything heals and the cluster
 * must elect, commit and converge within a bound of virtual time; then the clients stop, what they
 * saw is judged, and all members must be equal and end in order.
 */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/fault.h"

enum { RUN_LEFT_OUT_MAX = 256 };

struct run_options {
    uint64_t seed;
    uint32_t node_count;
    uint32_t seconds; /* of faults, virtual */
    uint32_t client_count;
    uint32_t think_ms;
    const struct sim_profile *profile;
    bool is_traced;
    bool is_logged;
    bool prints_plan;
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

#endif
