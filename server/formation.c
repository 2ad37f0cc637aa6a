#include "server/formation.h"

#include <stdio.h>

#include "base/assert.h"
#include "peer.pb-c.h"
#include "proto/pb_arena.h"

/* Why no two disks that live at the same time ever form with different sets (I7a).
 *
 * Given: (a) of each member one disk lives at a time, and a wiped one never comes back;
 * (b) what a disk announces it has made durable before; (c) a disk announces to another only
 * after that one has answered its Hello, so an announcement of disk A that is counted by R means
 * that R processed A's Hello while A lived; (d) from the moment R processes a Hello of another
 * disk of the same member, announcements on A's older connections count no more.
 *
 *  0. A member forms first-hand when it has met every disk of S and counted S from each other
 *     one. Its own record, saved as formed, stands for its own announcement below.
 *  1. Let every disk of S have announced S. E, the first of them to die, announced S after it had
 *     processed a Hello of D, the last of them to be born: so E lived when D was born. There is
 *     an instant at which all disks of S live, and sets of which that holds come one after the
 *     other: with (a), no two different ones at the same instant.
 *  2. So step 1 holds for every set that anyone ever forms with; who adopts one adds none.
 *  3. Suppose S' came before S, differing for member z: disk S'[z] was dead when S[z] was born.
 *     Suppose disk R lives now and formed with S', and any disk formed with S. R lived at the
 *     instants of S' and (as it lives now) of S, so S[r] is R, and R announced S, after it had
 *     processed the Hello of S[z]. Forming is final: R formed with S' after that.
 *  4. First-hand: R then counted an announcement of S'[z]. By (d) on a connection whose Hello R
 *     processed after that of S[z], so by (c) S'[z] lived after S[z] was born. Contradiction.
 *  5. By adoption from G, which had formed with S'. Of all disks that announced S before they
 *     formed with S', take R as the first; so G is not in S. G lived at the instant of S', so,
 *     not being in S, it was dead before the instant of S; and R had processed the Hello of
 *     S[g] before it announced S. As in step 4, no announcement of G counts after that.
 *
 * The same for a wiped disk. B, blank, is member x after A was wiped:
 *  6. Somebody living has formed with S, S[x] = A. It never announces anything but S, so B never
 *     counts a set with B in it from everybody, and the formed S that it hears names A: fatal.
 *  7. Nobody living has formed. Then those who voted are gone, and fewer than a majority unless a
 *     majority of the disks is lost; B replaces A in everybody's record, and all settle anew.
 *
 * And for members that the log adds (formation_on_members, joins). The log records a disk for a
 * member that has none, never another one (machine.c, apply_member_attributes; a removed id does
 * not come back), and S is in the membership of whoever has formed before it applies anything:
 *  8. So of each member one disk at most is ever named by a record that says `formed`: for an
 *     initial one that of S, for another one the first that a committed entry names.
 *  9. A disk gets a voice by forming (above), or by a formed record that names it: one a member.
 *     A record that lags behind the log, or runs ahead of a restored state, names fewer members or
 *     some that are gone, never another disk.
 * 10. A blank disk B of a member whose recorded disk is A never gets one, and is told so: by who
 *     knows A, when it says Hello or by announcement.
 *
 * Progress: once disks stay, every member processes the Hello of every living disk last, all
 * records become equal, each is saved and announced, and every one forms or adopts. */

const char *formation_strerror(enum formation_err err)
{
#define FORMATION_TEXT(name, text) \
    case name:                     \
        return text;
    switch (err) {
        FORMATION_ERRORS(FORMATION_TEXT)
    }
#undef FORMATION_TEXT
    return "unknown error";
}

/* ---- records ---- */

static bool incarnation_equal(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, MEMBERSHIP_INCARNATION_BYTES) == 0;
}

static bool disks_equal(const struct formation_record *a, const struct formation_record *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->disks[i].member != b->disks[i].member || !a->disks[i].met || !b->disks[i].met ||
            !incarnation_equal(a->disks[i].incarnation, b->disks[i].incarnation))
            return false;
    }
    return true;
}

/* Of equal disks. */
static bool roles_equal(const struct formation_record *a, const struct formation_record *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->disks[i].is_learner != b->disks[i].is_learner)
            return false;
    }
    return true;
}

static bool record_equal(const struct formation_record *a, const struct formation_record *b)
{
    return a->formed == b->formed && a->index == b->index && disks_equal(a, b) && roles_equal(a, b);
}

static bool members_equal(const struct formation_record *a, const struct formation_record *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->disks[i].member != b->disks[i].member)
            return false;
    }
    return true;
}

static bool record_is_complete(const struct formation_record *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (!r->disks[i].met)
            return false;
    }
    return r->count > 0;
}

