#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/history.h"
#include "tests/sim/workload_internal.h"

enum {
    NUMBER_BYTES = 48,
    MULTI_STEPS_MAX = 4,
    DELETED_KEYS_MAX = 3,
    PAST_REVISIONS = 64,  /* how far back reads of the past look */
    KEPT_REVISIONS = 256, /* how many a compaction leaves, at most */
    TRANSFER_MAX = 10,
};

static uint32_t below(struct workload_process *p, uint32_t bound)
{
    return (uint32_t)prng_below(&p->chance, bound);
}

static bool one_in(struct workload_process *p, uint32_t count)
{
    return below(p, count) == 0;
}

/* ---- values ---- */

static uint32_t text_value(struct workload *w, const char *text, int size)
{
    ASSERT(size > 0 && size < NUMBER_BYTES);
    return check_history_value(&w->history, slice_of(text, (size_t)size));
}

/* "17", or "17...." to the length asked for. */
static uint32_t register_value(struct workload *w)
{
    char text[NUMBER_BYTES];
    int size = snprintf(text, sizeof text, "%" PRIu64, ++w->next_number);
    if (w->options.value_bytes <= (uint32_t)size)
        return text_value(w, text, size);
    char *padded = malloc(w->options.value_bytes);
    if (!padded)
        return 0;
    memset(padded, '.', w->options.value_bytes);
    memcpy(padded, text, (size_t)size);
    uint32_t value = check_history_value(&w->history, slice_of(padded, w->options.value_bytes));
    free(padded);
    return value;
}

/* "90@17": a sum, and who made it. */
static uint32_t sum_value(struct workload *w, int64_t sum)
{
    char text[NUMBER_BYTES];
    int size = snprintf(text, sizeof text, "%" PRId64 "@%" PRIu64, sum, ++w->next_number);
    return text_value(w, text, size);
}

static int64_t sum_of(const struct workload *w, const struct check_seen *seen, int64_t absent)
{
    if (seen->version == 0)
        return absent;
    struct slice bytes = check_history_bytes(&w->history, seen->value);
    char text[NUMBER_BYTES];
    size_t size = bytes.size < sizeof text - 1 ? bytes.size : sizeof text - 1;
    if (size > 0)
        memcpy(text, bytes.data, size);
    text[size] = '\0';
    return strtoll(text, NULL, 10);
}

static uint32_t list_length(struct slice list)
{
    uint32_t length = list.size > 0;
    for (size_t i = 0; i < list.size; i++)
        length += list.data[i] == ' ';
    return length;
}

/* "3 7 17": the elements so far, and a new one. */
static uint32_t list_value(struct workload *w, struct slice list)
{
    char *text = malloc(list.size + NUMBER_BYTES);
    if (!text)
        return 0;
    if (list.size > 0)
        memcpy(text, list.data, list.size);
    int size = snprintf(text + list.size, NUMBER_BYTES, "%s%" PRIu64, list.size > 0 ? " " : "",
                        ++w->next_number);
    uint32_t value = check_history_value(&w->history, slice_of(text, list.size + (size_t)size));
    free(text);
    return value;
}

/* ---- parts of an operation ---- */

static bool add_get(struct workload *w, bool branch, uint32_t key, uint32_t key_end, uint32_t limit)
{
    const struct check_step s = {
        .kind = CHECK_GET, .key = key, .key_end = key_end, .limit = limit
    };
    return check_history_step(&w->history, branch, &s);
}

static bool add_put(struct workload *w, bool branch, uint32_t key, uint32_t value, bool prev)
{
    const struct check_step s = {
        .kind = CHECK_PUT, .key = key, .key_end = key + 1, .value = value, .prev = prev
    };
    return value != 0 && check_history_step(&w->history, branch, &s);
}

static bool add_delete(struct workload *w, bool branch, uint32_t key, uint32_t key_end, bool prev)
{
    const struct check_step s = {
        .kind = CHECK_DELETE, .key = key, .key_end = key_end, .prev = prev
    };
    return check_history_step(&w->history, branch, &s);
}

