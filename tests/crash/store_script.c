#include "tests/crash/store_script.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/key_tree.h"
#include "storage/kv.h"
#include "storage/rev_tree.h"
#include "storage/store_internal.h"
#include "tests/support/counts_check.h"

enum { ARENA_BYTES_MAX = 1 << 26, READ_MAX = STORE_SCRIPT_ENTRIES_MAX };

__attribute__((format(printf, 2, 3))) static bool wrong(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    IGNORE(vsnprintf(why, STORE_SCRIPT_WHY_BYTES, format, args) < 0, "a text for people");
    va_end(args);
    return false;
}

/* ---- making ---- */

static void entries_make(struct store_script *s, struct store_step *step)
{
    struct prng *chance = &s->model.prng;
    struct raft_pos pos = step->state.applied;
    pos.term += pos.term == 0 || prng_below(chance, 4) == 0;
    step->entry_count = prng_below(chance, 12);
    for (size_t i = 0; i < step->entry_count; i++) {
        uint32_t bytes_max = prng_below(chance, 10) == 0 ? 12000 : 300;
        pos.index++;
        ASSERT(s->entry_count < STORE_SCRIPT_ENTRIES_MAX);
        s->entries[s->entry_count++] =
            store_rig_entry(pos, (uint32_t)prng_below(chance, bytes_max));
    }
    if (step->entry_count > 0)
        step->state.applied = pos;
}

static uint64_t term_of(const struct store_script *s, uint64_t index)
{
    return index == 0 ? 0 : s->entries[index - 1].pos.term;
}

static void step_make(struct store_script *s, uint32_t i, uint32_t changes_max)
{
    static const char *const memberships[] = { "one member", "two members", "three of them" };
    struct prng *chance = &s->model.prng;
    struct store_step *step = &s->steps[i];
    struct store_state *state = &step->state;
    *state = s->steps[i - 1].state;
    uint64_t changes = prng_below(chance, changes_max + 1);
    step->memtable = changes > 0 ? memtable_new() : NULL;
    for (uint64_t change = 0; change < changes; change++)
        store_model_change(&s->model, step->memtable);
    entries_make(s, step);
    state->revision = s->model.revision;
    if (prng_below(chance, 3) == 0)
        state->compact_revision +=
            (int64_t)prng_below(chance, (uint64_t)(state->revision - state->compact_revision) + 1);
    state->compacted_revision = state->compact_revision;
    uint64_t kept = prng_below(chance, 20);
    step->log_keep_index = state->applied.index > kept ? state->applied.index - kept : 0;
    if (step->log_keep_index > state->log_start.index + 1) {
        state->log_start.index = step->log_keep_index - 1;
        state->log_start.term = term_of(s, state->log_start.index);
    }
    state->state_hash = state->applied.index * 31 + (uint64_t)state->revision;
    state->membership = slice_of_text(memberships[prng_below(chance, 3)]);
}

struct store_script *store_script_new(const struct store_script_options *options)
{
    ASSERT(options->flush_count <= STORE_SCRIPT_FLUSHES_MAX);
    struct store_script *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    store_model_init(&s->model, options->seed);
    s->model.value_bytes_max = options->value_bytes_max;
    inline_io_init(&s->io);
    s->options = (struct store_options){ .io = &s->io.io,
                                         .map_bytes = 1 << 28,
                                         .dirty_bytes_max = options->dirty_bytes_max,
                                         .readers_max = 8,
                                         .cluster_id = STORE_RIG_CLUSTER };
    s->steps[0].state = (struct store_state){ .revision = 1, .feature_level = 1 };
    s->flush_count = options->flush_count;
    for (uint32_t i = 1; i <= s->flush_count; i++)
        step_make(s, i, options->changes_max);
    for (size_t i = 0; i < s->model.record_count; i++) {
        size_t later = i + 1;
        while (later < s->model.record_count &&
               !slice_equal(s->model.records[i].key, s->model.records[later].key))
            later++;
        s->later[i] = later < s->model.record_count ? later : SIZE_MAX;
    }
    return s;
}

