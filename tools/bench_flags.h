/* bench_flags.h: holdfast-bench's flags, from one table, and what they say.
 *
 * Owner:  parsed texts are views of the arguments.
 * Thread: any. Nothing global changes.
 * Errors: one line for the user; the program then ends with BENCH_EXIT_USAGE.
 */
#ifndef TOOLS_BENCH_FLAGS_H
#define TOOLS_BENCH_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { BENCH_EXIT_OK = 0, BENCH_EXIT_FAILED = 1, BENCH_EXIT_USAGE = 2 };

#define BENCH_WORKLOADS(X)                                                               \
    X(PUT, "put", "puts, keys in order")                                                 \
    X(PUT_RANDOM, "put-random", "puts, keys at random")                                  \
    X(PUT_ONE, "put-one", "puts of one key")                                             \
    X(TXN, "txn", "transactions: if the key has the mod_revision last seen, put it")     \
    X(GET, "get", "linearizable reads of one key, at random")                            \
    X(GET_SERIALIZABLE, "get-serializable", "the same, serializable")                    \
    X(RANGE, "range", "a page of --limit keys of all from a key at random on (--first)") \
    X(COUNT, "count", "the number of all keys")                                          \
    X(MIXED, "mixed", "nine of ten a linearizable read, one a put, both at random")      \
    X(LOAD, "load", "puts each of --keys once, in random order, and ends")               \
    X(ECHO, "echo", "grpc.health.v1.Health/Check: what an answer costs without a store") \
    X(LIMIT, "limit", "no server: durable writes and round trips alone, as a put needs them")

enum bench_workload {
#define X(id, name, help) BENCH_##id,
    BENCH_WORKLOADS(X)
#undef X
        BENCH_WORKLOAD_COUNT,
};

struct bench_workload_name {
    const char *name;
    const char *help;
};

extern const struct bench_workload_name bench_workloads[BENCH_WORKLOAD_COUNT];

enum {
    BENCH_ENDPOINTS_MAX = 16,
    BENCH_PIDS_MAX = 16,
    BENCH_CALLS_MAX = 1 << 20, /* in flight, of all connections */
    BENCH_KEY_BYTES_MAX = 1024,
    BENCH_VALUE_BYTES_MAX = 16 << 20,
    BENCH_ERROR_BYTES_MAX = 640,
};

struct bench_options {
    enum bench_workload workload;
    const char *endpoints; /* as given; bench_endpoints_resolve reads them */
    const char *server_pids;
    const char *json;
    const char *plot;
    const char *key_prefix;
    const char *dir;
    uint64_t connections;
    uint64_t in_flight; /* of each connection */
    uint64_t rate;      /* operations a second; 0: closed loop */
    uint64_t seconds;
    uint64_t total; /* operations, instead of seconds; 0: none */
    uint64_t warm_up_s;
    uint64_t keys;
    uint64_t key_bytes; /* digits behind the prefix */
    uint64_t value_bytes;
    uint64_t limit;
    uint64_t seed;
    uint64_t call_timeout_ms;
    uint64_t rounds;
    bool serializable;
    bool first; /* range: of all keys */
    bool quiet;
    bool help;
    pid_t pids[BENCH_PIDS_MAX]; /* of server_pids */
    size_t pid_count;
};

/* argv without the program's name. False: error says what is wrong. With help the rest is not
 * checked. */
bool bench_flags_parse(struct bench_options *ret_options, char *const *argv, int argc,
                       char error[BENCH_ERROR_BYTES_MAX]) __attribute__((warn_unused_result));

void bench_flags_help(FILE *out);

#endif
