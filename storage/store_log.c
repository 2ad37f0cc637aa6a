/* The log tree: (index (8, BE) | chunk (4, BE)) -> the canonical entry, cut so that a row stays
 * within one page. An entry carries its own checksums (proto/entry.h). */
#include "base/assert.h"
#include "base/bytes.h"
#include "proto/entry.h"
#include "storage/store_write.h"

enum { ROW_AT_CHUNK = 8, ROW_KEY_BYTES = 12, CHUNK_BYTES = 4080, TRIM_ROWS = 64 };

static void row_key_put(uint8_t *key, uint64_t index, uint32_t chunk)
{
    put_be64(key, index);
    put_be32(key + ROW_AT_CHUNK, chunk);
}

/* ---- the terms of (log_start, applied] ---- */

/* Lets go of everything up to log_start. The first start that stays begins right after it. */
static void term_starts_trim(struct store_state *state)
{
    uint64_t first_index = state->log_start.index + 1;
    uint32_t gone = 0;
    while (gone + 1 < state->term_start_count &&
           state->term_starts[gone + 1].first_index <= first_index)
        gone++;
    if (state->log_start.index >= state->applied.index)
        gone = state->term_start_count;
    state->term_start_count -= gone;
    memmove(state->term_starts, state->term_starts + gone,
            state->term_start_count * sizeof state->term_starts[0]);
    if (state->term_start_count > 0 && state->term_starts[0].first_index < first_index)
        state->term_starts[0].first_index = first_index;
}

static uint64_t term_at(const struct store_state *state, uint64_t index)
{
    if (index == state->log_start.index)
        return state->log_start.term;
    uint32_t i = state->term_start_count;
    while (i > 0 && state->term_starts[i - 1].first_index > index)
        i--;
    ASSERT(i > 0);
    return state->term_starts[i - 1].term;
}

static void log_start_raise(struct store_state *state, uint64_t index)
{
    ASSERT(index >= state->log_start.index);
    ASSERT(index <= state->applied.index);
    state->log_start = (struct raft_pos){ .term = term_at(state, index), .index = index };
    term_starts_trim(state);
}

/* Past the cap the log gives up its oldest term; the trim removes the rows. */
static void term_starts_extend(struct store_state *state, struct raft_pos pos)
{
    uint32_t count = state->term_start_count;
    if (count > 0 && state->term_starts[count - 1].term == pos.term) {
        state->applied = pos;
        return;
    }
    if (count == STORE_TERM_STARTS_MAX)
        log_start_raise(state, state->term_starts[1].first_index - 1);
    state->term_starts[state->term_start_count++] =
        (struct raft_term_start){ .term = pos.term, .first_index = pos.index };
    state->applied = pos;
}

void store_log_begin(struct raft_pos pos, struct store_state *state)
{
    ASSERT(pos.index >= state->applied.index);
    ASSERT(pos.term >= state->applied.term);
    if (pos.index == state->applied.index)
        return;
    state->log_start = pos;
    state->applied = pos;
    state->term_start_count = 0;
}

/* ---- writing ---- */

static enum store_err entry_write(struct store_writer *w, const struct raft_entry *entry)
{
    uint32_t chunk = 0;
    for (size_t offset = 0; offset < entry->bytes.size; offset += CHUNK_BYTES) {
        size_t left = entry->bytes.size - offset;
        size_t size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        uint8_t key[ROW_KEY_BYTES];
        row_key_put(key, entry->pos.index, chunk++);
        enum store_err err = store_writer_reserve(w, store_row_dirty_bytes(size));
        uint8_t *room;
        bool is_last; /* an entry has one form: what stands there has as many rows */
        if (err == STORE_OK)
            err = store_row_append(w->txn, w->store->trees.log, slice_of(key, sizeof key), size,
                                   &room, &is_last);
        if (err != STORE_OK)
            return err;
        memcpy(room, entry->bytes.data + offset, size);
    }
    return STORE_OK;
}

enum store_err store_log_append(struct store_writer *w, const struct raft_entry *entry,
                                struct store_state *state)
{
    ASSERT(entry->pos.index == state->applied.index + 1);
    ASSERT(entry->pos.term >= state->applied.term);
    enum store_err err = entry_write(w, entry);
    if (err == STORE_OK)
        term_starts_extend(state, entry->pos);
    return err;
}

