/* What must never happen, checked where it would show first: at the effects of one step. */
#include "tests/support/raft_cluster.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"

_Noreturn void cluster_fail(const struct cluster *c, const struct cluster_node *n, const char *what)
{
    fprintf(stderr, "seed %lu, step %lu, %lums, n%lu: %s\n", (unsigned long)c->options.seed,
            (unsigned long)c->steps, (unsigned long)c->now_ms, (unsigned long)(n ? n->id : 0),
            what);
    abort();
}

/* Log matching (Raft §5.3): one entry a term and index, with one predecessor, everywhere. */
void cluster_check_entry(struct cluster *c, const struct raft_entry *entry, uint64_t prev_term)
{
    ASSERT(entry->pos.index < CLUSTER_LOG_MAX);
    uint64_t value = get_le64(entry->bytes.data);
    struct cluster_seen **at = &c->seen[entry->pos.index];
    for (; *at; at = &(*at)->next) {
        if ((*at)->term != entry->pos.term)
            continue;
        if ((*at)->value != value || (*at)->prev_term != prev_term)
            cluster_fail(c, NULL, "two entries of one term and index");
        return;
    }
    *at = malloc(sizeof **at);
    ASSERT(*at);
    **at = (struct cluster_seen){ entry->pos.term, prev_term, value, NULL };
}

bool cluster_disk_holds(const struct cluster_disk *disk, struct raft_pos pos)
{
    return pos.index == 0 || (pos.index <= disk->last && disk->log[pos.index].pos.term == pos.term);
}

/* I1: what leaves rests on what the sender's disk holds. */
static void check_message(struct cluster *c, struct cluster_node *n, const struct raft_msg *msg)
{
    const struct raft_hard_state *hard = &n->disk.hard;
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        if (msg->vote.pre_vote)
            return;
        if (hard->term != msg->term || hard->vote != n->id)
            cluster_fail(c, n, "asks for votes before its own is durable");
        if (!cluster_disk_holds(&n->disk, msg->vote.last))
            cluster_fail(c, n, "asks for votes with a log that is not durable");
        return;
    case RAFT_MSG_VOTE_RESULT:
        if (msg->vote_result.granted && !msg->vote_result.pre_vote &&
            (hard->term != msg->term || hard->vote != msg->to))
            cluster_fail(c, n, "grants a vote that is not durable");
        return;
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_TIMEOUT_NOW:
        if (hard->term != msg->term || hard->vote != n->id)
            cluster_fail(c, n, "leads a term that is not durable");
        return;
    case RAFT_MSG_APPEND_RESULT:
        if (!msg->append_result.rejected &&
            (hard->term != msg->term || n->disk.last < msg->append_result.match))
            cluster_fail(c, n, "acknowledges what is not durable");
        return;
    case RAFT_MSG_HEARTBEAT_RESULT:
    case RAFT_MSG_READ_INDEX:
    case RAFT_MSG_READ_INDEX_RESULT:
        return;
    }
}

/* Election safety (Raft §5.2) and leader completeness (§5.4). */
static void check_leader(struct cluster *c, struct cluster_node *n,
                         const struct raft_status *status)
{
    ASSERT(status->term < CLUSTER_TERMS_MAX);
    uint64_t *leader = &c->leader_of_term[status->term];
    if (*leader != 0 && *leader != n->id)
        cluster_fail(c, n, "two leaders in one term");
    if (*leader != 0)
        return;
    *leader = n->id;
    c->elections++;
    for (uint64_t i = n->disk.log_start + 1; i <= c->truth_count; i++)
        if (raft_term_at(n->raft, i) != c->truth[i].pos.term)
            cluster_fail(c, n, "a leader lacks a committed entry");
}

/* I7: who awaits repair has no say. */
static void check_voiceless(struct cluster *c, struct cluster_node *n, const struct raft_msg *msg)
{
    if (msg->type == RAFT_MSG_VOTE)
        cluster_fail(c, n, "campaigns while it awaits repair");
    if (msg->type == RAFT_MSG_VOTE_RESULT && msg->vote_result.granted)
        cluster_fail(c, n, "votes while it awaits repair");
    if ((msg->type == RAFT_MSG_APPEND_RESULT && msg->append_result.repair_id == 0) ||
        (msg->type == RAFT_MSG_HEARTBEAT_RESULT && msg->heartbeat_result.repair_id == 0))
        cluster_fail(c, n, "passes for whole while it awaits repair");
}

