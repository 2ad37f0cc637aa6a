#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/kv_internal.h"
#include "tests/support/kv_model.h"
#include "tests/support/record_expect.h"
#include "tests/support/store_rig.h"

enum { ARENA_BYTES_MAX = 1 << 20, VIEWS_MAX = 4 };

struct rig {
    struct store_rig store;
    struct kv *kv;
    struct arena arena;
    int64_t frozen_to[KV_FROZEN_MAX]; /* the newest revision in each frozen memtable */
};

static void rig_init(struct rig *r)
{
    *r = (struct rig){ .kv = NULL };
    store_rig_init(&r->store);
    cr_assert_eq(store_rig_open(&r->store), STORE_OK);
    cr_assert_eq(kv_open(&r->kv, r->store.store, VIEWS_MAX), KV_OK);
    arena_init(&r->arena, ARENA_BYTES_MAX);
}

static void rig_done(struct rig *r)
{
    kv_close(r->kv);
    store_rig_done(&r->store);
    arena_done(&r->arena);
}

static void insert(struct rig *r, struct kv_record *record)
{
    cr_assert_eq(kv_insert(r->kv, record), KV_OK);
}

static int64_t version_of(struct rig *r, const char *key)
{
    struct kv_view *view;
    struct kv_record got;
    bool found;
    cr_assert_eq(kv_view_open(r->kv, &view), KV_OK);
    cr_assert_eq(kv_view_get(view, slice_of_text(key), INT64_MAX, false, &r->arena, &got, &found),
                 KV_OK);
    kv_view_close(view);
    return found ? got.version : 0;
}

static void put(struct rig *r, const char *key, const char *value, int64_t main)
{
    struct kv_record record = { .key = slice_of_text(key),
                                .value = slice_of_text(value),
                                .mod = { .main = main },
                                .create_revision = main,
                                .version = version_of(r, key) + 1 };
    insert(r, &record);
}

static void del(struct rig *r, const char *key, int64_t main)
{
    struct kv_record record = { .key = slice_of_text(key),
                                .mod = { .main = main },
                                .tombstone = true };
    insert(r, &record);
}

static bool freeze(struct rig *r, int64_t revision)
{
    size_t slot = r->kv->frozen_count;
    if (!kv_freeze(r->kv))
        return false;
    r->frozen_to[slot] = revision;
    return true;
}

/* Writes and publishes; the memtable is still there, as before the loop hears of it. */
static void publish(struct rig *r, int64_t revision, int64_t compact_revision)
{
    struct store_flush flush = store_rig_flush_of(&r->store, kv_frozen(r->kv), NULL, 0);
    flush.state.revision = revision;
    if (compact_revision > flush.state.compact_revision)
        flush.state.compact_revision = compact_revision;
    cr_assert_eq(store_rig_flush(&r->store, &flush), STORE_OK);
}

static void drop_flushed(struct rig *r)
{
    kv_flushed(r->kv);
    for (size_t i = 0; i + 1 < KV_FROZEN_MAX; i++)
        r->frozen_to[i] = r->frozen_to[i + 1];
}

/* ---- checks against the model ---- */

static void assert_same(const struct kv_record *got, const struct kv_record *want, bool has_value)
{
    cr_assert(slice_equal(got->key, want->key));
    struct kv_record counted = *want; /* the model has the value itself */
    counted.value_bytes = (uint32_t)want->value.size;
    counted.sum = kv_record_sum(want);
    record_expect_numbers(got, &counted);
    if (has_value)
        cr_assert(slice_equal(got->value, want->value));
}

static void check_get(struct rig *r, struct kv_view *view, const struct kv_model *m,
                      struct slice key, int64_t revision, bool want_value)
{
    const struct kv_record *want = kv_model_get(m, key, revision);
    struct kv_record got;
    bool found;
    cr_assert_eq(kv_view_get(view, key, revision, want_value, &r->arena, &got, &found), KV_OK);
    cr_assert_eq(found, want && !want->tombstone);
    /* Compaction may have taken a tombstone away. */
    if (found)
        assert_same(&got, want, want_value);
    else if (got.mod.main > 0)
        assert_same(&got, want, false);
}

