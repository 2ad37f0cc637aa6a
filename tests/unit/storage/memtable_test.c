#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "storage/memtable.h"

enum { RECORDS = 3000, KEY_BYTES_MAX = 24 };

/* What a memtable should hold, in order of insertion. */
struct model_record {
    uint8_t key[KEY_BYTES_MAX];
    size_t key_bytes;
    struct kv_record record;
};

static struct model_record model[RECORDS];
static const struct model_record *sorted[RECORDS];

static int model_compare(const void *a, const void *b)
{
    const struct kv_record *x = &(*(const struct model_record *const *)a)->record;
    const struct kv_record *y = &(*(const struct model_record *const *)b)->record;
    int order = slice_compare(x->key, y->key);
    return order != 0 ? order : (x->mod.main < y->mod.main) - (x->mod.main > y->mod.main);
}

/* Few letters, zeros and high bytes among them, so that keys meet, and are prefixes of each
 * other on both sides of the 8 bytes that nodes hold as a number. */
static size_t key_draw(struct prng *p, uint8_t *ret_key)
{
    static const uint8_t letters[] = { 0x00, 0x01, 'a', 0xff };
    size_t size = prng_below(p, 12) + (prng_below(p, 4) == 0 ? 12 : 0);
    for (size_t i = 0; i < size; i++)
        ret_key[i] = letters[prng_below(p, i % 7 == 3 ? 4 : 2)];
    return size;
}

static struct memtable *filled(uint64_t seed)
{
    struct prng p = prng_seeded(seed);
    struct memtable *m = memtable_new();
    cr_assert_not_null(m);
    for (int i = 0; i < RECORDS; i++) {
        struct model_record *r = &model[i];
        r->key_bytes = key_draw(&p, r->key);
        bool tombstone = prng_below(&p, 5) == 0;
        size_t value_bytes = tombstone ? 0 : prng_below(&p, KEY_BYTES_MAX + 1);
        r->record = (struct kv_record){ .key = slice_of(r->key, r->key_bytes),
                                        .value = slice_of(r->key, value_bytes),
                                        .mod = { .main = 2 + i, .sub = (uint32_t)i % 3 },
                                        .create_revision = i,
                                        .version = i * 2,
                                        .lease = i * 3,
                                        .tombstone = tombstone,
                                        .value_bytes = (uint32_t)value_bytes,
                                        .sum = prng_next(&p) };
        cr_assert(memtable_insert(m, &r->record));
        sorted[i] = r;
    }
    qsort(sorted, RECORDS, sizeof sorted[0], model_compare);
    return m;
}

static void assert_same(const struct memtable_node *node, const struct kv_record *want)
{
    cr_assert_not_null(node);
    struct kv_record got = memtable_record(node);
    cr_assert(slice_equal(got.key, want->key));
    cr_assert(slice_equal(got.value, want->value));
    cr_assert_eq(got.mod.main, want->mod.main);
    cr_assert_eq(got.mod.sub, want->mod.sub);
    cr_assert_eq(got.create_revision, want->create_revision);
    cr_assert_eq(got.version, want->version);
    cr_assert_eq(got.lease, want->lease);
    cr_assert_eq(got.tombstone, want->tombstone);
    cr_assert_eq(got.value_bytes, want->value_bytes);
    cr_assert_eq(got.sum, want->sum);
}

Test(memtable, walks_by_key_and_by_insertion_as_a_sorted_array_does)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct memtable *m = filled(seed);
        cr_assert_eq(memtable_count(m), RECORDS);
        const struct memtable_node *node = memtable_seek(m, slice_of(NULL, 0), INT64_MAX);
        for (int i = 0; i < RECORDS; i++, node = memtable_next(node))
            assert_same(node, &sorted[i]->record);
        cr_assert_null(node);
        node = NULL;
        for (int i = 0; i < RECORDS; i++) {
            node = memtable_next_inserted(m, node);
            assert_same(node, &model[i].record);
        }
        cr_assert_null(memtable_next_inserted(m, node));
        memtable_unref(m);
    }
}

Test(memtable, seek_finds_what_a_scan_of_the_array_finds)
{
    struct memtable *m = filled(9);
    struct prng p = prng_seeded(10);
    for (int step = 0; step < 5000; step++) {
        uint8_t key[KEY_BYTES_MAX];
        struct slice probe = slice_of(key, key_draw(&p, key));
        int64_t revision = (int64_t)prng_below(&p, RECORDS + 4);
        int i = 0;
        for (; i < RECORDS; i++) {
            int order = slice_compare(sorted[i]->record.key, probe);
            if (order > 0 || (order == 0 && sorted[i]->record.mod.main <= revision))
                break;
        }
        const struct memtable_node *node = memtable_seek(m, probe, revision);
        if (i == RECORDS)
            cr_assert_null(node);
        else
            assert_same(node, &sorted[i]->record);
    }
    memtable_unref(m);
}

