#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tools/check_describe.h"
#include "tools/check_revision_internal.h"

bool check_refuse(const struct check_history *h, struct check_report *report, const char *rule,
                  uint32_t op, const char *format, ...)
{
    report->verdict = CHECK_INVALID;
    report->rule = rule;
    report->op = op;
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(report->text, sizeof report->text, format, arguments);
    va_end(arguments);
    if (op < h->op_count && size >= 0 && (size_t)size + 2 < sizeof report->text) {
        report->text[size++] = '\n';
        check_describe(h, op, report->text + size, sizeof report->text - (size_t)size);
    }
    return false;
}

bool check_replay_open(struct check_replay *r, const struct check_history *h,
                       struct check_report *report)
{
    *r = (struct check_replay){ .history = h, .report = report };
    r->keys = calloc((size_t)h->key_count + 1, sizeof *r->keys);
    for (uint32_t k = 0; r->keys && k < h->key_count; k++) {
        r->keys[k].count = 1;
        r->keys[k].list[0] = (struct check_seen){ .key = k };
    }
    return r->keys != NULL;
}

void check_replay_close(struct check_replay *r)
{
    free(r->keys);
    r->keys = NULL;
}

/* ---- what a key may be ---- */

static bool seen_equal(const struct check_seen *a, const struct check_seen *b)
{
    return a->value == b->value && a->create_revision == b->create_revision &&
           a->mod_revision == b->mod_revision && a->version == b->version;
}

static void maybe_set(struct check_maybe *m, const struct check_seen *only)
{
    m->any = false;
    m->count = 1;
    m->list[0] = *only;
}

static void maybe_add(struct check_maybe *m, const struct check_seen *more)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (seen_equal(&m->list[i], more))
            return;
    }
    if (m->count == CHECK_MAYBE_MAX)
        m->any = true;
    else
        m->list[m->count++] = *more;
}

/* It is this one. False: it cannot be. */
static bool maybe_is(struct check_maybe *m, const struct check_seen *seen)
{
    bool is_possible = m->any;
    for (uint32_t i = 0; i < m->count && !is_possible; i++)
        is_possible = seen_equal(&m->list[i], seen);
    if (is_possible)
        maybe_set(m, seen);
    return is_possible;
}

/* It exists, or does not. False: it cannot be. */
static bool maybe_exists(struct check_maybe *m, uint32_t key, bool exists)
{
    if (m->any && exists)
        return true;
    if (!exists)
        return maybe_is(m, &(struct check_seen){ .key = key });
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->list[i].version > 0)
            m->list[kept++] = m->list[i];
    }
    m->count = kept;
    return kept > 0;
}

static void maybe_count(const struct check_maybe *m, int64_t *at_least, int64_t *at_most)
{
    uint32_t present = 0;
    for (uint32_t i = 0; i < m->count; i++)
        present += m->list[i].version > 0;
    if (m->any || present > 0)
        ++*at_most;
    if (!m->any && present == m->count)
        ++*at_least;
}

static void maybe_put(struct check_maybe *m, uint32_t value, int64_t revision)
{
    if (m->any)
        return; /* create revision and version stay unknown until it is read */
    for (uint32_t i = 0; i < m->count; i++) {
        struct check_seen *s = &m->list[i];
        if (s->version == 0)
            s->create_revision = revision;
        s->version++;
        s->mod_revision = revision;
        s->value = value;
    }
}

/* ---- compares ---- */

static bool compare_holds(const struct check_compare *c, const struct check_seen *s)
{
    if (c->target == CHECK_VALUE) /* of an absent key no compare with a value holds, as in etcd */
        return s->version > 0 && (c->relation == CHECK_EQUAL) == ((int64_t)s->value == c->operand);
    int64_t is = c->target == CHECK_MOD      ? s->mod_revision
                 : c->target == CHECK_CREATE ? s->create_revision
                                             : s->version;
    switch (c->relation) {
    case CHECK_EQUAL:
        return is == c->operand;
    case CHECK_GREATER:
        return is > c->operand;
    case CHECK_LESS:
        return is < c->operand;
    case CHECK_NOT_EQUAL:
        return is != c->operand;
    }
    return false;
}

/* Keeps the states in which it comes out so. False: none. */
static bool compare_filter(struct check_maybe *m, const struct check_compare *c, bool holds)
{
    if (m->any)
        return true;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (compare_holds(c, &m->list[i]) == holds)
            m->list[kept++] = m->list[i];
    }
    m->count = kept;
    return kept > 0;
}

static bool compare_may_fail(const struct check_maybe *m, const struct check_compare *c)
{
    bool may = m->any;
    for (uint32_t i = 0; i < m->count && !may; i++)
        may = !compare_holds(c, &m->list[i]);
    return may;
}

static bool compares_check(struct check_replay *r, const struct check_op *op, bool succeeded)
{
    const struct check_compare *c = r->history->compares + op->compares.first;
    uint32_t count = op->compares.count;
    if (count == 0)
        return true;
    if (succeeded || count == 1) {
        for (uint32_t i = 0; i < count; i++) {
            if (!compare_filter(&r->keys[c[i].key], &c[i], succeeded))
                return false;
        }
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (compare_may_fail(&r->keys[c[i].key], &c[i]))
            return true;
    }
    return false;
}

/* ---- steps ---- */

