/* raft_golden.h: what tests with golden traces of a raft_cluster share. A changed trace is reviewed
 * like code: RAFT_TRACE=1 prints them. */
#ifndef TESTS_SUPPORT_RAFT_GOLDEN_H
#define TESTS_SUPPORT_RAFT_GOLDEN_H

#include "tests/support/raft_cluster.h"

/* Takes the trace, and fails the test when it is another. */
void golden_expect(struct cluster *c, const char *expected);

void golden_run_until_leader(struct cluster *c);

/* All nodes started, a leader elected, its NOOP applied everywhere. */
struct cluster *golden_started(struct cluster_options options);

#endif