/* The records of a walk, to be loaded together, and what they are to be. */
struct later {
    struct kv_batch batch;
    const struct kv_record *wants[KV_BATCH_MAX];
};

static void later_check(struct later *l, struct rig *r, struct kv_view *view)
{
    cr_assert_eq(kv_batch_load(view, &r->arena, &l->batch), KV_OK);
    for (size_t i = 0; i < l->batch.count; i++)
        assert_same(&l->batch.records[i], l->wants[i], true);
    l->batch.count = 0;
}

static void later_add(struct later *l, struct rig *r, struct kv_cursor *c,
                      const struct kv_record *want)
{
    l->wants[l->batch.count] = want;
    cr_assert_eq(kv_cursor_value_later(c, &r->arena, &l->batch), KV_OK);
}

static void check_range(struct rig *r, struct kv_view *view, const struct kv_model *m,
                        const struct kv_range *range, size_t values_every)
{
    struct kv_cursor *c;
    cr_assert_eq(kv_cursor_open(view, range, &r->arena, &c), KV_OK);
    struct kv_record got;
    bool found;
    size_t step = 0;
    struct later later = { .batch.count = 0 };
    for (size_t k = 0; k < KV_MODEL_KEYS; k++) {
        const struct kv_record *want = kv_model_get(m, m->keys[k], range->revision);
        if (!want || want->tombstone || slice_compare(m->keys[k], range->start) < 0 ||
            (!range->end_is_open && slice_compare(m->keys[k], range->end) >= 0))
            continue;
        cr_assert_eq(kv_cursor_next(c, &got, &found), KV_OK);
        cr_assert(found);
        cr_assert_eq(got.value.size, 0);
        assert_same(&got, want, false);
        if (step++ % values_every == 0) {
            cr_assert_eq(kv_cursor_value(c, &r->arena, &got), KV_OK);
            assert_same(&got, want, true);
        }
        later_add(&later, r, c, want);
        if (later.batch.count == KV_BATCH_MAX)
            later_check(&later, r, view);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(kv_cursor_next(c, &got, &found), KV_OK);
        cr_assert_not(found, "and stays at the end");
    }
    later_check(&later, r, view);
    kv_cursor_close(c);
}

/* On the loop and off it, with steps without end and with few. */
static void check_count(struct kv_view *view, struct kv_model *m, const struct kv_range *range)
{
    uint64_t want = 0;
    for (size_t k = 0; k < KV_MODEL_KEYS; k++) {
        const struct kv_record *r = kv_model_get(m, m->keys[k], range->revision);
        want += r && !r->tombstone && slice_compare(m->keys[k], range->start) >= 0 &&
                (range->end_is_open || slice_compare(m->keys[k], range->end) < 0);
    }
    for (int i = 0; i < 4; i++) {
        struct kv_counting counting = { .on_loop = i % 2 == 0,
                                        .steps_max =
                                            i < 2 ? UINT64_MAX : prng_below(&m->prng, 60) };
        uint64_t steps_max = counting.steps_max;
        uint64_t count = 0;
        bool known = false;
        cr_assert_eq(kv_view_count(view, range, &counting, &count, &known), KV_OK);
        cr_assert_leq(counting.steps_max, steps_max);
        cr_assert(known || i >= 2);
        cr_assert(!known || count == want, "%lu, not %lu, at %ld", count, want, range->revision);
    }
}

