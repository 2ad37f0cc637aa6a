#include "tools/check_wgl.h"

#include <stdlib.h>

#include "base/assert.h"
#include "tools/check_tried.h"

enum {
    WINDOW_STATES_MAX = 64, /* a window must fail from each of them */
    WINDOW_OPS_MAX = 2048,
    WINDOW_MEMORY_BYTES = 32 << 20,
    WINDOW_STEPS_MAX = 2000000, /* of all attempts together */
};

/* An invocation or a completion, in a list by time. */
struct entry {
    struct entry *next;
    struct entry *prev;
    struct entry *end; /* of an invocation: its completion, or NULL */
    uint64_t i;
    size_t op;
    size_t bit; /* in known or unknown */
    bool is_end;
};

struct placed {
    struct entry *entry;
    uint64_t state; /* before it */
};

struct search {
    const struct check_wgl_op *ops;
    size_t count;
    const struct check_model *model;
    struct entry *entries;
    struct entry head;
    struct placed *placed;
    size_t placed_count;
    size_t unplaced; /* of known outcome */
    uint64_t steps_left;
    struct check_tried tried;
    struct entry *stuck; /* the latest completion that nothing got past */
};

struct check_wgl_budget check_wgl_budget_usual(void)
{
    return (struct check_wgl_budget){ .steps_max = 20 * 1000 * 1000,
                                      .memory_bytes = (size_t)256 << 20 };
}

/* ---- the list ---- */

static int entry_order(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;
    return (*x)->i < (*y)->i ? -1 : (*x)->i > (*y)->i;
}

static bool entries_link(struct search *s, size_t entry_count)
{
    struct entry **order = malloc((entry_count + 1) * sizeof(struct entry *));
    if (!order)
        return false;
    for (size_t i = 0; i < entry_count; i++)
        order[i] = &s->entries[i];
    if (entry_count > 0)
        qsort(order, entry_count, sizeof(struct entry *), entry_order);
    struct entry *last = &s->head;
    for (size_t i = 0; i < entry_count; i++) {
        last->next = order[i];
        order[i]->prev = last;
        last = order[i];
    }
    last->next = NULL;
    free(order);
    return true;
}

static bool search_open(struct search *s, const struct check_wgl_budget *budget)
{
    size_t known = 0, unknown = 0, made = 0;
    s->entries = calloc(2 * s->count + 1, sizeof *s->entries);
    s->placed = malloc((s->count + 1) * sizeof *s->placed);
    if (!s->entries || !s->placed)
        return false;
    for (size_t i = 0; i < s->count; i++) {
        bool is_known = s->ops[i].end_i != UINT64_MAX;
        struct entry *begin = &s->entries[made++];
        *begin = (struct entry){ .i = s->ops[i].invoke_i,
                                 .op = i,
                                 .bit = is_known ? known++ : unknown++ };
        if (is_known) {
            begin->end = &s->entries[made++];
            *begin->end = (struct entry){ .i = s->ops[i].end_i, .op = i, .is_end = true };
        }
    }
    s->unplaced = known;
    s->steps_left = budget->steps_max;
    return entries_link(s, made) &&
           check_tried_open(&s->tried, known, unknown, budget->memory_bytes);
}

static void search_close(struct search *s)
{
    free(s->entries);
    free(s->placed);
    check_tried_close(&s->tried);
}

static void entry_remove(struct entry *e)
{
    e->prev->next = e->next;
    if (e->next)
        e->next->prev = e->prev;
}

static void entry_restore(struct entry *e)
{
    e->prev->next = e;
    if (e->next)
        e->next->prev = e;
}

static struct check_bits *bits_of(struct search *s, const struct entry *e)
{
    return e->end ? &s->tried.known : &s->tried.unknown;
}

static void place(struct search *s, struct entry *e, uint64_t state_before)
{
    s->placed[s->placed_count++] = (struct placed){ .entry = e, .state = state_before };
    entry_remove(e);
    if (e->end) {
        entry_remove(e->end);
        s->unplaced--;
    }
}

/* The last one placed comes back; in the reverse order of its removal. */
static struct entry *unplace(struct search *s, uint64_t *ret_state)
{
    struct placed *last = &s->placed[--s->placed_count];
    struct entry *e = last->entry;
    *ret_state = last->state;
    if (e->end) {
        entry_restore(e->end);
        s->unplaced++;
    }
    entry_restore(e);
    check_bits_clear(bits_of(s, e), e->bit);
    return e;
}

/* ---- the search ---- */

/* Whether the next operation to complete, unless it is e's, could never be placed after e. */
static bool is_dead_end(const struct search *s, const struct entry *e, uint64_t after)
{
    if (!s->model->is_too_late)
        return false;
    const struct entry *next = s->head.next;
    while (!next->is_end)
        next = next->next;
    return next != e->end && s->model->is_too_late(s->model->owner, s->ops[next->op].id, after);
}

