#include <criterion/criterion.h>
#include <stdio.h>

#include "base/bytes.h"
#include "server/check.h"
#include "server/key_range.h"
#include "tests/support/request_maker.h"

enum { OPS_MAX = 128 };

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 64 << 20);
}

static void done(void)
{
    arena_done(&arena);
}

TestSuite(check, .init = setup, .fini = done);

#define PUT(key)      make_op_put(&arena, key, "v")
#define DEL(key, end) make_op_delete(&arena, key, end)
#define GET(key)      make_op_range(&arena, key, NULL)
#define THEN(txn, op) make_then(&arena, txn, op)
#define ELSE(txn, op) make_else(&arena, txn, op)
#define TXN()         make_txn_empty(&arena)

static enum etcd_error check(const make_txn *txn)
{
    return check_txn(txn, OPS_MAX, &arena);
}

/* ---- single requests ---- */

Test(check, ranges)
{
    Etcdserverpb__RangeRequest *r = make_range(&arena, "", NULL);
    cr_assert_eq(check_range(r), ETCD_E_EMPTY_KEY);
    r->key = make_bytes("a");
    cr_assert_eq(check_range(r), ETCD_OK);
    r->sort_order = 3;
    cr_assert_eq(check_range(r), ETCD_E_SORT_OPTION);
    r->sort_order = -1;
    cr_assert_eq(check_range(r), ETCD_E_SORT_OPTION);
    r->sort_order = 2;
    r->sort_target = 5;
    cr_assert_eq(check_range(r), ETCD_E_SORT_OPTION);
    r->sort_target = 4;
    cr_assert_eq(check_range(r), ETCD_OK);
}

Test(check, puts_and_deletes)
{
    Etcdserverpb__PutRequest *r = make_put(&arena, "", "v");
    cr_assert_eq(check_put(r), ETCD_E_EMPTY_KEY);
    r->key = make_bytes("a");
    cr_assert_eq(check_put(r), ETCD_OK);
    r->ignore_value = true;
    cr_assert_eq(check_put(r), ETCD_E_VALUE_PROVIDED);
    r->value = make_bytes("");
    cr_assert_eq(check_put(r), ETCD_OK);
    r->ignore_lease = true;
    r->lease = 1;
    cr_assert_eq(check_put(r), ETCD_E_LEASE_PROVIDED);
    cr_assert_eq(check_delete_range(make_delete(&arena, "", "b")), ETCD_E_EMPTY_KEY);
    cr_assert_eq(check_delete_range(make_delete(&arena, "a", "b")), ETCD_OK);
}

/* ---- the shape of transactions ---- */

Test(check, empty_transactions_are_fine)
{
    cr_assert_eq(check(TXN()), ETCD_OK);
}

