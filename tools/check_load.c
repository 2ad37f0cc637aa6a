#include "tools/check_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/map.h"
#include "tools/check_edn.h"

enum { PROCESSES_MAX = 1 << 20 };

struct load {
    struct check_calls *calls;
    enum check_model_kind kind;
    struct edn_reader reader;
    bool is_answered;     /* it is a completion: what it read is known */
    struct map open;      /* process -> 1 + its call */
    uint64_t i, next_i;   /* of the event, as Jepsen's :index where nothing is left out */
    const struct edn *op; /* the form under work */
    char *error;
};

/* Always false. */
static bool refuse(struct load *l, const struct edn *at, const char *what)
{
    size_t line = edn_line(&l->reader, at && at->text.data ? at : l->op);
    if (l->error[0] == '\0')
        IGNORE(snprintf(l->error, CHECK_LOAD_ERROR_BYTES, "line %zu: %s", line, what) < 0,
               "a cut text still says where");
    return false;
}

/* ---- values ---- */

/* Equal values have equal texts where they were printed by one program; nil and [] are 0. */
static bool value_take(struct load *l, const struct edn *e, int64_t *ret_value)
{
    *ret_value = 0;
    if (!e || e->kind == EDN_NIL || (edn_is_row(e) && e->count == 0))
        return true;
    *ret_value = check_history_value(&l->calls->values, e->text);
    return *ret_value != 0 || refuse(l, e, "out of memory");
}

/* "[1 2]" whatever stands between the elements. */
static bool list_take(struct load *l, const struct edn *e, int64_t *ret_value)
{
    if (!edn_is_row(e) || e->count == 0)
        return value_take(l, e, ret_value);
    /* No longer than its source: one space an element and the brackets. */
    char *text = malloc(e->text.size + 1);
    size_t size = 0;
    if (!text)
        return refuse(l, e, "out of memory");
    for (const struct edn *child = e->first; child; child = child->next) {
        text[size] = size == 0 ? '[' : ' ';
        memcpy(text + size + 1, child->text.data, child->text.size);
        size += child->text.size + 1;
    }
    text[size++] = ']';
    *ret_value = check_history_value(&l->calls->values, slice_of(text, size));
    free(text);
    return *ret_value != 0 || refuse(l, e, "out of memory");
}

static bool key_take(struct load *l, const struct edn *e, uint32_t *ret_key)
{
    int64_t value;
    if (!value_take(l, e, &value))
        return false;
    *ret_key = (uint32_t)value;
    if (*ret_key >= l->calls->key_count)
        l->calls->key_count = *ret_key + 1;
    return true;
}

/* ---- one operation ---- */

static bool part_take(struct load *l, struct check_call *txn, const struct edn *e)
{
    const struct edn *f = edn_child(e, 0), *value = edn_child(e, 2);
    if (!edn_is_row(e) || e->count != 3)
        return refuse(l, e, "a step of a transaction is [f key value]");
    struct check_call *part = check_calls_part(l->calls, txn);
    if (!part)
        return refuse(l, e, "out of memory");
    if (!key_take(l, edn_child(e, 1), &part->key))
        return false;
    if (edn_is_keyword(f, "r")) {
        part->kind = CALL_READ;
        part->is_anything = !l->is_answered;
        return list_take(l, value, &part->is);
    }
    if (!edn_is_keyword(f, "w") && !edn_is_keyword(f, "append"))
        return refuse(l, e, "a step of a transaction is :r, :w or :append");
    part->kind = edn_is_keyword(f, "w") ? CALL_WRITE : CALL_APPEND;
    return list_take(l, value, &part->to);
}

static bool txn_take(struct load *l, struct check_call *call, const struct edn *value)
{
    if (!edn_is_row(value))
        return refuse(l, value, "the value of a :txn is a row of steps");
    call->kind = CALL_TXN;
    call->parts = (struct check_part){ 0 };
    for (const struct edn *e = value->first; e; e = e->next) {
        if (!part_take(l, call, e))
            return false;
    }
    return true;
}

static bool number_take(struct load *l, const struct edn *e, int64_t *ret)
{
    if (!e || e->kind != EDN_INTEGER)
        return refuse(l, e, "a counter has whole numbers");
    *ret = e->integer;
    return true;
}

static bool cas_take(struct load *l, struct check_call *call, const struct edn *pair)
{
    if (!edn_is_row(pair) || pair->count != 2)
        return refuse(l, pair, "the value of a :cas is [old new]");
    call->kind = CALL_CAS;
    return value_take(l, edn_child(pair, 0), &call->is) &&
           value_take(l, edn_child(pair, 1), &call->to);
}

/* [k v] stands for v of key k. A cas has a pair of its own in there. */
static const struct edn *key_split(struct load *l, struct check_call *call, const struct edn *value,
                                   bool is_cas)
{
    bool is_keyed =
        edn_is_row(value) && value->count == 2 && (!is_cas || edn_is_row(edn_child(value, 1)));
    if (!is_keyed)
        return value;
    return key_take(l, edn_child(value, 0), &call->key) ? edn_child(value, 1) : NULL;
}

static bool single_take(struct load *l, struct check_call *call, const struct edn *f,
                        const struct edn *value)
{
    const struct edn *at = value;
    value = key_split(l, call, value, edn_is_keyword(f, "cas"));
    if (!value)
        return false;
    if (edn_is_keyword(f, "cas"))
        return cas_take(l, call, value);
    if (edn_is_keyword(f, "add")) {
        call->kind = CALL_ADD;
        return number_take(l, value, &call->to);
    }
    if (edn_is_keyword(f, "write") || edn_is_keyword(f, "delete")) {
        call->kind = CALL_WRITE;
        return value_take(l, edn_is_keyword(f, "write") ? value : NULL, &call->to);
    }
    if (!edn_is_keyword(f, "read"))
        return refuse(l, at, "an :f that this model does not know");
    call->kind = CALL_READ;
    call->is_number = l->kind == CHECK_COUNTER;
    call->is_anything = value->kind == EDN_NIL && l->kind == CHECK_COUNTER;
    if (l->kind == CHECK_COUNTER && !call->is_anything)
        return number_take(l, value, &call->is);
    return value_take(l, value, &call->is);
}

