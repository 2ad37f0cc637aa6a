#include "tools/bench_tally.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { NS_PER_MS = 1000000 };

void bench_tally_begin(struct bench_tally *t, uint64_t now_ns)
{
    t->begin_ns = now_ns;
    t->last_ns = now_ns;
    t->gap_from_ns = now_ns;
}

static void look_at_gap(struct bench_tally *t, uint64_t now_ns)
{
    if (now_ns - t->last_ns > t->gap_ns) {
        t->gap_ns = now_ns - t->last_ns;
        t->gap_from_ns = t->last_ns;
    }
    t->last_ns = now_ns;
}

void bench_tally_success(struct bench_tally *t, uint64_t start_ns, uint64_t now_ns)
{
    uint64_t ns = now_ns - start_ns;
    bench_hist_add(&t->latency, ns);
    look_at_gap(t, now_ns);
    uint64_t i = (now_ns - t->begin_ns) / ((uint64_t)BENCH_INTERVAL_MS * NS_PER_MS);
    struct bench_interval *at = &t->intervals[i < BENCH_INTERVALS ? i : BENCH_INTERVALS - 1];
    at->operations++;
    if (ns > at->max_ns)
        at->max_ns = ns;
}

void bench_tally_error(struct bench_tally *t, const char *text)
{
    char cut[BENCH_ERROR_KIND_BYTES];
    IGNORE(snprintf(cut, sizeof cut, "%s", text) < 0, "a cut text still says enough");
    t->error_count++;
    size_t i = 0;
    while (i < t->error_kinds && strcmp(t->errors[i].text, cut) != 0)
        i++;
    if (i == BENCH_ERROR_KINDS) {
        i--;
        memcpy(t->errors[i].text, "other", sizeof "other");
    } else if (i == t->error_kinds) {
        memcpy(t->errors[i].text, cut, sizeof cut);
        t->error_kinds++;
    }
    t->errors[i].count++;
}

void bench_tally_end(struct bench_tally *t, uint64_t now_ns)
{
    look_at_gap(t, now_ns);
}
