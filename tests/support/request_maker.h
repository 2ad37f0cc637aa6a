/* request_maker.h: etcd requests for tests, in an arena: written as calls, or drawn by chance. */
#ifndef TESTS_SUPPORT_REQUEST_MAKER_H
#define TESTS_SUPPORT_REQUEST_MAKER_H

#include "base/arena.h"
#include "base/prng.h"
#include "rpc.pb-c.h"

typedef Etcdserverpb__RequestOp make_op;
typedef Etcdserverpb__TxnRequest make_txn;

ProtobufCBinaryData make_bytes(const char *text);

Etcdserverpb__PutRequest *make_put(struct arena *a, const char *key, const char *value);
/* end: NULL for the key alone, "\0" (by MAKE_OPEN) for all from it on. */
Etcdserverpb__DeleteRangeRequest *make_delete(struct arena *a, const char *key, const char *end);
Etcdserverpb__RangeRequest *make_range(struct arena *a, const char *key, const char *end);

extern const char MAKE_OPEN[1];

make_op *make_op_put(struct arena *a, const char *key, const char *value);
make_op *make_op_delete(struct arena *a, const char *key, const char *end);
make_op *make_op_range(struct arena *a, const char *key, const char *end);
make_op *make_op_txn(struct arena *a, make_txn *txn);

make_txn *make_txn_empty(struct arena *a);
void make_then(struct arena *a, make_txn *txn, make_op *op);
void make_else(struct arena *a, make_txn *txn, make_op *op);
Etcdserverpb__Compare *make_if(struct arena *a, make_txn *txn, const char *key,
                               Etcdserverpb__Compare__CompareTarget target,
                               Etcdserverpb__Compare__CompareResult result);

#endif
