/* check_models.h: what each model allows: the steps for check_wgl.h over a row of calls.
 *
 * Owner: open .. close; borrows the calls, and adds values to them (lists that appends make).
 */
#ifndef TOOLS_CHECK_MODELS_H
#define TOOLS_CHECK_MODELS_H

#include "tools/check_calls.h"

struct check_models {
    struct check_calls *calls;
    struct check_model model; /* for check_wgl; ids are places in calls */
    bool is_full;             /* a step was refused for want of memory */
    /* Revisions that writes of known outcome made, ascending, and the first that none of them made
     * after each: there a write of unknown outcome may have its place, and nowhere before. */
    uint64_t *taken, *free_after;
    size_t taken_count;
    /* States of CHECK_TXN: the keys' values, then the newest revision. */
    uint64_t *states;
    size_t state_words, state_count, state_capacity, state_count_max;
    uint32_t *slots;
    size_t slot_count;
    uint64_t *scratch;
};

/* False: out of memory, or more values than states have room for. */
bool check_models_open(struct check_models *m, struct check_calls *calls,
                       enum check_model_kind kind, size_t memory_bytes);
void check_models_close(struct check_models *m);

#endif
