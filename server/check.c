#include "server/check.h"

#include <stdlib.h>

#include "server/key_range.h"

enum etcd_error check_range(const Etcdserverpb__RangeRequest *r)
{
    if (r->key.len == 0)
        return ETCD_E_EMPTY_KEY;
    if ((unsigned)r->sort_order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND)
        return ETCD_E_SORT_OPTION;
    if ((unsigned)r->sort_target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        return ETCD_E_SORT_OPTION;
    return ETCD_OK;
}

enum etcd_error check_put(const Etcdserverpb__PutRequest *r)
{
    if (r->key.len == 0)
        return ETCD_E_EMPTY_KEY;
    if (r->ignore_value && r->value.len != 0)
        return ETCD_E_VALUE_PROVIDED;
    if (r->ignore_lease && r->lease != 0)
        return ETCD_E_LEASE_PROVIDED;
    return ETCD_OK;
}

enum etcd_error check_delete_range(const Etcdserverpb__DeleteRangeRequest *r)
{
    return r->key.len == 0 ? ETCD_E_EMPTY_KEY : ETCD_OK;
}

/* ---- the shape of a transaction ---- */

static enum etcd_error check_txn_shape(const Etcdserverpb__TxnRequest *r, size_t ops_max);

static enum etcd_error check_op(const Etcdserverpb__RequestOp *op, size_t ops_max)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return check_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return check_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return check_delete_range(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_txn_shape(op->request_txn, ops_max);
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    return ETCD_E_KEY_NOT_FOUND;
}

static enum etcd_error check_ops(Etcdserverpb__RequestOp **ops, size_t count, size_t ops_max)
{
    for (size_t i = 0; i < count; i++) {
        enum etcd_error error = check_op(ops[i], ops_max);
        if (error != ETCD_OK)
            return error;
    }
    return ETCD_OK;
}

static enum etcd_error check_txn_shape(const Etcdserverpb__TxnRequest *r, size_t ops_max)
{
    size_t ops = r->n_compare;
    if (ops < r->n_success)
        ops = r->n_success;
    if (ops < r->n_failure)
        ops = r->n_failure;
    if (ops > ops_max)
        return ETCD_E_TOO_MANY_OPS;
    for (size_t i = 0; i < r->n_compare; i++) {
        if (r->compare[i]->key.len == 0)
            return ETCD_E_EMPTY_KEY;
    }
    /* A nested transaction has what its parent left, so depth ends where operations do. */
    enum etcd_error error = check_ops(r->success, r->n_success, ops_max - ops);
    if (error != ETCD_OK)
        return error;
    return check_ops(r->failure, r->n_failure, ops_max - ops);
}

/* ---- no key twice ---- */

/* A transaction is a tree: a choice has two branches, of which one runs; a branch is a sequence,
 * all of which runs. Two changes exclude each other when the lowest part that holds both is a
 * choice. Counters of what is underfoot of the sweep below tell that without looking at pairs. */
struct part {
    uint32_t parent; /* PART_NONE: the root */
    bool is_choice;
    uint32_t puts;    /* below it, of the key that the sweep is at */
    uint32_t deletes; /* below it, whose range the sweep is in */
};

enum { PART_NONE = UINT32_MAX };

/* In the order in which they count at one key: a range's end is not part of it, a key is. */
enum edge_kind { EDGE_DELETE_ENDS_BEFORE, EDGE_DELETE_BEGINS, EDGE_PUT, EDGE_DELETE_ENDS_AFTER };

struct edge {
    struct slice key;
    uint32_t branch;
    enum edge_kind kind;
};

struct changes {
    struct arena *arena;
    struct part *parts;
    uint32_t part_count;
    uint32_t part_capacity;
    struct edge *edges;
    uint32_t edge_count;
    uint32_t edge_capacity;
};

/* Room for one more item: the list, larger if it must be; NULL when the arena is full. */
static void *grown(struct arena *arena, void *items, uint32_t count, uint32_t *capacity,
                   size_t item_bytes)
{
    if (count < *capacity)
        return items;
    uint32_t wanted = *capacity ? *capacity * 2 : 16;
    void *larger = arena_alloc(arena, wanted * item_bytes);
    if (!larger)
        return NULL;
    if (count > 0)
        memcpy(larger, items, count * item_bytes);
    *capacity = wanted;
    return larger;
}

static bool part_add(struct changes *c, uint32_t parent, bool is_choice, uint32_t *ret_part)
{
    struct part *parts = grown(c->arena, c->parts, c->part_count, &c->part_capacity, sizeof *parts);
    if (!parts)
        return false;
    c->parts = parts;
    *ret_part = c->part_count++;
    c->parts[*ret_part] = (struct part){ .parent = parent, .is_choice = is_choice };
    return true;
}

static bool edge_add(struct changes *c, struct slice key, uint32_t branch, enum edge_kind kind)
{
    struct edge *edges = grown(c->arena, c->edges, c->edge_count, &c->edge_capacity, sizeof *edges);
    if (!edges)
        return false;
    c->edges = edges;
    c->edges[c->edge_count++] = (struct edge){ key, branch, kind };
    return true;
}

static bool collect_delete(struct changes *c, const Etcdserverpb__DeleteRangeRequest *r,
                           uint32_t branch)
{
    struct key_range range = key_range_of(r->key, r->range_end);
    if (key_range_is_empty(&range))
        return true;
    if (!edge_add(c, range.start, branch, EDGE_DELETE_BEGINS))
        return false;
    if (range.is_open)
        return true;
    return edge_add(c, range.end, branch,
                    range.is_point ? EDGE_DELETE_ENDS_AFTER : EDGE_DELETE_ENDS_BEFORE);
}

static bool collect_txn(struct changes *c, const Etcdserverpb__TxnRequest *r, uint32_t parent);

/* False when the arena is full. */
static bool collect_branch(struct changes *c, Etcdserverpb__RequestOp **ops, size_t count,
                           uint32_t choice)
{
    uint32_t branch;
    bool added = count == 0 || part_add(c, choice, false, &branch);
    for (size_t i = 0; i < count && added; i++) {
        const Etcdserverpb__RequestOp *op = ops[i];
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            added = edge_add(c, slice_of_pb(op->request_put->key), branch, EDGE_PUT);
        else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            added = collect_delete(c, op->request_delete_range, branch);
        else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            added = collect_txn(c, op->request_txn, branch);
    }
    return added;
}

static bool collect_txn(struct changes *c, const Etcdserverpb__TxnRequest *r, uint32_t parent)
{
    uint32_t choice;
    return part_add(c, parent, true, &choice) &&
           collect_branch(c, r->success, r->n_success, choice) &&
           collect_branch(c, r->failure, r->n_failure, choice);
}

static int edge_compare(const void *a, const void *b)
{
    const struct edge *x = a;
    const struct edge *y = b;
    int order = slice_compare(x->key, y->key);
    return order != 0 ? order : (int)x->kind - (int)y->kind;
}

/* Counts it, or takes it back (a sum modulo 2^32), in all parts that it is in. */
static void count_up(struct changes *c, uint32_t branch, uint32_t puts, uint32_t deletes)
{
    for (uint32_t at = branch; at != PART_NONE; at = c->parts[at].parent) {
        c->parts[at].puts += puts;
        c->parts[at].deletes += deletes;
    }
}

/* Whether another change of the sweep's key is made on a path that also makes this put, which is
 * not counted yet: somewhere above it a sequence holds more than the child that it is in. */
static bool put_collides(const struct changes *c, uint32_t branch)
{
    uint32_t in_child = 0;
    for (uint32_t at = branch; at != PART_NONE; at = c->parts[at].parent) {
        const struct part *part = &c->parts[at];
        if (!part->is_choice && part->puts + part->deletes > in_child)
            return true;
        in_child = part->puts + part->deletes;
    }
    return false;
}

static void puts_forget(struct changes *c, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (c->edges[i].kind == EDGE_PUT)
            count_up(c, c->edges[i].branch, UINT32_MAX, 0);
    }
}