void store_script_free(struct store_script *s)
{
    for (size_t i = 0; i < s->entry_count; i++)
        block_unref(s->entries[i].block);
    for (uint32_t i = 0; i <= s->flush_count; i++)
        memtable_unref(s->steps[i].memtable);
    store_model_done(&s->model);
    free(s);
}

/* ---- running ---- */

bool store_script_open(struct store_script *s, const char *path, struct store **ret_store,
                       char *why)
{
    char below[PATH_MAX];
    char detail[256] = "";
    struct store_state state;
    ASSERT(snprintf(below, sizeof below, "%s/store", path) < (int)sizeof below);
    struct store_options options = s->options;
    options.path = below;
    enum store_err err = store_open(ret_store, &options, &state, detail, sizeof detail);
    return err == STORE_OK || wrong(why, "it does not open: %.200s", detail);
}

static void on_flushed(struct store_flush *flush)
{
    *(bool *)flush->owner = true;
}

/* Where the log of the step's flush begins: every other one brings nothing that it would trim. */
static struct raft_pos log_begin_of(const struct store_script *s, uint32_t i)
{
    const struct store_step *step = &s->steps[i];
    struct raft_pos begin = s->steps[i - 1].state.applied;
    if (i % 2 == 0 && step->log_keep_index > begin.index + 1)
        begin = s->entries[step->log_keep_index - 2].pos;
    return begin;
}

bool store_script_flush(struct store_script *s, struct store *store, uint32_t i, char *why)
{
    const struct store_step *step = &s->steps[i];
    struct raft_pos begin = log_begin_of(s, i);
    bool is_done = false;
    struct store_flush flush = {
        .memtable = step->memtable,
        .log_begin = begin,
        .entries = s->entries + begin.index,
        .entry_count = step->state.applied.index - begin.index,
        .state = step->state,
        .log_keep_index = step->log_keep_index,
        .compact_rows_max = UINT64_MAX,
        .done = on_flushed,
        .owner = &is_done,
    };
    store_flush_begin(store, &flush);
    ASSERT(is_done);
    return flush.err == STORE_OK || wrong(why, "flush %u: %s", i, store_strerror(flush.err));
}

bool store_script_find(const struct store_script *s, const struct store *store, uint32_t low,
                       uint32_t high, uint32_t *ret_i, char *why)
{
    const struct store_state *is = store_published(store);
    for (uint32_t i = high;; i--) {
        const struct store_state *at = &s->steps[i].state;
        int64_t compacted_min =
            i == low ? at->compact_revision : s->steps[i - 1].state.compact_revision;
        if (is->applied.index == at->applied.index && is->applied.term == at->applied.term &&
            is->revision == at->revision && is->compact_revision == at->compact_revision &&
            is->compacted_revision >= compacted_min &&
            is->compacted_revision <= at->compact_revision && is->state_hash == at->state_hash &&
            is->feature_level == at->feature_level && is->log_start.index == at->log_start.index &&
            is->log_start.term == at->log_start.term &&
            slice_equal(is->membership, at->membership)) {
            *ret_i = i;
            return true;
        }
        if (i == low)
            break;
    }
    return wrong(why,
                 "it stands at index %lu, revision %ld, compacted to %ld of %ld, log from %lu: at "
                 "none of steps %u to %u",
                 is->applied.index, is->revision, is->compacted_revision, is->compact_revision,
                 is->log_start.index, low, high);
}

/* ---- what it holds ---- */

static bool record_equal(const struct kv_record *a, const struct kv_record *b)
{
    return a->mod.main == b->mod.main && a->mod.sub == b->mod.sub && a->sum == b->sum &&
           a->tombstone == b->tombstone && slice_equal(a->key, b->key) &&
           a->create_revision == b->create_revision && a->version == b->version;
}

