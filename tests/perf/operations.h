/* operations.h: what `make perf-check` counts the instructions of, each by its name.
 *
 * An operation is a round that repeats, in memory, with nothing in it but what is to be counted:
 * what it needs is made in `open` and `prepare`. Inputs come from seeds, so two runs of one binary
 * execute the same instructions, but for a few.
 *
 * Owner:  a process runs one operation; the state is static in the operation's file.
 */
#ifndef TESTS_PERF_OPERATIONS_H
#define TESTS_PERF_OPERATIONS_H

#include <stdint.h>

#include "base/assert.h"

enum { PERF_BATCH = 64, PERF_KEY_BYTES = 8, PERF_VALUE_BYTES = 256 };

struct perf_operation {
    const char *name;
    uint32_t rounds;     /* counted, after a quarter as many that are not */
    uint32_t counts_as;  /* how many operations one round is */
    const char *without; /* functions that belong to the test, separated by spaces: not counted,
                            nor what they call. None of them calls another. NULL: none */
    void (*open)(void);
    void (*prepare)(void); /* before each round; NULL: nothing to do */
    void (*round)(void);
    void (*close)(void);
};

/* Each ends with one that has no name. */
extern const struct perf_operation perf_rpc_operations[];
extern const struct perf_operation perf_log_operations[];
extern const struct perf_operation perf_raft_operations[];
extern const struct perf_operation perf_machine_operations[];
extern const struct perf_operation perf_kv_operations[];
extern const struct perf_operation perf_cluster_operations[];

#endif
