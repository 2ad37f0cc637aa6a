#include "server/daemon.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "rpc/addr.h"

enum {
    STREAMS_MAX = 10000,
    WRITE_STALL_MS = 30000,
    READ_WAITS_MAX = 4096,
    GRPC_OVERHEAD_BYTES = 512 << 10, /* etcd: grpcOverheadBytes */
    PATH_BYTES_MAX = 4096,
};
#define CONNECTION_OUT_BYTES_MAX ((uint64_t)4 << 20)

struct daemon {
    struct daemon_options options;
    struct membership initial;
    struct io_addr client_addrs[OPTIONS_URLS_MAX]; /* of --listen-client-urls */
    struct io_addr peer_addrs[OPTIONS_URLS_MAX];   /* of --listen-peer-urls */
    char store_path[PATH_BYTES_MAX];
    struct node *node;
    struct services services;
    struct grpc_server *grpc;
    void (*closed)(void *owner);
    void *closed_owner;
};

struct daemon_sizes daemon_sizes_default(void)
{
    return (struct daemon_sizes){
        .connections_max = 16384,
        .requests_max = 8192, /* a tenth of a second; more would come too late for clients */
        .window_entries_max = 1 << 18, /* half of it is a tail that one batch writes again */
        .views_max = 96,
        .window_bytes_keep = 4 << 20,
        .store_dirty_bytes_max = 8 << 20, /* what is synced at once delays the journal */
        .compact_rows_max = 10000,        /* a fraction of a second of the writer */
        .read_jobs_max = 16,
        .learners_max = 1,
        .journal_segment_count_max = 12,
        .journal_segment_bytes = 16 << 20,
        .memtable_bytes_max = 32 << 20,
        .map_bytes = (uint64_t)4 << 40,
        .log_retain_factor = 10,
        .log_retain_bytes_max = (uint64_t)1 << 30,
        .snapshot_bytes_per_s = 64 << 20,
        .snapshot_chunk_bytes = 256 << 10,
        .requests_bytes_max = 256 << 20,
        .responses_bytes_max = 512 << 20,
    };
}

/* ---- addresses ---- */

static enum exit_code resolve(const char *flag, const char *text, struct io_addr *ret_addr,
                              char *detail)
{
    struct addr_url url;
    const char *why;
    if (!addr_parse_url(slice_of_text(text), &url, &why)) {
        snprintf(detail, DAEMON_DETAIL_BYTES, "--%s: \"%s\": %s", flag, text, why);
        return EXIT_CODE_USAGE;
    }
    if (url.tls) {
        snprintf(detail, DAEMON_DETAIL_BYTES,
                 "--%s: \"%s\": TLS is not in this version; use http://", flag, text);
        return EXIT_CODE_USAGE;
    }
    int err = addr_resolve(&url, ret_addr);
    if (err != 0) {
        snprintf(detail, DAEMON_DETAIL_BYTES, "--%s: cannot resolve \"%s\": %s", flag, text,
                 gai_strerror(err));
        return EXIT_CODE_ADDRESS;
    }
    return EXIT_CODE_OK;
}

static enum exit_code resolve_all(const char *flag, const struct options_urls *urls,
                                  struct io_addr *addrs, char *detail)
{
    for (size_t i = 0; i < urls->count; i++) {
        enum exit_code code = resolve(flag, urls->texts[i], &addrs[i], detail);
        if (code != EXIT_CODE_OK)
            return code;
    }
    return EXIT_CODE_OK;
}

/* Before the data directory is touched: a start that cannot work leaves nothing behind. */
static enum exit_code read_addresses(struct daemon *d, char *detail)
{
    const struct options *o = d->options.flags;
    enum exit_code code =
        resolve_all("listen-client-urls", &o->listen_client_urls, d->client_addrs, detail);
    return code == EXIT_CODE_OK
               ? resolve_all("listen-peer-urls", &o->listen_peer_urls, d->peer_addrs, detail)
               : code;
}

static enum exit_code read_cluster(struct daemon *d, char *detail)
{
    const struct options *o = d->options.flags;
    char why[MEMBERSHIP_WHY_BYTES] = "";
    if (d->options.join)
        return EXIT_CODE_OK;
    enum membership_err err =
        membership_parse_initial(&d->initial, o->initial_cluster, o->initial_cluster_token, why);
    if (err == MEMBERSHIP_OK)
        err = membership_check_own(&d->initial, o->name, o->initial_advertise_peer_urls, why);
    if (err == MEMBERSHIP_OK)
        return EXIT_CODE_OK;
    snprintf(detail, DAEMON_DETAIL_BYTES, "--initial-cluster: %s",
             why[0] ? why : membership_strerror(err));
    return EXIT_CODE_USAGE;
}

