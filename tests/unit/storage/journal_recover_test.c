#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/journal_format.h"
#include "tests/support/journal_lab.h"

enum { PAGE = JOURNAL_ALIGN_BYTES };

/* Kills it without a last mark. */
static void kill_now(struct lab *lab)
{
    fake_io_crash(lab->fake, FAKE_CRASH_PROCESS);
    lab_reboot(lab);
}

/* Eight batches of two pages each in segment 1, then closed with a mark or killed without. */
static struct lab *lab_filled(bool marked)
{
    struct lab *lab = lab_new(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    for (int i = 0; i < 7; i++)
        lab_append(lab, 1, 5000);
    if (marked) {
        lab_close(lab);
        return lab;
    }
    kill_now(lab);
    return lab;
}

static void expect_corrupt(struct lab *lab, const char *what, uint64_t at)
{
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT, "%s at %lu", what, at);
    cr_assert_gt(strlen(lab->recovery.detail), 20, "%s at %lu says where", what, at);
}

Test(journal_recover, a_flip_below_the_mark_is_corruption)
{
    struct lab *lab = lab_filled(true);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    struct prng chance = prng_seeded(3);
    uint64_t end = PAGE + 7 * 2 * PAGE;
    for (int i = 0; i < 300; i++) {
        uint64_t at = prng_below(&chance, end);
        uint8_t mask = (uint8_t)(1u << prng_below(&chance, 8));
        fake_disk_flip(disk, lab_segment_path(1), at, mask);
        expect_corrupt(lab, "flip", at);
        fake_disk_flip(disk, lab_segment_path(1), at, mask);
    }
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "and nothing was changed by looking");
    cr_assert_eq(lab->recovery.torn_bytes, 0);
    lab_free(lab);
}

Test(journal_recover, a_flip_in_what_a_later_batch_knows_is_corruption)
{
    struct lab *lab = lab_filled(false);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    struct prng chance = prng_seeded(4);
    uint64_t end = PAGE + 6 * 2 * PAGE; /* all but the last */
    for (int i = 0; i < 300; i++) {
        uint64_t at = PAGE + prng_below(&chance, end - PAGE);
        fake_disk_flip(disk, lab_segment_path(1), at, 0x10);
        expect_corrupt(lab, "flip", at);
        fake_disk_flip(disk, lab_segment_path(1), at, 0x10);
    }
    lab_free(lab);
}

Test(journal_recover, a_flip_in_the_last_batch_without_a_mark_is_a_torn_tail)
{
    for (uint64_t at = 0; at < (uint64_t)2 * PAGE; at += 97) {
        struct lab *lab = lab_filled(false);
        struct fake_disk *disk = fake_io_disk(lab->fake);
        fake_disk_flip(disk, lab_segment_path(1), PAGE + 6 * 2 * PAGE + at, 0x01);
        lab->durable.last--; /* nobody knows that it was durable */
        lab->durable.hard.commit = 0;
        cr_assert_eq(lab_open(lab), JOURNAL_OK, "at %lu", at);
        cr_assert_gt(lab->recovery.torn_bytes, 0, "at %lu", at);
        lab_append(lab, 1, 100);
        kill_now(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK, "goes on after a torn tail, at %lu", at);
        cr_assert_eq(lab->recovery.torn_bytes, 0);
        lab_free(lab);
    }
}

/* The last write tears, but the header of the one after it landed: it says what was durable. */
Test(journal_recover, a_torn_write_still_says_what_it_knew)
{
    struct lab *lab = lab_filled(false);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    fake_disk_flip(disk, lab_segment_path(1), PAGE + 6 * 2 * PAGE + 5000, 0x01);
    fake_disk_flip(disk, lab_segment_path(1), PAGE + 5 * 2 * PAGE + 5000, 0x01);
    expect_corrupt(lab, "payloads of the last two", 0);
    lab_free(lab);
}