/* Whether a compaction up to `revision` may have let go of record i. */
static bool may_be_gone(const struct store_script *s, size_t i, int64_t revision)
{
    const struct kv_record *records = s->model.records;
    if (records[i].mod.main > revision)
        return false;
    if (records[i].tombstone && records[i].mod.main < revision)
        return true;
    return s->later[i] != SIZE_MAX && records[s->later[i]].mod.main <= revision;
}

/* Which records of the model the rev tree holds, into held[]; nothing else is there. */
static bool revs_hold(struct store_script *s, MDB_txn *txn, MDB_dbi dbi, uint32_t step, bool *held,
                      char *why)
{
    const struct store_state *state = &s->steps[step].state;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    struct kv_revision at = { 0 };
    struct kv_record record;
    bool found = true;
    bool is_good = true;
    size_t i = 0;
    while (is_good) {
        arena_reset(&arena);
        enum store_err err = rev_tree_next(txn, dbi, at, &arena, &record, &found);
        if (err != STORE_OK)
            is_good = wrong(why, "the rev tree after %ld: %s", at.main, store_strerror(err));
        if (!is_good || !found || record.mod.main > state->revision)
            break;
        while (i < s->model.record_count && !record_equal(&record, &s->model.records[i]))
            i++;
        if (i == s->model.record_count || !slice_equal(record.value, s->model.records[i].value))
            is_good = wrong(why, "the rev tree holds what never was, at revision %ld, sub %u",
                            record.mod.main, record.mod.sub);
        else
            held[i] = true;
        at = (struct kv_revision){ .main = record.mod.main, .sub = record.mod.sub + 1 };
    }
    arena_done(&arena);
    for (i = 0; i < s->model.record_count && is_good; i++)
        if (!held[i] && s->model.records[i].mod.main <= state->revision &&
            !may_be_gone(s, i, state->compact_revision))
            is_good = wrong(why, "the rev tree has lost revision %ld, sub %u",
                            s->model.records[i].mod.main, s->model.records[i].mod.sub);
    return is_good;
}

/* The key tree names exactly the records that are held. */
static bool keys_hold(struct store_script *s, MDB_txn *txn, MDB_dbi dbi, uint32_t step,
                      const bool *held, char *why)
{
    size_t count = 0;
    size_t held_count = 0;
    struct key_tree_cursor *cursor;
    struct kv_record record;
    bool found;
    bool is_good = true;
    enum store_err err =
        key_tree_cursor_open(txn, dbi, s->steps[step].state.revision, true, &cursor);
    if (err != STORE_OK)
        return wrong(why, "the key tree: %s", store_strerror(err));
    err = key_tree_cursor_seek(cursor, slice_of(NULL, 0), &record, &found);
    while (err == STORE_OK && found && is_good) {
        size_t i = 0;
        while (i < s->model.record_count && !record_equal(&record, &s->model.records[i]))
            i++;
        is_good =
            (i < s->model.record_count && held[i]) ||
            wrong(why, "the key tree names revision %ld, which is not there", record.mod.main);
        count++;
        if (is_good)
            err = key_tree_cursor_next(cursor, &record, &found);
    }
    key_tree_cursor_close(cursor);
    for (size_t i = 0; i < s->model.record_count; i++)
        held_count += held[i];
    if (err != STORE_OK)
        return wrong(why, "the key tree: %s", store_strerror(err));
    return is_good && (count == held_count ||
                       wrong(why, "the key tree has %zu rows, not %zu", count, held_count));
}

static bool trees_hold(struct store_script *s, struct store *store, uint32_t step, char *why)
{
    struct store_handles handles = store_handles(store);
    bool *held = calloc(s->model.record_count + 1, sizeof *held);
    MDB_txn *txn;
    ASSERT(held != NULL);
    ASSERT(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &txn) == 0);
    bool is_good = revs_hold(s, txn, handles.rev, step, held, why) &&
                   keys_hold(s, txn, handles.key, step, held, why);
    mdb_txn_abort(txn);
    free(held);
    char which[COUNTS_CHECK_WHY_BYTES];
    return is_good && (counts_are_right(store, which) || wrong(why, "the counts: %s", which));
}

