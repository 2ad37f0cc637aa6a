#include "tests/support/history_maker.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPS_MAX = 1 << 20, NS_A_STEP = 1000 };

struct history_maker {
    struct check_history history;
    struct check_seen keys[HISTORY_KEYS];
    int64_t revision;
    uint64_t now_ns;
    uint64_t next_text;
};

struct history_maker *history_maker_new(void)
{
    struct history_maker *m = calloc(1, sizeof *m);
    cr_assert(m);
    cr_assert(check_history_open(&m->history, HISTORY_KEYS, OPS_MAX));
    m->revision = 1;
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        m->keys[k].key = k;
    return m;
}

void history_maker_free(struct history_maker *m)
{
    check_history_close(&m->history);
    free(m);
}

struct check_history *history_maker_history(struct history_maker *m)
{
    return &m->history;
}

/* ---- invocations ---- */

static size_t invoke(struct history_maker *m, uint32_t process, const char *f)
{
    struct check_op *op = check_history_invoke(&m->history, m->now_ns += NS_A_STEP);
    cr_assert(op);
    op->f = f;
    op->process = process;
    return m->history.op_count - 1;
}

static void step(struct history_maker *m, bool branch, enum check_step_kind kind, uint32_t key,
                 uint32_t key_end, const char *text)
{
    struct check_step s = { .kind = kind, .key = key, .key_end = key_end };
    if (text)
        s.value = check_history_value(&m->history, slice_of_text(text));
    cr_assert(check_history_step(&m->history, branch, &s));
}

size_t history_maker_put(struct history_maker *m, uint32_t process, uint32_t key, const char *text)
{
    size_t op = invoke(m, process, "write");
    step(m, true, CHECK_PUT, key, key + 1, text);
    return op;
}

size_t history_maker_get(struct history_maker *m, uint32_t process, uint32_t key)
{
    size_t op = invoke(m, process, "read");
    step(m, true, CHECK_GET, key, key + 1, NULL);
    return op;
}

size_t history_maker_delete(struct history_maker *m, uint32_t process, uint32_t key)
{
    size_t op = invoke(m, process, "delete");
    step(m, true, CHECK_DELETE, key, key + 1, NULL);
    return op;
}

size_t history_maker_cas(struct history_maker *m, uint32_t process, uint32_t key, int64_t mod,
                         const char *text)
{
    size_t op = invoke(m, process, "cas");
    const struct check_compare c = {
        .target = CHECK_MOD, .relation = CHECK_EQUAL, .key = key, .operand = mod
    };
    cr_assert(check_history_compare(&m->history, &c));
    step(m, true, CHECK_PUT, key, key + 1, text);
    step(m, false, CHECK_GET, key, key + 1, NULL);
    return op;
}

/* ---- effects ---- */

static void get_effect(struct history_maker *m, struct check_step *s)
{
    s->count = 0;
    for (uint32_t k = s->key; k < s->key_end; k++) {
        if (m->keys[k].version == 0)
            continue;
        s->count++;
        if (s->limit == 0 || s->seen_count < s->limit)
            cr_assert(check_history_see(&m->history, s, &m->keys[k]));
    }
    s->more = s->count > s->seen_count;
}

static void put_effect(struct history_maker *m, const struct check_step *s, int64_t revision)
{
    struct check_seen *k = &m->keys[s->key];
    if (k->version++ == 0)
        k->create_revision = revision;
    k->mod_revision = revision;
    k->value = s->value;
}

static void delete_effect(struct history_maker *m, struct check_step *s)
{
    s->count = 0;
    for (uint32_t k = s->key; k < s->key_end; k++) {
        s->count += m->keys[k].version > 0;
        m->keys[k] = (struct check_seen){ .key = k };
    }
}

void history_maker_effect(struct history_maker *m, size_t i)
{
    struct check_history *h = &m->history;
    struct check_op *op = &h->ops[i];
    for (uint32_t n = 0; n < op->compares.count; n++) {
        const struct check_compare *c = &h->compares[op->compares.first + n];
        op->succeeded = op->succeeded && m->keys[c->key].mod_revision == c->operand;
    }
    struct check_part part = check_op_branch(op);
    bool wrote = false;
    for (uint32_t n = 0; n < part.count; n++) {
        struct check_step *s = &h->steps[part.first + n];
        if (s->kind == CHECK_GET)
            get_effect(m, s);
        else if (s->kind == CHECK_PUT)
            put_effect(m, s, m->revision + 1);
        else
            delete_effect(m, s);
        wrote = wrote || s->kind == CHECK_PUT || (s->kind == CHECK_DELETE && s->count > 0);
    }
    m->revision += wrote;
    op->revision = m->revision;
}

