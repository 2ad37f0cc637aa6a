#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/identity.h"
#include "storage/journal.h"
#include "tests/crash/file_io.h"
#include "tests/crash/subjects.h"

enum { BATCH_MAX = 8, AHEAD_MAX = 6 };

/* One life of a node: its store, its journal, and where they are. */
struct life {
    struct explorer *x;
    struct subject *subject;
    struct file_io io;
    char path[EXPLORE_PATH_BYTES + 8];
    int dir_fd;
    struct store *store;
    struct journal *journal;
    struct promise promise;
    uint32_t step;
    uint64_t last; /* in the journal or the store */
    struct raft_hard_state hard;
    struct prng chance;
    enum journal_err written;
    bool is_written;
    bool is_closed;
};

static bool life_fails(struct life *l, const char *what, const char *detail)
{
    IGNORE(snprintf(l->x->why, sizeof l->x->why, "%.60s: %.160s", what, detail) < 0, "for people");
    return false;
}

/* ---- opening ---- */

static const uint8_t node_incarnation[INCARNATION_BYTES] = { 7 };

/* As at each start: a directory that says nothing of itself is blank, and gets an identity. */
static bool identity_recovers(struct life *l)
{
    static struct identity identity;
    enum identity_err err = identity_load(&l->io.io, l->dir_fd, &identity);
    if (err == IDENTITY_E_ABSENT && !l->promise.has_identity) {
        identity = (struct identity){ .cluster_id = STORE_RIG_CLUSTER, .member_id = 1 };
        memcpy(identity.incarnation, node_incarnation, INCARNATION_BYTES);
        err = identity_save(&l->io.io, l->dir_fd, &identity);
    }
    if (err != IDENTITY_OK)
        return life_fails(l, "the identity", identity_strerror(err));
    if (memcmp(identity.incarnation, node_incarnation, INCARNATION_BYTES) != 0)
        return life_fails(l, "the identity", "of another disk");
    l->promise.has_identity = true;
    explore_promise(l->x, &l->promise);
    return true;
}

/* Makes and opens `data` below it. */
static bool dir_recovers(struct life *l, const char *path)
{
    ASSERT(snprintf(l->path, sizeof l->path, "%s/data", path) < (int)sizeof l->path);
    l->dir_fd = identity_dir_open(&l->io.io, l->path);
    return l->dir_fd >= 0 || life_fails(l, "the data directory", strerror(-l->dir_fd));
}

static bool recovery_matches(struct life *l, const struct journal_recovery *r)
{
    const struct promise *p = &l->promise;
    const struct store_script *script = l->subject->script;
    uint64_t index = l->last;
    for (size_t i = 0; i < r->entry_count; i++) {
        index++;
        if (index > script->entry_count || r->entries[i].pos.index != index ||
            r->entries[i].pos.term != script->entries[index - 1].pos.term ||
            !slice_equal(r->entries[i].bytes, script->entries[index - 1].bytes))
            return life_fails(l, "the journal", "an entry is another one");
    }
    l->last = index;
    l->hard = r->hard;
    if (index < p->durable_index)
        return life_fails(l, "the journal", "durable entries are lost");
    bool is_low = r->hard.term == p->hard_low.term && r->hard.vote == p->hard_low.vote;
    bool is_high = r->hard.term == p->hard_high.term && r->hard.vote == p->hard_high.vote;
    return is_low || is_high || life_fails(l, "the journal", "another term or vote");
}

static bool journal_recovers(struct life *l)
{
    struct journal_options options = {
        .io = &l->io.io,
        .dir_fd = l->dir_fd,
        .segment_bytes = 64 << 10,
        .segment_count_max = 6,
        .cluster_id = STORE_RIG_CLUSTER,
        .incarnation = slice_of(node_incarnation, sizeof node_incarnation),
    };
    struct journal_recovery recovery = { 0 };
    enum journal_err err =
        journal_open(&l->journal, &options, store_published(l->store)->applied, &recovery);
    if (err != JOURNAL_OK) {
        l->journal = NULL;
        return life_fails(l, journal_strerror(err), recovery.detail);
    }
    bool is_good = recovery_matches(l, &recovery);
    journal_recovery_done(&recovery);
    return is_good;
}

/* Of the faults those of opening: in_open for the directory and the store, again_journal. */
static bool life_open(struct life *l, struct explorer *x, const char *path,
                      const struct promise *promise, struct subject_faults faults)
{
    *l = (struct life){ .x = x, .subject = x->subject, .promise = *promise };
    struct store_script *script = l->subject->script;
    l->chance = prng_seeded(l->subject->seed);
    file_io_init(&l->io);
    l->dir_fd = -1;
    record_drop(faults.in_open);
    bool is_good = dir_recovers(l, path) && identity_recovers(l) &&
                   store_script_open(script, l->path, &l->store, x->why) &&
                   store_script_find(script, l->store, promise->step_low, promise->step_high,
                                     &l->step, x->why);
    record_drop(faults.again_journal);
    if (is_good) {
        l->last = store_published(l->store)->applied.index;
        is_good = journal_recovers(l);
    }
    record_drop(0);
    return is_good;
}

