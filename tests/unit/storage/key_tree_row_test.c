#include <criterion/criterion.h>

#include "base/prng.h"
#include "storage/key_tree_internal.h"
#include "tests/support/record_expect.h"

static struct key_tree_row_key encoded(struct key_tree_place place)
{
    struct key_tree_row_key key;
    key_tree_row_key_encode(&place, &key);
    return key;
}

static struct slice key_slice(const struct key_tree_row_key *key)
{
    return slice_of(key->bytes, key->size);
}

static struct kv_record full(void)
{
    return (struct kv_record){ .mod = { .main = 7, .sub = 2 },
                               .create_revision = 5,
                               .version = 3,
                               .lease = 0x1122334455667788,
                               .value_bytes = 5,
                               .sum = 0x6542a0bc058d9a32 };
}

static struct kv_record deleted(void)
{
    return (struct kv_record){ .mod = { .main = 9 }, .tombstone = true, .sum = 0x531a866d6f1a8bc6 };
}

static void decode_expect(const struct key_tree_row_key *key, struct slice row,
                          const struct kv_record *want)
{
    struct kv_record got = { .mod = { .main = want->mod.main } };
    cr_assert_eq(key_tree_record_decode(key_slice(key), row, &got), STORE_OK);
    record_expect_numbers(&got, want);
}

static void golden_expect(struct key_tree_place place, const struct kv_record *record,
                          const char *key_bytes, size_t key_size, const char *row, size_t size)
{
    struct key_tree_row_key key = encoded(place);
    cr_assert(slice_equal(key_slice(&key), slice_of(key_bytes, key_size)));
    uint8_t bytes[KEY_TREE_RECORD_ROW_BYTES_MAX];
    cr_assert_eq(key_tree_record_encode(key_slice(&key), record, bytes), size);
    cr_assert_arr_eq(bytes, row, size);
    decode_expect(&key, slice_of(row, size), record);
}

/* On disk (I12). The rows were made by another program, from the layout. */
Test(key_tree_row, bytes_are_the_golden_ones)
{
    static const char put_key[] = "\0k\0ey\0\xff\xff\xff\xff\xff\xff\xff\xf8";
    static const char put_row[] =
        "\x02\x02\x02\x05\x02\x03\x88\x77\x66\x55\x44\x33\x22\x11\x32\x9a\x8d\x05\xbc\xa0\x42\x65"
        "\x1d\xa9\xe2\x2e";
    struct kv_record put = full();
    golden_expect((struct key_tree_place){ .segment = slice_of("k\0ey", 4),
                                           .kind = KEY_TREE_RECORD,
                                           .revision = 7 },
                  &put, put_key, sizeof put_key - 1, put_row, sizeof put_row - 1);

    static const char gone_key[] = "\x01\0\0\0\0\0\0\x01\x02gone\0\xff\xff\xff\xff\xff\xff\xff\xf6";
    static const char gone_row[] =
        "\x02\x01\0\0\x09\0\xc6\x8b\x1a\x6f\x6d\x86\x1a\x53\xff\x52\xa1\x4b";
    struct kv_record gone = deleted();
    golden_expect((struct key_tree_place){ .layer = 0x0102,
                                           .segment = slice_of_text("gone"),
                                           .kind = KEY_TREE_RECORD,
                                           .revision = 9 },
                  &gone, gone_key, sizeof gone_key - 1, gone_row, sizeof gone_row - 1);
}

