#include "server/range.h"

#include <stdlib.h>

#include "base/assert.h"
#include "server/key_range.h"

/* A count's own steps, of 0.1 us: a hundred as a rule. Some of them are one of the reader's. */
enum { COUNT_STEPS_MAX = 2048, COUNT_STEPS_A_STEP = 16 };

static ProtobufCBinaryData pb_of_slice(struct slice bytes)
{
    return (ProtobufCBinaryData){ .len = bytes.size, .data = (uint8_t *)bytes.data };
}

Mvccpb__KeyValue *range_key_value(struct arena *arena, const struct kv_record *record)
{
    Mvccpb__KeyValue *kv = arena_alloc(arena, sizeof *kv);
    if (!kv)
        return NULL;
    mvccpb__key_value__init(kv);
    kv->key = pb_of_slice(record->key);
    kv->value = pb_of_slice(record->value);
    kv->create_revision = record->create_revision;
    kv->mod_revision = record->mod.main;
    kv->version = record->version;
    kv->lease = record->lease;
    return kv;
}

Etcdserverpb__ResponseHeader *range_header(struct arena *arena, int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = arena_alloc(arena, sizeof *header);
    if (!header)
        return NULL;
    etcdserverpb__response_header__init(header);
    header->revision = revision;
    return header;
}

/* What one walk gathers. */
struct gathering {
    const Etcdserverpb__RangeRequest *request;
    Mvccpb__KeyValue **kvs;
    size_t count;
    size_t capacity;
    size_t wanted; /* stop at this many: the rest is counted without looking at it */
    bool has_more; /* there is a record behind the last that was wanted */
    int64_t total;
    struct kv_batch *batch; /* of a walk: behind kvs, their values not loaded yet */
};

static bool request_has_filters(const Etcdserverpb__RangeRequest *r)
{
    return r->min_mod_revision != 0 || r->max_mod_revision != 0 || r->min_create_revision != 0 ||
           r->max_create_revision != 0;
}

/* Key order, ascending, is what a walk gives (etcd: IsDefaultOrdering). */
static bool request_is_in_walk_order(const Etcdserverpb__RangeRequest *r)
{
    if (r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE)
        return r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    return r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
           r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
}

/* Whether the limit already holds while walking. Without an order it does, whatever the target:
 * the first keys, one more than the limit, are what is then sorted (etcd: rangeLimit). */
static bool request_limits_walk(const Etcdserverpb__RangeRequest *r)
{
    return !request_has_filters(r) &&
           (r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE ||
            request_is_in_walk_order(r));
}

static bool request_takes(const Etcdserverpb__RangeRequest *r, const struct kv_record *record)
{
    if (r->max_mod_revision != 0 && record->mod.main > r->max_mod_revision)
        return false;
    if (r->min_mod_revision != 0 && record->mod.main < r->min_mod_revision)
        return false;
    if (r->max_create_revision != 0 && record->create_revision > r->max_create_revision)
        return false;
    return r->min_create_revision == 0 || record->create_revision >= r->min_create_revision;
}

static bool request_needs_values(const Etcdserverpb__RangeRequest *r)
{
    return !r->keys_only || r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
}

static bool gathering_add(struct gathering *g, struct arena *arena, Mvccpb__KeyValue *kv)
{
    if (g->count == g->capacity) {
        size_t capacity = g->capacity ? g->capacity * 2 : 16;
        Mvccpb__KeyValue **grown = arena_alloc(arena, capacity * sizeof(Mvccpb__KeyValue *));
        if (!grown)
            return false;
        if (g->count > 0)
            memcpy(grown, g->kvs, g->count * sizeof(Mvccpb__KeyValue *));
        g->kvs = grown;
        g->capacity = capacity;
    }
    g->kvs[g->count++] = kv;
    return true;
}

/* ---- sorting ---- */

