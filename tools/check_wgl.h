/* check_wgl.h: is there an order of these operations, each at a moment between its invocation and
 * its completion, that the model allows? (Wing and Gong 1993; Lowe 2017: a set of what was tried,
 * each entry the operations placed so far and the state they led to.)
 *
 * Exponential at worst, so with a budget; past it the answer is CHECK_UNKNOWN.
 * Thread: any. Owner: nothing is kept.
 */
#ifndef TOOLS_CHECK_WGL_H
#define TOOLS_CHECK_WGL_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/check_report.h"

/* Ordered by invoke_i. */
struct check_wgl_op {
    uint64_t invoke_i; /* places in time; no two are equal */
    uint64_t end_i;    /* UINT64_MAX: unknown outcome, may take effect at any time or never */
    uint32_t id;       /* for the model */
};

/* A state is a number; a model with larger states numbers them. */
struct check_model {
    void *owner;
    uint64_t initial;
    const bool *has_failed; /* a step had no memory: from then on there is no verdict */
    /* The operation's effect in this state. False: it cannot have been answered so here. */
    bool (*step)(void *owner, uint32_t id, uint64_t state, uint64_t *ret_state);
    /* The operation can happen neither in this state nor in any that may come of it; NULL: the
     * model knows of no such. It spares the search what would fail later. */
    bool (*is_too_late)(void *owner, uint32_t id, uint64_t state);
};

struct check_wgl_budget {
    uint64_t steps_max;  /* of the model */
    size_t memory_bytes; /* of what was tried */
};

struct check_wgl_result {
    enum check_verdict verdict;
    /* When CHECK_INVALID: the operation that has no place, and the shortest run of operations
     * before it without which it would have one (from any state the search had reached). */
    size_t stuck;        /* in ops */
    size_t window_count; /* operations of the window, the stuck one included */
    uint64_t window_i; /* it holds those that end after this, and begin before the stuck one ends */
};

struct check_wgl_budget check_wgl_budget_usual(void);

enum check_verdict check_wgl(const struct check_wgl_op *ops, size_t count,
                             const struct check_model *model, const struct check_wgl_budget *budget,
                             struct check_wgl_result *ret_result);

#endif