/* What the store has is not needed from the journal, damaged or not. */
Test(journal_recover, damage_below_what_is_flushed_does_no_harm)
{
    struct lab *lab = lab_filled(true);
    fake_disk_flip(fake_io_disk(lab->fake), lab_segment_path(1), PAGE + 2 * 2 * PAGE + 300, 0xff);
    expect_corrupt(lab, "flip in the third batch", 0);
    lab->flushed = (struct raft_pos){ .term = 1, .index = 3 };
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

Test(journal_recover, a_segment_that_is_gone_or_cut_is_corruption)
{
    struct lab *lab = lab_new(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    for (int i = 0; i < 20; i++)
        lab_append(lab, 1, 7000);
    lab_close(lab);
    struct io *io = fake_io_io(lab->fake);
    int dir_fd = io->ops->dir_open(io, lab->root_fd, "journal", 0);
    cr_assert_eq(io->ops->file_rename(io, dir_fd, "00000001.seg", "kept"), 0);
    expect_corrupt(lab, "oldest segment gone", 0);
    cr_assert_eq(io->ops->file_rename(io, dir_fd, "kept", "00000001.seg"), 0);
    cr_assert_eq(io->ops->file_rename(io, dir_fd, "00000003.seg", "kept"), 0);
    expect_corrupt(lab, "newest segment gone", 0);
    uint8_t byte = 1;
    int fd = io->ops->file_open(io, dir_fd, "00000003.seg", IO_OPEN_CREATE);
    cr_assert_eq(io->ops->file_write_now(io, fd, slice_of(&byte, 1), 100), 0);
    io->ops->file_close(io, fd);
    expect_corrupt(lab, "newest segment cut short", 0);
    io->ops->file_close(io, dir_fd);
    lab_free(lab);
}

Test(journal_recover, a_journal_that_ends_before_the_store_is_corruption)
{
    struct lab *lab = lab_new(1);
    lab->flushed = (struct raft_pos){ .term = 1, .index = 9 };
    expect_corrupt(lab, "no journal at all", 0);
    lab->flushed = (struct raft_pos){ 0 };
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_append(lab, 3, 100);
    lab_close(lab);
    lab->flushed = (struct raft_pos){ .term = 1, .index = 4 };
    expect_corrupt(lab, "log too short", 0);
    lab->flushed = (struct raft_pos){ .term = 2, .index = 3 };
    expect_corrupt(lab, "another term at the store's last entry", 0);
    lab->flushed = (struct raft_pos){ .term = 2, .index = 2 };
    expect_corrupt(lab, "another term before the first to replay", 0);
    lab->flushed = (struct raft_pos){ .term = 1, .index = 2 };
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

Test(journal_recover, refuses_another_clusters_or_directorys_journal)
{
    struct lab *lab = lab_filled(true);
    lab->options.cluster_id++;
    cr_assert_eq(lab_open(lab), JOURNAL_E_FOREIGN);
    lab->options.cluster_id--;
    lab->incarnation[15] ^= 1;
    cr_assert_eq(lab_open(lab), JOURNAL_E_FOREIGN);
    cr_assert(strstr(lab->recovery.detail, "journal/00000001.seg"), "%s", lab->recovery.detail);
    lab->incarnation[15] ^= 1;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

static void page_reseal_as_version_2(struct fake_disk *disk, const char *path, uint64_t at)
{
    uint8_t page[PAGE];
    fake_disk_peek(disk, path, at, page, PAGE);
    put_le32(page + 16, 2);
    put_le64(page, checksum(slice_of(page + 8, PAGE - 8), 0));
    fake_disk_poke(disk, path, at, slice_of(page, PAGE));
}

Test(journal_recover, tells_a_newer_version_from_damage)
{
    static const char *const paths[] = { "journal/00000001.seg", "journal/hard", "journal/mark" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct lab *lab = lab_filled(true);
        uint64_t at = i == 2 ? PAGE : 0; /* the first mark goes to the second slot */
        page_reseal_as_version_2(fake_io_disk(lab->fake), paths[i], at);
        cr_assert_eq(lab_open(lab), JOURNAL_E_VERSION, "%s", paths[i]);
        lab_free(lab);
    }
    struct lab *lab = lab_filled(true);
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    uint8_t header[JOURNAL_BATCH_HEADER_BYTES];
    struct fake_disk *disk = fake_io_disk(lab->fake);
    fake_disk_peek(disk, lab_segment_path(1), PAGE, header, sizeof header);
    put_le32(header + 24, JOURNAL_BATCH_FORMAT + 1);
    put_le64(header + 8, checksum(slice_of(header + 16, sizeof header - 16), owner.seed));
    fake_disk_poke(disk, lab_segment_path(1), PAGE, slice_of(header, sizeof header));
    cr_assert_eq(lab_open(lab), JOURNAL_E_VERSION, "a batch");
    cr_assert(strstr(lab->recovery.detail, "byte 4096"), "%s", lab->recovery.detail);
    lab_free(lab);
}

/* 1. A write of two pages tears: the second page is lost. It is dropped.
 * 2. The same entries are written again, with a vote.
 * 3. Of that, the second page lands and the first does not: the first write must not come back.
 */
Test(journal_recover, what_was_dropped_as_torn_never_comes_back)
{
    struct lab *lab = lab_filled(false);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    uint64_t at = PAGE + 6 * 2 * PAGE;
    uint8_t lost[PAGE];
    uint8_t before[PAGE];
    uint8_t zeros[PAGE] = { 0 };
    fake_disk_peek(disk, lab_segment_path(1), at + PAGE, lost, PAGE);
    fake_disk_poke(disk, lab_segment_path(1), at + PAGE, slice_of(zeros, PAGE));
    lab->durable.last--;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_eq(lab->recovery.torn_bytes, 2 * PAGE);
    struct lab_state kept = lab->durable;
    kill_now(lab);
    fake_disk_peek(disk, lab_segment_path(1), at, before, PAGE);
    cr_assert(journal_is_zero(before, PAGE), "where the next batch begins nothing is left");

    fake_disk_poke(disk, lab_segment_path(1), at + PAGE, slice_of(lost, PAGE));
    lab->durable = kept;
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "whole again but for its header");
    lab_free(lab);
}

/* A segment's header and its first batch never reached the disk, the second batch did: it says that
 * the first was durable. Found by the simulator, with two blocks lost of a journal that short. */
Test(journal_recover, a_segment_that_lost_its_beginning_is_not_a_spare_one)
{
    struct lab *lab = lab_new(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    while (journal_usage(lab->j).segments_in_use < 2)
        lab_append(lab, 1, 5000);
    lab_append(lab, 1, 100);
    kill_now(lab);
    uint8_t zeros[3 * PAGE] = { 0 };
    fake_disk_poke(fake_io_disk(lab->fake), lab_segment_path(2), 0, slice_of(zeros, sizeof zeros));
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
    cr_assert(strstr(lab->recovery.detail, "which was durable, is gone"), "%s",
              lab->recovery.detail);
    lab_free(lab);
}

/* The newest batch, unacknowledged and in a cache alone, makes older segments free. Recovery that
 * dies half-way must not have cleared those and then lost it. */
Test(journal_recover, clears_nothing_before_the_chain_is_durable)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct lab *lab = lab_new(seed);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        for (int i = 0; i < 6; i++)
            lab_append(lab, 1, 7000);
        struct lab_batch all_anew = {
            .hard = { .term = 2 }, .prev_index = 0, .term = 2, .count = 2, .payload_bytes = 7000
        };
        cr_assert_eq(lab_write(lab, &all_anew), JOURNAL_OK);
        fake_io_crash(lab->fake, FAKE_CRASH_PROCESS);
        lab_reboot(lab);
        fake_io_crash_at(lab->fake, 1 + seed % 40, FAKE_CRASH_POWER);
        enum journal_err err = lab_open(lab);
        cr_assert(err == JOURNAL_OK || fake_io_is_dead(lab->fake));
        if (!fake_io_is_dead(lab->fake))
            fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        err = lab_open(lab);
        cr_assert_eq(err, JOURNAL_OK, "seed %lu: %s", seed, lab->recovery.detail);
        lab_free(lab);
    }
}

/* I6: what a recovery returned holds, although the disk had not yet seen it. */
Test(journal_recover, makes_durable_what_it_read_from_a_cache)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct lab *lab = lab_new(seed);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_append(lab, 2, 100);
        struct lab_batch vote = { .hard = { .term = 5, .vote = 3 } };
        cr_assert_eq(lab_write(lab, &vote), JOURNAL_OK);
        fake_io_crash(lab->fake, FAKE_CRASH_PROCESS);
        lab_reboot(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK); /* checks against what came back before */
        lab_free(lab);
    }
}