static int compare_numbers(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_by(Etcdserverpb__RangeRequest__SortTarget target, const Mvccpb__KeyValue *a,
                      const Mvccpb__KeyValue *b)
{
    switch (target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        return compare_numbers(a->version, b->version);
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        return compare_numbers(a->create_revision, b->create_revision);
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        return compare_numbers(a->mod_revision, b->mod_revision);
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
        return slice_compare(slice_of_pb(a->value), slice_of_pb(b->value));
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY:
    case _ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET_IS_INT_SIZE:
        break;
    }
    return slice_compare(slice_of_pb(a->key), slice_of_pb(b->key));
}

struct sorting {
    Etcdserverpb__RangeRequest__SortTarget target;
    bool descends;
};

static int compare_sorted(const void *a, const void *b, void *owner)
{
    const struct sorting *sorting = owner;
    const Mvccpb__KeyValue *const *x = a;
    const Mvccpb__KeyValue *const *y = b;
    int order = compare_by(sorting->target, *x, *y);
    return sorting->descends ? -order : order;
}

static void gathering_sort(struct gathering *g)
{
    struct sorting sorting = {
        .target = g->request->sort_target,
        .descends = g->request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND,
    };
    if (g->count > 1)
        qsort_r(g->kvs, g->count, sizeof(Mvccpb__KeyValue *), compare_sorted, &sorting);
}

/* ---- gathering ---- */

static enum range_outcome fail(enum kv_err err, enum kv_err *ret_kv_err)
{
    if (err == KV_E_NOMEM)
        return RANGE_TOO_LARGE;
    *ret_kv_err = err;
    return RANGE_FAILED;
}

static bool step_take(struct range_context *c)
{
    if (c->steps_max == UINT64_MAX)
        return true;
    if (c->steps_max == 0)
        return false;
    c->steps_max--;
    return true;
}

static bool record_add(struct range_context *c, struct gathering *g, const struct kv_record *record)
{
    Mvccpb__KeyValue *kv = range_key_value(c->arena, record);
    return kv && gathering_add(g, c->arena, kv);
}

static enum range_outcome gather_point(struct range_context *c, struct gathering *g,
                                       int64_t revision, enum kv_err *ret_kv_err)
{
    if (!step_take(c))
        return RANGE_TOO_LONG;
    const Etcdserverpb__RangeRequest *r = g->request;
    struct kv_record record;
    bool found;
    bool want_value = request_needs_values(r) && !r->count_only;
    enum kv_err err =
        kv_view_get(c->view, slice_of_pb(r->key), revision, want_value, c->arena, &record, &found);
    if (err != KV_OK)
        return fail(err, ret_kv_err);
    if (!found)
        return RANGE_DONE;
    g->total = 1;
    if (r->count_only || !request_takes(r, &record))
        return RANGE_DONE;
    /* Without its value, a record may borrow the request's key, which the reply outlives: what a
     * transaction was unpacked into is used again before its reply leaves. */
    if (!want_value && !arena_copy(c->arena, record.key, &record.key))
        return RANGE_TOO_LARGE;
    return record_add(c, g, &record) ? RANGE_DONE : RANGE_TOO_LARGE;
}

static enum range_outcome batch_take(struct range_context *c, struct gathering *g,
                                     enum kv_err *ret_kv_err)
{
    struct kv_batch *batch = g->batch;
    enum kv_err err = kv_batch_load(c->view, c->arena, batch);
    if (err != KV_OK)
        return fail(err, ret_kv_err);
    for (size_t i = 0; i < batch->count; i++) {
        if (!record_add(c, g, &batch->records[i]))
            return RANGE_TOO_LARGE;
    }
    batch->count = 0;
    return RANGE_DONE;
}

static enum range_outcome gather_record(struct range_context *c, struct gathering *g,
                                        struct kv_cursor *cursor, struct kv_record *record,
                                        enum kv_err *ret_kv_err)
{
    if (!request_needs_values(g->request)) {
        bool added = arena_copy(c->arena, record->key, &record->key) && record_add(c, g, record);
        return added ? RANGE_DONE : RANGE_TOO_LARGE;
    }
    enum kv_err err = kv_cursor_value_later(cursor, c->arena, g->batch);
    if (err != KV_OK)
        return fail(err, ret_kv_err);
    return g->batch->count == KV_BATCH_MAX ? batch_take(c, g, ret_kv_err) : RANGE_DONE;
}

static enum range_outcome walk(struct range_context *c, struct gathering *g,
                               struct kv_cursor *cursor, enum kv_err *ret_kv_err)
{
    for (;;) {
        struct kv_record record;
        bool found;
        enum kv_err err = kv_cursor_next(cursor, &record, &found);
        if (err != KV_OK)
            return fail(err, ret_kv_err);
        if (!found)
            return batch_take(c, g, ret_kv_err);
        if (!step_take(c))
            return RANGE_TOO_LONG;
        g->has_more = g->count + g->batch->count >= g->wanted;
        if (g->has_more)
            return batch_take(c, g, ret_kv_err);
        g->total++;
        if (!request_takes(g->request, &record))
            continue;
        enum range_outcome outcome = gather_record(c, g, cursor, &record, ret_kv_err);
        if (outcome != RANGE_DONE)
            return outcome;
    }
}

/* How many there are in all, filtered ones too (etcd: rangeKeys counts before it filters). */
static enum range_outcome count_range(struct range_context *c, struct gathering *g,
                                      const struct kv_range *range, enum kv_err *ret_kv_err)
{
    if (c->count_ahead) {
        g->total = *c->count_ahead;
        return RANGE_DONE;
    }
    uint64_t steps_max = c->steps_max == UINT64_MAX ? UINT64_MAX : COUNT_STEPS_MAX;
    struct kv_counting counting = { .on_loop = c->on_loop, .steps_max = steps_max };
    uint64_t count;
    bool known;
    enum kv_err err = kv_view_count(c->view, range, &counting, &count, &known);
    if (err != KV_OK)
        return fail(err, ret_kv_err);
    uint64_t steps = (steps_max - counting.steps_max) / COUNT_STEPS_A_STEP;
    if (c->steps_max != UINT64_MAX)
        c->steps_max -= steps < c->steps_max ? steps : c->steps_max;
    g->total = (int64_t)count;
    return known ? RANGE_DONE : RANGE_TOO_LONG;
}

static struct kv_range kv_range_of(const struct key_range *keys, int64_t revision)
{
    return (struct kv_range){
        .start = keys->start,
        .end = keys->is_open ? (struct slice){ 0 } : keys->end,
        .end_is_open = keys->is_open,
        .revision = revision,
    };
}

static enum range_outcome gather_range(struct range_context *c, struct gathering *g,
                                       int64_t revision, enum kv_err *ret_kv_err)
{
    struct key_range keys = key_range_of(g->request->key, g->request->range_end);
    if (key_range_is_empty(&keys))
        return RANGE_DONE;
    struct kv_range range = kv_range_of(&keys, revision);
    if (!step_take(c))
        return RANGE_TOO_LONG;
    if (g->request->count_only)
        return count_range(c, g, &range, ret_kv_err);
    struct kv_batch batch;
    batch.count = 0;
    g->batch = &batch;
    struct kv_cursor *cursor;
    enum kv_err err = kv_cursor_open(c->view, &range, c->arena, &cursor);
    if (err != KV_OK)
        return fail(err, ret_kv_err);
    enum range_outcome outcome = walk(c, g, cursor, ret_kv_err);
    kv_cursor_close(cursor);
    return outcome == RANGE_DONE && g->has_more ? count_range(c, g, &range, ret_kv_err) : outcome;
}

/* The order of the checks is etcd's (mvcc/kvstore_txn.go). */
static enum etcd_error revision_check(const struct range_context *c, int64_t *revision)
{
    if (*revision > c->revision)
        return ETCD_E_FUTURE_REVISION;
    if (*revision <= 0)
        *revision = c->revision;
    return *revision < c->compact_revision ? ETCD_E_COMPACTED : ETCD_OK;
}

int64_t range_count_ahead(struct range_context *c, const Etcdserverpb__RangeRequest *r)
{
    struct key_range keys = key_range_of(r->key, r->range_end);
    int64_t revision = r->revision;
    struct gathering g = { .request = r };
    enum kv_err kv_err;
    if (r->limit <= 0 || key_range_is_empty(&keys) || revision_check(c, &revision) != ETCD_OK)
        return -1;
    struct kv_range range = kv_range_of(&keys, revision);
    return count_range(c, &g, &range, &kv_err) == RANGE_DONE ? g.total : -1;
}

static Etcdserverpb__RangeResponse *assemble(struct range_context *c, struct gathering *g)
{
    Etcdserverpb__RangeResponse *response = arena_alloc(c->arena, sizeof *response);
    if (!response)
        return NULL;
    etcdserverpb__range_response__init(response);
    response->header = range_header(c->arena, c->revision);
    if (!response->header)
        return NULL;
    const Etcdserverpb__RangeRequest *r = g->request;
    response->more = g->has_more;
    if (r->limit > 0 && g->count > (uint64_t)r->limit) {
        g->count = (size_t)r->limit;
        response->more = true;
    }
    if (r->keys_only) {
        for (size_t i = 0; i < g->count; i++)
            g->kvs[i]->value = (ProtobufCBinaryData){ 0 };
    }
    response->kvs = g->kvs;
    response->n_kvs = g->count;
    response->count = g->total;
    return response;
}

enum range_outcome range_execute(struct range_context *context,
                                 const Etcdserverpb__RangeRequest *request,
                                 Etcdserverpb__RangeResponse **ret_response,
                                 enum etcd_error *ret_error, enum kv_err *ret_kv_err)
{
    int64_t revision = request->revision;
    *ret_error = revision_check(context, &revision);
    if (*ret_error != ETCD_OK)
        return RANGE_REFUSED;
    struct gathering g = { .request = request, .wanted = SIZE_MAX };
    if (request->limit > 0 && request_limits_walk(request))
        g.wanted =
            (size_t)request->limit + !request_is_in_walk_order(request); /* sorted, then cut */
    enum range_outcome outcome = request->range_end.len == 0
                                     ? gather_point(context, &g, revision, ret_kv_err)
                                     : gather_range(context, &g, revision, ret_kv_err);
    if (outcome != RANGE_DONE)
        return outcome;
    if (!request_is_in_walk_order(request))
        gathering_sort(&g);
    *ret_response = assemble(context, &g);
    return *ret_response ? RANGE_DONE : RANGE_TOO_LARGE;
}
