#include <criterion/criterion.h>
#include <errno.h>

#include "base/checksum.h"
#include "storage/journal_format.h"
#include "tests/support/journal_lab.h"

/* Damage below what was known durable: the journal goes on with what still verifies, and never
 * forgets term and vote. */

enum { PAGE = JOURNAL_ALIGN_BYTES, BATCHES = 6, BATCH_PAGES = 2 };

static struct raft_hard_state hard_before;

/* A term with a vote, then BATCHES of one entry, two pages each, in segment 1. The entries are of
 * two formats: to the journal they are bytes. */
static struct lab *lab_filled(uint64_t seed)
{
    struct lab *lab = lab_new(seed);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 4, .vote = 1 } });
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 5, .vote = 2 } });
    for (int i = 0; i < BATCHES; i++) {
        lab->makes_old_entries = i < BATCHES / 2;
        lab_append(lab, 1, 5000);
    }
    hard_before = lab->durable.hard;
    lab_close(lab);
    return lab;
}

static uint64_t batch_at(uint64_t i)
{
    return (3 + i * BATCH_PAGES) * PAGE;
}

/* Opens it in this mode; what came back is a prefix of the model, which becomes that. */
static enum journal_err salvage(struct lab *lab)
{
    lab->options.salvage = true;
    enum journal_err err = journal_open(&lab->j, &lab->options, lab->flushed, &lab->recovery);
    lab->options.salvage = false;
    if (err == JOURNAL_OK) {
        const struct journal_recovery *r = &lab->recovery;
        lab->durable.last = lab->flushed.index + r->entry_count;
        for (size_t i = 0; i < r->entry_count; i++) {
            uint64_t index = lab->flushed.index + 1 + i;
            cr_assert_eq(r->entries[i].pos.index, index);
            cr_assert_eq(checksum(r->entries[i].bytes, 0), lab->durable.sums[index]);
        }
        cr_assert_leq(r->hard.commit, lab->durable.last);
        lab->durable.hard = r->hard;
    }
    journal_recovery_done(&lab->recovery);
    return err;
}

static void expect_goes_on(struct lab *lab)
{
    cr_assert_eq(lab->durable.hard.term, hard_before.term);
    cr_assert_eq(lab->durable.hard.vote, hard_before.vote);
    lab_append(lab, 2, 5000);
    fake_io_crash(lab->fake, FAKE_CRASH_POWER);
    lab_reboot(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "%s", lab->recovery.detail);
    for (int i = 0; i < 30; i++) {
        lab_append(lab, 1, 5000);
        lab_flush(lab, lab->durable.last);
    }
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "%s", lab->recovery.detail);
}

Test(journal_salvage, keeps_what_stands_before_a_damaged_page)
{
    for (uint64_t page = 0; page < 3 + BATCHES * BATCH_PAGES; page++) {
        if (page == 1 || page == 2)
            continue; /* of the two without entries: the chain needs to go no further than the third
                       */
        struct lab *lab = lab_filled(1 + page);
        fake_disk_flip(fake_io_disk(lab->fake), lab_segment_path(1), page * PAGE + 77, 0x08);
        cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT, "page %lu", page);
        cr_assert_eq(salvage(lab), JOURNAL_OK, "page %lu: %s", page, lab->recovery.detail);
        cr_assert(lab->recovery.salvaged);
        cr_assert_gt(strlen(lab->recovery.detail), 20);
        /* A damaged segment header takes its batches with it. */
        cr_assert_eq(lab->durable.last, page < 3 ? 0 : (page - 3) / BATCH_PAGES, "page %lu", page);
        expect_goes_on(lab);
        lab_free(lab);
    }
}

/* 1. a member votes in term 5; 2. its journal is gone, all of it, and its store holds nothing yet,
 * or is lost as well; 3. taken for a new one it would vote in term 5 again. */
Test(journal_salvage, where_a_journal_was_none_is_damage)
{
    struct lab *lab = lab_new(31);
    lab->options.must_exist = true;
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
    cr_assert(strstr(lab->recovery.detail, "no journal"), "%s", lab->recovery.detail);
    cr_assert_eq(salvage(lab), JOURNAL_E_CORRUPT, "nobody knows its vote");
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT, "and a failed open makes none");
    lab->options.must_exist = false;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_close(lab);
    lab->options.must_exist = true;
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "one without a write is one: %s", lab->recovery.detail);
    lab_free(lab);
}