static void on_closed(void *owner)
{
    *(bool *)owner = true;
}

static void life_close(struct life *l)
{
    file_io_run(&l->io);
    if (l->journal != NULL) {
        journal_close(l->journal, on_closed, &l->is_closed);
        file_io_run(&l->io);
        ASSERT(l->is_closed);
    }
    store_close(l->store);
    file_io_done(&l->io);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
}

/* ---- writing ---- */

static void promise_kept(struct life *l)
{
    l->promise.step_low = l->promise.step_high = l->step;
    l->promise.durable_index = l->last;
    l->promise.hard_low = l->promise.hard_high = l->hard;
    explore_promise(l->x, &l->promise);
}

static void on_written(void *owner, enum journal_err err)
{
    struct life *l = owner;
    l->written = err;
    l->is_written = true;
}

/* Entries (last, last + count], in a term as theirs; perhaps a vote instead. */
static bool batch_write(struct life *l, uint64_t count)
{
    const struct store_script *script = l->subject->script;
    struct slice entries[BATCH_MAX];
    struct raft_pos positions[BATCH_MAX];
    struct raft_hard_state hard = l->hard;
    for (uint64_t i = 0; i < count; i++) {
        entries[i] = script->entries[l->last + i].bytes;
        positions[i] = script->entries[l->last + i].pos;
        if (positions[i].term > hard.term)
            hard = (struct raft_hard_state){ .term = positions[i].term };
    }
    if (hard.vote == 0 && prng_below(&l->chance, 3) == 0)
        hard.vote = 1 + prng_below(&l->chance, 3);
    uint64_t prev_term = l->last > 0 ? script->entries[l->last - 1].pos.term : 0;
    struct journal_batch batch = {
        .hard = hard,
        .prev = { .term = prev_term, .index = l->last },
        .entries = entries,
        .positions = positions,
        .entry_count = (uint32_t)count,
    };
    l->promise.hard_high = hard;
    explore_promise(l->x, &l->promise);
    l->is_written = false;
    record_drop(l->subject->faults.in_journal);
    enum journal_err err = journal_write(l->journal, &batch, on_written, l);
    file_io_run(&l->io);
    file_io_pass(&l->io, prng_below(&l->chance, 200));
    file_io_run(&l->io);
    record_drop(0);
    if (err != JOURNAL_OK || !l->is_written || l->written != JOURNAL_OK)
        return life_fails(l, "a write to the journal", journal_strerror(err));
    l->last += count;
    l->hard = hard;
    promise_kept(l);
    return true;
}

/* All that the next flush needs, and a little more. */
static bool entries_write(struct life *l, uint64_t until)
{
    const struct store_script *script = l->subject->script;
    until += prng_below(&l->chance, AHEAD_MAX + 1);
    if (until > script->entry_count)
        until = script->entry_count;
    bool is_good = true;
    while (l->last < until && is_good) {
        uint64_t left = until - l->last;
        uint64_t count = prng_below(&l->chance, BATCH_MAX + 1);
        is_good = batch_write(l, count < left ? count : left);
    }
    return is_good;
}

static bool step_work(struct life *l)
{
    const struct store_script *script = l->subject->script;
    if (!entries_write(l, script->steps[l->step + 1].state.applied.index))
        return false;
    l->promise.step_high = l->step + 1;
    explore_promise(l->x, &l->promise);
    record_drop(l->subject->faults.in_flush);
    bool is_good = store_script_flush(l->subject->script, l->store, l->step + 1, l->x->why);
    record_drop(0);
    l->step++;
    promise_kept(l);
    journal_release(l->journal, store_published(l->store)->applied.index);
    file_io_run(&l->io);
    return is_good;
}

static bool node_work(struct explorer *x, const char *path, const struct promise *before,
                      bool whole)
{
    struct life l;
    struct subject_faults faults = ((struct subject *)x->subject)->faults;
    if (whole)
        faults.again_journal = 0;
    else
        faults.in_open = faults.again_store;
    bool is_good = life_open(&l, x, path, before, faults);
    if (is_good)
        promise_kept(&l);
    uint32_t last = l.subject->script->flush_count;
    if (!whole && l.step + 1 < last)
        last = l.step + 1;
    while (is_good && l.step < last)
        is_good = step_work(&l);
    life_close(&l);
    return is_good;
}

/* What is found holds together, and a node can go on from it. */
static bool node_check(struct explorer *x, const char *path, const struct promise *promise)
{
    struct life l;
    struct store_script *script = ((struct subject *)x->subject)->script;
    size_t promise_count = x->promise_count;
    bool is_good = life_open(&l, x, path, promise, (struct subject_faults){ 0 }) &&
                   store_script_holds(script, l.store, l.step, x->why);
    if (is_good && l.step < script->flush_count)
        is_good = step_work(&l) && store_script_holds(script, l.store, l.step, x->why);
    x->promise_count = promise_count; /* of this image: forgotten with it */
    life_close(&l);
    return is_good;
}

void subject_node(struct explorer *x, struct subject *subject)
{
    x->subject = subject;
    x->work = node_work;
    x->check = node_check;
}
