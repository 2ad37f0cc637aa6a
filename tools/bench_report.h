/* bench_report.h: what a run found, for people and for programs.
 *
 * Thread: the owner's. A stream's error is looked at by whoever closes it.
 */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include <stdio.h>

#include "tools/bench_limit.h"
#include "tools/bench_run.h"

struct bench_progress {
    uint64_t shown_ns;
    uint64_t operations;
    bool is_there; /* a line that is to be overwritten */
};

/* One line on stderr, once a second, when that is a terminal. */
void bench_progress_show(struct bench_progress *p, const struct bench_tally *t, uint64_t now_ns);
void bench_progress_clear(struct bench_progress *p);

void bench_report_text(FILE *out, const struct bench_options *options,
                       const struct bench_result *result);

/* One object on one line. */
void bench_report_json(FILE *out, const struct bench_options *options,
                       const struct bench_result *result);

void bench_report_limit_text(FILE *out, const struct bench_limit *limit);
void bench_report_limit_json(FILE *out, const struct bench_limit *limit);

#endif
