#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/snapshot_format.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 4 << 20);
}

static void teardown(void)
{
    arena_done(&arena);
}

TestSuite(snapshot_format, .init = setup, .fini = teardown);

static const struct snapshot_meta meta = {
    .cluster_id = 0x0102030405060708,
    .state = { .applied = { .term = 3, .index = 300 },
               .revision = 1000,
               .compact_revision = 20,
               .compacted_revision = 10,
               .state_hash = 0x1112131415161718,
               .feature_level = 1,
               .membership = { .data = (const uint8_t *)"members", .size = 7 } },
    .bytes_estimate = 4096,
};

static struct kv_record record_make(void)
{
    return (struct kv_record){
        .key = { .data = (const uint8_t *)"key", .size = 3 },
        .value = { .data = (const uint8_t *)"value", .size = 5 },
        .mod = { .main = 0x2122232425262728, .sub = 0x31323334 },
        .create_revision = 7,
        .version = 2,
        .lease = 9,
        .value_bytes = 5,
        .sum = 0x4142434445464748,
    };
}

enum { META_BYTES = 46, ROW_BYTES = SNAPSHOT_ROW_HEADER_BYTES + 8 };

/* Format 1. A change here is a new format: count SNAPSHOT_FORMAT up. */
static const uint8_t golden_chunk[SNAPSHOT_HEADER_BYTES + META_BYTES + ROW_BYTES] = {
    0xc9, 0x2a, 0x59, 0x0c, 0x74, 0x33, 0xab, 0x25, 0x48, 0x46, 0x53, 0x4e, 0x41, 0x50, 0x43, 0x48,
    0x01, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2e, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xba, 0xf3, 0xe3, 0xb5, 0x56, 0x62, 0x0b, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x08, 0x88, 0x8e, 0x98, 0xa8, 0xc0, 0xe0, 0x80, 0x81, 0x01, 0x10, 0xac, 0x02, 0x18, 0x03, 0x20,
    0xe8, 0x07, 0x28, 0x14, 0x30, 0x0a, 0x38, 0x98, 0xae, 0xd8, 0xa8, 0xc1, 0xe2, 0x84, 0x89, 0x11,
    0x40, 0x01, 0x4a, 0x07, 0x6d, 0x65, 0x6d, 0x62, 0x65, 0x72, 0x73, 0x50, 0x80, 0x20, 0x01, 0x00,
    0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x34, 0x33, 0x32, 0x31, 0x28, 0x27,
    0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0x47,
    0x46, 0x45, 0x44, 0x43, 0x42, 0x41, 0x6b, 0x65, 0x79, 0x76, 0x61, 0x6c, 0x75, 0x65,
};

/* One chunk, which is the first and the last. */
static struct slice chunk_make(void)
{
    uint8_t *to = arena_zalloc(&arena, SNAPSHOT_CHUNK_BYTES_MAX);
    struct slice encoded;
    cr_assert(snapshot_meta_encode(&meta, &arena, &encoded));
    struct kv_record record = record_make();
    uint8_t *row = to + SNAPSHOT_HEADER_BYTES + encoded.size;
    memcpy(to + SNAPSHOT_HEADER_BYTES, encoded.data, encoded.size);
    snapshot_row_encode(row, &record);
    memcpy(row + SNAPSHOT_ROW_HEADER_BYTES, "keyvalue", 8);
    struct snapshot_chunk_header header = {
        .id = 0x5152535455565758,
        .flags = SNAPSHOT_FIRST | SNAPSHOT_LAST,
        .meta_bytes = (uint32_t)encoded.size,
        .row_bytes = ROW_BYTES,
        .rows_total = 1,
        .row_bytes_total = ROW_BYTES,
    };
    snapshot_chunk_seal(to, &header, snapshot_chain_start(header.id));
    return slice_of(to, SNAPSHOT_HEADER_BYTES + encoded.size + ROW_BYTES);
}

Test(snapshot_format, golden_bytes)
{
    struct slice chunk = chunk_make();
    cr_assert_eq(chunk.size, sizeof golden_chunk);
    for (size_t i = 0; i < chunk.size; i++)
        cr_assert_eq(chunk.data[i], golden_chunk[i], "byte %zu: %02x, not %02x", i, chunk.data[i],
                     golden_chunk[i]);
}

