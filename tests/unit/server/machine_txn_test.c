#include <criterion/criterion.h>

#include "tests/support/machine_rig.h"

static struct machine_rig rig;
static struct arena *a = &rig.arena;

static void setup(void)
{
    machine_rig_init(&rig);
    cr_assert_eq(machine_rig_put(&rig, make_put(a, "a", "1")), ETCD_OK); /* revision 2 */
    cr_assert_eq(machine_rig_put(&rig, make_put(a, "b", "2")), ETCD_OK);
    cr_assert_eq(machine_rig_put(&rig, make_put(a, "b", "3")), ETCD_OK); /* revision 4 */
}

static void done(void)
{
    machine_rig_done(&rig);
}

TestSuite(machine_txn, .init = setup, .fini = done);

static int64_t revision(void)
{
    return machine_state(rig.machine)->revision;
}

static bool succeeds(const make_txn *txn)
{
    bool succeeded = false;
    cr_assert_eq(machine_rig_txn(&rig, txn, &succeeded), ETCD_OK);
    return succeeded;
}

/* ---- compares ---- */

#define VERSION   ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION
#define CREATE    ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE
#define MOD       ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD
#define VALUE     ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE
#define LEASE     ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE
#define EQUAL     ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
#define GREATER   ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER
#define LESS      ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS
#define NOT_EQUAL ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL

Test(machine_txn, compares)
{
    static const struct {
        const char *key, *end;
        int target, result;
        int64_t number;
        const char *value;
        bool holds;
    } rows[] = {
        { "a", NULL, VERSION, EQUAL, 1, NULL, true },
        { "b", NULL, VERSION, EQUAL, 2, NULL, true },
        { "b", NULL, VERSION, GREATER, 2, NULL, false },
        { "b", NULL, VERSION, LESS, 3, NULL, true },
        { "b", NULL, VERSION, NOT_EQUAL, 2, NULL, false },
        { "b", NULL, CREATE, EQUAL, 3, NULL, true },
        { "b", NULL, MOD, EQUAL, 4, NULL, true },
        { "b", NULL, MOD, GREATER, 3, NULL, true },
        { "b", NULL, LEASE, EQUAL, 0, NULL, true },
        { "b", NULL, VALUE, EQUAL, 0, "3", true },
        { "b", NULL, VALUE, GREATER, 0, "2", true },
        { "b", NULL, VALUE, LESS, 0, "30", true },
        { "x", NULL, VERSION, EQUAL, 0, NULL, true }, /* absent: zeros */
        { "x", NULL, CREATE, GREATER, 0, NULL, false },
        { "x", NULL, VALUE, NOT_EQUAL, 0, "3", false }, /* absent: no value compares */
        { "x", NULL, VALUE, EQUAL, 0, "", false },
        { "a", "c", MOD, GREATER, 1, NULL, true },
        { "a", "c", VERSION, EQUAL, 1, NULL, false },
        { "a", MAKE_OPEN, VALUE, LESS, 0, "4", true },
        { "x", "z", VERSION, EQUAL, 0, NULL, true }, /* an empty range is as one absent key */
        { "x", "z", VALUE, EQUAL, 0, "", false },
        { "c", "a", MOD, EQUAL, 0, NULL, true },
        { "a", NULL, MOD, 9, 77, NULL, true }, /* an unknown comparison passes */
    };
    for (int flushed = 0; flushed < 2; flushed++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            make_txn *txn = make_txn_empty(a);
            Etcdserverpb__Compare *c =
                make_if(a, txn, rows[i].key, (Etcdserverpb__Compare__CompareTarget)rows[i].target,
                        (Etcdserverpb__Compare__CompareResult)rows[i].result);
            c->range_end = make_bytes(rows[i].end);
            static const Etcdserverpb__Compare__TargetUnionCase cases[] = {
                ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
                ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
                ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
                ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
                ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
            };
            c->target_union_case = cases[rows[i].target];
            if (rows[i].target == VALUE)
                c->value = make_bytes(rows[i].value);
            else
                c->version = rows[i].number; /* all numbers share the union */
            cr_assert_eq(succeeds(txn), rows[i].holds, "row %zu", i);
        }
        machine_rig_flush(&rig);
    }
    cr_assert_eq(revision(), 4, "nothing was changed");
}

