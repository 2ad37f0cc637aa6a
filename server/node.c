#include "server/node.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"

void node_fail(struct node *node, enum exit_code code, const char *what, const char *why)
{
    if (node->has_failed)
        return;
    node->has_failed = true;
    char text[NODE_DETAIL_BYTES];
    snprintf(text, sizeof text, "%s: %s; this node stops, the others go on", what, why);
    node->options.on_fatal(node->options.owner, code, text);
}

void node_fail_store(struct node *node, const struct kv *kv, enum kv_err err)
{
    if (kv != node->kv)
        return;
    if (err == KV_E_CORRUPT)
        node_fail_damaged(node, "the store cannot be read", kv_strerror(err));
    else
        node_fail(node, EXIT_CODE_IO, "the store cannot be read", kv_strerror(err));
}

void node_halt(struct node *node)
{
    node->has_failed = true;
}

static void turn_in(struct node *node, uint64_t ms)
{
    if (!io_timer_set(node->io, &node->turn_timer, io_now_ms(node->io) + ms))
        node_fail(node, EXIT_CODE_FAILURE, "a timer cannot be set", "out of memory");
}

void node_want_turn(struct node *node)
{
    turn_in(node, 0);
}

void node_want_turn_soon(struct node *node)
{
    turn_in(node, 1);
}

enum { CLOSE_POLL_MS = 1 };

/* ---- the turn ---- */

static void ask_for_reads(struct node *node)
{
    if (node->status.leader == 0)
        return; /* they wait; time-outs run */
    uint64_t context = reads_next_context(&node->reads);
    if (context == 0)
        return;
    struct raft_event event = { .type = RAFT_EV_READ, .read = { .context = context } };
    if (!node_step(node, &event))
        reads_on_refused(&node->reads, context);
}

static void announce_when_serving(struct node *node)
{
    if (node->is_serving || node->status.leader == 0 || !node->has_voice)
        return;
    node->is_serving = true;
    node->publish_is_due = true;
    node->options.on_serving(node->options.owner);
}

static void forget_lost_leader(struct node *node)
{
    if (node->requests.by_id.count == 0)
        node->requests.leader_was_lost = node->status.leader == 0;
    if (node->reads.count == 0)
        node->reads.leader_was_lost = node->status.leader == 0;
}

void node_turn_end(struct node *node)
{
    /* While the parts close some are gone already. */
    if (node->has_failed || node->closing_parts > 0)
        return;
    if (!node->is_closing) {
        node_propose_gathered(node);
        ask_for_reads(node);
    }
    node_apply_committed(node);
    if (node->has_failed)
        return;
    node_install_advance(node);
    node_retired_close(node);
    reads_on_applied(&node->reads, machine_state(node->machine)->applied.index);
    announce_when_serving(node);
    if (!node->is_leaving)
        node_join_advance(node);
    if (node->publish_is_due && !node->is_leaving)
        node_publish_attributes(node);
    /* Members before the own disk: its write takes the loop some time to submit. */
    peer_net_flush(node->peers);
    if (!node->is_closing)
        node_persist_write(node);
    node_flush_if_due(node);
    if (node->has_failed)
        return;
    forget_lost_leader(node);
    if (kv_trim(node->kv))
        node_want_turn(node); /* a chunk a turn (I10) */
}

/* ---- for services ---- */

void node_submit(struct node *node, struct request *request)
{
    request->reply.error = ETCD_OK;
    if (node->has_failed || node->is_leaving)
        request->reply.error = ETCD_E_STOPPED;
    else if (!requests_add(&node->requests, request))
        request->reply.error = ETCD_E_TOO_MANY_REQUESTS;
    if (request->reply.error != ETCD_OK)
        request->done(request);
}

struct node_waiting node_waiting(const struct node *node)
{
    return (struct node_waiting){ .writes = (uint32_t)node->requests.by_id.count,
                                  .reads = (uint32_t)node->reads.count,
                                  .max = node->options.requests_max };
}

void node_cancel(struct node *node, struct request *request)
{
    requests_cancel(&node->requests, request);
}

void node_read(struct node *node, struct read *read)
{
    if (node->has_failed || node->is_leaving)
        read->done(read, ETCD_E_STOPPED);
    else if (!reads_add(&node->reads, read))
        read->done(read, ETCD_E_TOO_MANY_REQUESTS);
}

void node_cancel_read(struct node *node, struct read *read)
{
    reads_cancel(&node->reads, read);
}

struct kv *node_kv(struct node *node)
{
    return node->kv;
}

