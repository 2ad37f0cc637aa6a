#include "tools/check_models.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"

enum {
    REVISION_BITS = 40, /* of a register's state; the rest is its value */
    SLOTS_FIRST = 1024,
};

#define REVISION_MASK ((UINT64_C(1) << REVISION_BITS) - 1)

/* ---- revisions ---- */

/* It made its revision for certain; a delete may have found nothing. */
static bool makes_revision(const struct check_calls *calls, const struct check_call *c)
{
    bool makes = (c->kind == CALL_WRITE || c->kind == CALL_CAS) && c->to != 0;
    for (uint32_t i = 0; i < c->parts.count && !makes; i++) {
        const struct check_call *part = &calls->parts[c->parts.first + i];
        makes = part->kind == CALL_APPEND || (part->kind == CALL_WRITE && part->to != 0);
    }
    return makes && c->revision > 0;
}

static int revision_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool taken_gather(struct check_models *m)
{
    const struct check_calls *calls = m->calls;
    m->taken = malloc((calls->count + 1) * sizeof *m->taken);
    m->free_after = malloc((calls->count + 1) * sizeof *m->free_after);
    if (!m->taken || !m->free_after)
        return false;
    for (size_t i = 0; i < calls->count; i++) {
        if (makes_revision(calls, &calls->calls[i]))
            m->taken[m->taken_count++] = (uint64_t)calls->calls[i].revision;
    }
    qsort(m->taken, m->taken_count, sizeof *m->taken, revision_order);
    for (size_t i = m->taken_count; i > 0; i--) {
        bool goes_on = i < m->taken_count && m->taken[i] <= m->taken[i - 1] + 1;
        m->free_after[i - 1] = goes_on ? m->free_after[i] : m->taken[i - 1] + 1;
    }
    return true;
}

/* The least revision after `newest` that a write of unknown outcome can have made. */
static uint64_t free_revision(const struct check_models *m, uint64_t newest)
{
    size_t from = 0, to = m->taken_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (m->taken[middle] <= newest)
            from = middle + 1;
        else
            to = middle;
    }
    bool is_taken = from < m->taken_count && m->taken[from] == newest + 1;
    return is_taken ? m->free_after[from] : newest + 1;
}

/* What the newest revision is after the call. False: the call's own is older than that. */
static bool revision_move(const struct check_models *m, const struct check_call *c, bool wrote,
                          uint64_t *newest)
{
    if (c->revision > 0) {
        bool is_later = (uint64_t)c->revision >= *newest + wrote;
        *newest = (uint64_t)c->revision;
        return is_later;
    }
    if (wrote)
        *newest = free_revision(m, *newest);
    return true;
}

/* ---- registers and counters ---- */

static bool register_step(void *owner, uint32_t id, uint64_t state, uint64_t *ret_state)
{
    const struct check_models *m = owner;
    const struct check_call *c = &m->calls->calls[id];
    bool is_as_read = c->is_anything || (uint64_t)c->is == state;
    switch (c->kind) {
    case CALL_READ:
        *ret_state = state;
        return is_as_read;
    case CALL_WRITE:
        *ret_state = (uint64_t)c->to;
        return true;
    case CALL_CAS:
        *ret_state = (uint64_t)c->to;
        return is_as_read;
    case CALL_ADD:
    case CALL_APPEND:
    case CALL_TXN:
        break;
    }
    return false;
}

/* The revisions of all answers are of one clock: it never falls, and each write moves it. */
static bool revision_step(void *owner, uint32_t id, uint64_t state, uint64_t *ret_state)
{
    const struct check_models *m = owner;
    const struct check_call *c = &m->calls->calls[id];
    uint64_t value, newest = state & REVISION_MASK;
    if (!register_step(owner, id, state >> REVISION_BITS, &value))
        return false;
    /* A delete of nothing is none: it makes no revision. */
    bool is_write = c->kind != CALL_READ && !(value == 0 && state >> REVISION_BITS == 0);
    if (!revision_move(m, c, is_write, &newest))
        return false;
    *ret_state = value << REVISION_BITS | newest;
    return true;
}

static bool revision_is_too_late(void *owner, uint32_t id, uint64_t state)
{
    const struct check_models *m = owner;
    int64_t revision = m->calls->calls[id].revision;
    return revision > 0 && (uint64_t)revision < (state & REVISION_MASK);
}

static bool counter_step(void *owner, uint32_t id, uint64_t state, uint64_t *ret_state)
{
    const struct check_models *m = owner;
    const struct check_call *c = &m->calls->calls[id];
    *ret_state = state;
    if (c->kind == CALL_READ)
        return c->is_anything || (uint64_t)c->is == state;
    *ret_state = state + (uint64_t)c->to;
    return c->kind == CALL_ADD;
}

/* ---- transactions ---- */

/* "[1 2]" and "3" make "[1 2 3]". 0: out of memory. */
static uint32_t list_append(struct check_models *m, uint64_t list, uint64_t element)
{
    struct check_history *values = &m->calls->values;
    struct slice old = check_history_bytes(values, (uint32_t)list);
    struct slice more = check_history_bytes(values, (uint32_t)element);
    size_t kept = old.size > 0 ? old.size - 1 : 0;
    uint8_t *text = malloc(old.size + more.size + 3);
    if (!text)
        return 0;
    text[0] = '[';
    if (kept > 0) {
        memcpy(text, old.data, kept);
        text[kept++] = ' ';
    } else {
        kept = 1;
    }
    if (more.size > 0)
        memcpy(text + kept, more.data, more.size);
    kept += more.size;
    text[kept++] = ']';
    uint32_t value = check_history_value(values, slice_of(text, kept));
    free(text);
    return value;
}

