#include "server/membership_change.h"

#include "base/assert.h"
#include "rpc/addr.h"

/* ---- one change after the other ---- */

static enum etcd_error error_of(enum membership_err err)
{
    switch (err) {
    case MEMBERSHIP_OK:
        return ETCD_OK;
    case MEMBERSHIP_E_BOUNDS:
        return ETCD_E_TOO_MANY_MEMBERS;
    case MEMBERSHIP_E_NOMEM:
    case MEMBERSHIP_E_TEXT:
    case MEMBERSHIP_E_MISMATCH:
    case MEMBERSHIP_E_MALFORMED:
        break;
    }
    return ETCD_E_TOO_MANY_REQUESTS;
}

static bool url_is_used(const struct membership *m, const char *url, uint64_t except_id)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        const struct membership_member *member = &m->members[i];
        for (uint32_t k = 0; k < member->peer.count && member->id != except_id; k++) {
            if (strcmp(member->peer.urls[k], url) == 0)
                return true;
        }
    }
    return false;
}

static enum etcd_error urls_check(const struct membership *m, const struct member_change *change)
{
    const struct membership_urls *urls = &change->peer;
    if (urls->count == 0 || urls->count > MEMBERSHIP_URLS_MAX)
        return ETCD_E_MEMBER_BAD_URLS;
    for (uint32_t i = 0; i < urls->count; i++) {
        struct addr_url parsed;
        const char *why = NULL;
        struct slice text = slice_of_text(urls->urls[i]);
        if (text.size > MEMBERSHIP_URL_BYTES_MAX || !addr_parse_url(text, &parsed, &why) ||
            parsed.tls)
            return ETCD_E_MEMBER_BAD_URLS;
    }
    for (uint32_t i = 0; i < urls->count; i++) {
        if (url_is_used(m, urls->urls[i], change->id))
            return ETCD_E_PEER_URL_EXIST;
    }
    return ETCD_OK;
}

static enum etcd_error member_add(struct membership *m, const struct member_change *change,
                                  unsigned role)
{
    if (membership_by_id(m, change->id) || membership_is_removed(m, change->id))
        return ETCD_E_MEMBER_EXIST;
    enum etcd_error error = urls_check(m, change);
    if (error != ETCD_OK)
        return error;
    struct membership_member member = {
        .id = change->id,
        .name = "",
        .peer = change->peer,
        .roles = role,
    };
    return error_of(membership_put(m, &member));
}

static enum etcd_error role_set(struct membership *m, uint64_t id, unsigned from, unsigned to,
                                enum etcd_error otherwise)
{
    const struct membership_member *known = membership_by_id(m, id);
    if (!known)
        return ETCD_E_MEMBER_NOT_FOUND;
    if (known->roles != from)
        return otherwise;
    struct membership_member member = *known;
    member.roles = to;
    return error_of(membership_put(m, &member));
}

static enum etcd_error urls_set(struct membership *m, const struct member_change *change)
{
    const struct membership_member *known = membership_by_id(m, change->id);
    if (!known)
        return ETCD_E_MEMBER_NOT_FOUND;
    enum etcd_error error = urls_check(m, change);
    if (error != ETCD_OK)
        return error;
    struct membership_member member = *known;
    member.peer = change->peer;
    return error_of(membership_put(m, &member));
}

static enum etcd_error change_one(struct membership *m, const struct member_change *change)
{
    switch (change->type) {
    case MEMBER_ADD_LEARNER:
        return member_add(m, change, RAFT_LEARNER);
    case MEMBER_ADD_VOTER:
        return member_add(m, change, RAFT_VOTER);
    case MEMBER_PROMOTE:
        return role_set(m, change->id, RAFT_LEARNER, RAFT_VOTER, ETCD_E_MEMBER_NOT_LEARNER);
    case MEMBER_DEMOTE:
        return role_set(m, change->id, RAFT_VOTER, RAFT_LEARNER, ETCD_E_MEMBER_NOT_FOUND);
    case MEMBER_REMOVE:
        return membership_remove(m, change->id) ? ETCD_OK : ETCD_E_MEMBER_NOT_FOUND;
    case MEMBER_SET_PEER_URLS:
        return urls_set(m, change);
    }
    return ETCD_E_MEMBER_NOT_FOUND;
}

/* ---- one step, or two ---- */

static unsigned roles_of(const struct membership *m, uint64_t id)
{
    const struct membership_member *member = membership_by_id(m, id);
    return member ? member->roles : 0;
}

/* Voters of `a` that are none in `b`. */
static uint32_t voters_beyond(const struct membership *a, const struct membership *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->member_count; i++)
        count +=
            (a->members[i].roles & RAFT_VOTER) && !(roles_of(b, a->members[i].id) & RAFT_VOTER);
    return count;
}

static uint32_t count_of(const struct membership *m, unsigned roles)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->member_count; i++)
        count += (m->members[i].roles & roles) != 0;
    return count;
}

static void forget_removed(struct membership *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->removed_count; i++) {
        if (m->removed_ids[i] != id)
            continue;
        m->removed_count--;
        memmove(&m->removed_ids[i], &m->removed_ids[i + 1],
                (m->removed_count - i) * sizeof m->removed_ids[0]);
        return;
    }
}