Test(journal_recover, two_votes_in_one_term_are_corruption)
{
    struct lab *lab = lab_new(2);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 4, .vote = 2 } });
    lab_close(lab);
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    uint8_t page[PAGE];
    struct journal_page other = { .number = 99, .a = 4, .b = 3 };
    journal_page_encode(page, JOURNAL_PAGE_HARD, &owner, &other);
    fake_disk_poke(fake_io_disk(lab->fake), "journal/hard", 0, slice_of(page, PAGE));
    expect_corrupt(lab, "a slot with another vote", 0);
    lab_free(lab);
}

/* The slots repeat what the newest batch holds: each alone is enough. */
Test(journal_recover, a_damaged_slot_is_written_anew)
{
    for (int slots = 1; slots <= 3; slots++) {
        struct lab *lab = lab_new(2);
        struct fake_disk *disk = fake_io_disk(lab->fake);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 4, .vote = 2 } });
        lab_close(lab);
        for (uint64_t i = 0; i < 2; i++)
            if (slots & 1 << i)
                fake_disk_flip(disk, "journal/hard", i * PAGE + 60, 0x40);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_close(lab);
        struct journal_owner owner = journal_owner_of(7, lab->incarnation);
        for (uint64_t i = 0; i < 2; i++) {
            uint8_t page[PAGE];
            struct journal_page found = { 0 };
            fake_disk_peek(disk, "journal/hard", i * PAGE, page, PAGE);
            cr_assert_eq(journal_page_decode(page, JOURNAL_PAGE_HARD, &owner, &found),
                         JOURNAL_VERDICT_OK);
            cr_assert(found.a == 4 && found.b == 2);
        }
        lab_free(lab);
    }
}