/* Removes the first rows of the log, a few at most, as far as they are of entries below
 * keep_index; ret_bytes is what that dirtied, 0 when there were none. */
static int first_rows_remove(MDB_cursor *cursor, uint64_t keep_index, uint64_t *ret_bytes)
{
    MDB_val k;
    MDB_val v;
    *ret_bytes = 0;
    for (int i = 0; i < TRIM_ROWS; i++) {
        int rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
        if (rc == MDB_NOTFOUND)
            break;
        if (rc != MDB_SUCCESS)
            return rc;
        if (k.mv_size != ROW_KEY_BYTES)
            return MDB_CORRUPTED;
        if (get_be64(k.mv_data) >= keep_index)
            break;
        *ret_bytes += store_row_dirty_bytes(v.mv_size);
        rc = mdb_cursor_del(cursor, 0);
        if (rc != MDB_SUCCESS)
            return rc;
    }
    return MDB_SUCCESS;
}

/* log_start moves before the rows go: a commit between them leaves rows that nobody reads and
 * the next trim finds, as it always begins at the first row. */
enum store_err store_log_trim(struct store_writer *w, uint64_t keep_index)
{
    if (keep_index > w->publish.applied.index + 1)
        keep_index = w->publish.applied.index + 1;
    if (keep_index <= w->publish.log_start.index)
        keep_index = w->publish.log_start.index + 1;
    log_start_raise(&w->publish, keep_index - 1);
    uint64_t bytes;
    do {
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(w->txn, w->store->trees.log, &cursor);
        if (rc != MDB_SUCCESS)
            return store_err_of_mdb(rc);
        rc = first_rows_remove(cursor, keep_index, &bytes);
        mdb_cursor_close(cursor);
        enum store_err err = store_err_of_mdb(rc);
        if (err == STORE_OK)
            err = store_writer_reserve(w, bytes);
        if (err != STORE_OK)
            return err;
    } while (bytes > 0);
    return STORE_OK;
}

/* ---- reading ---- */

struct log_cursor {
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val row;
    int rc; /* of the last step: whether key and row are there */
};

static void log_cursor_seek(struct log_cursor *c, uint64_t index)
{
    uint8_t key[ROW_KEY_BYTES];
    row_key_put(key, index, 0);
    c->key = (MDB_val){ .mv_size = sizeof key, .mv_data = key };
    c->rc = mdb_cursor_get(c->cursor, &c->key, &c->row, MDB_SET_RANGE);
}

static bool log_cursor_is_at(const struct log_cursor *c, uint64_t index, uint32_t chunk)
{
    uint8_t key[ROW_KEY_BYTES];
    row_key_put(key, index, chunk);
    return c->rc == MDB_SUCCESS && c->key.mv_size == sizeof key &&
           memcmp(c->key.mv_data, key, sizeof key) == 0;
}

/* Steps over the rows of one entry, and copies them when `to` is not NULL. A published entry that
 * is not there is damage. */
static enum store_err entry_walk(struct log_cursor *c, uint64_t index, uint8_t *to,
                                 size_t *ret_bytes)
{
    size_t bytes = 0;
    for (uint32_t chunk = 0; log_cursor_is_at(c, index, chunk); chunk++) {
        if (to != NULL)
            memcpy(to + bytes, c->row.mv_data, c->row.mv_size);
        bytes += c->row.mv_size;
        c->rc = mdb_cursor_get(c->cursor, &c->key, &c->row, MDB_NEXT);
    }
    *ret_bytes = bytes;
    if (c->rc != MDB_SUCCESS && c->rc != MDB_NOTFOUND)
        return store_err_of_mdb(c->rc);
    return bytes > 0 ? STORE_OK : STORE_E_CORRUPT;
}

/* An entry type or version beyond this program's is not damage: its checksum holds. */
static enum store_err entry_verify(struct slice bytes, uint64_t index, struct raft_entry *ret_entry)
{
    struct entry_header header;
    struct slice payload;
    size_t size;
    enum entry_err err = entry_decode(bytes, &header, &payload, &size);
    if (err == ENTRY_E_TYPE || err == ENTRY_E_VERSION)
        return STORE_E_VERSION;
    if (err != ENTRY_OK || size != bytes.size || header.pos.index != index)
        return STORE_E_CORRUPT;
    ret_entry->pos = header.pos;
    ret_entry->type = header.type;
    return STORE_OK;
}

