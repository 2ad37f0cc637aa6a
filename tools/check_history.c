#include "tools/check_history.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"

enum { CAPACITY_FIRST = 256, SLOTS_FIRST = 1024 };

/* Room for `more` elements behind `count`. */
static bool reserve(void *array_of, size_t *capacity, size_t count, size_t more, size_t size)
{
    void **array = array_of;
    if (count + more <= *capacity)
        return true;
    size_t wanted = *capacity > 0 ? *capacity : CAPACITY_FIRST;
    while (wanted < count + more)
        wanted *= 2;
    void *grown = realloc(*array, wanted * size);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

bool check_history_open(struct check_history *h, uint32_t key_count, size_t ops_max)
{
    *h = (struct check_history){ .ops_max = ops_max, .key_count = key_count };
    h->value_slots = calloc(SLOTS_FIRST, sizeof *h->value_slots);
    h->value_slot_count = SLOTS_FIRST;
    if (!h->value_slots || !reserve(&h->values, &h->value_capacity, 0, 1, sizeof *h->values)) {
        check_history_close(h);
        return false;
    }
    h->values[0] = (struct check_value){ .op = CHECK_OP_NONE };
    h->value_count = 1;
    return true;
}

void check_history_close(struct check_history *h)
{
    free(h->ops);
    free(h->steps);
    free(h->compares);
    free(h->seen);
    free(h->values);
    free(h->bytes);
    free(h->value_slots);
    *h = (struct check_history){ 0 };
}

/* ---- values ---- */

struct slice check_history_bytes(const struct check_history *h, uint32_t value)
{
    ASSERT(value < h->value_count);
    if (h->values[value].size == 0)
        return slice_of(NULL, 0);
    return slice_of(h->bytes + h->values[value].offset, h->values[value].size);
}

/* The slot that holds these bytes' value, or an empty one. */
static size_t value_slot(const struct check_history *h, const uint32_t *slots, size_t slot_count,
                         struct slice bytes)
{
    size_t i = checksum(bytes, 0) & (slot_count - 1);
    while (slots[i] != 0 && !slice_equal(check_history_bytes(h, slots[i]), bytes))
        i = (i + 1) & (slot_count - 1);
    return i;
}

static bool value_slots_grow(struct check_history *h)
{
    if (h->value_count * 2 < h->value_slot_count)
        return true;
    size_t count = h->value_slot_count * 2;
    uint32_t *slots = calloc(count, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t v = 1; v < h->value_count; v++)
        slots[value_slot(h, slots, count, check_history_bytes(h, v))] = v;
    free(h->value_slots);
    h->value_slots = slots;
    h->value_slot_count = count;
    return true;
}

uint32_t check_history_value(struct check_history *h, struct slice bytes)
{
    size_t i = value_slot(h, h->value_slots, h->value_slot_count, bytes);
    if (h->value_slots[i] != 0)
        return h->value_slots[i];
    if (h->value_count >= UINT32_MAX || bytes.size > UINT32_MAX || !value_slots_grow(h) ||
        !reserve(&h->values, &h->value_capacity, h->value_count, 1, sizeof *h->values) ||
        !reserve(&h->bytes, &h->byte_capacity, h->byte_count, bytes.size + 1, 1))
        return 0;
    uint32_t value = (uint32_t)h->value_count++;
    h->values[value] = (struct check_value){ .offset = h->byte_count,
                                             .size = (uint32_t)bytes.size,
                                             .op = CHECK_OP_NONE };
    if (bytes.size > 0)
        memcpy(h->bytes + h->byte_count, bytes.data, bytes.size);
    h->byte_count += bytes.size;
    h->value_slots[value_slot(h, h->value_slots, h->value_slot_count, bytes)] = value;
    return value;
}

/* ---- operations ---- */

struct check_op *check_history_invoke(struct check_history *h, uint64_t now_ns)
{
    if (h->op_count >= h->ops_max || h->op_count >= UINT32_MAX ||
        !reserve(&h->ops, &h->op_capacity, h->op_count, 1, sizeof *h->ops))
        return NULL;
    struct check_op *op = &h->ops[h->op_count++];
    *op = (struct check_op){ .f = "txn",
                             .invoke_i = h->next_i++,
                             .end_i = UINT64_MAX,
                             .invoke_ns = now_ns,
                             .end = CHECK_OPEN,
                             .succeeded = true };
    return op;
}

static struct check_op *last_op(struct check_history *h)
{
    ASSERT(h->op_count > 0);
    return &h->ops[h->op_count - 1];
}

bool check_history_compare(struct check_history *h, const struct check_compare *compare)
{
    ASSERT(compare->key < h->key_count);
    if (!reserve(&h->compares, &h->compare_capacity, h->compare_count, 1, sizeof *h->compares))
        return false;
    struct check_part *part = &last_op(h)->compares;
    if (part->count == 0)
        part->first = (uint32_t)h->compare_count;
    ASSERT(part->first + part->count == h->compare_count);
    part->count++;
    h->compares[h->compare_count++] = *compare;
    return true;
}

static void value_written(struct check_value *value, uint32_t op)
{
    value->op = value->op == CHECK_OP_NONE || value->op == op ? op : CHECK_OP_SEVERAL;
}

bool check_history_step(struct check_history *h, bool branch, const struct check_step *step)
{
    ASSERT(step->key < step->key_end);
    ASSERT(step->key_end <= h->key_count);
    if (!reserve(&h->steps, &h->step_capacity, h->step_count, 1, sizeof *h->steps))
        return false;
    struct check_part *part = &last_op(h)->branches[branch ? 1 : 0];
    if (part->count == 0)
        part->first = (uint32_t)h->step_count;
    ASSERT(part->first + part->count == h->step_count); /* a branch is added in one go */
    part->count++;
    if (step->kind == CHECK_PUT)
        value_written(&h->values[step->value], (uint32_t)(h->op_count - 1));
    h->steps[h->step_count++] = *step;
    return true;
}

void check_history_end(struct check_history *h, size_t i, enum check_end end, uint64_t now_ns)
{
    ASSERT(i < h->op_count);
    ASSERT(h->ops[i].end == CHECK_OPEN);
    h->ops[i].end = end;
    h->ops[i].end_i = h->next_i++;
    h->ops[i].end_ns = now_ns;
}

bool check_history_see(struct check_history *h, struct check_step *step,
                       const struct check_seen *seen)
{
    if (!reserve(&h->seen, &h->seen_capacity, h->seen_count, 1, sizeof *h->seen))
        return false;
    if (step->seen_count == 0)
        step->seen_first = (uint32_t)h->seen_count;
    ASSERT(step->seen_first + step->seen_count == h->seen_count);
    step->seen_count++;
    h->seen[h->seen_count++] = *seen;
    return true;
}

bool check_history_branch_writes(const struct check_history *h, const struct check_op *op,
                                 bool branch)
{
    struct check_part part = op->branches[branch ? 1 : 0];
    for (uint32_t i = 0; i < part.count; i++) {
        if (h->steps[part.first + i].kind != CHECK_GET)
            return true;
    }
    return false;
}

bool check_history_op_wrote(const struct check_history *h, const struct check_op *op)
{
    struct check_part part = check_op_branch(op);
    for (uint32_t i = 0; op->end == CHECK_OK && i < part.count; i++) {
        const struct check_step *s = &h->steps[part.first + i];
        if (s->kind == CHECK_PUT || (s->kind == CHECK_DELETE && s->count > 0))
            return true;
    }
    return false;
}
