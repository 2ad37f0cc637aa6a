#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "tools/ctl.h"

/* One endpoint's share of the work, on a thread of its own: with some endpoints dead, the
 * command still ends after one timeout. */
struct probe {
    const struct ctl *ctl;
    struct slice endpoint;
    const struct client_method *method;
    const ProtobufCMessage *request;
    bool checks_alarms;
    pthread_t thread;
    bool has_thread;
    char name[CLIENT_ENDPOINT_BYTES_MAX + 1];
    ProtobufCMessage *response; /* NULL: error says why */
    struct ctl_error error;
    uint64_t took_ns;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Health's second half: a member with an alarm answers, and still is not well. */
static void probe_check_alarms(struct probe *p, struct client *client)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct client_error error;
    if (!client_call(client, &client_maintenance_status, &request.base, &response, &error)) {
        ctl_fail(&p->error, CTL_EXIT_ERROR, "Unable to fetch the alarm list");
        return;
    }
    const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)response;
    bool no_space = false;
    bool corrupt = false;
    for (size_t i = 0; i < status->n_errors; i++) {
        no_space = no_space || strstr(status->errors[i], "NOSPACE") != NULL;
        corrupt = corrupt || strstr(status->errors[i], "CORRUPT") != NULL;
    }
    if (no_space || corrupt)
        ctl_fail(&p->error, CTL_EXIT_ERROR, "Active Alarm(s): %s%s", no_space ? "NOSPACE " : "",
                 corrupt ? "CORRUPT " : "");
    protobuf_c_message_free_unpacked(response, NULL);
}

static void *probe_run(void *argument)
{
    struct probe *p = argument;
    struct client *client = NULL;
    struct client_error error;
    if (!ctl_client_open(p->ctl, &p->endpoint, 1, &client, &p->error))
        return NULL;
    uint64_t start_ns = now_ns();
    bool ok = client_call(client, p->method, p->request, &p->response, &error);
    p->took_ns = now_ns() - start_ns;
    if (!ok)
        ctl_error_of_call(&error, &p->error);
    else if (p->checks_alarms)
        probe_check_alarms(p, client);
    client_close(client);
    return NULL;
}

struct probes {
    struct probe *items;
    size_t count;
};

static struct probes probes_run(const struct ctl *ctl, const struct slice *endpoints, size_t count,
                                const struct probe *shape)
{
    struct probes probes = { .items = calloc(count + 1, sizeof *probes.items), .count = count };
    if (probes.items == NULL)
        return (struct probes){ 0 };
    for (size_t i = 0; i < count; i++) {
        struct probe *p = &probes.items[i];
        *p = *shape;
        p->ctl = ctl;
        p->endpoint = endpoints[i];
        size_t size = endpoints[i].size < sizeof p->name ? endpoints[i].size : sizeof p->name - 1;
        memcpy(p->name, endpoints[i].data, size);
        p->has_thread = pthread_create(&p->thread, NULL, probe_run, p) == 0;
        if (!p->has_thread)
            probe_run(p);
    }
    for (size_t i = 0; i < count; i++) {
        if (probes.items[i].has_thread)
            pthread_join(probes.items[i].thread, NULL);
    }
    return probes;
}

static void probes_done(struct probes *probes)
{
    for (size_t i = 0; i < probes->count; i++) {
        if (probes->items[i].response != NULL)
            protobuf_c_message_free_unpacked(probes->items[i].response, NULL);
    }
    free(probes->items);
}

/* --endpoints, or with --cluster every member's client URLs, which live in *ret_members. */
static bool endpoints_choose(const struct ctl *ctl, struct slice *ret_endpoints, size_t *ret_count,
                             ProtobufCMessage **ret_members, struct ctl_error *ret_error)
{
    const struct ctl_args *args = &ctl->args;
    *ret_members = NULL;
    if (!args->values[CTL_FLAG_ENDPOINT_CLUSTER].is_true) {
        memcpy(ret_endpoints, args->endpoints, args->endpoint_count * sizeof *ret_endpoints);
        *ret_count = args->endpoint_count;
        return true;
    }
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct ctl_error error;
    request.linearizable = true;
    if (!ctl_call(ctl, &client_cluster_member_list, &request.base, ret_members, &error))
        return ctl_fail(ret_error, CTL_EXIT_ERROR,
                        "failed to fetch endpoints from etcd cluster member list: %.1024s",
                        error.text);
    const Etcdserverpb__MemberListResponse *list =
        (const Etcdserverpb__MemberListResponse *)*ret_members;
    *ret_count = 0;
    for (size_t i = 0; i < list->n_members; i++) {
        for (size_t url = 0; url < list->members[i]->n_clienturls; url++) {
            if (*ret_count == CTL_ENDPOINT_COUNT_MAX)
                return ctl_fail(ret_error, CTL_EXIT_ERROR, "the cluster has too many endpoints");
            ret_endpoints[(*ret_count)++] = slice_of_text(list->members[i]->clienturls[url]);
        }
    }
    return true;
}

