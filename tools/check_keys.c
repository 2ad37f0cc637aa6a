#include "tools/check_keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

struct keys {
    struct check_calls *calls;
    const struct check_history *history;
    uint32_t *values;    /* of the history, numbered as in calls; 0: not yet */
    struct map versions; /* key and mod revision -> the check_seen or step that had the value */
};

/* What an operation did to one key. */
struct effect {
    bool has_read, has_write;
    uint32_t read, write; /* values of the history; 0: absent */
};

/* Keys are few and revisions far from 2^50. */
static uint64_t version_id(uint32_t key, int64_t revision)
{
    return (uint64_t)key << 50 ^ (uint64_t)revision;
}

static bool version_put(struct keys *k, uint32_t key, int64_t revision, uint32_t value)
{
    return revision <= 0 ||
           map_put(&k->versions, version_id(key, revision), (void *)(uintptr_t)value);
}

/* Which value a key had at which mod revision: from what wrote it and from what saw it. */
static bool versions_gather(struct keys *k)
{
    const struct check_history *h = k->history;
    bool has_room = true;
    for (size_t i = 0; i < h->op_count && has_room; i++) {
        const struct check_op *op = &h->ops[i];
        struct check_part part = check_op_branch(op);
        for (uint32_t n = 0; op->end == CHECK_OK && n < part.count && has_room; n++) {
            const struct check_step *s = &h->steps[part.first + n];
            if (s->kind == CHECK_PUT)
                has_room = version_put(k, s->key, op->revision, s->value);
            for (uint32_t j = 0; j < s->seen_count && has_room; j++) {
                const struct check_seen *seen = &h->seen[s->seen_first + j];
                has_room = version_put(k, seen->key, seen->mod_revision, seen->value);
            }
        }
    }
    return has_room;
}

/* ---- one operation on one key ---- */

static void effect_read(struct effect *e, uint32_t value)
{
    if (e->has_read || e->has_write)
        return; /* a second look, perhaps at its own write: check_revision.h judges those */
    e->has_read = true;
    e->read = value;
}

/* A compare that held and names one value of the key. */
static void compare_take(const struct keys *k, const struct check_compare *c, struct effect *e)
{
    if (c->relation != CHECK_EQUAL)
        return;
    if (c->target == CHECK_VALUE)
        effect_read(e, (uint32_t)c->operand);
    else if (c->operand == 0)
        effect_read(e, 0);
    else if (c->target == CHECK_MOD && map_get(&k->versions, version_id(c->key, c->operand)))
        effect_read(e, (uint32_t)(uintptr_t)map_get(&k->versions, version_id(c->key, c->operand)));
}

static void get_take(const struct keys *k, const struct check_step *s, uint32_t key,
                     struct effect *e)
{
    const struct check_seen *seen = k->history->seen + s->seen_first;
    for (uint32_t i = 0; i < s->seen_count; i++) {
        if (seen[i].key == key) {
            effect_read(e, seen[i].value);
            return;
        }
    }
    if (!s->more)
        effect_read(e, 0);
}

static void step_take(const struct keys *k, const struct check_step *s, uint32_t key,
                      bool is_answered, struct effect *e)
{
    if (key < s->key || key >= s->key_end)
        return;
    switch (s->kind) {
    case CHECK_GET:
        if (is_answered)
            get_take(k, s, key, e);
        break;
    case CHECK_PUT:
        e->has_write = true;
        e->write = s->value;
        break;
    case CHECK_DELETE:
        if (is_answered && s->count == 0) {
            effect_read(e, 0);
        } else {
            e->has_write = true;
            e->write = 0;
        }
        break;
    case CHECK_STEP_KINDS:
        break;
    }
}

static struct effect effect_of(const struct keys *k, const struct check_op *op, uint32_t key,
                               bool branch)
{
    const struct check_history *h = k->history;
    struct effect e = { 0 };
    struct check_part part = op->branches[branch ? 1 : 0];
    for (uint32_t n = 0; branch && n < op->compares.count; n++) {
        if (h->compares[op->compares.first + n].key == key)
            compare_take(k, &h->compares[op->compares.first + n], &e);
    }
    for (uint32_t n = 0; n < part.count; n++)
        step_take(k, &h->steps[part.first + n], key, op->end == CHECK_OK, &e);
    return e;
}

/* ---- calls ---- */

static bool value_take(struct keys *k, uint32_t value, int64_t *ret)
{
    if (value != 0 && k->values[value] == 0)
        k->values[value] =
            check_history_value(&k->calls->values, check_history_bytes(k->history, value));
    *ret = value == 0 ? 0 : k->values[value];
    return value == 0 || *ret != 0;
}

static bool call_add(struct keys *k, size_t i, uint32_t key, const struct effect *e)
{
    const struct check_op *op = &k->history->ops[i];
    struct check_call *call = check_calls_add(k->calls);
    if (!call)
        return false;
    call->kind = e->has_read && e->has_write ? CALL_CAS : e->has_write ? CALL_WRITE : CALL_READ;
    call->key = key;
    call->revision = op->end == CHECK_OK ? op->revision : 0;
    call->invoke_i = op->invoke_i;
    call->end_i = op->end == CHECK_OK ? op->end_i : UINT64_MAX;
    call->where = i;
    call->process = op->process;
    return value_take(k, e->read, &call->is) && value_take(k, e->write, &call->to);
}

static bool op_take(struct keys *k, size_t i, uint32_t key)
{
    const struct check_op *op = &k->history->ops[i];
    if (op->end == CHECK_FAIL || op->serializable || op->at_revision > 0)
        return true;
    if (op->end == CHECK_OK) {
        struct effect e = effect_of(k, op, key, op->succeeded);
        return (!e.has_read && !e.has_write) || call_add(k, i, key, &e);
    }
    struct effect e = effect_of(k, op, key, true), other = effect_of(k, op, key, false);
    if (e.has_write && other.has_write && op->compares.count > 0)
        return false;
    if (other.has_write)
        e = other;
    return !e.has_write || call_add(k, i, key, &e);
}

/* Keys get numbers of names, so that a report can name them. */
static bool key_name(struct keys *k, uint32_t key, uint32_t *ret)
{
    char text[32];
    int size = snprintf(text, sizeof text, "key %u", key);
    *ret = size > 0 ? check_history_value(&k->calls->values, slice_of(text, (size_t)size)) : 0;
    return *ret != 0;
}

bool check_keys_load(struct check_calls *calls, const struct check_history *h)
{
    struct keys k = { .calls = calls, .history = h };
    k.values = calloc(h->value_count + 1, sizeof *k.values);
    map_init(&k.versions, 2 * (h->step_count + h->seen_count) + 1);
    bool has_room = k.values && versions_gather(&k);
    for (uint32_t key = 0; key < h->key_count && has_room; key++) {
        uint32_t name;
        has_room = key_name(&k, key, &name);
        size_t first = calls->count;
        for (size_t i = 0; i < h->op_count && has_room; i++)
            has_room = op_take(&k, i, key);
        for (size_t i = first; i < calls->count && has_room; i++)
            calls->calls[i].key = name;
    }
    map_done(&k.versions);
    free(k.values);
    return has_room;
}
