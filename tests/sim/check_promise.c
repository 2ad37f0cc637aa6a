#include "tests/sim/check_promise.h"

#include <inttypes.h>

#include "raft/raft_internal.h"
#include "server/node_internal.h"
#include "tests/sim/host.h"

/* ---- what it tells ---- */

static bool has_told_vote(const struct raft *r)
{
    if (r->vote == r->options.id)
        return r->has_asked;
    return r->vote != 0 && r->pending_vote == 0;
}

/* 0: nothing, in this term. */
static uint64_t told_match(const struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return r->answered;
    const struct raft_progress *self = raft_member(r, r->options.id);
    return self ? self->match : 0;
}

static void note_vote(struct sim_promise *promise, struct sim_host *h, const struct raft *r)
{
    if (!has_told_vote(r))
        return;
    if (r->hard_seq > r->seq_durable)
        sim_fail(h->sim, "promises: %s tells its vote in term %" PRIu64 " before it is durable",
                 h->name, r->term);
    promise->term = r->term;
    promise->vote = r->vote;
}

static void note_match(struct sim_promise *promise, struct sim_host *h, const struct raft *r)
{
    uint64_t term;
    if (promise->acked.index > 0 && promise->acked.index >= r->log.start.index &&
        (!raft_log_term(&r->log, promise->acked.index, &term) || term != promise->acked.term))
        promise->acked = (struct raft_pos){ 0 }; /* a later leader had something else there */
    uint64_t match = told_match(r);
    if (match > r->log.durable)
        sim_fail(h->sim, "promises: %s acknowledges %" PRIu64 ", and %" PRIu64 " is durable",
                 h->name, match, r->log.durable);
    if (match > promise->acked.index && raft_log_term(&r->log, match, &term))
        promise->acked = (struct raft_pos){ .term = term, .index = match };
}

void sim_promise_turn(struct sim_promise *promise, struct sim_host *h, const struct node *node)
{
    const struct raft *r = node->raft;
    if (node->has_failed || !r->has_voice)
        return;
    promise->member = r->options.id;
    note_vote(promise, h, r);
    if (!r->awaits_repair)
        note_match(promise, h, r);
}

/* ---- what it still knows ---- */

void sim_promise_on_start(struct sim_promise *promise, struct sim_host *h, const struct node *node)
{
    const struct raft *r = node->raft;
    if (promise->member != r->options.id) {
        *promise = (struct sim_promise){ 0 };
        return;
    }
    if (!node->formation.durable.formed)
        return; /* a blank disk: it has no say, whatever it has lost */
    if (r->term < promise->term || (r->term == promise->term && r->vote != promise->vote))
        sim_fail(h->sim,
                 "promises: %s voted for %" PRIx64 " in term %" PRIu64 ", and starts with %" PRIx64
                 " in term %" PRIu64,
                 h->name, promise->vote, promise->term, r->vote, r->term);
    uint64_t index = promise->acked.index;
    uint64_t term;
    if (r->awaits_repair || index < r->log.start.index)
        promise->acked = (struct raft_pos){ 0 };
    else if (index > 0 && (!raft_log_term(&r->log, index, &term) || term != promise->acked.term))
        sim_fail(h->sim,
                 "promises: %s had acknowledged %" PRIu64 " of term %" PRIu64
                 ", and starts with a log up to %" PRIu64,
                 h->name, index, promise->acked.term, r->log.last.index);
}
