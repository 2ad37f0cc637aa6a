#include <criterion/criterion.h>

#include "tools/ctl.h"
#include "tools/ctl_txn_parse.h"

static struct slice of_pb(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

Test(txn, compares)
{
    static const struct {
        const char *line;
        Etcdserverpb__Compare__CompareTarget target;
        Etcdserverpb__Compare__CompareResult result;
        int64_t number;
    } rows[] = {
        { "mod(\"k\") > \"0\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
          ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER, 0 },
        { "m(\"k\") < \"12\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
          ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS, 12 },
        { "create(\"k\") = \"-1\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
          ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL, -1 },
        { "ver( \"k\")   !=   \"3\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
          ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL, 3 },
        { "lease(\"k\") = \"1f\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
          ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL, 31 },
    };
    struct ctl_txn txn;
    ctl_txn_init(&txn);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_error error;
        cr_assert(ctl_txn_add_compare(&txn, slice_of_text(rows[i].line), &error), "%s",
                  rows[i].line);
        const Etcdserverpb__Compare *c = txn.compares[i];
        cr_assert(slice_equal(of_pb(c->key), slice_of_text("k")));
        cr_assert_eq(c->target, rows[i].target);
        cr_assert_eq(c->result, rows[i].result);
        cr_assert_eq(c->version, rows[i].number);
    }
    ctl_txn_done(&txn);
}

Test(txn, a_compared_value_may_hold_anything)
{
    struct ctl_txn txn;
    struct ctl_error error;
    ctl_txn_init(&txn);
    cr_assert(ctl_txn_add_compare(&txn, slice_of_text("val(\"k\\x00\") = \"a \\\"\\n\""), &error));
    cr_assert(slice_equal(of_pb(txn.compares[0]->key), slice_of("k\0", 2)));
    cr_assert(slice_equal(of_pb(txn.compares[0]->value), slice_of("a \"\n", 4)));
    cr_assert_eq(txn.compares[0]->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE);
    ctl_txn_done(&txn);
}

Test(txn, malformed_compares_are_quoted)
{
    static const struct {
        const char *line, *text;
    } rows[] = {
        { "mod(k) > \"0\"", "malformed comparison: mod(k) > \"0\"" },
        { "mod", "malformed comparison: mod" },
        { "mod(\"k\"", "malformed comparison: mod(\"k\"" },
        { "mod(\"k\")>\"0\"", "malformed comparison: mod(\"k\")>\"0\"" },
        { "mod(\"k\") > \"0\" x", "malformed comparison: mod(\"k\") > \"0\" x" },
        { "foo(\"k\") > \"0\"", "malformed comparison: foo(\"k\") > \"0\" (unknown target foo)" },
        { "mod(\"k\") ~ \"0\"", "malformed comparison: mod(\"k\") ~ \"0\" (unknown operator ~)" },
        { "mod(\"k\") > \"a\"", "invalid txn compare request: mod(\"k\") > \"a\"" },
        { "mod(\"k\") > \"1\\x00\"", "invalid txn compare request: mod(\"k\") > \"1\\x00\"" },
    };
    struct ctl_txn txn;
    ctl_txn_init(&txn);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_error error;
        cr_assert_not(ctl_txn_add_compare(&txn, slice_of_text(rows[i].line), &error), "%s",
                      rows[i].line);
        cr_assert_str_eq(error.text, rows[i].text);
        cr_assert_eq(error.code, CTL_EXIT_INVALID_INPUT);
    }
    cr_assert_eq(txn.compare_count, 0);
    ctl_txn_done(&txn);
}

Test(txn, every_prefix_of_a_compare_is_refused)
{
    static const char line[] = "value(\"k\\x41\") != \"v\\u00e9\"";
    struct ctl_txn txn;
    struct ctl_error error;
    ctl_txn_init(&txn);
    for (size_t size = 1; size < sizeof line - 1; size++)
        cr_assert_not(ctl_txn_add_compare(&txn, slice_of(line, size), &error), "%zu", size);
    cr_assert(ctl_txn_add_compare(&txn, slice_of(line, sizeof line - 1), &error));
    ctl_txn_done(&txn);
}

Test(txn, requests)
{
    struct ctl_txn txn;
    struct ctl_error error;
    ctl_txn_init(&txn);
    struct ctl_txn_ops *ops = &txn.success;
    cr_assert(
        ctl_txn_add_op(&txn, ops, slice_of_text("put k\"1 'a b' --prev-kv --lease=1f"), &error));
    cr_assert(ctl_txn_add_op(&txn, ops, slice_of_text("put \"\\x00\" \"\\xff\""), &error));
    cr_assert(ctl_txn_add_op(&txn, ops, slice_of_text("get \"\" --prefix --limit 3"), &error));
    cr_assert(ctl_txn_add_op(&txn, ops, slice_of_text("del a --prefix"), &error));
    cr_assert_eq(ops->count, 4);
    const Etcdserverpb__PutRequest *put = ops->items[0]->request_put;
    cr_assert(slice_equal(of_pb(put->key), slice_of_text("k\"1")));
    cr_assert(slice_equal(of_pb(put->value), slice_of_text("a b")));
    cr_assert(put->prev_kv && put->lease == 31);
    cr_assert(slice_equal(of_pb(ops->items[1]->request_put->key), slice_of("\0", 1)));
    const Etcdserverpb__RangeRequest *range = ops->items[2]->request_range;
    cr_assert_eq(range->limit, 3);
    cr_assert(slice_equal(of_pb(range->range_end), slice_of("\0", 1)));
    const Etcdserverpb__DeleteRangeRequest *del = ops->items[3]->request_delete_range;
    cr_assert(slice_equal(of_pb(del->range_end), slice_of_text("b")));
    ctl_txn_done(&txn);
}

Test(txn, many_requests_fit)
{
    struct ctl_txn txn;
    struct ctl_error error;
    ctl_txn_init(&txn);
    for (size_t i = 0; i < 1000; i++)
        cr_assert(ctl_txn_add_op(&txn, &txn.failure, slice_of_text("get key"), &error));
    cr_assert_eq(txn.failure.count, 1000);
    ctl_txn_done(&txn);
}

Test(txn, bad_requests_are_quoted)
{
    static const struct {
        const char *line, *text;
    } rows[] = {
        { "put", "invalid txn request: put (a request has a verb and a key)" },
        { "put k", "invalid txn request: put k (put needs a key and a value)" },
        { "frob x", "invalid txn request: frob x (unknown command \"frob\" for \"holdfastctl\")" },
        { "put x y --frob", "invalid txn request: put x y --frob (unknown flag: --frob)" },
        { "member list", "invalid txn request: member list (a request is get, put or del)" },
        { "get 'open", "invalid txn request: get 'open (a quote is not closed: 'open)" },
        { "get \"\\q\"", "invalid txn request: get \"\\q\" (bad escape in \"\\q\")" },
    };
    struct ctl_txn txn;
    ctl_txn_init(&txn);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_error error;
        cr_assert_not(ctl_txn_add_op(&txn, &txn.success, slice_of_text(rows[i].line), &error), "%s",
                      rows[i].line);
        cr_assert_str_eq(error.text, rows[i].text);
        cr_assert_eq(error.code, CTL_EXIT_INVALID_INPUT);
    }
    ctl_txn_done(&txn);
}