/* ---- one key ---- */

/* What memtable_get should find, by the order of keys. */
static const struct memtable_node *sought(const struct memtable *m, struct slice key,
                                          int64_t revision)
{
    const struct memtable_node *node = memtable_seek(m, key, revision);
    return node && slice_equal(memtable_key(node), key) ? node : NULL;
}

Test(memtable, get_finds_what_seek_finds_of_the_key)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct memtable *m = filled(seed);
        struct prng p = prng_seeded(seed + 10);
        int found = 0;
        for (int step = 0; step < 20000; step++) {
            uint8_t key[KEY_BYTES_MAX];
            struct slice probe = slice_of(key, key_draw(&p, key));
            int64_t revision = (int64_t)prng_below(&p, RECORDS + 4);
            const struct memtable_node *node = memtable_get(m, probe, revision);
            cr_assert_eq(node, sought(m, probe, revision));
            found += node != NULL;
        }
        cr_assert_gt(found, 1000);
        cr_assert_lt(found, 19000);
        for (int i = 0; i < RECORDS; i++)
            assert_same(memtable_get(m, model[i].record.key, 2 + i), &model[i].record);
        memtable_unref(m);
    }
}

static struct kv_record numbered(uint8_t key[8], uint64_t number, int64_t main)
{
    put_be64(key, number);
    return (struct kv_record){ .key = slice_of(key, 8), .mod = { .main = main } };
}

static void insert_text(struct memtable *m, const char *key, int64_t main, bool tombstone)
{
    struct kv_record r = { .key = slice_of_text(key),
                           .mod = { .main = main },
                           .tombstone = tombstone };
    cr_assert(memtable_insert(m, &r));
}

/* The main of what is found; 0: nothing. */
static int64_t got(const struct memtable *m, const char *key, int64_t revision)
{
    const struct memtable_node *node = memtable_get(m, slice_of_text(key), revision);
    return node ? memtable_revision(node) : 0;
}

/* Versions of "k" at 150, 250, ..., every third a tombstone, among neighbours. */
Test(memtable, get_steps_to_the_version_of_a_revision)
{
    struct memtable *m = memtable_new();
    cr_assert_eq(got(m, "", INT64_MAX), 0);
    cr_assert_eq(got(m, "k", INT64_MAX), 0);
    enum { VERSIONS = 40 };
    for (int64_t i = 1; i <= VERSIONS; i++) {
        insert_text(m, "j", 100 * i, false);
        insert_text(m, "k", 100 * i + 50, i % 3 == 0);
        insert_text(m, i == 7 ? "" : "kk", 100 * i + 51, false);
        cr_assert_eq(got(m, "k", INT64_MAX), 100 * i + 50);
    }
    for (int64_t revision = 0; revision < 100 * (VERSIONS + 1); revision++) {
        int64_t i = (revision - 50) / 100;
        cr_assert_eq(got(m, "k", revision), i > 0 ? 100 * i + 50 : 0);
        cr_assert_eq(got(m, "j", revision), revision / 100 * 100);
        cr_assert_eq(got(m, "", revision), revision < 751 ? 0 : 751);
        if (i > 0) {
            struct kv_record r = memtable_record(memtable_get(m, slice_of_text("k"), revision));
            cr_assert_eq(r.tombstone, i % 3 == 0);
        }
    }
    cr_assert_eq(got(m, "jj", INT64_MAX), 0, "between two that are there");
    cr_assert_eq(got(m, "kkk", INT64_MAX), 0, "behind all");
    memtable_unref(m);
}

Test(memtable, get_finds_each_of_very_many_keys)
{
    struct memtable *m = memtable_new();
    uint8_t key[8];
    enum { KEYS = 150000 };
    for (uint64_t i = 0; i < KEYS; i++) {
        struct kv_record r = numbered(key, i * 2, (int64_t)i + 2);
        cr_assert(memtable_insert(m, &r));
        cr_assert_not_null(memtable_get(m, r.key, INT64_MAX));
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        put_be64(key, i * 2);
        const struct memtable_node *node = memtable_get(m, slice_of(key, 8), INT64_MAX);
        cr_assert(node && memtable_revision(node) == (int64_t)i + 2);
        put_be64(key, i * 2 + 1);
        cr_assert_null(memtable_get(m, slice_of(key, 8), INT64_MAX));
    }
    memtable_unref(m);
}

