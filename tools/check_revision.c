#include "tools/check_revision.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/map.h"
#include "tools/check_revision_internal.h"

#define NO_OP UINT32_MAX

/* Everything about revision base + i is at [i]. */
struct order {
    const struct check_history *history;
    struct check_report *report;
    int64_t base;
    size_t count;          /* of revisions, the base included */
    uint32_t *writers;     /* op, or NO_OP */
    bool *branches;        /* that the writer took */
    uint64_t *first_seen;  /* event at which somebody had been told of it, or of a later one */
    uint32_t *readers;     /* op, or NO_OP: the first that saw this state without changing it */
    uint32_t *reader_next; /* by op */
    int64_t *made_by;      /* by op of unknown outcome: its revision, 0: none known */
    uint32_t *event_ops;   /* by event: invoked or ended there */
    struct check_replay replay;
};

static size_t slot_of(const struct order *o, int64_t revision)
{
    ASSERT(revision >= o->base);
    return (size_t)(revision - o->base);
}

static bool is_unknown(const struct check_op *op)
{
    return op->end == CHECK_INFO || op->end == CHECK_OPEN;
}

/* ---- which revisions there are ---- */

/* Also refuses what no sound history holds, so that the arrays have a bound. */
static bool revisions_find(struct order *o)
{
    const struct check_history *h = o->history;
    int64_t newest = o->base;
    uint32_t who = NO_OP;
    for (uint32_t i = 0; i < h->op_count; i++) {
        const struct check_op *op = &h->ops[i];
        if (op->end != CHECK_OK)
            continue;
        if (op->revision < o->base || op->at_revision > op->revision)
            return check_refuse(h, o->report, "revision out of range", i,
                                "its revision cannot be, the store began at %" PRId64, o->base);
        if (op->revision > newest) {
            newest = op->revision;
            who = i;
        }
    }
    if ((uint64_t)(newest - o->base) > h->op_count)
        return check_refuse(h, o->report, "revision without a write", who,
                            "there are more revisions than operations that could make them");
    o->count = (size_t)(newest - o->base) + 1;
    return true;
}

static bool order_open(struct order *o)
{
    const struct check_history *h = o->history;
    o->writers = malloc(o->count * sizeof *o->writers);
    o->branches = calloc(o->count, sizeof *o->branches);
    o->first_seen = malloc(o->count * sizeof *o->first_seen);
    o->readers = malloc(o->count * sizeof *o->readers);
    o->reader_next = malloc((h->op_count + 1) * sizeof *o->reader_next);
    o->made_by = calloc(h->op_count + 1, sizeof *o->made_by);
    o->event_ops = malloc((h->next_i + 1) * sizeof *o->event_ops);
    if (!o->writers || !o->branches || !o->first_seen || !o->readers || !o->reader_next ||
        !o->made_by || !o->event_ops || !check_replay_open(&o->replay, h, o->report))
        return false;
    for (size_t i = 0; i < o->count; i++) {
        o->writers[i] = o->readers[i] = NO_OP;
        o->first_seen[i] = UINT64_MAX;
    }
    for (uint32_t i = 0; i < h->op_count; i++) {
        o->event_ops[h->ops[i].invoke_i] = i;
        if (h->ops[i].end != CHECK_OPEN)
            o->event_ops[h->ops[i].end_i] = i;
    }
    return true;
}

static void order_close(struct order *o)
{
    free(o->writers);
    free(o->branches);
    free(o->first_seen);
    free(o->readers);
    free(o->reader_next);
    free(o->made_by);
    free(o->event_ops);
    check_replay_close(&o->replay);
}

/* ---- who wrote which ---- */

static bool writer_set(struct order *o, int64_t revision, uint32_t i, bool branch)
{
    size_t slot = slot_of(o, revision);
    if (o->writers[slot] != NO_OP && o->writers[slot] != i)
        return check_refuse(o->history, o->report, "revision used twice", i,
                            "op %" PRIu32 " made revision %" PRId64 ", too", o->writers[slot],
                            revision);
    o->writers[slot] = i;
    o->branches[slot] = branch;
    return true;
}

static void reader_add(struct order *o, int64_t revision, uint32_t i)
{
    size_t slot = slot_of(o, revision);
    o->reader_next[i] = o->readers[slot];
    o->readers[slot] = i;
}

/* Those that were answered stand where the answer says. */
static bool answered_place(struct order *o)
{
    const struct check_history *h = o->history;
    for (uint32_t i = 0; i < h->op_count; i++) {
        const struct check_op *op = &h->ops[i];
        if (op->end != CHECK_OK)
            continue;
        uint64_t *seen = &o->first_seen[slot_of(o, op->revision)];
        if (op->end_i < *seen)
            *seen = op->end_i;
        if (check_history_op_wrote(h, op)) {
            if (!writer_set(o, op->revision, i, op->succeeded))
                return false;
        } else if (op->at_revision == 0 || op->at_revision >= o->base) {
            reader_add(o, op->at_revision > 0 ? op->at_revision : op->revision, i);
        }
    }
    for (size_t i = o->count - 1; i > 0; i--) {
        if (o->first_seen[i] < o->first_seen[i - 1])
            o->first_seen[i - 1] = o->first_seen[i];
    }
    return true;
}

