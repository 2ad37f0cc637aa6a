/* etcd_error.h: the errors that clients are told, with etcd's codes and etcd's texts. Clients
 * match on the text (etcd: api/v3rpc/rpctypes/error.go).
 */
#ifndef SERVER_ETCD_ERROR_H
#define SERVER_ETCD_ERROR_H

#include "rpc/grpc.h"

#define ETCD_ERRORS(X)                                                                            \
    X(ETCD_OK, GRPC_OK, "")                                                                       \
    X(ETCD_E_EMPTY_KEY, GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided")                 \
    X(ETCD_E_KEY_NOT_FOUND, GRPC_INVALID_ARGUMENT, "etcdserver: key not found")                   \
    X(ETCD_E_VALUE_PROVIDED, GRPC_INVALID_ARGUMENT, "etcdserver: value is provided")              \
    X(ETCD_E_LEASE_PROVIDED, GRPC_INVALID_ARGUMENT, "etcdserver: lease is provided")              \
    X(ETCD_E_TOO_MANY_OPS, GRPC_INVALID_ARGUMENT,                                                 \
      "etcdserver: too many operations in txn request")                                           \
    X(ETCD_E_DUPLICATE_KEY, GRPC_INVALID_ARGUMENT,                                                \
      "etcdserver: duplicate key given in txn request")                                           \
    X(ETCD_E_SORT_OPTION, GRPC_INVALID_ARGUMENT, "etcdserver: invalid sort option")               \
    X(ETCD_E_COMPACTED, GRPC_OUT_OF_RANGE,                                                        \
      "etcdserver: mvcc: required revision has been compacted")                                   \
    X(ETCD_E_FUTURE_REVISION, GRPC_OUT_OF_RANGE,                                                  \
      "etcdserver: mvcc: required revision is a future revision")                                 \
    X(ETCD_E_NO_SPACE, GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")      \
    X(ETCD_E_LEASE_NOT_FOUND, GRPC_NOT_FOUND, "etcdserver: requested lease not found")            \
    X(ETCD_E_REQUEST_TOO_LARGE, GRPC_INVALID_ARGUMENT, "etcdserver: request is too large")        \
    X(ETCD_E_TOO_MANY_REQUESTS, GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests")         \
    X(ETCD_E_NO_LEADER, GRPC_UNAVAILABLE, "etcdserver: no leader")                                \
    X(ETCD_E_STOPPED, GRPC_UNAVAILABLE, "etcdserver: server stopped")                             \
    X(ETCD_E_TIMEOUT, GRPC_UNAVAILABLE, "etcdserver: request timed out")                          \
    X(ETCD_E_TIMEOUT_LEADER, GRPC_UNAVAILABLE,                                                    \
      "etcdserver: request timed out, possibly due to previous leader failure")                   \
    X(ETCD_E_TIMEOUT_TRANSFER, GRPC_UNAVAILABLE,                                                  \
      "etcdserver: request timed out, leader transfer took too long")                             \
    X(ETCD_E_NOT_LEADER, GRPC_FAILED_PRECONDITION, "etcdserver: not leader")                      \
    X(ETCD_E_LEADER_CHANGED, GRPC_UNAVAILABLE, "etcdserver: leader changed")                      \
    X(ETCD_E_BAD_TRANSFEREE, GRPC_FAILED_PRECONDITION, "etcdserver: bad leader transferee")       \
    X(ETCD_E_UNHEALTHY, GRPC_UNAVAILABLE, "etcdserver: unhealthy cluster")                        \
    X(ETCD_E_MEMBER_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: member ID already exist")       \
    X(ETCD_E_PEER_URL_EXIST, GRPC_FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")    \
    X(ETCD_E_MEMBER_BAD_URLS, GRPC_INVALID_ARGUMENT, "etcdserver: given member URLs are invalid") \
    X(ETCD_E_MEMBER_NOT_FOUND, GRPC_NOT_FOUND, "etcdserver: member not found")                    \
    X(ETCD_E_MEMBER_NOT_LEARNER, GRPC_FAILED_PRECONDITION,                                        \
      "etcdserver: can only promote a learner member")                                            \
    X(ETCD_E_LEARNER_NOT_READY, GRPC_FAILED_PRECONDITION,                                         \
      "etcdserver: can only promote a learner member which is in sync with leader")               \
    X(ETCD_E_TOO_MANY_LEARNERS, GRPC_FAILED_PRECONDITION,                                         \
      "etcdserver: too many learner members in cluster")                                          \
    X(ETCD_E_TOO_MANY_MEMBERS, GRPC_FAILED_PRECONDITION,                                          \
      "etcdserver: too many members in cluster")                                                  \
    X(ETCD_E_NOT_ENOUGH_STARTED, GRPC_FAILED_PRECONDITION,                                        \
      "etcdserver: re-configuration failed due to not enough started members")                    \
    X(ETCD_E_CORRUPT, GRPC_DATA_LOSS, "etcdserver: corrupt cluster")                              \
    X(ETCD_E_BAD_MESSAGE, GRPC_INTERNAL, "grpc: error unmarshalling request")                     \
    X(ETCD_E_RESPONSE_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED,                                         \
      "etcdserver: response is too large; ask for it in pages with a limit")                      \
    X(ETCD_E_UNKNOWN_SERVICE, GRPC_NOT_FOUND, "unknown service")

#define ETCD_ENUM_ENTRY(name, code, text) name,
enum etcd_error { ETCD_ERRORS(ETCD_ENUM_ENTRY) };
#undef ETCD_ENUM_ENTRY

const char *etcd_error_text(enum etcd_error error);
enum grpc_status etcd_error_status(enum etcd_error error);

#endif
