/* A snapshot that a leader sends to us: chunks into a new environment, until it is complete. */
#include "base/assert.h"
#include "base/log.h"
#include "proto/config.h"
#include "server/node_internal.h"

enum {
    SILENT_MS = 5000,   /* after which another sender's is taken instead */
    GIVE_UP_MS = 60000, /* after which it is dropped in any case */
};

static void receive_pump(struct node *node);

static void answer(struct node *node, uint64_t member, uint64_t id, uint64_t next_seq,
                   enum peer_snapshot_status status)
{
    struct peer_snapshot_ack ack = { .snapshot_id = id, .next_seq = next_seq, .status = status };
    peer_net_send_snapshot_ack(node->peers, member, &ack);
}

static void answer_current(struct node *node, enum peer_snapshot_status status)
{
    const struct node_receive *r = &node->receive;
    answer(node, r->member, r->id, r->next_seq - r->chunk_count, status);
}

/* ---- the end ---- */

static void chunks_free(struct node_receive *r)
{
    for (uint32_t i = 0; i < r->chunk_count; i++)
        block_unref(r->chunks[i].block);
    r->chunk_count = 0;
}

static void on_ended(void *owner)
{
    struct node *node = owner;
    node->receive = (struct node_receive){ .state = NODE_RECEIVE_NONE };
}

/* keep: a complete environment stays on the disk, since the journal may speak of it. */
static void sink_end(struct node *node, bool keep)
{
    struct node_receive *r = &node->receive;
    ASSERT(!r->is_adding);
    chunks_free(r);
    r->state = NODE_RECEIVE_ENDS;
    snapshot_sink_end(r->sink, keep, on_ended, node);
}

void node_receive_end(struct node *node, bool keep)
{
    struct node_receive *r = &node->receive;
    if (r->state == NODE_RECEIVE_NONE || r->state == NODE_RECEIVE_ENDS)
        return;
    if (r->is_adding)
        r->ends = true;
    else
        sink_end(node, keep);
}

static void receive_fail(struct node *node, const char *why)
{
    node->counters.snapshots_failed++;
    LOG_WARNF("a snapshot was not taken", log_id("member", node->receive.member),
              log_text("why", why));
    answer_current(node, PEER_SNAPSHOT_FAILED);
    sink_end(node, false);
}

static void receive_drop(struct node *node, const char *why)
{
    node->counters.snapshots_failed++;
    LOG_WARNF("a snapshot is not taken to its end", log_id("member", node->receive.member),
              log_text("why", why));
    node_receive_end(node, false);
}

/* ---- chunks into the sink ---- */

/* NULL: what it says of itself is what it was announced as, and fit to be installed. */
static const char *meta_judge(struct node *node)
{
    const struct snapshot_meta *meta = snapshot_sink_meta(node->receive.sink);
    struct raft_pos pos = node->receive.pos;
    if (meta->state.applied.index != pos.index || meta->state.applied.term != pos.term)
        return "it is of another position than announced";
    if (meta->state.feature_level > MACHINE_FEATURE_LEVEL_MAX)
        return "it is of a newer feature level; install the version that the other members run";
    struct membership membership;
    membership_init(&membership);
    struct raft_config config;
    bool is_good = membership_decode(&membership, meta->state.membership) == MEMBERSHIP_OK &&
                   config_of_payload(meta->state.membership, &config) &&
                   membership.config_index <= pos.index;
    membership_done(&membership);
    return is_good ? NULL : "its membership cannot be read";
}

static void on_complete(struct node *node)
{
    const char *why = meta_judge(node);
    if (why) {
        receive_fail(node, why);
        return;
    }
    node->receive.state = NODE_RECEIVE_INSTALLS;
    node_install_begin(node);
}

static void on_added(struct snapshot_add *add)
{
    struct node *node = add->owner;
    struct node_receive *r = &node->receive;
    r->is_adding = false;
    block_unref(r->chunks[0].block);
    r->chunk_count--;
    memmove(&r->chunks[0], &r->chunks[1], r->chunk_count * sizeof r->chunks[0]);
    if (r->ends || node->has_failed || node->is_closing) {
        sink_end(node, node->has_failed || node->is_closing);
        return;
    }
    if (add->err != SNAPSHOT_OK) {
        receive_fail(node, snapshot_strerror(add->err));
        return;
    }
    r->heard_ms = io_now_ms(node->io);
    answer_current(node, PEER_SNAPSHOT_OK);
    if (add->complete)
        on_complete(node);
    else
        receive_pump(node);
}

static void receive_pump(struct node *node)
{
    struct node_receive *r = &node->receive;
    if (r->state != NODE_RECEIVE_TAKES || r->is_adding || r->chunk_count == 0)
        return;
    r->is_adding = true;
    r->add = (struct snapshot_add){
        .chunk = r->chunks[0].bytes,
        .done = on_added,
        .owner = node,
    };
    snapshot_sink_add(r->sink, &r->add);
}

