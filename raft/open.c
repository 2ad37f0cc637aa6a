/* From options and persisted state to a core in the caller's memory. */
#include "raft/raft_internal.h"

/* ---- options ---- */

enum { WINDOW_ENTRIES_MIN = 4, WINDOW_ENTRIES_MAX = 1 << 22 };

static bool are_times_valid(const struct raft_options *o)
{
    return o->election_timeout_ms >= 50 && o->election_timeout_ms <= 50000 && o->heartbeat_ms > 0 &&
           o->heartbeat_ms <= o->election_timeout_ms / 5;
}

static bool are_sizes_valid(const struct raft_options *o)
{
    uint32_t entries = o->window_entries_max;
    if (entries < WINDOW_ENTRIES_MIN || entries > WINDOW_ENTRIES_MAX ||
        (entries & (entries - 1)) != 0)
        return false;
    if (o->window_bytes_max == 0 || o->window_bytes_keep > o->window_bytes_max)
        return false;
    if (o->uncommitted_bytes_max == 0 || o->uncommitted_bytes_max > o->window_bytes_max)
        return false;
    return o->append_bytes_max > 0 && o->inflight_max >= 1 && o->inflight_max <= 1024 &&
           o->inflight_bytes_max > 0;
}

static bool are_options_valid(const struct raft_options *o)
{
    return o->id != 0 && are_times_valid(o) && are_sizes_valid(o);
}

/* ---- memory ---- */

/* Where each array begins, in bytes from the core. */
struct layout {
    size_t entries, persist_seqs, bytes_ends, runs, inflights, reads, messages, results;
    size_t size;
};

static size_t place(size_t *size, size_t count, size_t element_bytes)
{
    size_t at = (*size + 15) / 16 * 16;
    *size = at + count * element_bytes;
    return at;
}

static uint32_t runs_capacity(const struct raft_options *o)
{
    return o->window_entries_max + RAFT_LOG_RUNS_SPARE;
}

static struct layout layout_of(const struct raft_options *o)
{
    struct layout l = { .size = sizeof(struct raft) };
    size_t entries = o->window_entries_max;
    l.entries = place(&l.size, entries, sizeof(struct raft_entry));
    l.persist_seqs = place(&l.size, entries, sizeof(uint64_t));
    l.bytes_ends = place(&l.size, entries, sizeof(uint64_t));
    l.runs = place(&l.size, runs_capacity(o), sizeof(struct raft_term_start));
    l.inflights =
        place(&l.size, RAFT_MEMBERS_MAX * (size_t)o->inflight_max, sizeof(struct raft_inflight));
    l.reads = place(&l.size, RAFT_READS_WAITING_MAX, sizeof(struct raft_read));
    l.messages = place(&l.size, RAFT_MESSAGES_MAX, sizeof(struct raft_msg));
    l.results = place(&l.size, RAFT_READS_WAITING_MAX + 1, sizeof(struct raft_read_result));
    return l;
}

size_t raft_memory_bytes(const struct raft_options *options)
{
    return are_options_valid(options) ? layout_of(options).size : 0;
}

static struct raft *lay_out(void *memory, const struct raft_options *options)
{
    struct layout l = layout_of(options);
    uint8_t *base = memory;
    memset(base, 0, l.size);
    struct raft *r = memory;
    r->options = *options;
    r->log.entries = (void *)(base + l.entries);
    r->log.persist_seqs = (void *)(base + l.persist_seqs);
    r->log.bytes_ends = (void *)(base + l.bytes_ends);
    r->log.runs = (void *)(base + l.runs);
    r->reads = (void *)(base + l.reads);
    r->messages = (void *)(base + l.messages);
    r->results = (void *)(base + l.results);
    struct raft_inflight *inflights = (void *)(base + l.inflights);
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        r->members[i].inflights = inflights + (size_t)i * options->inflight_max;
    return r;
}

/* ---- persisted state: from a disk, so no ASSERT ---- */

static bool is_pos_valid(struct raft_pos pos)
{
    return (pos.index == 0) == (pos.term == 0) && pos.index <= RAFT_INDEX_MAX &&
           pos.term <= RAFT_TERM_MAX;
}

