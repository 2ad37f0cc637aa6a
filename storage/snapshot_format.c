#include "storage/snapshot_format.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "proto/pb_arena.h"
#include "snapshot.pb-c.h"
#include "storage/rev_tree.h"
#include "storage/store_write.h"

enum {
    AT_SUM = 0,
    AT_MAGIC = 8,
    AT_FORMAT = 16,
    AT_FLAGS = 20,
    AT_ID = 24,
    AT_SEQ = 32,
    AT_META_BYTES = 40,
    AT_ROW_BYTES = 44,
    AT_ROWS_TOTAL = 48,
    AT_ROW_BYTES_TOTAL = 56,
    AT_CHAIN = 64,
    AT_ZERO = 72,
};

enum {
    ROW_AT_FORMAT = 0,
    ROW_AT_FLAGS = 1,
    ROW_AT_ZERO = 2,
    ROW_AT_KEY_BYTES = 4,
    ROW_AT_VALUE_BYTES = 8,
    ROW_AT_SUB = 12,
    ROW_AT_REVISION = 16,
    ROW_AT_CREATE = 24,
    ROW_AT_VERSION = 32,
    ROW_AT_LEASE = 40,
    ROW_AT_SUM = 48,
};

enum { MAGIC_BYTES = 8, ROW_FORMAT = 1, ROW_TOMBSTONE = 1 };

static const char magic[MAGIC_BYTES + 1] = "HFSNAPCH";

const char *snapshot_strerror(enum snapshot_err err)
{
#define SNAPSHOT_TEXT(name, text) \
    case name:                    \
        return text;
    switch (err) {
        SNAPSHOT_ERRORS(SNAPSHOT_TEXT)
    }
#undef SNAPSHOT_TEXT
    return "unknown error";
}

enum snapshot_err snapshot_err_of_store(enum store_err err)
{
    switch (err) {
    case STORE_OK:
        return SNAPSHOT_OK;
    case STORE_E_NOMEM:
        return SNAPSHOT_E_NOMEM;
    case STORE_E_NOSPACE:
        return SNAPSHOT_E_NOSPACE;
    case STORE_E_CORRUPT:
        return SNAPSHOT_E_CORRUPT;
    case STORE_E_VERSION:
        return SNAPSHOT_E_VERSION;
    case STORE_E_FOREIGN:
        return SNAPSHOT_E_FOREIGN;
    case STORE_E_IO:
    case STORE_E_GONE:
        break;
    }
    return SNAPSHOT_E_IO;
}

/* ---- chunks ---- */

uint64_t snapshot_chain_start(uint64_t id)
{
    return checksum_u64(0, id);
}

static uint64_t chunk_sum(struct slice chunk)
{
    return checksum(slice_of(chunk.data + AT_MAGIC, chunk.size - AT_MAGIC), 0);
}

void snapshot_chunk_seal(uint8_t *to, struct snapshot_chunk_header *header, uint64_t chain_before)
{
    ASSERT(header->meta_bytes <= SNAPSHOT_META_BYTES_MAX);
    ASSERT(header->row_bytes <= SNAPSHOT_ROW_BYTES_MAX);
    size_t body_bytes = (size_t)header->meta_bytes + header->row_bytes;
    header->chain = checksum(slice_of(to + SNAPSHOT_HEADER_BYTES, body_bytes), chain_before);
    memset(to, 0, SNAPSHOT_HEADER_BYTES);
    memcpy(to + AT_MAGIC, magic, MAGIC_BYTES);
    put_le32(to + AT_FORMAT, SNAPSHOT_FORMAT);
    put_le32(to + AT_FLAGS, header->flags);
    put_le64(to + AT_ID, header->id);
    put_le64(to + AT_SEQ, header->seq);
    put_le32(to + AT_META_BYTES, header->meta_bytes);
    put_le32(to + AT_ROW_BYTES, header->row_bytes);
    put_le64(to + AT_ROWS_TOTAL, header->rows_total);
    put_le64(to + AT_ROW_BYTES_TOTAL, header->row_bytes_total);
    put_le64(to + AT_CHAIN, header->chain);
    put_le64(to + AT_SUM, chunk_sum(slice_of(to, SNAPSHOT_HEADER_BYTES + body_bytes)));
}

