#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/journal_format.h"

enum { PAGE = JOURNAL_ALIGN_BYTES };

static const uint8_t incarnation[INCARNATION_BYTES] = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
                                                        0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b,
                                                        0x1c, 0x1d, 0x1e, 0x1f };

static struct journal_owner owner_make(void)
{
    return journal_owner_of(0x0102030405060708, incarnation);
}

static void expect_bytes(const uint8_t *got, const uint8_t *want, size_t size, const char *what)
{
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(got[i], want[i], "%s, byte %zu: %02x, not %02x", what, i, got[i], want[i]);
}

/* Format 1 of pages. A change here is a new format: count it up and keep reading this one. */
static const uint8_t golden_pages[3][72] = {
    {
        0x96, 0x8d, 0x81, 0xad, 0x23, 0xc1, 0x79, 0xa8, 0x48, 0x46, 0x4a, 0x2d, 0x53, 0x45, 0x47,
        0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
        0x02, 0x01, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c,
        0x1d, 0x1e, 0x1f, 0x71, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x87, 0x86, 0x85,
        0x84, 0x83, 0x82, 0x81, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    },
    {
        0xb8, 0x7c, 0x71, 0xc6, 0x76, 0x34, 0x82, 0x40, 0x48, 0x46, 0x4a, 0x2d, 0x48, 0x41, 0x52,
        0x44, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
        0x02, 0x01, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c,
        0x1d, 0x1e, 0x1f, 0x72, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x87, 0x86, 0x85,
        0x84, 0x83, 0x82, 0x81, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    },
    {
        0x4f, 0x67, 0x31, 0xfc, 0xf5, 0x97, 0xc2, 0x27, 0x48, 0x46, 0x4a, 0x2d, 0x4d, 0x41, 0x52,
        0x4b, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
        0x02, 0x01, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c,
        0x1d, 0x1e, 0x1f, 0x73, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x87, 0x86, 0x85,
        0x84, 0x83, 0x82, 0x81, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    },
};

/* Format 1 of batches, as directories of the first versions have it. */
static const uint8_t golden_batch_1[JOURNAL_BATCH_HEADER_BYTES + 5] = {
    0x0d, 0x3a, 0xbe, 0x96, 0x1f, 0x2c, 0x29, 0x32, 0x1f, 0x38, 0x30, 0x1e, 0x84, 0x6e, 0xe9,
    0x62, 0x48, 0x46, 0x4a, 0x42, 0x41, 0x54, 0x43, 0x48, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34,
    0x33, 0x32, 0x31, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0x47, 0x46, 0x45,
    0x44, 0x43, 0x42, 0x41, 0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51, 0x27, 0x27,
    0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, 0x05,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
};

/* Format 2, as those that have entries of format 1. */
static const uint8_t golden_batch_2[JOURNAL_BATCH_HEADER_BYTES + 5] = {
    0x8b, 0xab, 0xc9, 0x97, 0x6f, 0xe3, 0x2a, 0xcc, 0x76, 0x09, 0xe9, 0x1b, 0x80, 0xdd, 0xea,
    0x20, 0x48, 0x46, 0x4a, 0x42, 0x41, 0x54, 0x43, 0x48, 0x02, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34,
    0x33, 0x32, 0x31, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0x47, 0x46, 0x45,
    0x44, 0x43, 0x42, 0x41, 0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51, 0x27, 0x27,
    0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, 0x05,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x78, 0x77, 0x76, 0x75, 0x74, 0x73, 0x72, 0x71, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
};

/* Format 3. */
static const uint8_t golden_batch[JOURNAL_BATCH_HEADER_BYTES + 5] = {
    0xa5, 0xd6, 0x2e, 0x4c, 0x4a, 0xff, 0xec, 0x65, 0x0a, 0x63, 0x39, 0x28, 0xcd, 0x74, 0x5a,
    0x8c, 0x48, 0x46, 0x4a, 0x42, 0x41, 0x54, 0x43, 0x48, 0x03, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34,
    0x33, 0x32, 0x31, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0x47, 0x46, 0x45,
    0x44, 0x43, 0x42, 0x41, 0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51, 0x27, 0x27,
    0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, 0x05,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x78, 0x77, 0x76, 0x75, 0x74, 0x73, 0x72, 0x71, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
};

