#include "raft/log.h"

#include "base/assert.h"

static uint64_t bytes_end(const struct raft_log *log, uint64_t index)
{
    if (index < log->first)
        return log->bytes_before;
    return log->bytes_ends[raft_log_slot(log, index)];
}

uint64_t raft_log_bytes(const struct raft_log *log, uint64_t after, uint64_t up_to)
{
    ASSERT(after <= up_to && up_to <= log->last.index);
    return bytes_end(log, up_to) - bytes_end(log, after);
}

static uint64_t pinned_bytes(const struct raft_log *log)
{
    return raft_log_bytes(log, log->flushed, log->last.index);
}

/* ---- room ---- */

/* A slot is free, or frees itself because its entry is in the log store. */
static bool has_slot(const struct raft_log *log)
{
    return log->last.index - log->flushed < log->capacity;
}

uint64_t raft_log_room(const struct raft_log *log)
{
    uint64_t used = pinned_bytes(log);
    return !has_slot(log) || used >= log->bytes_max ? 0 : log->bytes_max - used;
}

/* Three exceptions. A NOOP needs only a slot: without the entry that begins its term a leader
 * commits nothing (Raft §5.4.2), so nothing would ever make room. So does a configuration: it must
 * get through when the members that there are cannot keep up, there is one at a time, and they are
 * small. And one entry larger than the whole window may stand in it alone. */
bool raft_log_admits(const struct raft_log *log, enum raft_entry_type type, uint64_t bytes)
{
    if (!has_slot(log))
        return false;
    return type != RAFT_ENTRY_COMMAND || bytes <= raft_log_room(log) || pinned_bytes(log) == 0;
}

static void drop_first(struct raft_log *log)
{
    uint32_t slot = raft_log_slot(log, log->first);
    block_unref(log->entries[slot].block);
    log->entries[slot] = (struct raft_entry){ 0 };
    log->bytes_before = log->bytes_ends[slot];
    log->first++;
}

static void evict_first(struct raft_log *log)
{
    ASSERT(log->first <= log->flushed);
    drop_first(log);
}

void raft_log_evict(struct raft_log *log)
{
    enum { EVICT_ENTRIES_MAX = 256, EVICT_BYTES_MAX = 1 << 20 };
    if (log->first > log->flushed)
        return;
    uint64_t flushed = bytes_end(log, log->flushed);
    uint64_t up_to = log->bytes_before + EVICT_BYTES_MAX;
    for (int i = 0; i < EVICT_ENTRIES_MAX && log->first <= log->flushed; i++) {
        if (flushed - log->bytes_before <= log->bytes_keep || log->bytes_before >= up_to)
            break;
        evict_first(log);
    }
}

/* ---- change ---- */

void raft_log_append(struct raft_log *log, const struct raft_entry *entry, uint64_t persist_seq)
{
    ASSERT(entry->pos.index == log->last.index + 1);
    ASSERT(entry->pos.term >= log->last.term);
    ASSERT(has_slot(log));
    if (log->last.index + 1 - log->first == log->capacity)
        evict_first(log);
    if (log->run_count == 0 || entry->pos.term != log->last.term)
        raft_log_add_run(log, (struct raft_term_start){ entry->pos.term, entry->pos.index });
    uint32_t slot = raft_log_slot(log, entry->pos.index);
    log->entries[slot] = *entry;
    block_ref(entry->block);
    log->persist_seqs[slot] = persist_seq;
    log->bytes_ends[slot] = bytes_end(log, log->last.index) + entry->bytes.size;
    log->last = entry->pos;
}

void raft_log_truncate(struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->commit);
    ASSERT(index >= log->first && index <= log->last.index);
    uint64_t last_term;
    bool known = raft_log_term(log, index - 1, &last_term);
    ASSERT(known);
    for (uint64_t i = index; i <= log->last.index; i++) {
        uint32_t slot = raft_log_slot(log, i);
        block_unref(log->entries[slot].block);
        log->entries[slot] = (struct raft_entry){ 0 };
    }
    log->last = (struct raft_pos){ .term = last_term, .index = index - 1 };
    while (log->run_count > 0 && log->runs[log->run_count - 1].first_index >= index)
        log->run_count--;
    /* Not durable until their successors are: the journal still ends in what was dropped. */
    if (log->durable >= index)
        log->durable = index - 1;
}