Test(check, errors_inside_are_found)
{
    make_txn *txn = TXN();
    make_if(&arena, txn, "", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
            ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    cr_assert_eq(check(txn), ETCD_E_EMPTY_KEY);
    txn = TXN();
    ELSE(txn, PUT(""));
    cr_assert_eq(check(txn), ETCD_E_EMPTY_KEY);
    make_txn *outer = TXN();
    THEN(outer, make_op_txn(&arena, txn));
    cr_assert_eq(check(outer), ETCD_E_EMPTY_KEY);
    txn = TXN();
    make_op *unset = PUT("a");
    unset->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET;
    THEN(txn, unset);
    cr_assert_eq(check(txn), ETCD_E_KEY_NOT_FOUND);
}

Test(check, operations_are_counted_by_the_longest_list)
{
    make_txn *txn = TXN();
    for (int i = 0; i < OPS_MAX; i++) {
        THEN(txn, GET("a"));
        ELSE(txn, GET("a"));
        make_if(&arena, txn, "a", 0, 0);
    }
    cr_assert_eq(check(txn), ETCD_OK);
    ELSE(txn, GET("a"));
    cr_assert_eq(check(txn), ETCD_E_TOO_MANY_OPS);
}

Test(check, nested_transactions_have_what_their_parents_left)
{
    for (uint32_t depth = OPS_MAX - 1; depth <= OPS_MAX + 1; depth++) {
        make_txn *txn = TXN();
        THEN(txn, GET("a"));
        for (uint32_t i = 1; i < depth; i++) {
            make_txn *outer = TXN();
            THEN(outer, make_op_txn(&arena, txn));
            txn = outer;
        }
        cr_assert_eq(check(txn), depth <= OPS_MAX ? ETCD_OK : ETCD_E_TOO_MANY_OPS);
    }
}

/* ---- no key twice ---- */

Test(check, a_key_twice_in_a_branch)
{
    static const struct {
        const char *put, *key, *end; /* end "p": a second put instead of a delete */
        bool collides;
    } rows[] = {
        { "a", "a", "p", true },       { "a", "b", "p", false },       { "a", "a", NULL, true },
        { "b", "a", "c", true },       { "a", "a", "c", true },        { "c", "a", "c", false },
        { "d", "a", "c", false },      { "b", "b", "a", false },       { "b", "b", "b", false },
        { "b", "a", MAKE_OPEN, true }, { "a", "b", MAKE_OPEN, false }, { "ab", "a", NULL, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_put = rows[i].end && strcmp(rows[i].end, "p") == 0;
        for (int order = 0; order < 2; order++) {
            make_txn *txn = TXN();
            make_op *other = is_put ? PUT(rows[i].key) : DEL(rows[i].key, rows[i].end);
            THEN(txn, order ? other : PUT(rows[i].put));
            THEN(txn, order ? PUT(rows[i].put) : other);
            cr_assert_eq(check(txn), rows[i].collides ? ETCD_E_DUPLICATE_KEY : ETCD_OK, "row %zu",
                         i);
        }
    }
}

Test(check, a_put_after_a_nested_put_collides_as_one_before_it_does)
{
    for (int order = 0; order < 2; order++) {
        make_txn *inner = TXN();
        ELSE(inner, PUT("a"));
        make_txn *txn = TXN();
        THEN(txn, order ? PUT("a") : make_op_txn(&arena, inner));
        THEN(txn, order ? make_op_txn(&arena, inner) : PUT("a"));
        cr_assert_eq(check(txn), ETCD_E_DUPLICATE_KEY, "order %d", order);
    }
}

Test(check, branches_exclude_each_other)
{
    make_txn *inner = TXN();
    THEN(inner, PUT("a"));
    ELSE(inner, DEL("a", "b"));
    make_txn *txn = TXN();
    THEN(txn, make_op_txn(&arena, inner));
    ELSE(txn, PUT("a"));
    cr_assert_eq(check(txn), ETCD_OK);
    /* Beside another nested transaction they do not. */
    make_txn *other = TXN();
    ELSE(other, PUT("a"));
    THEN(txn, make_op_txn(&arena, other));
    cr_assert_eq(check(txn), ETCD_E_DUPLICATE_KEY);
}

Test(check, deletes_may_overlap)
{
    make_txn *txn = TXN();
    THEN(txn, DEL("a", "d"));
    THEN(txn, DEL("b", MAKE_OPEN));
    THEN(txn, DEL("b", NULL));
    make_txn *inner = TXN();
    THEN(inner, DEL("a", "c"));
    THEN(txn, make_op_txn(&arena, inner));
    cr_assert_eq(check(txn), ETCD_OK);
}

Test(check, a_full_arena_makes_the_request_too_large)
{
    make_txn *txn = TXN();
    for (int i = 0; i < OPS_MAX; i++) {
        static char keys[OPS_MAX][16];
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        THEN(txn, PUT(keys[i]));
    }
    struct arena small;
    arena_init(&small, 512);
    cr_assert_eq(check_txn(txn, OPS_MAX, &small), ETCD_E_REQUEST_TOO_LARGE);
    cr_assert_eq(check(txn), ETCD_OK);
    arena_done(&small);
}

/* ---- against brute force: every path, every key ---- */

static struct prng prng;
static const char *const keys[] = { "a", "aa", "ab", "b", "ba", "c" };
enum { KEYS = sizeof keys / sizeof keys[0] };

static const char *any_key(void)
{
    return keys[prng_below(&prng, KEYS)];
}

static make_txn *any_txn(uint32_t depth);

static make_op *any_op(uint32_t depth)
{
    uint64_t kind = prng_below(&prng, depth > 0 ? 10 : 6);
    if (kind < 2)
        return PUT(any_key());
    if (kind == 2)
        return DEL(any_key(), NULL);
    if (kind == 3)
        return DEL(any_key(), prng_below(&prng, 4) == 0 ? MAKE_OPEN : any_key());
    if (kind < 6)
        return GET(any_key());
    return make_op_txn(&arena, any_txn(depth - 1));
}

static make_txn *any_txn(uint32_t depth)
{
    make_txn *txn = TXN();
    for (uint64_t n = prng_below(&prng, 4); n > 0; n--)
        THEN(txn, any_op(depth));
    for (uint64_t n = prng_below(&prng, 4); n > 0; n--)
        ELSE(txn, any_op(depth));
    return txn;
}

/* Counts of one path: how often each key is put, and whether a delete covers it. */
struct tally {
    uint8_t puts[KEYS];
    bool deleted[KEYS];
};

static bool tally_collides(const struct tally *t)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (t->puts[i] > 1 || (t->puts[i] == 1 && t->deleted[i]))
            return true;
    }
    return false;
}