/* What one that was written by this format always is. */
static bool header_is_sane(const struct snapshot_chunk_header *h, size_t size)
{
    bool is_first = (h->flags & SNAPSHOT_FIRST) != 0;
    return (h->flags & ~(unsigned)(SNAPSHOT_FIRST | SNAPSHOT_LAST)) == 0 &&
           is_first == (h->seq == 0) && is_first == (h->meta_bytes > 0) &&
           h->meta_bytes <= SNAPSHOT_META_BYTES_MAX && h->row_bytes <= SNAPSHOT_ROW_BYTES_MAX &&
           h->row_bytes <= h->row_bytes_total &&
           size == SNAPSHOT_HEADER_BYTES + (size_t)h->meta_bytes + h->row_bytes;
}

enum snapshot_err snapshot_chunk_decode(struct slice in, struct snapshot_chunk_header *ret_header,
                                        struct slice *ret_meta, struct slice *ret_rows)
{
    if (in.size < SNAPSHOT_HEADER_BYTES || in.size > SNAPSHOT_CHUNK_BYTES_MAX ||
        memcmp(in.data + AT_MAGIC, magic, MAGIC_BYTES) != 0 ||
        get_le64(in.data + AT_SUM) != chunk_sum(in))
        return SNAPSHOT_E_BAD;
    /* Only now, behind the checksum, is an odd number somebody's newer version. */
    if (get_le32(in.data + AT_FORMAT) != SNAPSHOT_FORMAT)
        return SNAPSHOT_E_VERSION;
    struct snapshot_chunk_header header = {
        .id = get_le64(in.data + AT_ID),
        .seq = get_le64(in.data + AT_SEQ),
        .flags = get_le32(in.data + AT_FLAGS),
        .meta_bytes = get_le32(in.data + AT_META_BYTES),
        .row_bytes = get_le32(in.data + AT_ROW_BYTES),
        .rows_total = get_le64(in.data + AT_ROWS_TOTAL),
        .row_bytes_total = get_le64(in.data + AT_ROW_BYTES_TOTAL),
        .chain = get_le64(in.data + AT_CHAIN),
    };
    if (!header_is_sane(&header, in.size) || get_le64(in.data + AT_ZERO) != 0)
        return SNAPSHOT_E_BAD;
    *ret_header = header;
    *ret_meta = slice_of(in.data + SNAPSHOT_HEADER_BYTES, header.meta_bytes);
    *ret_rows = slice_of(in.data + SNAPSHOT_HEADER_BYTES + header.meta_bytes, header.row_bytes);
    return SNAPSHOT_OK;
}

bool snapshot_chain_holds(const struct snapshot_chunk_header *header, struct slice meta,
                          struct slice rows, uint64_t chain_before)
{
    ASSERT(rows.data == meta.data + meta.size); /* as snapshot_chunk_decode gave them out */
    return checksum(slice_of(meta.data, meta.size + rows.size), chain_before) == header->chain;
}

/* ---- meta ---- */

bool snapshot_meta_encode(const struct snapshot_meta *meta, struct arena *arena,
                          struct slice *ret_bytes)
{
    const struct store_state *state = &meta->state;
    Holdfastpb__SnapshotMeta m = HOLDFASTPB__SNAPSHOT_META__INIT;
    m.cluster_id = meta->cluster_id;
    m.applied_index = state->applied.index;
    m.applied_term = state->applied.term;
    m.revision = state->revision;
    m.compact_revision = state->compact_revision;
    m.compacted_revision = state->compacted_revision;
    m.state_hash = state->state_hash;
    m.feature_level = state->feature_level;
    m.membership.data = (uint8_t *)(uintptr_t)state->membership.data; /* packing only reads */
    m.membership.len = state->membership.size;
    m.bytes_estimate = meta->bytes_estimate;
    size_t size = holdfastpb__snapshot_meta__get_packed_size(&m);
    uint8_t *bytes = size <= SNAPSHOT_META_BYTES_MAX ? arena_alloc(arena, size) : NULL;
    if (bytes == NULL)
        return false;
    *ret_bytes = slice_of(bytes, holdfastpb__snapshot_meta__pack(&m, bytes));
    return true;
}

