#include <criterion/criterion.h>

#include "tests/support/history_maker.h"
#include "tools/check_revision.h"

static struct history_maker *m;
static struct check_history *h;

static void setup(void)
{
    m = history_maker_new();
    h = history_maker_history(m);
}

static void teardown(void)
{
    history_maker_free(m);
}

TestSuite(check_revision, .init = setup, .fini = teardown);

static void expect(const char *rule)
{
    struct check_report report;
    enum check_verdict verdict = check_revision(h, 1, &report);
    if (!rule) {
        cr_assert_eq(verdict, CHECK_VALID, "%s: %s", report.rule, report.text);
        return;
    }
    cr_assert_eq(verdict, CHECK_INVALID, "%s was not seen", rule);
    cr_assert_str_eq(report.rule, rule, "%s: %s", report.rule, report.text);
}

static void put(const char *text)
{
    history_maker_finish(m, history_maker_put(m, 0, 0, text));
}

static size_t get(uint32_t process)
{
    size_t op = history_maker_get(m, process, 0);
    history_maker_finish(m, op);
    return op;
}

static struct check_step *step_of(size_t op)
{
    return &h->steps[check_op_branch(&h->ops[op]).first];
}

static struct check_seen *seen_of(size_t op)
{
    cr_assert_eq(step_of(op)->seen_count, 1);
    return &h->seen[step_of(op)->seen_first];
}

Test(check_revision, empty_and_plain)
{
    expect(NULL);
    get(0);
    put("a");
    get(1);
    history_maker_finish(m, history_maker_cas(m, 1, 0, 2, "b"));
    history_maker_finish(m, history_maker_cas(m, 1, 0, 2, "c"));
    history_maker_finish(m, history_maker_delete(m, 1, 0));
    history_maker_finish(m, history_maker_delete(m, 1, 0));
    get(2);
    expect(NULL);
}

/* An answer that was right when another process had already been told of a newer one. */
Test(check_revision, stale_read)
{
    put("a");
    size_t old = history_maker_get(m, 1, 0);
    history_maker_effect(m, old);
    put("b");
    history_maker_end(m, old, CHECK_OK);
    expect(NULL);
    size_t stale = history_maker_get(m, 1, 0);
    h->ops[stale].revision = 2;
    cr_assert(check_history_see(h, step_of(stale), seen_of(old)));
    step_of(stale)->count = 1;
    history_maker_end(m, stale, CHECK_OK);
    expect("stale");
    h->ops[stale].serializable = true;
    expect(NULL);
    h->ops[stale].session = 7; /* of one endpoint that had answered newer, it is not right either */
    h->ops[stale - 1].session = 7;
    expect("endpoint fell back");
}

Test(check_revision, old_value_at_new_revision)
{
    put("a");
    size_t old = get(1);
    put("b");
    size_t op = get(1);
    *seen_of(op) = *seen_of(old);
    expect("answer against its state");
}

Test(check_revision, lost_update)
{
    put("a");
    put("b");
    size_t op = get(1);
    step_of(op)->seen_count = 0;
    step_of(op)->count = 0;
    expect("answer against its state");
}

/* Two compares against the same version both came out true. */
Test(check_revision, lost_compare)
{
    put("a");
    size_t first = history_maker_cas(m, 0, 0, 2, "b");
    size_t second = history_maker_cas(m, 1, 0, 2, "c");
    history_maker_finish(m, first);
    history_maker_effect(m, second);
    h->ops[second].succeeded = true;
    h->ops[second].revision = 4;
    history_maker_end(m, second, CHECK_OK);
    expect("compare against its state");
}

Test(check_revision, failed_write_is_seen)
{
    size_t op = history_maker_put(m, 0, 0, "a");
    history_maker_effect(m, op);
    history_maker_end(m, op, CHECK_FAIL);
    get(1);
    expect("failed write seen");
}

Test(check_revision, failed_delete_has_an_effect)
{
    put("a");
    size_t op = history_maker_delete(m, 0, 0);
    history_maker_effect(m, op);
    history_maker_end(m, op, CHECK_FAIL);
    get(1);
    expect("revision without a write");
}

Test(check_revision, answered_write_is_applied_again)
{
    size_t op = history_maker_put(m, 0, 0, "a");
    history_maker_effect(m, op);
    history_maker_effect(m, op); /* the second time unknown to its client */
    h->ops[op].revision = 2;
    history_maker_end(m, op, CHECK_OK);
    get(1);
    expect("write at another revision");
}

Test(check_revision, answered_write_is_applied_again_unseen)
{
    size_t op = history_maker_put(m, 0, 0, "a");
    history_maker_effect(m, op);
    put("b");
    history_maker_effect(m, op);
    h->ops[op].revision = 2;
    history_maker_end(m, op, CHECK_OK);
    put("c");
    expect("revision without a write");
}

