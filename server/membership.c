#include "server/membership.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "proto/pb_arena.h"
#include "state.pb-c.h"

enum { TEXTS_BYTES_MAX = 1 << 20 };

_Static_assert((size_t)RAFT_MEMBERS_MAX *(MEMBERSHIP_NAME_BYTES_MAX +
                                          2 * MEMBERSHIP_URLS_MAX *
                                              (MEMBERSHIP_URL_BYTES_MAX + 16)) <
                   TEXTS_BYTES_MAX / 2,
               "the texts of a full membership fit");

const char *membership_strerror(enum membership_err err)
{
#define MEMBERSHIP_TEXT(name, text) \
    case name:                      \
        return text;
    switch (err) {
        MEMBERSHIP_ERRORS(MEMBERSHIP_TEXT)
    }
#undef MEMBERSHIP_TEXT
    return "unknown error";
}

void membership_init(struct membership *m)
{
    *m = (struct membership){ 0 };
    arena_init(&m->texts, TEXTS_BYTES_MAX);
}

void membership_done(struct membership *m)
{
    arena_done(&m->texts);
    membership_init(m);
}

/* ---- copying, which is where the bounds are kept ---- */

static enum membership_err text_copy(struct arena *a, const char *text, size_t max,
                                     const char **ret_copy)
{
    size_t size = strlen(text);
    if (size > max)
        return MEMBERSHIP_E_BOUNDS;
    struct slice copy;
    if (!arena_copy(a, slice_of(text, size + 1), &copy))
        return MEMBERSHIP_E_NOMEM;
    *ret_copy = (const char *)copy.data;
    return MEMBERSHIP_OK;
}

static enum membership_err urls_copy(struct arena *a, const struct membership_urls *from,
                                     struct membership_urls *to)
{
    if (from->count > MEMBERSHIP_URLS_MAX)
        return MEMBERSHIP_E_BOUNDS;
    to->count = from->count;
    for (uint32_t i = 0; i < from->count; i++) {
        enum membership_err err =
            text_copy(a, from->urls[i], MEMBERSHIP_URL_BYTES_MAX, &to->urls[i]);
        if (err != MEMBERSHIP_OK)
            return err;
    }
    return MEMBERSHIP_OK;
}

static enum membership_err member_copy(struct arena *a, const struct membership_member *from,
                                       struct membership_member *to)
{
    *to = *from;
    enum membership_err err = text_copy(a, from->name, MEMBERSHIP_NAME_BYTES_MAX, &to->name);
    if (err == MEMBERSHIP_OK)
        err = urls_copy(a, &from->peer, &to->peer);
    if (err == MEMBERSHIP_OK)
        err = urls_copy(a, &from->client, &to->client);
    return err;
}

/* Appends a copy; ids come in ascending order. */
static enum membership_err member_push(struct membership *m, const struct membership_member *from)
{
    if (m->member_count == RAFT_MEMBERS_MAX)
        return MEMBERSHIP_E_BOUNDS;
    enum membership_err err = member_copy(&m->texts, from, &m->members[m->member_count]);
    if (err == MEMBERSHIP_OK)
        m->member_count++;
    return err;
}

/* What was made aside takes the place of what was there. */
static enum membership_err membership_replace(struct membership *m, struct membership *made,
                                              enum membership_err err)
{
    if (err != MEMBERSHIP_OK) {
        membership_done(made);
        return err;
    }
    membership_done(m);
    *m = *made;
    return MEMBERSHIP_OK;
}

static struct membership without_members(const struct membership *m)
{
    struct membership made;
    membership_init(&made);
    made.config_index = m->config_index;
    made.removed_count = m->removed_count;
    memcpy(made.removed_ids, m->removed_ids, sizeof made.removed_ids);
    return made;
}

enum membership_err membership_copy(struct membership *to, const struct membership *from)
{
    struct membership made = without_members(from);
    enum membership_err err = MEMBERSHIP_OK;
    for (uint32_t i = 0; i < from->member_count && err == MEMBERSHIP_OK; i++)
        err = member_push(&made, &from->members[i]);
    return membership_replace(to, &made, err);
}

