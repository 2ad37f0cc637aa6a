#include "tools/check_calls.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tools/check_models.h"

enum { CAPACITY_FIRST = 256, WINDOW_LINES_MAX = 24, VALUE_BYTES_MAX = 60 };

bool check_calls_open(struct check_calls *c)
{
    *c = (struct check_calls){ 0 };
    return check_history_open(&c->values, 0, 1);
}

void check_calls_close(struct check_calls *c)
{
    free(c->calls);
    free(c->parts);
    check_history_close(&c->values);
    *c = (struct check_calls){ 0 };
}

static struct check_call *add(struct check_call **array, size_t *count, size_t *capacity)
{
    if (*count == *capacity) {
        size_t wanted = *capacity > 0 ? *capacity * 2 : CAPACITY_FIRST;
        struct check_call *grown = realloc(*array, wanted * sizeof *grown);
        if (!grown)
            return NULL;
        *array = grown;
        *capacity = wanted;
    }
    struct check_call *call = &(*array)[(*count)++];
    *call = (struct check_call){ .end_i = UINT64_MAX };
    return call;
}

struct check_call *check_calls_add(struct check_calls *c)
{
    return add(&c->calls, &c->count, &c->capacity);
}

struct check_call *check_calls_part(struct check_calls *c, struct check_call *txn)
{
    if (txn->parts.count == 0)
        txn->parts.first = (uint32_t)c->part_count;
    ASSERT(txn->parts.first + txn->parts.count == c->part_count);
    txn->parts.count++;
    return add(&c->parts, &c->part_count, &c->part_capacity);
}

/* ---- for people ---- */

struct text {
    char *to;
    size_t room;
    size_t size;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(t->to + t->size, t->room - t->size, format, arguments);
    va_end(arguments);
    if (size > 0)
        t->size += (size_t)size;
    if (t->size >= t->room)
        t->size = t->room - 1;
}

static void say_value(struct text *t, const struct check_calls *c, int64_t value)
{
    struct slice bytes = check_history_bytes(&c->values, (uint32_t)value);
    size_t shown = bytes.size < VALUE_BYTES_MAX ? bytes.size : VALUE_BYTES_MAX;
    if (value == 0)
        say(t, "nil");
    else
        say(t, "%s%.*s", shown < bytes.size ? "..." : "", (int)shown,
            (const char *)bytes.data + (bytes.size - shown));
}

static void say_call(struct text *t, const struct check_calls *c, const struct check_call *call,
                     bool names_key)
{
    static const char *const names[] = { "read", "write", "cas", "add", "append", "txn" };
    say(t, "%s", names[call->kind]);
    if (names_key && call->kind != CALL_TXN) {
        say(t, " ");
        say_value(t, c, call->key);
    }
    if (call->kind == CALL_READ || call->kind == CALL_CAS) {
        say(t, " ");
        if (call->is_anything)
            say(t, "?");
        else if (call->is_number)
            say(t, "%" PRId64, call->is);
        else
            say_value(t, c, call->is);
    }
    if (call->kind == CALL_ADD) {
        say(t, " %" PRId64, call->to);
    } else if (call->kind != CALL_READ && call->kind != CALL_TXN) {
        say(t, " ");
        say_value(t, c, call->to);
    }
    for (uint32_t i = 0; i < call->parts.count; i++) {
        say(t, i > 0 ? ", " : " ");
        say_call(t, c, &c->parts[call->parts.first + i], true);
    }
}

void check_call_describe(const struct check_calls *c, const struct check_call *call, char *to,
                         size_t room)
{
    ASSERT(room > 0);
    struct text t = { .to = to, .room = room };
    to[0] = '\0';
    say(&t, "at %" PRIu64 " process %" PRId64 " %" PRIu64 "..", call->where, call->process,
        call->invoke_i);
    if (call->end_i != UINT64_MAX)
        say(&t, "%" PRIu64, call->end_i);
    say(&t, " ");
    say_call(&t, c, call, call->key != 0);
    if (call->revision > 0)
        say(&t, " revision %" PRId64, call->revision);
}

/* ---- the judgement ---- */