static void check_view(struct rig *r, struct kv_view *view, struct kv_model *m, int64_t oldest,
                       int64_t newest)
{
    struct prng *p = &m->prng;
    for (int i = 0; i < 6; i++) {
        int64_t revision = oldest + (int64_t)prng_below(p, (uint64_t)(newest - oldest) + 1);
        arena_reset(&r->arena);
        check_get(r, view, m, kv_model_key(m), revision, i % 2 == 0);
        struct kv_range range = { .start = i == 0 ? slice_of(NULL, 0) : kv_model_key(m),
                                  .end = kv_model_key(m),
                                  .end_is_open = i % 3 == 0,
                                  .revision = revision };
        check_range(r, view, m, &range, 1 + prng_below(p, 3));
        check_count(view, m, &range);
    }
    int64_t compact = oldest + (int64_t)prng_below(p, (uint64_t)(newest - oldest) + 1);
    uint64_t hash;
    cr_assert_eq(kv_view_hash(view, compact, newest, &hash), KV_OK);
    cr_assert_eq(hash, kv_model_hash(m, compact, newest));
}

static void check_now(struct rig *r, struct kv_model *m, int64_t oldest)
{
    struct kv_view *view;
    cr_assert_eq(kv_view_open(r->kv, &view), KV_OK);
    check_view(r, view, m, oldest, kv_model_revision(m));
    kv_view_close(view);
}

/* A restart: what was not published comes again from the log. */
static void restart(struct rig *r, struct kv_model *m)
{
    kv_close(r->kv);
    store_rig_reopen(&r->store);
    cr_assert_eq(kv_open(&r->kv, r->store.store, VIEWS_MAX), KV_OK);
    for (size_t i = 0; i < m->change_count; i++) {
        if (m->changes[i].mod.main > r->store.state.revision)
            insert(r, &m->changes[i]);
    }
}

/* A view that stays while the world goes on. */
struct held {
    struct kv_view *view;
    int64_t oldest;
    int64_t newest;
};

static void held_check(struct held *h, struct rig *r, struct kv_model *m)
{
    if (!h->view)
        return;
    check_view(r, h->view, m, h->oldest, h->newest);
    kv_view_close(h->view);
    h->view = NULL;
}

static void run_seed(uint64_t seed)
{
    struct rig r;
    rig_init(&r);
    struct kv_model *m = kv_model_new(seed);
    struct held held = { 0 };
    int64_t compact = 1;
    for (int step = 0; step < 900; step++) {
        for (uint64_t i = prng_below(&m->prng, 6); i > 0; i--)
            insert(&r, kv_model_change(m));
        kv_model_end_revision(m);
        int64_t newest = kv_model_revision(m);
        switch (prng_below(&m->prng, 30)) {
        case 0 ... 2:
            IGNORE(freeze(&r, newest), "two may wait already");
            break;
        case 3 ... 4:
            if (kv_frozen(r.kv)) {
                int64_t published = r.frozen_to[0];
                if (prng_below(&m->prng, 2) == 0 && published > compact)
                    compact += (int64_t)prng_below(&m->prng, (uint64_t)(published - compact));
                publish(&r, published, compact);
                check_now(&r, m, compact);
                drop_flushed(&r);
            }
            break;
        case 5:
            if (!held.view) {
                cr_assert_eq(kv_view_open(r.kv, &held.view), KV_OK);
                held.oldest = compact;
                held.newest = newest;
            }
            break;
        case 6:
            held_check(&held, &r, m);
            break;
        case 7:
            held_check(&held, &r, m);
            restart(&r, m);
            break;
        }
        check_now(&r, m, compact);
    }
    held_check(&held, &r, m);
    rig_done(&r);
    kv_model_free(m);
}

Test(kv, agrees_with_a_model_over_random_steps, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        run_seed(seed);
}

/* ---- cases ---- */

/* The keys that a range over all gives at a revision, as "a b c ". */
static const char *keys_at(struct rig *r, int64_t revision)
{
    static char text[200];
    text[0] = '\0';
    struct kv_view *view;
    struct kv_cursor *c;
    cr_assert_eq(kv_view_open(r->kv, &view), KV_OK);
    struct kv_range range = { .end_is_open = true, .revision = revision };
    cr_assert_eq(kv_cursor_open(view, &range, &r->arena, &c), KV_OK);
    struct kv_record got;
    bool found;
    for (size_t size = 0;;) {
        cr_assert_eq(kv_cursor_next(c, &got, &found), KV_OK);
        if (!found)
            break;
        size += (size_t)snprintf(text + size, sizeof text - size, "%.*s@%d ", (int)got.key.size,
                                 (const char *)got.key.data, (int)got.mod.main);
    }
    kv_cursor_close(c);
    kv_view_close(view);
    return text;
}

