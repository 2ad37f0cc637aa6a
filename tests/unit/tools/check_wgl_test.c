#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/history_maker.h"
#include "tools/check_keys.h"
#include "tools/check_models.h"
#include "tools/check_revision.h"

static struct check_report report;

/* ---- against all orders, tried one by one ---- */

enum { FEW = 7, VALUES = 3 };

static bool some_order_holds(const struct check_wgl_op *ops, size_t count,
                             const struct check_model *model, unsigned placed, uint64_t state)
{
    uint64_t first_end = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (!(placed & 1u << i) && ops[i].end_i < first_end)
            first_end = ops[i].end_i;
    }
    if (first_end == UINT64_MAX)
        return true; /* what is left may never have happened */
    for (size_t i = 0; i < count; i++) {
        uint64_t after;
        if (!(placed & 1u << i) && ops[i].invoke_i < first_end &&
            model->step(model->owner, ops[i].id, state, &after) &&
            some_order_holds(ops, count, model, placed | 1u << i, after))
            return true;
    }
    return false;
}

/* Random calls of a few processes on one register: many are lawful, many are not. */
static size_t few_calls(struct prng *p, struct check_calls *calls, struct check_wgl_op *ops)
{
    size_t count = 1 + prng_below(p, FEW);
    struct check_call *open[3] = { NULL };
    uint64_t i = 0;
    size_t begun = 0;
    calls->count = 0;
    int64_t revision = 2;
    while (begun < count || open[0] || open[1] || open[2]) {
        uint64_t process = prng_below(p, 3);
        struct check_call **call = &open[process];
        if (*call) {
            bool is_unknown = (*call)->kind != CALL_READ && prng_below(p, 4) == 0;
            (*call)->end_i = is_unknown ? UINT64_MAX : i++;
            revision += (int64_t)prng_below(p, 2);
            (*call)->revision = is_unknown || prng_below(p, 3) == 0 ? 0 : revision;
            *call = NULL;
        } else if (begun < count) {
            *call = check_calls_add(calls);
            **call = (struct check_call){ .kind = (enum check_call_kind)prng_below(p, 3),
                                          .is = (int64_t)prng_below(p, VALUES),
                                          .to = (int64_t)prng_below(p, VALUES),
                                          .invoke_i = i++,
                                          .end_i = UINT64_MAX };
            begun++;
        }
    }
    for (size_t n = 0; n < count; n++)
        ops[n] =
            (struct check_wgl_op){ calls->calls[n].invoke_i, calls->calls[n].end_i, (uint32_t)n };
    return count;
}

static void compare_with_all_orders(enum check_model_kind kind)
{
    struct prng p = prng_seeded(17);
    struct check_calls calls;
    struct check_wgl_op ops[FEW];
    struct check_wgl_budget budget = check_wgl_budget_usual();
    unsigned valid = 0, invalid = 0;
    cr_assert(check_calls_open(&calls));
    for (int i = 0; i < VALUES; i++)
        cr_assert_neq(check_history_value(&calls.values, slice_of(&i, sizeof i)), 0);
    for (int i = 0; i < FEW; i++)
        cr_assert(check_calls_add(&calls)); /* room, so that calls do not move */
    for (int round = 0; round < 20000; round++) {
        size_t count = few_calls(&p, &calls, ops);
        struct check_models models;
        struct check_wgl_result result;
        cr_assert(check_models_open(&models, &calls, kind, budget.memory_bytes));
        bool holds = some_order_holds(ops, count, &models.model, 0, 0);
        enum check_verdict verdict = check_wgl(ops, count, &models.model, &budget, &result);
        cr_assert_eq(verdict, holds ? CHECK_VALID : CHECK_INVALID, "round %d", round);
        cr_assert(holds || (result.stuck < count && result.window_count > 0));
        check_models_close(&models);
        *(holds ? &valid : &invalid) += 1;
    }
    cr_assert_gt(valid, 2000);
    cr_assert_gt(invalid, 2000);
    check_calls_close(&calls);
}

Test(check_wgl, agrees_with_all_orders)
{
    compare_with_all_orders(CHECK_CAS_REGISTER);
}

Test(check_wgl, agrees_with_all_orders_by_revision)
{
    compare_with_all_orders(CHECK_REGISTER);
}

/* ---- histories of a correct store ---- */

static const struct history_options mixes[] = {
    { .process_count = 1, .op_count = 200 },
    { .process_count = 5, .op_count = 400 },
    { .process_count = 5, .op_count = 400, .info_percent = 3, .fail_percent = 5 },
    { .process_count = 12, .op_count = 400, .info_percent = 10, .single_keys = true },
};

static enum check_verdict judge_keys(const struct check_history *h, enum check_model_kind kind)
{
    struct check_calls calls;
    struct check_wgl_budget budget = check_wgl_budget_usual();
    cr_assert(check_calls_open(&calls));
    cr_assert(check_keys_load(&calls, h));
    enum check_verdict verdict = check_calls_judge(&calls, kind, &budget, &report);
    check_calls_close(&calls);
    return verdict;
}

Test(check_wgl, lawful_histories_pass)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct check_history made = history_make(seed, &mixes[seed % 4]);
        cr_assert_eq(judge_keys(&made, CHECK_REGISTER), CHECK_VALID, "seed %llu: %s",
                     (unsigned long long)seed, report.text);
        cr_assert_neq(judge_keys(&made, CHECK_CAS_REGISTER), CHECK_INVALID, "seed %llu: %s",
                      (unsigned long long)seed, report.text);
        check_history_close(&made);
    }
}

/* Something that a completed operation was shown. */
static struct check_seen *any_seen(struct check_history *h, struct prng *p)
{
    for (;;) {
        const struct check_op *op = &h->ops[prng_below(p, h->op_count)];
        struct check_part part = check_op_branch(op);
        const struct check_step *s = &h->steps[part.first];
        if (op->end == CHECK_OK && part.count > 0 && s->seen_count > 0)
            return &h->seen[s->seen_first];
    }
}

/* One answer becomes that of another read of the same key. Key by key less is known than by
 * revisions: so what fails here must fail there. */
Test(check_wgl, exchanged_answers)
{
    struct prng p = prng_seeded(5);
    unsigned changed = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct check_history made = history_make(seed, &mixes[1]);
        struct check_seen *a = any_seen(&made, &p);
        struct check_seen *b = any_seen(&made, &p);
        struct check_report by_revision;
        if (a->key == b->key && a->value != b->value) {
            *a = *b;
            changed++;
            cr_assert_eq(check_revision(&made, 1, &by_revision), CHECK_INVALID);
            refused += judge_keys(&made, CHECK_REGISTER) == CHECK_INVALID;
        }
        check_history_close(&made);
    }
    cr_assert_gt(changed, 50);
    cr_assert_gt(refused, changed * 3 / 4, "%u of %u", refused, changed);
}

Test(check_wgl, long_history)
{
    const struct history_options many = { .process_count = 16,
                                          .op_count = 50000,
                                          .info_percent = 1 };
    struct check_history made = history_make(1, &many);
    cr_assert_eq(judge_keys(&made, CHECK_REGISTER), CHECK_VALID, "%s: %s", report.rule,
                 report.text);
    cr_assert_eq(check_revision(&made, 1, &report), CHECK_VALID, "%s", report.text);
    check_history_close(&made);
}