Test(key_tree_row, golden_bytes_of_the_usual_and_of_the_longest)
{
    static const char usual_key[] = "\0key\0\xff\xff\xff\xff\xff\xf0\xbd\xbf";
    static const char usual_row[] =
        "\x02\0\0\x80\x02\xe8\x07\xac\x02\x08\x07\x06\x05\x04\x03\x02\x01\x40\xad\x7e\x72";
    struct kv_record usual = { .mod = { .main = 1000000 },
                               .create_revision = 999000,
                               .version = 300,
                               .value_bytes = 256,
                               .sum = 0x0102030405060708 };
    golden_expect((struct key_tree_place){ .segment = slice_of_text("key"),
                                           .kind = KEY_TREE_RECORD,
                                           .revision = 1000000 },
                  &usual, usual_key, sizeof usual_key - 1, usual_row, sizeof usual_row - 1);

    static const char longest_key[] = "\0k\0\xff\xff\xff\xff\xff\xff\xff\xfe";
    static const char longest_row[KEY_TREE_RECORD_ROW_BYTES_MAX + 1] =
        "\x02\x02\xff\xff\xff\xff\x0f\xff\xff\xff\xff\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0"
        "\xda\xc9\x8c\xd6";
    struct kv_record longest = { .mod = { .main = 1, .sub = UINT32_MAX },
                                 .create_revision = 2,
                                 .version = -1,
                                 .lease = -1,
                                 .value_bytes = UINT32_MAX };
    golden_expect(
        (struct key_tree_place){
            .segment = slice_of_text("k"), .kind = KEY_TREE_RECORD, .revision = 1 },
        &longest, longest_key, sizeof longest_key - 1, longest_row, sizeof longest_row - 1);
}

/* Likewise made by another program, when this was the format that was written. */
Test(key_tree_row, format_1_is_read)
{
    static const char put_row[] =
        "\x01\0\0\0\x02\0\0\0\x05\0\0\0\x05\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"
        "\x88\x77\x66\x55\x44\x33\x22\x11\x32\x9a\x8d\x05\xbc\xa0\x42\x65"
        "\x32\x8e\xcc\x72";
    struct key_tree_row_key key = encoded((struct key_tree_place){
        .segment = slice_of("k\0ey", 4), .kind = KEY_TREE_RECORD, .revision = 7 });
    struct kv_record put = full();
    decode_expect(&key, slice_of(put_row, sizeof put_row - 1), &put);

    static const char gone_row[] = "\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\xc6\x8b\x1a\x6f\x6d\x86\x1a\x53"
                                   "\xe6\x59\x2c\x40";
    key = encoded((struct key_tree_place){ .layer = 0x0102,
                                           .segment = slice_of_text("gone"),
                                           .kind = KEY_TREE_RECORD,
                                           .revision = 9 });
    struct kv_record gone = deleted();
    decode_expect(&key, slice_of(gone_row, sizeof gone_row - 1), &gone);
}

Test(key_tree_row, a_layers_bytes_are_the_golden_ones)
{
    static const char want[] = "\x01\0\0\0\x02\x01\0\0\0\0\0\0\xfc\x09\x6b\xca";
    uint8_t segment[KEY_TREE_SEGMENT_BYTES];
    memset(segment, 'x', sizeof segment);
    struct key_tree_row_key key = encoded((struct key_tree_place){
        .segment = slice_of(segment, sizeof segment), .kind = KEY_TREE_LAYER });
    cr_assert_eq(key.size, 1 + KEY_TREE_SEGMENT_BYTES + 9);
    uint8_t row[KEY_TREE_LAYER_ROW_BYTES];
    key_tree_layer_encode(key_slice(&key), 0x0102, row);
    cr_assert_arr_eq(row, want, sizeof row);
    uint64_t id;
    cr_assert_eq(key_tree_layer_decode(key_slice(&key), slice_of(row, sizeof row), &id), STORE_OK);
    cr_assert_eq(id, 0x0102);
}

Test(key_tree_row, decodes_what_it_encoded)
{
    struct key_tree_row_key key = encoded((struct key_tree_place){
        .layer = 3, .segment = slice_of("a\0", 2), .kind = KEY_TREE_RECORD, .revision = 7 });
    struct kv_record put = full();
    uint8_t row[KEY_TREE_RECORD_ROW_BYTES_MAX];
    size_t size = key_tree_record_encode(key_slice(&key), &put, row);
    struct key_tree_place place;
    cr_assert_eq(key_tree_row_key_decode(key_slice(&key), &place), STORE_OK);
    cr_assert_eq(place.layer, 3);
    cr_assert(slice_equal(place.segment, slice_of("a\0", 2)));
    cr_assert_eq(place.revision, 7);
    decode_expect(&key, slice_of(row, size), &put);
}