const struct machine_state *node_machine_state(const struct node *node)
{
    return machine_state(node->machine);
}

const struct membership *node_membership(const struct node *node)
{
    return &node->membership;
}

struct node_status node_status(const struct node *node)
{
    struct store_usage usage = store_usage(node->store);
    return (struct node_status){
        .cluster_id = node->identity.cluster_id,
        .member_id = node->identity.member_id,
        .raft = node->status,
        .commit_index = raft_commit_index(node->raft),
        .applied_index = machine_state(node->machine)->applied.index,
        .last_index = raft_last_pos(node->raft).index,
        .db_bytes = usage.file_bytes,
        .db_in_use_bytes = usage.in_use_bytes,
        .is_corrupt = node->is_corrupt,
        .is_serving = node->is_serving,
    };
}

struct node_counters node_counters(const struct node *node)
{
    struct node_counters counters = node->counters;
    struct journal_usage journal = journal_usage(node->journal);
    counters.journal_writes = journal.write_count;
    counters.journal_written_bytes = journal.written_bytes;
    counters.requests_refused = node->requests.refused + node->reads.refused;
    counters.requests_timed_out = node->requests.timed_out + node->reads.timed_out;
    counters.peers = *peer_net_counters(node->peers);
    return counters;
}

/* ---- the end ---- */

static void finish_close(struct node *node)
{
    void (*fn)(void *owner) = node->closed;
    void *owner = node->closed_owner;
    node_free(node);
    fn(owner);
}

static void on_part_closed(void *owner)
{
    struct node *node = owner;
    if (--node->closing_parts == 0)
        finish_close(node);
}

static void on_journal_closed(void *owner)
{
    struct node *node = owner;
    node->journal = NULL;
    on_part_closed(node);
}

static void on_peers_closed(void *owner)
{
    struct node *node = owner;
    node->peers = NULL;
    on_part_closed(node);
}

/* A node whose start failed may lack any part. */
static bool is_quiet(const struct node *node)
{
    bool is_writing = node->journal && journal_is_writing(node->journal);
    return !is_writing && !node_jobs_are_running(node);
}

static bool is_read(const struct node *node)
{
    return (node->kv && kv_views_open(node->kv) > 0) ||
           (node->retired.kv && !node->retired.is_closing && kv_views_open(node->retired.kv) > 0);
}

/* Jobs and the journal's write come back through the loop: it looks again a little later. */
static void close_when_quiet(void *owner)
{
    struct node *node = owner;
    if (!node->has_failed && journal_usage(node->journal).is_stuck)
        node_fail(node, EXIT_CODE_NO_SPACE, "the journal cannot grow", "no room on the disk");
    node_flush_pace(node);
    if (node->has_failed && node->journal)
        journal_stop(node->journal);
    if (!node->has_failed && is_quiet(node))
        node_flush_last(node);
    /* 1. a long read runs as a job; 2. its call's time is over, and the last connection closes;
     * 3. this node closes. The job still reads the store, which has to stay. */
    if (is_quiet(node) && !is_read(node))
        journal_close(node->journal, on_journal_closed, node);
    else
        turn_in(node, CLOSE_POLL_MS);
}

void node_close(struct node *node, void (*fn)(void *owner), void *owner)
{
    ASSERT(!node->is_leaving);
    node->is_leaving = true;
    node->closed = fn;
    node->closed_owner = owner;
    node_change_fail(node, ETCD_E_STOPPED);
    if (node->has_failed)
        node_close_parts(node);
    else
        node_leave(node);
}

void node_close_parts(struct node *node)
{
    ASSERT(!node->is_closing);
    node->is_closing = true;
    node_send_review(node);
    node_receive_end(node, true);
    requests_fail_all(&node->requests, ETCD_E_STOPPED);
    reads_fail_all(&node->reads, ETCD_E_STOPPED);
    node_transfer_fail_all(node);
    io_timer_cancel(node->io, &node->raft_timer);
    io_timer_cancel(node->io, &node->start_timer);
    io_timer_cancel(node->io, &node->news.timer);
    io_timer_cancel(node->io, &node->turn_timer);
    io_timer_cancel(node->io, &node->removal_timer);
    io_timer_cancel(node->io, &node->receive_timer);
    /* Peers first: their dials are refused from now on, so that they elect another leader while
     * this node still flushes. */
    node->closing_parts = 2;
    if (node->peers)
        peer_net_close(node->peers, on_peers_closed, node);
    else
        on_part_closed(node);
    timer_init(&node->turn_timer, close_when_quiet, node);
    node_want_turn(node);
}