static bool are_term_starts_valid(const struct raft_start *start)
{
    uint32_t count = start->term_start_count;
    const struct raft_term_start *starts = start->term_starts;
    if (start->flushed.index == start->log_start.index)
        return count == 0 && start->flushed.term == start->log_start.term;
    if (start->flushed.index < start->log_start.index || count == 0 || !starts)
        return false;
    if (starts[0].first_index != start->log_start.index + 1 ||
        starts[0].term < start->log_start.term || starts[0].term == 0)
        return false;
    for (uint32_t i = 1; i < count; i++)
        if (starts[i].first_index <= starts[i - 1].first_index ||
            starts[i].term <= starts[i - 1].term)
            return false;
    return starts[count - 1].first_index <= start->flushed.index &&
           starts[count - 1].term == start->flushed.term;
}

static bool is_start_valid(const struct raft_start *start)
{
    if (!is_pos_valid(start->log_start) || !is_pos_valid(start->flushed))
        return false;
    if (start->hard.term > RAFT_TERM_MAX || start->hard.term < start->flushed.term)
        return false;
    if (start->hard.vote != 0 && start->hard.term == 0)
        return false;
    bool is_config_valid = start->config.member_count == 0 || raft_config_is_valid(&start->config);
    return is_config_valid && are_term_starts_valid(start);
}

/* ---- open, restore, close ---- */

static void open_log(struct raft *r, const struct raft_start *start)
{
    struct raft_log *log = &r->log;
    log->capacity = r->options.window_entries_max;
    log->bytes_max = r->options.window_bytes_max;
    log->bytes_keep = r->options.window_bytes_keep;
    log->runs_capacity = runs_capacity(&r->options);
    log->start = start->log_start;
    log->last = start->flushed;
    log->first = start->flushed.index + 1;
    log->commit = start->flushed.index;
    log->durable = start->flushed.index;
    log->handed = start->flushed.index;
    log->applied = start->flushed.index;
    log->flushed = start->flushed.index;
    for (uint32_t i = 0; i < start->term_start_count; i++)
        raft_log_add_run(log, start->term_starts[i]);
}

enum raft_err raft_open(struct raft **ret_r, void *memory, const struct raft_options *options,
                        const struct raft_start *start)
{
    if (!are_options_valid(options))
        return RAFT_E_OPTIONS;
    if (!is_start_valid(start))
        return RAFT_E_STATE;
    struct raft *r = lay_out(memory, options);
    r->now_ms = start->now_ms;
    r->prng = prng_seeded(options->seed);
    r->ask_base = prng_next(&r->prng);
    r->term = start->hard.term;
    r->vote = start->hard.vote;
    r->keep_index = 1;
    r->restored_commit = start->hard.commit;
    if (start->awaits_repair) {
        raft_repair_begin(r);
        r->restored_commit = 0; /* repair.c: it may be another log's */
    }
    open_log(r, start);
    r->config.config = start->config;
    r->config_before = r->config;
    raft_members_install(r, &start->config);
    r->told = raft_status(r);
    *ret_r = r;
    return RAFT_OK;
}

enum raft_err raft_restore_entry(struct raft *r, const struct raft_entry *entry,
                                 const struct raft_config *config)
{
    ASSERT(!r->is_started);
    ASSERT(entry->type == RAFT_ENTRY_CONFIG || !config);
    if (entry->type == RAFT_ENTRY_CONFIG && (!config || !raft_config_is_valid(config)))
        return RAFT_E_STATE;
    struct raft_log *log = &r->log;
    if (entry->pos.index != log->last.index + 1 || entry->pos.term < log->last.term ||
        entry->pos.term == 0 || entry->pos.term > r->term || entry->pos.index > RAFT_INDEX_MAX)
        return RAFT_E_STATE;
    if (log->last.index - log->flushed == log->capacity)
        return RAFT_E_FULL;
    raft_log_append(log, entry, 0);
    log->durable = log->last.index;
    /* The commit index that was written may be ahead of a tail that a crash took. */
    if (log->last.index <= r->restored_commit)
        log->commit = log->last.index;
    if (config)
        raft_config_append(r, &(struct raft_config_at){ entry->pos.index, *config });
    return RAFT_OK;
}

void raft_close(struct raft *r)
{
    if (r)
        raft_log_release(&r->log);
}
