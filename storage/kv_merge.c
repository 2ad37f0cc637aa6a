/* One ordered walk over the memtables and the key tree of a view.
 *
 * Each source stands at its next record. A step gives the first of them in order and remembers
 * which sources stand there; only the next step moves these on, so the record's key stays where
 * it is meanwhile. */
#include "base/assert.h"
#include "storage/kv_internal.h"

enum { STEPS_BEFORE_SEEK = 8 }; /* nodes to step over before a seek is cheaper */

static bool same_key(const struct memtable_node *node, struct slice key)
{
    return slice_equal(memtable_key(node), key);
}

/* From a node on to the first that is old enough. The loop's thread goes on inserting into the
 * active memtable: such records are newer than the revision, and skipped here. */
static const struct memtable_node *node_settle(const struct kv_merge *m, size_t i,
                                               const struct memtable_node *node)
{
    int steps = 0;
    while (node && memtable_revision(node) > m->revision) {
        if (++steps % STEPS_BEFORE_SEEK == 0)
            node = memtable_seek(m->view->memtables[i], memtable_key(node), m->revision);
        else
            node = memtable_next(node);
    }
    return node;
}

static const struct memtable_node *node_after(const struct kv_merge *m, size_t i)
{
    const struct memtable_node *node = m->nodes[i];
    struct slice key = memtable_key(node);
    node = memtable_next(node);
    for (int steps = 1; !m->every_version && node && same_key(node, key); steps++) {
        if (steps == STEPS_BEFORE_SEEK)
            return node_settle(m, i, memtable_seek(m->view->memtables[i], key, -1));
        node = memtable_next(node);
    }
    return node_settle(m, i, node);
}

static bool nodes_are_at_ends(const struct kv_merge *m)
{
    for (size_t i = 0; i < m->view->memtable_count; i++) {
        if (m->nodes[i])
            return false;
    }
    return true;
}

enum kv_err kv_merge_open(struct kv_merge *m, struct kv_view *view, struct slice start,
                          int64_t revision, bool every_version)
{
    ASSERT(!view->is_walking);
    ASSERT(revision >= 0);
    *m = (struct kv_merge){ .view = view, .revision = revision, .every_version = every_version };
    int64_t newest = revision < view->published ? revision : view->published;
    enum store_err err;
    if (view->rows)
        err = key_tree_cursor_renew(view->rows, view->txn, newest, every_version);
    else
        err = key_tree_cursor_open(view->txn, view->kv->trees.key, newest, every_version,
                                   &view->rows);
    if (err == STORE_OK)
        err = key_tree_cursor_seek(view->rows, start, &m->row, &m->row_found);
    if (err != STORE_OK)
        return kv_err_of_store(err);
    for (size_t i = 0; i < view->memtable_count; i++)
        m->nodes[i] = node_settle(m, i, memtable_seek(view->memtables[i], start, revision));
    m->rows_alone = nodes_are_at_ends(m);
    view->is_walking = true;
    return KV_OK;
}

void kv_merge_close(struct kv_merge *m)
{
    ASSERT(m->view->is_walking);
    m->view->is_walking = false;
}

static enum kv_err sources_move_on(struct kv_merge *m)
{
    size_t count = m->view->memtable_count;
    for (size_t i = 0; i < count; i++) {
        if (m->given & (1U << i))
            m->nodes[i] = node_after(m, i);
    }
    m->rows_alone = nodes_are_at_ends(m);
    if (!(m->given & (1U << count)))
        return KV_OK;
    return kv_err_of_store(key_tree_cursor_next(m->view->rows, &m->row, &m->row_found));
}

/* The first record of the sources in order, and in `given` the sources that stand at it: of its
 * key at all, where one version a key is wanted. */
struct first {
    struct slice key;
    int64_t revision;
    size_t source;
    uint32_t given; /* 0: all are at their ends */
};

static void first_offer(const struct kv_merge *m, struct first *f, size_t source, struct slice key,
                        int64_t revision)
{
    int order = f->given == 0 ? -1 : slice_compare(key, f->key);
    bool same = order == 0;
    if (order == 0 && revision != f->revision) {
        same = !m->every_version;
        order = revision > f->revision ? -1 : 1;
    }
    uint32_t bit = 1U << source;
    if (order < 0) {
        uint32_t beside = same ? f->given : 0;
        *f = (struct first){ .key = key, .revision = revision, .source = source };
        f->given = beside | bit;
    } else if (same) {
        f->given |= bit;
    }
}

/* The same where nothing is left to merge: as a rule, most is in the store. */
static enum kv_err row_next(struct kv_merge *m, struct kv_record *ret_record, bool *ret_has_value,
                            bool *ret_found)
{
    uint32_t row = 1U << m->view->memtable_count;
    if (m->given & row) {
        enum store_err err = key_tree_cursor_next(m->view->rows, &m->row, &m->row_found);
        if (err != STORE_OK)
            return kv_err_of_store(err);
    }
    *ret_found = m->row_found;
    m->given = m->row_found ? row : 0;
    if (!m->row_found)
        return KV_OK;
    *ret_has_value = false;
    *ret_record = m->row;
    return KV_OK;
}

enum kv_err kv_merge_next(struct kv_merge *m, struct kv_record *ret_record, bool *ret_has_value,
                          bool *ret_found)
{
    if (m->rows_alone)
        return row_next(m, ret_record, ret_has_value, ret_found);
    enum kv_err err = sources_move_on(m);
    if (err != KV_OK)
        return err;
    struct first f = { .given = 0 };
    size_t count = m->view->memtable_count;
    for (size_t i = 0; i < count; i++) {
        const struct memtable_node *node = m->nodes[i];
        if (node)
            first_offer(m, &f, i, memtable_key(node), memtable_revision(node));
    }
    if (m->row_found)
        first_offer(m, &f, count, m->row.key, m->row.mod.main);
    m->given = f.given;
    *ret_found = f.given != 0;
    if (!*ret_found)
        return KV_OK;
    *ret_has_value = f.source < count;
    *ret_record = *ret_has_value ? memtable_record(m->nodes[f.source]) : m->row;
    return KV_OK;
}
