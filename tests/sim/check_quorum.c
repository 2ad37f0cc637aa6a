/* Whose word counts, seen from outside: what is applied anywhere was durable at a majority of the
 * voters while they were whole, and a leader was voted for by one. A member that awaits its repair
 * (I7) promises nothing.
 *
 * A promise stays one: what a member held and then lost by damage may have been counted before.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "raft/raft_internal.h"
#include "tests/sim/check_internal.h"

static struct check_member *member_of(struct sim_check *check, uint64_t id)
{
    for (uint32_t i = 0; i < check->member_count; i++) {
        if (check->members[i].id == id)
            return &check->members[i];
    }
    return NULL;
}

static struct check_member *member_add(struct sim_check *check, uint64_t id)
{
    struct check_member *known = member_of(check, id);
    if (known)
        return known;
    ASSERT(check->member_count < CHECK_MEMBERS_MAX);
    struct check_member *m = &check->members[check->member_count++];
    *m = (struct check_member){ .id = id };
    return m;
}

void check_config_learn(struct sim_check *check, const struct raft_config *config)
{
    check->config = *config;
    for (uint32_t i = 0; i < config->member_count; i++)
        member_add(check, config->members[i].id);
}

void check_quorum_done(struct sim_check *check)
{
    for (uint32_t i = 0; i < check->member_count; i++)
        free(check->members[i].terms);
}

const struct raft_config *sim_check_config(const struct sim *sim)
{
    return &sim->check->config;
}

static bool is_in(const struct raft_config *config, uint64_t id)
{
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (config->members[i].id == id)
            return true;
    }
    return false;
}

bool sim_check_is_member(const struct sim *sim, uint64_t id)
{
    return is_in(&sim->check->config, id);
}

/* Seen by a process that the world knows by its id alone, too. */
static bool was_member(const struct sim_check *check, uint64_t id)
{
    for (uint32_t i = 0; i < check->member_count; i++) {
        if (check->members[i].id == id)
            return true;
    }
    return false;
}

bool sim_check_was_removed(const struct sim *sim, uint64_t id)
{
    return was_member(sim->check, id) && !is_in(&sim->check->config, id);
}

/* ---- majorities ---- */

typedef bool promised_fn(const struct check_member *m, uint64_t a, uint64_t b);

static bool half_has(struct sim_check *check, const struct raft_config *config, unsigned role,
                     promised_fn *promised, uint64_t a, uint64_t b)
{
    uint32_t voters = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (!(config->members[i].roles & role))
            continue;
        const struct check_member *m = member_of(check, config->members[i].id);
        voters++;
        count += m && promised(m, a, b);
    }
    return voters == 0 || count > voters / 2;
}

static bool majority_has(struct sim_check *check, const struct raft_config *config,
                         promised_fn *promised, uint64_t a, uint64_t b)
{
    return half_has(check, config, RAFT_VOTER, promised, a, b) &&
           half_has(check, config, RAFT_VOTER_OUTGOING, promised, a, b);
}

static bool has_held(const struct check_member *m, uint64_t index, uint64_t term)
{
    return index <= m->base || (index <= m->terms_capacity && m->terms[index - 1] == term);
}

static bool has_voted(const struct check_member *m, uint64_t term, uint64_t vote)
{
    for (uint32_t i = 0; i < CHECK_VOTES; i++) {
        if (m->votes[i].term == term && m->votes[i].vote == vote)
            return true;
    }
    return false;
}

/* By the members that are committed, or by those that some leader may have gone by already. */
void check_commit(struct sim_host *h, uint64_t index, uint64_t term)
{
    struct sim *sim = h->sim;
    struct sim_check *check = sim->check;
    if (check->config.member_count == 0 ||
        majority_has(check, &check->config, has_held, index, term))
        return;
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        const struct node *node = sim_host_node(&sim->hosts[i]);
        if (!node || node->closing_parts > 0)
            continue;
        struct raft_config config = raft_config_in_force(node->raft).config;
        if (config.member_count > 0 && majority_has(check, &config, has_held, index, term))
            return;
    }
    sim_fail(sim,
             "%s applies %" PRIu64 " of term %" PRIu64
             ", which no majority of whole voters has held durably",
             h->name, index, term);
}

void check_election(struct sim_host *h, const struct node *node)
{
    uint64_t term = node->status.term;
    struct raft_config config = raft_config_in_force(node->raft).config;
    if (raft_awaits_repair(node->raft))
        sim_fail(h->sim, "%s leads term %" PRIu64 " and awaits its repair", h->name, term);
    else if (!majority_has(h->sim->check, &config, has_voted, term, node->identity.member_id))
        sim_fail(h->sim, "%s leads term %" PRIu64 " without a majority's votes", h->name, term);
}

/* ---- what a member promises ---- */

static void note_vote(struct sim_host *h, struct check_member *m, const struct raft *r,
                      bool is_first)
{
    if (r->vote == 0 || has_voted(m, r->term, r->vote))
        return;
    if (r->awaits_repair && !is_first)
        sim_fail(h->sim, "%s votes in term %" PRIu64 " and awaits its repair", h->name, r->term);
    m->votes[m->vote_count % CHECK_VOTES].term = r->term;
    m->votes[m->vote_count++ % CHECK_VOTES].vote = r->vote;
}

static void room_for(struct check_member *m, uint64_t index)
{
    if (index <= m->terms_capacity)
        return;
    uint64_t capacity = m->terms_capacity ? m->terms_capacity : 1024;
    while (capacity < index)
        capacity *= 2;
    m->terms = realloc(m->terms, capacity * sizeof *m->terms);
    ASSERT(m->terms);
    memset(m->terms + m->terms_capacity, 0, (capacity - m->terms_capacity) * sizeof *m->terms);
    m->terms_capacity = capacity;
}

void check_promises(struct sim_host *h, struct node *node, bool is_first)
{
    const struct raft *r = node->raft;
    struct check_member *m = member_add(h->sim->check, node->identity.member_id);
    note_vote(h, m, r, is_first);
    if (is_first)
        m->up_to = r->log.start.index;
    if (r->awaits_repair)
        return;
    if (m->base < r->log.start.index)
        m->base = r->log.start.index;
    uint64_t durable = r->log.durable;
    if (m->up_to > durable)
        m->up_to = durable;
    room_for(m, durable);
    for (uint64_t i = m->up_to + 1; i <= durable; i++)
        m->terms[i - 1] = raft_term_at(r, i);
    m->up_to = durable;
}
