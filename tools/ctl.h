/* ctl.h: one run of holdfastctl, as its commands see it.
 *
 * Owner:    main owns the run; a command opens and closes its own client and frees its responses.
 * Thread:   one; endpoint commands start one more for each endpoint, each with its own client.
 * Bounds:   CTL_INPUT_BYTES_MAX of standard input.
 * Errors:   a command prints "Error: ..." on stderr and returns its exit code.
 */
#ifndef TOOLS_CTL_H
#define TOOLS_CTL_H

#include "tools/client.h"
#include "tools/ctl_flags.h"
#include "tools/ctl_print.h"

enum { CTL_INPUT_BYTES_MAX = 64 << 20 };

struct ctl {
    struct ctl_args args;
    const struct ctl_printer *printer;
    struct ctl_out out;
    FILE *in;
};

enum ctl_exit ctl_put_run(struct ctl *ctl);
enum ctl_exit ctl_get_run(struct ctl *ctl);
enum ctl_exit ctl_del_run(struct ctl *ctl);
enum ctl_exit ctl_txn_run(struct ctl *ctl);
enum ctl_exit ctl_compaction_run(struct ctl *ctl);
enum ctl_exit ctl_endpoint_status_run(struct ctl *ctl);
enum ctl_exit ctl_endpoint_health_run(struct ctl *ctl);
enum ctl_exit ctl_endpoint_hashkv_run(struct ctl *ctl);
enum ctl_exit ctl_member_list_run(struct ctl *ctl);
enum ctl_exit ctl_move_leader_run(struct ctl *ctl);
enum ctl_exit ctl_version_run(struct ctl *ctl);
enum ctl_exit ctl_help_run(struct ctl *ctl);

/* Prints the error and returns its code. */
enum ctl_exit ctl_report(const struct ctl *ctl, const struct ctl_error *error);

/* What etcdctl would print for a failed call: the server's text alone when it is one of etcd's,
 * else with its code. */
void ctl_error_of_call(const struct client_error *error, struct ctl_error *ret_error);

/* A client for these endpoints with the global flags' timeouts. */
bool ctl_client_open(const struct ctl *ctl, const struct slice *endpoints, size_t count,
                     struct client **ret_client, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

/* One call to --endpoints. The caller frees the response. */
bool ctl_call(const struct ctl *ctl, const struct client_method *method,
              const ProtobufCMessage *request, ProtobufCMessage **ret_response,
              struct ctl_error *ret_error) __attribute__((warn_unused_result));

/* Every response the printer knows has a form, or CTL_EXIT_BAD_FEATURE. Asked before a call, so
 * that a write whose answer cannot be shown is not made. */
bool ctl_format_check(const struct ctl *ctl, bool has_form, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

/* All of a stream, to be freed with free. */
bool ctl_read_all(FILE *in, uint8_t **ret_bytes, size_t *ret_size)
    __attribute__((warn_unused_result));

/* ---- requests from flags; txn's lines use them too. Views of the arguments. ---- */

struct ctl_put_request {
    Etcdserverpb__PutRequest request;
    bool wants_input; /* the value is still to be read from standard input */
};

struct ctl_get_request {
    Etcdserverpb__RangeRequest request;
    uint8_t *range_end; /* owned: free */
};

struct ctl_del_request {
    Etcdserverpb__DeleteRangeRequest request;
    uint8_t *range_end; /* as above */
};

bool ctl_put_parse(const struct ctl_args *args, struct ctl_put_request *ret_put,
                   struct ctl_error *ret_error) __attribute__((warn_unused_result));
bool ctl_get_parse(const struct ctl_args *args, struct ctl_get_request *ret_get,
                   struct ctl_error *ret_error) __attribute__((warn_unused_result));
bool ctl_del_parse(const struct ctl_args *args, struct ctl_del_request *ret_del,
                   struct ctl_error *ret_error) __attribute__((warn_unused_result));

/* l: *ret_serializable false, s: true. */
bool ctl_consistency_parse(struct slice text, bool *ret_serializable, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

/* KEY [RANGE_END] with --prefix and --from-key, for get and del. `*ret_end` is owned by the
 * caller and may be NULL. */
bool ctl_range_parse(const struct ctl_args *args, bool prefix, bool from_key,
                     ProtobufCBinaryData *ret_key, ProtobufCBinaryData *ret_range_end,
                     uint8_t **ret_owned, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

static inline ProtobufCBinaryData ctl_pb_of_slice(struct slice bytes)
{
    /* protobuf-c takes a pointer to what it will only read. */
    return (ProtobufCBinaryData){ .len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data };
}

#endif
