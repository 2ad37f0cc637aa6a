/* From requests to proposals: on the leader all of a turn become one batch of entries, in one
 * block; on a follower each goes to the leader, with the term in which it may be taken.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "proto/pb_arena.h"
#include "server/check.h"
#include "server/node_internal.h"

enum {
    FORWARDED_BYTES_MAX = 64 << 20, /* while a journal write is under way */
    CONFIG_BYTES_MAX = 1 << 20,
    CHECK_BYTES_MAX = 256 << 20, /* as much as the largest command may take at its first member */
};

/* One batch under construction: first sizes, then bytes. */
struct node_batch {
    struct raft_entry entries[NODE_BATCH_ENTRIES_MAX];
    struct entry_header headers[NODE_BATCH_ENTRIES_MAX];
    struct slice payloads[NODE_BATCH_ENTRIES_MAX];
    uint32_t count;
    uint32_t count_max;
    size_t bytes;
    struct raft_pos first; /* where Raft will put them */
    uint64_t wall_ms;
    struct raft_config_at config; /* of the one entry, if that is a configuration */
};

bool node_propose_open(struct node *node)
{
    arena_init(&node->check, CHECK_BYTES_MAX);
    node->batch = malloc(sizeof *node->batch);
    node->noop_batch = malloc(sizeof *node->noop_batch);
    return node->batch && node->noop_batch;
}

/* Empty. What its entries say of position and time is known now: their sizes depend on it. */
static struct node_batch *batch_begin(struct node *node, struct node_batch *b)
{
    b->count = 0;
    b->count_max = NODE_BATCH_ENTRIES_MAX;
    b->bytes = 0;
    b->first = raft_next_pos(node->raft);
    b->wall_ms = node->io->ops->wall_ms(node->io);
    return b;
}

/* False: there is no room, which there always is for the first. */
static bool batch_add(struct node_batch *b, struct entry_header header, struct slice payload)
{
    if (b->count == b->count_max)
        return false;
    header.pos = (struct raft_pos){ b->first.term, b->first.index + b->count };
    header.wall_ms = b->wall_ms;
    header.payload_bytes = (uint32_t)payload.size;
    size_t bytes = entry_size_bytes(&header);
    if (b->count > 0 && b->bytes + bytes > NODE_BATCH_BYTES_MAX)
        return false;
    b->bytes += bytes;
    b->headers[b->count] = header;
    b->payloads[b->count] = payload;
    b->count++;
    return true;
}

/* Encodes all entries into one block. */
static struct block *batch_encode(struct node *node, struct node_batch *b)
{
    ASSERT(raft_next_pos(node->raft).index == b->first.index);
    ASSERT(raft_next_pos(node->raft).term == b->first.term);
    struct block *block = block_new(b->bytes);
    if (!block)
        return NULL;
    uint8_t *at = block->data;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct entry_header *header = &b->headers[i];
        struct slice payload = b->payloads[i];
        size_t offset = entry_payload_offset(header);
        if (payload.size > 0)
            memcpy(at + offset, payload.data, payload.size);
        entry_seal(at, header);
        size_t size = offset + payload.size;
        b->entries[i] = (struct raft_entry){ header->pos, header->type, slice_of(at, size), block };
        at += size;
    }
    ASSERT(at == block->data + b->bytes);
    return block;
}

/* False: Raft has no room now, nothing was proposed. */
static bool batch_propose(struct node *node, struct node_batch *b)
{
    struct block *block = batch_encode(node, b);
    if (!block)
        return false;
    struct raft_event event = {
        .type = RAFT_EV_PROPOSE,
        .propose = { .entries = b->entries, .entry_count = b->count },
    };
    if (b->headers[0].type == RAFT_ENTRY_CONFIG) {
        b->config.index = b->entries[0].pos.index;
        event.propose.configs = &b->config;
        event.propose.config_count = 1;
    }
    bool accepted = node_step(node, &event);
    block_unref(block);
    return accepted;
}