/* Nothing depends on whether it happened. */
static bool is_idle(const struct check_calls *c, const struct check_call *call)
{
    if (call->end_i != UINT64_MAX)
        return false;
    for (uint32_t i = 0; i < call->parts.count; i++) {
        if (c->parts[call->parts.first + i].kind != CALL_READ)
            return false;
    }
    return call->kind == CALL_READ || call->kind == CALL_TXN;
}

struct keyed {
    struct check_wgl_op op;
    uint32_t key;
};

static int keyed_order(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->op.invoke_i < y->op.invoke_i ? -1 : x->op.invoke_i > y->op.invoke_i;
}

static void report_fill(const struct check_calls *c, const struct check_wgl_op *ops, size_t count,
                        const struct check_wgl_result *found, struct check_report *report)
{
    struct text t = { .to = report->text, .room = sizeof report->text };
    char line[300];
    const struct check_wgl_op *stuck = &ops[found->stuck];
    report->rule = "not linearizable";
    report->op = stuck->id;
    check_call_describe(c, &c->calls[stuck->id], line, sizeof line);
    say(&t, "no place for: %s\nthe shortest run that fails has %zu operations:", line,
        found->window_count);
    size_t left = found->window_count;
    for (size_t i = 0; i < count && left > 0; i++) {
        if (ops[i].end_i <= found->window_i || ops[i].invoke_i > stuck->end_i)
            continue;
        if (left-- > WINDOW_LINES_MAX)
            continue; /* the last ones are next to what cannot be placed */
        check_call_describe(c, &c->calls[ops[i].id], line, sizeof line);
        say(&t, "\n  %s", line);
    }
}

static enum check_verdict part_judge(struct check_calls *c, const struct check_wgl_op *ops,
                                     size_t count, enum check_model_kind kind,
                                     const struct check_wgl_budget *budget,
                                     struct check_report *report)
{
    struct check_models models;
    struct check_wgl_result found = { .verdict = CHECK_UNKNOWN };
    if (check_models_open(&models, c, kind, budget->memory_bytes))
        check_wgl(ops, count, &models.model, budget, &found);
    if (found.verdict == CHECK_INVALID)
        report_fill(c, ops, count, &found, report);
    else if (found.verdict == CHECK_UNKNOWN && report->verdict == CHECK_VALID)
        report->rule = "budget exceeded";
    check_models_close(&models);
    return found.verdict;
}

/* A violation outweighs everything; what was not decided outweighs what holds. */
static enum check_verdict worse(enum check_verdict a, enum check_verdict b)
{
    if (a == CHECK_INVALID || b == CHECK_INVALID)
        return CHECK_INVALID;
    return a == CHECK_UNKNOWN || b == CHECK_UNKNOWN ? CHECK_UNKNOWN : CHECK_VALID;
}

enum check_verdict check_calls_judge(struct check_calls *c, enum check_model_kind kind,
                                     const struct check_wgl_budget *budget,
                                     struct check_report *report)
{
    *report = (struct check_report){ .verdict = CHECK_UNKNOWN, .op = UINT32_MAX };
    struct keyed *all = malloc((c->count + 1) * sizeof *all);
    struct check_wgl_op *ops = malloc((c->count + 1) * sizeof *ops);
    size_t count = 0;
    for (size_t i = 0; all && ops && i < c->count; i++) {
        const struct check_call *call = &c->calls[i];
        if (!is_idle(c, call))
            all[count++] = (struct keyed){ .op = { call->invoke_i, call->end_i, (uint32_t)i },
                                           .key = kind == CHECK_TXN ? 0 : call->key };
    }
    if (all && ops) {
        report->verdict = CHECK_VALID;
        qsort(all, count, sizeof *all, keyed_order);
    } else {
        report->rule = "out of memory";
    }
    for (size_t i = 0; all && ops && i < count && report->verdict != CHECK_INVALID;) {
        size_t n = 0;
        uint32_t key = all[i].key;
        while (i < count && all[i].key == key)
            ops[n++] = all[i++].op;
        report->verdict = worse(report->verdict, part_judge(c, ops, n, kind, budget, report));
    }
    free(all);
    free(ops);
    return report->verdict;
}
