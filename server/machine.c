#include "server/machine.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/varint.h"
#include "proto/pb_arena.h"
#include "server/machine_internal.h"
#include "server/membership_change.h"

enum {
    /* Keys that one slice of a delete looks at: well under a millisecond (I10). */
    DELETE_SLICE_KEYS = 500,
};

/* Not a limit that could decide a result: an entry that needs more stops the node. */
#define SCRATCH_BYTES_MAX ((size_t)8 << 30)

const char *machine_strerror(enum machine_err err)
{
#define MACHINE_TEXT(name, text) \
    case name:                   \
        return text;
    switch (err) {
        MACHINE_ERRORS(MACHINE_TEXT)
    }
#undef MACHINE_TEXT
    return "unknown error";
}

enum machine_err machine_open(struct machine **ret_m, struct kv *kv, struct membership *membership,
                              const struct machine_state *state)
{
    struct machine *m = calloc(1, sizeof *m);
    if (!m)
        return MACHINE_E_NOMEM;
    m->kv = kv;
    m->membership = membership;
    m->state = *state;
    arena_init(&m->scratch, SCRATCH_BYTES_MAX);
    *ret_m = m;
    return MACHINE_OK;
}

void machine_close(struct machine *m)
{
    if (!m)
        return;
    ASSERT(!m->view);
    arena_done(&m->scratch);
    free(m);
}

const struct machine_state *machine_state(const struct machine *m)
{
    return &m->state;
}

uint64_t machine_membership_changes(const struct machine *m)
{
    return m->membership_changes;
}

enum kv_err machine_batch_begin(struct machine *m)
{
    ASSERT(!m->view);
    return kv_view_open(m->kv, &m->view);
}

void machine_batch_end(struct machine *m)
{
    kv_view_close(m->view);
    m->view = NULL;
}

/* ---- commands ---- */

static struct machine_write write_begin(struct machine *m)
{
    return (struct machine_write){ .m = m, .revision = m->state.revision + 1 };
}

static void write_end(struct machine_write *w)
{
    if (w->sub > 0)
        w->m->state.revision = w->revision;
}

static enum machine_err apply_put(struct machine *m, const Etcdserverpb__PutRequest *r,
                                  struct machine_reply *reply)
{
    struct machine_write w = write_begin(m);
    enum etcd_error error;
    enum machine_err err = machine_check_put(&w, r, &error);
    if (err == MACHINE_OK && error == ETCD_OK)
        err = machine_put(&w, r, reply ? reply->arena : NULL, reply ? &reply->put : NULL);
    if (reply)
        reply->error = error != ETCD_OK ? error : reply->put ? ETCD_OK : ETCD_E_RESPONSE_TOO_LARGE;
    write_end(&w);
    return err;
}

static enum machine_err apply_delete_range(struct machine *m,
                                           const Etcdserverpb__DeleteRangeRequest *r,
                                           struct machine_reply *reply)
{
    struct machine_write w = write_begin(m);
    w.sub = (uint32_t)m->slice.deleted;
    enum machine_err err =
        machine_delete_range(&w, r, DELETE_SLICE_KEYS, &m->slice, reply ? reply->arena : NULL,
                             reply ? &reply->delete_range : NULL);
    if (err == MACHINE_MORE)
        return err; /* its revision shows when all of it is there */
    m->slice = (struct machine_delete){ 0 };
    if (reply)
        reply->error = reply->delete_range ? ETCD_OK : ETCD_E_RESPONSE_TOO_LARGE;
    write_end(&w);
    return err;
}

static enum machine_err apply_txn(struct machine *m, const Etcdserverpb__TxnRequest *r,
                                  struct machine_reply *reply)
{
    struct machine_write w = write_begin(m);
    enum etcd_error error = ETCD_OK;
    enum machine_err err =
        machine_txn(&w, r, reply ? reply->arena : NULL, reply ? &reply->txn : NULL, &error);
    if (reply)
        reply->error = error != ETCD_OK ? error : reply->txn ? ETCD_OK : ETCD_E_RESPONSE_TOO_LARGE;
    write_end(&w);
    return err;
}

