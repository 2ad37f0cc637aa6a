#include "tools/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "rpc.pb-c.h"
#include "tools/client_h2.h"

enum { BACKOFF_MS_MIN = 10, BACKOFF_MS_MAX = 250 };

const struct client_method client_kv_range = {
    .path = "/etcdserverpb.KV/Range",
    .response = &etcdserverpb__range_response__descriptor,
    .reads_only = true,
};
const struct client_method client_kv_put = {
    .path = "/etcdserverpb.KV/Put",
    .response = &etcdserverpb__put_response__descriptor,
};
const struct client_method client_kv_delete_range = {
    .path = "/etcdserverpb.KV/DeleteRange",
    .response = &etcdserverpb__delete_range_response__descriptor,
};
const struct client_method client_kv_txn = {
    .path = "/etcdserverpb.KV/Txn",
    .response = &etcdserverpb__txn_response__descriptor,
};
const struct client_method client_kv_compact = {
    .path = "/etcdserverpb.KV/Compact",
    .response = &etcdserverpb__compaction_response__descriptor,
};
const struct client_method client_cluster_member_list = {
    .path = "/etcdserverpb.Cluster/MemberList",
    .response = &etcdserverpb__member_list_response__descriptor,
    .reads_only = true,
};
const struct client_method client_maintenance_status = {
    .path = "/etcdserverpb.Maintenance/Status",
    .response = &etcdserverpb__status_response__descriptor,
    .reads_only = true,
};
const struct client_method client_maintenance_move_leader = {
    .path = "/etcdserverpb.Maintenance/MoveLeader",
    .response = &etcdserverpb__move_leader_response__descriptor,
};
const struct client_method client_maintenance_hash_kv = {
    .path = "/etcdserverpb.Maintenance/HashKV",
    .response = &etcdserverpb__hash_kvresponse__descriptor,
    .reads_only = true,
};

struct endpoint {
    char given[CLIENT_ENDPOINT_BYTES_MAX];
    char text[CLIENT_ENDPOINT_BYTES_MAX]; /* host and port, NUL between and after */
    const char *host;
    const char *port;
};

struct client {
    struct client_options options;
    struct endpoint *endpoints;
    size_t current;
    struct client_h2 *h2;   /* to the current endpoint, or NULL */
    uint32_t backoff_ms;    /* before the next round over the endpoints */
    size_t failed_in_round; /* endpoints of this round that did not work */
};

uint64_t client_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void error_set(struct client_error *error, enum grpc_status code, const char *text,
                      const char *detail)
{
    error->code = code;
    /* A text that does not fit is cut: it is for people. */
    IGNORE(snprintf(error->message, sizeof error->message, "%s%s", text, detail) < 0,
           "a cut text still says enough");
}

static bool endpoint_split(struct endpoint *e, const char **ret_problem)
{
    char *rest = e->text;
    if (strncmp(rest, "https://", 8) == 0 || strncmp(rest, "unixs:", 6) == 0) {
        *ret_problem = "TLS is not supported, use http:// or no scheme: ";
        return false;
    }
    if (strncmp(rest, "http://", 7) == 0)
        rest += 7;
    size_t size = strlen(rest);
    while (size > 0 && rest[size - 1] == '/')
        rest[--size] = '\0';
    char *colon = strrchr(rest, ':');
    char *bracket = strrchr(rest, ']');
    *ret_problem = "an endpoint is host:port or http://host:port, not ";
    if (colon == NULL || (bracket != NULL && colon != bracket + 1) || colon[1] == '\0')
        return false;
    if (colon[1 + strspn(colon + 1, "0123456789")] != '\0')
        return false;
    *colon = '\0';
    if (bracket != NULL) {
        if (rest[0] != '[')
            return false;
        *bracket = '\0';
        rest++;
    } else if (strpbrk(rest, ":/") != NULL) {
        return false;
    }
    e->host = rest;
    e->port = colon + 1;
    return e->host[0] != '\0';
}

static bool endpoint_init(struct endpoint *e, const char *given, struct client_error *ret_error)
{
    size_t size = strlen(given);
    if (size >= sizeof e->given) {
        error_set(ret_error, GRPC_INVALID_ARGUMENT, "endpoint is too long: ", given);
        return false;
    }
    memcpy(e->given, given, size + 1);
    memcpy(e->text, given, size + 1);
    const char *problem = "";
    if (endpoint_split(e, &problem))
        return true;
    error_set(ret_error, GRPC_INVALID_ARGUMENT, problem, given);
    return false;
}

bool client_open(struct client **ret_client, const struct client_options *options,
                 struct client_error *ret_error)
{
    ASSERT(options->dial_timeout_ms > 0);
    ASSERT(options->call_timeout_ms > 0);
    ASSERT(options->receive_bytes_max > 0);
    if (options->endpoint_count == 0) {
        error_set(ret_error, GRPC_INVALID_ARGUMENT, "at least one endpoint must be given", "");
        return false;
    }
    if (options->endpoint_count > CLIENT_ENDPOINT_COUNT_MAX) {
        error_set(ret_error, GRPC_INVALID_ARGUMENT, "too many endpoints", "");
        return false;
    }
    struct client *c = calloc(1, sizeof *c);
    if (c != NULL)
        c->endpoints = calloc(options->endpoint_count, sizeof *c->endpoints);
    if (c == NULL || c->endpoints == NULL) {
        error_set(ret_error, GRPC_RESOURCE_EXHAUSTED, "out of memory", "");
        client_close(c);
        return false;
    }
    c->options = *options;
    c->options.endpoints = NULL;
    for (size_t i = 0; i < options->endpoint_count; i++) {
        if (!endpoint_init(&c->endpoints[i], options->endpoints[i], ret_error)) {
            client_close(c);
            return false;
        }
    }
    *ret_client = c;
    return true;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    client_h2_close(c->h2);
    free(c->endpoints);
    free(c);
}