static const struct journal_batch_header batch_header = {
    .number = 0x2122232425262728,
    .generation = 0x3132333435363738,
    .hard = { .term = 9, .vote = 0x4142434445464748, .commit = 11 },
    .prev = { .term = 8, .index = 0x5152535455565758 },
    .known_durable = 0x2122232425262727,
    .prev_sum = 0x6162636465666768,
    .entry_count = 1,
    .payload_bytes = 5,
    .reset = JOURNAL_RESET_KEEP,
    .reset_pos = { .term = 7, .index = 0x7172737475767778 },
};

Test(journal_format, golden_pages)
{
    struct journal_owner owner = owner_make();
    for (size_t kind = 0; kind < 3; kind++) {
        uint8_t page[PAGE];
        struct journal_page made = { .number = 0x71 + kind, .a = 0x8182838485868788, .b = 3 };
        journal_page_encode(page, (enum journal_page_kind)kind, &owner, &made);
        expect_bytes(page, golden_pages[kind], sizeof golden_pages[kind], "page");
        cr_assert(journal_is_zero(page + 72, PAGE - 72));
        struct journal_page read = { 0 };
        cr_assert_eq(journal_page_decode(page, (enum journal_page_kind)kind, &owner, &read),
                     JOURNAL_VERDICT_OK);
        cr_assert(read.number == made.number && read.a == made.a && read.b == made.b);
    }
}

static void expect_header(const struct journal_batch_header *read)
{
    cr_assert_eq(read->number, batch_header.number);
    cr_assert_eq(read->generation, batch_header.generation);
    cr_assert_eq(read->hard.term, 9);
    cr_assert_eq(read->hard.vote, batch_header.hard.vote);
    cr_assert_eq(read->hard.commit, 11);
    cr_assert_eq(read->prev.term, 8);
    cr_assert_eq(read->prev.index, batch_header.prev.index);
    cr_assert_eq(read->known_durable, batch_header.known_durable);
    cr_assert_eq(read->prev_sum, batch_header.prev_sum);
    cr_assert_eq(read->entry_count, 1);
    cr_assert_eq(read->payload_bytes, 5);
}

Test(journal_format, golden_batch)
{
    struct journal_owner owner = owner_make();
    uint8_t batch[PAGE];
    memset(batch, 0xee, sizeof batch);
    memcpy(batch + JOURNAL_BATCH_HEADER_BYTES, "hello", 5);
    uint64_t sum = journal_batch_seal(batch, &owner, &batch_header);
    expect_bytes(batch, golden_batch, sizeof golden_batch, "batch");
    cr_assert(journal_is_zero(batch + sizeof golden_batch, PAGE - sizeof golden_batch));
    struct journal_batch_header read;
    uint64_t read_sum = 0;
    struct slice in = slice_of(batch, PAGE);
    cr_assert_eq(journal_batch_header_decode(in, &owner, &read), JOURNAL_VERDICT_OK);
    cr_assert_eq(journal_batch_verify(in, &owner, &read, &read_sum), JOURNAL_VERDICT_OK);
    cr_assert_eq(read_sum, sum);
    expect_header(&read);
    cr_assert_eq(read.reset, JOURNAL_RESET_KEEP);
    cr_assert_eq(read.reset_pos.term, 7);
    cr_assert_eq(read.reset_pos.index, batch_header.reset_pos.index);
}

static struct journal_batch_header read_golden(struct slice golden)
{
    struct journal_owner owner = owner_make();
    uint8_t batch[PAGE] = { 0 };
    memcpy(batch, golden.data, golden.size);
    struct journal_batch_header read;
    uint64_t sum = 0;
    struct slice in = slice_of(batch, PAGE);
    cr_assert_eq(journal_batch_header_decode(in, &owner, &read), JOURNAL_VERDICT_OK);
    cr_assert_eq(journal_batch_verify(in, &owner, &read, &sum), JOURNAL_VERDICT_OK);
    expect_header(&read);
    return read;
}

Test(journal_format, reads_batches_of_older_formats)
{
    struct journal_batch_header read = read_golden(slice_of(golden_batch_1, sizeof golden_batch_1));
    cr_assert_eq(read.reset, JOURNAL_RESET_NONE);
    cr_assert_eq(read.reset_pos.index, 0);
    read = read_golden(slice_of(golden_batch_2, sizeof golden_batch_2));
    cr_assert_eq(read.reset, JOURNAL_RESET_KEEP);
    cr_assert_eq(read.reset_pos.index, batch_header.reset_pos.index);
}

