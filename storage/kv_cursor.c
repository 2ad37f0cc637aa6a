/* Ranges: the live keys of an interval at a revision. */
#include "base/assert.h"
#include "storage/kv_internal.h"

struct kv_cursor {
    struct kv_merge merge;
    struct slice end;
    bool end_is_open;
    bool at_end;
    bool has_value;
    struct kv_record last; /* that kv_cursor_next gave, as its source has it */
};

enum kv_err kv_cursor_open(struct kv_view *view, const struct kv_range *range, struct arena *arena,
                           struct kv_cursor **ret_cursor)
{
    struct kv_cursor *c = arena_alloc(arena, sizeof *c);
    if (!c)
        return KV_E_NOMEM;
    c->end = range->end;
    c->end_is_open = range->end_is_open;
    c->at_end = false;
    c->last = (struct kv_record){ 0 };
    enum kv_err err = kv_merge_open(&c->merge, view, range->start, range->revision, false);
    if (err == KV_OK)
        *ret_cursor = c;
    return err;
}

enum kv_err kv_cursor_next(struct kv_cursor *cursor, struct kv_record *ret_record, bool *ret_found)
{
    struct kv_cursor *c = cursor;
    bool found = false;
    while (!c->at_end) {
        enum kv_err err = kv_merge_next(&c->merge, &c->last, &c->has_value, &found);
        if (err != KV_OK)
            return err;
        if (!found || (!c->end_is_open && slice_compare(c->last.key, c->end) >= 0))
            c->at_end = true;
        else if (!c->last.tombstone)
            break;
    }
    *ret_found = !c->at_end;
    if (c->at_end)
        return KV_OK;
    *ret_record = c->last;
    ret_record->value = slice_of(NULL, 0);
    return KV_OK;
}

enum kv_err kv_cursor_value(struct kv_cursor *cursor, struct arena *arena, struct kv_record *record)
{
    struct kv_cursor *c = cursor;
    ASSERT(!c->at_end && c->last.mod.main == record->mod.main);
    struct kv_record loaded = c->last;
    if (!c->has_value) {
        enum kv_err err = kv_view_load(c->merge.view, arena, &loaded);
        if (err != KV_OK)
            return err;
    }
    *record = loaded;
    return KV_OK;
}

enum kv_err kv_cursor_value_later(struct kv_cursor *cursor, struct arena *arena,
                                  struct kv_batch *batch)
{
    const struct kv_cursor *c = cursor;
    ASSERT(!c->at_end);
    ASSERT(batch->count < KV_BATCH_MAX);
    struct kv_record *record = &batch->records[batch->count];
    *record = c->last;
    if (!c->has_value && !arena_copy(arena, c->last.key, &record->key))
        return KV_E_NOMEM;
    batch->has_value[batch->count++] = c->has_value;
    return KV_OK;
}

void kv_cursor_close(struct kv_cursor *cursor)
{
    if (cursor)
        kv_merge_close(&cursor->merge);
}