/* RAFT_MEMBERS_MAX: not among them. */
static uint32_t record_find(const struct formation_record *r, uint64_t member)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->disks[i].member == member)
            return i;
    }
    return RAFT_MEMBERS_MAX;
}

/* Complete ones alone leave this module. */
static struct slice record_encode(struct formation_record *r, uint8_t bytes[FORMATION_BYTES_MAX])
{
    ASSERT(record_is_complete(r));
    Holdfastpb__MemberRecord disks[RAFT_MEMBERS_MAX];
    Holdfastpb__MemberRecord *pointers[RAFT_MEMBERS_MAX];
    Holdfastpb__Formation pb = HOLDFASTPB__FORMATION__INIT;
    pb.formed = r->formed;
    pb.index = r->index;
    pb.n_members = r->count;
    pb.members = pointers;
    for (uint32_t i = 0; i < r->count; i++) {
        holdfastpb__member_record__init(&disks[i]);
        disks[i].id = r->disks[i].member;
        disks[i].roles = r->disks[i].is_learner ? RAFT_LEARNER : 0;
        disks[i].incarnation =
            (ProtobufCBinaryData){ MEMBERSHIP_INCARNATION_BYTES, r->disks[i].incarnation };
        pointers[i] = &disks[i];
    }
    ASSERT(holdfastpb__formation__get_packed_size(&pb) <= FORMATION_BYTES_MAX);
    return slice_of(bytes, holdfastpb__formation__pack(&pb, bytes));
}

static bool record_of_pb(const Holdfastpb__Formation *pb, struct formation_record *ret_record)
{
    if (pb->n_members == 0 || pb->n_members > RAFT_MEMBERS_MAX)
        return false;
    *ret_record = (struct formation_record){ .formed = pb->formed,
                                             .index = pb->index,
                                             .count = (uint32_t)pb->n_members };
    uint64_t before = 0;
    for (uint32_t i = 0; i < ret_record->count; i++) {
        const Holdfastpb__MemberRecord *member = pb->members[i];
        struct formation_disk *disk = &ret_record->disks[i];
        if (member->id <= before || member->incarnation.len != MEMBERSHIP_INCARNATION_BYTES)
            return false;
        disk->member = member->id;
        disk->met = true;
        disk->is_learner = member->roles == RAFT_LEARNER;
        memcpy(disk->incarnation, member->incarnation.data, MEMBERSHIP_INCARNATION_BYTES);
        before = member->id;
    }
    return true;
}

static bool record_decode(struct slice bytes, struct formation_record *ret_record)
{
    if (bytes.size > FORMATION_BYTES_MAX)
        return false;
    struct arena a;
    arena_init(&a, 64 * (size_t)FORMATION_BYTES_MAX);
    Holdfastpb__Formation *pb =
        (Holdfastpb__Formation *)pb_arena_unpack(&a, &holdfastpb__formation__descriptor, bytes);
    bool good = pb && record_of_pb(pb, ret_record);
    arena_done(&a);
    return good;
}

/* ---- decisions ---- */

static const char *refuse(struct formation *f, uint64_t member, const char *what)
{
    uint32_t i = record_find(&f->wanted, member);
    const char *name = i < RAFT_MEMBERS_MAX && f->names[i][0] != '\0' ? f->names[i] : "unnamed";
    IGNORE(snprintf(f->text, sizeof f->text, "member %s (%llx): %s", name,
                    (unsigned long long)member, what) < 0,
           "the format cannot fail, and what is cut is the tail of an advice");
    return f->text;
}

static const char *refuse_wiped(struct formation *f, uint64_t member)
{
    return refuse(f, member,
                  "this data directory is blank, but the cluster formed with another disk for "
                  "this member; remove the member and add it again (holdfastctl member "
                  "remove/add), or restore the old data directory");
}

static void announce_prepare(struct formation *f, struct formation_effects *effects)
{
    effects->announce = record_encode(&f->durable, f->announce_bytes);
}

/* What is durable is also the newest that we know. */
static bool is_settled(const struct formation *f)
{
    return record_equal(&f->wanted, &f->durable);
}

static bool all_announced(const struct formation *f)
{
    for (uint32_t i = 0; i < f->wanted.count; i++) {
        if (f->wanted.disks[i].member == f->own_id)
            continue;
        if (!f->heard[i].any || !disks_equal(&f->heard[i].record, &f->wanted))
            return false;
    }
    return true;
}

