/* bench_echo.h: the echo workload, one call in flight, against a server of ours that does nothing
 * else: rpc/loop and rpc/grpc in a child process, which ends with the measurement.
 *
 * Thread: the process has no other one: it forks.
 */
#ifndef TOOLS_BENCH_ECHO_H
#define TOOLS_BENCH_ECHO_H

#include "tools/bench_flags.h"
#include "tools/bench_hist.h"

/* options: rounds and call_timeout_ms. False: why says what failed. */
bool bench_echo_run(const struct bench_options *options, struct bench_hist *ret_times,
                    char why[BENCH_ERROR_BYTES_MAX]) __attribute__((warn_unused_result));

#endif