void node_propose_noop(struct node *node)
{
    struct node_batch *b = batch_begin(node, node->noop_batch);
    bool is_added =
        batch_add(b, (struct entry_header){ .type = RAFT_ENTRY_NOOP }, (struct slice){ 0 });
    ASSERT(is_added);
    if (batch_propose(node, b)) {
        node->noop_term = node->status.term;
        node_news_await(node, raft_last_pos(node->raft).index);
    }
}

bool node_propose_config(struct node *node, const struct membership *next)
{
    struct node_batch *b = batch_begin(node, node->batch);
    struct arena encoded;
    struct slice payload;
    arena_init(&encoded, CONFIG_BYTES_MAX);
    bool is_proposed = false;
    if (membership_encode(next, &encoded, &payload)) {
        b->config.config = membership_to_raft_config(next);
        bool is_added = batch_add(b, (struct entry_header){ .type = RAFT_ENTRY_CONFIG }, payload);
        ASSERT(is_added);
        is_proposed = batch_propose(node, b);
        if (is_proposed)
            node_news_await(node, raft_last_pos(node->raft).index);
    }
    arena_done(&encoded);
    return is_proposed;
}

/* ---- on the leader ---- */

static void forwarded_free(struct node *node, struct node_forwarded *f)
{
    list_remove(&f->link);
    node->forwarded_bytes -= f->user_bytes + f->command_bytes;
    free(f);
}

void node_propose_done(struct node *node)
{
    while (!list_is_empty(&node->forwarded))
        forwarded_free(node, LIST_ENTRY(node->forwarded.next, struct node_forwarded, link));
    arena_done(&node->check);
    free(node->batch);
    free(node->noop_batch);
}

static void forwarded_refuse(struct node *node, struct node_forwarded *f, enum peer_refusal why)
{
    struct peer_forward_refused refused = { f->request_id, f->term, why };
    node->counters.forwards_refused++;
    peer_net_send_forward_refused(node->peers, f->member, &refused);
    forwarded_free(node, f);
}

static void forwarded_refuse_all(struct node *node, enum peer_refusal why)
{
    while (!list_is_empty(&node->forwarded))
        forwarded_refuse(node, LIST_ENTRY(node->forwarded.next, struct node_forwarded, link), why);
}

/* The term may have moved on since they came: 1. a member forwards in term 5; 2. we lose the lead
 * and win it again in term 7, all in one turn; 3. the member sees term 7 applied and forwards
 * again. Taken in 7 both would be applied. */
static void refuse_other_terms(struct node *node)
{
    for (struct list *at = node->forwarded.next; at != &node->forwarded;) {
        struct node_forwarded *f = LIST_ENTRY(at, struct node_forwarded, link);
        at = at->next;
        if (f->term != node->status.term)
            forwarded_refuse(node, f, PEER_REFUSED_NOT_LEADER);
    }
}

/* In the log it could stop every member, so it is looked at here as at its first member (I9). */
static bool command_is_sound(struct node *node, struct slice bytes)
{
    arena_reset(&node->check);
    const Holdfastpb__Command *command = (const Holdfastpb__Command *)pb_arena_unpack_within(
        &node->check, &holdfastpb__command__descriptor, bytes, PB_DEPTH_MAX + 1);
    return command && check_command(command, &node->check) == ETCD_OK;
}

