/* operations: runs one of the operations whose instructions tests/perf/check counts.
 *
 *   operations --list    a line for each: its name, then the functions that do not count
 *   operations NAME      runs it, and prints how many operations its counted rounds were
 *
 * callgrind collects inside perf_round alone.
 */
#include "tests/perf/operations.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void perf_round(const struct perf_operation *op);

/* A function of its own whatever the optimiser thinks, and no jump out of it at its end. */
__attribute__((noipa)) void perf_round(const struct perf_operation *op)
{
    op->round();
    __asm__ volatile("");
}

static const struct perf_operation *const groups[] = {
    perf_rpc_operations,     perf_log_operations, perf_raft_operations,
    perf_machine_operations, perf_kv_operations,  perf_cluster_operations,
};

static void run(const struct perf_operation *op)
{
    op->open();
    for (uint32_t i = 0; i < op->rounds / 4 + op->rounds; i++) {
        if (op->prepare)
            op->prepare();
        if (i < op->rounds / 4)
            op->round(); /* caches, tables and free lists fill */
        else
            perf_round(op);
    }
    op->close();
    printf("%" PRIu64 "\n", (uint64_t)op->rounds * op->counts_as);
}

int main(int argc, char **argv)
{
    const char *wanted = argc == 2 ? argv[1] : "";
    bool is_list = strcmp(wanted, "--list") == 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        for (const struct perf_operation *op = groups[i]; op->name; op++) {
            if (is_list)
                printf("%s %s\n", op->name, op->without ? op->without : "");
            if (strcmp(wanted, op->name) != 0)
                continue;
            run(op);
            return 0;
        }
    }
    if (!is_list)
        fputs("usage: operations --list | NAME\n", stderr);
    return is_list ? 0 : 2;
}
