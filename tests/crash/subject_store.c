#include "base/assert.h"
#include "tests/crash/subjects.h"

static bool store_work(struct explorer *x, const char *path, const struct promise *before,
                       bool whole)
{
    struct subject *subject = x->subject;
    struct store_script *script = subject->script;
    struct promise promise = *before;
    struct store *store;
    uint32_t i;
    record_drop(whole ? subject->faults.in_open : subject->faults.again_store);
    bool is_good = store_script_open(script, path, &store, x->why);
    record_drop(0);
    if (!is_good)
        return false;
    is_good = store_script_find(script, store, promise.step_low, promise.step_high, &i, x->why);
    uint32_t last = whole ? script->flush_count : i + 1;
    record_drop(subject->faults.in_flush);
    while (is_good) {
        promise.step_low = promise.step_high = i;
        explore_promise(x, &promise);
        if (i == script->flush_count || i == last)
            break;
        promise.step_high = ++i;
        explore_promise(x, &promise);
        is_good = store_script_flush(script, store, i, x->why);
    }
    record_drop(0);
    store_close(store);
    return is_good;
}

static bool store_check(struct explorer *x, const char *path, const struct promise *promise)
{
    struct subject *subject = x->subject;
    return store_script_recovers(subject->script, path, promise->step_low, promise->step_high,
                                 x->why);
}

void subject_store(struct explorer *x, struct subject *subject)
{
    x->subject = subject;
    x->work = store_work;
    x->check = store_check;
}
