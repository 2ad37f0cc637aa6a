/* bench_hist.h: a histogram of times, log-linear: every value is kept to one part in 1024, which is
 * three digits, from a nanosecond to 137 s. Past that it counts as the largest; min, max and sum
 * are exact.
 *
 * A plain value of a fixed size: zeroed is empty. Thread: the owner's.
 */
#ifndef TOOLS_BENCH_HIST_H
#define TOOLS_BENCH_HIST_H

#include <stdint.h>

enum {
    BENCH_HIST_LINEAR_BITS = 11, /* values below 2^11 have a bucket each */
    BENCH_HIST_VALUE_BITS = 37,
    BENCH_HIST_BUCKETS = (BENCH_HIST_VALUE_BITS - BENCH_HIST_LINEAR_BITS + 2)
                         << (BENCH_HIST_LINEAR_BITS - 1),
};

struct bench_hist {
    uint64_t count;
    uint64_t min_ns;
    uint64_t max_ns;
    double sum_ns;
    uint64_t buckets[BENCH_HIST_BUCKETS];
};

void bench_hist_add(struct bench_hist *h, uint64_t ns);

/* The value that `fraction` of all values do not exceed: the upper end of its bucket, at most the
 * largest value seen. 0 when empty. */
uint64_t bench_hist_at(const struct bench_hist *h, double fraction);

double bench_hist_mean(const struct bench_hist *h); /* 0 when empty */

#endif
