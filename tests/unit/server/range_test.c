#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/key_range.h"
#include "server/range.h"
#include "tests/support/kv_model.h"
#include "tests/support/request_maker.h"
#include "tests/support/store_rig.h"

static struct store_rig store;
static struct kv *kv;
static struct arena arena;
static struct kv_model *model;
static struct kv_view *view;

enum { CHANGES = 1500, COMPACTED = 100 };

static void setup(void)
{
    store_rig_init(&store);
    cr_assert_eq(store_rig_open(&store), STORE_OK);
    cr_assert_eq(kv_open(&kv, store.store, 2), KV_OK);
    arena_init(&arena, 16 << 20);
    model = kv_model_new(5);
    for (int i = 0; i < CHANGES; i++) {
        cr_assert_eq(kv_insert(kv, kv_model_change(model)), KV_OK);
        if (i != CHANGES / 2)
            continue;
        kv_model_end_revision(model);
        cr_assert(kv_freeze(kv));
        struct store_flush flush = store_rig_flush_of(&store, kv_frozen(kv), NULL, 0);
        flush.state.revision = kv_model_revision(model);
        cr_assert_eq(store_rig_flush(&store, &flush), STORE_OK);
        kv_flushed(kv);
    }
    kv_model_end_revision(model);
    cr_assert_eq(kv_view_open(kv, &view), KV_OK);
}

static void done(void)
{
    kv_view_close(view);
    kv_model_free(model);
    kv_close(kv);
    store_rig_done(&store);
    arena_done(&arena);
}

TestSuite(range, .init = setup, .fini = done);

/* As on the loop and as in a job, in turn. */
static struct range_context context(void)
{
    static bool on_loop;
    on_loop = !on_loop;
    return (struct range_context){ .view = view,
                                   .on_loop = on_loop,
                                   .arena = &arena,
                                   .revision = kv_model_revision(model),
                                   .compact_revision = COMPACTED,
                                   .steps_max = UINT64_MAX };
}

static enum range_outcome run(struct range_context c, const Etcdserverpb__RangeRequest *r,
                              Etcdserverpb__RangeResponse **ret_response,
                              enum etcd_error *ret_error)
{
    enum kv_err kv_err = KV_OK;
    return range_execute(&c, r, ret_response, ret_error, &kv_err);
}

/* ---- the model's answer ---- */

static const Etcdserverpb__RangeRequest *asked; /* qsort has no owner */

static int64_t number_of(const struct kv_record *r)
{
    switch (asked->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        return r->version;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        return r->create_revision;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        return r->mod.main;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY:
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
    case _ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET_IS_INT_SIZE:
        break;
    }
    return 0;
}

