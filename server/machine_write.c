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

/* keep: the arena for prev_kvs; NULL when nobody wants them. */
static enum machine_err delete_one(struct machine_write *w, struct kv_cursor *cursor,
                                   struct kv_record *found, struct machine_delete *slice,
                                   struct arena *keep)
{
    if (keep && !slice->prev_is_lost) {
        enum kv_err err = cursor ? kv_cursor_value(cursor, &w->m->scratch, found) : KV_OK;
        if (err != KV_OK)
            return machine_err_of_kv(err);
        slice->prev_is_lost = !keep_prev(slice, keep, found);
    }
    struct kv_record tombstone = { .key = found->key, .tombstone = true };
    enum machine_err err = write_record(w, &tombstone);
    if (err == MACHINE_OK)
        slice->deleted++;
    return err;
}

static enum machine_err delete_point(struct machine_write *w, struct slice key,
                                     struct machine_delete *slice, struct arena *keep)
{
    struct kv_record record;
    bool found;
    enum machine_err err = machine_get(w, key, keep != NULL, &w->m->scratch, &record, &found);
    if (err != MACHINE_OK || !found)
        return err;
    record.key = key;
    return delete_one(w, NULL, &record, slice, keep);
}

static enum machine_err delete_walk(struct machine_write *w, struct kv_cursor *cursor,
                                    uint64_t keys_max, struct machine_delete *slice,
                                    struct arena *keep)
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
        /* Its tombstone comes before the cursor, in order and in time: the walk goes on behind. */
        enum machine_err deleted = delete_one(w, cursor, &record, slice, keep);
        if (deleted != MACHINE_OK)
            return deleted;
    }
}

static enum machine_err delete_keys(struct machine_write *w, const struct key_range *keys,
                                    uint64_t keys_max, struct machine_delete *slice,
                                    struct arena *keep)
{
    struct kv_range range = {
        .start = slice->is_running ? slice->resume : keys->start,
        .end = keys->is_open ? (struct slice){ 0 } : keys->end,
        .end_is_open = keys->is_open,
        .revision = machine_write_revision(w), /* what this entry changed itself is seen too */
    };
    struct kv_cursor *cursor;
    enum kv_err err = kv_cursor_open(w->m->view, &range, &w->m->scratch, &cursor);
    if (err != KV_OK)
        return machine_err_of_kv(err);
    enum machine_err result = delete_walk(w, cursor, keys_max, slice, keep);
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
    struct arena *keep = ret_response && r->prev_kv ? arena : NULL;
    enum machine_err err = MACHINE_OK;
    if (keys.is_point)
        err = delete_point(w, keys.start, slice, keep);
    else if (!key_range_is_empty(&keys))
        err = delete_keys(w, &keys, keys_max, slice, keep);
    if (err == MACHINE_MORE) {
        slice->is_running = true;
        /* Whoever has waited for this slice may be gone before the next, but never comes later. */
        slice->prev_is_lost |= !keep;
    }
    if (err == MACHINE_OK && ret_response) {
        bool is_whole = !keep || !slice->prev_is_lost;
        *ret_response = is_whole ? delete_response(w, arena, slice) : NULL;
    }
    return err;
}
