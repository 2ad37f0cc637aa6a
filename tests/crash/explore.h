/* explore.h: every state that a power cut could leave at any point of a recorded run, recovered.
 *
 * A subject is a program of writes that makes promises as it goes, and a check that what is found
 * on a disk keeps the promises of that moment. explore_run records the subject on an empty
 * directory and then, before each recorded operation, cuts the power in several ways and checks.
 * At some points it goes one level deeper: the cut (or the death of the process alone, with what
 * is in the cache still not durable) is recovered from and worked on under a recording, and that
 * is cut again at each point.
 *
 * Thread: one. Errors: what a check finds is counted, and printed with the seed and the point.
 */
#ifndef TESTS_CRASH_EXPLORE_H
#define TESTS_CRASH_EXPLORE_H

#include "raft/types.h"
#include "tests/crash/record.h"

enum { EXPLORE_PATH_BYTES = 64, EXPLORE_PROMISES_MAX = 4096 };

/* What must be true of a disk found later. */
struct promise {
    uint32_t step_low; /* the store is at one of these */
    uint32_t step_high;
    bool has_identity;               /* of the data directory */
    uint64_t durable_index;          /* the journal and the store hold the log up to here */
    struct raft_hard_state hard_low; /* term and vote are these, or those of a write in flight */
    struct raft_hard_state hard_high;
};

struct explorer {
    /* The subject. work() opens below path what is there (nothing at first), does some of its
     * writes from there on and says explore_promise as it goes; `whole` asks for all of them.
     * check() opens what is below path, as a node after a crash would. Both: false and why. */
    void *subject;
    bool (*work)(struct explorer *x, const char *path, const struct promise *before, bool whole);
    bool (*check)(struct explorer *x, const char *path, const struct promise *promise);
    uint64_t seed;
    uint32_t cuts_per_point; /* of each kind of loss */
    uint32_t deeper_of;      /* one in so many points is gone into; 0: none */
    bool wants_finding;      /* the first is the end of it, and no news */
    /* What came of it. */
    uint64_t points;
    uint64_t images;
    uint64_t findings;
    char why[256]; /* of the last finding */
    /* Internal. */
    char live[EXPLORE_PATH_BYTES];
    char again[EXPLORE_PATH_BYTES];
    char image[EXPLORE_PATH_BYTES];
    struct promise promises[EXPLORE_PROMISES_MAX];
    size_t promise_count;
    bool is_deeper;
};

/* From here on a crash must find this. */
void explore_promise(struct explorer *x, const struct promise *promise);

void explore_run(struct explorer *x);

#endif
