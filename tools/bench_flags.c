#include "tools/bench_flags.h"

#include <stdarg.h>
#include <string.h>

#include "base/assert.h"
#include "tools/ctl_text.h"

const struct bench_workload_name bench_workloads[BENCH_WORKLOAD_COUNT] = {
#define X(id, name, help) { name, help },
    BENCH_WORKLOADS(X)
#undef X
};

enum flag_type { FLAG_TEXT, FLAG_NUMBER, FLAG_BOOL };

struct flag {
    const char *name;
    enum flag_type type;
    size_t at; /* in struct bench_options */
    const char *initial;
    const char *help;
    int64_t min;
    int64_t max;
};

#define AT(member) offsetof(struct bench_options, member)

static const struct flag flags[] = {
    { "endpoints", FLAG_TEXT, AT(endpoints), "127.0.0.1:2379",
      "HOST:PORT,...; connections are spread over them", 0, 0 },
    { "connections", FLAG_NUMBER, AT(connections), "16", "HTTP/2 connections", 1, 10000 },
    { "in-flight", FLAG_NUMBER, AT(in_flight), "4", "calls under way on each of them, at most", 1,
      10000 },
    { "rate", FLAG_NUMBER, AT(rate), "0",
      "open loop: so many a second in all, latency from the intended start; 0: closed loop", 0,
      10000000 },
    { "seconds", FLAG_NUMBER, AT(seconds), "10", "how long to measure", 1, 86400 },
    { "total", FLAG_NUMBER, AT(total), "0", "so many operations instead of --seconds", 0,
      INT64_MAX },
    { "warm-up", FLAG_NUMBER, AT(warm_up_s), "1", "seconds before that which do not count", 0,
      3600 },
    { "keys", FLAG_NUMBER, AT(keys), "100000", "different keys", 1, 1000000000 },
    { "key-bytes", FLAG_NUMBER, AT(key_bytes), "8", "decimal digits of a key, behind its prefix", 1,
      BENCH_KEY_BYTES_MAX },
    { "key-prefix", FLAG_TEXT, AT(key_prefix), "", "what all keys begin with", 0, 0 },
    { "value-bytes", FLAG_NUMBER, AT(value_bytes), "256", "bytes of a value", 0,
      BENCH_VALUE_BYTES_MAX },
    { "limit", FLAG_NUMBER, AT(limit), "100", "keys in a page of range", 1, 1000000000 },
    { "first", FLAG_BOOL, AT(first), "", "range begins at the first key, not at one at random", 0,
      0 },
    { "serializable", FLAG_BOOL, AT(serializable), "", "range and count are serializable reads", 0,
      0 },
    { "seed", FLAG_NUMBER, AT(seed), "1", "of the choice of keys", 0, INT64_MAX },
    { "call-timeout", FLAG_NUMBER, AT(call_timeout_ms), "10000",
      "milliseconds after which a call is given up", 1, 3600000 },
    { "server-pids", FLAG_TEXT, AT(server_pids), "",
      "PID,...: tell the servers' CPU and bytes written an operation", 0, 0 },
    { "json", FLAG_TEXT, AT(json), "", "write the result to this file; -: to stdout", 0, 0 },
    { "plot", FLAG_TEXT, AT(plot), "", "draw the latencies into this SVG file, with gnuplot", 0,
      0 },
    { "quiet", FLAG_BOOL, AT(quiet), "", "no progress line", 0, 0 },
    { "dir", FLAG_TEXT, AT(dir), ".", "limit: a directory on the disk to write to", 0, 0 },
    { "rounds", FLAG_NUMBER, AT(rounds), "2000", "limit: how often each is measured", 1, 1000000 },
    { "help", FLAG_BOOL, AT(help), "", "this text", 0, 0 },
};

enum { FLAG_COUNT = sizeof flags / sizeof flags[0], NEAR_EDITS = 3 };

/* Returns false, so that a check can end with it. */
__attribute__((format(printf, 2, 3))) static bool fail(char *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(error, BENCH_ERROR_BYTES_MAX, format, args);
    va_end(args);
    IGNORE(size < 0, "a cut text still says enough");
    return false;
}

static void *field_of(struct bench_options *options, const struct flag *flag)
{
    return (char *)options + flag->at;
}

static bool flag_set(struct bench_options *options, const struct flag *flag, const char *value,
                     char *error)
{
    int64_t number;
    const char *why;
    switch (flag->type) {
    case FLAG_TEXT:
        memcpy(field_of(options, flag), &value, sizeof value);
        return true;
    case FLAG_BOOL:
        *(bool *)field_of(options, flag) = true;
        return true;
    case FLAG_NUMBER:
        if (!text_parse_int(value, 10, &number, &why) || number < flag->min || number > flag->max)
            return fail(error, "--%s \"%s\": a number from %lld to %lld is wanted", flag->name,
                        value, (long long)flag->min, (long long)flag->max);
        *(uint64_t *)field_of(options, flag) = (uint64_t)number;
        return true;
    }
    return false;
}

static const struct flag *flag_find(const char *name, size_t size)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strlen(flags[i].name) == size && memcmp(flags[i].name, name, size) == 0)
            return &flags[i];
    }
    return NULL;
}

static bool unknown_flag(const char *word, char *error)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (text_distance(word + 2, flags[i].name) <= NEAR_EDITS)
            return fail(error, "unknown flag %s; is --%s meant?", word, flags[i].name);
    }
    return fail(error, "unknown flag %s; --help lists them", word);
}