/* A prefetch is of no consequence but for time: that it ends, whatever the keys are. */
Test(memtable, prefetch_changes_nothing)
{
    struct memtable *empty = memtable_new();
    struct memtable *m = filled(5);
    size_t bytes = memtable_bytes(m);
    for (size_t count = 0; count <= MEMTABLE_PREFETCH_MAX; count++) {
        struct slice keys[MEMTABLE_PREFETCH_MAX];
        for (size_t i = 0; i < count; i++)
            keys[i] = i % 3 == 2 ? slice_of(NULL, 0) : model[i * 97 + count].record.key;
        memtable_prefetch(empty, keys, count);
        memtable_prefetch(m, keys, count);
    }
    cr_assert_eq(memtable_bytes(m), bytes);
    cr_assert_eq(memtable_count(m), RECORDS);
    memtable_unref(m);
    memtable_unref(empty);
}

/* The writer's finger is exact only directly behind the last insert. */
Test(memtable, interleaved_runs_stay_in_order)
{
    struct memtable *m = memtable_new();
    uint8_t key[8];
    enum { STEPS = 4000 };
    for (uint64_t i = 0; i < STEPS; i++) {
        /* Up from 0, down from the middle, the same key again, up from far behind. */
        uint64_t number[] = { i, 1000000 - i, 2000000, 3000000 + i / 2 };
        struct kv_record r = numbered(key, number[i % 4], (int64_t)i + 2);
        cr_assert(memtable_insert(m, &r));
    }
    size_t count = 1;
    const struct memtable_node *node = memtable_seek(m, slice_of(NULL, 0), 0);
    for (const struct memtable_node *next; (next = memtable_next(node)); node = next, count++) {
        struct kv_record a = memtable_record(node);
        struct kv_record b = memtable_record(next);
        int order = slice_compare(a.key, b.key);
        cr_assert(order < 0 || (order == 0 && a.mod.main > b.mod.main));
    }
    cr_assert_eq(count, STEPS);
    memtable_unref(m);
}

Test(memtable, is_small_when_idle_and_takes_large_records)
{
    struct memtable *m = memtable_new();
    uint8_t key[8];
    struct kv_record r = numbered(key, 1, 2);
    cr_assert(memtable_insert(m, &r));
    cr_assert_leq(memtable_bytes(m), 64 * 1024);
    enum { LARGE_BYTES = 3 << 20 };
    uint8_t *large = malloc(LARGE_BYTES);
    memset(large, 7, LARGE_BYTES);
    r.mod.main = 3;
    r.key = slice_of(large, LARGE_BYTES / 2);
    r.value = slice_of(large, LARGE_BYTES);
    cr_assert(memtable_insert(m, &r));
    cr_assert_geq(memtable_bytes(m), LARGE_BYTES + LARGE_BYTES / 2);
    cr_assert_leq(memtable_bytes(m), LARGE_BYTES + LARGE_BYTES / 2 + 64 * 1024);
    struct kv_record got = memtable_record(memtable_seek(m, r.key, 3));
    cr_assert(slice_equal(got.key, r.key) && slice_equal(got.value, r.value));
    free(large);
    memtable_unref(m);
}

Test(memtable, bytes_cover_what_is_held)
{
    struct memtable *m = filled(3);
    cr_assert_geq(memtable_bytes(m), RECORDS * 64);
    cr_assert_leq(memtable_bytes(m), RECORDS * 200);
    struct memtable *second = memtable_ref(m);
    memtable_unref(m);
    cr_assert_eq(memtable_count(second), RECORDS, "a reference keeps it");
    memtable_unref(second);
    memtable_unref(NULL);
}

Test(memtable, refuses_a_revision_that_does_not_ascend, .signal = SIGABRT)
{
    struct memtable *m = memtable_new();
    uint8_t key[8];
    struct kv_record r = numbered(key, 1, 5);
    cr_assert(memtable_insert(m, &r));
    if (!memtable_insert(m, &r))
        cr_assert_fail();
}

/* ---- readers beside the writer ---- */

enum { WRITES = 60000, READERS = 3 };

