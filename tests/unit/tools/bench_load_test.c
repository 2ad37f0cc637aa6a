#include "tools/bench_load.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "rpc/grpc_codec.h"

enum { SLOTS = 4, KEYS = 50, KEY_AT = GRPC_PREFIX_BYTES + 2, DIGITS = 8 };

static struct bench_options options_of(enum bench_workload workload)
{
    return (struct bench_options){
        .workload = workload,
        .key_prefix = "",
        .keys = KEYS,
        .key_bytes = DIGITS,
        .limit = 10,
    };
}

static struct bench_load_request next(struct bench_load *l, size_t slot)
{
    struct bench_load_request r;
    cr_assert(bench_load_next(l, slot, &r));
    return r;
}

/* Of a put or range, whose first field is the key. */
static uint64_t key_of(struct bench_load_request r)
{
    char digits[DIGITS + 1] = "";
    cr_assert_geq(r.body.size, KEY_AT + DIGITS);
    memcpy(digits, r.body.data + KEY_AT, DIGITS);
    return strtoul(digits, NULL, 10);
}

Test(bench_load, put_goes_through_the_keys_in_order)
{
    struct bench_options options = options_of(BENCH_PUT);
    struct bench_load l;
    cr_assert(bench_load_open(&l, &options, SLOTS));
    cr_assert_eq(bench_load_total(&l), 0);
    for (uint64_t i = 0; i < 2 * KEYS; i++)
        cr_assert_eq(key_of(next(&l, i % SLOTS)), i % KEYS);
    bench_load_close(&l);
}

Test(bench_load, load_puts_each_key_once_in_no_order)
{
    struct bench_options options = options_of(BENCH_LOAD);
    struct bench_load l;
    bool seen[KEYS] = { false };
    uint64_t in_order = 0;
    cr_assert(bench_load_open(&l, &options, SLOTS));
    cr_assert_eq(bench_load_total(&l), KEYS);
    for (uint64_t i = 0; i < KEYS; i++) {
        uint64_t key = key_of(next(&l, i % SLOTS));
        cr_assert_lt(key, KEYS);
        cr_assert_not(seen[key]);
        seen[key] = true;
        in_order += key == i;
    }
    cr_assert_lt(in_order, KEYS / 2);
    bench_load_close(&l);
}

Test(bench_load, pages_are_full_ones)
{
    struct bench_options options = options_of(BENCH_RANGE);
    struct bench_load l;
    cr_assert(bench_load_open(&l, &options, SLOTS));
    for (int i = 0; i < 1000; i++)
        cr_assert_leq(key_of(next(&l, 0)), KEYS - 10);
    bench_load_close(&l);
}

Test(bench_load, nine_of_ten_are_reads)
{
    struct bench_options options = options_of(BENCH_MIXED);
    struct bench_load l;
    unsigned reads = 0;
    cr_assert(bench_load_open(&l, &options, SLOTS));
    for (int i = 0; i < 1000; i++)
        reads += slice_equal(next(&l, 0).path, slice_of_text("/etcdserverpb.KV/Range"));
    cr_assert(reads > 850 && reads < 950, "%u", reads);
    bench_load_close(&l);
}

Test(bench_load, slots_have_keys_of_their_own_and_learn_revisions)
{
    static const uint8_t put_at_300[] = { 0x0a, 3, 0x18, 0xac, 0x02, 0x10, 1 };
    static const uint8_t not_there[] = { 0x0a, 2, 0x18, 5 };
    struct bench_options options = options_of(BENCH_TXN);
    struct bench_load l;
    bool seen[KEYS] = { false };
    cr_assert(bench_load_open(&l, &options, SLOTS));
    for (size_t i = 0; i < 100 * KEYS; i++) {
        next(&l, i % SLOTS);
        uint64_t key = l.slots[i % SLOTS].key;
        cr_assert_eq(key % SLOTS, i % SLOTS);
        seen[key] = true;
    }
    for (size_t i = 0; i < KEYS; i++)
        cr_assert(seen[i]);
    uint64_t key = l.slots[1].key;
    cr_assert_eq(bench_load_answer(&l, 1, slice_of(put_at_300, sizeof put_at_300)), BENCH_DONE);
    cr_assert_eq(l.revisions[key], 300);
    cr_assert_eq(bench_load_answer(&l, 1, slice_of(not_there, sizeof not_there)),
                 BENCH_COMPARE_FAILED);
    cr_assert_eq(l.revisions[key], 0);
    cr_assert_eq(bench_load_answer(&l, 1, slice_of("x", 1)), BENCH_NOT_UNDERSTOOD);
    bench_load_close(&l);
}