static bool add_compare(struct workload *w, enum check_target target, uint32_t key, int64_t operand)
{
    const struct check_compare c = {
        .target = target, .relation = CHECK_EQUAL, .key = key, .operand = operand
    };
    return check_history_compare(&w->history, &c);
}

static uint32_t a_register(struct workload_process *p)
{
    return p->workload->first_register + below(p, p->workload->options.registers);
}

/* ---- kinds ---- */

static bool make_cas(struct workload_process *p, enum check_target target)
{
    struct workload *w = p->workload;
    uint32_t key = a_register(p);
    const struct check_seen *known = &w->known[key];
    bool is_made = target == CHECK_VALUE && known->value != 0
                       ? add_compare(w, CHECK_VALUE, key, known->value)
                       : add_compare(w, CHECK_MOD, key, known->mod_revision);
    return is_made && add_put(w, true, key, register_value(w), one_in(p, 4)) &&
           add_get(w, false, key, key + 1, 0);
}

/* Against what is known of the key, or one more: it holds now and then, whatever the relation. */
static bool make_compare(struct workload_process *p)
{
    struct workload *w = p->workload;
    uint32_t key = a_register(p);
    const struct check_seen *known = &w->known[key];
    struct check_compare c = { .target = (enum check_target)(CHECK_MOD + below(p, 3)),
                               .relation = (enum check_relation)below(p, 4),
                               .key = key,
                               .operand = below(p, 2) };
    c.operand += c.target == CHECK_MOD      ? known->mod_revision
                 : c.target == CHECK_CREATE ? known->create_revision
                                            : known->version;
    return check_history_compare(&w->history, &c) &&
           add_put(w, true, key, register_value(w), one_in(p, 4)) &&
           add_get(w, false, key, key + 1, 0);
}

/* Each register at most once: etcd refuses two writes of a key in one transaction. */
static bool make_multi(struct workload_process *p)
{
    struct workload *w = p->workload;
    uint32_t count =
        w->options.registers < MULTI_STEPS_MAX ? w->options.registers : MULTI_STEPS_MAX;
    uint32_t first = below(p, w->options.registers);
    bool is_made = true;
    for (uint32_t i = 0; i < count && is_made; i++) {
        uint32_t key = w->first_register + (first + i) % w->options.registers;
        is_made = below(p, 2) == 0 ? add_put(w, true, key, register_value(w), one_in(p, 4))
                                   : add_get(w, true, key, key + 1, 0);
    }
    return is_made && add_get(w, true, w->first_register + first, w->first_register + first + 1, 0);
}

static bool make_delete_range(struct workload_process *p)
{
    struct workload *w = p->workload;
    uint32_t key = a_register(p);
    uint32_t end = key + 1 + below(p, DELETED_KEYS_MAX);
    return add_delete(w, true, key, end < w->key_count ? end : w->key_count, one_in(p, 2));
}

static bool make_past(struct workload_process *p, struct check_op *op)
{
    struct workload *w = p->workload;
    int64_t newest = w->counters.newest_revision > 0 ? w->counters.newest_revision : 1;
    int64_t back = below(p, PAST_REVISIONS);
    op->at_revision = newest > back ? newest - back : 1;
    return add_get(w, true, 0, w->key_count, 0);
}

static bool make_compact(struct workload_process *p, struct check_op *op)
{
    struct workload *w = p->workload;
    int64_t kept = below(p, KEPT_REVISIONS);
    int64_t newest = w->counters.newest_revision;
    op->compacts = newest > kept ? newest - kept : 1;
    return true;
}

/* The read that a transaction is to follow. */
static bool make_first_read(struct workload_process *p, enum workload_kind kind)
{
    struct workload *w = p->workload;
    struct workload_follow *f = &p->follow;
    *f = (struct workload_follow){ .kind = kind, .key_count = 1 };
    if (kind == WORKLOAD_APPEND) {
        f->keys[0] = w->first_list + below(p, w->options.lists);
    } else if (kind == WORKLOAD_INCREMENT) {
        f->keys[0] = w->first_counter + below(p, w->options.counters);
    } else {
        f->key_count = 2;
        f->keys[0] = below(p, w->options.accounts);
        f->keys[1] = (f->keys[0] + 1 + below(p, w->options.accounts - 1)) % w->options.accounts;
        return add_get(w, true, 0, w->options.accounts, 0);
    }
    return add_get(w, true, f->keys[0], f->keys[0] + 1, 0);
}

