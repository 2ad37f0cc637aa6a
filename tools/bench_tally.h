/* bench_tally.h: what was counted in the measured part of a run.
 *
 * Owner:  the run; nothing is allocated. Thread: the owner's.
 * Bounds: BENCH_ERROR_KINDS different errors, the rest is "other"; BENCH_INTERVALS of time, what
 *         comes later counts in the last.
 */
#ifndef TOOLS_BENCH_TALLY_H
#define TOOLS_BENCH_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "tools/bench_hist.h"

enum {
    BENCH_ERROR_KINDS = 32,
    BENCH_ERROR_KIND_BYTES = 120,
    BENCH_INTERVALS = 36000,
    BENCH_INTERVAL_MS = 100,
};

struct bench_error_kind {
    char text[BENCH_ERROR_KIND_BYTES]; /* cut when longer */
    uint64_t count;
};

struct bench_interval {
    uint64_t operations;
    uint64_t max_ns;
};

struct bench_tally {
    struct bench_hist latency;
    struct bench_error_kind errors[BENCH_ERROR_KINDS];
    size_t error_kinds;
    uint64_t error_count;
    uint64_t empty_count; /* reads that found no key */
    uint64_t begin_ns;
    uint64_t last_ns; /* the last success */
    uint64_t gap_ns;  /* the longest time without a success */
    uint64_t gap_from_ns;
    struct bench_interval intervals[BENCH_INTERVALS];
};

/* Zeroed before. */
void bench_tally_begin(struct bench_tally *t, uint64_t now_ns);

void bench_tally_success(struct bench_tally *t, uint64_t start_ns, uint64_t now_ns);
void bench_tally_error(struct bench_tally *t, const char *text);

/* The time since the last success may be the longest. */
void bench_tally_end(struct bench_tally *t, uint64_t now_ns);

#endif
