#include "tools/bench_report.h"

#include <unistd.h>

#include "tools/ctl_text.h"

static const double ns_per_us = 1e3;
static const double ns_per_ms = 1e6;
static const double ns_per_s = 1e9;

static const struct {
    const char *name;
    double fraction;
} percentiles[] = {
    { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p999", 0.999 }, { "p9999", 0.9999 },
};

enum { PERCENTILE_COUNT = sizeof percentiles / sizeof percentiles[0] };

static double us(uint64_t ns)
{
    return (double)ns / ns_per_us;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* ---- the progress line ---- */

void bench_progress_show(struct bench_progress *p, const struct bench_tally *t, uint64_t now_ns)
{
    if (p->shown_ns == 0)
        p->shown_ns = t->begin_ns;
    double seconds = (double)(now_ns - p->shown_ns) / ns_per_s;
    if (seconds < 1 || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%4.0f s  %9.0f/s  median %8.0f us  p99 %8.0f us  errors %llu \033[K",
            (double)(now_ns - t->begin_ns) / ns_per_s,
            (double)(t->latency.count - p->operations) / seconds,
            us(bench_hist_at(&t->latency, 0.5)), us(bench_hist_at(&t->latency, 0.99)),
            (unsigned long long)t->error_count);
    p->is_there = true;
    p->shown_ns = now_ns;
    p->operations = t->latency.count;
}

void bench_progress_clear(struct bench_progress *p)
{
    if (p->is_there)
        fprintf(stderr, "\r\033[K");
    p->is_there = false;
}

/* ---- for people ---- */

static void text_latencies(FILE *out, const struct bench_hist *h)
{
    fprintf(out, "latency us   min %.0f", us(h->min_ns));
    for (size_t i = 0; i < PERCENTILE_COUNT; i++)
        fprintf(out, "  %s %.0f", percentiles[i].name,
                us(bench_hist_at(h, percentiles[i].fraction)));
    fprintf(out, "  max %.0f  mean %.0f\n", us(h->max_ns), bench_hist_mean(h) / ns_per_us);
}

static void text_errors(FILE *out, const struct bench_result *result)
{
    const struct bench_tally *t = &result->tally;
    if (t->error_count > 0)
        fprintf(out, "errors       %llu\n", (unsigned long long)t->error_count);
    for (size_t i = 0; i < t->error_kinds; i++)
        fprintf(out, "             %llu  %s\n", (unsigned long long)t->errors[i].count,
                t->errors[i].text);
    if (t->empty_count > 0)
        fprintf(out, "             %llu reads found no key: was it loaded with the same flags?\n",
                (unsigned long long)t->empty_count);
}

void bench_report_text(FILE *out, const struct bench_options *options,
                       const struct bench_result *result)
{
    const struct bench_tally *t = &result->tally;
    double count = (double)t->latency.count;
    fprintf(out, "%s: %llu operations in %.2f s%s, %.0f/s\n",
            bench_workloads[options->workload].name, (unsigned long long)t->latency.count,
            result->seconds, result->is_interrupted ? " (interrupted)" : "",
            ratio(count, result->seconds));
    text_latencies(out, &t->latency);
    fprintf(out, "longest gap  %.1f ms, from %.3f s on\n", (double)t->gap_ns / ns_per_ms,
            (double)(t->gap_from_ns - t->begin_ns) / ns_per_s);
    if (options->rate > 0 && result->unfinished > 0)
        fprintf(out, "unfinished   %llu, the oldest for %.1f ms\n",
                (unsigned long long)result->unfinished,
                (double)result->unfinished_oldest_ns / ns_per_ms);
    fprintf(out, "client CPU   %.2f us an operation\n",
            ratio((double)result->client_cpu_us, count + (double)t->error_count));
    if (result->servers.is_known)
        fprintf(out, "servers      %.2f us of CPU, %.0f bytes written an operation\n",
                ratio((double)result->servers.cpu_us, count),
                ratio((double)result->servers.written_bytes, count));
    else if (options->pid_count > 0)
        fprintf(out, "servers      not known: a process has ended, or is not ours to look at\n");
    text_errors(out, result);
}

/* ---- for programs ---- */

static void json_latencies(FILE *out, const struct bench_hist *h)
{
    fprintf(out, "\"latency_us\":{\"min\":%.3f", us(h->min_ns));
    for (size_t i = 0; i < PERCENTILE_COUNT; i++)
        fprintf(out, ",\"%s\":%.3f", percentiles[i].name,
                us(bench_hist_at(h, percentiles[i].fraction)));
    fprintf(out, ",\"max\":%.3f,\"mean\":%.3f}", us(h->max_ns), bench_hist_mean(h) / ns_per_us);
}

static void json_errors(FILE *out, const struct bench_tally *t)
{
    fprintf(out, "\"errors\":{");
    for (size_t i = 0; i < t->error_kinds; i++) {
        fputs(i > 0 ? "," : "", out);
        text_print_json(out, slice_of_text(t->errors[i].text));
        fprintf(out, ":%llu", (unsigned long long)t->errors[i].count);
    }
    fputc('}', out);
}

void bench_report_json(FILE *out, const struct bench_options *options,
                       const struct bench_result *result)
{
    const struct bench_tally *t = &result->tally;
    double count = (double)t->latency.count;
    fprintf(out, "{\"workload\":\"%s\",\"seconds\":%.6f,\"operations\":%llu,\"ops_per_s\":%.3f,",
            bench_workloads[options->workload].name, result->seconds,
            (unsigned long long)t->latency.count, ratio(count, result->seconds));
    fprintf(out, "\"connections\":%llu,\"in_flight\":%llu,\"rate\":%llu,\"interrupted\":%s,",
            (unsigned long long)options->connections, (unsigned long long)options->in_flight,
            (unsigned long long)options->rate, result->is_interrupted ? "true" : "false");
    json_errors(out, t);
    fprintf(out, ",\"empty_answers\":%llu,", (unsigned long long)t->empty_count);
    json_latencies(out, &t->latency);
    fprintf(out, ",\"longest_gap_ms\":%.3f,\"gap_from_s\":%.6f,", (double)t->gap_ns / ns_per_ms,
            (double)(t->gap_from_ns - t->begin_ns) / ns_per_s);
    fprintf(out, "\"unfinished\":%llu,\"unfinished_oldest_ms\":%.3f,",
            (unsigned long long)result->unfinished,
            (double)result->unfinished_oldest_ns / ns_per_ms);
    fprintf(out, "\"client_cpu_us_per_op\":%.4f,",
            ratio((double)result->client_cpu_us, count + (double)t->error_count));
    if (result->servers.is_known)
        fprintf(out, "\"server_cpu_us_per_op\":%.4f,\"server_written_bytes_per_op\":%.2f,",
                ratio((double)result->servers.cpu_us, count),
                ratio((double)result->servers.written_bytes, count));
    else
        fprintf(out, "\"server_cpu_us_per_op\":null,\"server_written_bytes_per_op\":null,");
    fprintf(out, "\"bytes_sent\":%llu,\"bytes_received\":%llu}\n",
            (unsigned long long)result->sent_bytes, (unsigned long long)result->received_bytes);
}

/* ---- limit ---- */

#define LIMIT_PARTS(X)                                                \
    X(own_write, "a durable write")                                   \
    X(round, "a TCP round trip")                                      \
    X(total, "a write beside a round trip and a write on one of two") \
    X(echo, "a unary call through our own stack")

void bench_report_limit_text(FILE *out, const struct bench_limit *limit)
{
#define X(part, text)                                         \
    fprintf(out, "%-52s median %.0f us, p99 %.0f us\n", text, \
            us(bench_hist_at(&limit->part, 0.5)), us(bench_hist_at(&limit->part, 0.99)));
    LIMIT_PARTS(X)
#undef X
}

void bench_report_limit_json(FILE *out, const struct bench_limit *limit)
{
    fprintf(out, "{\"workload\":\"limit\",\"rounds\":%llu", (unsigned long long)limit->total.count);
#define X(part, text)                                             \
    fprintf(out, ",\"" #part "_us\":{\"p50\":%.3f,\"p99\":%.3f}", \
            us(bench_hist_at(&limit->part, 0.5)), us(bench_hist_at(&limit->part, 0.99)));
    LIMIT_PARTS(X)
#undef X
    fprintf(out, "}\n");
}
