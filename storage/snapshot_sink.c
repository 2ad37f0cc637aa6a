#include "storage/snapshot_sink.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/rev_tree.h"
#include "storage/store_switch.h"
#include "storage/store_write.h"

enum {
    META_ARENA_BYTES_MAX = 4 * SNAPSHOT_META_BYTES_MAX,
    PARTIAL_BYTES_MIN = 4096,
};

/* A row whose bytes are not all there yet. */
struct partial {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

struct snapshot_sink {
    struct snapshot_sink_options options;
    char *data_dir;
    char path[STORE_PATH_BYTES_MAX]; /* of store.new */
    struct snapshot_add *adding;
    bool is_complete;
    bool has_meta;            /* for the loop: the first chunk was taken */
    enum snapshot_err failed; /* final */
    struct io_job end_job;
    bool keep;
    void (*end_fn)(void *owner);
    void *end_owner;

    /* The job's while it runs. */
    struct store *store; /* the new one; NULL: not made, or complete and closed */
    struct arena meta_arena;
    struct snapshot_meta meta;
    struct memtable *memtable;
    struct partial partial;
    struct kv_revision last; /* of the rows so far */
    uint64_t next_seq;
    uint64_t rows_total;
    uint64_t bytes_total;
    uint64_t chain;
    struct snapshot_progress progress; /* the loop's copy */
};

/* ---- rows to LMDB ---- */

/* Until the last of them the meta row says what a blank store's does. */
static enum store_err batch_write(struct snapshot_sink *sink, bool is_last)
{
    struct store_writer w;
    enum store_err err = store_writer_begin(&w, sink->store);
    if (err == STORE_OK)
        err = store_counts_batch(&w, sink->memtable);
    if (err == STORE_OK)
        err = store_rows_write(&w, sink->memtable, NULL);
    if (err == STORE_OK && is_last)
        w.publish = sink->meta.state;
    if (err == STORE_OK)
        err = store_writer_commit(&w);
    store_writer_abort(&w);
    memtable_unref(sink->memtable);
    sink->memtable = NULL;
    return err;
}

static enum snapshot_err row_take(struct snapshot_sink *sink, const struct kv_record *record)
{
    const struct kv_revision *last = &sink->last;
    bool ascends = record->mod.main > last->main ||
                   (record->mod.main == last->main && record->mod.sub > last->sub);
    if (!ascends || record->mod.main > sink->meta.state.revision ||
        (record->tombstone && record->value.size > 0) || kv_record_sum(record) != record->sum)
        return SNAPSHOT_E_BAD;
    sink->last = record->mod;
    sink->rows_total++;
    if (sink->memtable == NULL)
        sink->memtable = memtable_new();
    if (sink->memtable == NULL || !memtable_insert(sink->memtable, record))
        return SNAPSHOT_E_NOMEM;
    if (memtable_bytes(sink->memtable) < sink->options.batch_bytes)
        return SNAPSHOT_OK;
    return snapshot_err_of_store(batch_write(sink, false));
}

/* ---- bytes to rows ---- */

/* The row that `bytes` begins with: *ret_size is what it needs, header included, as soon as the
 * header is there; else 0. */
static enum snapshot_err row_measure(struct slice bytes, struct kv_record *ret_record,
                                     size_t *ret_size)
{
    *ret_size = 0;
    if (bytes.size < SNAPSHOT_ROW_HEADER_BYTES)
        return SNAPSHOT_OK;
    enum snapshot_err err = snapshot_row_decode(bytes.data, ret_record);
    if (err == SNAPSHOT_OK)
        *ret_size = SNAPSHOT_ROW_HEADER_BYTES + ret_record->key.size + ret_record->value.size;
    return err;
}

static enum snapshot_err row_parse(struct snapshot_sink *sink, const uint8_t *bytes,
                                   struct kv_record *record)
{
    record->key.data = bytes + SNAPSHOT_ROW_HEADER_BYTES;
    record->value.data = record->key.data + record->key.size;
    return row_take(sink, record);
}

/* Grows by doubling, no further than the row needs: memory follows what has really come. */
static bool partial_append(struct partial *p, struct slice bytes, size_t row_bytes)
{
    size_t wanted = p->size + bytes.size;
    if (wanted > p->capacity) {
        size_t capacity = p->capacity * 2 > PARTIAL_BYTES_MIN ? p->capacity * 2 : PARTIAL_BYTES_MIN;
        if (row_bytes > 0 && capacity > row_bytes)
            capacity = row_bytes;
        if (capacity < wanted)
            capacity = wanted;
        uint8_t *grown = realloc(p->bytes, capacity);
        if (grown == NULL)
            return false;
        p->bytes = grown;
        p->capacity = capacity;
    }
    memcpy(p->bytes + p->size, bytes.data, bytes.size);
    p->size = wanted;
    return true;
}

/* Goes on with a row that began in an earlier chunk, as far as `rest` reaches. */
static enum snapshot_err partial_fill(struct snapshot_sink *sink, struct slice *rest)
{
    struct partial *p = &sink->partial;
    while (rest->size > 0) {
        struct kv_record record;
        size_t row_bytes;
        enum snapshot_err err = row_measure(slice_of(p->bytes, p->size), &record, &row_bytes);
        if (err != SNAPSHOT_OK)
            return err;
        size_t wanted = (row_bytes > 0 ? row_bytes : SNAPSHOT_ROW_HEADER_BYTES) - p->size;
        size_t size = wanted < rest->size ? wanted : rest->size;
        if (!partial_append(p, slice_of(rest->data, size), row_bytes))
            return SNAPSHOT_E_NOMEM;
        *rest = slice_of(rest->data + size, rest->size - size);
        if (p->size == row_bytes) {
            p->size = 0;
            return row_parse(sink, p->bytes, &record);
        }
    }
    return SNAPSHOT_OK;
}

static enum snapshot_err rows_take(struct snapshot_sink *sink, struct slice rest)
{
    if (sink->partial.size > 0) {
        enum snapshot_err err = partial_fill(sink, &rest);
        if (err != SNAPSHOT_OK)
            return err;
    }
    while (rest.size > 0) {
        struct kv_record record;
        size_t row_bytes;
        enum snapshot_err err = row_measure(rest, &record, &row_bytes);
        if (err != SNAPSHOT_OK)
            return err;
        if (row_bytes == 0 || row_bytes > rest.size)
            return partial_append(&sink->partial, rest, row_bytes) ? SNAPSHOT_OK : SNAPSHOT_E_NOMEM;
        err = row_parse(sink, rest.data, &record);
        if (err != SNAPSHOT_OK)
            return err;
        rest = slice_of(rest.data + row_bytes, rest.size - row_bytes);
    }
    return SNAPSHOT_OK;
}

/* ---- the environment ---- */

static enum snapshot_err environment_make(struct snapshot_sink *sink)
{
    enum store_err err = store_dir_remove(sink->data_dir, STORE_DIR_NEW);
    const struct store_options options = {
        .io = sink->options.io,
        .path = sink->path,
        .map_bytes = sink->options.map_bytes,
        .dirty_bytes_max = sink->options.dirty_bytes_max,
        .readers_max = 1,
        .cluster_id = sink->options.cluster_id,
    };
    struct store_state blank;
    char detail[128];
    if (err == STORE_OK)
        err = store_open(&sink->store, &options, &blank, detail, sizeof detail);
    return snapshot_err_of_store(err);
}

static enum snapshot_err first_take(struct snapshot_sink *sink, struct slice meta)
{
    enum snapshot_err err = snapshot_meta_decode(meta, &sink->meta_arena, &sink->meta);
    if (err == SNAPSHOT_OK && sink->meta.cluster_id != sink->options.cluster_id)
        err = SNAPSHOT_E_FOREIGN;
    return err == SNAPSHOT_OK ? environment_make(sink) : err;
}

/* Publishes everything in one synced transaction, and lets go of the environment. */
static enum snapshot_err last_take(struct snapshot_sink *sink)
{
    if (sink->partial.size > 0)
        return SNAPSHOT_E_BAD; /* it ends within a row */
    if (sink->memtable == NULL)
        sink->memtable = memtable_new();
    if (sink->memtable == NULL)
        return SNAPSHOT_E_NOMEM;
    enum store_err err = batch_write(sink, true);
    store_close(sink->store);
    sink->store = NULL;
    return snapshot_err_of_store(err);
}

static enum snapshot_err chunk_take(struct snapshot_sink *sink, struct slice chunk, bool *ret_last)
{
    struct snapshot_chunk_header header;
    struct slice meta;
    struct slice rows;
    enum snapshot_err err = snapshot_chunk_decode(chunk, &header, &meta, &rows);
    if (err != SNAPSHOT_OK)
        return err;
    if (header.id != sink->options.id)
        return SNAPSHOT_E_FOREIGN;
    if (header.seq != sink->next_seq)
        return SNAPSHOT_E_SEQ;
    if (!snapshot_chain_holds(&header, meta, rows, sink->chain) ||
        header.row_bytes_total - header.row_bytes != sink->bytes_total)
        return SNAPSHOT_E_BAD;
    if (header.seq == 0)
        err = first_take(sink, meta);
    if (err == SNAPSHOT_OK)
        err = rows_take(sink, rows);
    if (err == SNAPSHOT_OK && sink->rows_total != header.rows_total)
        err = SNAPSHOT_E_BAD;
    *ret_last = (header.flags & SNAPSHOT_LAST) != 0;
    if (err == SNAPSHOT_OK && *ret_last)
        err = last_take(sink);
    if (err != SNAPSHOT_OK)
        return err;
    sink->next_seq++;
    sink->bytes_total = header.row_bytes_total;
    sink->chain = header.chain;
    return SNAPSHOT_OK;
}

static void add_run(struct io_job *job)
{
    struct snapshot_add *add = LIST_ENTRY(job, struct snapshot_add, job);
    struct snapshot_sink *sink = add->sink;
    if (add->err == SNAPSHOT_OK)
        add->err = chunk_take(sink, add->chunk, &add->complete);
}

/* ---- the loop's side ---- */

enum snapshot_err snapshot_sink_open(struct snapshot_sink **ret_sink,
                                     const struct snapshot_sink_options *options)
{
    struct snapshot_sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return SNAPSHOT_E_NOMEM;
    sink->options = *options;
    sink->chain = snapshot_chain_start(options->id);
    arena_init(&sink->meta_arena, META_ARENA_BYTES_MAX);
    sink->data_dir = strdup(options->data_dir);
    int size = snprintf(sink->path, sizeof sink->path, "%s/" STORE_DIR_NEW, options->data_dir);
    if (sink->data_dir == NULL || size < 0 || (size_t)size >= sizeof sink->path) {
        free(sink->data_dir);
        free(sink);
        return SNAPSHOT_E_NOMEM;
    }
    *ret_sink = sink;
    return SNAPSHOT_OK;
}

static void add_done(struct io_job *job)
{
    struct snapshot_add *add = LIST_ENTRY(job, struct snapshot_add, job);
    struct snapshot_sink *sink = add->sink;
    sink->adding = NULL;
    add->next_seq = sink->next_seq;
    add->complete = add->complete && add->err == SNAPSHOT_OK;
    if (add->err != SNAPSHOT_OK && add->err != SNAPSHOT_E_SEQ)
        sink->failed = add->err;
    if (add->err == SNAPSHOT_OK) {
        sink->has_meta = true;
        sink->is_complete = add->complete;
        sink->progress = (struct snapshot_progress){
            .chunks = sink->next_seq,
            .rows = sink->rows_total,
            .bytes = sink->bytes_total,
            .bytes_estimate = sink->meta.bytes_estimate,
        };
    }
    add->done(add);
}

void snapshot_sink_add(struct snapshot_sink *sink, struct snapshot_add *add)
{
    ASSERT(sink->adding == NULL);
    ASSERT(!sink->is_complete);
    sink->adding = add;
    add->sink = sink;
    add->err = sink->failed;
    add->complete = false;
    add->job = (struct io_job){ .run = add_run, .done = add_done };
    list_init(&add->job.link);
    io_offload(sink->options.io, &add->job);
}

const struct snapshot_meta *snapshot_sink_meta(const struct snapshot_sink *sink)
{
    return sink->has_meta ? &sink->meta : NULL;
}

struct snapshot_progress snapshot_sink_progress(const struct snapshot_sink *sink)
{
    return sink->progress;
}

/* ---- the end ---- */

static void end_run(struct io_job *job)
{
    struct snapshot_sink *sink = LIST_ENTRY(job, struct snapshot_sink, end_job);
    store_close(sink->store);
    memtable_unref(sink->memtable);
    if (!sink->is_complete || !sink->keep)
        IGNORE(store_dir_remove(sink->data_dir, STORE_DIR_NEW),
               "the next sink, or the next start, removes it");
}

static void end_done(struct io_job *job)
{
    struct snapshot_sink *sink = LIST_ENTRY(job, struct snapshot_sink, end_job);
    void (*fn)(void *owner) = sink->end_fn;
    void *owner = sink->end_owner;
    arena_done(&sink->meta_arena);
    free(sink->partial.bytes);
    free(sink->data_dir);
    free(sink);
    fn(owner);
}

void snapshot_sink_end(struct snapshot_sink *sink, bool keep, void (*fn)(void *owner), void *owner)
{
    ASSERT(sink->adding == NULL);
    sink->keep = keep;
    sink->end_fn = fn;
    sink->end_owner = owner;
    sink->end_job = (struct io_job){ .run = end_run, .done = end_done };
    list_init(&sink->end_job.link);
    io_offload(sink->options.io, &sink->end_job);
}