static enum etcd_error compaction_check(const struct machine *m, int64_t revision)
{
    if (revision <= machine_compact_revision_shown(m->state.compact_revision))
        return ETCD_E_COMPACTED;
    return revision > m->state.revision ? ETCD_E_FUTURE_REVISION : ETCD_OK;
}

static void apply_compaction(struct machine *m, const Etcdserverpb__CompactionRequest *r,
                             struct machine_reply *reply)
{
    enum etcd_error error = compaction_check(m, r->revision);
    if (error == ETCD_OK) {
        m->state.compact_revision = r->revision;
        m->state.state_hash = checksum_u64(m->state.state_hash, (uint64_t)r->revision);
    }
    if (!reply)
        return;
    reply->error = error;
    if (error != ETCD_OK)
        return;
    reply->compaction = arena_alloc(reply->arena, sizeof *reply->compaction);
    if (reply->compaction) {
        etcdserverpb__compaction_response__init(reply->compaction);
        reply->compaction->header = range_header(reply->arena, m->state.revision);
    }
    if (!reply->compaction || !reply->compaction->header)
        reply->error = ETCD_E_RESPONSE_TOO_LARGE;
}

/* The leader says which disk is an added member's: once (I7a; formation.c, step 8). */
static enum membership_err record_incarnation(struct machine *m,
                                              const struct membership_member *known,
                                              ProtobufCBinaryData incarnation)
{
    if (known->has_incarnation || incarnation.len != MEMBERSHIP_INCARNATION_BYTES)
        return MEMBERSHIP_OK;
    struct membership_member member = *known;
    member.has_incarnation = true;
    memcpy(member.incarnation, incarnation.data, MEMBERSHIP_INCARNATION_BYTES);
    m->membership_changes++;
    return membership_put(m->membership, &member);
}

/* What does not fit a membership is left out alike on every replica. */
static enum machine_err apply_member_attributes(struct machine *m,
                                                const Holdfastpb__MemberAttributes *r)
{
    const struct membership_member *known = membership_by_id(m->membership, r->member_id);
    if (!known || r->n_client_urls > MEMBERSHIP_URLS_MAX)
        return MACHINE_OK;
    if (r->incarnation.len > 0) {
        enum membership_err noted = record_incarnation(m, known, r->incarnation);
        return noted == MEMBERSHIP_E_NOMEM ? MACHINE_E_NOMEM : MACHINE_OK;
    }
    struct membership_member member = *known;
    member.name = r->name;
    member.client.count = (uint32_t)r->n_client_urls;
    for (size_t i = 0; i < r->n_client_urls; i++)
        member.client.urls[i] = r->client_urls[i];
    m->membership_changes++;
    enum membership_err err = membership_put(m->membership, &member);
    return err == MEMBERSHIP_E_NOMEM ? MACHINE_E_NOMEM : MACHINE_OK;
}

static enum machine_err apply_feature_level(struct machine *m, const Holdfastpb__FeatureLevel *r)
{
    if (r->level > MACHINE_FEATURE_LEVEL_MAX)
        return MACHINE_E_UNKNOWN;
    if (r->level > m->state.feature_level)
        m->state.feature_level = r->level;
    return MACHINE_OK;
}

static enum machine_err apply_command(struct machine *m, const Holdfastpb__Command *command,
                                      struct machine_reply *reply)
{
    switch (command->command_case) {
    case HOLDFASTPB__COMMAND__COMMAND_PUT:
        return apply_put(m, command->put, reply);
    case HOLDFASTPB__COMMAND__COMMAND_DELETE_RANGE:
        return apply_delete_range(m, command->delete_range, reply);
    case HOLDFASTPB__COMMAND__COMMAND_TXN:
        return apply_txn(m, command->txn, reply);
    case HOLDFASTPB__COMMAND__COMMAND_COMPACTION:
        apply_compaction(m, command->compaction, reply);
        return MACHINE_OK;
    case HOLDFASTPB__COMMAND__COMMAND_MEMBER_ATTRIBUTES:
        return apply_member_attributes(m, command->member_attributes);
    case HOLDFASTPB__COMMAND__COMMAND_FEATURE_LEVEL:
        return apply_feature_level(m, command->feature_level);
    case HOLDFASTPB__COMMAND__COMMAND__NOT_SET:
    case _HOLDFASTPB__COMMAND__COMMAND__CASE_IS_INT_SIZE:
        break;
    }
    return MACHINE_E_UNKNOWN;
}

