/* What the disk may hold: log entries, the journal's pages and files, the identity, the store's
 * meta row. */
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/identity.h"
#include "storage/journal.h"
#include "storage/repair_mark.h"
#include "storage/store_meta.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/reseal.h"
#include "tests/support/fake_io.h"
#include "tests/support/old_entry.h"
#include "tests/support/store_rig.h"
#include "tests/support/tree_env.h"

/* A copy of its own size, so that a sanitizer sees who reads past it. */
static uint8_t *copy_of(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.size + (bytes.size == 0));
    ASSERT(copy != NULL);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* The first byte of an input: whether checksums are made right. */
static bool wants_seal(struct fuzz_reader *r)
{
    return fuzz_u8(r) % 4 != 0;
}

static void add_sealed(fuzz_seed_fn *add, void *owner, const char *name, struct slice bytes)
{
    static struct fuzz_writer w;
    w.size = 0;
    fuzz_put_u8(&w, 1);
    fuzz_put(&w, bytes);
    add(owner, name, slice_of(w.bytes, w.size));
}

/* ---- entries ---- */

/* One encoding: what is taken, sealed again in its format, is the same bytes. */
static void entry_check(struct slice bytes, struct entry_header header)
{
    uint8_t *again = copy_of(bytes);
    header.user.data = again + (header.user.data - bytes.data);
    if (bytes.data[8] == ENTRY_FORMAT) {
        ASSERT(bytes.size == entry_size_bytes(&header));
        entry_seal(again, &header);
    } else {
        ASSERT(bytes.size == old_entry_size_bytes(&header));
        old_entry_seal(again, &header);
    }
    ASSERT(memcmp(again, bytes.data, bytes.size) == 0);
    free(again);
}

static void entry_run(struct slice input)
{
    struct fuzz_reader r = { input };
    bool seals = wants_seal(&r);
    struct slice left = r.left;
    uint8_t *copy = copy_of(left);
    if (seals)
        reseal_entries(copy, left.size);
    left.data = copy;
    struct entry_header header;
    struct slice payload;
    size_t size;
    while (entry_decode(left, &header, &payload, &size) == ENTRY_OK) {
        ASSERT(size <= left.size);
        entry_check(slice_of(left.data, size), header);
        left = slice_of(left.data + size, left.size - size);
    }
    free(copy);
}

static void entry_seeds(fuzz_seed_fn *add, void *owner)
{
    static struct fuzz_writer w;
    static struct fuzz_writer old;
    w.size = 0;
    old.size = 0;
    for (uint64_t i = 1; i <= 3; i++) {
        struct raft_entry entry = store_rig_entry((struct raft_pos){ 1 + i / 3, i }, 9);
        struct raft_entry old_entry = old_entry_of(&entry);
        fuzz_put(&w, entry.bytes);
        fuzz_put(&old, i == 2 ? entry.bytes : old_entry.bytes);
        block_unref(entry.block);
        block_unref(old_entry.block);
    }
    add_sealed(add, owner, "three", slice_of(w.bytes, w.size));
    add_sealed(add, owner, "both-formats", slice_of(old.bytes, old.size));
    struct entry_header header = { .type = RAFT_ENTRY_CONFIG,
                                   .pos = { 2, 900 },
                                   .wall_ms = 1780000000000,
                                   .user = slice_of_text("somebody"),
                                   .payload_bytes = 4 };
    uint8_t bytes[ENTRY_HEADER_BYTES_MAX + 4] = { 0 };
    entry_seal(bytes, &header);
    add_sealed(add, owner, "user", slice_of(bytes, entry_size_bytes(&header)));
}

const struct fuzz_target fuzz_entry = { "entry", 60000, entry_run, entry_seeds };

/* ---- pages and batches by themselves ---- */

enum { SEGMENT_BYTES = 64 << 10, SEGMENTS = 3, SLOT_FILE_BYTES = 2 * JOURNAL_ALIGN_BYTES };

static const uint8_t incarnation[INCARNATION_BYTES] = { 0x5a };

static struct journal_owner owner_of_all(void)
{
    return journal_owner_of(7, incarnation);
}