const char *client_endpoint(const struct client *c)
{
    return c->endpoints[c->current].given;
}

static void client_trace(const struct client *c, const char *what, const char *detail)
{
    if (c->options.trace)
        fprintf(stderr, "client: %s: %s%s%s\n", client_endpoint(c), what, *detail ? ": " : "",
                detail);
}

static bool client_connect(struct client *c, uint64_t deadline_ms, struct client_error *ret_error)
{
    if (c->h2 != NULL && client_h2_is_usable(c->h2))
        return true;
    client_h2_close(c->h2);
    c->h2 = NULL;
    const struct endpoint *e = &c->endpoints[c->current];
    uint64_t dial_ms = client_now_ms() + c->options.dial_timeout_ms;
    bool ok = client_h2_open(&c->h2, e->host, e->port,
                             dial_ms < deadline_ms ? dial_ms : deadline_ms, ret_error);
    client_trace(c, ok ? "connected" : "cannot connect", ok ? "" : ret_error->message);
    return ok;
}

/* Gives up on the current endpoint. After a whole round of failures it waits, longer each time,
 * for the cluster to come back. False: the deadline comes before the next attempt. */
static bool client_move_on(struct client *c, uint64_t deadline_ms)
{
    client_h2_close(c->h2);
    c->h2 = NULL;
    c->current = (c->current + 1) % c->options.endpoint_count;
    if (++c->failed_in_round < c->options.endpoint_count)
        return client_now_ms() < deadline_ms;
    c->failed_in_round = 0;
    uint64_t now_ms = client_now_ms();
    if (now_ms >= deadline_ms)
        return false;
    uint64_t left_ms = deadline_ms - now_ms;
    uint64_t wait_ms = c->backoff_ms < left_ms ? c->backoff_ms : left_ms;
    IGNORE(poll(NULL, 0, (int)wait_ms) < 0, "an interrupted pause is a shorter pause");
    c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MS_MAX ? c->backoff_ms * 2 : BACKOFF_MS_MAX;
    return client_now_ms() < deadline_ms;
}

static bool call_may_repeat(const struct client_method *method,
                            const struct client_h2_result *result)
{
    if (result->error.code != GRPC_UNAVAILABLE)
        return false;
    return method->reads_only || !result->reached_server;
}

/* Connects and calls, once. */
static void client_attempt(struct client *c, const struct client_method *method,
                           struct slice request, uint64_t deadline_ms,
                           struct client_h2_result *ret_result)
{
    *ret_result = (struct client_h2_result){ .error.code = GRPC_UNAVAILABLE };
    if (!client_connect(c, deadline_ms, &ret_result->error)) {
        ret_result->error.code = GRPC_UNAVAILABLE;
        return;
    }
    client_trace(c, "call", method->path);
    client_h2_call(c->h2, method->path, request, c->options.receive_bytes_max, deadline_ms,
                   ret_result);
    if (ret_result->error.code != GRPC_OK)
        client_trace(c, "failed", ret_result->error.message);
}

static bool client_call_packed(struct client *c, const struct client_method *method,
                               struct slice request, struct client_h2_result *ret_result)
{
    uint64_t deadline_ms = client_now_ms() + c->options.call_timeout_ms;
    c->backoff_ms = BACKOFF_MS_MIN;
    c->failed_in_round = 0;
    for (;;) {
        client_attempt(c, method, request, deadline_ms, ret_result);
        if (!call_may_repeat(method, ret_result))
            return ret_result->error.code == GRPC_OK;
        char name[CLIENT_ENDPOINT_BYTES_MAX];
        memcpy(name, client_endpoint(c), sizeof name);
        if (client_move_on(c, deadline_ms))
            continue;
        /* What the server itself said is the better answer; else etcd's, and then why. */
        if (!ret_result->from_server) {
            struct client_error last = ret_result->error;
            IGNORE(snprintf(ret_result->error.message, sizeof ret_result->error.message,
                            "context deadline exceeded: %s: %.400s", name, last.message) < 0,
                   "a cut text still says enough");
            ret_result->error.code = GRPC_DEADLINE_EXCEEDED;
        }
        return false;
    }
}

bool client_call(struct client *c, const struct client_method *method,
                 const ProtobufCMessage *request, ProtobufCMessage **ret_response,
                 struct client_error *ret_error)
{
    size_t size = protobuf_c_message_get_packed_size(request);
    uint8_t *packed = malloc(size + 1);
    if (packed == NULL) {
        error_set(ret_error, GRPC_RESOURCE_EXHAUSTED, "out of memory", "");
        return false;
    }
    protobuf_c_message_pack(request, packed);
    struct client_h2_result result;
    bool ok = client_call_packed(c, method, slice_of(packed, size), &result);
    free(packed);
    if (!ok) {
        *ret_error = result.error;
        return false;
    }
    ProtobufCMessage *response =
        protobuf_c_message_unpack(method->response, NULL, result.message.size, result.message.data);
    if (response == NULL) {
        error_set(ret_error, GRPC_INTERNAL, "the server's response is not a ",
                  method->response->name);
        return false;
    }
    *ret_response = response;
    return true;
}
