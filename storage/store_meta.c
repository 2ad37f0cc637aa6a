#include "storage/store_meta.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "proto/pb_arena.h"
#include "state.pb-c.h"
#include "storage/store_internal.h"

enum { AT_SUM = 0, AT_REVISION = 8, AT_MESSAGE = 16 };

static const char row_name[] = "store";

static MDB_val row_key(void)
{
    /* LMDB takes keys without const and does not write to them. */
    return (MDB_val){ .mv_size = sizeof row_name - 1, .mv_data = (void *)(uintptr_t)row_name };
}

/* ---- writing ---- */

static Holdfastpb__StoreMeta message_of(const struct store_meta *meta)
{
    const struct store_state *state = &meta->state;
    Holdfastpb__StoreMeta m = HOLDFASTPB__STORE_META__INIT;
    m.format = STORE_FORMAT;
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
    m.log_start_index = state->log_start.index;
    m.log_start_term = state->log_start.term;
    m.next_layer_id = meta->next_layer_id;
    return m;
}

enum store_err store_meta_put(MDB_txn *txn, MDB_dbi dbi, const struct store_meta *meta)
{
    const struct store_state *state = &meta->state;
    ASSERT(state->term_start_count <= STORE_TERM_STARTS_MAX);
    Holdfastpb__StoreMeta m = message_of(meta);
    Holdfastpb__TermStart starts[STORE_TERM_STARTS_MAX];
    Holdfastpb__TermStart *start_pointers[STORE_TERM_STARTS_MAX];
    for (uint32_t i = 0; i < state->term_start_count; i++) {
        starts[i] = (Holdfastpb__TermStart)HOLDFASTPB__TERM_START__INIT;
        starts[i].term = state->term_starts[i].term;
        starts[i].first_index = state->term_starts[i].first_index;
        start_pointers[i] = &starts[i];
    }
    m.term_starts = start_pointers;
    m.n_term_starts = state->term_start_count;

    size_t message_bytes = holdfastpb__store_meta__get_packed_size(&m);
    ASSERT(message_bytes <= STORE_META_BYTES_MAX - AT_MESSAGE);
    MDB_val k = row_key();
    MDB_val v = { .mv_size = AT_MESSAGE + message_bytes };
    int rc = mdb_put(txn, dbi, &k, &v, MDB_RESERVE);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    uint8_t *row = v.mv_data;
    put_le64(row + AT_REVISION, (uint64_t)state->revision);
    holdfastpb__store_meta__pack(&m, row + AT_MESSAGE);
    put_le64(row + AT_SUM, checksum(slice_of(row + AT_REVISION, v.mv_size - AT_REVISION), 0));
    return STORE_OK;
}

/* ---- reading ---- */

static enum store_err row_get(MDB_txn *txn, MDB_dbi dbi, struct slice *ret_row)
{
    MDB_val k = row_key();
    MDB_val v;
    int rc = mdb_get(txn, dbi, &k, &v);
    if (rc == MDB_NOTFOUND)
        return STORE_E_CORRUPT;
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    const uint8_t *row = v.mv_data;
    if (v.mv_size < AT_MESSAGE || v.mv_size > STORE_META_BYTES_MAX)
        return STORE_E_CORRUPT;
    if (checksum(slice_of(row + AT_REVISION, v.mv_size - AT_REVISION), 0) != get_le64(row + AT_SUM))
        return STORE_E_CORRUPT;
    *ret_row = slice_of(row, v.mv_size);
    return STORE_OK;
}

static bool term_starts_get(const Holdfastpb__StoreMeta *m, struct store_state *state)
{
    if (m->n_term_starts > STORE_TERM_STARTS_MAX)
        return false;
    uint64_t index = state->log_start.index;
    uint64_t term = 0;
    for (size_t i = 0; i < m->n_term_starts; i++) {
        const Holdfastpb__TermStart *start = m->term_starts[i];
        if (start->first_index <= index || start->term <= term)
            return false;
        index = start->first_index;
        term = start->term;
        state->term_starts[i] = (struct raft_term_start){ term, index };
    }
    state->term_start_count = (uint32_t)m->n_term_starts;
    return index <= state->applied.index && term <= state->applied.term &&
           (m->n_term_starts > 0) == (state->applied.index > state->log_start.index);
}

/* The checksum says that the bytes are what was written; this, that the writer made sense. */
static bool state_get(const Holdfastpb__StoreMeta *m, struct store_state *state)
{
    *state = (struct store_state){
        .applied = { .term = m->applied_term, .index = m->applied_index },
        .revision = m->revision,
        .compact_revision = m->compact_revision,
        .compacted_revision = m->compacted_revision,
        .state_hash = m->state_hash,
        .feature_level = m->feature_level,
        .membership = slice_of(m->membership.data, m->membership.len),
        .log_start = { .term = m->log_start_term, .index = m->log_start_index },
    };
    return state->compacted_revision >= 0 && state->compacted_revision <= state->compact_revision &&
           state->compact_revision <= state->revision && state->revision > 0 &&
           state->log_start.index <= state->applied.index &&
           state->log_start.term <= state->applied.term && term_starts_get(m, state);
}

enum store_err store_meta_get(MDB_txn *txn, MDB_dbi dbi, struct arena *arena,
                              struct store_meta *ret_meta)
{
    struct slice row;
    enum store_err err = row_get(txn, dbi, &row);
    if (err != STORE_OK)
        return err;
    const Holdfastpb__StoreMeta *m = (const Holdfastpb__StoreMeta *)pb_arena_unpack(
        arena, &holdfastpb__store_meta__descriptor,
        slice_of(row.data + AT_MESSAGE, row.size - AT_MESSAGE));
    if (m == NULL)
        return STORE_E_CORRUPT;
    if (m->format > STORE_FORMAT)
        return STORE_E_VERSION;
    ret_meta->format = m->format;
    ret_meta->cluster_id = m->cluster_id;
    ret_meta->next_layer_id = m->next_layer_id;
    if (m->format == 0 || !state_get(m, &ret_meta->state) ||
        m->revision != (int64_t)get_le64(row.data + AT_REVISION))
        return STORE_E_CORRUPT;
    return STORE_OK;
}

enum store_err store_meta_revision(MDB_txn *txn, MDB_dbi dbi, int64_t *ret_revision)
{
    struct slice row;
    enum store_err err = row_get(txn, dbi, &row);
    if (err == STORE_OK)
        *ret_revision = (int64_t)get_le64(row.data + AT_REVISION);
    return err;
}
