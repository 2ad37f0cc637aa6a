/* client.h: a blocking gRPC client for one cluster, over one connection at a time.
 *
 * A call goes to the endpoint in use. When that cannot be reached, or answers UNAVAILABLE, the
 * next endpoint is tried, round and round until the call's deadline. That is safe for reads. A
 * write is sent again only when no byte of it can have been acted on: no connection was made, or
 * the server refused the stream. Otherwise its outcome is unknown, and the caller is told so.
 *
 * Owner:    the client copies its endpoints. A response belongs to the caller, who frees it with
 *           protobuf_c_message_free_unpacked(response, NULL).
 * Lifetime: open .. close. A failed call leaves the client usable.
 * Thread:   one at a time; threads open a client each.
 * Bounds:   endpoint_count <= CLIENT_ENDPOINT_COUNT_MAX; a response past receive_bytes_max ends
 *           the call with RESOURCE_EXHAUSTED.
 * Errors:   gRPC status code and text in struct client_error, from the server or from here.
 */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/grpc.h"

enum {
    CLIENT_ENDPOINT_COUNT_MAX = 64,
    CLIENT_ENDPOINT_BYTES_MAX = 512,
    CLIENT_ERROR_BYTES_MAX = 1024,
};

struct client;

struct client_options {
    const char *const *endpoints; /* "host:port", with or without http:// */
    size_t endpoint_count;        /* > 0 */
    uint32_t dial_timeout_ms;     /* > 0, of one attempt to connect */
    uint32_t call_timeout_ms;     /* > 0, of one call with all its attempts */
    uint64_t receive_bytes_max;   /* > 0, of one response */
    bool trace;                   /* say on stderr what is connected and called */
};

struct client_error {
    enum grpc_status code;
    char message[CLIENT_ERROR_BYTES_MAX]; /* cut when longer */
};

/* One RPC. The instances below are all there are. */
struct client_method {
    const char *path;
    const ProtobufCMessageDescriptor *response;
    bool reads_only; /* may be repeated whatever happened */
};

extern const struct client_method client_kv_range;
extern const struct client_method client_kv_put;
extern const struct client_method client_kv_delete_range;
extern const struct client_method client_kv_txn;
extern const struct client_method client_kv_compact;
extern const struct client_method client_cluster_member_list;
extern const struct client_method client_maintenance_status;
extern const struct client_method client_maintenance_move_leader;
extern const struct client_method client_maintenance_hash_kv;

/* Connects to nobody yet. False: *ret_error says which option or endpoint is wrong. */
bool client_open(struct client **ret_client, const struct client_options *options,
                 struct client_error *ret_error) __attribute__((warn_unused_result));

void client_close(struct client *c); /* NULL is fine */

/* False: *ret_error is filled and *ret_response untouched. */
bool client_call(struct client *c, const struct client_method *method,
                 const ProtobufCMessage *request, ProtobufCMessage **ret_response,
                 struct client_error *ret_error) __attribute__((warn_unused_result));

/* The endpoint that served the last call, as it was given. */
const char *client_endpoint(const struct client *c);

/* CLOCK_MONOTONIC. */
uint64_t client_now_ms(void);

#endif
