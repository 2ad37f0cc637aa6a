#include "tests/support/raft_golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

void golden_expect(struct cluster *c, const char *expected)
{
    char *actual = cluster_take_trace(c);
    if (getenv("RAFT_TRACE"))
        fprintf(stderr, "----\n%s----\n", actual);
    cr_assert_str_eq(actual, expected, "the trace differs:\n%s", actual);
    free(actual);
}

void golden_run_until_leader(struct cluster *c)
{
    uint64_t until_ms = c->now_ms + 2000;
    while (cluster_leader(c) == 0 && cluster_step(c, until_ms))
        ;
    cr_assert_neq(cluster_leader(c), 0);
}

struct cluster *golden_started(struct cluster_options options)
{
    struct cluster *c = cluster_new(&options);
    cluster_start_all(c);
    golden_run_until_leader(c);
    cluster_run(c, 15);
    return c;
}
