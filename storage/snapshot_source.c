#include "storage/snapshot_source.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/rev_tree.h"
#include "storage/store_write.h"

enum {
    ARENA_BYTES_MAX = 2 * (REV_TREE_RECORD_BYTES_MAX + SNAPSHOT_META_BYTES_MAX),
    META_ARENA_BYTES_MAX = 2 * SNAPSHOT_META_BYTES_MAX,
};

/* Where a chunk begins: all that it depends on. */
struct cursor {
    struct kv_revision mod; /* of the row that comes next, or one that does not exist before it */
    uint64_t offset;        /* within that row: what earlier chunks have of it */
    uint64_t rows_total;
    uint64_t bytes_total;
    uint64_t chain;
};

struct snapshot_source {
    struct store *store;
    uint64_t id;
    uint32_t row_bytes_max;
    struct store_hold hold;
    struct store_state state;
    struct arena meta_arena;
    struct slice meta; /* of the first chunk */
    uint64_t bytes_estimate;

    /* The window: cursors[i % SNAPSHOT_WINDOW_MAX] for i in [acked, next]; one more than there are
     * chunks, as the place behind a chunk is known when it is read. */
    struct cursor cursors[SNAPSHOT_WINDOW_MAX + 1];
    uint64_t acked; /* every chunk below */
    uint64_t next;  /* the lowest that was never read */
    bool ended;     /* chunk next - 1 is the last */
    struct snapshot_read *reading;

    /* The job's while it runs. */
    struct cursor from;
    struct cursor to;
    struct arena arena;    /* of one row */
    struct kv_record kept; /* a row in the arena that goes on in the next chunk; mod.main 0: none */
};

/* ---- life ---- */

static struct cursor *cursor_at(struct snapshot_source *source, uint64_t seq)
{
    return &source->cursors[seq % (SNAPSHOT_WINDOW_MAX + 1)];
}

static bool meta_make(struct snapshot_source *source)
{
    source->bytes_estimate = store_usage(source->store).in_use_bytes;
    const struct snapshot_meta meta = {
        .cluster_id = source->store->cluster_id,
        .state = *store_published(source->store),
        .bytes_estimate = source->bytes_estimate,
    };
    source->state = meta.state;
    source->state.membership = slice_of(NULL, 0); /* the store's own changes with the next flush */
    return snapshot_meta_encode(&meta, &source->meta_arena, &source->meta);
}

enum snapshot_err snapshot_source_open(struct snapshot_source **ret_source, struct store *store,
                                       const struct snapshot_source_options *options)
{
    ASSERT(store_published(store)->applied.index > 0);
    ASSERT(options->row_bytes_max >= SNAPSHOT_ROW_BYTES_MIN);
    ASSERT(options->row_bytes_max <= SNAPSHOT_ROW_BYTES_MAX);
    struct snapshot_source *source = calloc(1, sizeof *source);
    if (source == NULL)
        return SNAPSHOT_E_NOMEM;
    source->store = store;
    source->id = options->id;
    source->row_bytes_max = options->row_bytes_max;
    source->hold.until_ms = options->hold_until_ms;
    list_init(&source->hold.link);
    arena_init(&source->arena, ARENA_BYTES_MAX);
    arena_init(&source->meta_arena, META_ARENA_BYTES_MAX);
    cursor_at(source, 0)->chain = snapshot_chain_start(options->id);
    enum snapshot_err err = meta_make(source) ? SNAPSHOT_OK : SNAPSHOT_E_NOMEM;
    if (err == SNAPSHOT_OK && !store_hold_begin(store, &source->hold))
        err = SNAPSHOT_E_BUSY;
    if (err != SNAPSHOT_OK) {
        arena_done(&source->meta_arena);
        free(source);
        return err;
    }
    *ret_source = source;
    return SNAPSHOT_OK;
}

void snapshot_source_close(struct snapshot_source *source)
{
    if (source == NULL)
        return;
    ASSERT(source->reading == NULL);
    store_hold_end(source->store, &source->hold);
    arena_done(&source->arena);
    arena_done(&source->meta_arena);
    free(source);
}

struct raft_pos snapshot_source_pos(const struct snapshot_source *source)
{
    return source->state.applied;
}

