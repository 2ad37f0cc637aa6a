/* check.h: what a request must be before anything is done with it, with etcd's answers.
 *
 * Pure; a request that passes here is safe to propose: apply relies on it being deterministic,
 * not on it having been checked. Source of the rules: etcd: server/etcdserver/api/v3rpc/key.go.
 * Thread: any. Bounds: a transaction's depth and operations are bounded by txn_ops_max, so that
 * recursion is too.
 */
#ifndef SERVER_CHECK_H
#define SERVER_CHECK_H

#include "command.pb-c.h"
#include "server/etcd_error.h"

enum { CHECK_TXN_OPS_MAX = 1 << 16 }; /* what --max-txn-ops may be at most */

enum etcd_error check_range(const Etcdserverpb__RangeRequest *r);
enum etcd_error check_put(const Etcdserverpb__PutRequest *r);
enum etcd_error check_delete_range(const Etcdserverpb__DeleteRangeRequest *r);

/* Also that no key is changed twice: one change a key a revision is what the store relies on, so
 * this is stricter than etcd's checkIntervals, which does not see a delete with range_end "\0"
 * meet a put, nor a nested put meet the delete of a later nested transaction.
 * The arena is scratch; when it is full the request is too large. */
enum etcd_error check_txn(const Etcdserverpb__TxnRequest *r, uint32_t txn_ops_max,
                          struct arena *arena);

/* A command that another member forwards: one that is malformed, or that apply does not know,
 * would stop every member once it is in the log. Its own limits were the sender's to set. */
enum etcd_error check_command(const Holdfastpb__Command *command, struct arena *arena);

/* No operation but ranges, on either branch (etcd: txn.IsTxnReadonly). */
bool txn_is_read_only(const Etcdserverpb__TxnRequest *r);
/* All of them serializable (etcd: txn.IsTxnSerializable). */
bool txn_is_serializable(const Etcdserverpb__TxnRequest *r);

#endif