/* Takes the next step that what we know allows: form, save. */
static void formation_advance(struct formation *f, struct formation_effects *effects)
{
    if (f->save_in_flight || !record_is_complete(&f->wanted) || (f->joins && !f->wanted.formed))
        return;
    /* Its own S need not have been announced: saved as formed it is as good (steps 1 and 3). */
    if (!f->wanted.formed && all_announced(f))
        f->wanted.formed = true;
    if (is_settled(f))
        return;
    f->save_in_flight = true;
    f->saving = f->wanted;
    effects->save = true;
    effects->save_formed = f->saving.formed;
    effects->save_bytes = record_encode(&f->saving, f->save_bytes);
}

/* ---- events ---- */

static void names_copy(struct formation *f, const struct membership *initial)
{
    for (uint32_t i = 0; i < f->wanted.count; i++) {
        const struct membership_member *m = membership_by_id(initial, f->wanted.disks[i].member);
        size_t size = m ? strlen(m->name) : 0;
        if (size > 0 && size <= MEMBERSHIP_NAME_BYTES_MAX)
            memcpy(f->names[i], m->name, size + 1);
    }
}

static enum formation_err record_restore(struct formation *f,
                                         const struct formation_options *options)
{
    struct formation_record saved;
    if (!record_decode(options->saved, &saved))
        return FORMATION_E_RECORD;
    uint32_t own = record_find(&saved, options->own_id);
    if (own == RAFT_MEMBERS_MAX ||
        !incarnation_equal(saved.disks[own].incarnation, options->incarnation))
        return FORMATION_E_DISK;
    /* Once formed the flags are history, as they are in etcd. */
    if (!saved.formed && f->wanted.count > 0 && !members_equal(&saved, &f->wanted))
        return FORMATION_E_MEMBERS;
    f->wanted = saved;
    f->durable = saved;
    return FORMATION_OK;
}

enum formation_err formation_open(struct formation *f, const struct formation_options *options,
                                  struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    *f = (struct formation){ .own_id = options->own_id, .joins = options->joins };
    f->wanted.count = options->initial->member_count;
    for (uint32_t i = 0; i < f->wanted.count; i++)
        f->wanted.disks[i].member = options->initial->members[i].id;
    if (options->joins) {
        f->wanted.count = 1;
        f->wanted.disks[0].member = options->own_id;
    }
    if (options->saved.size > 0) {
        enum formation_err err = record_restore(f, options);
        if (err != FORMATION_OK)
            return err;
    }
    uint32_t own = record_find(&f->wanted, options->own_id);
    if (own == RAFT_MEMBERS_MAX)
        return FORMATION_E_OWN;
    f->wanted.disks[own].met = true;
    memcpy(f->wanted.disks[own].incarnation, options->incarnation, MEMBERSHIP_INCARNATION_BYTES);
    if (!f->joins)
        membership_initial_hash(options->initial, f->initial_cluster_hash);
    names_copy(f, options->initial);
    ret_effects->formed_now = f->durable.formed;
    formation_advance(f, ret_effects);
    return FORMATION_OK;
}

bool formation_is_formed(const struct formation *f)
{
    return f->durable.formed;
}

uint32_t formation_saved_count(struct slice saved, uint64_t own_id)
{
    struct formation_record record;
    if (!record_decode(saved, &record) || !record.formed)
        return 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < record.count; i++)
        count += record.disks[i].member == own_id || !record.disks[i].is_learner;
    return count;
}

struct slice formation_hello_hash(const struct formation *f)
{
    bool has_one = !f->wanted.formed && !f->joins;
    return slice_of(f->initial_cluster_hash, has_one ? MEMBERSHIP_HASH_BYTES : 0);
}

const char *formation_on_hello(struct formation *f, uint64_t member, const uint8_t *incarnation,
                               struct slice initial_cluster_hash, bool *ret_final,
                               struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    *ret_final = false;
    uint32_t i = record_find(&f->wanted, member);
    if (i == RAFT_MEMBERS_MAX)
        return f->wanted.formed || f->joins
                   ? NULL
                   : refuse(f, member, "not in --initial-cluster of the other side");
    struct formation_disk *disk = &f->wanted.disks[i];
    bool is_same = disk->met && incarnation_equal(disk->incarnation, incarnation);
    if (f->wanted.formed) {
        /* Also while `formed` is still on its way to the disk: it may be there already. */
        *ret_final = !is_same;
        return is_same ? NULL : refuse_wiped(f, member);
    }
    struct slice own_hash = formation_hello_hash(f);
    if (initial_cluster_hash.size > 0 && !slice_equal(initial_cluster_hash, own_hash))
        return refuse(f, member,
                      "its initial cluster is not the one of the other side; compare "
                      "--initial-cluster and --initial-cluster-token");
    if (!is_same) {
        disk->met = true;
        memcpy(disk->incarnation, incarnation, MEMBERSHIP_INCARNATION_BYTES);
        f->heard[i] = (struct formation_heard){ 0 };
        formation_advance(f, ret_effects);
    }
    return NULL;
}