/* Two pages, of which the input sets the beginning of each. */
static void page_run(struct slice input)
{
    struct fuzz_reader r = { input };
    struct journal_owner owner = owner_of_all();
    bool seals = wants_seal(&r);
    uint8_t *pages = calloc(2, JOURNAL_ALIGN_BYTES);
    ASSERT(pages != NULL);
    size_t half = r.left.size / 2;
    for (size_t i = 0; i < 2; i++) {
        struct slice part = fuzz_take(&r, i == 0 ? half : JOURNAL_ALIGN_BYTES);
        if (part.size > 0)
            memcpy(pages + i * JOURNAL_ALIGN_BYTES, part.data,
                   part.size < JOURNAL_ALIGN_BYTES ? part.size : JOURNAL_ALIGN_BYTES);
    }
    if (seals)
        reseal_journal(pages, 2 * JOURNAL_ALIGN_BYTES, &owner);
    struct journal_page page;
    struct journal_batch_header header;
    struct slice in = slice_of(pages, 2 * JOURNAL_ALIGN_BYTES);
    uint64_t sum;
    for (int kind = JOURNAL_PAGE_SEGMENT; kind <= JOURNAL_PAGE_MARK; kind++)
        IGNORE(journal_page_decode(pages, (enum journal_page_kind)kind, &owner, &page) != 0,
               "any verdict is fine");
    if (journal_batch_header_decode(in, &owner, &header) == JOURNAL_VERDICT_OK)
        IGNORE(journal_batch_verify(in, &owner, &header, &sum) != 0, "likewise");
    free(pages);
}

static void page_seeds(fuzz_seed_fn *add, void *owner)
{
    struct journal_owner of = owner_of_all();
    static uint8_t bytes[2 * JOURNAL_ALIGN_BYTES];
    static const char *const names[] = { "segment", "hard", "mark" };
    for (int kind = JOURNAL_PAGE_SEGMENT; kind <= JOURNAL_PAGE_MARK; kind++) {
        struct journal_page page = { .number = 3, .a = SEGMENT_BYTES, .b = 1 };
        journal_page_encode(bytes, (enum journal_page_kind)kind, &of, &page);
        add_sealed(add, owner, names[kind], slice_of(bytes, 256));
    }
    struct raft_entry entry = store_rig_entry((struct raft_pos){ 1, 1 }, 20);
    struct journal_batch_header header = { .number = 1,
                                           .generation = 1,
                                           .hard = { .term = 1 },
                                           .entry_count = 1,
                                           .payload_bytes = (uint32_t)entry.bytes.size };
    memcpy(bytes + JOURNAL_BATCH_HEADER_BYTES, entry.bytes.data, entry.bytes.size);
    journal_batch_seal(bytes, &of, &header);
    add_sealed(add, owner, "batch", slice_of(bytes, 512));
    block_unref(entry.block);
}

const struct fuzz_target fuzz_journal_page = { "journal_page", 30000, page_run, page_seeds };

/* ---- whole journals ---- */

static const char *const file_names[] = { "00000001.seg", "00000002.seg", "00000003.seg", "hard",
                                          "mark" };
enum { FILES = sizeof file_names / sizeof file_names[0] };

/* Where the fourth batch resets to. */
static const struct raft_pos reset_poses[] = {
    [JOURNAL_RESET_NONE] = { 0, 0 },
    [JOURNAL_RESET_DROP] = { 2, 9 },
    [JOURNAL_RESET_KEEP] = { 1, 2 },
};

static size_t file_bytes(size_t i)
{
    return i < SEGMENTS ? SEGMENT_BYTES : SLOT_FILE_BYTES;
}