/* ---- node ---- */

static uint64_t journal_segment_bytes(const struct daemon *d)
{
    /* A batch is never split within an entry, and some batches shall fit. */
    uint64_t wanted = 4 * d->options.flags->max_request_bytes;
    uint64_t segment = d->options.sizes.journal_segment_bytes;
    while (segment < wanted)
        segment *= 2;
    return segment;
}

/* Who it is, as the flags or whoever added it say. */
static void name_member(const struct daemon *d, struct node_options *options)
{
    const struct daemon_join *join = d->options.join;
    options->joins = join != NULL;
    if (join) {
        options->initial_cluster_id = join->cluster_id;
        options->initial_member_id = join->member_id;
        options->peer_urls = join->peer_urls;
        options->peer_url_count = join->peer_url_count;
    } else {
        options->initial_cluster_id = membership_cluster_id(&d->initial);
        options->initial_member_id = membership_by_name(&d->initial, options->name)->id;
    }
}

static struct node_options node_options_of(const struct daemon *d)
{
    const struct options *o = d->options.flags;
    const struct daemon_sizes *sizes = &d->options.sizes;
    struct node_options options = {
        .io = d->options.io,
        .data_dir = o->data_dir,
        .store_path = d->store_path,
        .name = o->name,
        .server_version = HOLDFAST_VERSION,
        .initial = &d->initial,
        .client_urls = o->advertise_client_urls.texts,
        .client_url_count = o->advertise_client_urls.count,
        .peer_addrs = d->peer_addrs,
        .peer_addr_count = o->listen_peer_urls.count,
        .must_match_initial = strcmp(o->initial_cluster_state, "new") == 0,
        .heartbeat_ms = (uint32_t)o->heartbeat_interval_ms,
        .election_timeout_ms = (uint32_t)o->election_timeout_ms,
        .pre_vote = o->pre_vote,
        .request_bytes_max = (uint32_t)o->max_request_bytes,
        .requests_max = sizes->requests_max,
        .window_entries_max = sizes->window_entries_max,
        .window_bytes_keep = sizes->window_bytes_keep,
        .store_dirty_bytes_max = sizes->store_dirty_bytes_max,
        .compact_rows_max = sizes->compact_rows_max,
        .memtable_bytes_max = sizes->memtable_bytes_max,
        .log_keep_entries = o->snapshot_catchup_entries,
        .journal_segment_bytes = journal_segment_bytes(d),
        .journal_segment_count_max = sizes->journal_segment_count_max,
        .map_bytes = sizes->map_bytes,
        .log_retain_entries_max = sizes->log_retain_factor * o->snapshot_count,
        .log_retain_bytes_max = sizes->log_retain_bytes_max,
        .snapshot_bytes_per_s = sizes->snapshot_bytes_per_s,
        .snapshot_chunk_bytes = sizes->snapshot_chunk_bytes,
        .views_max = sizes->views_max,
        .learners_max = sizes->learners_max,
        .on_fatal = d->options.on_fatal,
        .on_serving = d->options.on_serving,
        .owner = d->options.owner,
    };
    name_member(d, &options);
    return options;
}

static enum exit_code name_store(struct daemon *d, char *detail)
{
    const char *given = d->options.store_path;
    int n = given ? snprintf(d->store_path, PATH_BYTES_MAX, "%s", given)
                  : snprintf(d->store_path, PATH_BYTES_MAX, "%s/store", d->options.flags->data_dir);
    if (n >= 0 && n < PATH_BYTES_MAX)
        return EXIT_CODE_OK;
    snprintf(detail, DAEMON_DETAIL_BYTES, "the path of --data-dir is too long");
    return EXIT_CODE_USAGE;
}

static enum exit_code open_node(struct daemon *d, char *detail)
{
    enum exit_code code = name_store(d, detail);
    if (code != EXIT_CODE_OK)
        return code;
    struct node_options options = node_options_of(d);
    return node_open(&d->node, &options, detail);
}

/* ---- services ---- */

