/* membership.h: who belongs to the cluster, and the first list of it from --initial-cluster.
 *
 * A value: encoded as holdfastpb.Membership it is the payload of a RAFT_ENTRY_CONFIG and what
 * the store keeps. Ids follow etcd's scheme with another hash: a member's is the hash of its
 * sorted peer URLs and the cluster's token, the cluster's that of the sorted member ids.
 *
 * Owner:    the caller; texts live in the membership until it is changed or done.
 * Thread:   the owner's. membership_check_own may resolve names, so before the loop runs.
 * Bounds:   RAFT_MEMBERS_MAX members, MEMBERSHIP_URLS_MAX URLs of each kind, lengths below.
 * Errors:   as listed; `why` says which member or URL, in etcd's words where etcd has them.
 */
#ifndef SERVER_MEMBERSHIP_H
#define SERVER_MEMBERSHIP_H

#include "base/arena.h"
#include "raft/types.h"

enum {
    MEMBERSHIP_URLS_MAX = 16,
    MEMBERSHIP_NAME_BYTES_MAX = 128,
    MEMBERSHIP_URL_BYTES_MAX = 300,
    MEMBERSHIP_INCARNATION_BYTES = 16,
    MEMBERSHIP_HASH_BYTES = 8,
    MEMBERSHIP_WHY_BYTES = 512,
    MEMBERSHIP_REMOVED_MAX = 64, /* ids that are remembered as removed */
};

#define MEMBERSHIP_ERRORS(X)                                               \
    X(MEMBERSHIP_OK, "ok")                                                 \
    X(MEMBERSHIP_E_NOMEM, "out of memory")                                 \
    X(MEMBERSHIP_E_BOUNDS, "too many members or URLs, or one is too long") \
    X(MEMBERSHIP_E_TEXT, "not a list of members")                          \
    X(MEMBERSHIP_E_MISMATCH, "the flags contradict each other")            \
    X(MEMBERSHIP_E_MALFORMED, "an encoded membership that is none")

#define MEMBERSHIP_ENUM_ENTRY(name, text) name,
enum membership_err { MEMBERSHIP_ERRORS(MEMBERSHIP_ENUM_ENTRY) };
#undef MEMBERSHIP_ENUM_ENTRY

const char *membership_strerror(enum membership_err err);

struct membership_urls {
    uint32_t count;
    const char *urls[MEMBERSHIP_URLS_MAX]; /* in strcmp's order when made by this module */
};

struct membership_member {
    uint64_t id; /* not 0 */
    const char *name;
    struct membership_urls peer;
    struct membership_urls client;
    bool has_incarnation;
    uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES]; /* of its data directory (I7a) */
    unsigned roles;                                    /* enum raft_member_role, ored; not 0 */
};

struct membership {
    uint64_t config_index; /* of the entry that made it; 0: the initial cluster */
    uint32_t member_count;
    struct membership_member members[RAFT_MEMBERS_MAX]; /* by id, ascending */
    uint32_t removed_count;
    uint64_t removed_ids[MEMBERSHIP_REMOVED_MAX]; /* oldest first; none is a member */
    struct arena texts;
};

/* Empty. */
void membership_init(struct membership *m);
void membership_done(struct membership *m);

/* Adds a member, or replaces the one with its id. Everything is copied; `member` may be one of
 * m's own. Unchanged on error. */
enum membership_err membership_put(struct membership *m, const struct membership_member *member)
    __attribute__((warn_unused_result));

/* False when there is none. The id is remembered as removed, and the oldest such forgotten. */
bool membership_remove(struct membership *m, uint64_t id);
bool membership_is_removed(const struct membership *m, uint64_t id);

/* `to` is init'ed, and unchanged on error. */
enum membership_err membership_copy(struct membership *to, const struct membership *from)
    __attribute__((warn_unused_result));

/* NULL when there is none. */
const struct membership_member *membership_by_id(const struct membership *m, uint64_t id);
const struct membership_member *membership_by_name(const struct membership *m, const char *name);

bool membership_is_joint(const struct membership *m);

struct raft_config membership_to_raft_config(const struct membership *m);

/* The encoding lives in the arena. False when that is full. */
bool membership_encode(const struct membership *m, struct arena *a, struct slice *ret_bytes);

/* `m` is init'ed, and unchanged on error. */
enum membership_err membership_decode(struct membership *m, struct slice bytes)
    __attribute__((warn_unused_result));

/* ---- the initial cluster ---- */

/* --initial-cluster ("n1=http://a:1,n2=http://b:2", a name may repeat for more URLs) and
 * --initial-cluster-token. All are voters without an incarnation. `m` as in membership_decode. */
enum membership_err membership_parse_initial(struct membership *m, const char *text,
                                             const char *token, char why[MEMBERSHIP_WHY_BYTES])
    __attribute__((warn_unused_result));

/* Does --initial-cluster name us, with the URLs of --initial-advertise-peer-urls? */
enum membership_err membership_check_own(const struct membership *m, const char *name,
                                         const char *advertise_peer_urls,
                                         char why[MEMBERSHIP_WHY_BYTES])
    __attribute__((warn_unused_result));

/* What a new member's id is: also for one that is added later, with some salt. The URLs are in
 * strcmp's order. Never 0. */
uint64_t membership_member_id(const struct membership_urls *peer, const char *token, uint64_t salt);

/* Of the members' ids; never 0. */
uint64_t membership_cluster_id(const struct membership *m);

/* Equal exactly when ids, names and URLs are: initial members compare it when they meet. */
void membership_initial_hash(const struct membership *m, uint8_t ret_hash[MEMBERSHIP_HASH_BYTES]);

#endif