void node_on_forward(void *owner, uint64_t member, const struct peer_forward *forward)
{
    struct node *node = owner;
    bool leads = node->status.role == RAFT_LEADER && forward->term == node->status.term;
    size_t bytes = forward->user.size + forward->command.size;
    struct node_forwarded *f = NULL;
    bool has_room = node->forwarded_bytes + bytes <= FORWARDED_BYTES_MAX &&
                    forward->command.size <= node->options.request_bytes_max + 1024u;
    if (leads && has_room && command_is_sound(node, forward->command))
        f = malloc(sizeof *f + bytes);
    if (!f) {
        struct peer_forward_refused refused = {
            .request_id = forward->request_id,
            .term = forward->term,
            .why = leads ? PEER_REFUSED_BUSY : PEER_REFUSED_NOT_LEADER,
        };
        node->counters.forwards_refused++;
        peer_net_send_forward_refused(node->peers, member, &refused);
        return;
    }
    *f = (struct node_forwarded){
        .member = member,
        .request_id = forward->request_id,
        .term = forward->term,
        .auth_revision = forward->auth_revision,
        .user_bytes = forward->user.size,
        .command_bytes = forward->command.size,
    };
    if (forward->user.size > 0)
        memcpy(f->bytes, forward->user.data, forward->user.size);
    if (forward->command.size > 0)
        memcpy(f->bytes + forward->user.size, forward->command.data, forward->command.size);
    list_init(&f->link);
    list_push_back(&node->forwarded, &f->link);
    node->forwarded_bytes += bytes;
}

static void gather_forwarded(struct node *node, struct node_batch *b)
{
    for (struct list *at = node->forwarded.next; at != &node->forwarded; at = at->next) {
        struct node_forwarded *f = LIST_ENTRY(at, struct node_forwarded, link);
        struct entry_header header = {
            .type = RAFT_ENTRY_COMMAND,
            .request_id = f->request_id,
            .auth_revision = f->auth_revision,
            .user = slice_of(f->bytes, f->user_bytes),
        };
        if (!batch_add(b, header, slice_of(f->bytes + f->user_bytes, f->command_bytes)))
            return;
    }
}

static void gather_queued(struct node *node, struct node_batch *b)
{
    for (struct list *at = node->requests.queued.next; at != &node->requests.queued;
         at = at->next) {
        struct request *request = LIST_ENTRY(at, struct request, link);
        struct entry_header header = { .type = RAFT_ENTRY_COMMAND, .request_id = request->id };
        if (!batch_add(b, header, request->command))
            return;
    }
}

/* What is in the log now: off the lists it came from. */
static void batch_was_taken(struct node *node, uint32_t forwarded, uint32_t queued, uint64_t term)
{
    for (uint32_t i = 0; i < forwarded; i++)
        forwarded_free(node, LIST_ENTRY(node->forwarded.next, struct node_forwarded, link));
    for (uint32_t i = 0; i < queued; i++)
        requests_sent(&node->requests, requests_queued(&node->requests), term);
}

/* Memory ahead of the flush is full: proposals wait, applying never does. */
static bool admits_proposals(const struct node *node)
{
    return kv_memtable_bytes(node->kv) < 3 * node->options.memtable_bytes_max;
}

/* One journal write, one batch, one append to each follower: while a write is under way what comes
 * in gathers. Sent at once it would not be applied earlier, since that takes its own write here,
 * which cannot begin before; but every few entries would be a message, a write and an answer of
 * their own. */
static void propose_as_leader(struct node *node)
{
    struct node_batch *b = node->batch;
    refuse_other_terms(node);
    if (node->persist.is_writing)
        return;
    while (node->status.role == RAFT_LEADER && admits_proposals(node)) {
        uint64_t room = node_flush_room(node);
        if (room == 0) {
            node_want_turn_soon(node);
            return;
        }
        batch_begin(node, b);
        if (room < b->count_max)
            b->count_max = (uint32_t)room;
        gather_forwarded(node, b);
        uint32_t forwarded = b->count;
        gather_queued(node, b);
        uint64_t term = node->status.term;
        if (b->count == 0)
            return;
        /* The lists change only after the step: its effects must not find half of them gone. */
        uint32_t count = b->count;
        if (!batch_propose(node, b))
            break;
        if (forwarded > 0)
            node_news_await(node, raft_last_pos(node->raft).index);
        batch_was_taken(node, forwarded, count - forwarded, term);
    }
    forwarded_refuse_all(node, node->status.role == RAFT_LEADER ? PEER_REFUSED_BUSY
                                                                : PEER_REFUSED_NOT_LEADER);
}