struct shared {
    uint64_t (*key_of)(int64_t main); /* which key each write is of */
    /* What a reader sees of a write that is complete, as all up to `complete` are. */
    bool (*is_sound)(struct shared *s, int64_t main, int64_t complete);
    bool walks; /* readers look at all of it, too: each key is written once */
    struct memtable *m;
    atomic_int_fast64_t complete; /* everything up to this revision is inserted */
    atomic_int failures;
};

/* A permutation of the keys: neighbours in time are far apart in order. */
static uint64_t key_of_write(int64_t main)
{
    return ((uint64_t)main * 7919) % WRITES;
}

static bool node_is_sound(const struct memtable_node *node)
{
    struct kv_record r = memtable_record(node);
    return r.key.size == 8 && get_be64(r.key.data) == key_of_write(r.mod.main) &&
           r.value.size == 8 && get_le64(r.value.data) == (uint64_t)r.mod.main;
}

/* All that was complete before the walk began is met, in order, and whole. */
static bool walk_is_sound(struct shared *s)
{
    int64_t complete = atomic_load_explicit(&s->complete, memory_order_acquire);
    int64_t met = 0;
    struct slice last = { 0 };
    for (const struct memtable_node *n = memtable_seek(s->m, last, INT64_MAX); n;
         n = memtable_next(n)) {
        struct kv_record r = memtable_record(n);
        if (!node_is_sound(n) || (last.size > 0 && slice_compare(last, r.key) >= 0))
            return false;
        last = r.key;
        met += r.mod.main <= complete;
    }
    int64_t in_order = 0;
    for (const struct memtable_node *n = memtable_next_inserted(s->m, NULL); n;
         n = memtable_next_inserted(s->m, n)) {
        if (memtable_record(n).mod.main != ++in_order)
            return false;
    }
    return met == complete && in_order >= complete;
}

static void *reader_run(void *arg)
{
    struct shared *s = arg;
    struct prng p = prng_seeded(17);
    int64_t complete;
    do {
        complete = atomic_load_explicit(&s->complete, memory_order_acquire);
        for (int i = 0; i < 300 && complete > 0; i++) {
            int64_t main = 1 + (int64_t)prng_below(&p, (uint64_t)complete);
            if (!s->is_sound(s, main, complete))
                atomic_fetch_add(&s->failures, 1);
        }
        if (s->walks && !walk_is_sound(s))
            atomic_fetch_add(&s->failures, 1);
    } while (complete < WRITES);
    return NULL;
}

static void write_beside_readers(struct shared *s)
{
    pthread_t readers[READERS];
    s->m = memtable_new();
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_create(&readers[i], NULL, reader_run, s), 0);
    for (int64_t main = 1; main <= WRITES; main++) {
        uint8_t key[8];
        uint8_t value[8];
        struct kv_record r = numbered(key, s->key_of(main), main);
        put_le64(value, (uint64_t)main);
        r.value = slice_of(value, sizeof value);
        cr_assert(memtable_insert(s->m, &r));
        atomic_store_explicit(&s->complete, main, memory_order_release);
    }
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_join(readers[i], NULL), 0);
    cr_assert_eq(atomic_load(&s->failures), 0);
    memtable_unref(s->m);
}

static bool write_is_found(struct shared *s, int64_t main, int64_t complete)
{
    (void)complete;
    uint8_t key[8];
    put_be64(key, key_of_write(main));
    const struct memtable_node *n = memtable_seek(s->m, slice_of(key, 8), main);
    return n && node_is_sound(n) && memtable_record(n).mod.main == main &&
           memtable_get(s->m, slice_of(key, 8), main) == n &&
           !memtable_get(s->m, slice_of(key, 8), main - 1);
}

Test(memtable, readers_on_other_threads_see_all_that_was_inserted, .timeout = 60)
{
    struct shared s = { .key_of = key_of_write, .is_sound = write_is_found, .walks = true };
    write_beside_readers(&s);
}

/* Every second write is of key 0, the others of more keys in turn. */
enum { TURN_KEYS = 4000 };

static uint64_t turn_key(int64_t main)
{
    return main % 2 != 0 ? 0 : 1 + (uint64_t)main / 2 % TURN_KEYS;
}

static bool turn_is_got(struct shared *s, int64_t main, int64_t revision)
{
    uint8_t key[8];
    put_be64(key, turn_key(main));
    const struct memtable_node *node = memtable_get(s->m, slice_of(key, 8), revision);
    return node && memtable_revision(node) == main;
}