static bool state_is_sane(const struct store_state *state)
{
    return state->applied.index > 0 && state->applied.term > 0 && state->revision > 0 &&
           state->compacted_revision >= 0 && state->compacted_revision <= state->compact_revision &&
           state->compact_revision <= state->revision &&
           state->membership.size <= STORE_MEMBERSHIP_BYTES_MAX;
}

enum snapshot_err snapshot_meta_decode(struct slice bytes, struct arena *arena,
                                       struct snapshot_meta *ret_meta)
{
    if (bytes.size > SNAPSHOT_META_BYTES_MAX)
        return SNAPSHOT_E_BAD;
    const Holdfastpb__SnapshotMeta *m = (const Holdfastpb__SnapshotMeta *)pb_arena_unpack(
        arena, &holdfastpb__snapshot_meta__descriptor, bytes);
    if (m == NULL)
        return SNAPSHOT_E_BAD;
    struct raft_pos applied = { .term = m->applied_term, .index = m->applied_index };
    *ret_meta = (struct snapshot_meta){
        .cluster_id = m->cluster_id,
        .state = { .applied = applied,
                   .revision = m->revision,
                   .compact_revision = m->compact_revision,
                   .compacted_revision = m->compacted_revision,
                   .state_hash = m->state_hash,
                   .feature_level = m->feature_level,
                   .membership = slice_of(m->membership.data, m->membership.len),
                   .log_start = applied },
        .bytes_estimate = m->bytes_estimate,
    };
    return state_is_sane(&ret_meta->state) ? SNAPSHOT_OK : SNAPSHOT_E_BAD;
}

/* ---- rows ---- */

void snapshot_row_encode(uint8_t *to, const struct kv_record *record)
{
    to[ROW_AT_FORMAT] = ROW_FORMAT;
    to[ROW_AT_FLAGS] = record->tombstone ? ROW_TOMBSTONE : 0;
    put_le16(to + ROW_AT_ZERO, 0);
    put_le32(to + ROW_AT_KEY_BYTES, (uint32_t)record->key.size);
    put_le32(to + ROW_AT_VALUE_BYTES, (uint32_t)record->value.size);
    put_le32(to + ROW_AT_SUB, record->mod.sub);
    put_le64(to + ROW_AT_REVISION, (uint64_t)record->mod.main);
    put_le64(to + ROW_AT_CREATE, (uint64_t)record->create_revision);
    put_le64(to + ROW_AT_VERSION, (uint64_t)record->version);
    put_le64(to + ROW_AT_LEASE, (uint64_t)record->lease);
    put_le64(to + ROW_AT_SUM, record->sum);
}

enum snapshot_err snapshot_row_decode(const uint8_t *in, struct kv_record *ret_record)
{
    uint32_t key_bytes = get_le32(in + ROW_AT_KEY_BYTES);
    uint32_t value_bytes = get_le32(in + ROW_AT_VALUE_BYTES);
    if (in[ROW_AT_FORMAT] != ROW_FORMAT || (in[ROW_AT_FLAGS] & ~ROW_TOMBSTONE) != 0 ||
        get_le16(in + ROW_AT_ZERO) != 0)
        return SNAPSHOT_E_BAD;
    if (key_bytes == 0 || key_bytes > REV_TREE_RECORD_BYTES_MAX ||
        value_bytes > REV_TREE_RECORD_BYTES_MAX - key_bytes)
        return SNAPSHOT_E_BAD;
    *ret_record = (struct kv_record){
        .key = slice_of(NULL, key_bytes),
        .value = slice_of(NULL, value_bytes),
        .mod = { .main = (int64_t)get_le64(in + ROW_AT_REVISION),
                 .sub = get_le32(in + ROW_AT_SUB) },
        .create_revision = (int64_t)get_le64(in + ROW_AT_CREATE),
        .version = (int64_t)get_le64(in + ROW_AT_VERSION),
        .lease = (int64_t)get_le64(in + ROW_AT_LEASE),
        .tombstone = (in[ROW_AT_FLAGS] & ROW_TOMBSTONE) != 0,
        .value_bytes = value_bytes,
        .sum = get_le64(in + ROW_AT_SUM),
    };
    bool is_sane = ret_record->mod.main > 0 && ret_record->create_revision >= 0 &&
                   ret_record->create_revision <= ret_record->mod.main && ret_record->version >= 0;
    return is_sane ? SNAPSHOT_OK : SNAPSHOT_E_BAD;
}