enum membership_err membership_put(struct membership *m, const struct membership_member *member)
{
    ASSERT(member->id != 0);
    ASSERT(member->roles != 0);
    struct membership made = without_members(m);
    enum membership_err err = MEMBERSHIP_OK;
    bool placed = false;
    for (uint32_t i = 0; i < m->member_count && err == MEMBERSHIP_OK; i++) {
        const struct membership_member *old = &m->members[i];
        if (!placed && old->id >= member->id) {
            err = member_push(&made, member);
            placed = true;
        }
        if (err == MEMBERSHIP_OK && old->id != member->id)
            err = member_push(&made, old);
    }
    if (err == MEMBERSHIP_OK && !placed)
        err = member_push(&made, member);
    return membership_replace(m, &made, err);
}

static void remember_removed(struct membership *m, uint64_t id)
{
    if (m->removed_count == MEMBERSHIP_REMOVED_MAX) {
        m->removed_count--;
        memmove(m->removed_ids, m->removed_ids + 1, m->removed_count * sizeof m->removed_ids[0]);
    }
    m->removed_ids[m->removed_count++] = id;
}

bool membership_remove(struct membership *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        if (m->members[i].id != id)
            continue;
        m->member_count--;
        memmove(&m->members[i], &m->members[i + 1], (m->member_count - i) * sizeof m->members[0]);
        remember_removed(m, id);
        return true;
    }
    return false;
}

bool membership_is_removed(const struct membership *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->removed_count; i++) {
        if (m->removed_ids[i] == id)
            return true;
    }
    return false;
}

/* ---- questions ---- */

const struct membership_member *membership_by_id(const struct membership *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        if (m->members[i].id == id)
            return &m->members[i];
    }
    return NULL;
}

const struct membership_member *membership_by_name(const struct membership *m, const char *name)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        if (strcmp(m->members[i].name, name) == 0)
            return &m->members[i];
    }
    return NULL;
}

bool membership_is_joint(const struct membership *m)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        if (m->members[i].roles & RAFT_VOTER_OUTGOING)
            return true;
    }
    return false;
}

struct raft_config membership_to_raft_config(const struct membership *m)
{
    struct raft_config config = { .member_count = m->member_count };
    for (uint32_t i = 0; i < m->member_count; i++)
        config.members[i] = (struct raft_member){ m->members[i].id, m->members[i].roles };
    return config;
}

uint64_t membership_cluster_id(const struct membership *m)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < m->member_count; i++)
        hash = checksum_u64(hash, m->members[i].id);
    return hash != 0 ? hash : 1;
}

void membership_initial_hash(const struct membership *m, uint8_t ret_hash[MEMBERSHIP_HASH_BYTES])
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < m->member_count; i++) {
        const struct membership_member *member = &m->members[i];
        hash = checksum_u64(hash, member->id);
        hash = checksum(slice_of_text(member->name), hash);
        hash = checksum_u64(hash, member->peer.count);
        for (uint32_t k = 0; k < member->peer.count; k++)
            hash = checksum(slice_of_text(member->peer.urls[k]), hash);
    }
    put_le64(ret_hash, hash);
}

uint64_t membership_member_id(const struct membership_urls *peer, const char *token, uint64_t salt)
{
    uint64_t hash = salt;
    for (uint32_t i = 0; i < peer->count; i++)
        hash = checksum(slice_of_text(peer->urls[i]), hash);
    hash = checksum(slice_of_text(token), hash);
    return hash != 0 ? hash : 1;
}

/* ---- holdfastpb.Membership ---- */

/* protobuf-c's strings are writable by type; packing writes none of them. */
static char *pb_text(const char *text)
{
    union {
        const char *read;
        char *write;
    } pointer = { .read = text };
    return pointer.write;
}

static char **pb_urls(const struct membership_urls *from, struct arena *a)
{
    char **urls = arena_alloc(a, (from->count + 1) * sizeof *urls);
    for (uint32_t i = 0; urls && i < from->count; i++)
        urls[i] = pb_text(from->urls[i]);
    return urls;
}

static Holdfastpb__MemberRecord *member_to_pb(const struct membership_member *from, struct arena *a)
{
    Holdfastpb__MemberRecord *pb = arena_alloc(a, sizeof *pb);
    uint8_t *incarnation = arena_alloc(a, MEMBERSHIP_INCARNATION_BYTES);
    if (!pb || !incarnation)
        return NULL;
    holdfastpb__member_record__init(pb);
    pb->id = from->id;
    pb->name = pb_text(from->name);
    pb->n_peer_urls = from->peer.count;
    pb->peer_urls = pb_urls(&from->peer, a);
    pb->n_client_urls = from->client.count;
    pb->client_urls = pb_urls(&from->client, a);
    pb->roles = from->roles;
    if (from->has_incarnation) {
        memcpy(incarnation, from->incarnation, MEMBERSHIP_INCARNATION_BYTES);
        pb->incarnation = (ProtobufCBinaryData){ MEMBERSHIP_INCARNATION_BYTES, incarnation };
    }
    return pb->peer_urls && pb->client_urls ? pb : NULL;
}

