/* Configurations: the one in force, the one before it, and which may follow (Raft §6, thesis §4).
 *
 * A configuration is in force when its entry is in the log, not when that is committed or applied.
 * By applied ones two majorities could miss each other (etcd 7625):
 *   1. {1,2,3}: the leader, 1, adds 4: on 1, 2 and 4, so committed; then it adds 5: on 1, 4 and
 *      5, so committed
 *   2. 2 has the first entry and has not applied it; with 3 it is two of {1,2,3}, is elected, and
 *      commits with 3 what 1 with 4 and 5 knows nothing of
 *   3. but its log says {1,2,3,4}, so it needs 1 or 4 too, and they refuse a log without 5's entry.
 *
 * An entry that is dropped takes its configuration with it, and the one before it is in force
 * again. One step back is all that ever happens, on leaders and followers alike:
 *   1. a log holds configuration entries at 5, 9 and 12
 *   2. whoever appended 9 had 5 committed (raft_config_check), and whoever appended 12 had 9
 *   3. so no leader to come lacks 5 or 9, and a message that would drop 9 is impossible.
 *
 * Four rules for a new one. The last was committed: else 3 is not so, and two changes by one member
 * may add up to two majorities apart. An entry of the leader's own term is committed (Ongaro,
 * raft-dev, July 2015):
 *   1. {1,2,3,4}; leader 1 appends {1,2,3,4,5} in term 1, on 1 and 5 alone
 *   2. 2 is elected by {2,3,4}, appends {2,3,4} in term 2, on 2 alone, and would commit it with 3
 *   3. 1 is elected in term 3 by {1,4,5} of its five, and commits its own with 1, 4 and 5: one of
 *      the two is lost. Had 2 first committed an entry of term 2, three of {1,2,3,4} would hold it:
 *      either 2, 3 and 4 refuse 1, or 1 has taken it, and dropped its {1,2,3,4,5} for it.
 * Either at most one voter differs, or it is a joint one whose old half are the present voters.
 * From a joint one the only way leads out of it. */
#include "raft/raft_internal.h"

/* ---- what a configuration is ---- */

bool raft_config_is_valid(const struct raft_config *config)
{
    if (config->member_count > RAFT_MEMBERS_MAX)
        return false;
    uint64_t before = 0;
    unsigned all_roles = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const struct raft_member *m = &config->members[i];
        unsigned known = RAFT_VOTER | RAFT_VOTER_OUTGOING | RAFT_LEARNER;
        if (m->id <= before || m->roles == 0 || (m->roles & ~known) != 0)
            return false;
        if ((m->roles & RAFT_VOTER) && (m->roles & RAFT_LEARNER))
            return false;
        before = m->id;
        all_roles |= m->roles;
    }
    return all_roles & RAFT_VOTER;
}

static unsigned roles_of(const struct raft_config *config, uint64_t id)
{
    for (uint32_t i = 0; i < config->member_count; i++)
        if (config->members[i].id == id)
            return config->members[i].roles;
    return 0;
}

bool raft_config_has_voter(const struct raft_config *config, uint64_t id)
{
    return roles_of(config, id) & (RAFT_VOTER | RAFT_VOTER_OUTGOING);
}

bool raft_config_is_joint(const struct raft_config *config)
{
    for (uint32_t i = 0; i < config->member_count; i++)
        if (config->members[i].roles & RAFT_VOTER_OUTGOING)
            return true;
    return false;
}

struct raft_config raft_config_left(const struct raft_config *joint)
{
    struct raft_config left = { 0 };
    for (uint32_t i = 0; i < joint->member_count; i++) {
        unsigned roles = joint->members[i].roles & ~(unsigned)RAFT_VOTER_OUTGOING;
        if (roles != 0)
            left.members[left.member_count++] = (struct raft_member){ joint->members[i].id, roles };
    }
    return left;
}

/* ---- which may follow ---- */

static bool are_equal(const struct raft_config *a, const struct raft_config *b)
{
    if (a->member_count != b->member_count)
        return false;
    for (uint32_t i = 0; i < a->member_count; i++)
        if (a->members[i].id != b->members[i].id || a->members[i].roles != b->members[i].roles)
            return false;
    return true;
}