Test(kv, newer_changes_hide_older_ones_wherever_they_are)
{
    struct rig r;
    rig_init(&r);
    put(&r, "a", "1", 2);
    put(&r, "b", "1", 3);
    put(&r, "c", "1", 4);
    cr_assert(freeze(&r, 4));
    publish(&r, 4, 0);
    drop_flushed(&r);
    del(&r, "a", 5);
    put(&r, "c", "2", 6);
    cr_assert(freeze(&r, 6));
    put(&r, "a", "2", 7);
    del(&r, "b", 8);
    cr_assert(freeze(&r, 8));
    put(&r, "d", "1", 9);
    cr_assert_str_eq(keys_at(&r, 1), "");
    cr_assert_str_eq(keys_at(&r, 3), "a@2 b@3 ");
    cr_assert_str_eq(keys_at(&r, 4), "a@2 b@3 c@4 ");
    cr_assert_str_eq(keys_at(&r, 5), "b@3 c@4 ");
    cr_assert_str_eq(keys_at(&r, 6), "b@3 c@6 ");
    cr_assert_str_eq(keys_at(&r, 7), "a@7 b@3 c@6 ");
    cr_assert_str_eq(keys_at(&r, 8), "a@7 c@6 ");
    cr_assert_str_eq(keys_at(&r, 9), "a@7 c@6 d@9 ");
    cr_assert_not(freeze(&r, 9), "two wait already");
    rig_done(&r);
}

/* A flush that was interrupted between its transactions leaves rows that nobody may see (I3). */
Test(kv, rows_above_the_published_revision_are_not_there)
{
    struct rig r;
    rig_init(&r);
    put(&r, "a", "1", 2);
    put(&r, "a", "2", 3);
    put(&r, "b", "1", 4);
    cr_assert(freeze(&r, 4));
    publish(&r, 2, 0); /* all three rows are written */
    drop_flushed(&r);
    cr_assert_str_eq(keys_at(&r, 9), "a@2 ");
    struct kv_view *view;
    cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
    struct kv_record got;
    bool found;
    cr_assert_eq(kv_view_get(view, slice_of_text("b"), 9, true, &r.arena, &got, &found), KV_OK);
    cr_assert_not(found);
    cr_assert_eq(got.mod.main, 0);
    cr_assert_eq(kv_view_get(view, slice_of_text("a"), 9, true, &r.arena, &got, &found), KV_OK);
    cr_assert(found && slice_equal(got.value, slice_of_text("1")));
    kv_view_close(view);
    rig_done(&r);
}

Test(kv, a_tombstone_is_described_but_not_found)
{
    struct rig r;
    rig_init(&r);
    put(&r, "a", "1", 2);
    del(&r, "a", 3);
    for (int i = 0; i < 2; i++) {
        struct kv_view *view;
        struct kv_record got;
        bool found = true;
        cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
        cr_assert_eq(kv_view_get(view, slice_of_text("a"), 3, true, &r.arena, &got, &found), KV_OK);
        cr_assert_not(found);
        cr_assert(got.tombstone && got.mod.main == 3);
        kv_view_close(view);
        cr_assert(i == 1 || freeze(&r, 3));
        publish(&r, 3, 0);
        if (i == 0)
            drop_flushed(&r);
    }
    rig_done(&r);
}