bool snapshot_source_hold(struct snapshot_source *source, uint64_t until_ms)
{
    source->hold.until_ms = until_ms;
    return !source->hold.ended;
}

struct snapshot_progress snapshot_source_progress(const struct snapshot_source *source)
{
    const struct cursor *last = &source->cursors[source->next % (SNAPSHOT_WINDOW_MAX + 1)];
    return (struct snapshot_progress){
        .chunks = source->next,
        .rows = last->rows_total,
        .bytes = last->bytes_total,
        .bytes_estimate = source->bytes_estimate,
    };
}

/* ---- the job: one chunk ---- */

/* Copies what there is room for of header, key and value as one run of bytes, from offset on. */
static size_t row_copy(const struct kv_record *record, uint64_t offset, uint8_t *to, size_t room)
{
    uint8_t header[SNAPSHOT_ROW_HEADER_BYTES];
    snapshot_row_encode(header, record);
    const struct slice parts[] = { slice_of(header, sizeof header), record->key, record->value };
    size_t copied = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && copied < room; i++) {
        if (offset >= parts[i].size) {
            offset -= parts[i].size;
            continue;
        }
        size_t left = parts[i].size - (size_t)offset;
        size_t size = left < room - copied ? left : room - copied;
        memcpy(to + copied, parts[i].data + offset, size);
        copied += size;
        offset = 0;
    }
    return copied;
}

/* The row at the cursor; a long one that the chunk before began with is still in the arena. */
static enum store_err row_find(struct snapshot_source *source, MDB_txn *txn,
                               struct kv_record *ret_record, bool *ret_found)
{
    const struct cursor *at = &source->to;
    const struct kv_record *kept = &source->kept;
    if (at->offset > 0 && kept->mod.main == at->mod.main && kept->mod.sub == at->mod.sub) {
        *ret_record = *kept;
        *ret_found = true;
        return STORE_OK;
    }
    source->kept = (struct kv_record){ 0 };
    arena_reset(&source->arena);
    enum store_err err = rev_tree_next(txn, source->store->trees.rev, at->mod, &source->arena,
                                       ret_record, ret_found);
    if (err != STORE_OK)
        return err;
    *ret_found = *ret_found && ret_record->mod.main <= source->state.revision;
    bool is_same =
        *ret_found && ret_record->mod.main == at->mod.main && ret_record->mod.sub == at->mod.sub;
    return at->offset > 0 && !is_same ? STORE_E_CORRUPT : STORE_OK; /* half of it is sent */
}

/* Fills the chunk's row bytes from source->to on, which moves along. */
static enum store_err rows_fill(struct snapshot_source *source, MDB_txn *txn, uint8_t *to,
                                bool *ret_last)
{
    struct cursor *at = &source->to;
    size_t room = source->row_bytes_max;
    *ret_last = false;
    while (room > 0 || at->offset == 0) { /* without room: whether it was the last */
        struct kv_record record;
        bool found;
        enum store_err err = row_find(source, txn, &record, &found);
        if (err != STORE_OK)
            return err;
        *ret_last = !found;
        if (!found || room == 0)
            return STORE_OK;
        uint64_t run_bytes = SNAPSHOT_ROW_HEADER_BYTES + record.key.size + record.value.size;
        size_t copied = row_copy(&record, at->offset, to + source->row_bytes_max - room, room);
        room -= copied;
        at->bytes_total += copied;
        at->mod = record.mod;
        at->offset += copied;
        if (at->offset < run_bytes) {
            /* Only a row of several rows of the tree is a copy in the arena. */
            if (record.key.size + record.value.size > REV_TREE_CHUNK_BYTES)
                source->kept = record;
            return STORE_OK;
        }
        at->mod.sub++;
        at->offset = 0;
        at->rows_total++;
    }
    return STORE_OK;
}