/* Takes "--name=value", or "--name" and the next word; *at is the last word that was used. */
static bool flag_take(struct bench_options *options, char *const *argv, int argc, int *at,
                      char *error)
{
    const char *word = argv[*at];
    const char *equals = strchr(word, '=');
    size_t size = equals ? (size_t)(equals - word) : strlen(word);
    const struct flag *flag = size > 2 ? flag_find(word + 2, size - 2) : NULL;
    if (!flag)
        return unknown_flag(word, error);
    if (flag->type == FLAG_BOOL) {
        if (equals)
            return fail(error, "--%s takes no value", flag->name);
        return flag_set(options, flag, NULL, error);
    }
    if (equals)
        return flag_set(options, flag, equals + 1, error);
    if (*at + 1 >= argc)
        return fail(error, "--%s needs a value", flag->name);
    *at += 1;
    return flag_set(options, flag, argv[*at], error);
}

static bool workload_set(struct bench_options *options, const char *word, char *error)
{
    for (size_t i = 0; i < BENCH_WORKLOAD_COUNT; i++) {
        if (strcmp(bench_workloads[i].name, word) == 0) {
            options->workload = (enum bench_workload)i;
            return true;
        }
    }
    return fail(error, "unknown workload \"%s\"; --help lists them", word);
}

static bool pids_parse(struct bench_options *options, char *error)
{
    const char *at = options->server_pids;
    while (*at != '\0') {
        char digits[16];
        size_t size = strcspn(at, ",");
        int64_t pid;
        const char *why;
        if (options->pid_count == BENCH_PIDS_MAX)
            return fail(error, "--server-pids: %d at most", BENCH_PIDS_MAX);
        if (size >= sizeof digits)
            return fail(error, "--server-pids \"%s\": process ids are wanted", at);
        memcpy(digits, at, size);
        digits[size] = '\0';
        if (!text_parse_int(digits, 10, &pid, &why) || pid < 1 || pid > INT32_MAX)
            return fail(error, "--server-pids \"%s\": process ids are wanted", at);
        options->pids[options->pid_count++] = (pid_t)pid;
        at += size + (at[size] == ',');
    }
    return true;
}

/* What no flag alone can say. */
static bool check(const struct bench_options *o, char *error)
{
    uint64_t keys_max = 1;
    for (uint64_t i = 0; i < o->key_bytes && keys_max < o->keys; i++)
        keys_max *= 10;
    if (o->keys > keys_max)
        return fail(error, "--keys %llu do not fit in --key-bytes %llu digits",
                    (unsigned long long)o->keys, (unsigned long long)o->key_bytes);
    if (strlen(o->key_prefix) > BENCH_KEY_BYTES_MAX)
        return fail(error, "--key-prefix: %d bytes at most", BENCH_KEY_BYTES_MAX);
    if (o->connections * o->in_flight > BENCH_CALLS_MAX)
        return fail(error, "--connections times --in-flight: %d calls at most", BENCH_CALLS_MAX);
    if (o->workload == BENCH_TXN && o->keys < o->connections * o->in_flight)
        return fail(error,
                    "txn: each call in flight has keys of its own: --keys must be at least %llu",
                    (unsigned long long)(o->connections * o->in_flight));
    return true;
}

bool bench_flags_parse(struct bench_options *ret_options, char *const *argv, int argc,
                       char error[BENCH_ERROR_BYTES_MAX])
{
    struct bench_options o = { .workload = BENCH_WORKLOAD_COUNT };
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        bool ok = flags[i].type == FLAG_BOOL || flag_set(&o, &flags[i], flags[i].initial, error);
        ASSERT(ok);
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (!flag_take(&o, argv, argc, &i, error))
                return false;
        } else if (o.workload != BENCH_WORKLOAD_COUNT) {
            return fail(error, "one workload at a time: %s or %s", bench_workloads[o.workload].name,
                        argv[i]);
        } else if (!workload_set(&o, argv[i], error)) {
            return false;
        }
    }
    if (!o.help) {
        if (o.workload == BENCH_WORKLOAD_COUNT)
            return fail(error, "which workload? --help lists them");
        if (!pids_parse(&o, error) || !check(&o, error))
            return false;
    }
    *ret_options = o;
    return true;
}

void bench_flags_help(FILE *out)
{
    fprintf(out, "holdfast-bench [FLAGS] WORKLOAD: loads an etcd v3 server and measures it.\n\n"
                 "Workloads:\n");
    for (size_t i = 0; i < BENCH_WORKLOAD_COUNT; i++)
        fprintf(out, "  %-17s %s\n", bench_workloads[i].name, bench_workloads[i].help);
    fprintf(out, "\nFlags:\n");
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        fprintf(out, "  --%-15s %s", flags[i].name, flags[i].help);
        if (flags[i].initial[0] != '\0')
            fprintf(out, " (%s)", flags[i].initial);
        fputc('\n', out);
    }
    fprintf(out,
            "\nReads find what put or load wrote before with the same --keys, --key-bytes and\n"
            "--key-prefix. Ctrl-C ends a run and tells what there is. A connection that breaks "
            "is\ndialled again, at the next endpoint; a call that failed rests for 10 ms. Ends "
            "with 0,\n1 when nothing succeeded, 2 for a bad flag.\n");
}
