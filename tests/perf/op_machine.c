/* The state machine: 64 committed entries applied in one batch, each with a reply, as the member
 * that the client asked does it.
 */
#include <stdlib.h>

#include "proto/pb_arena.h"
#include "server/machine.h"
#include "tests/perf/keys.h"
#include "tests/perf/operations.h"

enum { KEYS = 10000, ARENA_BYTES = 16 << 20 };

static struct perf_keys keys;
static struct membership membership;
static struct machine *machine;
static struct arena requests;
static struct arena replies;
static uint32_t *numbers; /* of keys that the store has */
static uint32_t at;
static struct slice payloads[PERF_BATCH];

static void machine_begin(void)
{
    perf_keys_open(&keys, KEYS);
    numbers = perf_shuffled(&keys.chance, KEYS);
    membership_init(&membership);
    struct membership_member member = { .id = 1, .name = "n1", .roles = RAFT_VOTER };
    enum membership_err put = membership_put(&membership, &member);
    ASSERT(put == MEMBERSHIP_OK);
    struct machine_state state = { .revision = keys.revision };
    enum machine_err err = machine_open(&machine, keys.kv, &membership, &state);
    ASSERT(err == MACHINE_OK);
    arena_init(&requests, ARENA_BYTES);
    arena_init(&replies, ARENA_BYTES);
}

static void machine_end(void)
{
    machine_close(machine);
    membership_done(&membership);
    perf_keys_close(&keys);
    arena_done(&requests);
    arena_done(&replies);
    free(numbers);
}

/* ---- commands ---- */

static struct slice packed(const Holdfastpb__Command *command)
{
    struct slice payload;
    ASSERT(pb_arena_pack(&requests, &command->base, &payload));
    return payload;
}

static ProtobufCBinaryData bytes_of(struct slice s)
{
    return (ProtobufCBinaryData){ s.size, (uint8_t *)(uintptr_t)s.data };
}

static Etcdserverpb__PutRequest put_of(uint32_t number)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = bytes_of(perf_key(number));
    put.value = bytes_of(perf_value());
    return put;
}

static struct slice put_pack(uint32_t number)
{
    Etcdserverpb__PutRequest put = put_of(number);
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_PUT;
    command.put = &put;
    return packed(&command);
}

/* If the key is there, puts it. */
static struct slice txn_pack(uint32_t number)
{
    Etcdserverpb__PutRequest put = put_of(number);
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.key = put.key;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = 0;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = 1;
    txn.compare = (Etcdserverpb__Compare *[]){ &compare };
    txn.n_success = 1;
    txn.success = (Etcdserverpb__RequestOp *[]){ &op };
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    command.txn = &txn;
    return packed(&command);
}

/* ---- the operations ---- */

static void new_prepare(void)
{
    arena_reset(&requests);
    for (uint32_t i = 0; i < PERF_BATCH; i++)
        payloads[i] = put_pack(KEYS + at++ * 7919 % (100 * KEYS));
}

/* The newest version is in the store: the key does not come twice. */
static void stored_prepare(void)
{
    arena_reset(&requests);
    for (uint32_t i = 0; i < PERF_BATCH; i++)
        payloads[i] = put_pack(numbers[at++]);
}

/* A thousand keys: after the first rounds the newest version is in the memtable. */
static void hot_prepare(void)
{
    arena_reset(&requests);
    for (uint32_t i = 0; i < PERF_BATCH; i++)
        payloads[i] = put_pack(numbers[at++ % 1000]);
}

static void txn_prepare(void)
{
    arena_reset(&requests);
    for (uint32_t i = 0; i < PERF_BATCH; i++)
        payloads[i] = txn_pack(numbers[at++ % 1000]);
}

static void apply(void)
{
    enum kv_err begun = machine_batch_begin(machine);
    ASSERT(begun == KV_OK);
    for (uint32_t i = 0; i < PERF_BATCH; i++) {
        struct entry_header header = {
            .type = RAFT_ENTRY_COMMAND,
            .pos = { .term = 1, .index = machine_state(machine)->applied.index + 1 },
        };
        struct machine_reply reply = { .arena = &replies };
        enum machine_err err = machine_apply(machine, &header, payloads[i], &reply);
        ASSERT(err == MACHINE_OK && reply.error == ETCD_OK);
    }
    machine_batch_end(machine);
    arena_reset(&replies);
}

const struct perf_operation perf_machine_operations[] = {
    { .name = "apply-put-of-new-key",
      .rounds = 80,
      .counts_as = PERF_BATCH,
      .open = machine_begin,
      .prepare = new_prepare,
      .round = apply,
      .close = machine_end },
    { .name = "apply-put-of-stored-key",
      .rounds = 80,
      .counts_as = PERF_BATCH,
      .open = machine_begin,
      .prepare = stored_prepare,
      .round = apply,
      .close = machine_end },
    { .name = "apply-put-of-hot-key",
      .rounds = 80,
      .counts_as = PERF_BATCH,
      .open = machine_begin,
      .prepare = hot_prepare,
      .round = apply,
      .close = machine_end },
    { .name = "apply-txn-compare-put",
      .rounds = 80,
      .counts_as = PERF_BATCH,
      .open = machine_begin,
      .prepare = txn_prepare,
      .round = apply,
      .close = machine_end },
    { 0 },
};