Test(journal_salvage, a_sound_journal_is_opened_as_always)
{
    struct lab *lab = lab_filled(1);
    lab->options.salvage = true;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_not(lab->recovery.salvaged);
    lab_free(lab);
}

/* The store is lost and begins anew; the journal holds the log from somewhere later on. */
Test(journal_salvage, drops_a_log_that_a_blank_store_cannot_take)
{
    struct lab *lab = lab_filled(1);
    lab->flushed = (struct raft_pos){ .term = 5, .index = 4 };
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    for (int i = 0; i < 30; i++) {
        lab_append(lab, 1, 5000);
        lab_flush(lab, lab->durable.last);
    }
    hard_before = lab->durable.hard;
    lab_close(lab);
    lab->flushed = (struct raft_pos){ 0 };
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
    cr_assert_eq(salvage(lab), JOURNAL_OK, "%s", lab->recovery.detail);
    cr_assert(lab->recovery.salvaged);
    cr_assert_eq(lab->durable.last, 0);
    expect_goes_on(lab);
    lab_free(lab);
}

Test(journal_salvage, a_blank_store_takes_a_log_from_its_beginning)
{
    struct lab *lab = lab_filled(1);
    cr_assert_eq(salvage(lab), JOURNAL_OK);
    cr_assert_not(lab->recovery.salvaged);
    cr_assert_eq(lab->durable.last, BATCHES);
    lab_free(lab);
}

/* A reset whose snapshot is gone: what the store has goes on, nothing of the log is of use. */
Test(journal_salvage, a_reset_without_its_snapshot_is_dropped)
{
    struct lab *lab = lab_filled(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 6, .vote = 3 },
                                            .prev_index = 100,
                                            .term = 6,
                                            .count = 2,
                                            .reset = JOURNAL_RESET_DROP,
                                            .reset_pos = { .term = 6, .index = 100 } });
    hard_before = lab->durable.hard;
    lab_close(lab);
    lab->snapshot = (struct raft_pos){ 0 };
    lab->flushed = (struct raft_pos){ .term = 5, .index = 3 };
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
    cr_assert_eq(salvage(lab), JOURNAL_OK, "%s", lab->recovery.detail);
    cr_assert_eq(lab->durable.last, 3);
    expect_goes_on(lab);
    lab_free(lab);
}

/* ---- the vote ---- */

static void slot_damage(struct lab *lab, uint64_t slot)
{
    fake_disk_flip(fake_io_disk(lab->fake), "journal/hard", slot * PAGE + 60, 0x40);
}

