#include "tests/support/machine_rig.h"

#include <criterion/criterion.h>

#include "proto/pb_arena.h"

void machine_rig_init(struct machine_rig *r)
{
    *r = (struct machine_rig){ .kv = NULL };
    store_rig_init(&r->store);
    cr_assert_eq(store_rig_open(&r->store), STORE_OK);
    cr_assert_eq(kv_open(&r->kv, r->store.store, 4), KV_OK);
    membership_init(&r->membership);
    struct membership_member member = { .id = 1, .name = "n1", .roles = RAFT_VOTER };
    cr_assert_eq(membership_put(&r->membership, &member), MEMBERSHIP_OK);
    struct machine_state state = { .revision = 1 };
    cr_assert_eq(machine_open(&r->machine, r->kv, &r->membership, &state), MACHINE_OK);
    arena_init(&r->arena, 64 << 20);
}

void machine_rig_done(struct machine_rig *r)
{
    machine_close(r->machine);
    membership_done(&r->membership);
    kv_close(r->kv);
    store_rig_done(&r->store);
    arena_done(&r->arena);
}

enum machine_err machine_rig_slice(struct machine_rig *r, const Holdfastpb__Command *command,
                                   struct machine_reply *reply)
{
    struct slice payload;
    cr_assert(pb_arena_pack(&r->arena, &command->base, &payload));
    struct entry_header header = {
        .type = RAFT_ENTRY_COMMAND,
        .pos = { .term = 1, .index = machine_state(r->machine)->applied.index + 1 },
    };
    cr_assert_eq(machine_batch_begin(r->machine), KV_OK);
    enum machine_err err = machine_apply(r->machine, &header, payload, reply);
    machine_batch_end(r->machine);
    return err;
}

enum machine_err machine_rig_apply(struct machine_rig *r, const Holdfastpb__Command *command,
                                   struct machine_reply *reply)
{
    enum machine_err err;
    do
        err = machine_rig_slice(r, command, reply);
    while (err == MACHINE_MORE);
    return err;
}

static enum etcd_error apply(struct machine_rig *r, const Holdfastpb__Command *command,
                             struct machine_reply *reply)
{
    *reply = (struct machine_reply){ .arena = &r->arena };
    cr_assert_eq(machine_rig_apply(r, command, reply), MACHINE_OK);
    return reply->error;
}

enum etcd_error machine_rig_put(struct machine_rig *r, const Etcdserverpb__PutRequest *put)
{
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_PUT;
    command.put = (Etcdserverpb__PutRequest *)put;
    struct machine_reply reply;
    return apply(r, &command, &reply);
}

enum etcd_error machine_rig_delete(struct machine_rig *r,
                                   const Etcdserverpb__DeleteRangeRequest *request,
                                   int64_t *ret_deleted)
{
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_DELETE_RANGE;
    command.delete_range = (Etcdserverpb__DeleteRangeRequest *)request;
    struct machine_reply reply;
    enum etcd_error error = apply(r, &command, &reply);
    if (error == ETCD_OK)
        *ret_deleted = reply.delete_range->deleted;
    return error;
}

enum etcd_error machine_rig_txn(struct machine_rig *r, const Etcdserverpb__TxnRequest *txn,
                                bool *ret_succeeded)
{
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    command.txn = (Etcdserverpb__TxnRequest *)txn;
    struct machine_reply reply;
    enum etcd_error error = apply(r, &command, &reply);
    if (error == ETCD_OK)
        *ret_succeeded = reply.txn->succeeded;
    return error;
}

enum etcd_error machine_rig_compact(struct machine_rig *r, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = revision;
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_COMPACTION;
    command.compaction = &request;
    struct machine_reply reply;
    return apply(r, &command, &reply);
}

void machine_rig_flush(struct machine_rig *r)
{
    cr_assert(kv_freeze(r->kv));
    struct store_flush flush = store_rig_flush_of(&r->store, kv_frozen(r->kv), NULL, 0);
    flush.state.revision = machine_state(r->machine)->revision;
    flush.state.compact_revision = machine_state(r->machine)->compact_revision;
    cr_assert_eq(store_rig_flush(&r->store, &flush), STORE_OK);
    kv_flushed(r->kv);
}

const char *machine_rig_value(struct machine_rig *r, const char *key)
{
    struct kv_view *view;
    cr_assert_eq(kv_view_open(r->kv, &view), KV_OK);
    struct kv_record record;
    bool found;
    cr_assert_eq(kv_view_get(view, slice_of_text(key), machine_state(r->machine)->revision, true,
                             &r->arena, &record, &found),
                 KV_OK);
    char *text = NULL;
    if (found) {
        text = arena_zalloc(&r->arena, record.value.size + 1);
        cr_assert_not_null(text);
        if (record.value.size > 0)
            memcpy(text, record.value.data, record.value.size);
    }
    kv_view_close(view);
    return text;
}
