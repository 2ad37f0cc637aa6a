/* trace.h: what happened, as a hash always and as lines when asked for.
 *
 * The hash covers every event with its time, place and numbers, so that two runs of one seed can
 * be compared whatever the build. A line shows one event of note and beside it a column a node:
 * its role (L, F, C, p; '-' down, 'z' paused), term, commit/applied.
 */
#ifndef TESTS_SIM_TRACE_H
#define TESTS_SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum sim_trace_kind {
    TRACE_TURN = 1,
    TRACE_RECV,
    TRACE_SEND,
    TRACE_CONNECT,
    TRACE_DISK,
    TRACE_JOB,
    TRACE_STATE,
    TRACE_HOST,
    TRACE_FAULT,
    TRACE_APPLIED,
};

struct sim_trace {
    uint64_t hash;
    uint64_t count;
    bool is_shown;
};

struct sim;

void sim_trace(struct sim *sim, enum sim_trace_kind kind, uint64_t host, uint64_t a, uint64_t b);

/* A line, of interest to people; its text goes into the hash, too. */
void sim_trace_line(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