void formation_on_link_up(struct formation *f, uint64_t member,
                          struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    /* Otherwise a save is under way, or somebody is missing: announced when that is done. */
    if (!is_settled(f) || record_find(&f->wanted, member) == RAFT_MEMBERS_MAX)
        return;
    ret_effects->announce_to = member;
    announce_prepare(f, ret_effects);
}

/* A member that may vote already: we are part of what it formed with, or we are too late. */
static void on_formed_member(struct formation *f, const struct formation_record *theirs,
                             struct formation_effects *effects)
{
    uint32_t own = record_find(&f->wanted, f->own_id);
    uint32_t there = record_find(theirs, f->own_id);
    if (there == RAFT_MEMBERS_MAX)
        return; /* its log has not added us yet, or has removed us: another one will tell */
    if (!incarnation_equal(theirs->disks[there].incarnation, f->wanted.disks[own].incarnation)) {
        effects->fatal = refuse_wiped(f, f->own_id);
        return;
    }
    if (!members_equal(theirs, &f->wanted))
        memset(f->names, 0, sizeof f->names);
    f->wanted = *theirs;
    formation_advance(f, effects);
}

bool formation_on_announce(struct formation *f, uint64_t member, struct slice bytes,
                           struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    struct formation_record theirs;
    if (!record_decode(bytes, &theirs))
        return false;
    if (f->wanted.formed)
        return true;
    if (member == f->own_id)
        return false;
    uint32_t there = record_find(&theirs, member);
    if (f->joins) {
        if (theirs.formed && there < RAFT_MEMBERS_MAX)
            on_formed_member(f, &theirs, ret_effects);
        return true;
    }
    uint32_t i = record_find(&f->wanted, member);
    if (i == RAFT_MEMBERS_MAX)
        return true;
    if (!theirs.formed && !members_equal(&theirs, &f->wanted))
        return false;
    /* From another disk than the one that the member's last Hello named: step 4 forbids it. */
    const struct formation_disk *disk = &f->wanted.disks[i];
    if (there == RAFT_MEMBERS_MAX || !disk->met ||
        !incarnation_equal(theirs.disks[there].incarnation, disk->incarnation))
        return true;
    if (theirs.formed) {
        on_formed_member(f, &theirs, ret_effects);
        return true;
    }
    f->heard[i] = (struct formation_heard){ .any = true, .record = theirs };
    formation_advance(f, ret_effects);
    return true;
}

void formation_on_refused(struct formation *f, uint64_t member, bool is_final,
                          struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    /* Whoever has formed stays, whatever others say; of initial members only those can know. */
    bool can_know = f->joins || record_find(&f->wanted, member) < RAFT_MEMBERS_MAX;
    if (is_final && !f->wanted.formed && can_know)
        ret_effects->fatal = refuse_wiped(f, f->own_id);
}

void formation_on_members(struct formation *f, const struct membership *members, uint64_t index,
                          struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    if (!f->wanted.formed || index <= f->wanted.index || !membership_by_id(members, f->own_id))
        return;
    struct formation_record record = { .formed = true, .index = index };
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct membership_member *member = &members->members[i];
        bool is_own = member->id == f->own_id;
        if (!is_own && !member->has_incarnation)
            continue;
        struct formation_disk *disk = &record.disks[record.count++];
        *disk = (struct formation_disk){ .member = member->id, .met = true };
        disk->is_learner = !(member->roles & (RAFT_VOTER | RAFT_VOTER_OUTGOING));
        const uint8_t *incarnation = member->incarnation;
        if (is_own)
            incarnation = f->wanted.disks[record_find(&f->wanted, f->own_id)].incarnation;
        memcpy(disk->incarnation, incarnation, MEMBERSHIP_INCARNATION_BYTES);
    }
    if (disks_equal(&record, &f->wanted) && roles_equal(&record, &f->wanted))
        return;
    f->wanted = record;
    memset(f->names, 0, sizeof f->names);
    names_copy(f, members);
    formation_advance(f, ret_effects);
}

void formation_on_saved(struct formation *f, struct formation_effects *ret_effects)
{
    *ret_effects = (struct formation_effects){ 0 };
    ASSERT(f->save_in_flight);
    f->save_in_flight = false;
    f->durable = f->saving;
    if (is_settled(f)) {
        ret_effects->announce_all = true;
        announce_prepare(f, ret_effects);
        ret_effects->formed_now = f->durable.formed;
    }
    formation_advance(f, ret_effects);
}