/* The same as a transaction of one or two steps. */
static bool single_to_txn(struct load *l, struct check_call *call)
{
    const struct check_call single = *call;
    call->kind = CALL_TXN;
    call->parts = (struct check_part){ 0 };
    for (int is_write = 0; is_write < 2; is_write++) {
        if (single.kind == (is_write ? CALL_READ : CALL_WRITE))
            continue;
        struct check_call *part = check_calls_part(l->calls, call);
        if (!part)
            return refuse(l, l->op, "out of memory");
        part->kind = is_write ? CALL_WRITE : CALL_READ;
        part->key = single.key;
        part->is = single.is;
        part->to = single.to;
    }
    call->key = 0;
    return true;
}

static bool kind_fits(const struct load *l, const struct check_call *call)
{
    switch (l->kind) {
    case CHECK_CAS_REGISTER:
    case CHECK_REGISTER:
        return call->kind == CALL_READ || call->kind == CALL_WRITE || call->kind == CALL_CAS;
    case CHECK_COUNTER:
        return call->kind == CALL_READ || call->kind == CALL_ADD;
    case CHECK_TXN:
        return call->kind == CALL_TXN;
    }
    return false;
}

static bool operation_take(struct load *l, struct check_call *call, const struct edn *op)
{
    static const struct edn nil = { .kind = EDN_NIL };
    const struct edn *f = edn_get(op, "f"), *value = edn_get(op, "value");
    if (!f || f->kind != EDN_KEYWORD)
        return refuse(l, op, "an operation has a keyword :f");
    if (!value && edn_is_keyword(f, "txn"))
        return refuse(l, op, "a :txn has a :value");
    bool is_taken = edn_is_keyword(f, "txn") ? txn_take(l, call, value)
                                             : single_take(l, call, f, value ? value : &nil);
    if (is_taken && l->kind == CHECK_TXN && call->key != 0 && call->kind != CALL_ADD)
        is_taken = single_to_txn(l, call);
    if (is_taken && !kind_fits(l, call))
        return refuse(l, op, "an :f that this model does not know");
    return is_taken;
}

/* ---- one event ---- */

static bool invoke_take(struct load *l, const struct edn *op, uint64_t process)
{
    l->is_answered = false;
    if (map_get(&l->open, process))
        return refuse(l, op, "the process has not completed what it invoked before");
    struct check_call *call = check_calls_add(l->calls);
    if (!call || !map_put(&l->open, process, (void *)(uintptr_t)l->calls->count))
        return refuse(l, op, "too many processes, or out of memory");
    call->invoke_i = l->i;
    call->where = edn_line(&l->reader, op);
    call->process = (int64_t)process;
    return operation_take(l, call, op);
}

static bool end_take(struct load *l, const struct edn *op, uint64_t process)
{
    const struct edn *type = edn_get(op, "type"), *revision = edn_get(op, "revision");
    size_t place = (uintptr_t)map_remove(&l->open, process);
    if (place == 0)
        return refuse(l, op, "a completion of nothing that was invoked");
    struct check_call *call = &l->calls->calls[place - 1];
    if (edn_is_keyword(type, "info"))
        return true;
    if (edn_is_keyword(type, "fail")) {
        call->kind = CALL_READ; /* it had no effect: as good as a read that was never answered */
        call->parts.count = 0;
        return true;
    }
    if (revision && revision->kind == EDN_INTEGER && revision->integer > 0)
        call->revision = revision->integer;
    call->end_i = l->i;
    l->is_answered = true;
    return operation_take(l, call, op);
}

static bool event_take(struct load *l, const struct edn *op)
{
    if (op->kind != EDN_MAP)
        return refuse(l, op, "an operation is a map");
    const struct edn *type = edn_get(op, "type"), *process = edn_get(op, "process");
    if (!process || process->kind != EDN_INTEGER)
        return true;
    if (edn_get(op, "serializable") || edn_get(op, "at-revision") ||
        edn_is_keyword(edn_get(op, "f"), "compact"))
        return true;
    l->i = l->next_i++;
    if (edn_is_keyword(type, "invoke"))
        return invoke_take(l, op, (uint64_t)process->integer);
    if (edn_is_keyword(type, "ok") || edn_is_keyword(type, "fail") || edn_is_keyword(type, "info"))
        return end_take(l, op, (uint64_t)process->integer);
    return refuse(l, op, "the :type is :invoke, :ok, :fail or :info");
}

bool check_load(struct check_calls *calls, enum check_model_kind kind, struct slice text,
                char error[CHECK_LOAD_ERROR_BYTES])
{
    struct load l = { .calls = calls, .kind = kind, .error = error };
    error[0] = '\0';
    edn_open(&l.reader, text);
    map_init(&l.open, PROCESSES_MAX);
    bool is_taken = true;
    while (is_taken && (l.op = edn_next(&l.reader)) != NULL)
        is_taken = event_take(&l, l.op);
    if (is_taken && l.reader.error[0] != '\0') {
        is_taken = false;
        IGNORE(snprintf(error, CHECK_LOAD_ERROR_BYTES, "line %s", l.reader.error) < 0,
               "a cut text still says where");
    }
    map_done(&l.open);
    edn_close(&l.reader);
    return is_taken;
}
