/* machine.h: the replicated state machine: committed commands in, a new state out.
 *
 * Deterministic (I5): nothing here reads a clock, chance, a local limit or a local error to decide
 * a result; what cannot be carried out here (memory, disk) stops the node instead. After each
 * entry a rolling hash covers every effect: equal on all replicas at equal index.
 *
 * Owner:    the node. Lifetime: open .. close.
 * Thread:   the loop's; nothing in it reads for longer than a slice: machine_apply says
 *           MACHINE_MORE and is called again with the same entry.
 * Errors:   machine_err other than MACHINE_OK and _MORE: stop the node.
 */
#ifndef SERVER_MACHINE_H
#define SERVER_MACHINE_H

#include "command.pb-c.h"
#include "proto/entry.h"
#include "server/etcd_error.h"
#include "server/membership.h"
#include "storage/kv.h"

enum { MACHINE_FEATURE_LEVEL_MAX = 1 };

#define MACHINE_ERRORS(X)                                                                        \
    X(MACHINE_OK, "ok")                                                                          \
    X(MACHINE_MORE, "not finished")                                                              \
    X(MACHINE_E_NOMEM, "out of memory while applying the log")                                   \
    X(MACHINE_E_STORE, "the store cannot be read while applying the log")                        \
    X(MACHINE_E_CORRUPT, "a row of the store fails its checksum while applying the log")         \
    X(MACHINE_E_UNKNOWN, "the log holds a command that this version does not know; install the " \
                         "version that the other members run")

#define MACHINE_ENUM_ENTRY(name, text) name,
enum machine_err { MACHINE_ERRORS(MACHINE_ENUM_ENTRY) };
#undef MACHINE_ENUM_ENTRY

const char *machine_strerror(enum machine_err err);

/* The result of a command for whoever waits on this node: built only when asked for. Responses
 * are in the arena or view the store until machine_batch_end. */
struct machine_reply {
    struct arena *arena;
    enum etcd_error error;
    union {
        Etcdserverpb__PutResponse *put;
        Etcdserverpb__DeleteRangeResponse *delete_range;
        Etcdserverpb__TxnResponse *txn;
        Etcdserverpb__CompactionResponse *compaction;
    };
};

/* What a flush publishes and a restart begins with. */
struct machine_state {
    struct raft_pos applied;
    int64_t revision;
    int64_t compact_revision; /* 0: nothing was compacted yet */
    uint64_t state_hash;
    uint32_t feature_level;
};

/* The same as clients are told: etcd starts at -1 (etcd: mvcc/kvstore.go, compactMainRev). */
static inline int64_t machine_compact_revision_shown(int64_t compact_revision)
{
    return compact_revision > 0 ? compact_revision : -1;
}

struct machine;

/* membership: borrowed and changed in place. */
enum machine_err machine_open(struct machine **ret_m, struct kv *kv, struct membership *membership,
                              const struct machine_state *state)
    __attribute__((warn_unused_result));
void machine_close(struct machine *m); /* NULL is fine */

const struct machine_state *machine_state(const struct machine *m);

/* How often the membership has changed since open. */
uint64_t machine_membership_changes(const struct machine *m);

/* Around one or more machine_apply: pins what reading needs. A freeze of the memtable falls
 * between batches. KV_E_BUSY: too many readers, again later. */
enum kv_err machine_batch_begin(struct machine *m) __attribute__((warn_unused_result));
void machine_batch_end(struct machine *m);

/* Applies the entry after machine_state's. reply may be NULL. MACHINE_MORE: the batch ends, and
 * the same entry comes again in the next one. */
enum machine_err machine_apply(struct machine *m, const struct entry_header *header,
                               struct slice payload, struct machine_reply *reply)
    __attribute__((warn_unused_result));

/* These payloads, at most KV_PREFETCH_MAX, are applied next: what puts among them will read comes
 * into the processor's cache. Changes nothing. */
void machine_prefetch(const struct machine *m, const struct slice *payloads, size_t count);

/* A transaction that only reads, over a view (etcd: Txn of IsTxnReadonly). */
struct range_context;
enum range_outcome machine_read_txn(struct range_context *context,
                                    const Etcdserverpb__TxnRequest *request,
                                    Etcdserverpb__TxnResponse **ret_response,
                                    enum etcd_error *ret_error, enum kv_err *ret_kv_err)
    __attribute__((warn_unused_result));

#endif