/* A sweep over the keys in order. Two deletes never write the same key, the second finds it gone:
 * only a put can collide, with another or with a delete. */
static bool changes_collide(struct changes *c)
{
    if (c->edge_count > 1)
        qsort(c->edges, c->edge_count, sizeof *c->edges, edge_compare);
    uint32_t first_of_key = 0;
    for (uint32_t i = 0; i < c->edge_count; i++) {
        const struct edge *e = &c->edges[i];
        if (!slice_equal(e->key, c->edges[first_of_key].key)) {
            puts_forget(c, first_of_key, i);
            first_of_key = i;
        }
        switch (e->kind) {
        case EDGE_DELETE_BEGINS:
            count_up(c, e->branch, 0, 1);
            break;
        case EDGE_PUT:
            if (put_collides(c, e->branch))
                return true;
            count_up(c, e->branch, 1, 0);
            break;
        case EDGE_DELETE_ENDS_BEFORE:
        case EDGE_DELETE_ENDS_AFTER:
            count_up(c, e->branch, 0, UINT32_MAX);
            break;
        }
    }
    return false;
}

enum etcd_error check_txn(const Etcdserverpb__TxnRequest *r, uint32_t txn_ops_max,
                          struct arena *arena)
{
    enum etcd_error error = check_txn_shape(r, txn_ops_max);
    if (error != ETCD_OK)
        return error;
    struct changes changes = { .arena = arena };
    if (!collect_txn(&changes, r, PART_NONE))
        return ETCD_E_REQUEST_TOO_LARGE;
    return changes_collide(&changes) ? ETCD_E_DUPLICATE_KEY : ETCD_OK;
}