Test(machine_txn, an_operand_of_another_kind_counts_as_zero)
{
    make_txn *txn = make_txn_empty(a);
    Etcdserverpb__Compare *c = make_if(a, txn, "a", MOD, GREATER);
    c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    c->version = 100;
    cr_assert(succeeds(txn));
    c->target = VALUE;
    c->result = GREATER;
    cr_assert(succeeds(txn), "and as an empty value");
}

/* ---- what is carried out ---- */

Test(machine_txn, all_changes_are_one_revision_and_are_seen_inside)
{
    make_txn *txn = make_txn_empty(a);
    make_then(a, txn, make_op_range(a, "a", MAKE_OPEN));
    make_then(a, txn, make_op_put(a, "c", "new"));
    make_then(a, txn, make_op_delete(a, "a", "b"));
    make_then(a, txn, make_op_range(a, "a", MAKE_OPEN));
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    command.txn = txn;
    struct machine_reply reply = { .arena = a };
    cr_assert_eq(machine_rig_apply(&rig, &command, &reply), MACHINE_OK);
    const Etcdserverpb__TxnResponse *r = reply.txn;
    cr_assert_eq(r->n_responses, 4);
    cr_assert_eq(r->header->revision, 5);
    cr_assert_eq(r->responses[0]->response_range->count, 2);
    cr_assert_eq(r->responses[0]->response_range->header->revision, 4);
    cr_assert_eq(r->responses[1]->response_put->header->revision, 5);
    cr_assert_eq(r->responses[2]->response_delete_range->deleted, 1);
    cr_assert_eq(r->responses[3]->response_range->count, 2);
    cr_assert_eq(r->responses[3]->response_range->header->revision, 5);
    cr_assert_eq(revision(), 5);
    cr_assert_null(machine_rig_value(&rig, "a"));
    cr_assert_str_eq(machine_rig_value(&rig, "c"), "new");
}

Test(machine_txn, a_delete_takes_many_keys_after_other_changes)
{
    for (int i = 0; i < 700; i++) {
        char *key = arena_zalloc(a, 8);
        key[0] = 'm';
        key[1] = (char)('0' + i / 64);
        key[2] = (char)('0' + i % 64);
        cr_assert_eq(machine_rig_put(&rig, make_put(a, key, "v")), ETCD_OK);
        if (i == 300)
            machine_rig_flush(&rig);
    }
    make_txn *txn = make_txn_empty(a);
    make_then(a, txn, make_op_put(a, "z", "v"));
    make_then(a, txn, make_op_delete(a, "m5", "m7"));
    make_then(a, txn, make_op_delete(a, "m", "n"));
    make_then(a, txn, make_op_range(a, "m", MAKE_OPEN));
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    command.txn = txn;
    struct machine_reply reply = { .arena = a };
    cr_assert_eq(machine_rig_apply(&rig, &command, &reply), MACHINE_OK);
    int64_t first = reply.txn->responses[1]->response_delete_range->deleted;
    int64_t second = reply.txn->responses[2]->response_delete_range->deleted;
    cr_assert_eq(first, 128);
    cr_assert_eq(first + second, 700, "none is deleted twice");
    cr_assert_eq(reply.txn->responses[3]->response_range->count, 1);
}

Test(machine_txn, nested_compares_see_the_state_before)
{
    make_txn *inner = make_txn_empty(a);
    Etcdserverpb__Compare *c = make_if(a, inner, "a", VERSION, EQUAL);
    c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    c->version = 1;
    make_then(a, inner, make_op_put(a, "t", "then"));
    make_else(a, inner, make_op_put(a, "e", "else"));
    make_txn *txn = make_txn_empty(a);
    make_then(a, txn, make_op_put(a, "a", "changed"));
    make_then(a, txn, make_op_txn(a, inner));
    cr_assert(succeeds(txn));
    cr_assert_str_eq(machine_rig_value(&rig, "t"), "then");
    cr_assert_null(machine_rig_value(&rig, "e"));
    cr_assert_eq(revision(), 5);
}