static bool branch_puts(const struct check_history *h, const struct check_op *op, bool branch,
                        const struct check_seen *seen)
{
    struct check_part part = op->branches[branch ? 1 : 0];
    for (uint32_t n = 0; n < part.count; n++) {
        const struct check_step *s = &h->steps[part.first + n];
        if (s->kind == CHECK_PUT && s->key == seen->key && s->value == seen->value)
            return true;
    }
    return false;
}

/* The value tells who wrote it, and its mod revision when. */
static bool evidence_take(struct order *o, uint32_t reader, const struct check_seen *seen)
{
    const struct check_history *h = o->history;
    struct check_report *report = o->report;
    uint32_t i = h->values[seen->value].op;
    if (i == CHECK_OP_SEVERAL)
        return true;
    if (i == CHECK_OP_NONE)
        return check_refuse(h, report, "value nobody wrote", reader, "of key %" PRIu32, seen->key);
    const struct check_op *op = &h->ops[i];
    bool puts[2] = { branch_puts(h, op, false, seen), branch_puts(h, op, true, seen) };
    if (!puts[0] && !puts[1])
        return check_refuse(h, report, "value of another key", reader,
                            "op %" PRIu32 " did not write it to key %" PRIu32, i, seen->key);
    if (op->end == CHECK_FAIL)
        return check_refuse(h, report, "failed write seen", reader,
                            "op %" PRIu32 " failed, but wrote key %" PRIu32, i, seen->key);
    if (seen->mod_revision <= o->base || seen->mod_revision > h->ops[reader].revision)
        return check_refuse(h, report, "mod revision out of range", reader,
                            "of key %" PRIu32 ": %" PRId64, seen->key, seen->mod_revision);
    if (op->end == CHECK_OK) {
        if (op->revision != seen->mod_revision || !puts[op->succeeded])
            return check_refuse(h, report, "write at another revision", reader,
                                "op %" PRIu32 " wrote key %" PRIu32 " at revision %" PRId64
                                ", here it is of %" PRId64,
                                i, seen->key, op->revision, seen->mod_revision);
        return true;
    }
    if (o->made_by[i] != 0 && o->made_by[i] != seen->mod_revision)
        return check_refuse(h, report, "write applied twice", reader,
                            "op %" PRIu32 " made revisions %" PRId64 " and %" PRId64, i,
                            o->made_by[i], seen->mod_revision);
    if (puts[0] && puts[1])
        return true; /* the branch stays open: one of the candidates at that revision */
    o->made_by[i] = seen->mod_revision;
    return writer_set(o, seen->mod_revision, i, puts[1]);
}

static bool evidence_gather(struct order *o)
{
    const struct check_history *h = o->history;
    for (uint32_t i = 0; i < h->op_count; i++) {
        struct check_part part = check_op_branch(&h->ops[i]);
        for (uint32_t n = 0; h->ops[i].end == CHECK_OK && n < part.count; n++) {
            const struct check_step *s = &h->steps[part.first + n];
            for (uint32_t k = 0; k < s->seen_count; k++) {
                if (!evidence_take(o, i, &h->seen[s->seen_first + k]))
                    return false;
            }
        }
    }
    return true;
}

/* ---- real time ---- */

static bool is_bound_to_real_time(const struct check_op *op)
{
    return op->end == CHECK_OK && !op->serializable;
}

/* The newest revision and compaction that had been told when each operation began. */
static bool real_time_check(struct order *o)
{
    const struct check_history *h = o->history;
    int64_t newest = o->base, compacted = 0;
    uint32_t newest_op = NO_OP;
    for (uint64_t e = 0; e < h->next_i; e++) {
        uint32_t i = o->event_ops[e];
        const struct check_op *op = &h->ops[i];
        if (op->end_i == e) {
            if (op->end == CHECK_OK && op->revision > newest) {
                newest = op->revision;
                newest_op = i;
            }
            if (op->end == CHECK_OK && op->compacts > compacted)
                compacted = op->compacts;
        } else if (is_bound_to_real_time(op)) {
            if (op->revision < newest)
                return check_refuse(h, o->report, "stale", i,
                                    "op %" PRIu32
                                    " had ended before it began, at revision %" PRId64,
                                    newest_op, newest);
            if (op->at_revision > 0 && op->at_revision < compacted)
                return check_refuse(h, o->report, "compacted past read", i,
                                    "revision %" PRId64 " was compacted", compacted);
        }
    }
    for (size_t slot = 1; slot < o->count; slot++) {
        uint32_t i = o->writers[slot];
        if (i != NO_OP && h->ops[i].invoke_i > o->first_seen[slot])
            return check_refuse(h, o->report, "seen before it was written", i,
                                "revision %" PRId64 " had been seen at %" PRIu64
                                ", before it began",
                                o->base + (int64_t)slot, o->first_seen[slot]);
    }
    return true;
}

