/* many.h: runs in processes of their own: a range of seeds, for some minutes, several at a time.
 *
 * So a broken invariant or a crash ends one seed alone, and no run inherits another's memory.
 */
#ifndef TESTS_SIM_MANY_H
#define TESTS_SIM_MANY_H

#include <stdio.h>

#include "tests/sim/run.h"

enum { MANY_JOBS_MAX = 64 };

struct many_options {
    struct run_options run; /* of each, but for the seed */
    uint64_t seed_first;
    uint64_t seed_last;      /* UINT64_MAX: until the time is over */
    uint32_t minutes;        /* wall; 0: without end */
    uint32_t jobs;           /* at a time */
    bool is_mixed;           /* profiles and numbers of nodes take turns */
    bool ends_at_bad;        /* no further seed begins once one has failed */
    const char *report_path; /* NULL: stdout alone */
};

/* How many failed. */
uint64_t many_run(const struct many_options *options);

/* One run in a process of its own. False: it failed, or ended in another way. */
bool many_run_one(const struct run_options *options, bool is_quiet, struct run_result *ret_result);

/* The command that does it again. */
void many_print_command(const struct run_options *options, FILE *to);

#endif
