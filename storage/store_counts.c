/* Keeping the counts of live keys: with a flush, with the batches of a snapshot, and made anew for
 * a store that has none.
 *
 * Of a flush. What LMDB publishes at any time is a revision and the counts of exactly that one:
 * 1. A flush takes several transactions. All but one commit with the meta row as it was; readers
 *    and a recovery see the revision before, and must see its counts: so those transactions
 *    change no row of the tree. All changes are in one transaction, the one that publishes.
 * 2. After a crash the rows of an interrupted flush are still there, above the published revision;
 *    what is flushed then may end at another revision than the flush before. No matter: what a
 *    flush changes follows from its memtable's records alone (a put of version 1 makes a key, a
 *    deletion ends one), and what it counts in the key tree, the keys behind a new boundary, is
 *    read at the published revision, as readers do.
 * 3. Trimming the log and compaction come after: they commit the new revision again, and take rows
 *    of which none is the newest of a key that lives.
 *
 * So this one transaction is bounded not by dirty_bytes_max but by what there is to be dirtied: a
 * page or so a change, and no more than the tree has, which is 1.8 bytes a key. A million keys have
 * a tree of 1.8 MiB; 100 million one of 180 MiB, of which the 50,000 births of a memtable of small
 * values, in no order, touch each its page. It begins with what room there is
 * (store_writer_reserve) and dirties the tree's pages alone. */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/count_tree.h"
#include "storage/store_write.h"

enum { CHANGE_DIRTY_BYTES = 2 * STORE_PAGE_BYTES };

static enum store_err keys_before(struct store_writer *w, int64_t revision,
                                  struct key_tree_cursor **ret_cursor)
{
    return key_tree_cursor_open(w->txn, w->store->trees.key, revision, false, ret_cursor);
}

/* ---- a flush ---- */

enum store_err store_count_changes_begin(struct store_count_changes *c,
                                         const struct memtable *memtable, int64_t from, int64_t to)
{
    *c = (struct store_count_changes){ .from = from,
                                       .to = to,
                                       .capacity = memtable_change_count(memtable) };
    if (c->capacity > 0)
        c->items = malloc(c->capacity * sizeof *c->items);
    return c->capacity == 0 || c->items != NULL ? STORE_OK : STORE_E_NOMEM;
}

void store_count_changes_note(struct store_count_changes *c, const struct memtable_node *node)
{
    int change = memtable_change(node);
    int64_t revision = memtable_revision(node);
    if (change == 0 || revision <= c->from || revision > c->to)
        return;
    struct store_count_change *last = c->count > 0 ? &c->items[c->count - 1] : NULL;
    if (last != NULL && slice_equal(memtable_key(last->node), memtable_key(node))) {
        last->change += change;
        return;
    }
    ASSERT(c->count < c->capacity);
    c->items[c->count++] = (struct store_count_change){ .node = node, .change = change };
}

void store_count_changes_done(struct store_count_changes *c)
{
    free(c->items);
    *c = (struct store_count_changes){ 0 };
}

static enum store_err changes_write(struct store_writer *w, struct count_tree_writer *counts,
                                    const struct store_count_changes *changes)
{
    enum { AHEAD = 8 }; /* nodes are in no order in memory: some on their way at a time */
    enum store_err err = STORE_OK;
    for (size_t i = 0; i < changes->count && err == STORE_OK; i++) {
        const struct store_count_change *at = &changes->items[i];
        if (changes->count - i > AHEAD)
            __builtin_prefetch(at[AHEAD].node);
        if (at->change > 1 || at->change < -1)
            return STORE_E_CORRUPT; /* its records came from rows that say nonsense */
        if (at->change != 0)
            err = count_tree_change(counts, memtable_key(at->node), at->change);
        store_pace_work(&w->store->pace, w->store->io, STORE_PACE_COUNT);
    }
    return err;
}

enum store_err store_counts_flush(struct store_writer *w, const struct store_count_changes *changes)
{
    MDB_dbi dbi = w->store->trees.count;
    uint64_t bytes;
    if (changes->count == 0)
        return STORE_OK;
    enum store_err err = count_tree_dirty_bytes(w->txn, dbi, changes->count, &bytes);
    if (err == STORE_OK)
        err = store_writer_reserve(w, bytes);
    struct key_tree_cursor *before = NULL;
    struct count_tree_writer counts = { .rows = NULL };
    if (err == STORE_OK)
        err = keys_before(w, changes->from, &before);
    if (err == STORE_OK)
        err = count_tree_writer_begin(&counts, w->txn, dbi, before);
    if (err == STORE_OK)
        err = changes_write(w, &counts, changes);
    enum store_err ended = count_tree_writer_end(&counts, err != STORE_OK);
    key_tree_cursor_close(before);
    return err == STORE_OK ? ended : err;
}

/* ---- a snapshot ---- */

/* As it is after the batch, less what it was before: a snapshot lacks versions, so that no record
 * of its own says what it changes. */