static bool count_is_possible(const struct check_replay *r, const struct check_step *s)
{
    int64_t at_least = 0, at_most = 0;
    for (uint32_t k = s->key; k < s->key_end; k++)
        maybe_count(&r->keys[k], &at_least, &at_most);
    return s->count >= at_least && s->count <= at_most;
}

/* What it says of itself: in order, within its range and its limit. */
static bool get_is_sound(const struct check_replay *r, const struct check_step *s)
{
    const struct check_seen *seen = r->history->seen + s->seen_first;
    for (uint32_t i = 0; i < s->seen_count; i++) {
        if (seen[i].key < s->key || seen[i].key >= s->key_end ||
            (i > 0 && seen[i].key <= seen[i - 1].key))
            return false;
    }
    bool is_cut = s->limit > 0 && s->seen_count == s->limit;
    return (s->limit == 0 || s->seen_count <= s->limit) && s->count >= s->seen_count &&
           s->more == (s->count > s->seen_count) && (is_cut || !s->more);
}

static bool get_check(struct check_replay *r, const struct check_step *s)
{
    if (!get_is_sound(r, s) || !count_is_possible(r, s))
        return false;
    const struct check_seen *seen = r->history->seen + s->seen_first;
    uint32_t i = 0;
    for (uint32_t k = s->key; k < s->key_end; k++) {
        if (i < s->seen_count && seen[i].key == k) {
            if (!maybe_is(&r->keys[k], &seen[i++]))
                return false;
        } else if (i == s->seen_count && s->more) {
            return true; /* the limit cut off the rest */
        } else if (!maybe_exists(&r->keys[k], k, false)) {
            return false;
        }
    }
    return true;
}

static bool delete_check(struct check_replay *r, const struct check_step *s, bool knows_answer)
{
    if (knows_answer && !(s->prev ? get_check(r, s) : count_is_possible(r, s)))
        return false;
    if (knows_answer && s->key_end == s->key + 1 &&
        !maybe_exists(&r->keys[s->key], s->key, s->count > 0))
        return false;
    for (uint32_t k = s->key; k < s->key_end; k++)
        maybe_set(&r->keys[k], &(struct check_seen){ .key = k });
    return true;
}

static bool step_check(struct check_replay *r, const struct check_step *s, bool knows_answer)
{
    switch (s->kind) {
    case CHECK_GET:
        return !knows_answer || get_check(r, s);
    case CHECK_PUT:
        if (knows_answer && s->prev && !get_check(r, s))
            return false;
        maybe_put(&r->keys[s->key], s->value, r->revision);
        return true;
    case CHECK_DELETE:
        return delete_check(r, s, knows_answer);
    case CHECK_STEP_KINDS:
        break;
    }
    return false;
}

/* One line on what the replay holds of the keys of [first, end). */
static void keys_describe(const struct check_replay *r, uint32_t first, uint32_t end, char *to,
                          size_t room)
{
    size_t made = 0;
    to[0] = '\0';
    for (uint32_t k = first; k < end && made + 1 < room; k++) {
        const struct check_maybe *m = &r->keys[k];
        const struct check_seen *s = &m->list[0];
        struct slice v = check_history_bytes(r->history, m->count > 0 ? s->value : 0);
        int size = snprintf(to + made, room - made,
                            " key %" PRIu32 ": %.*s mod %" PRId64 " create %" PRId64
                            " version %" PRId64 "%s",
                            k, (int)(v.size < 40 ? v.size : 40), (const char *)v.data,
                            s->mod_revision, s->create_revision, s->version,
                            m->any         ? " or any"
                            : m->count > 1 ? " or others"
                                           : "");
        if (size < 0)
            return;
        made += (size_t)size;
    }
}

bool check_replay_op(struct check_replay *r, uint32_t i, bool branch)
{
    const struct check_history *h = r->history;
    const struct check_op *op = &h->ops[i];
    bool knows_answer = op->end == CHECK_OK;
    char state[400];
    if (!compares_check(r, op, branch))
        return check_refuse(h, r->report, "compare against its state", i,
                            "at revision %" PRId64 " its compares cannot come out %s", r->revision,
                            branch ? "true" : "false");
    struct check_part part = op->branches[branch ? 1 : 0];
    for (uint32_t n = 0; n < part.count; n++) {
        const struct check_step *s = &h->steps[part.first + n];
        keys_describe(r, s->key, s->key_end, state, sizeof state);
        if (!step_check(r, s, knows_answer))
            return check_refuse(h, r->report, "answer against its state", i,
                                "step %" PRIu32 " is not of the state at revision %" PRId64 ":%s",
                                n, r->revision, state);
    }
    return true;
}

void check_replay_maybe(struct check_replay *r, const struct check_maybe *before, uint32_t i)
{
    const struct check_history *h = r->history;
    for (int branch = 0; branch < 2; branch++) {
        struct check_part part = h->ops[i].branches[branch];
        for (uint32_t n = 0; n < part.count; n++) {
            const struct check_step *s = &h->steps[part.first + n];
            for (uint32_t k = s->key; k < s->key_end && s->kind != CHECK_GET; k++) {
                struct check_maybe after = before[k];
                if (s->kind == CHECK_PUT)
                    maybe_put(&after, s->value, r->revision);
                else
                    maybe_set(&after, &(struct check_seen){ .key = k });
                r->keys[k].any = r->keys[k].any || after.any;
                for (uint32_t m = 0; m < after.count; m++)
                    maybe_add(&r->keys[k], &after.list[m]);
            }
        }
    }
}