/* What a caller of store_log_read asked for. */
struct log_request {
    uint64_t first_index;
    uint64_t last_index; /* published */
    size_t bytes_max;
    size_t count_max;
};

/* How many entries fit, how long each is (in entries[i].bytes.size) and all together. */
static enum store_err run_measure(struct log_cursor *c, const struct log_request *request,
                                  struct raft_entry *entries, size_t *ret_count, size_t *ret_bytes)
{
    size_t count = 0;
    size_t run_bytes = 0;
    log_cursor_seek(c, request->first_index);
    while (count < request->count_max && count <= request->last_index - request->first_index) {
        size_t bytes;
        enum store_err err = entry_walk(c, request->first_index + count, NULL, &bytes);
        if (err != STORE_OK)
            return err;
        if (count > 0 && (run_bytes > request->bytes_max || bytes > request->bytes_max - run_bytes))
            break;
        entries[count++].bytes.size = bytes;
        run_bytes += bytes;
    }
    *ret_count = count;
    *ret_bytes = run_bytes;
    return STORE_OK;
}

static enum store_err run_copy(struct log_cursor *c, uint64_t first_index,
                               struct raft_entry *entries, size_t count, struct block *block)
{
    size_t offset = 0;
    log_cursor_seek(c, first_index);
    for (size_t i = 0; i < count; i++) {
        struct raft_entry *entry = &entries[i];
        size_t bytes;
        enum store_err err = entry_walk(c, first_index + i, block->data + offset, &bytes);
        if (err != STORE_OK)
            return err;
        entry->bytes = slice_of(block->data + offset, bytes);
        entry->block = block;
        err = entry_verify(entry->bytes, first_index + i, entry);
        if (err != STORE_OK)
            return err;
        offset += bytes;
    }
    return STORE_OK;
}

static enum store_err run_read(struct store *s, MDB_txn *txn, const struct log_request *request,
                               struct raft_entry *ret_entries, size_t *ret_count,
                               struct block **ret_block)
{
    struct log_cursor c = { 0 };
    struct block *block = NULL;
    int rc = mdb_cursor_open(txn, s->trees.log, &c.cursor);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    size_t bytes;
    enum store_err err = run_measure(&c, request, ret_entries, ret_count, &bytes);
    if (err == STORE_OK) {
        block = block_new(bytes);
        err = block == NULL ? STORE_E_NOMEM : STORE_OK;
    }
    if (err == STORE_OK)
        err = run_copy(&c, request->first_index, ret_entries, *ret_count, block);
    mdb_cursor_close(c.cursor);
    if (err == STORE_OK)
        *ret_block = block;
    else
        block_unref(block);
    return err;
}

/* Which part of the log this snapshot publishes. */
static enum store_err published_range(struct store *s, MDB_txn *txn, struct raft_range *ret_range)
{
    struct arena arena;
    struct store_meta meta;
    arena_init(&arena, 4 * STORE_META_BYTES_MAX);
    enum store_err err = store_meta_get(txn, s->trees.meta, &arena, &meta);
    arena_done(&arena);
    if (err == STORE_OK)
        *ret_range = (struct raft_range){ .first = meta.state.log_start.index + 1,
                                          .last = meta.state.applied.index };
    return err;
}

enum store_err store_log_read(struct store *s, uint64_t first_index, uint32_t bytes_max,
                              struct raft_entry *ret_entries, size_t count_max, size_t *ret_count,
                              struct block **ret_block)
{
    ASSERT(count_max > 0);
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    struct raft_range range;
    enum store_err err = published_range(s, txn, &range);
    if (err == STORE_OK && (first_index < range.first || first_index > range.last))
        err = STORE_E_GONE;
    if (err == STORE_OK) {
        const struct log_request request = { first_index, range.last, bytes_max, count_max };
        err = run_read(s, txn, &request, ret_entries, ret_count, ret_block);
    }
    mdb_txn_abort(txn);
    return err;
}
