#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/journal_format.h"
#include "tests/support/journal_lab.h"

/* A snapshot takes the place of a part of the log: what stays, what is dead, what comes free. */

static const struct raft_pos snapshot_pos = { .term = 3, .index = 40 };

static struct lab *lab_with(int batches)
{
    struct lab *lab = lab_new(1);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    for (int i = 0; i < batches; i++)
        lab_append(lab, 1, 5000);
    return lab;
}

static void drop(struct lab *lab, uint32_t count)
{
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 3 },
                                            .prev_index = snapshot_pos.index,
                                            .term = 3,
                                            .count = count,
                                            .payload_bytes = 100,
                                            .reset = JOURNAL_RESET_DROP,
                                            .reset_pos = snapshot_pos });
}

static void kill_now(struct lab *lab)
{
    fake_io_crash(lab->fake, FAKE_CRASH_PROCESS);
    lab_reboot(lab);
}

Test(journal_reset, drops_the_log_and_goes_on_after_the_snapshot)
{
    for (uint32_t count = 0; count <= 2; count++) {
        struct lab *lab = lab_with(7);
        drop(lab, count);
        lab_switch(lab);
        lab_append(lab, 3, 100);
        cr_assert_eq(lab->durable.last, 40 + count + 3);
        kill_now(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK); /* which checks what came back */
        cr_assert_eq(lab->flushed.index, 40);
        lab_flush(lab, lab->durable.last - 1);
        lab_close(lab);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_free(lab);
    }
}

Test(journal_reset, keeps_what_is_after_the_snapshot)
{
    struct lab *lab = lab_with(7);
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 2 },
                                            .reset = JOURNAL_RESET_KEEP,
                                            .reset_pos = { .term = 1, .index = 5 } });
    kill_now(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    cr_assert_eq(lab->flushed.index, 5, "the start finishes the switch");
    cr_assert_eq(lab->durable.last, 7);
    lab_append(lab, 1, 100);
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

/* The journal alone cannot be the log of a store that never got the snapshot. */
Test(journal_reset, without_its_snapshot_it_is_damage)
{
    struct lab *lab = lab_with(7);
    drop(lab, 1);
    lab_append(lab, 1, 100);
    lab_close(lab);
    lab->snapshot = (struct raft_pos){ 0 };
    lab->flushed = (struct raft_pos){ .term = 1, .index = 7 };
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
    cr_assert(strstr(lab->recovery.detail, "snapshot"), "%s", lab->recovery.detail);
    lab->flushed = (struct raft_pos){ .term = 2, .index = 40 };
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT, "another term at its position");
    lab->flushed = snapshot_pos;
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

Test(journal_reset, frees_what_is_older)
{
    struct lab *lab = lab_with(20);
    cr_assert_geq(journal_usage(lab->j).segments_in_use, 3);
    drop(lab, 0);
    cr_assert_geq(journal_usage(lab->j).segments_in_use, 3, "not before the store is there");
    lab_switch(lab);
    cr_assert_eq(journal_usage(lab->j).segments_in_use, 1);
    for (int i = 0; i < 20; i++)
        lab_append(lab, 1, 5000);
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_free(lab);
}

static bool find(struct lab *lab, struct raft_pos *ret_pos)
{
    bool found;
    cr_assert_eq(journal_find_reset(&lab->options, &found, ret_pos), JOURNAL_OK);
    return found;
}

Test(journal_reset, the_newest_is_found)
{
    struct lab *lab = lab_new(1);
    struct raft_pos pos;
    cr_assert_not(find(lab, &pos), "there is no journal");
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_append(lab, 3, 100);
    lab_close(lab);
    cr_assert_not(find(lab, &pos));
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    drop(lab, 2);
    lab_switch(lab);
    lab_append(lab, 1, 100);
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 3, .vote = 1 } });
    lab_close(lab);
    cr_assert(find(lab, &pos));
    cr_assert(pos.index == 40 && pos.term == 3);
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 4 },
                                            .reset = JOURNAL_RESET_KEEP,
                                            .reset_pos = { .term = 3, .index = 42 } });
    lab_close(lab);
    cr_assert(find(lab, &pos));
    cr_assert(pos.index == 42 && pos.term == 3);
    fake_disk_flip(fake_io_disk(lab->fake), lab_segment_path(1), (uint64_t)JOURNAL_ALIGN_BYTES * 3,
                   1);
    cr_assert(find(lab, &pos), "damage that is older does not");
    lab_free(lab);
}

/* What the answer is given on may have been in a cache alone; the store is switched on it. */
Test(journal_reset, what_is_found_is_durable)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct lab *lab = lab_new(seed);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_append(lab, 2, 100);
        struct lab_batch reset = { .hard = { .term = 3 },
                                   .prev_index = 40,
                                   .reset = JOURNAL_RESET_DROP,
                                   .reset_pos = snapshot_pos };
        cr_assert_eq(lab_write(lab, &reset), JOURNAL_OK);
        fake_io_step(lab->fake);
        fake_io_crash(lab->fake, FAKE_CRASH_PROCESS);
        lab_reboot(lab);
        struct raft_pos pos;
        bool found = find(lab, &pos);
        fake_io_crash(lab->fake, FAKE_CRASH_POWER);
        lab_reboot(lab);
        cr_assert_eq(find(lab, &pos), found, "seed %lu", seed);
        cr_assert_eq(lab_open(lab), JOURNAL_OK);
        lab_free(lab);
    }
}

/* A directory of the first version is read, and goes on in the new format. */
Test(journal_reset, goes_on_after_batches_of_format_1)
{
    struct lab *lab = lab_with(3);
    lab_close(lab);
    struct fake_disk *disk = fake_io_disk(lab->fake);
    struct journal_owner owner = journal_owner_of(7, lab->incarnation);
    uint64_t prev_sum = 0;
    for (uint64_t i = 0; i < 3; i++) {
        enum { BATCH = 2 * JOURNAL_ALIGN_BYTES };
        uint8_t batch[BATCH];
        uint64_t at = JOURNAL_ALIGN_BYTES + i * BATCH;
        fake_disk_peek(disk, lab_segment_path(1), at, batch, BATCH);
        put_le32(batch + 24, 1);
        put_le64(batch + 96, prev_sum);
        put_le64(batch + 8, checksum(slice_of(batch + 16, 112), owner.seed));
        prev_sum = checksum(slice_of(batch + 8, BATCH - 8), owner.seed);
        put_le64(batch, prev_sum);
        fake_disk_poke(disk, lab_segment_path(1), at, slice_of(batch, BATCH));
    }
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "%s", lab->recovery.detail);
    lab_append(lab, 2, 100);
    drop(lab, 1);
    lab_switch(lab);
    lab_close(lab);
    cr_assert_eq(lab_open(lab), JOURNAL_OK, "%s", lab->recovery.detail);
    lab_free(lab);
}
