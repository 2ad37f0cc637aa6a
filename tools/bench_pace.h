/* bench_pace.h: when operations are meant to start.
 *
 * Closed loop (rate 0): whenever a call is free. Open loop: at even distances from the beginning
 * on, whatever the server does, so that a standstill delays all that were meant to start in it, and
 * their latency says so.
 * A plain value; pure. Times are CLOCK_MONOTONIC's nanoseconds.
 */
#ifndef TOOLS_BENCH_PACE_H
#define TOOLS_BENCH_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct bench_pace {
    uint64_t rate; /* a second; 0: closed loop */
    uint64_t begin_ns;
    uint64_t taken; /* starts handed out */
};

/* Whether an operation may start; *ret_start_ns is when it was meant to. */
bool bench_pace_take(struct bench_pace *p, uint64_t now_ns, uint64_t *ret_start_ns);

/* When the next one is meant to start. */
uint64_t bench_pace_next_ns(const struct bench_pace *p);

/* How many were meant to start by now, and were not taken; 0 in a closed loop. */
uint64_t bench_pace_late(const struct bench_pace *p, uint64_t now_ns);

#endif