/* One life of one endpoint never falls back. */
static bool sessions_check(struct order *o)
{
    const struct check_history *h = o->history;
    int64_t *newest =
        calloc(h->op_count + 1, sizeof *newest); /* of each session, at its first op */
    int64_t *needed = calloc(h->op_count + 1, sizeof *needed); /* by op */
    struct map sessions;
    map_init(&sessions, h->op_count + 1);
    bool is_sound = newest && needed;
    for (uint64_t e = 0; is_sound && e < h->next_i; e++) {
        uint32_t i = o->event_ops[e];
        const struct check_op *op = &h->ops[i];
        if (op->end != CHECK_OK || op->session == 0)
            continue;
        int64_t *at = map_get(&sessions, op->session);
        if (!at) {
            at = &newest[i];
            is_sound = map_put(&sessions, op->session, at);
        }
        if (op->invoke_i == e) {
            needed[i] = *at;
        } else if (op->revision < needed[i]) {
            is_sound = check_refuse(h, o->report, "endpoint fell back", i,
                                    "it had answered at revision %" PRId64 " before", needed[i]);
        } else if (op->revision > *at) {
            *at = op->revision;
        }
    }
    map_done(&sessions);
    free(newest);
    free(needed);
    return is_sound;
}

/* ---- the replay ---- */

/* May have made this revision: nothing shows that it made another. */
static bool is_candidate(const struct order *o, size_t slot, uint32_t i)
{
    const struct check_op *op = &o->history->ops[i];
    return is_unknown(op) && o->made_by[i] == 0 && op->invoke_i < o->first_seen[slot] &&
           (check_history_branch_writes(o->history, op, true) ||
            check_history_branch_writes(o->history, op, false));
}

/* Nothing that was read shows who made it. */
static bool gap_fill(struct order *o, size_t slot, const uint32_t *unknown, size_t unknown_count)
{
    const struct check_history *h = o->history;
    uint32_t last = NO_OP;
    size_t count = 0;
    for (size_t n = 0; n < unknown_count; n++) {
        if (is_candidate(o, slot, unknown[n])) {
            last = unknown[n];
            count++;
        }
    }
    if (count == 0)
        return check_refuse(h, o->report, "revision without a write", NO_OP,
                            "no operation can have made revision %" PRId64,
                            o->base + (int64_t)slot);
    if (count == 1)
        o->made_by[last] = o->base + (int64_t)slot;
    if (count == 1 && !(check_history_branch_writes(h, &h->ops[last], true) &&
                        check_history_branch_writes(h, &h->ops[last], false)))
        return check_replay_op(&o->replay, last,
                               check_history_branch_writes(h, &h->ops[last], true));
    struct check_maybe *before = malloc(((size_t)h->key_count + 1) * sizeof *before);
    if (!before)
        return false;
    memcpy(before, o->replay.keys, h->key_count * sizeof *before);
    for (size_t n = 0; n < unknown_count; n++) {
        if (count == 1 ? unknown[n] == last : is_candidate(o, slot, unknown[n]))
            check_replay_maybe(&o->replay, before, unknown[n]);
    }
    free(before);
    return true;
}

static bool replay(struct order *o)
{
    const struct check_history *h = o->history;
    uint32_t *unknown = malloc((h->op_count + 1) * sizeof *unknown);
    size_t unknown_count = 0;
    for (uint32_t i = 0; unknown && i < h->op_count; i++) {
        if (is_unknown(&h->ops[i]))
            unknown[unknown_count++] = i;
    }
    bool is_sound = unknown != NULL;
    for (size_t slot = 0; is_sound && slot < o->count; slot++) {
        o->replay.revision = o->base + (int64_t)slot;
        if (slot > 0 && o->writers[slot] != NO_OP)
            is_sound = check_replay_op(&o->replay, o->writers[slot], o->branches[slot]);
        else if (slot > 0)
            is_sound = gap_fill(o, slot, unknown, unknown_count);
        for (uint32_t i = o->readers[slot]; is_sound && i != NO_OP; i = o->reader_next[i])
            is_sound = check_replay_op(&o->replay, i, h->ops[i].succeeded);
    }
    free(unknown);
    return is_sound;
}

enum check_verdict check_revision(const struct check_history *h, int64_t base_revision,
                                  struct check_report *ret_report)
{
    *ret_report = (struct check_report){ .verdict = CHECK_VALID, .op = NO_OP };
    struct order o = { .history = h, .report = ret_report, .base = base_revision };
    bool is_sound = revisions_find(&o) && order_open(&o) && answered_place(&o) &&
                    evidence_gather(&o) && real_time_check(&o) && sessions_check(&o) && replay(&o);
    order_close(&o);
    if (!is_sound && ret_report->verdict == CHECK_VALID) {
        ret_report->verdict = CHECK_UNKNOWN;
        ret_report->rule = "out of memory";
    }
    return ret_report->verdict;
}