void history_maker_end(struct history_maker *m, size_t op, enum check_end end)
{
    check_history_end(&m->history, op, end, m->now_ns += NS_A_STEP);
}

void history_maker_finish(struct history_maker *m, size_t op)
{
    history_maker_effect(m, op);
    history_maker_end(m, op, CHECK_OK);
}

/* ---- at random ---- */

static size_t invoke_any(struct history_maker *m, struct prng *p, uint32_t process, bool single)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)++m->next_text);
    cr_assert(size > 0 && (size_t)size < sizeof text);
    uint32_t key = (uint32_t)prng_below(p, HISTORY_KEYS);
    size_t op;
    switch (prng_below(p, single ? 8 : 11)) {
    case 0:
    case 1:
    case 2:
        return history_maker_get(m, process, key);
    case 3:
    case 4:
    case 5:
        return history_maker_put(m, process, key, text);
    case 6:
        return history_maker_delete(m, process, key);
    case 7:
        return history_maker_cas(m, process, key, m->keys[key].mod_revision, text);
    case 8:
        op = invoke(m, process, "range");
        step(m, true, CHECK_GET, 0, HISTORY_KEYS, NULL);
        m->history.steps[m->history.step_count - 1].limit = (uint32_t)prng_below(p, 3);
        return op;
    case 9:
        op = invoke(m, process, "delete");
        step(m, true, CHECK_DELETE, key, HISTORY_KEYS, NULL);
        return op;
    default:
        op = invoke(m, process, "txn");
        step(m, true, CHECK_GET, 0, HISTORY_KEYS, NULL);
        step(m, true, CHECK_PUT, key, key + 1, text);
        step(m, true, CHECK_GET, key, key + 1, NULL);
        return op;
    }
}

enum phase { IDLE, INVOKED, EFFECTIVE, LATE /* told to be unknown, effect still to come */ };

struct client {
    enum phase phase;
    size_t op;
    uint32_t number;
};

static bool writes(const struct check_history *h, size_t op)
{
    return check_history_branch_writes(h, &h->ops[op], true) ||
           check_history_branch_writes(h, &h->ops[op], false);
}

static void client_step(struct history_maker *m, struct client *c, struct prng *p,
                        const struct history_options *o)
{
    bool is_info = prng_below(p, 100) < o->info_percent;
    bool is_fail = prng_below(p, 100) < o->fail_percent;
    switch (c->phase) {
    case IDLE:
        c->op = invoke_any(m, p, c->number, o->single_keys);
        c->phase = INVOKED;
        break;
    case INVOKED:
        if (is_info && writes(&m->history, c->op)) {
            history_maker_end(m, c->op, CHECK_INFO);
            c->number += o->process_count;
            c->phase = prng_below(p, 2) == 0 ? IDLE : LATE;
        } else if (is_fail) {
            history_maker_end(m, c->op, CHECK_FAIL);
            c->phase = IDLE;
        } else {
            history_maker_effect(m, c->op);
            c->phase = EFFECTIVE;
        }
        break;
    case EFFECTIVE:
        is_info = is_info && writes(&m->history, c->op);
        history_maker_end(m, c->op, is_info ? CHECK_INFO : CHECK_OK);
        c->number += is_info ? o->process_count : 0;
        c->phase = IDLE;
        break;
    case LATE:
        history_maker_effect(m, c->op);
        c->phase = IDLE;
        break;
    }
}

struct check_history history_make(uint64_t seed, const struct history_options *o)
{
    struct history_maker *m = history_maker_new();
    struct prng p = prng_seeded(seed);
    struct client clients[HISTORY_PROCESSES_MAX] = { 0 };
    cr_assert(o->process_count > 0 && o->process_count <= HISTORY_PROCESSES_MAX);
    for (uint32_t i = 0; i < o->process_count; i++)
        clients[i].number = i;
    while (m->history.op_count < o->op_count)
        client_step(m, &clients[prng_below(&p, o->process_count)], &p, o);
    struct check_history h = m->history;
    free(m);
    return h;
}
