/* membership_change.h: from one membership to the next: what may follow, and by which steps.
 *
 * Any number of adds, removes, promotions and demotions make one change. Where the voters differ
 * by one at most it is one step (thesis §4.1); else two: a joint membership, in which both sets
 * decide, and then the one that leaves it (Raft §6, thesis §4.3).
 *
 * Pure. Owner: the caller; results are init'ed memberships of their own. Thread: any.
 * Bounds:   RAFT_MEMBERS_MAX members, both halves of a joint membership counted.
 * Errors:   etcd's, with its texts (etcd: server/etcdserver/server.go, api/membership/cluster.go).
 */
#ifndef SERVER_MEMBERSHIP_CHANGE_H
#define SERVER_MEMBERSHIP_CHANGE_H

#include "server/etcd_error.h"
#include "server/membership.h"

enum member_change_type {
    MEMBER_ADD_LEARNER,
    MEMBER_ADD_VOTER,
    MEMBER_PROMOTE, /* a learner to a voter */
    MEMBER_DEMOTE,  /* a voter to a learner */
    MEMBER_REMOVE,
    MEMBER_SET_PEER_URLS,
};

struct member_change {
    enum member_change_type type;
    uint64_t id;                 /* not 0 */
    struct membership_urls peer; /* of adds and MEMBER_SET_PEER_URLS */
};

/* What the changes, carried out one after the other, make of `present`, which is not joint.
 * *ret_next is init'ed, and unchanged on error. */
enum etcd_error membership_change(const struct membership *present,
                                  const struct member_change *changes, size_t change_count,
                                  uint32_t learners_max, struct membership *ret_next)
    __attribute__((warn_unused_result));

/* The one that follows a joint one: those who only had a say before are gone. */
enum membership_err membership_leave_joint(const struct membership *joint,
                                           struct membership *ret_next)
    __attribute__((warn_unused_result));

/* Whether a majority of the voters to come has been started, and is heard from: a change that
 * leaves the cluster without one stops it for good. A new voter cannot help out: it has a voice
 * only when its disk is recorded (I7a), which takes a majority without it. So a cluster of one adds
 * a learner, and promotes it. is_active is asked for each voter to come. */
enum etcd_error membership_change_is_safe(const struct membership *present,
                                          const struct membership *next,
                                          bool (*is_active)(void *owner, uint64_t id), void *owner)
    __attribute__((warn_unused_result));

/* A RAFT_ENTRY_CONFIG, an encoded membership, takes effect on the one that the entries before it
 * made. It decides who is a member, in which role and where; what members have said of themselves
 * (name, client URLs, disk) stays when it is known here. */
enum membership_err membership_apply(struct membership *m, struct slice payload, uint64_t index)
    __attribute__((warn_unused_result));

#endif