/* All sets of changes that paths through these operations make: `count` of them. Sets alike are
 * kept once, and lists are short, so this stays small. */
struct tallies {
    struct tally *items;
    size_t count;
};

static struct tallies tallies_with(struct tallies to, const struct tally *t)
{
    for (size_t i = 0; i < to.count; i++) {
        if (memcmp(&to.items[i], t, sizeof *t) == 0)
            return to;
    }
    struct tally *items = arena_alloc(&arena, (to.count + 1) * sizeof *items);
    cr_assert_not_null(items);
    if (to.count > 0)
        memcpy(items, to.items, to.count * sizeof *items);
    items[to.count] = *t;
    return (struct tallies){ items, to.count + 1 };
}

static struct tallies tallies_of_ops(make_op **ops, size_t count);

static struct tallies tallies_of_op(const make_op *op)
{
    struct tally t = { { 0 }, { 0 } };
    struct tallies none = { NULL, 0 };
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
        struct tallies all = tallies_of_ops(op->request_txn->success, op->request_txn->n_success);
        struct tallies failure =
            tallies_of_ops(op->request_txn->failure, op->request_txn->n_failure);
        for (size_t i = 0; i < failure.count; i++)
            all = tallies_with(all, &failure.items[i]);
        return all;
    }
    for (size_t i = 0; i < KEYS; i++) {
        struct slice key = slice_of_text(keys[i]);
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            t.puts[i] = slice_equal(key, slice_of_pb(op->request_put->key));
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            struct key_range r =
                key_range_of(op->request_delete_range->key, op->request_delete_range->range_end);
            t.deleted[i] = key_range_has(&r, key);
        }
    }
    return tallies_with(none, &t);
}

static struct tallies tallies_of_ops(make_op **ops, size_t count)
{
    struct tally empty = { { 0 }, { 0 } };
    struct tallies all = tallies_with((struct tallies){ NULL, 0 }, &empty);
    for (size_t n = 0; n < count; n++) {
        struct tallies each = tallies_of_op(ops[n]);
        struct tallies both = { NULL, 0 };
        for (size_t i = 0; i < all.count; i++) {
            for (size_t j = 0; j < each.count; j++) {
                struct tally sum = all.items[i];
                for (size_t k = 0; k < KEYS; k++) {
                    uint8_t puts = (uint8_t)(sum.puts[k] + each.items[j].puts[k]);
                    sum.puts[k] = puts > 2 ? 2 : puts;
                    sum.deleted[k] |= each.items[j].deleted[k];
                }
                both = tallies_with(both, &sum);
            }
        }
        all = both;
    }
    return all;
}

static bool some_path_collides(make_txn *txn)
{
    struct tallies all = tallies_of_op(make_op_txn(&arena, txn));
    for (size_t i = 0; i < all.count; i++) {
        if (tally_collides(&all.items[i]))
            return true;
    }
    return false;
}

/* The sweep looks at all of the key space, the model at the keys alone: ranges end at keys, so
 * they agree. */