/* A slot alone is believed when the batch that went with it tore: the vote may have been cast. */
Test(journal_recover, a_slot_ahead_of_the_batches_counts)
{
    struct lab *lab = lab_new(2);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_append(lab, 1, 100);
    lab_close(lab);
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    uint8_t page[PAGE];
    struct journal_page vote = { .number = 99, .a = 8, .b = 3 };
    journal_page_encode(page, JOURNAL_PAGE_HARD, &owner, &vote);
    fake_disk_poke(fake_io_disk(lab->fake), "journal/hard", PAGE, slice_of(page, PAGE));
    lab->durable.hard.term = 8;
    lab->durable.hard.vote = 3;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

/* Hostile bytes: whatever stands in the files, open ends with an answer. */
/* Written by two versions, the older one first: nothing is made anew. */
Test(journal_recover, entries_of_two_formats_come_back)
{
    struct lab *lab = lab_new(1);
    lab->makes_old_entries = true;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    for (int i = 0; i < 3; i++)
        lab_append(lab, 2, 3000);
    kill_now(lab);
    lab->makes_old_entries = false;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_append(lab, 2, 3000);
        kill_now(lab);
    }
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_eq(lab->durable.last, 12);
    lab_free(lab);
}

Test(journal_recover, random_damage_never_trips_an_assert)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct lab *lab = lab_filled(seed % 2 == 0);
        struct fake_disk *disk = fake_io_disk(lab->fake);
        struct prng chance = prng_seeded(seed);
        static const char *const paths[] = { "journal/00000001.seg", "journal/hard",
                                             "journal/mark" };
        for (uint64_t n = 1 + prng_below(&chance, 6); n > 0; n--) {
            const char *path = paths[prng_below(&chance, 3)];
            int64_t size = fake_disk_path_size(disk, path);
            if (size > 0)
                fake_disk_flip(disk, path,
                               prng_below(&chance, (uint64_t)size) / PAGE * PAGE +
                                   prng_below(&chance, 128),
                               (uint8_t)(1 + prng_below(&chance, 255)));
        }
        struct journal *j = NULL;
        struct journal_recovery r;
        enum journal_err err = journal_open(&j, &lab->options, lab->flushed, &r);
        cr_assert(err == JOURNAL_OK || err == JOURNAL_E_CORRUPT, "%s", journal_strerror(err));
        cr_assert(err != JOURNAL_OK || r.entry_count >= 6, "at most the unmarked last one is lost");
        journal_recovery_done(&r);
        lab->j = j;
        lab_free(lab);
    }
}