Test(check_revision, unknown_write_is_applied_twice)
{
    size_t op = history_maker_put(m, 0, 0, "a");
    history_maker_end(m, op, CHECK_INFO);
    history_maker_effect(m, op);
    get(1);
    put("b");
    expect(NULL);
    history_maker_effect(m, op);
    get(1);
    expect("write applied twice");
}

Test(check_revision, unknown_compare_did_not_hold)
{
    put("a");
    put("b");
    size_t op = history_maker_cas(m, 1, 0, 2, "c");
    history_maker_end(m, op, CHECK_INFO);
    h->ops[op].compares.count = 0; /* the store forgets to look */
    history_maker_effect(m, op);
    h->ops[op].compares.count = 1;
    get(1);
    expect("compare against its state");
}

Test(check_revision, unknown_write_shows_late_or_never)
{
    size_t late = history_maker_put(m, 1, 0, "a");
    size_t never = history_maker_put(m, 2, 0, "b");
    size_t unseen = history_maker_put(m, 3, 1, "c");
    size_t gone = history_maker_delete(m, 4, 0);
    history_maker_end(m, late, CHECK_INFO);
    history_maker_end(m, never, CHECK_INFO);
    put("d");
    history_maker_effect(m, unseen);
    get(0);
    history_maker_effect(m, late);
    get(0);
    history_maker_effect(m, gone);
    get(0);
    put("e");
    get(0);
    expect(NULL);
}

Test(check_revision, revision_is_used_twice)
{
    put("a");
    size_t op = history_maker_put(m, 1, 1, "b");
    history_maker_effect(m, op);
    h->ops[op].revision = 2;
    history_maker_end(m, op, CHECK_OK);
    expect("revision used twice");
}

Test(check_revision, revisions_against_real_time)
{
    size_t a = history_maker_put(m, 0, 0, "a");
    history_maker_finish(m, a);
    size_t b = history_maker_put(m, 1, 1, "b");
    history_maker_finish(m, b);
    h->ops[a].revision = 3;
    h->ops[b].revision = 2;
    expect("stale");
}

/* Told of a revision before the write that made it had begun. */
Test(check_revision, from_the_future)
{
    put("a");
    size_t early = history_maker_get(m, 1, 1);
    h->ops[early].serializable = true;
    h->ops[early].revision = 3;
    history_maker_end(m, early, CHECK_OK);
    put("b");
    expect("seen before it was written");
}

Test(check_revision, value_nobody_wrote)
{
    put("a");
    size_t op = get(1);
    seen_of(op)->value = check_history_value(h, slice_of_text("z"));
    expect("value nobody wrote");
}

Test(check_revision, versions_and_create_revisions_count)
{
    put("a");
    put("b");
    size_t op = get(1);
    seen_of(op)->version = 1;
    expect("answer against its state");
    seen_of(op)->version = 2;
    expect(NULL);
    seen_of(op)->create_revision = 3;
    expect("answer against its state");
}

Test(check_revision, deleted_counts_and_limits)
{
    put("a");
    size_t op = history_maker_delete(m, 0, 0);
    history_maker_finish(m, op);
    put("b");
    expect(NULL);
    step_of(op)->count = 2;
    expect("answer against its state");
}

/* What a put or a delete says was there before is as good as a read. */
Test(check_revision, previous_values)
{
    put("a");
    size_t old = get(1);
    const struct check_seen first = *seen_of(old);
    size_t op = history_maker_put(m, 0, 0, "b");
    step_of(op)->prev = true;
    step_of(op)->count = 1;
    cr_assert(check_history_see(h, step_of(op), &first));
    history_maker_finish(m, op);
    expect(NULL);
    step_of(op)->seen_count = 0;
    step_of(op)->count = 0;
    expect("answer against its state");
    step_of(op)->seen_count = 1;
    step_of(op)->count = 1;
    size_t gone = history_maker_delete(m, 0, 0);
    step_of(gone)->prev = true;
    cr_assert(check_history_see(h, step_of(gone), &first));
    history_maker_finish(m, gone);
    expect("answer against its state");
}