static enum store_err chunk_fill(struct snapshot_source *source, struct snapshot_read *read)
{
    uint8_t *to = read->block->data;
    struct slice meta = read->seq == 0 ? source->meta : slice_of(NULL, 0);
    if (meta.size > 0)
        memcpy(to + SNAPSHOT_HEADER_BYTES, meta.data, meta.size);
    MDB_txn *txn;
    int rc = mdb_txn_begin(source->store->env, NULL, MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    enum store_err err =
        rows_fill(source, txn, to + SNAPSHOT_HEADER_BYTES + meta.size, &read->last);
    mdb_txn_abort(txn);
    if (err != STORE_OK)
        return err;
    struct snapshot_chunk_header header = {
        .id = source->id,
        .seq = read->seq,
        .flags = (read->seq == 0 ? SNAPSHOT_FIRST : 0u) | (read->last ? SNAPSHOT_LAST : 0u),
        .meta_bytes = (uint32_t)meta.size,
        .row_bytes = (uint32_t)(source->to.bytes_total - source->from.bytes_total),
        .rows_total = source->to.rows_total,
        .row_bytes_total = source->to.bytes_total,
    };
    snapshot_chunk_seal(to, &header, source->from.chain);
    source->to.chain = header.chain;
    read->chunk = slice_of(to, SNAPSHOT_HEADER_BYTES + meta.size + header.row_bytes);
    return STORE_OK;
}

static void read_run(struct io_job *job)
{
    struct snapshot_read *read = LIST_ENTRY(job, struct snapshot_read, job);
    struct snapshot_source *source = read->source;
    size_t meta_bytes = read->seq == 0 ? source->meta.size : 0;
    source->to = source->from;
    read->block = block_new(SNAPSHOT_HEADER_BYTES + meta_bytes + source->row_bytes_max);
    read->err =
        read->block == NULL ? SNAPSHOT_E_NOMEM : snapshot_err_of_store(chunk_fill(source, read));
}

/* ---- the loop's side ---- */

/* What is not acknowledged may be read again, and what a job reads now stays, though it may be
 * acknowledged meanwhile. */
static void hold_advance(struct snapshot_source *source)
{
    int64_t revision = cursor_at(source, source->acked)->mod.main;
    if (source->reading != NULL && source->from.mod.main < revision)
        revision = source->from.mod.main;
    source->hold.revision = revision;
}

/* A flush that ended the hold meanwhile may have taken rows from under the job: whatever it says of
 * them, they are not damaged. */
static void read_done(struct io_job *job)
{
    struct snapshot_read *read = LIST_ENTRY(job, struct snapshot_read, job);
    struct snapshot_source *source = read->source;
    source->reading = NULL;
    hold_advance(source);
    if (source->hold.ended)
        read->err = SNAPSHOT_E_EXPIRED;
    if (read->err != SNAPSHOT_OK) {
        block_unref(read->block);
        read->block = NULL;
        read->chunk = slice_of(NULL, 0);
    } else if (read->seq == source->next) {
        source->next++;
        source->ended = read->last;
        *cursor_at(source, source->next) = source->to;
    }
    read->done(read);
}

/* A hold that has ended is told in the way of all errors: from the loop, after a job. */
static void refuse_run(struct io_job *job)
{
    struct snapshot_read *read = LIST_ENTRY(job, struct snapshot_read, job);
    read->err = SNAPSHOT_E_EXPIRED;
}

bool snapshot_source_may_read(const struct snapshot_source *source, uint64_t seq)
{
    if (seq < source->acked || seq > source->next || seq - source->acked >= SNAPSHOT_WINDOW_MAX)
        return false;
    return seq < source->next || !source->ended;
}

void snapshot_source_read(struct snapshot_source *source, struct snapshot_read *read)
{
    ASSERT(source->reading == NULL);
    ASSERT(snapshot_source_may_read(source, read->seq));
    source->reading = read;
    source->from = *cursor_at(source, read->seq);
    read->source = source;
    read->err = SNAPSHOT_OK;
    read->block = NULL;
    read->chunk = slice_of(NULL, 0);
    read->last = false;
    read->job =
        (struct io_job){ .run = source->hold.ended ? refuse_run : read_run, .done = read_done };
    list_init(&read->job.link);
    io_offload(source->store->io, &read->job);
}

bool snapshot_source_ack(struct snapshot_source *source, uint64_t next_seq)
{
    if (next_seq > source->next)
        return false;
    if (next_seq > source->acked) {
        source->acked = next_seq;
        hold_advance(source);
    }
    return true;
}
