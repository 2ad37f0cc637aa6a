#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "storage/key_tree_internal.h"
#include "tests/support/record_expect.h"

static struct key_tree_row_key key_at(int64_t oldest)
{
    struct key_tree_row_key key;
    key_tree_row_key_encode(
        &(struct key_tree_place){ 0, slice_of_text("key"), KEY_TREE_RECORD, oldest }, &key);
    return key;
}

static struct slice key_slice(const struct key_tree_row_key *key)
{
    return slice_of(key->bytes, key->size);
}

/* A put, the one before it, a put with a lease, a deletion; newest first. */
static const struct kv_record four[] = {
    { .mod = { 300, 0 }, .create_revision = 100, .version = 4, .value_bytes = 256, .sum = 0x11 },
    { .mod = { 299, 2 }, .create_revision = 100, .version = 3, .value_bytes = 1, .sum = 0x22 },
    { .mod = { 100, 0 }, .create_revision = 100, .version = 1, .lease = 9, .sum = 0x33 },
    { .mod = { 98, 1 }, .tombstone = true, .sum = 0x44 },
};
enum { FOUR = 4 };

static const char four_golden[] = "\3\4"
                                  "\0\xca\1\0\x80\2\xc8\1\4\x11\0\0\0\0\0\0\0"
                                  "\4\1\2\1\x22\0\0\0\0\0\0\0"
                                  "\2\xc7\1\0\0\0\1\x09\0\0\0\0\0\0\0\x33\0\0\0\0\0\0\0"
                                  "\1\2\1\0\x62\0\x44\0\0\0\0\0\0\0";

static void run_expect(const struct kv_record *records, size_t count)
{
    struct key_tree_row_key key = key_at(records[count - 1].mod.main);
    uint8_t row[KEY_TREE_RUN_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(key_slice(&key), records, count, row);
    cr_assert_leq(size, sizeof row);
    struct key_tree_run run;
    cr_assert_eq(key_tree_run_decode(key_slice(&key), slice_of(row, size),
                                     records[count - 1].mod.main, &run),
                 STORE_OK);
    cr_assert_eq(run.count, count);
    for (size_t i = 0; i < count; i++)
        record_expect_numbers(&run.records[i], &records[i]);
}

Test(key_tree_run, bytes_are_the_golden_ones)
{
    struct key_tree_row_key key = key_at(98);
    uint8_t row[KEY_TREE_RUN_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(key_slice(&key), four, FOUR, row);
    cr_assert_eq(size, sizeof four_golden - 1 + 4);
    cr_assert_arr_eq(row, four_golden, sizeof four_golden - 1);
    cr_assert_eq(get_le32(row + size - 4), key_tree_row_check(key_slice(&key), row, size));
    run_expect(four, FOUR);
}

Test(key_tree_run, one_record_has_the_row_that_it_always_had)
{
    struct key_tree_row_key key = key_at(300);
    uint8_t row[KEY_TREE_RUN_ROW_BYTES_MAX];
    uint8_t own[KEY_TREE_RECORD_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(key_slice(&key), four, 1, row);
    cr_assert_eq(size, key_tree_record_encode(key_slice(&key), four, own));
    cr_assert_arr_eq(row, own, size);
    run_expect(four, 1);
}

Test(key_tree_run, the_largest_numbers_fit)
{
    struct kv_record records[KEY_TREE_RUN_MAX];
    for (int i = 0; i < KEY_TREE_RUN_MAX; i++)
        records[i] = (struct kv_record){
            .mod = { INT64_MAX / KEY_TREE_RUN_MAX * (KEY_TREE_RUN_MAX - i), UINT32_MAX },
            .create_revision = INT64_MAX,
            .version = INT64_MIN + i % 2,
            .lease = -1,
            .value_bytes = UINT32_MAX,
            .sum = UINT64_MAX,
        };
    run_expect(records, KEY_TREE_RUN_MAX);
}

Test(key_tree_run, finds_the_newest_up_to_a_revision)
{
    struct key_tree_run run = { .count = FOUR };
    memcpy(run.records, four, sizeof four);
    cr_assert_eq(key_tree_run_find(&run, INT64_MAX), 0);
    cr_assert_eq(key_tree_run_find(&run, 299), 1);
    cr_assert_eq(key_tree_run_find(&run, 298), 2);
    cr_assert_eq(key_tree_run_find(&run, 98), 3);
    cr_assert_eq(key_tree_run_find(&run, 97), FOUR);
}

static enum store_err decode(struct slice row)
{
    struct key_tree_row_key key = key_at(98);
    struct key_tree_run run;
    return key_tree_run_decode(key_slice(&key), row, 98, &run);
}

Test(key_tree_run, every_flipped_bit_and_every_cut_is_noticed)
{
    struct key_tree_row_key key = key_at(98);
    uint8_t row[KEY_TREE_RUN_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(key_slice(&key), four, FOUR, row);
    for (size_t bit = 0; bit < size * 8; bit++) {
        row[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(decode(slice_of(row, size)), STORE_OK, "bit %zu", bit);
        row[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        cr_assert_eq(decode(slice_of(row, cut)), STORE_E_CORRUPT, "cut at %zu", cut);
    cr_assert_eq(decode(slice_of(row, size)), STORE_OK);
}

/* Behind its checksum a run still has one form, and holds what its key says. */
Test(key_tree_run, another_form_is_refused)
{
    static const struct {
        size_t offset;
        uint8_t byte;
        const char *what;
    } cases[] = {
        { 1, 0, "no record" },
        { 1, 1, "one record" },
        { 1, 3, "more bytes" },
        { 1, 5, "too few" },
        { 1, 33, "too many" },
        { 2, 4, "the first has none before it" },
        { 2, 8, "an unknown flag" },
        { 3, 0xcb, "does not end at the oldest" },
        { 19, 0, "that put was the one before" },
        { 19, 6, "its lease is the newer one's" },
        { 20, 0, "the same revision twice" },
    };
    struct key_tree_row_key key = key_at(98);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t row[KEY_TREE_RUN_ROW_BYTES_MAX];
        size_t size = key_tree_run_encode(key_slice(&key), four, FOUR, row);
        cr_assert_neq(row[cases[i].offset], cases[i].byte, "%s", cases[i].what);
        row[cases[i].offset] = cases[i].byte;
        put_le32(row + size - 4, key_tree_row_check(key_slice(&key), row, size));
        cr_assert_eq(decode(slice_of(row, size)), STORE_E_CORRUPT, "%s", cases[i].what);
    }
}
