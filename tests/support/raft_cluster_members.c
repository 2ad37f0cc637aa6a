/* Configurations of the cluster: made, proposed, and judged without the core's own rules. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_cluster_net.h"

enum { CONFIG_BYTES = 8 + sizeof(struct raft_config) };

/* ---- made ---- */

static unsigned roles_of_letter(char letter)
{
    switch (letter) {
    case 'L':
        return RAFT_LEARNER;
    case 'O':
        return RAFT_VOTER_OUTGOING;
    case 'B':
        return RAFT_VOTER | RAFT_VOTER_OUTGOING;
    case 'D':
        return RAFT_VOTER_OUTGOING | RAFT_LEARNER;
    default:
        return RAFT_VOTER;
    }
}

/* From roles by position, id - 1. */
static struct raft_config config_of_roles(const unsigned roles[CLUSTER_NODES_MAX])
{
    struct raft_config config = { 0 };
    for (uint32_t i = 0; i < CLUSTER_NODES_MAX; i++)
        if (roles[i] != 0)
            config.members[config.member_count++] =
                (struct raft_member){ .id = i + 1, .roles = roles[i] };
    return config;
}

static void roles_of_config(const struct raft_config *config, unsigned roles[CLUSTER_NODES_MAX])
{
    memset(roles, 0, CLUSTER_NODES_MAX * sizeof roles[0]);
    for (uint32_t i = 0; i < config->member_count; i++)
        roles[config->members[i].id - 1] = config->members[i].roles;
}

struct raft_config cluster_config(const char *text)
{
    unsigned roles[CLUSTER_NODES_MAX] = { 0 };
    char letter = ' ';
    for (; *text; text++) {
        if (*text < '1' || *text > '9')
            letter = *text;
        else
            roles[*text - '1'] = roles_of_letter(letter);
    }
    return config_of_roles(roles);
}

struct raft_config cluster_config_towards(const struct raft_config *present,
                                          const struct raft_config *to)
{
    unsigned old[CLUSTER_NODES_MAX];
    unsigned roles[CLUSTER_NODES_MAX];
    uint32_t differ = 0;
    roles_of_config(present, old);
    roles_of_config(to, roles);
    for (uint32_t i = 0; i < CLUSTER_NODES_MAX; i++)
        differ += (old[i] & RAFT_VOTER) != (roles[i] & RAFT_VOTER);
    for (uint32_t i = 0; i < CLUSTER_NODES_MAX; i++)
        if (differ > 1 && (old[i] & RAFT_VOTER))
            roles[i] |= RAFT_VOTER_OUTGOING;
    return config_of_roles(roles);
}

/* ---- in the log ---- */

struct raft_config cluster_config_of_entry(const struct raft_entry *entry)
{
    struct raft_config config;
    ASSERT(entry->type == RAFT_ENTRY_CONFIG && entry->bytes.size == CONFIG_BYTES);
    memcpy(&config, entry->bytes.data + 8, sizeof config);
    return config;
}

static struct raft_config initial_config(const struct cluster *c)
{
    struct raft_config config = { .member_count = c->options.node_count - c->options.spare_count };
    for (uint32_t i = 0; i < config.member_count; i++) {
        bool is_learner = i >= config.member_count - c->options.learner_count;
        config.members[i] =
            (struct raft_member){ .id = i + 1, .roles = is_learner ? RAFT_LEARNER : RAFT_VOTER };
    }
    return config;
}

struct raft_config_at cluster_config_at(const struct cluster *c, const struct raft_entry *log,
                                        uint64_t index)
{
    while (index > 0 && log[index].type != RAFT_ENTRY_CONFIG)
        index--;
    if (index == 0)
        return (struct raft_config_at){ .config = initial_config(c) };
    return (struct raft_config_at){ index, cluster_config_of_entry(&log[index]) };
}

enum raft_err cluster_propose_config(struct cluster *c, uint64_t id,
                                     const struct raft_config *config)
{
    struct cluster_node *n = cluster_node(c, id);
    if (n->noop_due)
        return RAFT_E_FULL;
    struct raft_entry e =
        cluster_entry_new(raft_next_pos(n->raft), RAFT_ENTRY_CONFIG, ++c->value_last, CONFIG_BYTES);
    memcpy(e.block->data + 8, config, sizeof *config);
    struct raft_config_at at = { .index = e.pos.index, .config = *config };
    struct raft_event event = { .type = RAFT_EV_PROPOSE, .propose = { &e, 1, &at, 1 } };
    enum raft_err err = cluster_feed(c, id, event);
    n->config_count += err == RAFT_OK;
    block_unref(e.block);
    return err;
}

/* ---- judged ---- */

static bool is_majority(const struct raft_config *config, unsigned half, unsigned nodes)
{
    uint32_t all = 0;
    uint32_t have = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (!(config->members[i].roles & half))
            continue;
        all++;
        have += nodes >> (config->members[i].id - 1) & 1;
    }
    return all == 0 || have > all / 2;
}

bool cluster_is_quorum(const struct raft_config *config, unsigned nodes)
{
    return is_majority(config, RAFT_VOTER, nodes) &&
           is_majority(config, RAFT_VOTER_OUTGOING, nodes);
}

/* What makes a change safe, whatever rule lets it through: no quorum of the one misses every quorum
 * of the other. */
static bool do_quorums_meet(const struct raft_config *a, const struct raft_config *b)
{
    enum { ALL = (1 << CLUSTER_NODES_MAX) - 1 };
    for (unsigned nodes = 0; nodes <= ALL; nodes++)
        if (cluster_is_quorum(a, nodes) && cluster_is_quorum(b, ALL & ~nodes))
            return false;
    return true;
}

static struct raft_config_at newest_in_memory(const struct raft *r)
{
    for (uint64_t i = raft_last_pos(r).index; raft_entry_at(r, i); i--)
        if (raft_entry_at(r, i)->type == RAFT_ENTRY_CONFIG)
            return (struct raft_config_at){ i, cluster_config_of_entry(raft_entry_at(r, i)) };
    return (struct raft_config_at){ 0 };
}

static bool are_equal(const struct raft_config *a, const struct raft_config *b)
{
    return a->member_count == b->member_count &&
           memcmp(a->members, b->members, a->member_count * sizeof a->members[0]) == 0;
}

/* A leader appends one only after it has committed an entry of its own term (Ongaro's rule). */
static bool is_too_early(const struct raft *r, uint64_t index)
{
    struct raft_status status = raft_status(r);
    uint64_t commit = raft_commit_index(r);
    return status.role == RAFT_LEADER && index > commit && raft_term_at(r, index) == status.term &&
           raft_term_at(r, commit) != status.term;
}

/* The configuration in force is that of the log's newest entry of that type, and its quorums meet
 * those of the one before. */
void cluster_check_config(struct cluster *c, struct cluster_node *n)
{
    struct raft_config_at in_force = raft_config_in_force(n->raft);
    struct raft_config_at newest = newest_in_memory(n->raft);
    struct raft_config_at committed = raft_config_committed(n->raft);
    if (newest.index != 0 &&
        (newest.index < in_force.index || !are_equal(&newest.config, &in_force.config)))
        cluster_fail(c, n, "goes by another configuration than its log says");
    if (newest.index != 0 && in_force.index != 0 && newest.index != in_force.index)
        cluster_fail(c, n, "goes by a configuration at another index than its log says");
    if (is_too_early(n->raft, in_force.index))
        cluster_fail(c, n, "changes the members before it has committed anything");
    if (!do_quorums_meet(&committed.config, &in_force.config))
        cluster_fail(c, n, "goes by a configuration whose quorums miss those of the committed one");
}