static void take(struct node *node, const struct peer_snapshot_chunk *chunk)
{
    struct node_receive *r = &node->receive;
    r->heard_ms = io_now_ms(node->io);
    if (chunk->seq < r->next_seq) {
        answer_current(node, PEER_SNAPSHOT_OK); /* again: its answer was lost */
        return;
    }
    if (chunk->seq > r->next_seq) {
        answer(node, r->member, r->id, r->next_seq, PEER_SNAPSHOT_RESUME_AT);
        return;
    }
    if (r->chunk_count == NODE_SNAPSHOT_WINDOW || !chunk->block)
        return; /* it comes again */
    r->chunks[r->chunk_count++] = (struct node_chunk){ block_ref(chunk->block), chunk->bytes };
    r->next_seq++;
    receive_pump(node);
}

/* ---- which one ---- */

static void receive_begin(struct node *node, uint64_t member,
                          const struct peer_snapshot_chunk *chunk)
{
    struct node_receive *r = &node->receive;
    struct snapshot_sink_options options = {
        .io = node->io,
        .data_dir = node->store_parent,
        .id = chunk->snapshot_id,
        .cluster_id = node->identity.cluster_id,
        .map_bytes = node->options.map_bytes,
        .dirty_bytes_max = node->options.store_dirty_bytes_max,
        .batch_bytes = node->options.memtable_bytes_max,
    };
    *r = (struct node_receive){
        .member = member,
        .id = chunk->snapshot_id,
        .term = chunk->term,
        .pos = chunk->pos,
    };
    if (snapshot_sink_open(&r->sink, &options) != SNAPSHOT_OK) {
        answer(node, member, chunk->snapshot_id, 0, PEER_SNAPSHOT_BUSY);
        return;
    }
    r->state = NODE_RECEIVE_TAKES;
    IGNORE(!io_timer_set(node->io, &node->receive_timer, io_now_ms(node->io) + GIVE_UP_MS),
           "it stays until the next one comes");
    LOG_INFOF("receiving a snapshot", log_id("member", member),
              log_number("index", chunk->pos.index));
    take(node, chunk);
}

/* The log has the position, so it has all before it, too (Raft §5.3), or it is committed here. */
bool node_receive_is_needless(const struct node *node, struct raft_pos pos)
{
    return pos.index <= raft_commit_index(node->raft) ||
           raft_term_at(node->raft, pos.index) == pos.term;
}

static void on_other(struct node *node, uint64_t member, const struct peer_snapshot_chunk *chunk)
{
    struct node_receive *r = &node->receive;
    bool is_idle = r->state == NODE_RECEIVE_NONE;
    if (is_idle && chunk->seq == 0) {
        receive_begin(node, member, chunk);
    } else if (is_idle) {
        answer(node, member, chunk->snapshot_id, 0, PEER_SNAPSHOT_FAILED); /* its start is lost */
    } else if (r->state == NODE_RECEIVE_TAKES &&
               (chunk->term > r->term || io_now_ms(node->io) - r->heard_ms >= SILENT_MS)) {
        receive_drop(node, "another one takes its place"); /* the next try begins that */
    } else if (r->state == NODE_RECEIVE_TAKES) {
        answer(node, member, chunk->snapshot_id, 0, PEER_SNAPSHOT_BUSY);
    }
}

void node_receive_on_chunk(void *owner, uint64_t member, const struct peer_snapshot_chunk *chunk)
{
    struct node *node = owner;
    if (node->has_failed || node->is_leaving || !node->has_voice ||
        chunk->term != node->status.term)
        return; /* also from a leader that no heartbeat has shown yet: it comes again */
    if (node->status.role == RAFT_LEADER)
        return;
    if (node->status.leader != 0 && node->status.leader != member)
        return; /* a term has one leader, and only that one sends its state */
    const struct node_receive *r = &node->receive;
    bool is_current = r->state != NODE_RECEIVE_NONE && r->id == chunk->snapshot_id &&
                      r->member == member && r->pos.index == chunk->pos.index;
    if (is_current && r->state == NODE_RECEIVE_TAKES && !r->ends)
        take(node, chunk);
    else if (is_current)
        return; /* on its way into place, or out */
    else if (node_receive_is_needless(node, chunk->pos))
        answer(node, member, chunk->snapshot_id, 0, PEER_SNAPSHOT_INSTALLED);
    else
        on_other(node, member, chunk);
}

void node_on_receive_timer(void *owner)
{
    struct node *node = owner;
    struct node_receive *r = &node->receive;
    if (r->state != NODE_RECEIVE_TAKES)
        return;
    if (io_now_ms(node->io) - r->heard_ms >= GIVE_UP_MS) {
        receive_drop(node, "its sender is silent");
        return;
    }
    IGNORE(!io_timer_set(node->io, &node->receive_timer, r->heard_ms + GIVE_UP_MS),
           "it stays until the next one comes");
}

bool node_receive_is_running(const struct node *node)
{
    return node->receive.is_adding || node->receive.state == NODE_RECEIVE_ENDS;
}
