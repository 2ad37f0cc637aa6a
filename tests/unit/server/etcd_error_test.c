#include <criterion/criterion.h>

#include "server/etcd_error.h"

/* Clients match on these texts and codes (etcd: api/v3rpc/rpctypes/error.go). */
Test(etcd_error, texts_and_codes_are_etcds)
{
    static const struct {
        enum etcd_error error;
        enum grpc_status status;
        const char *text;
    } rows[] = {
        { ETCD_E_EMPTY_KEY, 3, "etcdserver: key is not provided" },
        { ETCD_E_KEY_NOT_FOUND, 3, "etcdserver: key not found" },
        { ETCD_E_VALUE_PROVIDED, 3, "etcdserver: value is provided" },
        { ETCD_E_LEASE_PROVIDED, 3, "etcdserver: lease is provided" },
        { ETCD_E_TOO_MANY_OPS, 3, "etcdserver: too many operations in txn request" },
        { ETCD_E_DUPLICATE_KEY, 3, "etcdserver: duplicate key given in txn request" },
        { ETCD_E_SORT_OPTION, 3, "etcdserver: invalid sort option" },
        { ETCD_E_COMPACTED, 11, "etcdserver: mvcc: required revision has been compacted" },
        { ETCD_E_FUTURE_REVISION, 11, "etcdserver: mvcc: required revision is a future revision" },
        { ETCD_E_NO_SPACE, 8, "etcdserver: mvcc: database space exceeded" },
        { ETCD_E_LEASE_NOT_FOUND, 5, "etcdserver: requested lease not found" },
        { ETCD_E_REQUEST_TOO_LARGE, 3, "etcdserver: request is too large" },
        { ETCD_E_TOO_MANY_REQUESTS, 8, "etcdserver: too many requests" },
        { ETCD_E_NO_LEADER, 14, "etcdserver: no leader" },
        { ETCD_E_STOPPED, 14, "etcdserver: server stopped" },
        { ETCD_E_TIMEOUT, 14, "etcdserver: request timed out" },
        { ETCD_E_TIMEOUT_LEADER, 14,
          "etcdserver: request timed out, possibly due to previous leader failure" },
        { ETCD_E_TIMEOUT_TRANSFER, 14,
          "etcdserver: request timed out, leader transfer took too long" },
        { ETCD_E_NOT_LEADER, 9, "etcdserver: not leader" },
        { ETCD_E_LEADER_CHANGED, 14, "etcdserver: leader changed" },
        { ETCD_E_BAD_TRANSFEREE, 9, "etcdserver: bad leader transferee" },
        { ETCD_E_UNHEALTHY, 14, "etcdserver: unhealthy cluster" },
        { ETCD_E_MEMBER_EXIST, 9, "etcdserver: member ID already exist" },
        { ETCD_E_PEER_URL_EXIST, 9, "etcdserver: Peer URLs already exists" },
        { ETCD_E_MEMBER_BAD_URLS, 3, "etcdserver: given member URLs are invalid" },
        { ETCD_E_MEMBER_NOT_FOUND, 5, "etcdserver: member not found" },
        { ETCD_E_MEMBER_NOT_LEARNER, 9, "etcdserver: can only promote a learner member" },
        { ETCD_E_LEARNER_NOT_READY, 9,
          "etcdserver: can only promote a learner member which is in sync with leader" },
        { ETCD_E_TOO_MANY_LEARNERS, 9, "etcdserver: too many learner members in cluster" },
        { ETCD_E_NOT_ENOUGH_STARTED, 9,
          "etcdserver: re-configuration failed due to not enough started members" },
        { ETCD_E_CORRUPT, 15, "etcdserver: corrupt cluster" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_str_eq(etcd_error_text(rows[i].error), rows[i].text);
        cr_assert_eq(etcd_error_status(rows[i].error), rows[i].status, "%s", rows[i].text);
    }
    cr_assert_eq(etcd_error_status(ETCD_OK), GRPC_OK);
}