bool membership_encode(const struct membership *m, struct arena *a, struct slice *ret_bytes)
{
    Holdfastpb__MemberRecord *members[RAFT_MEMBERS_MAX];
    uint64_t removed[MEMBERSHIP_REMOVED_MAX];
    memcpy(removed, m->removed_ids, sizeof removed);
    Holdfastpb__Membership pb = HOLDFASTPB__MEMBERSHIP__INIT;
    pb.config_index = m->config_index;
    pb.n_removed_ids = m->removed_count;
    pb.removed_ids = removed;
    pb.n_members = m->member_count;
    pb.members = members;
    for (uint32_t i = 0; i < m->member_count; i++) {
        members[i] = member_to_pb(&m->members[i], a);
        if (!members[i])
            return false;
    }
    return pb_arena_pack(a, &pb.base, ret_bytes);
}

static bool urls_of_pb(char **urls, size_t count, struct membership_urls *ret_urls)
{
    if (count > MEMBERSHIP_URLS_MAX)
        return false;
    ret_urls->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        ret_urls->urls[i] = urls[i];
    return true;
}

/* The lengths of texts are checked where they are copied. */
static bool member_of_pb(const Holdfastpb__MemberRecord *pb, uint64_t id_before,
                         struct membership_member *ret_member)
{
    unsigned roles_known = RAFT_VOTER | RAFT_VOTER_OUTGOING | RAFT_LEARNER;
    if (pb->id <= id_before || pb->roles == 0 || (pb->roles & ~roles_known) != 0)
        return false;
    if (pb->incarnation.len != 0 && pb->incarnation.len != MEMBERSHIP_INCARNATION_BYTES)
        return false;
    *ret_member = (struct membership_member){ .id = pb->id, .name = pb->name, .roles = pb->roles };
    ret_member->has_incarnation = pb->incarnation.len != 0;
    if (ret_member->has_incarnation)
        memcpy(ret_member->incarnation, pb->incarnation.data, MEMBERSHIP_INCARNATION_BYTES);
    return urls_of_pb(pb->peer_urls, pb->n_peer_urls, &ret_member->peer) &&
           urls_of_pb(pb->client_urls, pb->n_client_urls, &ret_member->client);
}

static bool removed_of_pb(struct membership *m, const Holdfastpb__Membership *pb)
{
    if (pb->n_removed_ids > MEMBERSHIP_REMOVED_MAX)
        return false;
    for (size_t i = 0; i < pb->n_removed_ids; i++) {
        if (pb->removed_ids[i] == 0)
            return false;
        m->removed_ids[m->removed_count++] = pb->removed_ids[i];
    }
    return true;
}

static enum membership_err members_of_pb(struct membership *m, const Holdfastpb__Membership *pb)
{
    if (pb->n_members > RAFT_MEMBERS_MAX || !removed_of_pb(m, pb))
        return MEMBERSHIP_E_MALFORMED;
    m->config_index = pb->config_index;
    uint64_t id_before = 0;
    for (size_t i = 0; i < pb->n_members; i++) {
        struct membership_member member;
        if (!member_of_pb(pb->members[i], id_before, &member) ||
            membership_is_removed(m, member.id))
            return MEMBERSHIP_E_MALFORMED;
        enum membership_err err = member_push(m, &member);
        if (err != MEMBERSHIP_OK)
            return err == MEMBERSHIP_E_BOUNDS ? MEMBERSHIP_E_MALFORMED : err;
        id_before = member.id;
    }
    return MEMBERSHIP_OK;
}

enum membership_err membership_decode(struct membership *m, struct slice bytes)
{
    struct arena a;
    arena_init(&a, 2 * (size_t)TEXTS_BYTES_MAX);
    Holdfastpb__Membership *pb =
        (Holdfastpb__Membership *)pb_arena_unpack(&a, &holdfastpb__membership__descriptor, bytes);
    struct membership made;
    membership_init(&made);
    enum membership_err err = pb ? members_of_pb(&made, pb) : MEMBERSHIP_E_MALFORMED;
    err = membership_replace(m, &made, err);
    arena_done(&a);
    return err;
}