static enum check_verdict search_run(struct search *s, uint64_t state)
{
    struct entry *e = s->head.next;
    while (s->unplaced > 0) {
        ASSERT(e); /* a completion is always ahead */
        if (e->is_end) {
            if (!s->stuck || e->i > s->stuck->i)
                s->stuck = e;
            if (s->placed_count == 0)
                return CHECK_INVALID;
            e = unplace(s, &state)->next;
            continue;
        }
        uint64_t after;
        if (s->steps_left == 0)
            return CHECK_UNKNOWN;
        s->steps_left--;
        if (!s->model->step(s->model->owner, s->ops[e->op].id, state, &after)) {
            if (*s->model->has_failed)
                return CHECK_UNKNOWN;
            e = e->next;
            continue;
        }
        if (is_dead_end(s, e, after)) {
            e = e->next;
            continue;
        }
        check_bits_set(bits_of(s, e), e->bit);
        enum check_tried_answer answer = check_tried_add(&s->tried, after);
        if (answer == CHECK_TRIED_FULL)
            return CHECK_UNKNOWN;
        if (answer == CHECK_TRIED_BEFORE) {
            check_bits_clear(bits_of(s, e), e->bit);
            e = e->next;
            continue;
        }
        place(s, e, state);
        state = after;
        e = s->head.next;
    }
    return CHECK_VALID;
}

/* ---- the window ---- */

struct window {
    const struct check_wgl_op *ops;
    const struct check_model *model;
    uint64_t end_i; /* of the stuck operation */
    size_t count;   /* of ops that begin before that */
    uint64_t states[WINDOW_STATES_MAX];
    size_t state_count;
    struct check_wgl_op *part;
    uint64_t steps_left;
};

static bool states_gather(struct window *w, const struct check_tried *tried)
{
    size_t position = 0;
    uint64_t state;
    w->states[w->state_count++] = w->model->initial;
    while (check_tried_next_state(tried, &position, &state)) {
        size_t i = 0;
        while (i < w->state_count && w->states[i] != state)
            i++;
        if (i < w->state_count)
            continue;
        if (w->state_count == WINDOW_STATES_MAX)
            return false;
        w->states[w->state_count++] = state;
    }
    return true;
}

/* The operations that end after `from`, cut off where the stuck one ends. Their number. */
static size_t window_take(const struct window *w, uint64_t from)
{
    size_t count = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (w->ops[i].end_i <= from)
            continue;
        w->part[count] = w->ops[i];
        if (w->part[count].end_i > w->end_i)
            w->part[count].end_i = UINT64_MAX;
        count++;
    }
    return count;
}

static bool window_fails(struct window *w, uint64_t from)
{
    size_t count = window_take(w, from);
    bool fails = count <= WINDOW_OPS_MAX;
    for (size_t i = 0; fails && i < w->state_count; i++) {
        struct search s = { .ops = w->part, .count = count, .model = w->model };
        const struct check_wgl_budget budget = { .steps_max = w->steps_left,
                                                 .memory_bytes = WINDOW_MEMORY_BYTES };
        fails = search_open(&s, &budget) && search_run(&s, w->states[i]) == CHECK_INVALID;
        w->steps_left = s.steps_left;
        search_close(&s);
    }
    return fails;
}

/* The later it starts the less it holds and the less it fails: the latest start that still fails,
 * by halving. */
static void window_find(const struct search *s, struct check_wgl_result *result)
{
    struct window w = {
        .ops = s->ops, .model = s->model, .end_i = s->stuck->i, .steps_left = WINDOW_STEPS_MAX
    };
    while (w.count < s->count && s->ops[w.count].invoke_i < w.end_i)
        w.count++;
    result->window_count = w.count;
    w.part = malloc((w.count + 1) * sizeof *w.part);
    if (w.part && states_gather(&w, &s->tried)) {
        uint64_t fails = 0, holds = w.end_i;
        while (holds - fails > 1) {
            uint64_t middle = fails + (holds - fails) / 2;
            if (window_fails(&w, middle))
                fails = middle;
            else
                holds = middle;
        }
        result->window_i = fails;
        result->window_count = window_take(&w, fails);
    }
    free(w.part);
}

enum check_verdict check_wgl(const struct check_wgl_op *ops, size_t count,
                             const struct check_model *model, const struct check_wgl_budget *budget,
                             struct check_wgl_result *ret_result)
{
    *ret_result = (struct check_wgl_result){ .verdict = CHECK_UNKNOWN };
    struct search s = { .ops = ops, .count = count, .model = model };
    for (size_t i = 1; i < count; i++)
        ASSERT(ops[i - 1].invoke_i < ops[i].invoke_i);
    if (search_open(&s, budget))
        ret_result->verdict = search_run(&s, model->initial);
    if (ret_result->verdict == CHECK_INVALID) {
        ret_result->stuck = s.stuck->op;
        window_find(&s, ret_result);
    }
    search_close(&s);
    return ret_result->verdict;
}