Test(machine_txn, a_refused_one_changes_nothing)
{
    for (int kind = 0; kind < 4; kind++) {
        make_txn *inner = make_txn_empty(a);
        make_op *bad = kind < 2 ? make_op_range(a, "a", NULL) : make_op_put(a, "x", NULL);
        enum etcd_error want = ETCD_E_FUTURE_REVISION;
        if (kind == 0) {
            bad->request_range->revision = 99;
        } else if (kind == 1) {
            cr_assert_eq(machine_rig_compact(&rig, 3), ETCD_OK);
            bad->request_range->revision = 2;
            want = ETCD_E_COMPACTED;
        } else if (kind == 2) {
            bad->request_put->ignore_value = true;
            want = ETCD_E_KEY_NOT_FOUND;
        } else {
            bad->request_put->lease = 5;
            want = ETCD_E_LEASE_NOT_FOUND;
        }
        make_then(a, inner, bad);
        make_txn *txn = make_txn_empty(a);
        make_then(a, txn, make_op_put(a, "first", "v"));
        make_then(a, txn, make_op_txn(a, inner));
        bool succeeded;
        cr_assert_eq(machine_rig_txn(&rig, txn, &succeeded), want, "kind %d", kind);
        cr_assert_null(machine_rig_value(&rig, "first"));
        cr_assert_eq(revision(), 4);
        /* On the branch that is not taken it does not matter. */
        txn = make_txn_empty(a);
        make_else(a, txn, make_op_txn(a, inner));
        cr_assert(succeeds(txn));
    }
}

/* ---- reading ---- */

static enum range_outcome read_txn(const make_txn *txn, uint64_t steps_max,
                                   Etcdserverpb__TxnResponse **ret_response)
{
    struct kv_view *view;
    cr_assert_eq(kv_view_open(rig.kv, &view), KV_OK);
    struct range_context context = {
        .view = view, .arena = a, .revision = revision(), .steps_max = steps_max
    };
    enum etcd_error error;
    enum kv_err kv_err;
    enum range_outcome outcome = machine_read_txn(&context, txn, ret_response, &error, &kv_err);
    kv_view_close(view);
    return outcome;
}

Test(machine_txn, a_reader_has_steps_for_compares_and_ranges)
{
    make_txn *txn = make_txn_empty(a);
    make_if(a, txn, "a", MOD, NOT_EQUAL)->range_end = make_bytes(MAKE_OPEN); /* 2 keys, its end */
    make_if(a, txn, "a", MOD, NOT_EQUAL);                                    /* 1 */
    make_then(a, txn, make_op_range(a, "a", MAKE_OPEN));                     /* itself, 2 keys */
    make_then(a, txn, make_op_range(a, "b", NULL));                          /* 1 */
    for (uint64_t steps = 0; steps < 10; steps++) {
        Etcdserverpb__TxnResponse *r = NULL;
        enum range_outcome outcome = read_txn(txn, steps, &r);
        cr_assert_eq(outcome, steps < 8 ? RANGE_TOO_LONG : RANGE_DONE, "%d steps", (int)steps);
        if (outcome != RANGE_DONE)
            continue;
        cr_assert(r->succeeded);
        cr_assert_eq(r->header->revision, 4);
        cr_assert_eq(r->responses[0]->response_range->count, 2);
        cr_assert_eq(r->responses[1]->response_range->n_kvs, 1);
    }
}

/* Damage is told from a store that cannot be read: a node repairs the first, and ends for good at
 * the second. */
Test(machine_txn, a_range_that_meets_damage_says_so)
{
    machine_rig_flush(&rig);
    store_rig_lose_record(&rig.store, 4);
    make_txn *txn = make_txn_empty(a);
    make_then(a, txn, make_op_range(a, "b", NULL));
    make_then(a, txn, make_op_put(a, "c", "new"));
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    command.txn = txn;
    struct machine_reply reply = { .arena = a };
    cr_assert_eq(machine_rig_apply(&rig, &command, &reply), MACHINE_E_CORRUPT);
}