/* The target becomes the new half; who votes now keeps that vote until the joint one is left. */
static enum etcd_error join_halves(const struct membership *present, struct membership *target)
{
    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct membership_member *old = &present->members[i];
        if (!(old->roles & RAFT_VOTER))
            continue;
        const struct membership_member *kept = membership_by_id(target, old->id);
        struct membership_member member = kept ? *kept : *old;
        member.roles = kept ? kept->roles | RAFT_VOTER_OUTGOING : (unsigned)RAFT_VOTER_OUTGOING;
        forget_removed(target, old->id); /* not yet */
        enum etcd_error error = error_of(membership_put(target, &member));
        if (error != ETCD_OK)
            return error;
    }
    return ETCD_OK;
}

static enum etcd_error change_all(const struct membership *present,
                                  const struct member_change *changes, size_t change_count,
                                  uint32_t learners_max, struct membership *target)
{
    enum etcd_error error = ETCD_OK;
    for (size_t i = 0; i < change_count && error == ETCD_OK; i++)
        error = change_one(target, &changes[i]);
    if (error != ETCD_OK)
        return error;
    uint32_t learners = count_of(target, RAFT_LEARNER);
    if (learners > learners_max && learners > count_of(present, RAFT_LEARNER))
        return ETCD_E_TOO_MANY_LEARNERS;
    if (count_of(target, RAFT_VOTER) == 0)
        return ETCD_E_NOT_ENOUGH_STARTED;
    if (voters_beyond(present, target) + voters_beyond(target, present) <= 1)
        return ETCD_OK;
    return join_halves(present, target);
}

enum etcd_error membership_change(const struct membership *present,
                                  const struct member_change *changes, size_t change_count,
                                  uint32_t learners_max, struct membership *ret_next)
{
    ASSERT(!membership_is_joint(present));
    struct membership target;
    membership_init(&target);
    enum etcd_error error = error_of(membership_copy(&target, present));
    if (error == ETCD_OK)
        error = change_all(present, changes, change_count, learners_max, &target);
    if (error != ETCD_OK) {
        membership_done(&target);
        return error;
    }
    membership_done(ret_next);
    *ret_next = target;
    return ETCD_OK;
}

enum membership_err membership_leave_joint(const struct membership *joint,
                                           struct membership *ret_next)
{
    struct membership made;
    membership_init(&made);
    enum membership_err err = membership_copy(&made, joint);
    for (uint32_t i = 0; err == MEMBERSHIP_OK && i < joint->member_count; i++) {
        unsigned roles = joint->members[i].roles & ~(unsigned)RAFT_VOTER_OUTGOING;
        struct membership_member member = joint->members[i];
        member.roles = roles;
        if (roles == 0)
            membership_remove(&made, member.id);
        else
            err = membership_put(&made, &member);
    }
    if (err != MEMBERSHIP_OK) {
        membership_done(&made);
        return err;
    }
    membership_done(ret_next);
    *ret_next = made;
    return MEMBERSHIP_OK;
}

/* ---- is it wise? ---- */

enum etcd_error membership_change_is_safe(const struct membership *present,
                                          const struct membership *next,
                                          bool (*is_active)(void *owner, uint64_t id), void *owner)
{
    uint32_t voters = 0;
    uint32_t started = 0;
    uint32_t active = 0;
    for (uint32_t i = 0; i < next->member_count; i++) {
        const struct membership_member *member = &next->members[i];
        if (!(member->roles & RAFT_VOTER))
            continue;
        voters++;
        started += member->has_incarnation;
        active += member->has_incarnation && is_active(owner, member->id);
    }
    if (voters_beyond(present, next) + voters_beyond(next, present) == 0)
        return ETCD_OK; /* the same voters decide as before */
    if (started < voters / 2 + 1)
        return ETCD_E_NOT_ENOUGH_STARTED;
    return active < voters / 2 + 1 ? ETCD_E_UNHEALTHY : ETCD_OK;
}

/* ---- taking effect ---- */

static void keep_what_is_known(struct membership_member *member,
                               const struct membership_member *known)
{
    if (known->name[0] != '\0')
        member->name = known->name;
    if (known->client.count > 0)
        member->client = known->client;
    if (!known->has_incarnation)
        return;
    member->has_incarnation = true;
    memcpy(member->incarnation, known->incarnation, sizeof member->incarnation);
}

enum membership_err membership_apply(struct membership *m, struct slice payload, uint64_t index)
{
    struct membership made;
    membership_init(&made);
    enum membership_err err = membership_decode(&made, payload);
    for (uint32_t i = 0; err == MEMBERSHIP_OK && i < made.member_count; i++) {
        struct membership_member member = made.members[i];
        const struct membership_member *known = membership_by_id(m, member.id);
        if (!known)
            continue;
        keep_what_is_known(&member, known);
        err = membership_put(&made, &member);
    }
    if (err != MEMBERSHIP_OK) {
        membership_done(&made);
        return err;
    }
    made.config_index = index;
    membership_done(m);
    *m = made;
    return MEMBERSHIP_OK;
}
