#include "tools/bench_hist.h"

#include <math.h>
#include <stddef.h>

enum { HALF = 1 << (BENCH_HIST_LINEAR_BITS - 1) };

/* Below 2^11 the value itself. Above, each power of two has 2^10 buckets of equal width. */
static size_t bucket_of(uint64_t ns)
{
    if (ns >> BENCH_HIST_VALUE_BITS)
        return BENCH_HIST_BUCKETS - 1;
    if (ns < 2 * HALF)
        return (size_t)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - (BENCH_HIST_LINEAR_BITS - 1);
    return (size_t)shift * HALF + (size_t)(ns >> shift);
}

static uint64_t bucket_end(size_t bucket)
{
    if (bucket < 2 * HALF)
        return bucket;
    unsigned shift = (unsigned)(bucket / HALF - 1);
    return ((uint64_t)(bucket - (size_t)shift * HALF + 1) << shift) - 1;
}

void bench_hist_add(struct bench_hist *h, uint64_t ns)
{
    if (h->count == 0 || ns < h->min_ns)
        h->min_ns = ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
    h->count++;
    h->sum_ns += (double)ns;
    h->buckets[bucket_of(ns)]++;
}

uint64_t bench_hist_at(const struct bench_hist *h, double fraction)
{
    uint64_t rank = (uint64_t)ceil(fraction * (double)h->count);
    uint64_t seen = 0;
    if (rank == 0)
        return h->count > 0 ? h->min_ns : 0;
    for (size_t i = 0; i < BENCH_HIST_BUCKETS - 1; i++) {
        seen += h->buckets[i];
        if (seen >= rank)
            return bucket_end(i) < h->max_ns ? bucket_end(i) : h->max_ns;
    }
    return h->max_ns;
}

double bench_hist_mean(const struct bench_hist *h)
{
    return h->count > 0 ? h->sum_ns / (double)h->count : 0;
}