/* Five batches in their files, as their encoders write them; the fourth may be a reset. */
static void journal_image(uint8_t image[FILES][SEGMENT_BYTES], enum journal_reset reset)
{
    struct journal_owner owner = owner_of_all();
    struct journal_page page = { .number = 1, .a = SEGMENT_BYTES };
    memset(image, 0, FILES * SEGMENT_BYTES);
    journal_page_encode(image[0], JOURNAL_PAGE_SEGMENT, &owner, &page);
    size_t at = JOURNAL_ALIGN_BYTES;
    uint64_t sum = 0;
    struct raft_pos prev = { 0 };
    for (uint64_t i = 1; i <= 5; i++) {
        size_t file = i > 3;
        struct journal_batch_header header = {
            .number = i,
            .generation = 1 + file,
            .hard = { .term = 1 + i / 3, .vote = 1, .commit = i - 1 },
            .known_durable = i - 1,
            .prev_sum = sum,
            .entry_count = 1,
        };
        if (i == 4) {
            page.number = 2;
            journal_page_encode(image[1], JOURNAL_PAGE_SEGMENT, &owner, &page);
            at = JOURNAL_ALIGN_BYTES;
            header.reset = reset;
            header.reset_pos = reset_poses[reset];
        }
        header.prev = prev = header.reset == JOURNAL_RESET_DROP ? header.reset_pos : prev;
        struct raft_entry entry =
            store_rig_entry((struct raft_pos){ header.hard.term, prev.index + 1 }, 30);
        prev = entry.pos;
        header.payload_bytes = (uint32_t)entry.bytes.size;
        memcpy(image[file] + at + JOURNAL_BATCH_HEADER_BYTES, entry.bytes.data, entry.bytes.size);
        sum = journal_batch_seal(image[file] + at, &owner, &header);
        at += journal_batch_bytes(header.payload_bytes);
        block_unref(entry.block);
    }
    for (uint64_t i = 0; i < 2; i++) {
        struct journal_page hard = { .number = 1 + i, .a = 1 + i, .b = 1 };
        struct journal_page mark = { .number = 1 + i, .a = 2 + i };
        journal_page_encode(image[3] + i * JOURNAL_ALIGN_BYTES, JOURNAL_PAGE_HARD, &owner, &hard);
        journal_page_encode(image[4] + i * JOURNAL_ALIGN_BYTES, JOURNAL_PAGE_MARK, &owner, &mark);
    }
}

static void image_write(struct io *io, int root_fd, uint8_t image[FILES][SEGMENT_BYTES])
{
    int dir_fd = io->ops->dir_open(io, root_fd, "journal", IO_OPEN_CREATE);
    ASSERT(dir_fd >= 0);
    for (size_t i = 0; i < FILES; i++) {
        int fd = io->ops->file_open(io, dir_fd, file_names[i], IO_OPEN_CREATE);
        ASSERT(fd >= 0);
        ASSERT(io->ops->file_write_now(io, fd, slice_of(image[i], file_bytes(i)), 0) == 0);
        io->ops->file_close(io, fd);
    }
    io->ops->file_close(io, dir_fd);
}

static void recovery_check(const struct journal_recovery *r, struct raft_pos flushed)
{
    struct raft_pos at = flushed;
    for (size_t i = 0; i < r->entry_count; i++) {
        ASSERT(r->entries[i].pos.index == at.index + 1);
        ASSERT(r->entries[i].pos.term >= at.term);
        at = r->entries[i].pos;
    }
    ASSERT(r->hard.term >= at.term);
}

static void on_journal_closed(void *owner)
{
    *(bool *)owner = true;
}

/* -1: it cannot be opened; else how many entries came back. */
static int64_t journal_try(struct fake_io *fake, const struct journal_options *options,
                           struct raft_pos flushed)
{
    struct journal *j;
    struct journal_recovery recovery = { 0 };
    int64_t count = -1;
    if (journal_open(&j, options, flushed, &recovery) == JOURNAL_OK) {
        bool is_closed = false;
        recovery_check(&recovery, flushed);
        count = (int64_t)recovery.entry_count;
        journal_close(j, on_journal_closed, &is_closed);
        fake_io_run(fake);
        ASSERT(is_closed);
    }
    journal_recovery_done(&recovery);
    return count;
}

/* What was opened, salvaged or not, is whole: it opens again, with the same entries. */
static void journal_check(uint8_t image[FILES][SEGMENT_BYTES], struct raft_pos flushed,
                          bool salvage)
{
    struct fake_io *fake = fake_io_new(1);
    struct io *io = fake_io_io(fake);
    int root_fd = fake_io_root(fake);
    image_write(io, root_fd, image);
    struct journal_options options = {
        .io = io,
        .dir_fd = root_fd,
        .segment_bytes = SEGMENT_BYTES,
        .segment_count_max = 4,
        .cluster_id = 7,
        .incarnation = slice_of(incarnation, sizeof incarnation),
        .salvage = salvage,
    };
    bool found;
    struct raft_pos pos;
    IGNORE(journal_find_reset(&options, &found, &pos) != JOURNAL_OK, "either is an answer");
    int64_t count = journal_try(fake, &options, flushed);
    options.salvage = false;
    if (count >= 0)
        ASSERT(journal_try(fake, &options, flushed) == count);
    fake_io_free(fake);
}

