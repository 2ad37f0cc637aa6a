/* log.h: the part of the log that is in memory, the terms of the rest, and how far each stage is.
 *
 *   start < .. flushed <= applied <= handed <= min(commit, durable) <= last
 *                 first - 1 <= flushed: what is not in the log store is always in memory
 *
 * Owner:    struct raft; the arrays are parts of its memory. Each entry in the window holds one
 *           reference to its block.
 * Bounds:   capacity entries. runs_capacity is more than capacity, so the runs always cover the
 *           window; when they are full the oldest are forgotten and `start` moves up.
 */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "raft/types.h"

struct raft_log {
    /* The window: rings of the same capacity, a power of two, addressed by index. */
    struct raft_entry *entries;
    uint64_t *persist_seqs; /* of the ready that handed the entry out; never falls along the log */
    uint64_t *bytes_ends;   /* running sum of sizes up to and with the entry */
    uint32_t capacity;
    uint64_t bytes_max;  /* after `flushed` */
    uint64_t bytes_keep; /* up to it; what is more goes little by little */

    struct raft_pos start; /* nothing is known before it; committed */
    uint64_t first;        /* in the window; last.index + 1: it is empty */
    struct raft_pos last;
    uint64_t bytes_before; /* the running sum before `first` */

    uint64_t commit;
    uint64_t durable; /* here */
    uint64_t handed;  /* to the caller, to apply */
    uint64_t applied;
    uint64_t flushed;

    /* The terms of (start, last]: run i ends where run i + 1 begins. */
    struct raft_term_start *runs;
    uint32_t run_count;
    uint32_t runs_capacity;
};

enum { RAFT_LOG_RUNS_SPARE = 1024 }; /* terms kept for indexes that have left the window */

static inline uint32_t raft_log_slot(const struct raft_log *log, uint64_t index)
{
    return (uint32_t)(index & (log->capacity - 1));
}

static inline bool raft_log_has(const struct raft_log *log, uint64_t index)
{
    return index >= log->first && index <= log->last.index;
}

/* False when it is not known: before start or after the last. */
bool raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *ret_term);

/* The last position at or below `index` whose term is `term` or less; false when it would lie
 * before start. */
bool raft_log_last_of_term(const struct raft_log *log, uint64_t index, uint64_t term,
                           struct raft_pos *ret_pos);

/* Sizes of the entries of (after, up_to]; both in or next to the window. */
uint64_t raft_log_bytes(const struct raft_log *log, uint64_t after, uint64_t up_to);

/* How many more bytes may follow. */
uint64_t raft_log_room(const struct raft_log *log);

/* Whether an entry of this type and size may follow. */
bool raft_log_admits(const struct raft_log *log, enum raft_entry_type type, uint64_t bytes);

/* Appends an entry that follows `last` and was admitted; takes a reference. */
void raft_log_append(struct raft_log *log, const struct raft_entry *entry, uint64_t persist_seq);

/* Drops the entries from `index` on, none of them committed. */
void raft_log_truncate(struct raft_log *log, uint64_t index);

/* A snapshot stands for all up to pos, durably. The entries after it stay, or all go. */
void raft_log_begin_after(struct raft_log *log, struct raft_pos pos, bool keeps_rest);

/* All that was handed out up to persist_seq is durable. */
void raft_log_on_durable(struct raft_log *log, uint64_t persist_seq);

void raft_log_on_flushed(struct raft_log *log, uint64_t index);

/* Lets go of some of what is in the log store and more than bytes_keep. A flush makes a hundred
 * thousand entries free at once; to free them at once would take milliseconds. With each step, so
 * they go faster than others come. */
void raft_log_evict(struct raft_log *log);

/* A term begins at `first_index`, right after the last known one. */
void raft_log_add_run(struct raft_log *log, struct raft_term_start run);

void raft_log_release(struct raft_log *log);

#endif
