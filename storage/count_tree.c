/* Counting the live keys of an interval. */
#include "base/assert.h"
#include "storage/count_tree_internal.h"

/* The row whose block is next, and what was counted before it. */
struct counting {
    struct count_tree_reader *reader;
    const struct key_interval *keys;
    uint64_t count;
    struct count_row row;
    bool is_known; /* false: no steps left */
};

static bool step_take(struct counting *c)
{
    c->is_known = c->reader->steps_max > 0;
    if (c->is_known)
        c->reader->steps_max--;
    return c->is_known;
}

static enum store_err count_add(struct counting *c, uint64_t count)
{
    return __builtin_add_overflow(c->count, count, &c->count) ? STORE_E_CORRUPT : STORE_OK;
}

/* The live keys from `from` to before `to`, one at a time; `most` of them at most: there are no
 * more, and what comes behind may be many that are dead. */
static enum store_err keys_walk(struct counting *c, struct slice from,
                                const struct key_interval *to, uint64_t most)
{
    struct kv_record record;
    bool found;
    uint64_t live = 0;
    enum store_err err = key_tree_cursor_seek(c->reader->keys, from, &record, &found);
    while (err == STORE_OK && found && live < most && key_interval_reaches(to, record.key)) {
        if (!step_take(c))
            return STORE_OK;
        live += !record.tombstone;
        if (live < most)
            err = key_tree_cursor_next(c->reader->keys, &record, &found);
    }
    return err == STORE_OK ? count_add(c, live) : err;
}

/* To the row of the same boundary on another level. */
static enum store_err level_change(struct counting *c, int level)
{
    struct slice boundary = c->row.boundary;
    bool found;
    enum store_err err = count_row_seek(c->reader->rows, level, boundary, &c->row, &found);
    if (err == STORE_OK && (!found || !slice_equal(c->row.boundary, boundary)))
        return STORE_E_CORRUPT;
    return err;
}

/* From the boundary of c->row, which lies before the end: up where the boundary is one of a higher
 * level, along as far as blocks lie whole before the end, and down again. Once down, nothing leads
 * up any more: what the level above had next lies behind the end. */
static enum store_err blocks_walk(struct counting *c)
{
    bool rises = true;
    for (;;) {
        enum store_err err;
        if (rises && c->row.boundary_level > c->row.level) {
            err = level_change(c, c->row.boundary_level);
            if (err != STORE_OK)
                return err;
        }
        if (!step_take(c))
            return STORE_OK;
        struct count_row next;
        bool has_next;
        err = count_row_next(c->reader->rows, &c->row, &next, &has_next);
        if (err != STORE_OK)
            return err;
        bool ends = !has_next || !key_interval_reaches(c->keys, next.boundary);
        bool is_whole =
            !ends || (has_next ? slice_equal(next.boundary, c->keys->end) : c->keys->end_is_open);
        if (is_whole) {
            err = count_add(c, c->row.count);
            if (err != STORE_OK || ends)
                return err;
            c->row = next;
            continue;
        }
        rises = false;
        if (c->row.level == 0)
            return keys_walk(c, c->row.boundary, c->keys, c->row.count);
        err = level_change(c, c->row.level - 1);
        if (err != STORE_OK)
            return err;
    }
}

enum store_err count_tree_count(struct count_tree_reader *r, const struct key_interval *keys,
                                uint64_t *ret_count, bool *ret_known)
{
    ASSERT(!key_interval_is_empty(keys));
    struct counting c = { .reader = r, .keys = keys, .is_known = true };
    struct slice place = keys->start;
    if (place.size > COUNT_TREE_BOUNDARY_BYTES_MAX)
        place.size = COUNT_TREE_BOUNDARY_BYTES_MAX; /* a boundary there comes before the start */
    bool found;
    enum store_err err = count_row_seek(r->rows, 0, place, &c.row, &found);
    if (err == STORE_OK && found && slice_compare(c.row.boundary, keys->start) < 0)
        err = count_row_next(r->rows, &c.row, &c.row, &found);
    if (err != STORE_OK)
        return err;
    bool is_inside = found && key_interval_reaches(keys, c.row.boundary);
    if (!is_inside || !slice_equal(c.row.boundary, keys->start)) {
        struct key_interval first = *keys;
        if (is_inside) {
            first.end = c.row.boundary;
            first.end_is_open = false;
        }
        err = keys_walk(&c, keys->start, &first, UINT64_MAX);
    }
    if (err == STORE_OK && c.is_known && is_inside)
        err = blocks_walk(&c);
    *ret_count = c.count;
    *ret_known = c.is_known;
    return err;
}
