/* bench_run.h: a run: connections and calls in one loop, a warm-up, the measured part.
 *
 * Owner:  the caller of the result; nothing in it points elsewhere.
 * Thread: one run at a time in a process, since SIGINT and SIGTERM end it.
 * Errors: false: why says what kept it from running at all.
 */
#ifndef TOOLS_BENCH_RUN_H
#define TOOLS_BENCH_RUN_H

#include "tools/bench_flags.h"
#include "tools/bench_tally.h"
#include "tools/bench_usage.h"

struct bench_result {
    struct bench_tally tally;
    double seconds;
    uint64_t client_cpu_us;
    struct bench_usage servers; /* of the measured part */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t unfinished; /* calls in flight at the end, and in an open loop those not sent */
    uint64_t unfinished_oldest_ns; /* how long the oldest of them has waited */
    bool is_interrupted;
};

/* Zeroed before. */
bool bench_run(const struct bench_options *options, struct bench_result *result,
               char why[BENCH_ERROR_BYTES_MAX]) __attribute__((warn_unused_result));

#endif