enum journal_input {
    JOURNAL_INPUT_SALVAGE = 16,
    JOURNAL_INPUT_DROP = 32,
    JOURNAL_INPUT_KEEP = 64,
};

static enum journal_reset reset_of(uint8_t flags)
{
    if (flags & JOURNAL_INPUT_DROP)
        return JOURNAL_RESET_DROP;
    return flags & JOURNAL_INPUT_KEEP ? JOURNAL_RESET_KEEP : JOURNAL_RESET_NONE;
}

/* Of the base image, or of anything else. */
static struct raft_pos flushed_of(uint64_t index)
{
    return (struct raft_pos){ index == 0 ? 0 : index > 8 ? 2 : 1 + index / 3, index };
}

/* Seal or not and what image, how far the store is, then patches: file, place (2), length, bytes.
 */
static void journal_run(struct slice input)
{
    static uint8_t image[FILES][SEGMENT_BYTES];
    struct fuzz_reader r = { input };
    uint8_t flags = fuzz_u8(&r);
    uint64_t flushed = fuzz_u8(&r) % 12;
    journal_image(image, reset_of(flags));
    while (r.left.size > 0) {
        size_t file = fuzz_u8(&r) % FILES;
        size_t at = fuzz_u16(&r) % file_bytes(file);
        struct slice patch = fuzz_take(&r, fuzz_u8(&r));
        if (patch.size > file_bytes(file) - at)
            patch.size = file_bytes(file) - at;
        if (patch.size > 0)
            memcpy(image[file] + at, patch.data, patch.size);
    }
    struct journal_owner owner = owner_of_all();
    if (flags % 4 != 0)
        reseal_journal(image[0], sizeof image, &owner);
    journal_check(image, flushed_of(flushed), flags & JOURNAL_INPUT_SALVAGE);
}