static enum machine_err apply_payload(struct machine *m, struct slice payload,
                                      struct machine_reply *reply)
{
    Holdfastpb__Command *command = (Holdfastpb__Command *)pb_arena_unpack_within(
        &m->scratch, &holdfastpb__command__descriptor, payload, PB_LOG_DEPTH_MAX);
    /* The entry's checksum held, so its bytes are what the leader proposed, which it checked. */
    return command ? apply_command(m, command, reply) : MACHINE_E_UNKNOWN;
}

static enum machine_err apply_config(struct machine *m, uint64_t index, struct slice payload)
{
    enum membership_err err = membership_apply(m->membership, payload, index);
    if (err == MEMBERSHIP_E_NOMEM)
        return MACHINE_E_NOMEM;
    if (err != MEMBERSHIP_OK)
        return MACHINE_E_UNKNOWN;
    m->membership_changes++;
    m->state.state_hash = checksum(payload, m->state.state_hash);
    return MACHINE_OK;
}

static enum machine_err apply_entry(struct machine *m, const struct entry_header *header,
                                    struct slice payload, struct machine_reply *reply)
{
    switch (header->type) {
    case RAFT_ENTRY_NOOP:
        return MACHINE_OK;
    case RAFT_ENTRY_COMMAND:
        return apply_payload(m, payload, reply);
    case RAFT_ENTRY_CONFIG:
        return apply_config(m, header->pos.index, payload);
    }
    return MACHINE_E_UNKNOWN;
}

/* Length and bytes of the field of this number, which has to come first. */
static bool first_field(struct slice message, uint32_t number, struct slice *ret_field)
{
    enum { WIRE_BYTES = 2 };
    const uint8_t *end = message.data + message.size;
    uint64_t size;
    if (message.size == 0 || message.data[0] != (number << 3 | WIRE_BYTES))
        return false;
    const uint8_t *at = varint_get(message.data + 1, end, &size);
    if (!at || size > (size_t)(end - at))
        return false;
    *ret_field = slice_of(at, size);
    return true;
}

/* Without unpacking it: Command.put, PutRequest.key, each field 1 and written first. */
static bool put_key(struct slice payload, struct slice *ret_key)
{
    struct slice put;
    return first_field(payload, 1, &put) && first_field(put, 1, ret_key);
}

void machine_prefetch(const struct machine *m, const struct slice *payloads, size_t count)
{
    struct slice keys[KV_PREFETCH_MAX];
    size_t key_count = 0;
    ASSERT(count <= KV_PREFETCH_MAX);
    for (size_t i = 0; i < count; i++)
        key_count += put_key(payloads[i], &keys[key_count]);
    kv_prefetch(m->kv, keys, key_count);
}

enum machine_err machine_apply(struct machine *m, const struct entry_header *header,
                               struct slice payload, struct machine_reply *reply)
{
    ASSERT(m->view);
    ASSERT(header->pos.index == m->state.applied.index + 1);
    ASSERT(header->pos.term >= m->state.applied.term);
    enum machine_err err = apply_entry(m, header, payload, reply);
    if (err == MACHINE_MORE)
        return err; /* the scratch arena holds where to go on */
    arena_reset(&m->scratch);
    if (err != MACHINE_OK)
        return err;
    m->state.applied = header->pos;
    m->state.state_hash = checksum_u64(m->state.state_hash, header->pos.index);
    return MACHINE_OK;
}
