/* check_revision_internal.h: the order of a history (check_revision.c) and the states that its
 * replay goes through (check_replay.c).
 */
#ifndef TOOLS_CHECK_REVISION_INTERNAL_H
#define TOOLS_CHECK_REVISION_INTERNAL_H

#include "tools/check_revision.h"

enum { CHECK_MAYBE_MAX = 32 };

/* What a key may be at the revision reached. */
struct check_maybe {
    bool any; /* too many to list */
    uint32_t count;
    struct check_seen list[CHECK_MAYBE_MAX]; /* version 0: absent */
};

struct check_replay {
    const struct check_history *history;
    struct check_report *report;
    struct check_maybe *keys;
    int64_t revision;
};

/* All keys absent. False: out of memory. */
bool check_replay_open(struct check_replay *r, const struct check_history *h,
                       struct check_report *report);
void check_replay_close(struct check_replay *r);

/* The operation took this branch at revision r->revision: as a write that made it, or as one that
 * saw it. False: it cannot have been so, and the report says why. */
bool check_replay_op(struct check_replay *r, uint32_t op, bool branch);

/* The operation may have made this revision, in either branch; `before`: all keys ahead of it. */
void check_replay_maybe(struct check_replay *r, const struct check_maybe *before, uint32_t op);

/* Fills the report; always false. */
bool check_refuse(const struct check_history *h, struct check_report *report, const char *rule,
                  uint32_t op, const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
