/* formation.h: how blank disks become a cluster once, and only once (I7a).
 *
 * A blank disk must never vote under an old member's name: the old disk may have granted a vote
 * or stored an entry that the blank one has forgotten. So the initial members first meet, settle
 * on the set S = { member -> incarnation of its disk }, each makes S durable and tells the others,
 * and only who has heard the same S from every one of those disks may vote. A disk that is wiped
 * afterwards comes back with an incarnation that is not in S, and is told so.
 *
 * Later the log says who is a member, and which disk is whose: formation_on_members carries that
 * into the record. A member that is added starts on a blank disk with `joins`: it may vote once a
 * member that has formed tells it a record with this very disk in it.
 *
 * Pure: events in, effects out; no clock, no I/O. The argument stands in formation.c.
 * Needs of the caller:
 *   - the own incarnation is durable before the first Hello;
 *   - on_hello is called for every Hello received that nothing else speaks against, and a
 *     connection counts no more once a later Hello of that member has come (rpc/peer.h closes it);
 *   - announcements leave only on connections whose Hello the other side has answered, and are
 *     taken only from connections whose Hello on_hello has accepted (rpc/peer.h does both).
 * Owner:    the caller, in place; nothing to free. Slices and texts in effects and answers live
 *           until the next call.
 * Thread:   the loop's. Bounds: RAFT_MEMBERS_MAX members; fixed size.
 * Errors:   bad bytes from a member are refused, never believed (I9).
 */
#ifndef SERVER_FORMATION_H
#define SERVER_FORMATION_H

#include "server/membership.h"

enum { FORMATION_BYTES_MAX = 1024, FORMATION_TEXT_BYTES = 512 };

#define FORMATION_ERRORS(X)                                                               \
    X(FORMATION_OK, "ok")                                                                 \
    X(FORMATION_E_RECORD, "the formation record in the data directory is damaged")        \
    X(FORMATION_E_DISK, "the formation record in the data directory is of another disk")  \
    X(FORMATION_E_MEMBERS,                                                                \
      "--initial-cluster has other members than when this data directory was first used") \
    X(FORMATION_E_OWN, "this member is not in the initial cluster")

#define FORMATION_ENUM_ENTRY(name, text) name,
enum formation_err { FORMATION_ERRORS(FORMATION_ENUM_ENTRY) };
#undef FORMATION_ENUM_ENTRY

const char *formation_strerror(enum formation_err err);

struct formation_disk {
    uint64_t member;
    bool met;        /* false: its incarnation is not known yet */
    bool is_learner; /* by the log, once formed: it could give nothing back on its own */
    uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES];
};

/* holdfastpb.Formation */
struct formation_record {
    bool formed;
    uint64_t index;                                /* of the log, once formed; 0: as it formed */
    uint32_t count;                                /* 0: none */
    struct formation_disk disks[RAFT_MEMBERS_MAX]; /* by member, ascending */
};

/* What a member last announced. */
struct formation_heard {
    bool any;
    struct formation_record record;
};

struct formation {
    uint64_t own_id;
    bool joins;
    uint8_t initial_cluster_hash[MEMBERSHIP_HASH_BYTES];
    char names[RAFT_MEMBERS_MAX][MEMBERSHIP_NAME_BYTES_MAX + 1]; /* parallel to wanted.disks */
    struct formation_record wanted;                              /* what we know by now */
    struct formation_record saving;                              /* on its way to the disk */
    struct formation_record durable;
    bool save_in_flight;
    struct formation_heard heard[RAFT_MEMBERS_MAX]; /* parallel to wanted.disks */
    uint8_t save_bytes[FORMATION_BYTES_MAX];
    uint8_t announce_bytes[FORMATION_BYTES_MAX];
    char text[FORMATION_TEXT_BYTES];
};

/* What the caller does now. */
struct formation_effects {
    bool save;        /* write save_bytes into the identity, then formation_on_saved */
    bool save_formed; /* with identity.formed so */
    struct slice save_bytes;
    bool announce_all;    /* send `announce` to every member whose link is up */
    uint64_t announce_to; /* or to this one; 0: nobody */
    struct slice announce;
    bool formed_now;   /* the node has a voice from here on: raft_set_voice */
    const char *fatal; /* not NULL: log it and stop; another start would end the same way */
};

struct formation_options {
    uint64_t own_id;
    const uint8_t *incarnation;       /* of our disk, MEMBERSHIP_INCARNATION_BYTES; copied */
    const struct membership *initial; /* copied; may be empty when saved is not, or with joins */
    bool joins;                       /* the cluster is there already, and this member was added */
    struct slice saved;               /* identity.formation; empty: none */
};

/* *ret_effects may ask for a save already (a cluster of one), or say formed_now (a restart). */
enum formation_err formation_open(struct formation *f, const struct formation_options *options,
                                  struct formation_effects *ret_effects)
    __attribute__((warn_unused_result));

/* Formed, durably. */
bool formation_is_formed(const struct formation *f);

/* For a start that has nothing but the identity: how many there are of this member and the voters
 * beside it, if this disk has formed; 0: it has not, or the record is damaged. */
uint32_t formation_saved_count(struct slice saved, uint64_t own_id);

/* What the log up to `index` says of members and their disks; a no-op before this one has formed,
 * or with an older index than before. */
void formation_on_members(struct formation *f, const struct membership *members, uint64_t index,
                          struct formation_effects *ret_effects);

/* For our own Hello; empty once formed. */
struct slice formation_hello_hash(const struct formation *f);

/* A member introduces itself. NULL: fine as far as this goes. Otherwise why not, and whether
 * that is final for its disk. Members that are not in the record are not judged once formed, and
 * nobody by a member that joins. */
const char *formation_on_hello(struct formation *f, uint64_t member, const uint8_t *incarnation,
                               struct slice initial_cluster_hash, bool *ret_final,
                               struct formation_effects *ret_effects);

/* Our own connection to a member is through the handshake. */
void formation_on_link_up(struct formation *f, uint64_t member,
                          struct formation_effects *ret_effects);

/* An encoded holdfastpb.Formation. False: malformed, or of another cluster. */
bool formation_on_announce(struct formation *f, uint64_t member, struct slice bytes,
                           struct formation_effects *ret_effects);

/* A member refused our Hello; is_final as its formation_on_hello said. */
void formation_on_refused(struct formation *f, uint64_t member, bool is_final,
                          struct formation_effects *ret_effects);

/* What effects.save asked for is durable. At most one save is out at a time. */
void formation_on_saved(struct formation *f, struct formation_effects *ret_effects);

#endif
