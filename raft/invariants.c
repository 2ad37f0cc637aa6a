/* Everything that must hold between two steps, checked by walking it all. For tests. */
#include "raft/raft_internal.h"

static void check_cursors(const struct raft_log *log)
{
    ASSERT(log->start.index <= log->flushed);
    ASSERT(log->first <= log->flushed + 1);
    ASSERT(log->flushed <= log->applied);
    ASSERT(log->applied <= log->handed);
    ASSERT(log->handed <= log->commit);
    ASSERT(log->handed <= log->durable); /* I3 */
    ASSERT(log->commit <= log->last.index);
    ASSERT(log->durable <= log->last.index);
    ASSERT(log->last.index + 1 - log->first <= log->capacity);
}

static void check_window(const struct raft *r)
{
    const struct raft_log *log = &r->log;
    uint64_t bytes = log->bytes_before;
    uint64_t seq = 0;
    for (uint64_t i = log->first; i <= log->last.index; i++) {
        uint32_t slot = raft_log_slot(log, i);
        const struct raft_entry *e = &log->entries[slot];
        uint64_t term;
        ASSERT(e->pos.index == i);
        ASSERT(i < log->start.index || (raft_log_term(log, i, &term) && term == e->pos.term));
        ASSERT(e->block && e->block->refs > 0);
        bytes += e->bytes.size;
        ASSERT(log->bytes_ends[slot] == bytes);
        ASSERT(log->persist_seqs[slot] >= seq);
        seq = log->persist_seqs[slot];
        ASSERT(seq <= r->seq_last);
        ASSERT((i <= log->durable) == (seq <= r->seq_durable) || i <= log->flushed);
    }
}

static void check_runs(const struct raft_log *log)
{
    uint64_t term = log->start.term;
    uint64_t next_first = log->start.index + 1;
    ASSERT(log->run_count <= log->runs_capacity);
    ASSERT(log->run_count > 0 || log->last.index == log->start.index);
    for (uint32_t i = 0; i < log->run_count; i++) {
        ASSERT(i == 0 ? log->runs[i].first_index == next_first
                      : log->runs[i].first_index >= next_first);
        ASSERT(i == 0 ? log->runs[i].term >= term : log->runs[i].term > term);
        term = log->runs[i].term;
        next_first = log->runs[i].first_index + 1;
    }
    ASSERT(next_first <= log->last.index + 1);
    ASSERT(term == log->last.term);
}

static void check_inflights(const struct raft *r, const struct raft_progress *p)
{
    uint64_t bytes = 0;
    uint64_t before = p->match;
    ASSERT(p->inflight_count <= r->options.inflight_max);
    ASSERT(p->inflight_count == 0 || p->state == RAFT_PROGRESS_REPLICATE);
    for (uint32_t i = 0; i < p->inflight_count; i++) {
        const struct raft_inflight *inflight =
            &p->inflights[(p->inflight_head + i) % r->options.inflight_max];
        ASSERT(inflight->last_index > before && inflight->last_index < p->next);
        before = inflight->last_index;
        bytes += inflight->bytes;
    }
    ASSERT(bytes == p->inflight_bytes);
}

static void check_leader(const struct raft *r)
{
    ASSERT(r->leader == r->options.id);
    ASSERT(r->vote == r->options.id);
    ASSERT(r->hard_seq <= r->seq_durable); /* I1: elected with its own vote on the disk */
    ASSERT(r->term_first_index <= r->log.last.index + 1);
    ASSERT(raft_term_at(r, r->term_first_index - 1) < r->term);
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        ASSERT(p->round <= r->round);
        if (p->id == r->options.id)
            continue;
        ASSERT(p->match <= r->log.last.index);
        ASSERT(p->next > p->match && p->next <= r->log.last.index + 1);
        ASSERT(p->commit_sent <= r->log.commit);
        check_inflights(r, p);
    }
}

static void check_role(const struct raft *r)
{
    switch (r->role) {
    case RAFT_LEADER:
        check_leader(r);
        return;
    case RAFT_CANDIDATE:
        ASSERT(r->vote == r->options.id);
        ASSERT(r->leader == 0 && r->term_leader == 0);
        return;
    case RAFT_PRE_CANDIDATE:
        ASSERT(r->leader == 0);
        return;
    case RAFT_FOLLOWER:
        ASSERT(r->leader != r->options.id);
        ASSERT(r->leader == 0 || r->leader == r->term_leader);
        return;
    }
}