Test(kv, views_are_bounded_and_come_back)
{
    struct rig r;
    rig_init(&r);
    struct kv_view *views[VIEWS_MAX];
    struct kv_view *extra;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < VIEWS_MAX; i++)
            cr_assert_eq(kv_view_open(r.kv, &views[i]), KV_OK);
        cr_assert_eq(kv_view_open(r.kv, &extra), KV_E_BUSY);
        cr_assert_eq(kv_views_open(r.kv), VIEWS_MAX);
        for (int i = 0; i < VIEWS_MAX; i++)
            kv_view_close(views[i]);
        cr_assert_eq(kv_views_open(r.kv), 0);
    }
    kv_view_close(NULL);
    struct kv *kv;
    cr_assert_eq(kv_open(&kv, r.store.store, 1000), KV_E_BUSY, "more than the store has slots");
    rig_done(&r);
    kv_close(NULL);
}

Test(kv, bytes_move_from_active_to_frozen_and_go)
{
    struct rig r;
    rig_init(&r);
    size_t empty = kv_active_bytes(r.kv);
    cr_assert_eq(kv_memtable_bytes(r.kv), empty);
    cr_assert_leq(empty, 64 * 1024);
    put(&r, "a", "1", 2);
    size_t full = kv_active_bytes(r.kv);
    cr_assert_gt(full, empty);
    cr_assert_null(kv_frozen(r.kv));
    cr_assert(freeze(&r, 2));
    cr_assert_eq(kv_active_bytes(r.kv), empty);
    cr_assert_eq(kv_memtable_bytes(r.kv), full + empty);
    cr_assert_eq(memtable_count(kv_frozen(r.kv)), 1);
    publish(&r, 2, 0);
    drop_flushed(&r);
    cr_assert_eq(kv_memtable_bytes(r.kv), empty);
    cr_assert_gt(kv_spare_bytes(r.kv), 0, "what it left behind");
    while (kv_trim(r.kv))
        cr_assert_gt(kv_spare_bytes(r.kv), 0);
    cr_assert_eq(kv_spare_bytes(r.kv), 0, "small chunks are not kept");
    rig_done(&r);
}

/* Many changes of one key, in a memtable and in the store: the walk steps, then seeks. */
Test(kv, a_hot_key_does_not_hide_its_neighbours)
{
    struct rig r;
    rig_init(&r);
    put(&r, "a", "1", 2);
    put(&r, "z", "1", 3);
    for (int64_t main = 4; main < 200; main++) {
        put(&r, "hot", "1", main);
        if (main == 100) {
            cr_assert(freeze(&r, main));
            publish(&r, main, 0);
            drop_flushed(&r);
        }
    }
    cr_assert_str_eq(keys_at(&r, 3), "a@2 z@3 ");
    cr_assert_str_eq(keys_at(&r, 50), "a@2 hot@50 z@3 ");
    cr_assert_str_eq(keys_at(&r, 150), "a@2 hot@150 z@3 ");
    cr_assert_str_eq(keys_at(&r, 900), "a@2 hot@199 z@3 ");
    rig_done(&r);
}

Test(kv, a_full_arena_is_no_memory)
{
    struct rig r;
    rig_init(&r);
    struct kv_view *view;
    struct kv_cursor *c;
    struct arena tiny;
    arena_init(&tiny, 8);
    struct kv_range range = { .end_is_open = true, .revision = 1 };
    cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
    cr_assert_eq(kv_cursor_open(view, &range, &tiny, &c), KV_E_NOMEM);
    kv_view_close(view);
    arena_done(&tiny);
    rig_done(&r);
}

/* ---- damage ---- */