/* ---- what another member hands over ---- */

enum etcd_error check_command(const Holdfastpb__Command *command, struct arena *arena)
{
    switch (command->command_case) {
    case HOLDFASTPB__COMMAND__COMMAND_PUT:
        return check_put(command->put);
    case HOLDFASTPB__COMMAND__COMMAND_DELETE_RANGE:
        return check_delete_range(command->delete_range);
    case HOLDFASTPB__COMMAND__COMMAND_TXN:
        return check_txn(command->txn, CHECK_TXN_OPS_MAX, arena);
    case HOLDFASTPB__COMMAND__COMMAND_COMPACTION:
    case HOLDFASTPB__COMMAND__COMMAND_MEMBER_ATTRIBUTES:
        return ETCD_OK;
    case HOLDFASTPB__COMMAND__COMMAND_FEATURE_LEVEL: /* the leader's own business */
    case HOLDFASTPB__COMMAND__COMMAND__NOT_SET:
    case _HOLDFASTPB__COMMAND__COMMAND__CASE_IS_INT_SIZE:
        break;
    }
    return ETCD_E_BAD_MESSAGE;
}

/* ---- what kind of transaction ---- */

typedef bool range_predicate(const Etcdserverpb__RangeRequest *r);

static bool ops_are_ranges(Etcdserverpb__RequestOp **ops, size_t count, range_predicate *holds)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            !holds(ops[i]->request_range))
            return false;
    }
    return true;
}

static bool range_is_any(const Etcdserverpb__RangeRequest *r)
{
    return r != NULL;
}

static bool range_is_serializable(const Etcdserverpb__RangeRequest *r)
{
    return r->serializable;
}

bool txn_is_read_only(const Etcdserverpb__TxnRequest *r)
{
    return ops_are_ranges(r->success, r->n_success, range_is_any) &&
           ops_are_ranges(r->failure, r->n_failure, range_is_any);
}

bool txn_is_serializable(const Etcdserverpb__TxnRequest *r)
{
    return ops_are_ranges(r->success, r->n_success, range_is_serializable) &&
           ops_are_ranges(r->failure, r->n_failure, range_is_serializable);
}