/* A header and its first batch are one write: with that batch whole, a header that does not
 * verify has rotted, even when nobody knows yet that the batch was durable. */
Test(journal_recover, a_rotten_segment_header_is_corruption)
{
    struct lab *lab = lab_new(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    uint32_t most = (uint32_t)journal_batch_bytes_max(lab->j) - 64;
    lab_append(lab, 1, most);
    lab_append(lab, 1, most);
    kill_now(lab);
    fake_disk_flip(fake_io_disk(lab->fake), lab_segment_path(2), 50, 0x04);
    expect_corrupt(lab, "header", 50);
    cr_assert(strstr(lab->recovery.detail, "journal/00000002.seg, byte 0"), "%s",
              lab->recovery.detail);
    lab_free(lab);
}

/* The right number in the right place is not enough: it must follow from the bytes before it. */
Test(journal_recover, a_batch_of_another_history_does_not_chain)
{
    struct lab *lab = lab_filled(false);
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    uint8_t batch[PAGE] = { 0 };
    struct journal_batch_header next = { .number = 8,
                                         .generation = 1,
                                         .hard = { .term = 1 },
                                         .prev = { .term = 1, .index = 7 },
                                         .known_durable = 7,
                                         .prev_sum = 12345 };
    journal_batch_seal(batch, &owner, &next);
    fake_disk_poke(fake_io_disk(lab->fake), lab_segment_path(1), PAGE + 7 * 2 * PAGE,
                   slice_of(batch, PAGE));
    expect_corrupt(lab, "another chain", 0);
    lab_free(lab);
}

/* Free segments come out of recovery blank, and durably so: see remains_clear. */
Test(journal_recover, free_segments_are_blank_afterwards)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct lab *lab = lab_new(seed);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        for (int i = 0; i < 30; i++) {
            lab_append(lab, 1, 20000);
            lab_flush(lab, lab->durable.last);
        }
        kill_now(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        cr_assert_eq(journal_usage(lab->j).segments_in_use, 1);
        fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        int blank = 0;
        struct fake_disk *disk = fake_io_disk(lab->fake);
        uint32_t count = 0;
        for (uint32_t id = 1; fake_disk_path_size(disk, lab_segment_path(id)) > 0; id++) {
            uint8_t pages[2 * PAGE];
            fake_disk_peek(disk, lab_segment_path(id), 0, pages, sizeof pages);
            blank += journal_is_zero(pages, sizeof pages);
            count++;
        }
        cr_assert_geq(count, 2);
        cr_assert_eq(blank, (int)count - 1, "seed %lu", seed);
        lab_free(lab);
    }
}

/* However many batches a segment has: a request of each to the disk is most of a long recovery. */
Test(journal_recover, a_segment_is_read_once)
{
    uint64_t reads[2];
    for (int i = 0; i < 2; i++) {
        struct lab *lab = lab_new(1);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        for (int batches = i == 0 ? 2 : 12; batches > 0; batches--)
            lab_append(lab, 1, 100);
        kill_now(lab);
        uint64_t before = fake_io_count(lab->fake, FAKE_IO_READ);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        reads[i] = fake_io_count(lab->fake, FAKE_IO_READ) - before;
        lab_free(lab);
    }
    cr_assert_eq(reads[0], reads[1], "%lu for two batches, %lu for twelve", reads[0], reads[1]);
}