static void check_promises(const struct raft *r)
{
    ASSERT(r->term >= r->log.last.term);
    ASSERT(r->hard_seq <= r->seq_last && r->seq_durable <= r->seq_last);
    ASSERT(r->pending_vote == 0 || r->pending_vote == r->vote);
    ASSERT(r->pending_vote == 0 || r->hard_seq > r->seq_durable);
    if (r->term_leader != 0 && r->term_leader != r->options.id) {
        ASSERT(r->verified <= r->log.last.index);
        ASSERT(r->answered <= r->verified && r->answered <= r->log.durable);
    }
    ASSERT(!r->owes_answer || r->owed_match <= r->verified);
}

static void check_members(const struct raft *r)
{
    ASSERT(r->member_count <= RAFT_MEMBERS_MAX);
    for (uint32_t i = 1; i < r->member_count; i++)
        ASSERT(r->members[i - 1].id < r->members[i].id);
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        for (uint32_t j = 0; j < i; j++)
            ASSERT(r->members[i].inflights != r->members[j].inflights);
}

/* A member that joins begins with nobody. */
static bool is_config_possible(const struct raft_config_at *config)
{
    bool is_blank = config->index == 0 && config->config.member_count == 0;
    return is_blank || raft_config_is_valid(&config->config);
}

/* The configuration in force is the newest of the log, and one before it is all that may be needed
 * (membership.c). */
static void check_config(const struct raft *r)
{
    const struct raft_config *config = &r->config.config;
    ASSERT(is_config_possible(&r->config));
    ASSERT(is_config_possible(&r->config_before));
    ASSERT(r->config_before.index <= r->config.index);
    ASSERT(r->config.index <= r->log.last.index);
    for (uint64_t i = r->log.last.index; i >= r->log.first; i--) {
        if (r->log.entries[raft_log_slot(&r->log, i)].type != RAFT_ENTRY_CONFIG)
            continue;
        ASSERT(i == r->config.index || (r->config.index == 0 && i <= r->log.flushed));
        break;
    }
    ASSERT(r->member_count == config->member_count);
    for (uint32_t i = 0; i < r->member_count; i++) {
        ASSERT(r->members[i].id == config->members[i].id);
        ASSERT(r->members[i].roles == config->members[i].roles);
        ASSERT(r->members[i].snapshot_backoff_ms <= 8ull * r->options.election_timeout_ms);
    }
}

static void check_transfer(const struct raft *r)
{
    if (r->transferee == 0)
        return;
    ASSERT(r->role == RAFT_LEADER);
    ASSERT(r->transferee != r->options.id);
    ASSERT(raft_config_has_voter(&r->config.config, r->transferee));
    ASSERT(r->now_ms < r->transfer_deadline_ms);
    ASSERT(!r->transfer_is_sent || r->transfer_told == r->transferee);
}

/* I7: no say, and no target but of a leader's own words in this term. */
static void check_repair(const struct raft *r)
{
    if (!r->awaits_repair)
        return;
    ASSERT(r->repair_id != 0);
    ASSERT(r->role == RAFT_FOLLOWER);
    ASSERT(r->pending_vote == 0);
    ASSERT(!r->repair_has_target || r->term_leader != 0);
}

static void check_reads(const struct raft *r)
{
    ASSERT(r->read_count <= RAFT_READS_WAITING_MAX);
    ASSERT(r->ask_sent <= r->ask_last);
    for (uint32_t i = 0; i < r->read_count; i++) {
        const struct raft_read *read = &r->reads[i];
        ASSERT(r->role == RAFT_LEADER || read->member == r->options.id);
        if (r->role == RAFT_LEADER)
            ASSERT(read->round <= r->round + 1 && read->index <= r->log.commit);
        if (i == 0)
            continue;
        ASSERT(read[-1].asked_ms <= read->asked_ms);
        if (r->role == RAFT_LEADER)
            ASSERT(read[-1].round <= read->round);
        else
            ASSERT(read[-1].ask < read->ask);
    }
}

void raft_check_invariants(const struct raft *r)
{
    check_cursors(&r->log);
    check_window(r);
    check_runs(&r->log);
    check_role(r);
    check_promises(r);
    check_members(r);
    check_config(r);
    check_transfer(r);
    check_repair(r);
    check_reads(r);
}
