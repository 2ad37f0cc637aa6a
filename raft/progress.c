/* How far each member is, in a leader's eyes, and what is under way to it.
 *
 *   PROBE      --accepted-->           REPLICATE
 *   REPLICATE  --rejected, no room-->  PROBE
 *   both       --entries are gone-->   SNAPSHOT --sent--> PROBE
 *                                      SNAPSHOT --accepts what is still here--> REPLICATE
 *
 * etcd: tracker/progress.go has the same three. */
#include "raft/raft_internal.h"

struct raft_progress *raft_member(const struct raft *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].id == id)
            return (struct raft_progress *)&r->members[i];
    return NULL;
}

static void drop_members_not_in(struct raft *r, const struct raft_config *config)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        bool stays = false;
        for (uint32_t j = 0; j < config->member_count; j++)
            stays = stays || config->members[j].id == r->members[i].id;
        if (!stays)
            continue;
        struct raft_progress member = r->members[i];
        r->members[i] = r->members[kept]; /* exchanged, not copied: each slot owns a ring */
        r->members[kept++] = member;
    }
    r->member_count = kept;
}

static bool is_voter(unsigned roles)
{
    return roles & (RAFT_VOTER | RAFT_VOTER_OUTGOING);
}

/* Puts the members in force, in the order of the configuration; those that stay keep their
 * progress, and new voters have an election timeout's time before they are missed. For open, and
 * for a configuration that arrives in the log. */
void raft_members_install(struct raft *r, const struct raft_config *config)
{
    drop_members_not_in(r, config);
    for (uint32_t i = 0; i < config->member_count; i++) {
        uint32_t at = i;
        while (at < r->member_count && r->members[at].id != config->members[i].id)
            at++;
        if (at == r->member_count) {
            ASSERT(r->member_count < RAFT_MEMBERS_MAX);
            r->member_count++;
            r->members[at].id = config->members[i].id;
            r->members[at].fetching = false;
            r->members[at].roles = 0;
            raft_progress_reset(r, &r->members[at], 1);
            raft_progress_reset_match(r, &r->members[at]);
        }
        struct raft_progress member = r->members[at];
        if (is_voter(config->members[i].roles) && !is_voter(member.roles))
            member.contact_ms = r->now_ms;
        member.roles = config->members[i].roles;
        r->members[at] = r->members[i];
        r->members[i] = member;
    }
    ASSERT(r->member_count == config->member_count);
}

static void inflights_clear(struct raft_progress *p)
{
    p->inflight_head = 0;
    p->inflight_count = 0;
    p->inflight_bytes = 0;
}

/* What a new leader knows of a member: nothing. */
void raft_progress_reset(struct raft *r, struct raft_progress *p, uint64_t next)
{
    inflights_clear(p);
    p->state = RAFT_PROGRESS_PROBE;
    p->match = 0;
    p->next = next;
    p->probe_sent = false;
    p->gap_check_due = false;
    p->retry_ms = 0;
    p->append_ms = r->now_ms;
    p->commit_sent = 0;
    p->heard = false;
    p->heard_ms = 0;
    p->contact_ms = r->now_ms;
    p->round = 0;
    p->room_bytes = 0;
    p->repairing = 0;
    p->snapshot_asked = false;
    p->snapshot_retry_ms = 0;
    p->snapshot_backoff_ms = 0;
    p->ballot = RAFT_BALLOT_NONE;
}

void raft_progress_probe(struct raft_progress *p, uint64_t next)
{
    ASSERT(next > p->match);
    inflights_clear(p);
    p->state = RAFT_PROGRESS_PROBE;
    p->next = next;
    p->probe_sent = false;
    p->gap_check_due = false;
}

/* Goes on behind the probe, whose entries are taken for accepted, though the answer may name less:
 * they need not be durable yet. If the answer was to something older, the probe's refusal or a gap
 * leads back to probing. */
void raft_progress_replicate(const struct raft *r, struct raft_progress *p)
{
    inflights_clear(p);
    p->state = RAFT_PROGRESS_REPLICATE;
    p->gap_check_due = false;
    p->next = p->match + 1;
    if (p->probe_sent && p->probe.last_index > p->match) {
        p->next = p->probe.last_index + 1;
        raft_inflights_add(r, p, p->probe);
    }
    p->probe_sent = false;
}

void raft_progress_strand(struct raft_progress *p)
{
    inflights_clear(p);
    p->state = RAFT_PROGRESS_SNAPSHOT;
    p->probe_sent = false;
    p->gap_check_due = false;
}

/* Nothing is known of its log: the last entry is as good a probe as any. */
void raft_progress_reset_match(const struct raft *r, struct raft_progress *p)
{
    p->match = 0;
    p->commit_sent = 0;
    raft_progress_probe(p, r->log.last.index > 0 ? r->log.last.index : 1);
}

uint64_t raft_progress_counted(const struct raft_progress *p)
{
    return p->repairing != 0 ? 0 : p->match;
}

bool raft_progress_is_active(const struct raft *r, const struct raft_progress *p)
{
    return p->heard && r->now_ms < p->heard_ms + r->options.election_timeout_ms;
}

bool raft_progress_is_full(const struct raft *r, const struct raft_progress *p)
{
    return p->inflight_count == r->options.inflight_max ||
           p->inflight_bytes >= r->options.inflight_bytes_max;
}

void raft_inflights_add(const struct raft *r, struct raft_progress *p,
                        struct raft_inflight inflight)
{
    ASSERT(p->inflight_count < r->options.inflight_max);
    uint32_t slot = (p->inflight_head + p->inflight_count) % r->options.inflight_max;
    p->inflights[slot] = inflight;
    p->inflight_count++;
    p->inflight_bytes += inflight.bytes;
}

/* An acknowledgement covers all appends that end at or below it. */
void raft_inflights_free(const struct raft *r, struct raft_progress *p, uint64_t match)
{
    while (p->inflight_count > 0 && p->inflights[p->inflight_head].last_index <= match) {
        p->inflight_bytes -= p->inflights[p->inflight_head].bytes;
        p->inflight_head = (p->inflight_head + 1) % r->options.inflight_max;
        p->inflight_count--;
    }
}

void raft_progress_hear(const struct raft *r, struct raft_progress *p)
{
    p->heard = true;
    p->heard_ms = r->now_ms;
}
