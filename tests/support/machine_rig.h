/* machine_rig.h: a state machine over a store of its own, fed with commands, for tests. Calls
 * assert that they succeed. */
#ifndef TESTS_SUPPORT_MACHINE_RIG_H
#define TESTS_SUPPORT_MACHINE_RIG_H

#include "server/machine_internal.h"
#include "tests/support/request_maker.h"
#include "tests/support/store_rig.h"

struct machine_rig {
    struct store_rig store;
    struct kv *kv;
    struct membership membership; /* member 1, "n1" */
    struct machine *machine;
    struct arena arena; /* of requests and replies */
};

void machine_rig_init(struct machine_rig *r);
void machine_rig_done(struct machine_rig *r);

/* In a batch of its own; MACHINE_MORE comes back to the caller. reply may be NULL. */
enum machine_err machine_rig_slice(struct machine_rig *r, const Holdfastpb__Command *command,
                                   struct machine_reply *reply);
/* To its end; views in the reply are dead then, so only its numbers count. */
enum machine_err machine_rig_apply(struct machine_rig *r, const Holdfastpb__Command *command,
                                   struct machine_reply *reply);

enum etcd_error machine_rig_put(struct machine_rig *r, const Etcdserverpb__PutRequest *put);
enum etcd_error machine_rig_delete(struct machine_rig *r,
                                   const Etcdserverpb__DeleteRangeRequest *request,
                                   int64_t *ret_deleted);
enum etcd_error machine_rig_txn(struct machine_rig *r, const Etcdserverpb__TxnRequest *txn,
                                bool *ret_succeeded);
enum etcd_error machine_rig_compact(struct machine_rig *r, int64_t revision);

/* All of it into the store; the memtable goes. */
void machine_rig_flush(struct machine_rig *r);

/* The value of a key now, in the arena; NULL: absent. */
const char *machine_rig_value(struct machine_rig *r, const char *key);

#endif
