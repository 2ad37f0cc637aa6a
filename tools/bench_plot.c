#include "tools/bench_plot.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"

static const double ns_per_us = 1e3;

enum { STEPS_PER_DECADE = 20, DECADES = 4, MS_PER_S = 1000 };

/* x: one in so many operations is slower. */
static void plot_percentiles(FILE *out, const struct bench_hist *h)
{
    fprintf(out, "$latency << END\n");
    for (int i = 0; i <= DECADES * STEPS_PER_DECADE; i++) {
        double one_in = pow(10, (double)i / STEPS_PER_DECADE);
        fprintf(out, "%g %g\n", one_in, (double)bench_hist_at(h, 1 - 1 / one_in) / ns_per_us);
    }
    fprintf(out, "END\n");
}

static void plot_intervals(FILE *out, const struct bench_tally *t)
{
    size_t count = BENCH_INTERVALS;
    while (count > 1 && t->intervals[count - 1].operations == 0)
        count--;
    fprintf(out, "$time << END\n");
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%g %g %g\n", (double)i * BENCH_INTERVAL_MS / MS_PER_S,
                (double)t->intervals[i].operations * MS_PER_S / BENCH_INTERVAL_MS,
                (double)t->intervals[i].max_ns / ns_per_us);
    fprintf(out, "END\n");
}

/* A quote within is doubled, as gnuplot wants it. */
static void plot_path(FILE *out, const char *path)
{
    fprintf(out, "set output '");
    for (const char *at = path; *at != '\0'; at++)
        fputs(*at == '\'' ? "''" : (const char[]){ *at, '\0' }, out);
    fprintf(out, "'\n");
}

bool bench_plot(const char *path, const struct bench_options *options,
                const struct bench_result *result, char why[BENCH_ERROR_BYTES_MAX])
{
    FILE *out = popen("gnuplot", "w");
    if (out) {
        fprintf(out, "set terminal svg size 900,700 font 'sans-serif,12'\n");
        plot_path(out, path);
        plot_percentiles(out, &result->tally.latency);
        plot_intervals(out, &result->tally);
        fprintf(out,
                "set multiplot layout 2,1 title '%s: %.0f operations a second'\n"
                "set grid\nset logscale xy\nset xlabel 'one in so many is slower'\n"
                "set ylabel 'latency, us'\nplot $latency with lines linewidth 2 notitle\n"
                "unset logscale x\nset xlabel 'seconds'\nset ylabel 'operations a second'\n"
                "set y2label 'longest latency, us'\nset logscale y2\nset ytics nomirror\n"
                "set y2tics\nunset logscale y\nset yrange [0:*]\n"
                "plot $time using 1:2 with lines linewidth 2 title 'operations a second', "
                "$time using 1:3 axes x1y2 with lines title 'longest latency'\n",
                bench_workloads[options->workload].name,
                (double)result->tally.latency.count / result->seconds);
        if (pclose(out) == 0)
            return true;
    }
    IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX,
                    "%s: gnuplot did not draw it (apt-get install gnuplot-nox)", path) < 0,
           "a cut text still says enough");
    return false;
}
