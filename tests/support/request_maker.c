#include "tests/support/request_maker.h"

#include <criterion/criterion.h>

const char MAKE_OPEN[1] = { 0 };

static void *make(struct arena *a, size_t size)
{
    void *made = arena_zalloc(a, size);
    cr_assert_not_null(made);
    return made;
}

ProtobufCBinaryData make_bytes(const char *text)
{
    if (!text)
        return (ProtobufCBinaryData){ 0 };
    return (ProtobufCBinaryData){ .len = text == MAKE_OPEN ? 1 : strlen(text),
                                  .data = (uint8_t *)text };
}

Etcdserverpb__PutRequest *make_put(struct arena *a, const char *key, const char *value)
{
    Etcdserverpb__PutRequest *r = make(a, sizeof *r);
    etcdserverpb__put_request__init(r);
    r->key = make_bytes(key);
    r->value = make_bytes(value);
    return r;
}

Etcdserverpb__DeleteRangeRequest *make_delete(struct arena *a, const char *key, const char *end)
{
    Etcdserverpb__DeleteRangeRequest *r = make(a, sizeof *r);
    etcdserverpb__delete_range_request__init(r);
    r->key = make_bytes(key);
    r->range_end = make_bytes(end);
    return r;
}

Etcdserverpb__RangeRequest *make_range(struct arena *a, const char *key, const char *end)
{
    Etcdserverpb__RangeRequest *r = make(a, sizeof *r);
    etcdserverpb__range_request__init(r);
    r->key = make_bytes(key);
    r->range_end = make_bytes(end);
    return r;
}

static make_op *op_new(struct arena *a, Etcdserverpb__RequestOp__RequestCase kind)
{
    make_op *op = make(a, sizeof *op);
    etcdserverpb__request_op__init(op);
    op->request_case = kind;
    return op;
}

make_op *make_op_put(struct arena *a, const char *key, const char *value)
{
    make_op *op = op_new(a, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    op->request_put = make_put(a, key, value);
    return op;
}

make_op *make_op_delete(struct arena *a, const char *key, const char *end)
{
    make_op *op = op_new(a, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);
    op->request_delete_range = make_delete(a, key, end);
    return op;
}

make_op *make_op_range(struct arena *a, const char *key, const char *end)
{
    make_op *op = op_new(a, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    op->request_range = make_range(a, key, end);
    return op;
}

make_op *make_op_txn(struct arena *a, make_txn *txn)
{
    make_op *op = op_new(a, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN);
    op->request_txn = txn;
    return op;
}

make_txn *make_txn_empty(struct arena *a)
{
    make_txn *txn = make(a, sizeof *txn);
    etcdserverpb__txn_request__init(txn);
    return txn;
}

static void **list_with(struct arena *a, void **list, size_t count, void *item)
{
    void **longer = make(a, (count + 1) * sizeof *longer);
    if (count > 0)
        memcpy(longer, list, count * sizeof *longer);
    longer[count] = item;
    return longer;
}

void make_then(struct arena *a, make_txn *txn, make_op *op)
{
    txn->success = (make_op **)list_with(a, (void **)txn->success, txn->n_success, op);
    txn->n_success++;
}

void make_else(struct arena *a, make_txn *txn, make_op *op)
{
    txn->failure = (make_op **)list_with(a, (void **)txn->failure, txn->n_failure, op);
    txn->n_failure++;
}

Etcdserverpb__Compare *make_if(struct arena *a, make_txn *txn, const char *key,
                               Etcdserverpb__Compare__CompareTarget target,
                               Etcdserverpb__Compare__CompareResult result)
{
    Etcdserverpb__Compare *c = make(a, sizeof *c);
    etcdserverpb__compare__init(c);
    c->key = make_bytes(key);
    c->target = target;
    c->result = result;
    txn->compare = (Etcdserverpb__Compare **)list_with(a, (void **)txn->compare, txn->n_compare, c);
    txn->n_compare++;
    return c;
}
