#include "proto/config.h"

#include "proto/entry.h"
#include "proto/pb_arena.h"
#include "state.pb-c.h"

static bool are_roles_known(uint32_t roles)
{
    uint32_t known = RAFT_VOTER | RAFT_VOTER_OUTGOING | RAFT_LEARNER;
    bool is_both = (roles & RAFT_VOTER) && (roles & RAFT_LEARNER);
    return roles != 0 && (roles & ~known) == 0 && !is_both;
}

static bool config_of_pb(const Holdfastpb__Membership *pb, struct raft_config *ret_config)
{
    if (pb->n_members > RAFT_MEMBERS_MAX)
        return false;
    struct raft_config config = { .member_count = (uint32_t)pb->n_members };
    uint64_t before = 0;
    bool has_voter = false;
    for (size_t i = 0; i < pb->n_members; i++) {
        const Holdfastpb__MemberRecord *m = pb->members[i];
        if (m->id <= before || !are_roles_known(m->roles))
            return false;
        config.members[i] = (struct raft_member){ .id = m->id, .roles = m->roles };
        before = m->id;
        has_voter = has_voter || (m->roles & RAFT_VOTER);
    }
    if (has_voter)
        *ret_config = config;
    return has_voter;
}

bool config_of_payload(struct slice payload, struct raft_config *ret_config)
{
    struct arena a;
    arena_init(&a, CONFIG_SCRATCH_BYTES_MAX);
    const Holdfastpb__Membership *pb = (const Holdfastpb__Membership *)pb_arena_unpack(
        &a, &holdfastpb__membership__descriptor, payload);
    bool ok = pb && config_of_pb(pb, ret_config);
    arena_done(&a);
    return ok;
}

bool config_of_entry(struct slice bytes, struct raft_config *ret_config)
{
    struct entry_header header;
    struct slice payload;
    size_t size;
    return entry_decode(bytes, &header, &payload, &size) == ENTRY_OK &&
           header.type == RAFT_ENTRY_CONFIG && config_of_payload(payload, ret_config);
}
