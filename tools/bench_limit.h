/* bench_limit.h: what a replicated put costs at least on this machine.
 *
 * Three threads stand for three nodes, each with a pre-written file of its own, written past the
 * page cache with RWF_DSYNC, 4 KiB at a time; the round trips go over TCP on loopback.
 * own_write: one node's write alone. round: a round trip alone. total: the leader's write, and
 * beside it a round trip with a write on the quicker of two followers. echo: a small unary call,
 * one in flight, through our own loop and gRPC server in another process. Thread: none other may
 * run when it starts: it forks.
 */
#ifndef TOOLS_BENCH_LIMIT_H
#define TOOLS_BENCH_LIMIT_H

#include "tools/bench_flags.h"
#include "tools/bench_hist.h"

struct bench_limit {
    struct bench_hist own_write;
    struct bench_hist round;
    struct bench_hist total;
    struct bench_hist echo;
};

/* Zeroed before. Where the disk or a socket fails, the program ends, saying why. */
void bench_limit_run(const struct bench_options *options, struct bench_limit *limit);

#endif