static bool log_holds(struct store_script *s, struct store *store, uint32_t step, char *why)
{
    const struct store_state *state = &s->steps[step].state;
    uint64_t index = state->log_start.index + 1;
    static struct raft_entry entries[READ_MAX];
    while (index <= state->applied.index) {
        size_t count = 0;
        struct block *block = NULL;
        enum store_err err = store_log_read(store, index, 8000, entries, READ_MAX, &count, &block);
        if (err != STORE_OK)
            return wrong(why, "log entry %lu: %s", index, store_strerror(err));
        bool is_good = count > 0;
        for (size_t i = 0; i < count && is_good; i++) {
            const struct raft_entry *want = &s->entries[index - 1];
            is_good = entries[i].pos.index == index && entries[i].pos.term == want->pos.term &&
                      slice_equal(entries[i].bytes, want->bytes);
            index += is_good;
        }
        block_unref(block);
        if (!is_good)
            return wrong(why, "log entry %lu is another one", index);
    }
    return true;
}

/* As a reader of the newest revision sees it. */
static bool view_holds(struct store_script *s, struct store *store, uint32_t step, char *why)
{
    int64_t revision = s->steps[step].state.revision;
    struct kv *kv;
    struct kv_view *view;
    struct arena arena;
    bool is_good = true;
    if (kv_open(&kv, store, 2) != KV_OK)
        return wrong(why, "no view can be opened");
    ASSERT(kv_view_open(kv, &view) == KV_OK);
    arena_init(&arena, ARENA_BYTES_MAX);
    for (size_t i = 0; i < s->model.record_count && is_good; i++) {
        const struct kv_record *want = &s->model.records[i];
        struct kv_record got;
        bool found;
        size_t later = s->later[i];
        if (want->mod.main > revision ||
            (later != SIZE_MAX && s->model.records[later].mod.main <= revision))
            continue;
        arena_reset(&arena);
        enum kv_err err = kv_view_get(view, want->key, revision, true, &arena, &got, &found);
        is_good = err == KV_OK && found == !want->tombstone &&
                  (!found || (record_equal(&got, want) && slice_equal(got.value, want->value)));
        if (!is_good)
            is_good = wrong(why, "a read of the key of revision %ld: %s", want->mod.main,
                            err == KV_OK ? "another answer" : kv_strerror(err));
    }
    arena_done(&arena);
    kv_view_close(view);
    kv_close(kv);
    return is_good;
}

bool store_script_holds(struct store_script *s, struct store *store, uint32_t i, char *why)
{
    return trees_hold(s, store, i, why) && log_holds(s, store, i, why) &&
           view_holds(s, store, i, why);
}

/* ---- recovery ---- */

/* Whatever a crash left: the next flush is as good as any. */
static bool goes_on(struct store_script *s, struct store *store, uint32_t i, char *why)
{
    uint32_t next = i < s->flush_count ? i + 1 : i;
    if (next > i)
        return store_script_flush(s, store, next, why) &&
               store_script_find(s, store, next, next, &next, why) &&
               store_script_holds(s, store, next, why);
    return true;
}

bool store_script_recovers(struct store_script *s, const char *path, uint32_t low, uint32_t high,
                           char *why)
{
    struct store *store;
    uint32_t i;
    if (!store_script_open(s, path, &store, why))
        return false;
    bool is_good = store_script_find(s, store, low, high, &i, why) &&
                   store_script_holds(s, store, i, why) && goes_on(s, store, i, why);
    store_close(store);
    if (!is_good || i == s->flush_count)
        return is_good;
    if (!store_script_open(s, path, &store, why))
        return false;
    is_good = store_script_find(s, store, i + 1, i + 1, &i, why);
    store_close(store);
    return is_good;
}