Test(check_revision, compares_of_every_kind)
{
    static const struct {
        enum check_target target;
        enum check_relation relation;
        int64_t operand;
        bool holds;
    } rows[] = {
        /* Of a key with create revision 2, mod revision 3, version 2. */
        { CHECK_MOD, CHECK_EQUAL, 3, true },       { CHECK_MOD, CHECK_GREATER, 3, false },
        { CHECK_MOD, CHECK_LESS, 4, true },        { CHECK_CREATE, CHECK_EQUAL, 3, false },
        { CHECK_CREATE, CHECK_GREATER, 1, true },  { CHECK_CREATE, CHECK_NOT_EQUAL, 2, false },
        { CHECK_VERSION, CHECK_EQUAL, 2, true },   { CHECK_VERSION, CHECK_LESS, 2, false },
        { CHECK_VERSION, CHECK_GREATER, 1, true }, { CHECK_VERSION, CHECK_NOT_EQUAL, 1, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        teardown();
        setup();
        put("a");
        put("b");
        size_t op = history_maker_cas(m, 1, 0, 3, "c");
        struct check_compare *c = &h->compares[h->ops[op].compares.first];
        history_maker_effect(m, op); /* as if it held */
        *c = (struct check_compare){ .target = rows[i].target,
                                     .relation = rows[i].relation,
                                     .key = 0,
                                     .operand = rows[i].operand };
        history_maker_end(m, op, CHECK_OK);
        expect(rows[i].holds ? NULL : "compare against its state");
    }
}

Test(check_revision, reads_of_the_past)
{
    put("a");
    size_t old = get(1);
    put("b");
    size_t op = history_maker_get(m, 1, 0);
    h->ops[op].at_revision = 2;
    history_maker_effect(m, op);
    *seen_of(op) = *seen_of(old);
    history_maker_end(m, op, CHECK_OK);
    expect(NULL);
    size_t compact = history_maker_get(m, 0, 1);
    h->ops[compact].compacts = 3;
    history_maker_finish(m, compact);
    expect(NULL);
    h->ops[op].invoke_i = h->next_i++; /* the same read after the compaction */
    h->ops[op].end_i = h->next_i++;
    for (uint32_t i = 0; i < h->op_count; i++) { /* events are numbered without gaps */
        struct check_op *o = &h->ops[i];
        o->invoke_i -= o->invoke_i > 5 ? 2 : 0;
        o->end_i -= o->end_i > 5 && o->end_i != UINT64_MAX ? 2 : 0;
    }
    h->next_i -= 2;
    h->ops[op].at_revision = 2;
    expect("compacted past read");
}

/* ---- at random ---- */

static const struct history_options mixes[] = {
    { .process_count = 1, .op_count = 200 },
    { .process_count = 5, .op_count = 300 },
    { .process_count = 5, .op_count = 300, .info_percent = 5, .fail_percent = 5 },
    { .process_count = 12, .op_count = 600, .info_percent = 30, .fail_percent = 10 },
    { .process_count = 8, .op_count = 400, .info_percent = 60 },
};

Test(check_revision, lawful_histories_pass)
{
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct check_history made = history_make(seed, &mixes[seed % 5]);
        struct check_report report;
        cr_assert_eq(check_revision(&made, 1, &report), CHECK_VALID, "seed %llu: %s: %s",
                     (unsigned long long)seed, report.rule, report.text);
        check_history_close(&made);
    }
}

enum { BREAKS = 7 };

/* Breaks something that cannot be lawful whatever else happened. False: nothing to break. */
static bool break_op(struct check_history *made, struct prng *p, unsigned kind)
{
    size_t first = prng_below(p, made->op_count);
    for (size_t n = 0; n < made->op_count; n++) {
        struct check_op *op = &made->ops[(first + n) % made->op_count];
        struct check_step *s = &made->steps[check_op_branch(op).first];
        bool is_get = op->end == CHECK_OK && check_op_branch(op).count > 0 && s->kind == CHECK_GET;
        struct check_seen *seen = is_get && s->seen_count > 0 ? &made->seen[s->seen_first] : NULL;
        switch (kind) {
        case 0: /* the answer misses a key */
            if (seen && s->seen_count == 1 && s->limit == 0) {
                s->seen_count = 0;
                return true;
            }
            break;
        case 1: /* another version of the key */
            if (seen) {
                seen->version++;
                return true;
            }
            break;
        case 2:
            if (seen) {
                seen->mod_revision++;
                return true;
            }
            break;
        case 3:
            if (seen) {
                seen->create_revision--;
                return true;
            }
            break;
        case 4: /* a write that took effect was told to have failed; its value was read */
            if (seen && made->ops[made->values[seen->value].op].end == CHECK_OK) {
                made->ops[made->values[seen->value].op].end = CHECK_FAIL;
                return true;
            }
            break;
        case 5: /* a key appears that is not there */
            if (is_get && s->seen_count == 0 && s->count == 0) {
                s->count = 1;
                return true;
            }
            break;
        case 6: /* a write claims the revision of another */
            if (check_history_op_wrote(made, op) && op->revision > 3) {
                op->revision--;
                return true;
            }
            break;
        default:
            break;
        }
    }
    return false;
}

Test(check_revision, broken_histories_are_refused)
{
    unsigned broken[BREAKS] = { 0 };
    struct prng p = prng_seeded(99);
    for (uint64_t seed = 1; seed <= 700; seed++) {
        unsigned kind = (unsigned)(seed % BREAKS);
        /* Without unknown outcomes: with them some of these could be lawful. */
        struct check_history made = history_make(seed, &mixes[seed / BREAKS % 2]);
        struct check_report report;
        if (break_op(&made, &p, kind)) {
            cr_assert_eq(check_revision(&made, 1, &report), CHECK_INVALID, "seed %llu kind %u",
                         (unsigned long long)seed, kind);
            broken[kind]++;
        }
        check_history_close(&made);
    }
    for (unsigned i = 0; i < BREAKS; i++)
        cr_assert_gt(broken[i], 50, "kind %u", i);
}