/* How many members of a have this role there, and no such other role in b. */
static uint32_t count_only_in(const struct raft_config *a, unsigned role_a,
                              const struct raft_config *b, unsigned role_b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->member_count; i++)
        count += (a->members[i].roles & role_a) && !(roles_of(b, a->members[i].id) & role_b);
    return count;
}

enum raft_err raft_config_may_follow(const struct raft_config *present,
                                     const struct raft_config *next)
{
    if (!raft_config_is_valid(next))
        return RAFT_E_CONFIG;
    if (raft_config_is_joint(present)) {
        struct raft_config left = raft_config_left(present);
        return are_equal(next, &left) ? RAFT_OK : RAFT_E_CONFIG;
    }
    unsigned half = raft_config_is_joint(next) ? RAFT_VOTER_OUTGOING : RAFT_VOTER;
    uint32_t differ = count_only_in(present, RAFT_VOTER, next, half) +
                      count_only_in(next, half, present, RAFT_VOTER);
    return differ <= (half == RAFT_VOTER) ? RAFT_OK : RAFT_E_CONFIG;
}

/* A leader's, for a proposal. */
enum raft_err raft_config_check(const struct raft *r, const struct raft_config *next)
{
    if (r->config.index > r->log.commit || r->log.commit < r->term_first_index)
        return RAFT_E_CONFIG;
    return raft_config_may_follow(&r->config.config, next);
}

/* Whether each RAFT_ENTRY_CONFIG has its one, and nothing else has any. */
bool raft_configs_match(const struct raft_entry *entries, uint32_t entry_count,
                        const struct raft_config_at *configs, uint32_t config_count)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < entry_count; i++) {
        if (entries[i].type != RAFT_ENTRY_CONFIG)
            continue;
        if (found == config_count || configs[found].index != entries[i].pos.index)
            return false;
        found++;
    }
    return found == config_count;
}

/* ---- which is in force ---- */

static void put_in_force(struct raft *r)
{
    raft_members_install(r, &r->config.config);
    r->config_changed = true;
}

void raft_config_append(struct raft *r, const struct raft_config_at *config)
{
    ASSERT(config->index > r->config.index);
    r->config_before = r->config;
    r->config = *config;
    put_in_force(r);
}

/* The entries from `index` on are dropped. */
void raft_config_on_truncate(struct raft *r, uint64_t index)
{
    if (r->config.index < index)
        return;
    ASSERT(r->config_before.index < index);
    r->config = r->config_before;
    put_in_force(r);
}

/* The log begins anew after a snapshot; `kept` is what it still holds after that. */
void raft_config_on_snapshot(struct raft *r, const struct raft_config_at *config,
                             uint64_t pos_index, bool is_kept)
{
    if (!is_kept || r->config.index <= pos_index) {
        r->config = *config;
        r->config_before = *config;
    } else if (r->config_before.index <= pos_index) {
        r->config_before = *config;
    }
    put_in_force(r);
}

struct raft_config_at raft_config_in_force(const struct raft *r)
{
    return r->config;
}

struct raft_config_at raft_config_committed(const struct raft *r)
{
    return r->config.index <= r->log.commit ? r->config : r->config_before;
}

bool raft_is_leave_joint_due(const struct raft *r)
{
    return r->role == RAFT_LEADER && r->transferee == 0 && r->config.index <= r->log.commit &&
           r->log.commit >= r->term_first_index && raft_config_is_joint(&r->config.config);
}

/* A server that is no voter of its newest configuration may still be needed until that is
 * committed (thesis §4.2.2, figure 4.6):
 *   1. {1,2}; the leader, 2, appends {1}, and restarts before anybody else has it
 *   2. 1 goes by {1,2} and needs 2's vote; 2 refuses it, since its own log is longer
 *   3. so 2 has to campaign, under {1}: 1 elects it, commits {1}, and takes over.
 * Its own vote counts only where it is a voter. */
bool raft_is_voter(const struct raft *r)
{
    if (raft_config_has_voter(&r->config.config, r->options.id))
        return true;
    return r->config.index > r->log.commit &&
           raft_config_has_voter(&r->config_before.config, r->options.id);
}
