#include "base/assert.h"
#include "base/checksum.h"
#include "server/machine_internal.h"

int64_t machine_write_revision(const struct machine_write *w)
{
    return w->sub > 0 ? w->revision : w->revision - 1;
}

enum machine_err machine_get(struct machine_write *w, struct slice key, bool want_value,
                             struct arena *arena, struct kv_record *ret_record, bool *ret_found)
{
    return machine_err_of_kv(
        kv_view_get(w->m->view, key, w->revision, want_value, arena, ret_record, ret_found));
}

/* Every effect passes here: into the memtable, and into the rolling hash. */
static enum machine_err write_record(struct machine_write *w, struct kv_record *record)
{
    record->mod = (struct kv_revision){ .main = w->revision, .sub = w->sub };
    record->value_bytes = (uint32_t)record->value.size;
    enum kv_err err = kv_insert(w->m->kv, record);
    if (err != KV_OK)
        return machine_err_of_kv(err);
    w->sub++;
    w->m->state.state_hash = checksum_u64(w->m->state.state_hash, record->sum);
    return MACHINE_OK;
}

enum machine_err machine_check_put(struct machine_write *w, const Etcdserverpb__PutRequest *r,
                                   enum etcd_error *ret_error)
{
    *ret_error = ETCD_OK;
    if (r->lease != 0) {
        /* No command grants leases yet, so none exists. */
        *ret_error = ETCD_E_LEASE_NOT_FOUND;
        return MACHINE_OK;
    }
    if (!r->ignore_value && !r->ignore_lease)
        return MACHINE_OK;
    struct kv_record prev;
    bool found;
    enum machine_err err =
        machine_get(w, slice_of_pb(r->key), false, &w->m->scratch, &prev, &found);
    if (err == MACHINE_OK && !found)
        *ret_error = ETCD_E_KEY_NOT_FOUND;
    return err;
}

/* A record as a reply keeps it: the view may end before the reply leaves, and a value of several
 * chunks was put together in the scratch arena, so the bytes are copied. */
static Mvccpb__KeyValue *key_value_kept(struct arena *arena, const struct kv_record *record)
{
    struct kv_record copy = *record;
    if (!arena_copy(arena, record->key, &copy.key) ||
        !arena_copy(arena, record->value, &copy.value))
        return NULL;
    return range_key_value(arena, &copy);
}

static Etcdserverpb__PutResponse *put_response(const struct machine_write *w, struct arena *arena,
                                               const struct kv_record *prev)
{
    Etcdserverpb__PutResponse *response = arena_alloc(arena, sizeof *response);
    if (!response)
        return NULL;
    etcdserverpb__put_response__init(response);
    response->header = range_header(arena, w->revision);
    if (!response->header)
        return NULL;
    if (prev) {
        response->prev_kv = key_value_kept(arena, prev);
        if (!response->prev_kv)
            return NULL;
    }
    return response;
}

enum machine_err machine_put(struct machine_write *w, const Etcdserverpb__PutRequest *r,
                             struct arena *arena, Etcdserverpb__PutResponse **ret_response)
{
    struct kv_record prev;
    bool found;
    bool want_value = r->ignore_value || (ret_response && r->prev_kv);
    enum machine_err err =
        machine_get(w, slice_of_pb(r->key), want_value, &w->m->scratch, &prev, &found);
    if (err != MACHINE_OK)
        return err;
    struct kv_record record = {
        .key = slice_of_pb(r->key),
        .value = r->ignore_value ? prev.value : slice_of_pb(r->value),
        .create_revision = found ? prev.create_revision : w->revision,
        .version = found ? prev.version + 1 : 1,
        .lease = r->ignore_lease ? prev.lease : r->lease,
    };
    err = write_record(w, &record);
    if (err == MACHINE_OK && ret_response)
        *ret_response = put_response(w, arena, found && r->prev_kv ? &prev : NULL);
    return err;
}

/* ---- deleting a range ---- */

/* False when the reply's arena is full: the delete goes on, its answer does not. */
static bool keep_prev(struct machine_delete *slice, struct arena *arena,
                      const struct kv_record *record)
{
    size_t count = (size_t)slice->deleted;
    if (count == slice->prev_capacity) {
        size_t capacity = slice->prev_capacity ? slice->prev_capacity * 2 : 8;
        Mvccpb__KeyValue **grown = arena_alloc(arena, capacity * sizeof(Mvccpb__KeyValue *));
        if (!grown)
            return false;
        if (count > 0)
            memcpy(grown, slice->prev_kvs, count * sizeof(Mvccpb__KeyValue *));
        slice->prev_kvs = grown;
        slice->prev_capacity = capacity;
    }
    slice->prev_kvs[count] = key_value_kept(arena, record);
    return slice->prev_kvs[count] != NULL;
}

/* The arena that prev_kvs are kept in; NULL when nobody wants them. */
struct keeping {
    struct arena *arena;
    bool is_full;
};

static enum machine_err delete_one(struct machine_write *w, struct kv_cursor *cursor,
                                   struct kv_record *found, struct machine_delete *slice,
                                   struct keeping *keeping)
{
    if (keeping->arena && !keeping->is_full) {
        enum kv_err err = cursor ? kv_cursor_value(cursor, &w->m->scratch, found) : KV_OK;
        if (err != KV_OK)
            return machine_err_of_kv(err);
        keeping->is_full = !keep_prev(slice, keeping->arena, found);
    }
    struct kv_record tombstone = { .key = found->key, .tombstone = true };
    enum machine_err err = write_record(w, &tombstone);
    if (err == MACHINE_OK)
        slice->deleted++;
    return err;
}