/* In each bit of the row and of its key, and at each length. */
static void damage_expect(struct key_tree_row_key *key, const uint8_t *row, size_t size)
{
    uint8_t bytes[KEY_TREE_RECORD_ROW_BYTES_MAX];
    memcpy(bytes, row, size);
    struct kv_record record = { .mod = { .main = 7 } };
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(key_tree_record_decode(key_slice(key), slice_of(bytes, size), &record),
                     STORE_E_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < key->size * 8; bit++) {
        key->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(key_tree_record_decode(key_slice(key), slice_of(bytes, size), &record),
                     STORE_E_CORRUPT);
        key->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        cr_assert_eq(key_tree_record_decode(key_slice(key), slice_of(bytes, cut), &record),
                     STORE_E_CORRUPT);
    cr_assert_eq(key_tree_record_decode(key_slice(key), slice_of(bytes, size), &record), STORE_OK);
}

Test(key_tree_row, every_flipped_bit_and_every_cut_is_noticed)
{
    static const char old_row[] =
        "\x01\0\0\0\x02\0\0\0\x05\0\0\0\x05\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"
        "\x88\x77\x66\x55\x44\x33\x22\x11\x32\x9a\x8d\x05\xbc\xa0\x42\x65"
        "\x32\x8e\xcc\x72";
    struct key_tree_row_key key = encoded((struct key_tree_place){
        .segment = slice_of("k\0ey", 4), .kind = KEY_TREE_RECORD, .revision = 7 });
    damage_expect(&key, (const uint8_t *)old_row, sizeof old_row - 1);
    struct kv_record record = full();
    for (int leased = 0; leased < 2; leased++) {
        uint8_t row[KEY_TREE_RECORD_ROW_BYTES_MAX];
        size_t size = key_tree_record_encode(key_slice(&key), &record, row);
        damage_expect(&key, row, size);
        record.lease = 0;
    }
}

Test(key_tree_row, one_kind_of_row_in_the_place_of_the_other_is_refused)
{
    struct key_tree_row_key key = encoded((struct key_tree_place){
        .segment = slice_of_text("key"), .kind = KEY_TREE_RECORD, .revision = 7 });
    struct kv_record record = full();
    uint8_t row[KEY_TREE_RECORD_ROW_BYTES_MAX];
    size_t size = key_tree_record_encode(key_slice(&key), &record, row);
    uint64_t id;
    cr_assert_neq(key_tree_layer_decode(key_slice(&key), slice_of(row, size), &id), STORE_OK);
    key_tree_layer_encode(key_slice(&key), 5, row);
    cr_assert_eq(
        key_tree_record_decode(key_slice(&key), slice_of(row, KEY_TREE_LAYER_ROW_BYTES), &record),
        STORE_E_CORRUPT);
}

/* A row that is whole, but of a format that came later. */
Test(key_tree_row, a_newer_format_is_named_so)
{
    static const uint8_t key[] = { 0, 'k', 0, 255, 255, 255, 255, 255, 255, 255, 250 };
    /* Format 3; format 1 with flag 2; format 2 with flag 4; each with its checksum, by another
     * program. */
    static const uint8_t rows[][8] = { { 0x03, 0x00, 0x00, 0x00, 0xe1, 0x15, 0x80, 0x44 },
                                       { 0x01, 0x02, 0x00, 0x00, 0x5f, 0x4d, 0x9a, 0xf3 },
                                       { 0x02, 0x04, 0x00, 0x00, 0x2b, 0x6f, 0x78, 0xf4 } };
    struct kv_record record = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(key_tree_record_decode(slice_of(key, sizeof key),
                                            slice_of(rows[i], sizeof rows[i]), &record),
                     STORE_E_VERSION);
    /* Of format 2, whole, and too short. */
    static const uint8_t cut[] = { 0x02, 0x00, 0x00, 0x00, 0x89, 0x00, 0x4e, 0xca };
    cr_assert_eq(
        key_tree_record_decode(slice_of(key, sizeof key), slice_of(cut, sizeof cut), &record),
        STORE_E_CORRUPT);
}

Test(key_tree_row, refuses_keys_that_are_not_its_own)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t size;
    } cases[] = {
        { "empty", "", 0 },
        { "no suffix", "\0abcdefgh", 9 },
        { "unknown layer tag", "\2abcdefghijklmnopqrs", 20 },
        { "child layer cut short", "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17 },
        { "unknown kind", "\0k\2\0\0\0\0\0\0\0\0", 11 },
        { "layer of a short segment", "\0k\1\0\0\0\0\0\0\0\0", 11 },
        { "negative revision", "\0k\0\0\0\0\0\0\0\0\0", 11 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct key_tree_place place;
        cr_assert_eq(key_tree_row_key_decode(slice_of(cases[i].bytes, cases[i].size), &place),
                     STORE_E_CORRUPT, "%s", cases[i].what);
    }
    uint8_t key[1 + KEY_TREE_SEGMENT_BYTES + 1 + KEY_TREE_SUFFIX_BYTES] = { 0 };
    memset(key + sizeof key - 8, 0xff, 8);
    struct key_tree_place place;
    cr_assert_eq(key_tree_row_key_decode(slice_of(key, sizeof key), &place), STORE_E_CORRUPT,
                 "a segment that is too long");
}

/* LMDB asks the comparator about any bytes that are in a page, damaged ones too. */
Test(key_tree_row, the_order_is_total_over_any_bytes)
{
    enum { COUNT = 120 };
    struct prng p = prng_seeded(4);
    uint8_t bytes[COUNT][24];
    MDB_val v[COUNT];
    for (int i = 0; i < COUNT; i++) {
        v[i] = (MDB_val){ .mv_size = prng_below(&p, 24), .mv_data = bytes[i] };
        for (size_t j = 0; j < v[i].mv_size; j++)
            bytes[i][j] = (uint8_t)prng_below(&p, 2);
    }
    for (int a = 0; a < COUNT; a++) {
        cr_assert_eq(key_tree_compare(&v[a], &v[a]), 0);
        for (int b = 0; b < COUNT; b++) {
            int ab = key_tree_compare(&v[a], &v[b]);
            int ba = key_tree_compare(&v[b], &v[a]);
            cr_assert_eq((ab > 0) - (ab < 0), (ba < 0) - (ba > 0));
            cr_assert_eq(ab == 0, slice_equal(key_tree_slice(&v[a]), key_tree_slice(&v[b])));
            for (int c = 0; c < COUNT; c++)
                cr_assert(!(ab <= 0 && key_tree_compare(&v[b], &v[c]) <= 0) ||
                          key_tree_compare(&v[a], &v[c]) <= 0);
        }
    }
}

/* Each place stands before all that follow. */
Test(key_tree_row, places_are_in_the_order_of_the_walk)
{
    uint8_t long_segment[KEY_TREE_SEGMENT_BYTES] = { 'a' };
    struct slice full_segment = slice_of(long_segment, sizeof long_segment);
    struct key_tree_place places[] = {
        { 0, slice_of(NULL, 0), KEY_TREE_RECORD, INT64_MAX },
        { 0, slice_of(NULL, 0), KEY_TREE_RECORD, 1 },
        { 0, slice_of("\0", 1), KEY_TREE_RECORD, 5 },
        { 0, slice_of_text("a"), KEY_TREE_RECORD, 300 },
        { 0, slice_of_text("a"), KEY_TREE_RECORD, 5 },
        { 0, slice_of_text("a"), KEY_TREE_RECORD, 0 },
        { 0, full_segment, KEY_TREE_RECORD, 9 },
        { 0, full_segment, KEY_TREE_LAYER, 0 },
        { 0, slice_of_text("aa"), KEY_TREE_RECORD, 5 },
        { 0, slice_of_text("b"), KEY_TREE_RECORD, 5 },
        { 1, slice_of(NULL, 0), KEY_TREE_RECORD, 5 },
        { 1, slice_of_text("b"), KEY_TREE_RECORD, 5 },
        { 2, slice_of_text("a"), KEY_TREE_RECORD, 5 },
        { 256, slice_of_text("a"), KEY_TREE_RECORD, 5 },
    };
    enum { COUNT = sizeof places / sizeof places[0] };
    for (int a = 0; a < COUNT; a++) {
        for (int b = a + 1; b < COUNT; b++) {
            struct key_tree_row_key x = encoded(places[a]);
            struct key_tree_row_key y = encoded(places[b]);
            MDB_val vx = key_tree_row_key_val(&x);
            MDB_val vy = key_tree_row_key_val(&y);
            cr_assert_lt(key_tree_compare(&vx, &vy), 0, "%d, %d", a, b);
        }
    }
}