Test(journal_salvage, a_vote_is_known_from_two_slots_or_from_the_newest_header)
{
    static const struct {
        bool slot_is_bad[2];
        bool newest_is_bad;
        enum journal_err err;
    } cases[] = {
        { { false, false }, false, JOURNAL_OK },      { { false, false }, true, JOURNAL_OK },
        { { true, false }, false, JOURNAL_OK },       { { false, true }, false, JOURNAL_OK },
        { { true, true }, false, JOURNAL_OK },        { { true, false }, true, JOURNAL_E_CORRUPT },
        { { false, true }, true, JOURNAL_E_CORRUPT }, { { true, true }, true, JOURNAL_E_CORRUPT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lab *lab = lab_filled(1);
        struct fake_disk *disk = fake_io_disk(lab->fake);
        fake_disk_flip(disk, lab_segment_path(1), batch_at(2) + 5000, 1);
        for (uint64_t slot = 0; slot < 2; slot++)
            if (cases[i].slot_is_bad[slot])
                slot_damage(lab, slot);
        if (cases[i].newest_is_bad)
            fake_disk_flip(disk, lab_segment_path(1), batch_at(BATCHES - 1) + 50, 1);
        cr_assert_eq(salvage(lab), cases[i].err, "case %zu: %s", i, lab->recovery.detail);
        if (cases[i].err == JOURNAL_OK) {
            expect_goes_on(lab);
        } else {
            cr_assert(strstr(lab->recovery.detail, "vote is lost"), "%s", lab->recovery.detail);
            cr_assert_eq(salvage(lab), JOURNAL_E_CORRUPT, "and nothing was changed");
        }
        lab_free(lab);
    }
}

Test(journal_salvage, a_journal_that_is_gone_has_lost_the_vote)
{
    struct lab *lab = lab_new(1);
    lab->flushed = (struct raft_pos){ .term = 5, .index = 9 };
    cr_assert_eq(salvage(lab), JOURNAL_E_CORRUPT);
    cr_assert(strstr(lab->recovery.detail, "vote is lost"), "%s", lab->recovery.detail);
    lab_free(lab);
}

Test(journal_salvage, two_votes_stay_corruption)
{
    struct lab *lab = lab_filled(1);
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    uint8_t page[PAGE];
    struct journal_page other = { .number = 99, .a = 5, .b = 3 };
    journal_page_encode(page, JOURNAL_PAGE_HARD, &owner, &other);
    fake_disk_poke(fake_io_disk(lab->fake), "journal/hard", PAGE, slice_of(page, PAGE));
    cr_assert_eq(salvage(lab), JOURNAL_E_CORRUPT);
    cr_assert(strstr(lab->recovery.detail, "in doubt"), "%s", lab->recovery.detail);
    lab_free(lab);
}

/* ---- files ---- */

Test(journal_salvage, goes_on_without_a_segment_that_is_gone_or_cut)
{
    for (int kind = 0; kind < 4; kind++) {
        struct lab *lab = lab_filled(1);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        for (int i = 0; i < 12; i++)
            lab_append(lab, 1, 7000);
        hard_before = lab->durable.hard;
        lab_close(lab);
        struct io *io = fake_io_io(lab->fake);
        int dir_fd = io->ops->dir_open(io, lab->root_fd, "journal", 0);
        const char *name = kind < 2 ? "00000001.seg" : "00000003.seg";
        cr_assert_eq(io->ops->file_remove(io, dir_fd, name), 0);
        if (kind % 2 == 1) {
            uint8_t byte = 1;
            int fd = io->ops->file_open(io, dir_fd, name, IO_OPEN_CREATE);
            cr_assert_eq(io->ops->file_write_now(io, fd, slice_of(&byte, 1), 100), 0);
            io->ops->file_close(io, fd);
        }
        io->ops->file_close(io, dir_fd);
        cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
        cr_assert_eq(salvage(lab), JOURNAL_OK, "kind %d: %s", kind, lab->recovery.detail);
        expect_goes_on(lab);
        lab_free(lab);
    }
}

Test(journal_salvage, leaves_one_segment_and_grows_no_further_each_time)
{
    struct lab *lab = lab_filled(1);
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_append(lab, 3, 5000);
        lab_append(lab, 3, 5000);
        lab_close(lab);
        struct fake_disk *disk = fake_io_disk(lab->fake);
        uint32_t id = 1;
        while (fake_disk_path_size(disk, lab_segment_path(id)) <= 0)
            id++;
        for (uint32_t each = id; each < id + 4; each++)
            if (fake_disk_path_size(disk, lab_segment_path(each)) > 0)
                fake_disk_flip(disk, lab_segment_path(each), 2 * PAGE + 100, 0xff);
        cr_assert_eq(salvage(lab), JOURNAL_OK, "%s", lab->recovery.detail);
        cr_assert_leq(id, 8);
        lab_close(lab);
    }
    lab_free(lab);
}