/* An entry that replaced another carries a later number than the write that is done now, so it
 * does not pass for the one that it replaced:
 *   1. index 7 is handed out with number 3
 *   2. another leader's index 7 replaces it, with number 4
 *   3. number 3 is durable: that says nothing of the index 7 in the window. */
void raft_log_on_durable(struct raft_log *log, uint64_t persist_seq)
{
    while (log->durable < log->last.index &&
           log->persist_seqs[raft_log_slot(log, log->durable + 1)] <= persist_seq)
        log->durable++;
}

void raft_log_on_flushed(struct raft_log *log, uint64_t index)
{
    ASSERT(index <= log->applied);
    if (index > log->flushed)
        log->flushed = index;
}

void raft_log_release(struct raft_log *log)
{
    for (uint64_t i = log->first; i <= log->last.index; i++)
        block_unref(log->entries[raft_log_slot(log, i)].block);
    log->first = log->last.index + 1;
}

/* ---- terms ---- */

/* The oldest runs lie before the window, since there are more runs than the window has slots. */
static void forget_oldest_runs(struct raft_log *log)
{
    uint32_t count = RAFT_LOG_RUNS_SPARE / 2;
    ASSERT(count < log->run_count && log->runs[count].first_index <= log->first);
    log->start.term = log->runs[count - 1].term;
    log->start.index = log->runs[count].first_index - 1;
    log->run_count -= count;
    memmove(log->runs, log->runs + count, log->run_count * sizeof log->runs[0]);
}

void raft_log_add_run(struct raft_log *log, struct raft_term_start run)
{
    if (log->run_count == log->runs_capacity)
        forget_oldest_runs(log);
    ASSERT(log->run_count < log->runs_capacity);
    log->runs[log->run_count++] = run;
}

/* How many runs begin at or below `index`. */
static uint32_t runs_up_to(const struct raft_log *log, uint64_t index)
{
    uint32_t low = 0;
    uint32_t high = log->run_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->runs[middle].first_index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *ret_term)
{
    if (index < log->start.index || index > log->last.index)
        return false;
    uint32_t count = runs_up_to(log, index);
    *ret_term = count == 0 ? log->start.term : log->runs[count - 1].term;
    return true;
}

bool raft_log_last_of_term(const struct raft_log *log, uint64_t index, uint64_t term,
                           struct raft_pos *ret_pos)
{
    if (index > log->last.index)
        index = log->last.index;
    if (index < log->start.index)
        return false;
    uint32_t count = runs_up_to(log, index);
    while (count > 0 && log->runs[count - 1].term > term) {
        index = log->runs[count - 1].first_index - 1;
        count--;
    }
    if (count == 0 && log->start.term > term)
        return false;
    ret_pos->index = index;
    ret_pos->term = count == 0 ? log->start.term : log->runs[count - 1].term;
    return true;
}

/* ---- after a snapshot ---- */

/* Leaves the runs of (after, last]. */
static void forget_runs(struct raft_log *log, uint64_t after)
{
    uint32_t before = after < log->last.index ? runs_up_to(log, after + 1) - 1 : log->run_count;
    log->run_count -= before;
    memmove(log->runs, log->runs + before, log->run_count * sizeof log->runs[0]);
    if (log->run_count > 0)
        log->runs[0].first_index = after + 1;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void raft_log_begin_after(struct raft_log *log, struct raft_pos pos, bool keeps_rest)
{
    ASSERT(pos.index > log->applied);
    ASSERT(keeps_rest ? pos.index <= log->last.index : pos.index > log->commit);
    uint64_t drop_last = keeps_rest ? pos.index : log->last.index;
    while (log->first <= drop_last)
        drop_first(log);
    forget_runs(log, drop_last);
    if (!keeps_rest) {
        log->last = pos;
        log->first = pos.index + 1;
        log->durable = pos.index;
    }
    log->start = pos;
    log->commit = max_u64(log->commit, pos.index);
    log->durable = max_u64(log->durable, pos.index);
    log->handed = max_u64(log->handed, pos.index);
    log->applied = pos.index;
    log->flushed = pos.index;
}
