/* machine_internal.h: shared by machine*.c and their tests. */
#ifndef SERVER_MACHINE_INTERNAL_H
#define SERVER_MACHINE_INTERNAL_H

#include "server/key_range.h"
#include "server/machine.h"
#include "server/range.h"

/* A delete that goes on in the next slice. */
struct machine_delete {
    bool is_running;
    struct slice resume; /* in the scratch arena: the first key not looked at yet */
    int64_t deleted;
    Mvccpb__KeyValue **prev_kvs; /* in the reply's arena */
    size_t prev_capacity;
    bool prev_is_lost; /* some are missing: there is no answer any more */
};

struct machine {
    struct kv *kv;
    struct kv_view *view; /* of the batch; NULL between batches */
    struct membership *membership;
    uint64_t membership_changes;
    struct machine_state state;
    struct arena scratch; /* of the entry being applied */
    struct machine_delete slice;
};

/* The changes of one entry: one revision, counted by sub. Reads see what it changed already. */
struct machine_write {
    struct machine *m;
    int64_t revision; /* of these changes: the one before, plus 1 */
    uint32_t sub;     /* changes so far */
};

/* What readers inside the entry see as the newest revision. */
int64_t machine_write_revision(const struct machine_write *w);

/* The newest state of key, this entry's changes included; tombstones are not found. */
enum machine_err machine_get(struct machine_write *w, struct slice key, bool want_value,
                             struct arena *arena, struct kv_record *ret_record, bool *ret_found)
    __attribute__((warn_unused_result));

/* Whether the put can be carried out (etcd: checkPut). */
enum machine_err machine_check_put(struct machine_write *w, const Etcdserverpb__PutRequest *r,
                                   enum etcd_error *ret_error) __attribute__((warn_unused_result));

/* Carries out a put that was checked. ret_response: NULL when nobody waits; it becomes NULL when
 * the arena is full. */
enum machine_err machine_put(struct machine_write *w, const Etcdserverpb__PutRequest *r,
                             struct arena *arena, Etcdserverpb__PutResponse **ret_response)
    __attribute__((warn_unused_result));

/* Deletes up to keys_max keys; MACHINE_MORE when some are left and `slice` says where. */
enum machine_err machine_delete_range(struct machine_write *w,
                                      const Etcdserverpb__DeleteRangeRequest *r, uint64_t keys_max,
                                      struct machine_delete *slice, struct arena *arena,
                                      Etcdserverpb__DeleteRangeResponse **ret_response)
    __attribute__((warn_unused_result));

/* A whole transaction. */
enum machine_err machine_txn(struct machine_write *w, const Etcdserverpb__TxnRequest *r,
                             struct arena *arena, Etcdserverpb__TxnResponse **ret_response,
                             enum etcd_error *ret_error) __attribute__((warn_unused_result));

static inline enum machine_err machine_err_of_kv(enum kv_err err)
{
    switch (err) {
    case KV_OK:
        return MACHINE_OK;
    case KV_E_NOMEM:
        return MACHINE_E_NOMEM;
    case KV_E_CORRUPT:
        return MACHINE_E_CORRUPT;
    case KV_E_BUSY:
    case KV_E_IO:
        break;
    }
    return MACHINE_E_STORE;
}

#endif