static size_t state_slot(const struct check_models *m, const uint32_t *slots, size_t slot_count,
                         const uint64_t *state)
{
    size_t bytes = m->state_words * sizeof *state;
    size_t i = checksum(slice_of(state, bytes), 0) & (slot_count - 1);
    while (slots[i] != 0 && memcmp(m->states + (slots[i] - 1) * m->state_words, state, bytes) != 0)
        i = (i + 1) & (slot_count - 1);
    return i;
}

static bool states_grow(struct check_models *m)
{
    if (m->state_count == m->state_count_max)
        return false;
    if (m->state_count == m->state_capacity) {
        size_t capacity = m->state_capacity > 0 ? m->state_capacity * 2 : SLOTS_FIRST / 2;
        uint64_t *states = realloc(m->states, capacity * m->state_words * sizeof *states);
        if (!states)
            return false;
        m->states = states;
        m->state_capacity = capacity;
    }
    if ((m->state_count + 1) * 2 <= m->slot_count)
        return true;
    size_t slot_count = m->slot_count > 0 ? m->slot_count * 2 : SLOTS_FIRST;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < m->state_count; i++)
        slots[state_slot(m, slots, slot_count, m->states + i * m->state_words)] = i + 1;
    free(m->slots);
    m->slots = slots;
    m->slot_count = slot_count;
    return true;
}

/* The number of the state in m->scratch. False: no room. */
static bool state_number(struct check_models *m, uint64_t *ret_number)
{
    if (!states_grow(m))
        return false;
    size_t slot = state_slot(m, m->slots, m->slot_count, m->scratch);
    if (m->slots[slot] == 0) {
        memcpy(m->states + m->state_count * m->state_words, m->scratch,
               m->state_words * sizeof *m->scratch);
        m->slots[slot] = (uint32_t)++m->state_count;
    }
    *ret_number = m->slots[slot] - 1;
    return true;
}

/* In m->scratch. False: the part cannot have been answered so. */
static bool part_step(struct check_models *m, const struct check_call *part, bool *wrote)
{
    uint64_t *value = &m->scratch[part->key];
    switch (part->kind) {
    case CALL_READ:
        return part->is_anything || *value == (uint64_t)part->is;
    case CALL_WRITE:
        *wrote = *wrote || *value != 0 || part->to != 0; /* a delete of nothing is none */
        *value = (uint64_t)part->to;
        return true;
    case CALL_APPEND:
        *wrote = true;
        *value = list_append(m, *value, (uint64_t)part->to);
        m->is_full = m->is_full || *value == 0;
        return *value != 0;
    case CALL_CAS:
    case CALL_ADD:
    case CALL_TXN:
        break;
    }
    return false;
}

static bool txn_step(void *owner, uint32_t id, uint64_t state, uint64_t *ret_state)
{
    struct check_models *m = owner;
    const struct check_call *c = &m->calls->calls[id];
    bool wrote = false;
    memcpy(m->scratch, m->states + state * m->state_words, m->state_words * sizeof *m->scratch);
    for (uint32_t i = 0; i < c->parts.count; i++) {
        if (!part_step(m, &m->calls->parts[c->parts.first + i], &wrote))
            return false;
    }
    if (!revision_move(m, c, wrote, &m->scratch[m->state_words - 1]))
        return false;
    if (!state_number(m, ret_state)) {
        m->is_full = true;
        return false;
    }
    return true;
}

static bool txn_is_too_late(void *owner, uint32_t id, uint64_t state)
{
    const struct check_models *m = owner;
    int64_t revision = m->calls->calls[id].revision;
    return revision > 0 &&
           (uint64_t)revision < m->states[state * m->state_words + m->state_words - 1];
}

/* ---- choice ---- */

static bool txn_open(struct check_models *m, size_t memory_bytes)
{
    m->state_words = (size_t)m->calls->key_count + 1;
    m->state_count_max = memory_bytes / (m->state_words * sizeof *m->states + 8);
    if (m->state_count_max > UINT32_MAX - 1)
        m->state_count_max = UINT32_MAX - 1;
    m->scratch = calloc(m->state_words, sizeof *m->scratch);
    return m->scratch && taken_gather(m) && state_number(m, &m->model.initial);
}

bool check_models_open(struct check_models *m, struct check_calls *calls,
                       enum check_model_kind kind, size_t memory_bytes)
{
    *m = (struct check_models){ .calls = calls };
    m->model.owner = m;
    m->model.has_failed = &m->is_full;
    switch (kind) {
    case CHECK_CAS_REGISTER:
        m->model.step = register_step;
        return true;
    case CHECK_REGISTER:
        m->model.step = revision_step;
        m->model.is_too_late = revision_is_too_late;
        for (size_t i = 0; i < calls->count; i++) {
            if ((uint64_t)calls->calls[i].revision > REVISION_MASK / 2)
                return false;
        }
        return taken_gather(m) && calls->values.value_count < UINT64_C(1) << (64 - REVISION_BITS);
    case CHECK_COUNTER:
        m->model.step = counter_step;
        return true;
    case CHECK_TXN:
        m->model.step = txn_step;
        m->model.is_too_late = txn_is_too_late;
        return txn_open(m, memory_bytes);
    }
    return false;
}

void check_models_close(struct check_models *m)
{
    free(m->taken);
    free(m->free_after);
    free(m->states);
    free(m->slots);
    free(m->scratch);
    m->taken = m->free_after = NULL;
    m->states = NULL;
    m->slots = NULL;
    m->scratch = NULL;
}