Test(check, agrees_with_every_path_tried)
{
    prng = prng_seeded(7);
    size_t collisions = 0;
    enum { RUNS = 8000 };
    for (int run = 0; run < RUNS; run++) {
        arena_reset(&arena);
        make_txn *txn = any_txn((uint32_t)prng_below(&prng, 4));
        bool want = some_path_collides(txn);
        cr_assert_eq(check(txn), want ? ETCD_E_DUPLICATE_KEY : ETCD_OK, "run %d", run);
        collisions += want;
    }
    cr_assert(collisions > RUNS / 10 && collisions < RUNS * 9 / 10, "%zu", collisions);
}

/* A wide tree under a deep chain: what is remembered grows with its size alone. */
Test(check, a_large_transaction_takes_memory_by_its_size)
{
    enum { LEAVES = 120, GROUPS = 256 };
    make_txn *txn = TXN();
    for (int g = 0; g < GROUPS; g++) {
        make_txn *group = TXN();
        for (int i = 0; i < LEAVES; i++) {
            char *key = arena_alloc(&arena, 32);
            snprintf(key, 32, "%d/%d", g, i);
            THEN(group, PUT(key));
        }
        THEN(txn, make_op_txn(&arena, group));
    }
    for (int i = 0; i < 100; i++) {
        make_txn *outer = TXN();
        char *key = arena_alloc(&arena, 32);
        snprintf(key, 32, "outer%d", i);
        THEN(outer, PUT(key));
        THEN(outer, make_op_txn(&arena, txn));
        txn = outer;
    }
    struct arena scratch;
    arena_init(&scratch, 8 << 20);
    cr_assert_eq(check_txn(txn, CHECK_TXN_OPS_MAX, &scratch), ETCD_OK);
    THEN(txn, PUT("7/7"));
    arena_reset(&scratch);
    cr_assert_eq(check_txn(txn, CHECK_TXN_OPS_MAX, &scratch), ETCD_E_DUPLICATE_KEY);
    arena_done(&scratch);
}

/* ---- commands of other members ---- */

Test(check, commands)
{
    Holdfastpb__Command c = HOLDFASTPB__COMMAND__INIT;
    cr_assert_eq(check_command(&c, &arena), ETCD_E_BAD_MESSAGE);
    c.command_case = HOLDFASTPB__COMMAND__COMMAND_PUT;
    c.put = make_put(&arena, "a", "v");
    cr_assert_eq(check_command(&c, &arena), ETCD_OK);
    c.put = make_put(&arena, "", "v");
    cr_assert_eq(check_command(&c, &arena), ETCD_E_EMPTY_KEY);
    make_txn *txn = TXN();
    for (int i = 0; i < OPS_MAX + 1; i++)
        THEN(txn, GET("a")); /* the sender's --max-txn-ops may be larger than ours */
    c.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    c.txn = txn;
    cr_assert_eq(check_command(&c, &arena), ETCD_OK);
    THEN(txn, PUT("a"));
    THEN(txn, DEL("a", "b"));
    cr_assert_eq(check_command(&c, &arena), ETCD_E_DUPLICATE_KEY);
    Holdfastpb__FeatureLevel level = HOLDFASTPB__FEATURE_LEVEL__INIT;
    c.command_case = HOLDFASTPB__COMMAND__COMMAND_FEATURE_LEVEL;
    c.feature_level = &level;
    cr_assert_eq(check_command(&c, &arena), ETCD_E_BAD_MESSAGE);
}

/* ---- what kind of transaction ---- */

Test(check, kinds)
{
    make_txn *txn = TXN();
    cr_assert(txn_is_read_only(txn) && txn_is_serializable(txn));
    make_op *get = GET("a");
    THEN(txn, get);
    cr_assert(txn_is_read_only(txn));
    cr_assert_not(txn_is_serializable(txn));
    get->request_range->serializable = true;
    cr_assert(txn_is_serializable(txn));
    ELSE(txn, PUT("a"));
    cr_assert_not(txn_is_read_only(txn) || txn_is_serializable(txn));
    make_txn *outer = TXN();
    THEN(outer, make_op_txn(&arena, TXN()));
    cr_assert_not(txn_is_read_only(outer), "as in etcd: IsTxnReadonly");
}
