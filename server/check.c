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

/* A put's key, or a delete's interval. Operations exclude each other when their paths part at the
 * two branches of one transaction; so each carries the branch interval it is in. */
struct change {
    struct key_range range;
    bool is_put;
    uint32_t order; /* of discovery: branches are runs of it */
};

struct change_list {
    struct change *changes;
    uint32_t count;
    uint32_t capacity;
    struct arena *arena;
};

static bool change_add(struct change_list *l, struct key_range range, bool is_put)
{
    if (l->count == l->capacity) {
        uint32_t capacity = l->capacity ? l->capacity * 2 : 16;
        struct change *grown = arena_alloc(l->arena, capacity * sizeof *grown);
        if (!grown)
            return false;
        if (l->count > 0)
            memcpy(grown, l->changes, l->count * sizeof *grown);
        l->changes = grown;
        l->capacity = capacity;
    }
    l->changes[l->count] = (struct change){ range, is_put, l->count };
    l->count++;
    return true;
}

static int change_compare(const void *a, const void *b)
{
    const struct change *x = a;
    const struct change *y = b;
    int order = slice_compare(x->range.start, y->range.start);
    if (order != 0)
        return order;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Whether [from, split) and [split, count) of the list change a key in common, a pair of deletes
 * excepted: those never write the same key, the second finds it gone. */
static bool changes_collide(struct change_list *l, uint32_t from, uint32_t split)
{
    uint32_t count = l->count - from;
    if (split == from || split == l->count)
        return false;
    struct change *sorted = arena_alloc(l->arena, count * sizeof *sorted);
    if (!sorted)
        return true;
    memcpy(sorted, l->changes + from, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, change_compare);
    /* Sweep by start: the furthest end so far of each kind and side decides. */
    const struct change *reach[2][2] = { { NULL, NULL }, { NULL, NULL } };
    for (uint32_t i = 0; i < count; i++) {
        const struct change *c = &sorted[i];
        bool side = c->order >= split;
        for (int is_put = 0; is_put <= 1; is_put++) {
            const struct change *other = reach[!side][is_put];
            if (other && (c->is_put || is_put) && key_range_has(&other->range, c->range.start))
                return true;
        }
        const struct change **mine = &reach[side][c->is_put];
        if (!*mine || key_range_end_compare(&(*mine)->range, &c->range) < 0)
            *mine = c;
    }
    return false;
}

static enum etcd_error collect(const Etcdserverpb__TxnRequest *r, struct change_list *l);

static enum etcd_error collect_op(const Etcdserverpb__RequestOp *op, struct change_list *l)
{
    bool added = true;
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        struct slice key = slice_of(op->request_put->key.data, op->request_put->key.len);
        added = change_add(l, key_range_point(key), true);
    } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
        const Etcdserverpb__DeleteRangeRequest *d = op->request_delete_range;
        struct key_range range = key_range_of(d->key, d->range_end);
        if (!key_range_is_empty(&range))
            added = change_add(l, range, false);
    } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
        return collect(op->request_txn, l);
    }
    return added ? ETCD_OK : ETCD_E_REQUEST_TOO_LARGE;
}

static bool op_is_txn(const Etcdserverpb__RequestOp *op)
{
    return op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
}

/* Adds one branch's changes: first the plain ones, which are known not to collide, then each
 * nested transaction's, against those and the nested ones before it; so the order in which the
 * operations stand does not matter. */
static enum etcd_error collect_branch(Etcdserverpb__RequestOp **ops, size_t count,
                                      struct change_list *l)
{
    uint32_t from = l->count;
    for (int nested = 0; nested <= 1; nested++) {
        for (size_t i = 0; i < count; i++) {
            if (op_is_txn(ops[i]) != nested)
                continue;
            uint32_t split = l->count;
            enum etcd_error error = collect_op(ops[i], l);
            if (error != ETCD_OK)
                return error;
            if (nested && changes_collide(l, from, split))
                return ETCD_E_DUPLICATE_KEY;
        }
    }
    return ETCD_OK;
}

/* Plain puts and deletes of one branch, all against all, in one sort: without this a branch of n
 * operations would sort n times. */
static bool plain_changes_collide(Etcdserverpb__RequestOp **ops, size_t count, struct arena *arena)
{
    struct change_list l = { .arena = arena };
    for (size_t i = 0; i < count; i++) {
        if (!op_is_txn(ops[i]) && collect_op(ops[i], &l) != ETCD_OK)
            return true;
    }
    if (l.count < 2)
        return false;
    qsort(l.changes, l.count, sizeof *l.changes, change_compare);
    const struct change *put_reach = NULL;
    const struct change *delete_reach = NULL;
    for (uint32_t i = 0; i < l.count; i++) {
        const struct change *c = &l.changes[i];
        if (put_reach && key_range_has(&put_reach->range, c->range.start))
            return true;
        if (c->is_put && delete_reach && key_range_has(&delete_reach->range, c->range.start))
            return true;
        if (c->is_put)
            put_reach = c;
        else if (!delete_reach || key_range_end_compare(&delete_reach->range, &c->range) < 0)
            delete_reach = c;
    }
    return false;
}

/* Then and else exclude each other: the same key in both is fine. */
static enum etcd_error collect(const Etcdserverpb__TxnRequest *r, struct change_list *l)
{
    if (plain_changes_collide(r->success, r->n_success, l->arena) ||
        plain_changes_collide(r->failure, r->n_failure, l->arena))
        return ETCD_E_DUPLICATE_KEY;
    enum etcd_error error = collect_branch(r->success, r->n_success, l);
    if (error != ETCD_OK)
        return error;
    return collect_branch(r->failure, r->n_failure, l);
}

enum etcd_error check_txn(const Etcdserverpb__TxnRequest *r, uint32_t txn_ops_max,
                          struct arena *arena)
{
    enum etcd_error error = check_txn_shape(r, txn_ops_max);
    if (error != ETCD_OK)
        return error;
    struct change_list changes = { .arena = arena };
    return collect(r, &changes);
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