static int order_of(const void *a, const void *b)
{
    const struct kv_record *x = *(const struct kv_record *const *)a;
    const struct kv_record *y = *(const struct kv_record *const *)b;
    int order = number_of(x) < number_of(y) ? -1 : number_of(x) > number_of(y);
    if (asked->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY)
        order = slice_compare(x->key, y->key);
    if (asked->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        order = slice_compare(x->value, y->value);
    if (asked->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND)
        order = -order;
    return order;
}

static bool is_filtered(const struct kv_record *r)
{
    return (asked->min_mod_revision && r->mod.main < asked->min_mod_revision) ||
           (asked->max_mod_revision && r->mod.main > asked->max_mod_revision) ||
           (asked->min_create_revision && r->create_revision < asked->min_create_revision) ||
           (asked->max_create_revision && r->create_revision > asked->max_create_revision);
}

static bool has_filters(void)
{
    return asked->min_mod_revision || asked->max_mod_revision || asked->min_create_revision ||
           asked->max_create_revision;
}

struct expected {
    const struct kv_record *records[KV_MODEL_KEYS];
    size_t count;
    size_t total;
    bool more;
};

/* As etcd does it: range, with the limit where nothing else decides; filter; sort; limit. */
static struct expected expect(void)
{
    struct expected e = { .count = 0 };
    struct key_range keys = key_range_of(asked->key, asked->range_end);
    int64_t revision = asked->revision > 0 ? asked->revision : kv_model_revision(model);
    size_t limit = asked->limit > 0 ? (size_t)asked->limit : SIZE_MAX - 1;
    bool limits_early =
        asked->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE && !has_filters();
    for (size_t i = 0; i < KV_MODEL_KEYS; i++) {
        const struct kv_record *r = kv_model_get(model, model->keys[i], revision);
        if (!r || r->tombstone || !key_range_has(&keys, r->key))
            continue;
        e.total++;
        if (!is_filtered(r) && (!limits_early || e.count < limit + 1))
            e.records[e.count++] = r;
    }
    qsort(e.records, e.count, sizeof e.records[0], order_of);
    e.more = e.count > limit;
    e.count = e.more ? limit : e.count;
    if (asked->count_only) {
        e.count = 0;
        e.more = false;
    }
    return e;
}

/* Records that compare equal may come in any order: only what is sorted by is compared then. */
static void assert_kv(const Mvccpb__KeyValue *got, const struct kv_record *want)
{
    struct kv_record key = { .key = slice_of_pb(got->key),
                             .value = slice_of_pb(got->value),
                             .mod = { .main = got->mod_revision },
                             .create_revision = got->create_revision,
                             .version = got->version };
    const struct kv_record *a = &key;
    if (asked->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE && asked->keys_only)
        return;
    cr_assert_eq(order_of(&a, &want), 0);
}

static void assert_is_current(const Mvccpb__KeyValue *got)
{
    int64_t revision = asked->revision > 0 ? asked->revision : kv_model_revision(model);
    const struct kv_record *r = kv_model_get(model, slice_of_pb(got->key), revision);
    cr_assert(r && !r->tombstone && !is_filtered(r));
    cr_assert_eq(got->mod_revision, r->mod.main);
    cr_assert_eq(got->create_revision, r->create_revision);
    cr_assert_eq(got->version, r->version);
    cr_assert(
        slice_equal(slice_of_pb(got->value), asked->keys_only ? slice_of(NULL, 0) : r->value));
}

static int64_t any_revision(struct prng *prng)
{
    return prng_below(prng, 3) ? 0 : (int64_t)prng_below(prng, CHANGES);
}

static Etcdserverpb__RangeRequest *any_range(struct prng *prng)
{
    Etcdserverpb__RangeRequest *r = make_range(&arena, "", NULL);
    struct slice start = kv_model_key(model);
    struct slice end = kv_model_key(model);
    r->key = (ProtobufCBinaryData){ start.size, (uint8_t *)start.data };
    uint64_t shape = prng_below(prng, 4);
    if (shape == 0)
        r->range_end = make_bytes(MAKE_OPEN);
    else if (shape > 1)
        r->range_end = (ProtobufCBinaryData){ end.size, (uint8_t *)end.data };
    int64_t newest = kv_model_revision(model);
    r->revision = prng_below(prng, 2)
                      ? 0
                      : COMPACTED + (int64_t)prng_below(prng, (uint64_t)newest - COMPACTED + 1);
    if (prng_below(prng, 8) == 0)
        r->revision = -(int64_t)prng_below(prng, 5);
    r->limit = prng_below(prng, 2) ? 0 : (int64_t)prng_below(prng, 20) - 2;
    r->sort_order = (Etcdserverpb__RangeRequest__SortOrder)prng_below(prng, 3);
    r->sort_target = (Etcdserverpb__RangeRequest__SortTarget)prng_below(prng, 5);
    r->keys_only = prng_below(prng, 3) == 0;
    r->count_only = prng_below(prng, 6) == 0;
    if (prng_below(prng, 3) == 0) {
        r->min_mod_revision = any_revision(prng);
        r->max_mod_revision = any_revision(prng);
        r->min_create_revision = any_revision(prng);
        r->max_create_revision = any_revision(prng);
    }
    return r;
}

Test(range, options_agree_with_the_model)
{
    struct prng prng = prng_seeded(3);
    size_t kvs = 0;
    for (int i = 0; i < 4000; i++) {
        arena_reset(&arena);
        Etcdserverpb__RangeRequest *r = any_range(&prng);
        asked = r;
        struct expected want = expect();
        Etcdserverpb__RangeResponse *got;
        enum etcd_error error;
        cr_assert_eq(run(context(), r, &got, &error), RANGE_DONE, "run %d", i);
        cr_assert_eq(got->count, (int64_t)want.total, "run %d", i);
        cr_assert_eq(got->n_kvs, want.count, "run %d", i);
        cr_assert_eq(got->more, want.more, "run %d", i);
        cr_assert_eq(got->header->revision, kv_model_revision(model));
        for (size_t k = 0; k < want.count; k++) {
            assert_kv(got->kvs[k], want.records[k]);
            assert_is_current(got->kvs[k]);
        }
        kvs += want.count;
    }
    cr_assert_gt(kvs, 4000);
}

Test(range, revisions_are_checked_in_etcds_order)
{
    int64_t newest = kv_model_revision(model);
    const struct {
        int64_t revision;
        enum etcd_error error;
    } rows[] = {
        { newest + 1, ETCD_E_FUTURE_REVISION },
        { INT64_MAX, ETCD_E_FUTURE_REVISION },
        { newest, ETCD_OK },
        { COMPACTED, ETCD_OK },
        { COMPACTED - 1, ETCD_E_COMPACTED },
        { 1, ETCD_E_COMPACTED },
        { 0, ETCD_OK },
        { -1, ETCD_OK },
        { INT64_MIN, ETCD_OK },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Etcdserverpb__RangeRequest *r = make_range(&arena, "a", i % 2 ? MAKE_OPEN : NULL);
        r->revision = rows[i].revision;
        Etcdserverpb__RangeResponse *got;
        enum etcd_error error;
        cr_assert_eq(run(context(), r, &got, &error),
                     rows[i].error == ETCD_OK ? RANGE_DONE : RANGE_REFUSED);
        cr_assert_eq(error, rows[i].error, "row %zu", i);
    }
}

/* What is behind it is counted, not visited. */
Test(range, a_page_costs_a_page)
{
    Etcdserverpb__RangeRequest *r = make_range(&arena, "\x01", MAKE_OPEN);
    asked = r;
    size_t total = expect().total;
    cr_assert_gt(total, 8);
    Etcdserverpb__RangeResponse *got;
    enum etcd_error error;
    for (int i = 0; i < 4; i++) {
        struct range_context c = context();
        r->limit = i < 2 ? 3 : 0;
        r->count_only = i >= 2;
        c.steps_max = i < 2 ? 5 : 1; /* the range, and the keys up to the one behind the page */
        cr_assert_eq(run(c, r, &got, &error), RANGE_DONE);
        cr_assert_eq(got->n_kvs, i < 2 ? 3 : 0);
        cr_assert_eq(got->more, i < 2);
        cr_assert_eq(got->count, total);
        c.steps_max--;
        cr_assert_eq(run(c, r, &got, &error), RANGE_TOO_LONG);
    }
}

Test(range, steps_and_memory_are_bounded)
{
    Etcdserverpb__RangeRequest *r = make_range(&arena, "\x01", MAKE_OPEN);
    asked = r;
    size_t total = expect().total;
    cr_assert_gt(total, 4);
    Etcdserverpb__RangeResponse *got;
    enum etcd_error error;
    for (uint64_t steps = 0; steps <= total + 1; steps++) {
        struct range_context c = context();
        c.steps_max = steps;
        cr_assert_eq(run(c, r, &got, &error), steps <= total ? RANGE_TOO_LONG : RANGE_DONE);
    }
    struct range_context c = context();
    c.steps_max = 0;
    cr_assert_eq(run(c, make_range(&arena, "a", NULL), &got, &error), RANGE_TOO_LONG);
    for (size_t bytes = 0; bytes < 64 << 10; bytes += 500) {
        struct arena small;
        arena_init(&small, bytes);
        c = context();
        c.arena = &small;
        enum range_outcome outcome = run(c, r, &got, &error);
        cr_assert(outcome == RANGE_TOO_LARGE || outcome == RANGE_DONE);
        arena_done(&small);
    }
}

/* A job counts what is not flushed by walking it, and that takes as long as it takes. */
Test(range, a_job_counts_however_much_is_not_flushed)
{
    enum { KEYS = 40000 };
    int64_t revision = kv_model_revision(model);
    kv_view_close(view);
    for (int i = 0; i < KEYS; i++) {
        char key[24];
        snprintf(key, sizeof key, "zz-many-%06d", i);
        struct kv_record record = { .key = slice_of_text(key),
                                    .mod = { .main = ++revision },
                                    .create_revision = revision,
                                    .version = 1 };
        cr_assert_eq(kv_insert(kv, &record), KV_OK);
    }
    cr_assert_eq(kv_view_open(kv, &view), KV_OK);
    Etcdserverpb__RangeRequest *r = make_range(&arena, "zz-many-", "zz-many.");
    r->limit = 1;
    struct range_context c = context();
    c.revision = revision;
    c.on_loop = false;
    Etcdserverpb__RangeResponse *response;
    enum etcd_error error;
    cr_assert_eq(run(c, r, &response, &error), RANGE_DONE);
    cr_assert_eq(response->count, KEYS);
    cr_assert_eq(response->n_kvs, 1);
}

/* ---- more records than are loaded at a time ---- */

enum { LONG_KEYS = 3 * KV_BATCH_MAX };

static struct slice long_key(uint32_t number)
{
    static char key[24];
    snprintf(key, sizeof key, "zz-long-%06u", number);
    return slice_of_text(key);
}

/* The value is the key again; every second is in the store, the others in the memtable, and past
 * the middle all are in the store. */
static int64_t long_keys_put(void)
{
    int64_t revision = kv_model_revision(model);
    kv_view_close(view);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < LONG_KEYS; i++) {
            if ((i % 2 == 0 || i > LONG_KEYS / 2) != (pass == 0))
                continue;
            struct kv_record record =
                store_rig_record(long_key(i), long_key(i), (struct kv_revision){ ++revision, 0 });
            cr_assert_eq(kv_insert(kv, &record), KV_OK);
        }
        if (pass == 1)
            break;
        cr_assert(kv_freeze(kv));
        struct store_flush flush = store_rig_flush_of(&store, kv_frozen(kv), NULL, 0);
        flush.state.revision = revision;
        cr_assert_eq(store_rig_flush(&store, &flush), STORE_OK);
        kv_flushed(kv);
    }
    cr_assert_eq(kv_view_open(kv, &view), KV_OK);
    return revision;
}