/* Of the fields of pages and batches: so that mutations meet them. */
static void journal_seeds(fuzz_seed_fn *add, void *owner)
{
    static const uint8_t none[] = { 1, 0 };
    static const uint8_t number[] = { 1, 2, 0, 0x20, 0x10, 8, 9, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t hard[] = { 1, 1, 0, 0x30, 0x20, 24, 1, 0, 0, 0, 0, 0, 0, 0,
                                    0, 0, 0, 0,    0,    0,  0, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t sizes[] = { 1, 0, 1,    0x68, 0x10, 4, 0xff, 0xff, 0,
                                     0, 1, 0x1c, 0x10, 4,    2, 0,    0,    0 };
    static const uint8_t slots[] = { 1, 3, 3,    0x30, 0, 8, 7, 0, 0, 0, 0, 0, 0,
                                     0, 4, 0x38, 0,    8, 9, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t segment[] = { 1, 0, 1, 0x30, 0, 16, 1, 0, 0, 0, 0,
                                       0, 0, 0, 0,    0, 2,  0, 0, 0, 0, 0 };
    static const uint8_t torn[] = { 0, 3, 1, 0x40, 0x20, 4, 1, 2, 3, 4 };
    static const uint8_t salvaged[] = { JOURNAL_INPUT_SALVAGE, 0, 0, 0x40, 0x20, 4, 1, 2, 3, 4 };
    static const uint8_t headless[] = { JOURNAL_INPUT_SALVAGE, 2, 0, 0, 0, 4, 1, 2, 3, 4 };
    static const uint8_t slotless[] = {
        JOURNAL_INPUT_SALVAGE, 3, 3, 0, 0, 1, 1, 1, 0x40, 0x10, 1, 1
    };
    static const uint8_t drop[] = { 1 | JOURNAL_INPUT_DROP, 9 };
    static const uint8_t drop_pos[] = { 1 | JOURNAL_INPUT_DROP, 9, 1, 0x70, 0x10, 2, 3, 0 };
    static const uint8_t drop_lost[] = {
        JOURNAL_INPUT_DROP | JOURNAL_INPUT_SALVAGE, 9, 1, 0x40, 0x20, 1, 1
    };
    static const uint8_t keep[] = { 1 | JOURNAL_INPUT_KEEP, 2 };
    static const uint8_t reset_kind[] = { 1 | JOURNAL_INPUT_KEEP, 3, 1, 0x6c, 0x10, 1, 3 };
    add(owner, "salvaged", slice_of(salvaged, sizeof salvaged));
    add(owner, "headless", slice_of(headless, sizeof headless));
    add(owner, "slotless", slice_of(slotless, sizeof slotless));
    add(owner, "drop", slice_of(drop, sizeof drop));
    add(owner, "drop-pos", slice_of(drop_pos, sizeof drop_pos));
    add(owner, "drop-lost", slice_of(drop_lost, sizeof drop_lost));
    add(owner, "keep", slice_of(keep, sizeof keep));
    add(owner, "reset-kind", slice_of(reset_kind, sizeof reset_kind));
    add(owner, "none", slice_of(none, sizeof none));
    add(owner, "number", slice_of(number, sizeof number));
    add(owner, "hard", slice_of(hard, sizeof hard));
    add(owner, "sizes", slice_of(sizes, sizeof sizes));
    add(owner, "slots", slice_of(slots, sizeof slots));
    add(owner, "segment", slice_of(segment, sizeof segment));
    add(owner, "torn", slice_of(torn, sizeof torn));
}

const struct fuzz_target fuzz_journal = { "journal", 1200, journal_run, journal_seeds };

/* ---- small files ---- */

static void file_make(struct io *io, int dir_fd, const char *name, struct slice bytes)
{
    int fd = io->ops->file_open(io, dir_fd, name, IO_OPEN_CREATE);
    ASSERT(fd >= 0);
    if (bytes.size > 0)
        ASSERT(io->ops->file_write_now(io, fd, bytes, 0) == 0);
    io->ops->file_close(io, fd);
}

/* ---- the identity ---- */

static void identity_run(struct slice input)
{
    struct fuzz_reader r = { input };
    bool seals = wants_seal(&r);
    uint8_t *copy = copy_of(r.left);
    if (seals)
        reseal_front(copy, r.left.size);
    struct fake_io *fake = fake_io_new(1);
    struct io *io = fake_io_io(fake);
    int root_fd = fake_io_root(fake);
    file_make(io, root_fd, "identity", slice_of(copy, r.left.size));
    struct identity *identity = calloc(1, sizeof *identity);
    ASSERT(identity != NULL);
    if (identity_load(io, root_fd, identity) == IDENTITY_OK)
        ASSERT(identity->formation_bytes <= IDENTITY_FORMATION_BYTES_MAX);
    free(identity);
    free(copy);
    fake_io_free(fake);
}

static void identity_seeds(fuzz_seed_fn *add, void *owner)
{
    static struct identity identity = {
        .cluster_id = 7, .member_id = 3, .formed = true, .formation = { 8, 1 }, .formation_bytes = 2
    };
    struct fake_io *fake = fake_io_new(1);
    struct io *io = fake_io_io(fake);
    int root_fd = fake_io_root(fake);
    uint8_t bytes[256];
    ASSERT(identity_save(io, root_fd, &identity) == IDENTITY_OK);
    int64_t size = fake_disk_path_size(fake_io_disk(fake), "identity");
    ASSERT(size > 0 && size <= (int64_t)sizeof bytes);
    fake_disk_peek(fake_io_disk(fake), "identity", 0, bytes, (size_t)size);
    add_sealed(add, owner, "formed", slice_of(bytes, (size_t)size));
    fake_io_free(fake);
}

const struct fuzz_target fuzz_identity = { "identity", 20000, identity_run, identity_seeds };

/* ---- the repair mark ---- */

/* What is there is a mark, whatever it says; one that is known comes back as it was. */
static void repair_mark_run(struct slice input)
{
    struct fuzz_reader r = { input };
    bool seals = wants_seal(&r);
    uint8_t *copy = copy_of(r.left);
    if (seals)
        reseal_front(copy, r.left.size);
    struct fake_io *fake = fake_io_new(1);
    struct io *io = fake_io_io(fake);
    int root_fd = fake_io_root(fake);
    file_make(io, root_fd, REPAIR_MARK_NAME, slice_of(copy, r.left.size));
    struct repair_mark mark;
    struct repair_mark again;
    if (repair_mark_load(io, root_fd, &mark) == REPAIR_MARK_OK) {
        ASSERT(mark.state == REPAIR_STORE_LOST || mark.state == REPAIR_CATCH_UP);
        ASSERT(repair_cause_text(mark.cause) != NULL);
        ASSERT(repair_mark_save(io, root_fd, &mark) == REPAIR_MARK_OK);
        ASSERT(repair_mark_load(io, root_fd, &again) == REPAIR_MARK_OK);
        ASSERT(again.state == mark.state && again.cause == mark.cause);
    }
    free(copy);
    fake_io_free(fake);
}

static void repair_mark_seeds(fuzz_seed_fn *add, void *owner)
{
    const struct repair_mark mark = { REPAIR_CATCH_UP, REPAIR_CAUSE_JOURNAL };
    uint8_t bytes[REPAIR_MARK_BYTES];
    repair_mark_encode(bytes, &mark);
    add_sealed(add, owner, "catch-up", slice_of(bytes, sizeof bytes));
}

const struct fuzz_target fuzz_repair_mark = { "repair_mark", 20000, repair_mark_run,
                                              repair_mark_seeds };

/* ---- the meta row ---- */

enum { META_ARENA_BYTES = 4 * STORE_META_BYTES_MAX };

static void row_put(MDB_txn *txn, MDB_dbi dbi, struct slice bytes)
{
    static const char name[] = "store";
    MDB_val key = { .mv_size = sizeof name - 1, .mv_data = (void *)(uintptr_t)name };
    MDB_val row = { .mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data };
    ASSERT(mdb_put(txn, dbi, &key, &row, 0) == 0);
}

static void meta_run(struct slice input)
{
    static struct tree_env env;
    static MDB_dbi dbi;
    static bool is_open; /* one for the life of the process */
    if (!is_open) {
        tree_env_init(&env);
        ASSERT(mdb_dbi_open(env.txn, "meta", MDB_CREATE, &dbi) == 0);
        is_open = true;
    }
    struct fuzz_reader r = { input };
    bool seals = wants_seal(&r);
    uint8_t *copy = copy_of(r.left);
    if (seals)
        reseal_front(copy, r.left.size);
    row_put(env.txn, dbi, slice_of(copy, r.left.size));
    free(copy);
    struct arena arena;
    struct store_meta meta;
    int64_t revision;
    arena_init(&arena, META_ARENA_BYTES);
    if (store_meta_get(env.txn, dbi, &arena, &meta) == STORE_OK) {
        ASSERT(meta.state.term_start_count <= STORE_TERM_STARTS_MAX);
        ASSERT(meta.state.log_start.index <= meta.state.applied.index);
        ASSERT(store_meta_put(env.txn, dbi, &meta) == STORE_OK);
    }
    IGNORE(store_meta_revision(env.txn, dbi, &revision) != STORE_OK, "either is an answer");
    arena_done(&arena);
}

static void meta_seeds(fuzz_seed_fn *add, void *owner)
{
    struct tree_env env;
    MDB_dbi dbi;
    MDB_val key = { .mv_size = 5, .mv_data = (void *)(uintptr_t) "store" };
    MDB_val row;
    struct store_meta meta = { .cluster_id = 7,
                               .next_layer_id = 2,
                               .state = { .applied = { 3, 9 },
                                          .revision = 5,
                                          .compact_revision = 3,
                                          .compacted_revision = 2,
                                          .state_hash = 77,
                                          .feature_level = 1,
                                          .membership = slice_of_text("them"),
                                          .log_start = { 1, 2 },
                                          .term_starts = { { 2, 3 }, { 3, 6 } },
                                          .term_start_count = 2 } };
    tree_env_init(&env);
    ASSERT(mdb_dbi_open(env.txn, "meta", MDB_CREATE, &dbi) == 0);
    ASSERT(store_meta_put(env.txn, dbi, &meta) == STORE_OK);
    ASSERT(mdb_get(env.txn, dbi, &key, &row) == 0);
    add_sealed(add, owner, "full", slice_of(row.mv_data, row.mv_size));
    tree_env_done(&env);
}

const struct fuzz_target fuzz_store_meta = { "store_meta", 30000, meta_run, meta_seeds };
