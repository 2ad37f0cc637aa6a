/* bench_usage.h: what processes have used so far: this one (getrusage), servers (/proc).
 *
 * Plain values; differences of two of them are what the time between cost.
 */
#ifndef TOOLS_BENCH_USAGE_H
#define TOOLS_BENCH_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bench_usage {
    bool is_known;   /* false: a process is gone, or not ours to look at */
    uint64_t cpu_us; /* user and system */
    uint64_t written_bytes;
};

struct bench_usage bench_usage_self(void); /* without written_bytes */

/* Summed. Without processes it is not known. */
struct bench_usage bench_usage_of(const pid_t *pids, size_t count);

#endif