/* More than one batch holds: the rest is sent again. */
Test(journal_salvage, keeps_as_much_as_one_batch_holds)
{
    struct lab *lab = lab_filled(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    for (int i = 0; i < 15; i++)
        lab_append(lab, 1, 6000);
    hard_before = lab->durable.hard;
    lab_close(lab);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    uint32_t newest = 1;
    while (fake_disk_path_size(disk, lab_segment_path(newest + 1)) > 0)
        newest++;
    uint8_t zeros[PAGE] = { 0 };
    uint32_t id = newest;
    for (; id > 1; id--) {
        uint8_t page[PAGE];
        fake_disk_peek(disk, lab_segment_path(id), 0, page, PAGE);
        if (!journal_is_zero(page, PAGE))
            break;
    }
    fake_disk_poke(disk, lab_segment_path(id), PAGE, slice_of(zeros, PAGE));
    cr_assert_eq(salvage(lab), JOURNAL_OK, "%s", lab->recovery.detail);
    cr_assert_gt(lab->durable.last, 7);
    expect_goes_on(lab);
    lab_free(lab);
}

/* ---- crashes and failures on the way ---- */

Test(journal_salvage, a_crash_at_any_step_loses_no_vote)
{
    static const enum fake_crash kinds[] = { FAKE_CRASH_PROCESS, FAKE_CRASH_POWER };
    for (uint64_t nth = 1; nth <= 400; nth++) {
        struct lab *lab = lab_filled(nth);
        fake_disk_flip(fake_io_disk(lab->fake), lab_segment_path(1), batch_at(3) + 10, 1);
        fake_io_crash_at(lab->fake, nth / 2, kinds[nth % 2]);
        enum journal_err err = salvage(lab);
        bool died = fake_io_is_dead(lab->fake);
        cr_assert(err == JOURNAL_OK || died, "step %lu: %s", nth / 2, lab->recovery.detail);
        if (!died)
            fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        cr_assert_eq(salvage(lab), JOURNAL_OK, "step %lu: %s", nth / 2, lab->recovery.detail);
        cr_assert_eq(lab->durable.last, 3);
        expect_goes_on(lab);
        lab_free(lab);
    }
}

Test(journal_salvage, a_failure_at_any_step_is_told)
{
    static const enum fake_io_kind kinds[] = { FAKE_IO_WRITE, FAKE_IO_SYNC, FAKE_IO_NAME };
    int told = 0;
    for (size_t k = 0; k < 3; k++) {
        for (uint64_t nth = 1; nth <= 30; nth++) {
            struct lab *lab = lab_filled(nth);
            fake_disk_flip(fake_io_disk(lab->fake), lab_segment_path(1), batch_at(3) + 10, 1);
            fake_io_fail(lab->fake, kinds[k], nth, ENOSPC);
            enum journal_err err = salvage(lab);
            cr_assert(err == JOURNAL_OK || err == JOURNAL_E_NOSPACE || err == JOURNAL_E_IO, "%s",
                      journal_strerror(err));
            told += err != JOURNAL_OK;
            lab_close(lab);
            fake_io_fail(lab->fake, kinds[k], 0, 0);
            cr_assert_eq(salvage(lab), JOURNAL_OK, "%s", lab->recovery.detail);
            cr_assert_eq(lab->durable.hard.vote, hard_before.vote);
            lab_free(lab);
        }
    }
    cr_assert_gt(told, 10);
}

/* Hostile bytes: open ends with an answer, and with the vote when it ends well. */
Test(journal_salvage, random_damage_never_trips_an_assert)
{
    int saved = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct lab *lab = lab_filled(seed);
        struct fake_disk *disk = fake_io_disk(lab->fake);
        struct prng chance = prng_seeded(seed);
        static const char *const paths[] = { "journal/00000001.seg", "journal/00000002.seg",
                                             "journal/hard", "journal/mark" };
        for (uint64_t n = 1 + prng_below(&chance, 6); n > 0; n--) {
            const char *path = paths[prng_below(&chance, 4)];
            int64_t size = fake_disk_path_size(disk, path);
            if (size > 0)
                fake_disk_flip(disk, path,
                               prng_below(&chance, (uint64_t)size) / PAGE * PAGE +
                                   prng_below(&chance, 128),
                               (uint8_t)(1 + prng_below(&chance, 255)));
        }
        enum journal_err err = salvage(lab);
        cr_assert(err == JOURNAL_OK || err == JOURNAL_E_CORRUPT, "%s", journal_strerror(err));
        if (err == JOURNAL_OK) {
            saved++;
            cr_assert_eq(lab->durable.hard.term, hard_before.term, "seed %lu", seed);
            cr_assert_eq(lab->durable.hard.vote, hard_before.vote, "seed %lu", seed);
        }
        lab_free(lab);
    }
    cr_assert_gt(saved, 150);
}