/* ---- after a lost link ---- */

void node_on_forward_query(void *owner, uint64_t member, const struct peer_forward_query *query)
{
    struct node *node = owner;
    uint32_t i = 0;
    while (i < node->forward_query_count && node->forward_queries[i].member != member)
        i++;
    if (i == NODE_LINKS_MAX)
        return; /* its requests wait for their time-out */
    if (i == node->forward_query_count)
        node->forward_query_count++;
    node->forward_queries[i] = (struct node_forward_query){ member, *query };
}

/* When all that was forwarded so far is in the log, or refused. */
static void answer_queries(struct node *node)
{
    if (!list_is_empty(&node->forwarded))
        return;
    for (uint32_t i = 0; i < node->forward_query_count; i++) {
        const struct node_forward_query *q = &node->forward_queries[i];
        struct peer_forward_reach reach = { q->query.term, q->query.context,
                                            raft_last_pos(node->raft).index };
        if (node->status.role == RAFT_LEADER && node->status.term == q->query.term)
            peer_net_send_forward_reach(node->peers, q->member, &reach);
    }
    node->forward_query_count = 0;
}

void node_on_forward_reach(void *owner, uint64_t member, const struct peer_forward_reach *reach)
{
    struct node *node = owner;
    (void)member; /* in one term one member leads, and answers */
    requests_on_reach(&node->requests, reach->term, reach->context, reach->last_index);
}

/* ---- on a follower ---- */

/* Whoever says so, and why, does not matter: in one term one member leads. */
void node_on_forward_refused(void *owner, uint64_t member,
                             const struct peer_forward_refused *refused)
{
    struct node *node = owner;
    (void)member;
    requests_on_refused(&node->requests, refused->request_id, refused->term);
    node->forward_not_before_ms = io_now_ms(node->io) + NODE_FORWARD_RETRY_MS;
}

static void forward_to_leader(struct node *node)
{
    if (!peer_net_is_up(node->peers, node->status.leader))
        return;
    if (node->forward_query_is_due) {
        struct peer_forward_query query = { node->status.term, node->requests.losses };
        peer_net_send_forward_query(node->peers, node->status.leader, &query);
        node->forward_query_is_due = false;
    }
    if (io_now_ms(node->io) < node->forward_not_before_ms) {
        /* Each turn anew: who wants the next turn at once takes the timer for that. */
        if (requests_queued(&node->requests))
            IGNORE(!io_timer_set(node->io, &node->turn_timer, node->forward_not_before_ms),
                   "without the timer the next event begins the turn");
        return;
    }
    struct request *request;
    while ((request = requests_queued(&node->requests)) != NULL) {
        struct peer_forward forward = {
            .request_id = request->id,
            .term = node->status.term,
            .command = request->command,
        };
        if (!peer_net_send_forward(node->peers, node->status.leader, &forward))
            return;
        requests_sent(&node->requests, request, node->status.term);
    }
}

static void lead_proposals(struct node *node)
{
    /* There was no room for it when the term began: nothing else may come first. */
    if (node->noop_term != node->status.term)
        node_propose_noop(node);
    if (node->noop_term != node->status.term)
        return;
    if (node_change_holds(node))
        forwarded_refuse_all(node, PEER_REFUSED_BUSY);
    else
        propose_as_leader(node);
    answer_queries(node);
}

void node_propose_gathered(struct node *node)
{
    requests_on_applied(&node->requests, machine_state(node->machine)->applied.index);
    if (node->status.role == RAFT_LEADER) {
        lead_proposals(node);
        return;
    }
    node->forward_query_count = 0;
    if (!list_is_empty(&node->forwarded))
        forwarded_refuse_all(node, PEER_REFUSED_NOT_LEADER);
    if (node->status.leader != 0)
        forward_to_leader(node);
}