static struct grpc_options grpc_options_of(struct daemon *d)
{
    const struct options *o = d->options.flags;
    const struct daemon_sizes *sizes = &d->options.sizes;
    struct grpc_options options = {
        .io = d->options.io,
        .owner = &d->services,
        .connection_count_max = sizes->connections_max,
        .stream_count_max = o->max_concurrent_streams < STREAMS_MAX
                                ? (uint32_t)o->max_concurrent_streams
                                : STREAMS_MAX,
        .message_bytes_max = (uint32_t)o->max_request_bytes + GRPC_OVERHEAD_BYTES,
        .request_bytes_max = sizes->requests_bytes_max,
        .request_bytes_full = etcd_error_text(ETCD_E_TOO_MANY_REQUESTS),
        .response_bytes_max = sizes->responses_bytes_max,
        .connection_out_bytes_max = CONNECTION_OUT_BYTES_MAX,
        .write_stall_ms = WRITE_STALL_MS,
        .keepalive_min_ms = (uint32_t)o->keepalive_min_ms,
        .keepalive_interval_ms = (uint32_t)o->keepalive_interval_ms,
        .keepalive_timeout_ms = (uint32_t)o->keepalive_timeout_ms,
    };
    options.methods = services_methods(&options.method_count);
    return options;
}

static enum exit_code listen_for_clients(struct daemon *d, char *detail)
{
    for (size_t i = 0; i < d->options.flags->listen_client_urls.count; i++) {
        const struct io_addr *addr = &d->client_addrs[i];
        struct io_addr bound;
        char text[ADDR_TEXT_BYTES_MAX];
        int err = grpc_server_listen(d->grpc, addr, &bound);
        if (err < 0) {
            snprintf(detail, DAEMON_DETAIL_BYTES,
                     "cannot listen for clients on %s: %s; free it, or change "
                     "--listen-client-urls",
                     addr_format(addr, text), strerror(-err));
            return EXIT_CODE_ADDRESS;
        }
        LOG_INFOF("serving client traffic", log_text("address", addr_format(&bound, text)));
    }
    return EXIT_CODE_OK;
}

static enum exit_code open_services(struct daemon *d, char *detail)
{
    services_init(&d->services,
                  &(struct services_options){
                      .io = d->options.io,
                      .node = d->node,
                      .request_bytes_max = (uint32_t)d->options.flags->max_request_bytes,
                      .txn_ops_max = (uint32_t)d->options.flags->max_txn_ops,
                      .jobs_max = d->options.sizes.read_jobs_max,
                      .read_waits_max = READ_WAITS_MAX,
                      .response_bytes_max = d->options.sizes.responses_bytes_max,
                      .version = DAEMON_API_VERSION,
                  });
    struct grpc_options options = grpc_options_of(d);
    if (grpc_server_open(&d->grpc, &options) == GRPC_SERVER_OK)
        return listen_for_clients(d, detail);
    snprintf(detail, DAEMON_DETAIL_BYTES, "cannot start the gRPC server: out of memory");
    return EXIT_CODE_FAILURE;
}

/* ---- life ---- */

enum exit_code daemon_open(struct daemon **ret_daemon, const struct daemon_options *options,
                           char detail[DAEMON_DETAIL_BYTES])
{
    struct daemon *d = calloc(1, sizeof *d);
    *ret_daemon = d;
    if (!d) {
        snprintf(detail, DAEMON_DETAIL_BYTES, "cannot start: out of memory");
        return EXIT_CODE_FAILURE;
    }
    d->options = *options;
    membership_init(&d->initial);
    enum exit_code code = read_addresses(d, detail);
    if (code == EXIT_CODE_OK)
        code = read_cluster(d, detail);
    if (code == EXIT_CODE_OK)
        code = open_node(d, detail);
    if (code == EXIT_CODE_OK)
        code = open_services(d, detail);
    return code;
}

void daemon_turn_end(struct daemon *d)
{
    if (d->node)
        node_turn_end(d->node);
    if (d->grpc) {
        services_turn_end(&d->services, d->grpc);
        grpc_server_flush(d->grpc);
    }
}

void daemon_halt(struct daemon *d)
{
    if (d->node)
        node_halt(d->node);
}

static void on_node_closed(void *owner)
{
    struct daemon *d = owner;
    void (*fn)(void *owner) = d->closed;
    void *fn_owner = d->closed_owner;
    services_done(&d->services);
    membership_done(&d->initial);
    free(d);
    fn(fn_owner);
}

static void on_grpc_closed(void *owner)
{
    struct daemon *d = owner;
    d->grpc = NULL;
    if (d->node)
        node_close(d->node, on_node_closed, d);
    else
        on_node_closed(d);
}

void daemon_close(struct daemon *d, uint32_t grace_ms, void (*fn)(void *owner), void *owner)
{
    d->closed = fn;
    d->closed_owner = owner;
    if (d->grpc)
        grpc_server_close(d->grpc, grace_ms, on_grpc_closed, d);
    else
        on_grpc_closed(d);
}

struct node *daemon_node(const struct daemon *d)
{
    return d->node;
}

const struct services *daemon_services(const struct daemon *d)
{
    return &d->services;
}

const struct grpc_server *daemon_grpc(const struct daemon *d)
{
    return d->grpc;
}