Test(journal_format, tells_a_newer_format_or_reset_from_damage)
{
    struct journal_owner owner = owner_make();
    struct journal_batch_header newer = batch_header;
    newer.reset = (enum journal_reset)3;
    uint8_t batch[PAGE] = { 0 };
    journal_batch_seal(batch, &owner, &newer);
    struct journal_batch_header read;
    cr_assert_eq(journal_batch_header_decode(slice_of(batch, PAGE), &owner, &read),
                 JOURNAL_VERDICT_VERSION);
    static const uint32_t formats[] = { 0, 4, UINT32_MAX };
    for (size_t i = 0; i < 3; i++) {
        journal_batch_seal(batch, &owner, &batch_header);
        put_le32(batch + 24, formats[i]);
        put_le64(batch + 8, checksum(slice_of(batch + 16, 112), owner.seed));
        cr_assert_eq(journal_batch_header_decode(slice_of(batch, PAGE), &owner, &read),
                     JOURNAL_VERDICT_VERSION);
    }
}

Test(journal_format, every_flip_in_a_page_shows)
{
    struct journal_owner owner = owner_make();
    uint8_t page[PAGE];
    struct journal_page made = { .number = 1 };
    journal_page_encode(page, JOURNAL_PAGE_SEGMENT, &owner, &made);
    for (size_t bit = 0; bit < (size_t)PAGE * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(journal_page_decode(page, JOURNAL_PAGE_SEGMENT, &owner, &made),
                     JOURNAL_VERDICT_BAD, "bit %zu", bit);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(journal_format, every_flip_in_a_batch_shows)
{
    struct journal_owner owner = owner_make();
    uint8_t batch[PAGE] = { 0 };
    journal_batch_seal(batch, &owner, &batch_header);
    for (size_t bit = 0; bit < (size_t)PAGE * 8; bit++) {
        batch[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct journal_batch_header read;
        uint64_t sum;
        struct slice in = slice_of(batch, PAGE);
        bool whole = journal_batch_header_decode(in, &owner, &read) == JOURNAL_VERDICT_OK &&
                     journal_batch_verify(in, &owner, &read, &sum) == JOURNAL_VERDICT_OK;
        cr_assert_not(whole, "bit %zu", bit);
        batch[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(journal_format, another_owners_bytes_do_not_pass)
{
    struct journal_owner owner = owner_make();
    uint8_t other_incarnation[INCARNATION_BYTES] = { 1 };
    const struct journal_owner others[] = {
        journal_owner_of(owner.cluster_id + 1, owner.incarnation),
        journal_owner_of(owner.cluster_id, other_incarnation),
    };
    for (size_t i = 0; i < 2; i++) {
        uint8_t bytes[PAGE] = { 0 };
        struct journal_page page = { 0 };
        struct journal_batch_header read;
        journal_page_encode(bytes, JOURNAL_PAGE_HARD, &others[i], &page);
        cr_assert_eq(journal_page_decode(bytes, JOURNAL_PAGE_HARD, &owner, &page),
                     JOURNAL_VERDICT_FOREIGN);
        cr_assert_eq(journal_page_decode(bytes, JOURNAL_PAGE_MARK, &owner, &page),
                     JOURNAL_VERDICT_BAD, "nor a page of another kind");
        memset(bytes, 0, sizeof bytes);
        journal_batch_seal(bytes, &others[i], &batch_header);
        cr_assert_eq(journal_batch_header_decode(slice_of(bytes, PAGE), &owner, &read),
                     JOURNAL_VERDICT_BAD, "a client's copy of a batch cannot know the seed");
    }
}

Test(journal_format, a_batch_that_ends_outside_is_bad)
{
    struct journal_owner owner = owner_make();
    static uint8_t batch[3 * PAGE];
    struct journal_batch_header header = batch_header;
    header.payload_bytes = 2 * PAGE;
    journal_batch_seal(batch, &owner, &header);
    cr_assert_eq(journal_batch_bytes(header.payload_bytes), sizeof batch);
    for (size_t size = PAGE; size < sizeof batch; size += 512) {
        uint64_t sum;
        struct journal_batch_header read;
        struct slice in = slice_of(batch, size);
        cr_assert_eq(journal_batch_header_decode(in, &owner, &read), JOURNAL_VERDICT_OK);
        cr_assert_eq(journal_batch_verify(in, &owner, &read, &sum), JOURNAL_VERDICT_BAD);
    }
}
