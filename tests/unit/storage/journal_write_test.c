#include <criterion/criterion.h>
#include <errno.h>

#include "storage/journal_format.h"
#include "storage/journal_internal.h"
#include "tests/support/journal_lab.h"

enum { PAGE = JOURNAL_ALIGN_BYTES, HEADER_BYTES = 35 /* of large entries here */ };

static struct lab *lab_opened(uint64_t seed)
{
    struct lab *lab = lab_new(seed);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    return lab;
}

static struct lab_batch append_of(const struct lab *lab, uint32_t count, uint32_t payload_bytes)
{
    return (struct lab_batch){ .hard = { .term = 1 },
                               .prev_index = lab->durable.last,
                               .term = 1,
                               .count = count,
                               .payload_bytes = payload_bytes };
}

Test(journal_write, largest_batch_fits_and_one_more_byte_does_not)
{
    struct lab *lab = lab_opened(1);
    uint32_t largest = (uint32_t)journal_batch_bytes_max(lab->j) - HEADER_BYTES;
    struct lab_batch too_large = append_of(lab, 1, largest + 1);
    cr_assert_eq(lab_write(lab, &too_large), JOURNAL_E_TOO_LARGE);
    cr_assert_not(journal_is_writing(lab->j));
    lab_append(lab, 1, largest);
    lab_append(lab, 1, largest);
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 2, "each fills a segment");
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

Test(journal_write, is_full_until_a_release_and_loses_nothing_by_it)
{
    struct lab *lab = lab_opened(1);
    uint32_t half = (LAB_SEGMENT_BYTES - PAGE) / 2 - PAGE;
    struct lab_batch next;
    enum journal_err err;
    while (next = append_of(lab, 1, half), (err = lab_write(lab, &next)) == JOURNAL_OK) {
        fake_io_run(lab->fake);
        cr_assert_eq(lab->completed, JOURNAL_OK);
    }
    cr_assert_eq(err, JOURNAL_E_FULL);
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 4);
    cr_assert_lt(journal_usage(lab->j).room_bytes, half);
    uint64_t release_index = journal_usage(lab->j).release_index;
    lab_flush(lab, release_index - 1);
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 4, "not quite");
    lab_flush(lab, release_index);
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 3);
    lab_append(lab, 1, half);
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

/* A mark that found a disk full since the start would stop the journal. */
Test(journal_write, slots_never_grow)
{
    struct lab *lab = lab_opened(2);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    cr_assert_eq(fake_disk_path_size(disk, "journal/hard"), 2 * PAGE);
    cr_assert_eq(fake_disk_path_size(disk, "journal/mark"), 2 * PAGE);
    lab_append(lab, 1, 100);
    fake_io_crash(lab->fake, FAKE_CRASH_POWER);
    lab_reboot(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_eq(fake_disk_path_size(disk, "journal/mark"), 2 * PAGE);
    lab_free(lab);
}

Test(journal_write, segments_are_recycled_and_never_grow)
{
    struct lab *lab = lab_opened(2);
    for (int i = 0; i < 100; i++) {
        lab_append(lab, 1, 20000);
        lab_flush(lab, lab->durable.last);
    }
    struct journal_usage usage = journal_usage(lab->j);
    cr_assert_leq(usage.size_bytes, 3 * LAB_SEGMENT_BYTES, "one in use, one or two spare");
    cr_assert_eq(usage.write_count, 100);
    cr_assert_eq(usage.segments_in_use, 1);
    cr_assert_eq(fake_disk_path_size(fake_io_disk(lab->fake), lab_segment_path(1)),
                 LAB_SEGMENT_BYTES);
    lab_free(lab);
}

Test(journal_write, writing_the_live_tail_again_frees_what_is_older)
{
    struct lab *lab = lab_opened(2);
    lab_append(lab, 1, 100);
    lab_append(lab, 1, 100);
    for (int i = 0; i < 50; i++) /* hard states alone, after entries that nobody flushes */
        lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 2 + (uint64_t)i } });
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 4);
    lab_write_now(lab, &(struct lab_batch){ .hard = lab->durable.hard,
                                            .prev_index = 0,
                                            .term = lab->durable.hard.term,
                                            .count = 2 });
    journal_release(lab->j, 0);
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 1);
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

