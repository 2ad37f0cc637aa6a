#include "tools/bench_flags.h"

#include <criterion/criterion.h>
#include <string.h>

enum { WORDS_MAX = 16 };

/* A line split at its spaces. The line's copy stays, since the options point into it. */
static bool parse(const char *line, struct bench_options *options, char *error)
{
    static char text[512];
    char *argv[WORDS_MAX];
    int argc = 0;
    char *rest = text;
    cr_assert_lt(strlen(line), sizeof text);
    memcpy(text, line, strlen(line) + 1);
    for (char *word; (word = strsep(&rest, " ")) != NULL && argc < WORDS_MAX; argc++)
        argv[argc] = word;
    return bench_flags_parse(options, argv, argc, error);
}

Test(bench_flags, every_workload_has_a_name)
{
    for (size_t i = 0; i < BENCH_WORKLOAD_COUNT; i++) {
        struct bench_options options;
        char error[BENCH_ERROR_BYTES_MAX];
        cr_assert(parse(bench_workloads[i].name, &options, error), "%s", error);
        cr_assert_eq(options.workload, i);
    }
}

Test(bench_flags, values_and_defaults)
{
    struct bench_options o;
    char error[BENCH_ERROR_BYTES_MAX];
    cr_assert(parse("--connections=100 --in-flight 10 --endpoints a:1,b:2 --quiet range "
                    "--serializable --server-pids 7,12 --rate 5000",
                    &o, error),
              "%s", error);
    cr_assert_eq(o.workload, BENCH_RANGE);
    cr_assert_eq(o.connections, 100);
    cr_assert_eq(o.in_flight, 10);
    cr_assert_eq(o.rate, 5000);
    cr_assert_str_eq(o.endpoints, "a:1,b:2");
    cr_assert(o.quiet && o.serializable && !o.help);
    cr_assert_eq(o.pid_count, 2);
    cr_assert(o.pids[0] == 7 && o.pids[1] == 12);
    cr_assert_eq(o.seconds, 10);
    cr_assert_eq(o.keys, 100000);
    cr_assert_eq(o.value_bytes, 256);
    cr_assert_str_eq(o.json, "");
}

Test(bench_flags, help_asks_for_nothing_else)
{
    struct bench_options o;
    char error[BENCH_ERROR_BYTES_MAX];
    cr_assert(parse("--help", &o, error));
    cr_assert(o.help);
}

Test(bench_flags, mistakes_are_named)
{
    static const struct {
        const char *line, *text;
    } rows[] = {
        { "--quiet", "which workload? --help lists them" },
        { "fly", "unknown workload \"fly\"; --help lists them" },
        { "put get", "one workload at a time: put or get" },
        { "put --second 3", "unknown flag --second; is --seconds meant?" },
        { "put --colour-of-the-sky", "unknown flag --colour-of-the-sky; --help lists them" },
        { "put --seconds", "--seconds needs a value" },
        { "put --quiet=yes", "--quiet takes no value" },
        { "put --seconds 1s", "--seconds \"1s\": a number from 1 to 86400 is wanted" },
        { "put --connections 0", "--connections \"0\": a number from 1 to 10000 is wanted" },
        { "put --keys 1000 --key-bytes 2", "--keys 1000 do not fit in --key-bytes 2 digits" },
        { "put --connections 10000 --in-flight 1000",
          "--connections times --in-flight: 1048576 calls at most" },
        { "txn --keys 63",
          "txn: each call in flight has keys of its own: --keys must be at least 64" },
        { "put --server-pids 1,x", "--server-pids \"x\": process ids are wanted" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench_options o;
        char error[BENCH_ERROR_BYTES_MAX] = "";
        cr_assert_not(parse(rows[i].line, &o, error), "%s", rows[i].line);
        cr_assert_str_eq(error, rows[i].text);
    }
}