/* ---- the transactions that follow ---- */

static bool make_append(struct workload_process *p)
{
    struct workload *w = p->workload;
    const struct workload_follow *f = &p->follow;
    struct slice list = check_history_bytes(&w->history, f->seen[0].value);
    bool is_full = list_length(list) >= w->options.list_max;
    uint32_t other = w->first_list + below(p, w->options.lists);
    if (!add_compare(w, CHECK_MOD, f->keys[0], f->seen[0].mod_revision))
        return false;
    if (is_full)
        return add_delete(w, true, f->keys[0], f->keys[0] + 1, one_in(p, 2));
    return add_put(w, true, f->keys[0], list_value(w, list), false) &&
           add_get(w, true, other, other + 1, 0);
}

static bool make_transfer(struct workload_process *p)
{
    struct workload *w = p->workload;
    const struct workload_follow *f = &p->follow;
    int64_t from = sum_of(w, &f->seen[0], WORKLOAD_BALANCE);
    int64_t to = sum_of(w, &f->seen[1], WORKLOAD_BALANCE);
    int64_t amount = 1 + below(p, TRANSFER_MAX);
    return add_compare(w, CHECK_MOD, f->keys[0], f->seen[0].mod_revision) &&
           add_compare(w, CHECK_MOD, f->keys[1], f->seen[1].mod_revision) &&
           add_put(w, true, f->keys[0], sum_value(w, from - amount), one_in(p, 4)) &&
           add_put(w, true, f->keys[1], sum_value(w, to + amount), false) &&
           add_get(w, false, 0, w->options.accounts, 0);
}

static bool make_increment(struct workload_process *p)
{
    struct workload *w = p->workload;
    const struct workload_follow *f = &p->follow;
    int64_t sum = sum_of(w, &f->seen[0], 0);
    return add_compare(w, CHECK_MOD, f->keys[0], f->seen[0].mod_revision) &&
           add_put(w, true, f->keys[0], sum_value(w, sum + 1), one_in(p, 4));
}

static bool make_follow(struct workload_process *p, struct check_op *op)
{
    p->follow.is_due = false;
    if (p->follow.kind == WORKLOAD_APPEND) {
        op->f = "append";
        return make_append(p);
    }
    if (p->follow.kind == WORKLOAD_INCREMENT) {
        op->f = "add";
        return make_increment(p);
    }
    op->f = "transfer";
    return make_transfer(p);
}

/* ---- which one ---- */

static enum workload_kind kind_choose(struct workload_process *p)
{
    const struct workload *w = p->workload;
    uint32_t at = below(p, w->weight_sum);
    unsigned kind = 0;
    while (at >= w->options.weights[kind])
        at -= w->options.weights[kind++];
    ASSERT(kind < WORKLOAD_KINDS);
    return (enum workload_kind)kind;
}

static bool make_range(struct workload_process *p, uint32_t limit_max)
{
    return add_get(p->workload, true, 0, p->workload->key_count,
                   limit_max > 0 ? 1 + below(p, limit_max) : 0);
}