Test(snapshot_format, what_is_written_is_read)
{
    struct slice chunk = slice_of(golden_chunk, sizeof golden_chunk);
    struct snapshot_chunk_header header;
    struct slice meta_bytes;
    struct slice rows;
    cr_assert_eq(snapshot_chunk_decode(chunk, &header, &meta_bytes, &rows), SNAPSHOT_OK);
    cr_assert_eq(header.id, 0x5152535455565758);
    cr_assert_eq(header.seq, 0);
    cr_assert_eq(header.flags, SNAPSHOT_FIRST | SNAPSHOT_LAST);
    cr_assert_eq(header.rows_total, 1);
    cr_assert_eq(header.row_bytes_total, ROW_BYTES);
    cr_assert(snapshot_chain_holds(&header, meta_bytes, rows, snapshot_chain_start(header.id)));
    cr_assert_not(snapshot_chain_holds(&header, meta_bytes, rows, 1));

    struct snapshot_meta read;
    cr_assert_eq(snapshot_meta_decode(meta_bytes, &arena, &read), SNAPSHOT_OK);
    cr_assert_eq(read.cluster_id, meta.cluster_id);
    cr_assert_eq(read.state.applied.index, 300);
    cr_assert_eq(read.state.applied.term, 3);
    cr_assert_eq(read.state.revision, 1000);
    cr_assert_eq(read.state.compact_revision, 20);
    cr_assert_eq(read.state.compacted_revision, 10);
    cr_assert_eq(read.state.state_hash, meta.state.state_hash);
    cr_assert_eq(read.state.feature_level, 1);
    cr_assert(slice_equal(read.state.membership, meta.state.membership));
    cr_assert_eq(read.state.log_start.index, 300, "the log begins there");
    cr_assert_eq(read.state.log_start.term, 3);
    cr_assert_eq(read.state.term_start_count, 0);
    cr_assert_eq(read.bytes_estimate, 4096);

    struct kv_record record;
    struct kv_record wanted = record_make();
    cr_assert_eq(rows.size, ROW_BYTES);
    cr_assert_eq(snapshot_row_decode(rows.data, &record), SNAPSHOT_OK);
    cr_assert_eq(record.key.size, 3);
    cr_assert_eq(record.value.size, 5);
    cr_assert_eq(record.value_bytes, 5);
    cr_assert_eq(record.mod.main, wanted.mod.main);
    cr_assert_eq(record.mod.sub, wanted.mod.sub);
    cr_assert_eq(record.create_revision, 7);
    cr_assert_eq(record.version, 2);
    cr_assert_eq(record.lease, 9);
    cr_assert_eq(record.sum, wanted.sum);
    cr_assert_not(record.tombstone);
}

static enum snapshot_err decode(struct slice chunk)
{
    struct snapshot_chunk_header header;
    struct slice meta_bytes;
    struct slice rows;
    return snapshot_chunk_decode(chunk, &header, &meta_bytes, &rows);
}