Test(range, a_long_one_is_whole_whatever_the_limit)
{
    static const size_t limits[] = { 0,
                                     1,
                                     KV_BATCH_MAX - 1,
                                     KV_BATCH_MAX,
                                     KV_BATCH_MAX + 1,
                                     2 * KV_BATCH_MAX,
                                     LONG_KEYS - 1,
                                     LONG_KEYS,
                                     LONG_KEYS + 1 };
    int64_t revision = long_keys_put();
    Etcdserverpb__RangeRequest *r = make_range(&arena, "zz-long-", "zz-long.");
    for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++) {
        r->limit = (int64_t)limits[l];
        size_t wanted = limits[l] == 0 || limits[l] > LONG_KEYS ? LONG_KEYS : limits[l];
        struct range_context c = context();
        c.revision = revision;
        Etcdserverpb__RangeResponse *got;
        enum etcd_error error;
        cr_assert_eq(run(c, r, &got, &error), RANGE_DONE);
        cr_assert_eq(got->count, LONG_KEYS);
        cr_assert_eq(got->more, wanted < LONG_KEYS);
        cr_assert_eq(got->n_kvs, wanted);
        for (uint32_t i = 0; i < wanted; i++) {
            cr_assert(slice_equal(slice_of_pb(got->kvs[i]->key), long_key(i)));
            cr_assert(slice_equal(slice_of_pb(got->kvs[i]->value), long_key(i)));
        }
    }
}