/* Flips a byte of the last row of a tree, through LMDB. */
static void damage_last_row(struct rig *r, MDB_dbi dbi, size_t offset_from_end)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k;
    MDB_val v;
    uint8_t row[4096];
    cr_assert_eq(mdb_txn_begin(r->kv->trees.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    cr_assert_eq(mdb_cursor_get(cursor, &k, &v, MDB_LAST), 0);
    cr_assert_leq(v.mv_size, sizeof row);
    memcpy(row, v.mv_data, v.mv_size);
    row[v.mv_size - offset_from_end] ^= 0x40;
    v.mv_data = row;
    cr_assert_eq(mdb_cursor_put(cursor, &k, &v, MDB_CURRENT), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

/* What a view keeps from one opening to the next is not where its last transaction was. */
Test(kv, values_are_of_the_transaction_that_is_open)
{
    struct rig r;
    rig_init(&r);
    for (int64_t revision = 2; revision < 40; revision++) {
        struct kv_view *view;
        struct kv_record got;
        bool found;
        char key[8];
        snprintf(key, sizeof key, "k%02d", (int)revision);
        put(&r, key, "value", revision);
        cr_assert(freeze(&r, revision));
        publish(&r, revision, 0);
        drop_flushed(&r);
        cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
        cr_assert_eq(kv_view_get(view, slice_of_text(key), revision, true, &r.arena, &got, &found),
                     KV_OK);
        cr_assert(found && slice_equal(got.value, slice_of_text("value")));
        kv_view_close(view);
    }
    rig_done(&r);
}

Test(kv, damage_is_reported_and_not_read)
{
    struct rig r;
    rig_init(&r);
    put(&r, "a", "value", 2);
    cr_assert(freeze(&r, 2));
    publish(&r, 2, 0);
    drop_flushed(&r);
    damage_last_row(&r, r.kv->trees.rev, 1);
    struct kv_view *view;
    struct kv_cursor *c;
    struct kv_record got;
    bool found;
    struct slice a = slice_of_text("a");
    cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
    cr_assert_eq(kv_view_get(view, a, 2, true, &r.arena, &got, &found), KV_E_CORRUPT);
    cr_assert_eq(kv_view_get(view, a, 2, false, &r.arena, &got, &found), KV_OK);
    struct kv_range range = { .end_is_open = true, .revision = 2 };
    cr_assert_eq(kv_cursor_open(view, &range, &r.arena, &c), KV_OK);
    cr_assert_eq(kv_cursor_next(c, &got, &found), KV_OK);
    cr_assert_eq(kv_cursor_value(c, &r.arena, &got), KV_E_CORRUPT);
    struct kv_batch batch = { .count = 0 };
    cr_assert_eq(kv_cursor_value_later(c, &r.arena, &batch), KV_OK);
    cr_assert_eq(kv_batch_load(view, &r.arena, &batch), KV_E_CORRUPT);
    kv_cursor_close(c);
    kv_view_close(view);
    damage_last_row(&r, r.kv->trees.key, 8);
    cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
    uint64_t hash;
    cr_assert_eq(kv_view_get(view, a, 2, false, &r.arena, &got, &found), KV_E_CORRUPT);
    cr_assert_eq(kv_cursor_open(view, &range, &r.arena, &c), KV_E_CORRUPT);
    cr_assert_eq(kv_view_hash(view, 0, 2, &hash), KV_E_CORRUPT);
    kv_view_close(view);
    rig_done(&r);
}

/* Two rows, each whole, that are not of the same record. */
Test(kv, rows_that_do_not_belong_together_are_damage)
{
    struct rig r;
    rig_init(&r);
    put(&r, "a", "value", 2);
    cr_assert(freeze(&r, 2));
    publish(&r, 2, 0);
    drop_flushed(&r);
    struct kv_view *view;
    struct kv_record got;
    bool found;
    struct slice a = slice_of_text("a");
    cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
    cr_assert_eq(kv_view_get(view, a, 2, true, &r.arena, &got, &found), KV_OK);
    kv_view_close(view);
    MDB_txn *txn;
    uint64_t next_layer_id = 1;
    got.sum ^= 1;
    cr_assert_eq(mdb_txn_begin(r.kv->trees.env, NULL, 0, &txn), 0);
    struct key_tree_writer writer;
    size_t row_bytes;
    bool is_beside;
    cr_assert_eq(key_tree_writer_open(&writer, txn, r.kv->trees.key), STORE_OK);
    cr_assert_eq(key_tree_put(&writer, &got, 1, &next_layer_id, &row_bytes, &is_beside), STORE_OK);
    key_tree_writer_close(&writer);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    cr_assert_eq(kv_view_open(r.kv, &view), KV_OK);
    cr_assert_eq(kv_view_get(view, a, 2, true, &r.arena, &got, &found), KV_E_CORRUPT);
    kv_view_close(view);
    rig_done(&r);
}

Test(kv, errors_have_their_texts)
{
    cr_assert_str_eq(kv_strerror(KV_OK), "ok");
    cr_assert_str_eq(kv_strerror(KV_E_CORRUPT), "a row of the store fails its checksum");
    static const struct {
        enum store_err store;
        enum kv_err kv;
    } cases[] = { { STORE_OK, KV_OK },
                  { STORE_E_NOMEM, KV_E_NOMEM },
                  { STORE_E_CORRUPT, KV_E_CORRUPT },
                  { STORE_E_IO, KV_E_IO },
                  { STORE_E_VERSION, KV_E_IO } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(kv_err_of_store(cases[i].store), cases[i].kv);
}

/* ---- a job reads while the loop inserts ---- */

enum { JOB_KEYS = 500, JOB_ROUNDS = 60 };

struct job {
    struct kv_view *view;
    int64_t revision; /* complete when the view was opened: each key has one of the last round */
    atomic_bool stop;
    atomic_int failures;
    atomic_int walks;
};

static int walk_once(struct job *job, struct arena *arena)
{
    struct kv_range range = { .end_is_open = true, .revision = job->revision };
    struct kv_cursor *c;
    struct kv_record got;
    bool found = true;
    if (kv_cursor_open(job->view, &range, arena, &c) != KV_OK)
        return 1;
    int bad = 0;
    uint32_t count = 0;
    while (kv_cursor_next(c, &got, &found) == KV_OK && found) {
        bad += get_be32(got.key.data) != count++ || got.mod.main > job->revision ||
               got.mod.main <= job->revision - JOB_KEYS;
        bad += kv_cursor_value(c, arena, &got) != KV_OK ||
               get_be64(got.value.data) != (uint64_t)got.mod.main;
    }
    kv_cursor_close(c);
    return bad + (count != JOB_KEYS);
}

static void *job_run(void *arg)
{
    struct job *job = arg;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    do {
        arena_reset(&arena);
        atomic_fetch_add(&job->failures, walk_once(job, &arena));
        atomic_fetch_add(&job->walks, 1);
    } while (!atomic_load(&job->stop));
    arena_done(&arena);
    return NULL;
}

/* Every key once, in an order that differs from round to round. */
static int64_t insert_round(struct rig *r, int64_t main, uint32_t round)
{
    for (uint32_t i = 0; i < JOB_KEYS; i++) {
        uint8_t key[4];
        uint8_t value[8];
        put_be32(key, (i * 7 + round) % JOB_KEYS);
        put_be64(value, (uint64_t)++main);
        struct kv_record record = { .key = slice_of(key, sizeof key),
                                    .value = slice_of(value, sizeof value),
                                    .mod = { .main = main } };
        insert(r, &record);
    }
    return main;
}

Test(kv, a_job_reads_its_revision_while_the_loop_goes_on, .timeout = 60)
{
    struct rig r;
    rig_init(&r);
    int64_t main = insert_round(&r, 1, 0);
    for (uint32_t round = 1; round < JOB_ROUNDS; round++) {
        struct job job = { .revision = main };
        cr_assert_eq(kv_view_open(r.kv, &job.view), KV_OK);
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, job_run, &job), 0);
        main = insert_round(&r, main, round);
        if (round % 3 == 0 && kv_frozen(r.kv)) {
            publish(&r, r.frozen_to[0], 0);
            drop_flushed(&r);
        } else if (round % 3 == 1) {
            cr_assert(freeze(&r, main));
        }
        main = insert_round(&r, main, round);
        atomic_store(&job.stop, true);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_eq(atomic_load(&job.failures), 0);
        cr_assert_gt(atomic_load(&job.walks), 0);
        kv_view_close(job.view);
    }
    rig_done(&r);
}