/* Why the caller writes its tail again in one batch (node_persist.c): recovery ends with it. */
Test(journal_write, a_part_of_the_tail_written_again_cuts_off_the_rest)
{
    struct lab *lab = lab_opened(2);
    lab_append(lab, 4, 100);
    lab_write_now(lab, &(struct lab_batch){ .hard = lab->durable.hard,
                                            .prev_index = 0,
                                            .term = lab->durable.hard.term,
                                            .count = 2 });
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_eq(lab->durable.last, 2, "which is what came back");
    lab_free(lab);
}

Test(journal_write, hard_states_alone_free_each_other)
{
    struct lab *lab = lab_opened(2);
    for (uint64_t term = 1; term < 60; term++) {
        lab_write_now(lab, &(struct lab_batch){ .hard = { .term = term, .vote = 1 + term % 3 } });
        journal_release(lab->j, 0);
    }
    cr_assert_leq(journal_usage(lab->j).segments_in_use, 1);
    fake_io_crash(lab->fake, FAKE_CRASH_POWER);
    lab_reboot(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

Test(journal_write, a_new_vote_is_in_its_slot_before_the_write_completes)
{
    struct lab *lab = lab_opened(4);
    for (uint64_t term = 1; term < 20; term++) {
        lab_write_now(lab, &(struct lab_batch){ .hard = { .term = term, .vote = 1 + term % 3 } });
        fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        struct journal_owner owner = journal_owner_of(7, lab->incarnation);
        bool found = false;
        for (uint64_t i = 0; i < 2; i++) {
            uint8_t bytes[PAGE];
            struct journal_page page = { 0 };
            fake_disk_peek(fake_io_disk(lab->fake), "journal/hard", i * PAGE, bytes, PAGE);
            if (journal_page_decode(bytes, JOURNAL_PAGE_HARD, &owner, &page) == JOURNAL_VERDICT_OK)
                found = found || (page.a == term && page.b == 1 + term % 3);
        }
        cr_assert(found, "term %lu", term);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
    }
    lab_free(lab);
}

/* The number that the newest mark holds; 0: none. */
static uint64_t marked(struct lab *lab)
{
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    uint64_t number = 0;
    for (int64_t at = 0; at + PAGE <= fake_disk_path_size(disk, "journal/mark"); at += PAGE) {
        uint8_t bytes[PAGE];
        struct journal_page page = { 0 };
        fake_disk_peek(disk, "journal/mark", (uint64_t)at, bytes, PAGE);
        if (journal_page_decode(bytes, JOURNAL_PAGE_MARK, &owner, &page) == JOURNAL_VERDICT_OK &&
            page.a > number)
            number = page.a;
    }
    return number;
}

Test(journal_write, marks_come_lazily_and_at_close)
{
    struct lab *lab = lab_opened(4);
    lab_append(lab, 1, 10);
    lab_append(lab, 1, 10);
    cr_assert_eq(marked(lab), 0);
    fake_io_advance(lab->fake, JOURNAL_MARK_INTERVAL_MS - 1);
    fake_io_run(lab->fake);
    cr_assert_eq(marked(lab), 0, "at most one each interval");
    fake_io_advance(lab->fake, 1);
    fake_io_run(lab->fake);
    cr_assert_eq(marked(lab), 2);
    lab_append(lab, 1, 10);
    lab_close(lab);
    cr_assert_eq(marked(lab), 3);
    lab_free(lab);
}

Test(journal_write, waits_for_a_segment_that_is_being_made)
{
    struct lab *lab = lab_opened(1); /* its spare is a job that waits for a step */
    uint32_t most = (uint32_t)journal_batch_bytes_max(lab->j) - 64;
    struct lab_batch first = append_of(lab, 1, most);
    cr_assert_eq(lab_write(lab, &first), JOURNAL_OK);
    while (journal_is_writing(lab->j))
        fake_io_step(lab->fake);
    struct lab_batch second = append_of(lab, 1, most);
    cr_assert_eq(lab_write(lab, &second), JOURNAL_OK, "room that is being made counts");
    cr_assert(journal_is_writing(lab->j));
    fake_io_run(lab->fake);
    cr_assert_eq(lab->completed_count, 2);
    cr_assert_eq(lab->completed, JOURNAL_OK);
    lab_free(lab);
}

Test(journal_write, a_full_disk_shrinks_the_room_and_no_more)
{
    struct lab *lab = lab_new(1);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    fake_disk_set_capacity(disk, LAB_SEGMENT_BYTES + 6 * PAGE);
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "one segment and the slots fit");
    fake_io_run(lab->fake);
    lab_append(lab, 1, 100);
    cr_assert_lt(journal_usage(lab->j).room_bytes, LAB_SEGMENT_BYTES);
    uint32_t most = (uint32_t)journal_batch_bytes_max(lab->j) - 64;
    struct lab_batch next = append_of(lab, 1, most);
    cr_assert_eq(lab_write(lab, &next), JOURNAL_E_FULL);
    lab_append(lab, 1, 200);
    fake_disk_set_capacity(disk, UINT64_MAX);
    fake_io_advance(lab->fake, JOURNAL_ROOM_RETRY_MS);
    lab_flush(lab, lab->durable.last);
    fake_io_run(lab->fake);
    lab_append(lab, 1, most);
    lab_free(lab);
}

Test(journal_write, a_write_that_waits_for_room_says_so_until_there_is_some)
{
    struct lab *lab = lab_new(1);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    fake_disk_set_capacity(disk, LAB_SEGMENT_BYTES + 6 * PAGE);
    uint32_t most = (uint32_t)journal_batch_bytes_max(lab->j) - 64;
    struct lab_batch first = append_of(lab, 1, most);
    cr_assert_eq(lab_write(lab, &first), JOURNAL_OK);
    while (journal_is_writing(lab->j))
        fake_io_step(lab->fake);
    struct lab_batch second = append_of(lab, 1, most);
    cr_assert_eq(lab_write(lab, &second), JOURNAL_OK, "a segment is being made");
    cr_assert(!journal_usage(lab->j).is_stuck);
    fake_io_run(lab->fake);
    cr_assert(journal_is_writing(lab->j));
    cr_assert(journal_usage(lab->j).is_stuck);
    journal_release(lab->j, 0);
    cr_assert(journal_usage(lab->j).is_stuck, "a full disk is not asked again at once");
    fake_disk_set_capacity(disk, UINT64_MAX);
    fake_io_advance(lab->fake, JOURNAL_ROOM_RETRY_MS);
    journal_release(lab->j, 0);
    cr_assert(!journal_usage(lab->j).is_stuck, "it is tried again");
    fake_io_run(lab->fake);
    cr_assert_eq(lab->completed_count, 2);
    cr_assert_eq(lab->completed, JOURNAL_OK);
    lab_free(lab);
}

Test(journal_write, a_disk_too_full_for_the_first_segment_is_told)
{
    struct lab *lab = lab_new(1);
    fake_disk_set_capacity(fake_io_disk(lab->fake), LAB_SEGMENT_BYTES / 2);
    cr_assert_eq(lab_open(lab), JOURNAL_E_NOSPACE);
    fake_disk_set_capacity(fake_io_disk(lab->fake), UINT64_MAX);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

/* One life: open, ten writes with votes, flushes. Returns how far it got. */
static int scripted_life(struct lab *lab)
{
    if (lab_open(lab) != JOURNAL_OK)
        return 0;
    int done = 0;
    for (uint64_t i = 0; i < 10; i++) {
        struct lab_batch b = append_of(lab, 1, 30000);
        b.hard = lab->durable.hard;
        b.hard.term += 1 + i % 2;
        b.hard.vote = 0;
        b.term = b.hard.term;
        enum journal_err err = lab_write(lab, &b);
        if (err == JOURNAL_OK) {
            fake_io_run(lab->fake);
            err = lab->completed;
        }
        if (err != JOURNAL_OK) {
            cr_assert_eq(err, JOURNAL_E_IO);
            struct lab_batch again = append_of(lab, 1, 10);
            cr_assert_eq(lab_write(lab, &again), JOURNAL_E_IO, "and stays so");
            return done;
        }
        done++;
        lab_flush(lab, lab->durable.last);
        fake_io_advance(lab->fake, JOURNAL_MARK_INTERVAL_MS);
    }
    return done;
}

static void fail_each_in_turn(enum fake_io_kind kind)
{
    int failed = 0;
    for (uint64_t nth = 1; nth <= 80; nth++) {
        struct lab *lab = lab_new(nth);
        fake_io_fail(lab->fake, kind, nth, EIO);
        failed += scripted_life(lab) < 10;
        if (lab->j)
            cr_assert(lab->in_flight || lab->durable.last > 0);
        fake_io_run(lab->fake);
        fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        enum journal_err err = lab_open(lab);
        cr_assert_eq(err, JOURNAL_OK, "nth %lu: %s, %s", nth, journal_strerror(err),
                     lab->recovery.detail);
        lab_free(lab);
    }
    cr_assert_gt(failed, 10, "only %d of them were met", failed);
}

Test(journal_write, the_nth_write_fails)
{
    fail_each_in_turn(FAKE_IO_WRITE);
}

Test(journal_write, the_nth_sync_fails)
{
    fail_each_in_turn(FAKE_IO_SYNC);
}

Test(journal_write, the_nth_read_fails_and_changes_nothing)
{
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct lab *lab = lab_opened(nth);
        lab_append(lab, 3, 3000);
        lab_close(lab);
        fake_io_fail(lab->fake, FAKE_IO_READ, nth, EIO);
        enum journal_err err = lab_open(lab);
        cr_assert(err == JOURNAL_E_IO || err == JOURNAL_OK);
        fake_io_fail(lab->fake, FAKE_IO_READ, 0, 0);
        lab_close(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_free(lab);
    }
}

Test(journal_write, a_busy_io_is_asked_again)
{
    struct lab *lab = lab_opened(3);
    fake_io_be_busy(lab->fake, 3);
    struct lab_batch b = append_of(lab, 1, 10);
    cr_assert_eq(lab_write(lab, &b), JOURNAL_OK);
    for (int i = 0; i < 10 && journal_is_writing(lab->j); i++) {
        fake_io_run(lab->fake);
        fake_io_advance(lab->fake, JOURNAL_RETRY_MS);
    }
    cr_assert_eq(lab->completed_count, 1);
    cr_assert_eq(lab->completed, JOURNAL_OK);
    lab_free(lab);
}

Test(journal_write, an_existing_journal_keeps_its_segment_size)
{
    struct lab *lab = lab_opened(3);
    lab_append(lab, 1, 10);
    lab_close(lab);
    lab->options.segment_bytes *= 4;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_lt(journal_batch_bytes_max(lab->j), LAB_SEGMENT_BYTES);
    lab_append(lab, 1, 50000);
    lab_append(lab, 1, 50000);
    lab_free(lab);
}

Test(journal_write, closing_needs_no_journal)
{
    struct lab *lab = lab_opened(3);
    lab_close(lab); /* with a segment being made */
    cr_assert_eq(fake_disk_open_count(fake_io_disk(lab->fake)), 1, "the root alone");
    lab_free(lab);
}

static bool slots_hold(const struct lab *lab, struct raft_hard_state hard)
{
    static uint8_t pages[2][PAGE];
    fake_disk_peek(fake_io_disk(lab->fake), "journal/hard", 0, pages, sizeof pages);
    struct journal_owner owner = journal_owner_of(lab->options.cluster_id, lab->incarnation);
    for (size_t i = 0; i < 2; i++) {
        struct journal_page page;
        if (journal_page_decode(pages[i], JOURNAL_PAGE_HARD, &owner, &page) == JOURNAL_VERDICT_OK &&
            page.a == hard.term && page.b == hard.vote)
            return true;
    }
    return false;
}

/* Whichever of the two writes is the slower: a vote is on record twice before it is given. */
Test(journal_write, completes_when_the_slot_has_the_vote_too)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct lab *lab = lab_opened(seed);
        struct lab_batch vote = { .hard = { .term = 7, .vote = 3 } };
        cr_assert_eq(lab_write(lab, &vote), JOURNAL_OK);
        while (lab->completed_count == 0)
            cr_assert(fake_io_step(lab->fake));
        cr_assert(slots_hold(lab, vote.hard), "seed %llu", (unsigned long long)seed);
        lab_free(lab);
    }
}