Test(snapshot_format, every_flip_and_every_cut_shows)
{
    struct slice chunk = chunk_make();
    uint8_t bytes[sizeof golden_chunk];
    memcpy(bytes, chunk.data, chunk.size);
    for (size_t bit = 0; bit < chunk.size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(decode(slice_of(bytes, chunk.size)), SNAPSHOT_E_BAD, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < chunk.size; size++)
        cr_assert_eq(decode(slice_of(bytes, size)), SNAPSHOT_E_BAD, "%zu bytes", size);
    uint8_t longer[sizeof golden_chunk + 1] = { 0 };
    memcpy(longer, bytes, sizeof bytes);
    cr_assert_eq(decode(slice_of(longer, sizeof longer)), SNAPSHOT_E_BAD);
}

static enum snapshot_err decode_resealed(uint8_t *bytes, size_t size)
{
    put_le64(bytes, checksum(slice_of(bytes + 8, size - 8), 0));
    return decode(slice_of(bytes, size));
}

Test(snapshot_format, tells_a_newer_version_from_damage)
{
    uint8_t bytes[sizeof golden_chunk];
    memcpy(bytes, golden_chunk, sizeof bytes);
    put_le32(bytes + 16, SNAPSHOT_FORMAT + 1);
    cr_assert_eq(decode_resealed(bytes, sizeof bytes), SNAPSHOT_E_VERSION);
}

/* Fields that verify and contradict each other. */
Test(snapshot_format, refuses_headers_that_make_no_sense)
{
    static const struct {
        size_t at;
        uint32_t value;
    } cases[] = {
        { 20, 4 | 3 },          /* an unknown flag */
        { 20, SNAPSHOT_LAST },  /* seq 0 is not the first */
        { 32, 1 },              /* the first is not seq 0 */
        { 40, 0 },              /* the first without meta */
        { 40, META_BYTES + 1 }, /* sizes that do not add up */
        { 44, ROW_BYTES - 1 },  /* likewise */
        { 44, UINT32_MAX },     /* nor fit */
        { 40, UINT32_MAX },     /* likewise */
        { 56, ROW_BYTES - 1 },  /* less in all than in this one */
        { 72, 1 },              /* not zero */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[sizeof golden_chunk];
        memcpy(bytes, golden_chunk, sizeof bytes);
        put_le32(bytes + cases[i].at, cases[i].value);
        cr_assert_eq(decode_resealed(bytes, sizeof bytes), SNAPSHOT_E_BAD, "case %zu", i);
    }
}

Test(snapshot_format, refuses_rows_that_make_no_sense)
{
    static const struct {
        size_t at;
        uint8_t byte;
    } cases[] = {
        { 0, 0 }, { 0, 2 },     { 1, 2 },     { 2, 1 },     { 7, 0xff },  { 11, 0xff },
        { 4, 0 }, { 23, 0xff }, { 31, 0xff }, { 31, 0x7f }, { 39, 0xff },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t header[SNAPSHOT_ROW_HEADER_BYTES];
        struct kv_record record = record_make();
        snapshot_row_encode(header, &record);
        header[cases[i].at] = cases[i].byte;
        cr_assert_eq(snapshot_row_decode(header, &record), SNAPSHOT_E_BAD, "case %zu", i);
    }
    uint8_t zeros[SNAPSHOT_ROW_HEADER_BYTES] = { 0 };
    struct kv_record record;
    cr_assert_eq(snapshot_row_decode(zeros, &record), SNAPSHOT_E_BAD);
}

Test(snapshot_format, refuses_a_meta_that_makes_no_sense)
{
    struct snapshot_meta odd[9];
    for (size_t i = 0; i < 9; i++)
        odd[i] = meta;
    odd[0].state.applied.index = 0;
    odd[1].state.applied.term = 0;
    odd[2].state.revision = 0;
    odd[3].state.revision = -1;
    odd[4].state.compact_revision = 1001;
    odd[5].state.compacted_revision = 21;
    odd[6].state.compacted_revision = -1;
    odd[7].state.compact_revision = -1;
    uint8_t *large = arena_zalloc(&arena, 70000);
    odd[8].state.membership = slice_of(large, 70000);
    for (size_t i = 0; i < 9; i++) {
        struct slice bytes;
        struct snapshot_meta read;
        cr_assert(snapshot_meta_encode(&odd[i], &arena, &bytes));
        cr_assert_eq(snapshot_meta_decode(bytes, &arena, &read), SNAPSHOT_E_BAD, "case %zu", i);
    }
    struct slice bytes;
    odd[8].state.membership = slice_of(arena_zalloc(&arena, 200000), 200000);
    cr_assert_not(snapshot_meta_encode(&odd[8], &arena, &bytes));
    struct snapshot_meta read;
    cr_assert_eq(snapshot_meta_decode(slice_of((const uint8_t *)"\xff\xff", 2), &arena, &read),
                 SNAPSHOT_E_BAD);
}

/* What a newer sender adds is skipped. */
Test(snapshot_format, skips_fields_of_the_meta_that_it_does_not_know)
{
    struct slice bytes;
    cr_assert(snapshot_meta_encode(&meta, &arena, &bytes));
    uint8_t *more = arena_zalloc(&arena, bytes.size + 6);
    memcpy(more, bytes.data, bytes.size);
    memcpy(more + bytes.size, "\xf2\x06\x03new", 6); /* field 110, bytes */
    struct snapshot_meta read;
    cr_assert_eq(snapshot_meta_decode(slice_of(more, bytes.size + 6), &arena, &read), SNAPSHOT_OK);
    cr_assert_eq(read.state.revision, 1000);
}

Test(snapshot_format, says_every_error)
{
    for (int err = SNAPSHOT_OK; err <= SNAPSHOT_E_SEQ; err++)
        cr_assert_str_neq(snapshot_strerror((enum snapshot_err)err), "unknown error");
    cr_assert_eq(snapshot_err_of_store(STORE_OK), SNAPSHOT_OK);
    cr_assert_eq(snapshot_err_of_store(STORE_E_CORRUPT), SNAPSHOT_E_CORRUPT);
    cr_assert_eq(snapshot_err_of_store(STORE_E_NOSPACE), SNAPSHOT_E_NOSPACE);
    cr_assert_eq(snapshot_err_of_store(STORE_E_IO), SNAPSHOT_E_IO);
}
