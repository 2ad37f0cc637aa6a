/* range.h: answers a Range over a view: options, sorting, paging, counting.
 *
 * Pure reading: the loop runs small ones, a job the rest. Source of the semantics:
 * etcd: server/etcdserver/txn/range.go.
 * Owner:    the response and its arrays are in the arena; keys and values are views that live as
 *           long as the kv_view and the arena both do.
 * Thread:   the view's. Bounds: steps_max keys are visited, and one for each range, and as many
 *           again for counting the rest of one that is limited (RANGE_TOO_LONG: run it in a job);
 *           the arena bounds the answer (RANGE_TOO_LARGE).
 */
#ifndef SERVER_RANGE_H
#define SERVER_RANGE_H

#include "rpc.pb-c.h"
#include "server/etcd_error.h"
#include "storage/kv.h"

enum range_outcome {
    RANGE_DONE,
    RANGE_REFUSED,   /* *ret_error says why */
    RANGE_TOO_LONG,  /* steps_max is spent */
    RANGE_TOO_LARGE, /* the arena is full */
    RANGE_FAILED,    /* the store cannot be read: *ret_kv_err, the node stops */
};

struct range_context {
    struct kv_view *view;
    struct arena *arena;
    int64_t revision; /* of the newest change that may be seen */
    int64_t compact_revision;
    uint64_t steps_max; /* left to take; UINT64_MAX in a job */
    bool on_loop;       /* this is the loop's thread: it counts faster (storage/kv.h) */
    const int64_t
        *count_ahead; /* of the one range that is executed, by range_count_ahead; or NULL */
};

/* What a page has to say of its whole range, for a job that cannot ask the memtables as the loop
 * can. -1: it is not needed, or takes long here too. On the loop; no cursor of the view is open. */
int64_t range_count_ahead(struct range_context *context, const Etcdserverpb__RangeRequest *request);

/* Spends context->steps_max. */
enum range_outcome range_execute(struct range_context *context,
                                 const Etcdserverpb__RangeRequest *request,
                                 Etcdserverpb__RangeResponse **ret_response,
                                 enum etcd_error *ret_error, enum kv_err *ret_kv_err)
    __attribute__((warn_unused_result));

/* One record as clients see it, in the arena; NULL when that is full. */
Mvccpb__KeyValue *range_key_value(struct arena *arena, const struct kv_record *record);

/* A response header with the revision; the service fills in the rest. NULL: the arena is full. */
Etcdserverpb__ResponseHeader *range_header(struct arena *arena, int64_t revision);

#endif