/* It is got at its own revision, and until the key's next. */
static bool turn_is_sound(struct shared *s, int64_t main, int64_t complete)
{
    int64_t next = main % 2 != 0 ? main + 2 : main + 2 * TURN_KEYS;
    uint8_t absent[8];
    put_be64(absent, 1 + TURN_KEYS + (uint64_t)main);
    return turn_is_got(s, main, main) && turn_is_got(s, main, next <= complete ? next - 1 : main) &&
           !memtable_get(s->m, slice_of(absent, 8), INT64_MAX);
}

Test(memtable, readers_on_other_threads_get_every_version, .timeout = 60)
{
    struct shared s = { .key_of = turn_key, .is_sound = turn_is_sound };
    write_beside_readers(&s);
}

/* ---- live keys ---- */

enum { LIVE_KEYS = 400, LIVE_CHANGES = 20000 };

static struct slice live_key(uint32_t i, uint8_t *bytes)
{
    put_be32(bytes, i * 3);
    return slice_of(bytes, 4);
}

/* Puts and deletions as they can be; now and then many keys in order. */
static bool live_change(struct memtable *m, struct prng *p, uint32_t i, int64_t main, bool *lives)
{
    uint8_t bytes[4];
    struct kv_record r = { .key = live_key(i, bytes), .mod = { .main = main } };
    bool before = *lives;
    r.tombstone = before && prng_below(p, 2) == 0;
    r.version = r.tombstone ? 0 : before ? 2 : 1;
    *lives = !r.tombstone;
    return memtable_insert(m, &r) && before != *lives;
}

static void live_check(const struct memtable *m, struct prng *p, const bool *before,
                       const bool *after)
{
    uint8_t from[4];
    uint8_t to[4];
    uint32_t x = (uint32_t)prng_below(p, LIVE_KEYS * 3);
    uint32_t y = x + 1 + (uint32_t)prng_below(p, LIVE_KEYS * 3);
    put_be32(from, x);
    put_be32(to, y);
    struct key_interval keys = { .start = slice_of(from, prng_below(p, 8) == 0 ? 0 : 4),
                                 .end = slice_of(to, 4),
                                 .end_is_open = prng_below(p, 8) == 0 };
    int64_t want = 0;
    for (uint32_t i = 0; i < LIVE_KEYS; i++) {
        uint8_t bytes[4];
        if (key_interval_has(&keys, live_key(i, bytes)))
            want += after[i] - before[i];
    }
    cr_assert_eq(memtable_live_change(m, &keys), want);
}

Test(memtable, sums_up_what_becomes_of_the_live_keys_of_any_interval)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct prng p = prng_seeded(seed);
        static bool before[LIVE_KEYS];
        static bool lives[LIVE_KEYS];
        for (uint32_t i = 0; i < LIVE_KEYS; i++)
            before[i] = lives[i] = prng_below(&p, 2) == 0;
        struct memtable *m = memtable_new();
        size_t changes = 0;
        uint32_t run = 0;
        for (int step = 0; step < LIVE_CHANGES; step++) {
            run = prng_below(&p, 3) == 0 ? (uint32_t)prng_below(&p, LIVE_KEYS) : run + 1;
            run %= LIVE_KEYS;
            changes += live_change(m, &p, run, step + 2, &lives[run]);
            if (step % 16 == 0)
                live_check(m, &p, before, lives);
        }
        cr_assert_eq(memtable_change_count(m), changes);
        cr_assert_eq(memtable_newest(m), LIVE_CHANGES + 1);
        memtable_unref(m);
    }
}

Test(memtable, finds_what_was_inserted_after_a_revision)
{
    struct memtable *m = memtable_new();
    cr_assert_null(memtable_seek_inserted(m, 0));
    cr_assert_eq(memtable_newest(m), 0);
    uint8_t bytes[4];
    for (int64_t i = 0; i < 3000; i++) {
        struct kv_record r = { .key = live_key((uint32_t)i, bytes),
                               .mod = { .main = 10 + i / 4 * 2, .sub = (uint32_t)(i % 4) } };
        cr_assert(memtable_insert(m, &r));
    }
    for (int64_t revision = 0; revision < 1520; revision++) {
        const struct memtable_node *node = memtable_seek_inserted(m, revision);
        int64_t want = revision < 10 ? 10 : revision / 2 * 2 + 2;
        if (want > 10 + 2999 / 4 * 2) {
            cr_assert_null(node);
            continue;
        }
        cr_assert_eq(memtable_record(node).mod.main, want);
        cr_assert_eq(memtable_record(node).mod.sub, 0);
    }
    memtable_unref(m);
}