static bool make_kind(struct workload_process *p, struct check_op *op, enum workload_kind kind)
{
    static const char *const names[WORKLOAD_KINDS] = {
        [WORKLOAD_GET] = "read",          [WORKLOAD_GET_SERIALIZABLE] = "read",
        [WORKLOAD_PUT] = "write",         [WORKLOAD_CAS_VALUE] = "cas",
        [WORKLOAD_CAS_MOD] = "cas",       [WORKLOAD_COMPARE] = "cas",
        [WORKLOAD_DELETE] = "delete",     [WORKLOAD_DELETE_RANGE] = "delete",
        [WORKLOAD_MULTI] = "txn",         [WORKLOAD_RANGE] = "range",
        [WORKLOAD_RANGE_LIMIT] = "range", [WORKLOAD_RANGE_SERIALIZABLE] = "range",
        [WORKLOAD_PAST] = "range",        [WORKLOAD_APPEND] = "read",
        [WORKLOAD_TRANSFER] = "read",     [WORKLOAD_INCREMENT] = "read",
        [WORKLOAD_COMPACT] = "compact",
    };
    struct workload *w = p->workload;
    uint32_t key = w->options.registers > 0 ? a_register(p) : 0;
    op->f = names[kind];
    op->serializable = kind == WORKLOAD_GET_SERIALIZABLE || kind == WORKLOAD_RANGE_SERIALIZABLE;
    switch (kind) {
    case WORKLOAD_GET:
    case WORKLOAD_GET_SERIALIZABLE:
        return add_get(w, true, key, key + 1, 0);
    case WORKLOAD_PUT:
        return add_put(w, true, key, register_value(w), one_in(p, 4));
    case WORKLOAD_CAS_VALUE:
        return make_cas(p, CHECK_VALUE);
    case WORKLOAD_CAS_MOD:
        return make_cas(p, CHECK_MOD);
    case WORKLOAD_COMPARE:
        return make_compare(p);
    case WORKLOAD_DELETE:
        return add_delete(w, true, key, key + 1, one_in(p, 2));
    case WORKLOAD_DELETE_RANGE:
        return make_delete_range(p);
    case WORKLOAD_MULTI:
        return make_multi(p);
    case WORKLOAD_RANGE:
    case WORKLOAD_RANGE_SERIALIZABLE:
        return make_range(p, 0);
    case WORKLOAD_RANGE_LIMIT:
        return make_range(p, w->key_count);
    case WORKLOAD_PAST:
        return make_past(p, op);
    case WORKLOAD_APPEND:
    case WORKLOAD_TRANSFER:
    case WORKLOAD_INCREMENT:
        return make_first_read(p, kind);
    case WORKLOAD_COMPACT:
        return make_compact(p, op);
    case WORKLOAD_KINDS:
        break;
    }
    return false;
}

bool workload_make(struct workload_process *p)
{
    struct workload *w = p->workload;
    struct io *io = w->options.io;
    struct check_op *op = check_history_invoke(&w->history, io->ops->now_us(io) * 1000);
    if (!op)
        return false;
    p->op = w->history.op_count - 1;
    op->process = p->number;
    if (p->follow.is_due)
        return make_follow(p, op);
    return make_kind(p, op, kind_choose(p));
}

/* ---- what an answer teaches ---- */

static void learn_key(struct workload_process *p, const struct check_seen *seen)
{
    p->workload->known[seen->key] = *seen;
    for (uint32_t i = 0; i < p->follow.key_count; i++) {
        if (p->follow.keys[i] == seen->key)
            p->follow.seen[i] = *seen;
    }
}

static void learn_step(struct workload_process *p, const struct check_op *op,
                       const struct check_step *s)
{
    struct workload *w = p->workload;
    bool is_absent = s->kind == CHECK_DELETE || s->seen_count == 0;
    for (uint32_t i = 0; i < s->seen_count; i++)
        learn_key(p, &w->history.seen[s->seen_first + i]);
    if (s->kind == CHECK_PUT) /* create revision and version are as good as those known before */
        learn_key(p, &(struct check_seen){ .key = s->key,
                                           .value = s->value,
                                           .create_revision = w->known[s->key].create_revision,
                                           .mod_revision = op->revision,
                                           .version = w->known[s->key].version + 1 });
    else if (is_absent && s->key_end == s->key + 1)
        w->known[s->key] = (struct check_seen){ .key = s->key };
}

void workload_learn(struct workload_process *p)
{
    struct workload *w = p->workload;
    const struct check_history *h = &w->history;
    const struct check_op *op = &h->ops[p->op];
    if (op->revision > w->counters.newest_revision)
        w->counters.newest_revision = op->revision;
    struct check_part part = check_op_branch(op);
    for (uint32_t n = 0; n < part.count && op->at_revision == 0; n++)
        learn_step(p, op, &h->steps[part.first + n]);
    p->follow.is_due = p->follow.key_count > 0 && op->compares.count == 0;
    if (!p->follow.is_due)
        p->follow.key_count = 0;
}