static enum machine_err delete_point(struct machine_write *w, struct slice key,
                                     struct machine_delete *slice, struct keeping *keeping)
{
    struct kv_record record;
    bool found;
    enum machine_err err =
        machine_get(w, key, keeping->arena != NULL, &w->m->scratch, &record, &found);
    if (err != MACHINE_OK || !found)
        return err;
    record.key = key;
    return delete_one(w, NULL, &record, slice, keeping);
}

/* The first key after `key`. */
static bool key_successor(struct arena *arena, struct slice key, struct slice *ret_key)
{
    uint8_t *bytes = arena_alloc(arena, key.size + 1);
    if (!bytes)
        return false;
    memcpy(bytes, key.data, key.size);
    bytes[key.size] = 0;
    *ret_key = slice_of(bytes, key.size + 1);
    return true;
}

static enum machine_err delete_walk(struct machine_write *w, struct kv_cursor *cursor,
                                    uint64_t keys_max, struct machine_delete *slice,
                                    struct keeping *keeping)
{
    for (uint64_t keys = 0;; keys++) {
        struct kv_record record;
        bool found;
        enum kv_err err = kv_cursor_next(cursor, &record, &found);
        if (err != KV_OK)
            return machine_err_of_kv(err);
        if (!found)
            return MACHINE_OK;
        if (keys >= keys_max) {
            bool copied = arena_copy(&w->m->scratch, record.key, &slice->resume);
            return copied ? MACHINE_MORE : MACHINE_E_NOMEM;
        }
        /* The tombstones are of a later revision than the cursor's: it does not see them. */
        enum machine_err deleted = delete_one(w, cursor, &record, slice, keeping);
        if (deleted != MACHINE_OK)
            return deleted;
    }
}

/* What this entry put or deleted itself is seen too: the walk is at its revision then, and steps
 * over the tombstones that it makes by going on behind each key. */
static enum machine_err delete_in_own_changes(struct machine_write *w, struct kv_range range,
                                              struct machine_delete *slice, struct keeping *keeping)
{
    for (;;) {
        struct kv_cursor *cursor;
        enum kv_err err = kv_cursor_open(w->m->view, &range, &w->m->scratch, &cursor);
        if (err != KV_OK)
            return machine_err_of_kv(err);
        struct kv_record record;
        bool found;
        err = kv_cursor_next(cursor, &record, &found);
        enum machine_err result = machine_err_of_kv(err);
        if (result == MACHINE_OK && found) {
            if (!arena_copy(&w->m->scratch, record.key, &record.key) ||
                !key_successor(&w->m->scratch, record.key, &range.start))
                result = MACHINE_E_NOMEM;
            else
                result = delete_one(w, cursor, &record, slice, keeping);
        }
        kv_cursor_close(cursor);
        if (result != MACHINE_OK || !found)
            return result;
    }
}

static enum machine_err delete_keys(struct machine_write *w, const struct key_range *keys,
                                    uint64_t keys_max, struct machine_delete *slice,
                                    struct keeping *keeping)
{
    struct kv_range range = {
        .start = slice->is_running ? slice->resume : keys->start,
        .end = keys->is_open ? (struct slice){ 0 } : keys->end,
        .end_is_open = keys->is_open,
        .revision = w->revision - 1,
    };
    if (w->sub > 0 && !slice->is_running) {
        range.revision = w->revision;
        return delete_in_own_changes(w, range, slice, keeping);
    }
    struct kv_cursor *cursor;
    enum kv_err err = kv_cursor_open(w->m->view, &range, &w->m->scratch, &cursor);
    if (err != KV_OK)
        return machine_err_of_kv(err);
    enum machine_err result = delete_walk(w, cursor, keys_max, slice, keeping);
    kv_cursor_close(cursor);
    return result;
}

static Etcdserverpb__DeleteRangeResponse *delete_response(const struct machine_write *w,
                                                          struct arena *arena,
                                                          const struct machine_delete *slice)
{
    Etcdserverpb__DeleteRangeResponse *response = arena_alloc(arena, sizeof *response);
    if (!response)
        return NULL;
    etcdserverpb__delete_range_response__init(response);
    response->header = range_header(arena, machine_write_revision(w));
    response->deleted = slice->deleted;
    if (slice->prev_kvs) {
        response->prev_kvs = slice->prev_kvs;
        response->n_prev_kvs = (size_t)slice->deleted;
    }
    return response->header ? response : NULL;
}

enum machine_err machine_delete_range(struct machine_write *w,
                                      const Etcdserverpb__DeleteRangeRequest *r, uint64_t keys_max,
                                      struct machine_delete *slice, struct arena *arena,
                                      Etcdserverpb__DeleteRangeResponse **ret_response)
{
    struct key_range keys = key_range_of(r->key, r->range_end);
    struct keeping keeping = { .arena = ret_response && r->prev_kv ? arena : NULL };
    enum machine_err err = MACHINE_OK;
    if (keys.is_point)
        err = delete_point(w, keys.start, slice, &keeping);
    else if (!key_range_is_empty(&keys))
        err = delete_keys(w, &keys, keys_max, slice, &keeping);
    if (err == MACHINE_MORE)
        slice->is_running = true;
    if (err == MACHINE_OK && ret_response)
        *ret_response = keeping.is_full ? NULL : delete_response(w, arena, slice);
    return err;
}
