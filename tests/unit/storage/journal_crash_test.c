#include <criterion/criterion.h>

#include "tests/support/journal_lab.h"

/* Random work, crashes anywhere (between steps, within blocking calls, within recovery), any
 * subset of unsynced sectors lost: after each life the journal holds what completed, and of what
 * did not complete all or nothing. lab_open checks it. One seed is one run. */

enum { RUNS = 400, LIVES = 6, STEPS = 60 };

/* A snapshot that goes past everything here, or to an entry that is here. */
static struct lab_batch reset_random(struct lab *lab)
{
    struct prng *chance = &lab->chance;
    struct lab_batch b = { .hard = lab->durable.hard, .prev_index = lab->durable.last };
    uint64_t span = lab->durable.last - lab->flushed.index;
    if (span > 0 && prng_below(chance, 2) == 0) {
        uint64_t index = lab->flushed.index + 1 + prng_below(chance, span);
        b.reset = JOURNAL_RESET_KEEP;
        b.reset_pos = (struct raft_pos){ .term = lab->durable.terms[index], .index = index };
        return b;
    }
    b.hard.term++;
    b.hard.vote = 0;
    b.term = b.hard.term;
    b.reset = JOURNAL_RESET_DROP;
    b.prev_index = lab->flushed.index + 1 + prng_below(chance, span + 10);
    b.reset_pos = (struct raft_pos){ .term = b.term, .index = b.prev_index };
    b.count = (uint32_t)prng_below(chance, 3);
    b.payload_bytes = 200;
    return b;
}

static struct lab_batch batch_random(struct lab *lab)
{
    struct prng *chance = &lab->chance;
    struct lab_batch b = { .hard = lab->durable.hard, .prev_index = lab->durable.last };
    uint64_t kind = prng_below(chance, 8);
    if (lab->snapshot.index == 0 && prng_below(chance, 12) == 0 &&
        lab->durable.last + 20 < LAB_INDEX_MAX)
        return reset_random(lab);
    if (kind == 0) { /* a new term, perhaps with a vote */
        b.hard.term++;
        b.hard.vote = prng_below(chance, 4);
        return b;
    }
    if (kind == 1) { /* a vote in this term, or nothing at all */
        if (b.hard.vote == 0 && b.hard.term > 0)
            b.hard.vote = 1 + prng_below(chance, 3);
        return b;
    }
    uint64_t fixed =
        lab->snapshot.index > lab->flushed.index ? lab->snapshot.index : lab->flushed.index;
    bool rewrites = kind == 2 && lab->durable.last > fixed;
    if (rewrites) { /* a new leader's entries in place of ours */
        uint64_t span = lab->durable.last - fixed;
        b.prev_index = fixed + prng_below(chance, span + 1);
        b.hard.term++;
        b.hard.vote = 0;
    }
    if (b.hard.term == 0)
        b.hard.term = 1;
    b.term = b.hard.term;
    b.count = 1 + (uint32_t)prng_below(chance, LAB_BATCH_MAX);
    if (b.prev_index + b.count > LAB_INDEX_MAX)
        b.count = (uint32_t)(LAB_INDEX_MAX - b.prev_index);
    uint64_t bytes_max = prng_below(chance, 6) == 0 ? 7000 : 600;
    b.payload_bytes = (uint32_t)prng_below(chance, bytes_max);
    if (lab->durable.last > b.hard.commit && b.prev_index >= lab->durable.hard.commit)
        b.hard.commit = b.prev_index;
    return b;
}

/* Raft truncates nothing that is committed, and what is flushed is. */
static uint64_t flush_limit(const struct lab *lab)
{
    uint64_t limit = lab->durable.last;
    if (!lab->in_flight)
        return limit;
    for (uint64_t i = lab->flushed.index + 1; i <= limit; i++)
        if (i > lab->pending.last || lab->pending.terms[i] != lab->durable.terms[i])
            return i - 1;
    return limit;
}

static void work_random(struct lab *lab)
{
    struct prng *chance = &lab->chance;
    switch (prng_below(chance, 8)) {
    case 0:
    case 1:
    case 2:
        if (!journal_is_writing(lab->j) && !fake_io_is_dead(lab->fake)) {
            struct lab_batch b = batch_random(lab);
            enum journal_err err = lab_write(lab, &b);
            cr_assert(err == JOURNAL_OK || err == JOURNAL_E_FULL || fake_io_is_dead(lab->fake),
                      "%s", journal_strerror(err));
        }
        return;
    case 3:
        fake_io_advance(lab->fake, prng_below(chance, 60));
        return;
    case 4:
        if (lab->snapshot.index > 0) {
            if (!lab->in_flight)
                lab_switch(lab);
            return;
        }
        if (prng_below(chance, 3) == 0 && flush_limit(lab) > lab->flushed.index) {
            uint64_t span = flush_limit(lab) - lab->flushed.index;
            lab_flush(lab, lab->flushed.index + 1 + prng_below(chance, span));
        }
        return;
    default:
        fake_io_step(lab->fake);
        return;
    }
}

static enum fake_crash crash_random(struct lab *lab)
{
    return prng_below(&lab->chance, 3) == 0 ? FAKE_CRASH_PROCESS : FAKE_CRASH_POWER;
}

/* Opens it, perhaps dying in the middle, until it is open. */
static void open_through_crashes(struct lab *lab)
{
    struct prng *chance = &lab->chance;
    for (int tries = 0;; tries++) {
        if (prng_below(chance, 3) == 0 && tries < 4)
            fake_io_crash_at(lab->fake, 1 + prng_below(chance, 30), crash_random(lab));
        enum journal_err err = lab_open(lab);
        if (err == JOURNAL_OK)
            return;
        cr_assert(fake_io_is_dead(lab->fake), "%s: %s", journal_strerror(err),
                  lab->recovery.detail);
        lab_reboot(lab);
    }
}

static void life(struct lab *lab)
{
    open_through_crashes(lab);
    uint64_t steps = prng_below(&lab->chance, STEPS);
    for (uint64_t i = 0; i < steps && !fake_io_is_dead(lab->fake); i++)
        work_random(lab);
    /* Some deaths come at a step, or inside a job. */
    if (prng_below(&lab->chance, 2) == 0) {
        fake_io_crash_at(lab->fake, 1 + prng_below(&lab->chance, 12), crash_random(lab));
        for (uint64_t i = 0; i < STEPS && !fake_io_is_dead(lab->fake); i++)
            work_random(lab);
    }
    if (!fake_io_is_dead(lab->fake))
        fake_io_crash(lab->fake, crash_random(lab));
    lab_reboot(lab);
}

static void runs(uint64_t first_seed)
{
    for (uint64_t seed = first_seed; seed < first_seed + RUNS; seed++) {
        struct lab *lab = lab_new(seed);
        lab->options.segment_count_max = 3 + (uint32_t)(seed % 3);
        for (int i = 0; i < LIVES; i++)
            life(lab);
        enum journal_err err = lab_open(lab);
        cr_assert_eq(err, JOURNAL_OK, "seed %lu: %s: %s", seed, journal_strerror(err),
                     lab->recovery.detail);
        lab_free(lab);
    }
}

Test(journal_crash, keeps_what_completed_1)
{
    runs(1);
}

Test(journal_crash, keeps_what_completed_2)
{
    runs(100001);
}

Test(journal_crash, keeps_what_completed_3)
{
    runs(200001);
}

Test(journal_crash, keeps_what_completed_4)
{
    runs(300001);
}