typedef void print_fn(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                      size_t count);

/* What to do with an endpoint that failed: health shows it among the others. */
enum failures { FAILURES_APART, FAILURES_SHOWN };

/* Prints the results; the last failure, if any, is in *ret_failed. */
static void probes_print(const struct ctl *ctl, const struct probes *probes, print_fn *print,
                         enum failures failures, const char *what,
                         const struct ctl_error **ret_failed)
{
    struct ctl_endpoint_result results[CTL_ENDPOINT_COUNT_MAX];
    size_t count = 0;
    *ret_failed = NULL;
    for (size_t i = 0; i < probes->count; i++) {
        const struct probe *p = &probes->items[i];
        bool failed = p->error.code != CTL_EXIT_SUCCESS;
        if (failed)
            *ret_failed = &p->error;
        if (failed && failures == FAILURES_APART) {
            fprintf(ctl->out.errors, "Failed to get the %s of endpoint %s (%s)\n", what, p->name,
                    p->error.text);
            continue;
        }
        results[count++] = (struct ctl_endpoint_result){
            .endpoint = p->name,
            .response = p->response,
            .error = p->error.text,
            .took_ns = p->took_ns,
        };
    }
    print(&ctl->out, results, count);
}

static enum ctl_exit endpoint_run(struct ctl *ctl, const struct probe *shape, print_fn *print,
                                  enum failures failures, const char *what)
{
    struct ctl_error error = { 0 };
    struct slice endpoints[CTL_ENDPOINT_COUNT_MAX];
    size_t count = 0;
    ProtobufCMessage *members = NULL;
    struct probes probes = { 0 };
    const struct ctl_error *failed = NULL;
    enum ctl_exit code = CTL_EXIT_SUCCESS;
    bool ok = endpoints_choose(ctl, endpoints, &count, &members, &error);
    if (ok) {
        probes = probes_run(ctl, endpoints, count, shape);
        ok = probes.items != NULL || ctl_fail(&error, CTL_EXIT_ERROR, "out of memory");
    }
    if (ok) {
        probes_print(ctl, &probes, print, failures, what, &failed);
    } else {
        failed = &error;
        code = ctl_report(ctl, &error);
    }
    if (failed != NULL && code == CTL_EXIT_SUCCESS)
        code = CTL_EXIT_ERROR;
    if (failed != NULL && failed != &error && failures == FAILURES_SHOWN) {
        ctl_fail(&error, CTL_EXIT_ERROR, "unhealthy cluster");
        code = ctl_report(ctl, &error);
    }
    probes_done(&probes);
    if (members != NULL)
        protobuf_c_message_free_unpacked(members, NULL);
    return code;
}

enum ctl_exit ctl_endpoint_status_run(struct ctl *ctl)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const struct probe shape = { .method = &client_maintenance_status, .request = &request.base };
    return endpoint_run(ctl, &shape, ctl->printer->endpoint_status, FAILURES_APART, "status");
}

enum ctl_exit ctl_endpoint_hashkv_run(struct ctl *ctl)
{
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    request.revision = ctl->args.values[CTL_FLAG_HASHKV_REV].number;
    const struct probe shape = { .method = &client_maintenance_hash_kv, .request = &request.base };
    return endpoint_run(ctl, &shape, ctl->printer->endpoint_hashkv, FAILURES_APART, "hash");
}

enum ctl_exit ctl_endpoint_health_run(struct ctl *ctl)
{
    /* Any key: that a linearizable read is answered at all shows a working majority. */
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = ctl_pb_of_slice(slice_of_text("health"));
    const struct probe shape = {
        .method = &client_kv_range,
        .request = &request.base,
        .checks_alarms = true,
    };
    return endpoint_run(ctl, &shape, ctl->printer->endpoint_health, FAILURES_SHOWN, "health");
}