/* What it lost and others went on to commit is back. */
static void check_repaired(struct cluster *c, struct cluster_node *n)
{
    n->repair_count++;
    for (uint64_t i = 0; i < n->disk.lost_count; i++) {
        struct raft_pos pos = n->disk.lost[i];
        bool is_committed = pos.index <= c->truth_count && c->truth[pos.index].pos.term == pos.term;
        if (is_committed && !cluster_disk_holds(&n->disk, pos))
            cluster_fail(c, n, "passes for repaired without what it had acknowledged");
    }
}

/* What a disk has lost it did hold when it said so. */
static bool did_hold(const struct cluster_disk *disk, struct raft_pos pos)
{
    for (uint64_t i = 0; i < disk->lost_count; i++)
        if (disk->lost[i].index == pos.index && disk->lost[i].term == pos.term)
            return true;
    return cluster_disk_holds(disk, pos);
}

/* A leader commits: a quorum of the configuration in force has it on its disks. */
static void check_quorum_holds(struct cluster *c, struct cluster_node *n)
{
    uint64_t commit = raft_commit_index(n->raft);
    bool has_moved = commit > n->commit_seen;
    n->commit_seen = commit;
    if (!has_moved || raft_status(n->raft).role != RAFT_LEADER)
        return;
    struct raft_pos pos = { .term = raft_term_at(n->raft, commit), .index = commit };
    struct raft_config_at config = raft_config_in_force(n->raft);
    unsigned holders = 0;
    for (uint32_t i = 0; i < c->options.node_count; i++)
        holders |= (unsigned)did_hold(&c->nodes[i].disk, pos) << i;
    if (!cluster_is_quorum(&config.config, holders))
        cluster_fail(c, n, "commits what no majority has on its disks");
}

/* State machine safety (Raft §5.4.3), in order, once, and durable here (I3). */
static void check_committed(struct cluster *c, struct cluster_node *n,
                            const struct raft_ready *ready)
{
    for (uint64_t i = ready->committed.first; i <= ready->committed.last; i++) {
        const struct raft_entry *e = raft_entry_at(n->raft, i);
        if (!e)
            cluster_fail(c, n, "hands out an entry that is not in memory");
        if (i == ready->committed.first && i != n->applied + 1)
            cluster_fail(c, n, "applies with a gap or twice");
        if (!cluster_disk_holds(&n->disk, e->pos))
            cluster_fail(c, n, "applies what is not durable here");
        if (i > c->truth_count) {
            ASSERT(i == c->truth_count + 1);
            c->truth[i] = *e;
            block_ref(e->block);
            c->truth_count = i;
        }
        if (c->truth[i].pos.term != e->pos.term)
            cluster_fail(c, n, "applies another entry than others did");
    }
}

/* I11: a read point is never below what had been committed when it was asked for. */
static void check_reads(struct cluster *c, struct cluster_node *n, const struct raft_ready *ready)
{
    for (uint32_t i = 0; i < ready->read_count; i++) {
        const struct raft_read_result *result = &ready->reads[i];
        ASSERT(result->context < c->read_count);
        struct cluster_read *read = &c->reads[result->context];
        if (read->done || read->node != n->id || read->life != n->life)
            cluster_fail(c, n, "answers a read twice, or another's");
        read->done = true;
        read->refused = result->refused;
        read->index = result->index;
        if (!result->refused && result->index < read->index_min)
            cluster_fail(c, n, "a stale read");
    }
}

void cluster_check_ready(struct cluster *c, struct cluster_node *n, const struct raft_ready *ready)
{
    raft_check_invariants(n->raft);
    if (raft_status(n->raft).role == RAFT_LEADER)
        check_leader(c, n, &ready->status);
    for (uint32_t i = 0; i < ready->message_count; i++) {
        check_message(c, n, &ready->messages[i]);
        if (raft_awaits_repair(n->raft))
            check_voiceless(c, n, &ready->messages[i]);
    }
    if (ready->repaired)
        check_repaired(c, n);
    cluster_check_config(c, n);
    check_quorum_holds(c, n);
    check_committed(c, n, ready);
    check_reads(c, n, ready);
    if (raft_commit_index(n->raft) > c->commit_max)
        c->commit_max = raft_commit_index(n->raft);
    if (ready->hard.commit > n->disk.last)
        cluster_fail(c, n, "a commit index past the disk");
}

/* Honest nodes never send what RAFT_E_MESSAGE stands for. */
void cluster_check_refusal(struct cluster *c, const struct cluster_node *n,
                           const struct raft_msg *msg)
{
    fprintf(stderr, "message type %d from n%lu term %lu\n", (int)msg->type,
            (unsigned long)msg->from, (unsigned long)msg->term);
    cluster_fail(c, n, "refuses an honest message");
}