static enum store_err key_change_read(const struct store_writer *w,
                                      const struct memtable_node *node, int *ret_change)
{
    struct kv_record before;
    bool found;
    enum store_err err =
        key_tree_get(w->txn, w->store->trees.key, memtable_key(node), INT64_MAX, &before, &found);
    if (err == STORE_OK)
        *ret_change = (int)!memtable_record(node).tombstone - (int)(found && !before.tombstone);
    return err;
}

/* As many changes as one transaction has room for; *node is where the next goes on. */
static enum store_err piece_write(struct store_writer *w, struct count_tree_writer *counts,
                                  const struct memtable_node **node)
{
    uint64_t left = w->store->dirty_bytes_max / 2 / CHANGE_DIRTY_BYTES;
    enum store_err err = STORE_OK;
    while (*node != NULL && left > 0 && err == STORE_OK) {
        int change = 0;
        struct slice key = memtable_key(*node);
        err = key_change_read(w, *node, &change);
        if (err == STORE_OK && change != 0) {
            err = count_tree_change(counts, key, change);
            left--;
        }
        do
            *node = memtable_next(*node);
        while (*node != NULL && slice_equal(memtable_key(*node), key));
    }
    return err;
}

enum store_err store_counts_batch(struct store_writer *w, const struct memtable *memtable)
{
    const struct memtable_node *node = memtable_seek(memtable, slice_of(NULL, 0), INT64_MAX);
    enum store_err err = STORE_OK;
    while (node != NULL && err == STORE_OK) {
        struct key_tree_cursor *before = NULL;
        struct count_tree_writer counts = { .rows = NULL };
        err = store_writer_reserve(w, w->store->dirty_bytes_max / 2);
        if (err == STORE_OK)
            err = keys_before(w, INT64_MAX, &before);
        if (err == STORE_OK)
            err = count_tree_writer_begin(&counts, w->txn, w->store->trees.count, before);
        if (err == STORE_OK)
            err = piece_write(w, &counts, &node);
        enum store_err ended = count_tree_writer_end(&counts, err != STORE_OK);
        key_tree_cursor_close(before);
        err = err == STORE_OK ? ended : err;
    }
    return err;
}

/* ---- a store without counts ---- */

/* The walk reads in a transaction of its own, which sees the key tree alone: the counts that are
 * committed meanwhile do not disturb it. */
struct build {
    struct store *store;
    MDB_txn *reading;
    struct key_tree_cursor *keys;
    struct kv_record record;
    bool found;
    MDB_txn *writing;
};

static enum store_err build_piece(struct build *b)
{
    struct store *s = b->store;
    struct count_tree_writer counts = { .rows = NULL };
    uint64_t left = s->dirty_bytes_max / 2 / CHANGE_DIRTY_BYTES;
    enum store_err err = store_err_of_mdb(mdb_txn_begin(s->env, NULL, 0, &b->writing));
    if (err == STORE_OK)
        err = count_tree_writer_begin(&counts, b->writing, s->trees.count, NULL);
    while (err == STORE_OK && b->found && left > 0) {
        if (!b->record.tombstone) {
            left -= count_tree_level_of(b->record.key) != COUNT_TREE_NONE;
            err = count_tree_change(&counts, b->record.key, 1);
        }
        if (err == STORE_OK)
            err = key_tree_cursor_next(b->keys, &b->record, &b->found);
    }
    enum store_err ended = count_tree_writer_end(&counts, err != STORE_OK);
    return err == STORE_OK ? ended : err;
}

static enum store_err build_commit(struct build *b)
{
    int code = mdb_txn_commit(b->writing);
    b->writing = NULL; /* a commit frees it, whatever it returns */
    return store_err_of_mdb(code);
}

static enum store_err build_run(struct build *b)
{
    struct store *s = b->store;
    enum store_err err =
        key_tree_cursor_open(b->reading, s->trees.key, s->published.revision, false, &b->keys);
    if (err == STORE_OK)
        err = key_tree_cursor_seek(b->keys, slice_of(NULL, 0), &b->record, &b->found);
    do {
        if (err == STORE_OK)
            err = build_piece(b);
        if (err == STORE_OK && b->found)
            err = build_commit(b);
    } while (err == STORE_OK && b->found);
    const struct store_meta meta = { .cluster_id = s->cluster_id,
                                     .next_layer_id = s->next_layer_id,
                                     .state = s->published };
    if (err == STORE_OK)
        err = store_meta_put(b->writing, s->trees.meta, &meta);
    return err == STORE_OK ? build_commit(b) : err;
}

enum store_err store_counts_build(struct store *s)
{
    struct build b = { .store = s };
    enum store_err err = store_err_of_mdb(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &b.reading));
    if (err == STORE_OK)
        err = build_run(&b);
    if (b.writing != NULL)
        mdb_txn_abort(b.writing);
    key_tree_cursor_close(b.keys);
    if (b.reading != NULL)
        mdb_txn_abort(b.reading);
    return err;
}
