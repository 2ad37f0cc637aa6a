/* bench_plot.h: latency by percentile, and operations over time, drawn by gnuplot.
 *
 * Errors: false, with why: gnuplot is not there, or cannot write the file.
 */
#ifndef TOOLS_BENCH_PLOT_H
#define TOOLS_BENCH_PLOT_H

#include "tools/bench_run.h"

bool bench_plot(const char *path, const struct bench_options *options,
                const struct bench_result *result, char why[BENCH_ERROR_BYTES_MAX])
    __attribute__((warn_unused_result));

#endif
