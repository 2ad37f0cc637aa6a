/* holdfast-bench: load and measurement of any etcd v3 server. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_flags.h"
#include "tools/bench_limit.h"
#include "tools/bench_plot.h"
#include "tools/bench_report.h"
#include "tools/bench_run.h"

static int failed(const char *why)
{
    fprintf(stderr, "holdfast-bench: %s\n", why);
    return BENCH_EXIT_FAILED;
}

/* The file of --json, or stdout. NULL: it said why. */
static FILE *json_open(const char *path)
{
    if (strcmp(path, "-") == 0)
        return stdout;
    FILE *file = fopen(path, "w");
    if (!file)
        fprintf(stderr, "holdfast-bench: %s: %s\n", path, strerror(errno));
    return file;
}

static int json_close(FILE *file, const char *path)
{
    bool ok = !ferror(file);
    ok = (file == stdout ? fflush(file) : fclose(file)) == 0 && ok;
    if (!ok)
        fprintf(stderr, "holdfast-bench: %s: %s\n", path, strerror(errno));
    return ok ? BENCH_EXIT_OK : BENCH_EXIT_FAILED;
}

static int limit(const struct bench_options *options)
{
    struct bench_limit *found = calloc(1, sizeof *found);
    if (!found)
        return failed("out of memory");
    bench_limit_run(options, found);
    int code = BENCH_EXIT_OK;
    if (strcmp(options->json, "-") != 0)
        bench_report_limit_text(stdout, found);
    if (options->json[0] != '\0') {
        FILE *file = json_open(options->json);
        code = BENCH_EXIT_FAILED;
        if (file) {
            bench_report_limit_json(file, found);
            code = json_close(file, options->json);
        }
    }
    free(found);
    return code;
}

static int report(const struct bench_options *options, const struct bench_result *result)
{
    char why[BENCH_ERROR_BYTES_MAX];
    int code = result->tally.latency.count > 0 ? BENCH_EXIT_OK : BENCH_EXIT_FAILED;
    if (strcmp(options->json, "-") != 0)
        bench_report_text(stdout, options, result);
    if (options->json[0] != '\0') {
        FILE *file = json_open(options->json);
        if (!file)
            return BENCH_EXIT_FAILED;
        bench_report_json(file, options, result);
        if (json_close(file, options->json) != BENCH_EXIT_OK)
            return BENCH_EXIT_FAILED;
    }
    if (options->plot[0] != '\0' && !bench_plot(options->plot, options, result, why))
        return failed(why);
    return code;
}

static int load(const struct bench_options *options)
{
    char why[BENCH_ERROR_BYTES_MAX];
    struct bench_result *result = calloc(1, sizeof *result);
    if (!result)
        return failed("out of memory");
    int code = bench_run(options, result, why) ? report(options, result) : failed(why);
    free(result);
    return code;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    char error[BENCH_ERROR_BYTES_MAX];
    signal(SIGPIPE, SIG_IGN); /* gnuplot may not be there */
    if (!bench_flags_parse(&options, argv + 1, argc - 1, error)) {
        fprintf(stderr, "holdfast-bench: %s\n", error);
        return BENCH_EXIT_USAGE;
    }
    if (options.help) {
        bench_flags_help(stdout);
        return BENCH_EXIT_OK;
    }
    return options.workload == BENCH_LIMIT ? limit(&options) : load(&options);
}
