/* holdfastd: flags in, one node and its services on one loop, until a signal. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "rpc/addr.h"
#include "rpc/loop.h"
#include "server/counters.h"
#include "server/node.h"
#include "server/options.h"
#include "server/services.h"

/* What Status tells clients: the etcd release whose API this is. */
#define API_VERSION "3.7.1"

enum {
    CONNECTIONS_MAX = 16384,
    STREAMS_MAX = 10000,
    REQUESTS_MAX = 65536,
    VIEWS_MAX = 96,
    READ_JOBS_MAX = 64,
    JOB_THREADS = 4,
    RECV_BUFFERS = 512,
    RECV_BUFFER_BYTES = 8192,
    FILES_BESIDE_CONNECTIONS = 256,
    JOURNAL_SEGMENTS_MAX = 12,
    WRITE_STALL_MS = 30000,
    CLOSE_GRACE_MS = 1000,
    GRPC_OVERHEAD_BYTES = 512 << 10, /* etcd: grpcOverheadBytes */
};
#define JOURNAL_SEGMENT_BYTES    ((uint64_t)16 << 20)
#define MEMTABLE_BYTES_MAX       ((uint64_t)16 << 20)
#define MAP_BYTES                ((uint64_t)4 << 40)
#define REQUESTS_BYTES_MAX       ((uint64_t)256 << 20)
#define CONNECTION_OUT_BYTES_MAX ((uint64_t)4 << 20)
#define RESPONSE_BYTES_MAX       ((uint64_t)512 << 20)
#define RESPONSES_BYTES_MAX      ((uint64_t)512 << 20)

struct daemon {
    struct options options;
    struct membership initial;
    struct io_addr client_addrs[OPTIONS_URLS_MAX]; /* of --listen-client-urls */
    struct io_addr peer_addrs[OPTIONS_URLS_MAX];   /* of --listen-peer-urls */
    struct loop *loop;
    struct io *io;
    struct node *node;
    struct services services;
    struct grpc_server *grpc;
    int signal_fd;
    bool is_stopping;
    enum exit_code exit_code;
};

static void fail(const char *text)
{
    fprintf(stderr, "holdfastd: %s\n", text);
}

/* ---- addresses ---- */

static enum exit_code resolve(const char *flag, const char *text, struct io_addr *ret_addr)
{
    struct addr_url url;
    const char *why;
    if (!addr_parse_url(slice_of_text(text), &url, &why)) {
        fprintf(stderr, "holdfastd: --%s: \"%s\": %s\n", flag, text, why);
        return EXIT_CODE_USAGE;
    }
    if (url.tls) {
        fprintf(stderr, "holdfastd: --%s: \"%s\": TLS is not in this version; use http://\n", flag,
                text);
        return EXIT_CODE_USAGE;
    }
    int err = addr_resolve(&url, ret_addr);
    if (err != 0) {
        fprintf(stderr, "holdfastd: --%s: cannot resolve \"%s\": %s\n", flag, text,
                gai_strerror(err));
        return EXIT_CODE_ADDRESS;
    }
    return EXIT_CODE_OK;
}

static enum exit_code resolve_all(const char *flag, const struct options_urls *urls,
                                  struct io_addr *addrs)
{
    for (size_t i = 0; i < urls->count; i++) {
        enum exit_code code = resolve(flag, urls->texts[i], &addrs[i]);
        if (code != EXIT_CODE_OK)
            return code;
    }
    return EXIT_CODE_OK;
}

/* ---- the end ---- */

/* Fail-stop: nothing may leave any more, so the process goes as it stands (I6). */
static void on_fatal(void *owner, enum exit_code code, const char *text)
{
    IGNORE(owner == NULL, "the whole process ends");
    LOG_AT(LOG_FATAL, text);
    fail(text);
    _exit(code);
}

static void on_node_closed(void *owner)
{
    struct daemon *d = owner;
    d->node = NULL;
    loop_stop(d->loop);
}

static void on_grpc_closed(void *owner)
{
    struct daemon *d = owner;
    d->grpc = NULL;
    node_close(d->node, on_node_closed, d);
}

static void on_signal(void *owner)
{
    struct daemon *d = owner;
    struct signalfd_siginfo info;
    if (read(d->signal_fd, &info, sizeof info) != sizeof info || d->is_stopping)
        return;
    counters_log(d->node, &d->services, d->grpc, d->loop);
    if (info.ssi_signo == SIGUSR1)
        return;
    d->is_stopping = true;
    LOG_INFOF("received signal; shutting down", log_number("signal", info.ssi_signo));
    grpc_server_close(d->grpc, CLOSE_GRACE_MS, on_grpc_closed, d);
}

/* ---- the start ---- */

static void on_serving(void *owner)
{
    IGNORE(owner == NULL, "the log line is all");
    LOG_INFOF("ready to serve client requests");
}

static void on_turn_end(void *owner)
{
    struct daemon *d = owner;
    if (d->node)
        node_turn_end(d->node);
    if (d->grpc)
        grpc_server_flush(d->grpc);
}

static uint64_t wall_ms(void *owner)
{
    struct daemon *d = owner;
    return d->io->ops->wall_ms(d->io);
}

static enum log_level level_of(const char *name)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = { { "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warn", LOG_WARN } };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].level;
    }
    return LOG_ERROR;
}

static enum exit_code open_log(struct daemon *d)
{
    const char *output = d->options.log_outputs;
    int fd = STDERR_FILENO;
    if (strcmp(output, "stdout") == 0)
        fd = STDOUT_FILENO;
    else if (strcmp(output, "default") != 0 && strcmp(output, "stderr") != 0)
        fd = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "holdfastd: --log-outputs: cannot open %s: %s\n", output, strerror(errno));
        return EXIT_CODE_USAGE;
    }
    log_setup(&(struct log_options){
        .level_min = level_of(d->options.log_level),
        .format = strcmp(d->options.log_format, "json") == 0 ? LOG_JSON : LOG_CONSOLE,
        .fd = fd,
        .wall_ms = wall_ms,
        .wall_owner = d,
    });
    for (size_t i = 0; i < d->options.warning_count; i++)
        LOG_WARNF(d->options.warnings[i]);
    return EXIT_CODE_OK;
}

/* 10,000 clients need as many descriptors: as far as the hard limit lets us. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t wanted = CONNECTIONS_MAX + FILES_BESIDE_CONNECTIONS;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        LOG_WARNF("few file descriptors: raise the hard limit (ulimit -Hn) for more clients",
                  log_number("limit", limit.rlim_cur));
}

static enum exit_code open_loop(struct daemon *d)
{
    struct loop_options options = {
        .op_count_max = 4 * CONNECTIONS_MAX,
        .timer_count_max = 4 * CONNECTIONS_MAX + 2 * REQUESTS_MAX,
        .recv_buffer_count = RECV_BUFFERS,
        .recv_buffer_bytes = RECV_BUFFER_BYTES,
        .thread_count = JOB_THREADS,
        .turn_end = on_turn_end,
        .owner = d,
    };
    char detail[NODE_DETAIL_BYTES] = "";
    enum loop_err err = loop_open(&d->loop, &options, detail, sizeof detail);
    if (err == LOOP_OK) {
        d->io = loop_io(d->loop);
        return EXIT_CODE_OK;
    }
    fprintf(stderr, "holdfastd: cannot start the event loop: %s: %s\n", loop_strerror(err), detail);
    return err == LOOP_E_UNSUPPORTED ? EXIT_CODE_KERNEL : EXIT_CODE_FAILURE;
}

/* Before the data directory is touched: a start that cannot work leaves nothing behind. */
static enum exit_code read_addresses(struct daemon *d)
{
    const struct options *o = &d->options;
    enum exit_code code =
        resolve_all("listen-client-urls", &o->listen_client_urls, d->client_addrs);
    return code == EXIT_CODE_OK
               ? resolve_all("listen-peer-urls", &o->listen_peer_urls, d->peer_addrs)
               : code;
}

static enum exit_code read_cluster(struct daemon *d)
{
    membership_init(&d->initial);
    char why[MEMBERSHIP_WHY_BYTES] = "";
    enum membership_err err = membership_parse_initial(&d->initial, d->options.initial_cluster,
                                                       d->options.initial_cluster_token, why);
    if (err == MEMBERSHIP_OK)
        err = membership_check_own(&d->initial, d->options.name,
                                   d->options.initial_advertise_peer_urls, why);
    if (err == MEMBERSHIP_OK)
        return EXIT_CODE_OK;
    fprintf(stderr, "holdfastd: --initial-cluster: %s\n", why[0] ? why : membership_strerror(err));
    return EXIT_CODE_USAGE;
}

static uint64_t journal_segment_bytes(const struct options *options)
{
    /* A batch is never split within an entry, and some batches shall fit. */
    uint64_t wanted = 4 * options->max_request_bytes;
    uint64_t segment = JOURNAL_SEGMENT_BYTES;
    while (segment < wanted)
        segment *= 2;
    return segment;
}

static enum exit_code open_node(struct daemon *d)
{
    const struct options *o = &d->options;
    struct node_options options = {
        .io = d->io,
        .data_dir = o->data_dir,
        .name = o->name,
        .server_version = HOLDFAST_VERSION,
        .initial = &d->initial,
        .initial_cluster_id = membership_cluster_id(&d->initial),
        .initial_member_id = membership_by_name(&d->initial, o->name)->id,
        .client_urls = o->advertise_client_urls.texts,
        .client_url_count = o->advertise_client_urls.count,
        .peer_addrs = d->peer_addrs,
        .peer_addr_count = o->listen_peer_urls.count,
        .must_match_initial = strcmp(o->initial_cluster_state, "new") == 0,
        .heartbeat_ms = (uint32_t)o->heartbeat_interval_ms,
        .election_timeout_ms = (uint32_t)o->election_timeout_ms,
        .pre_vote = o->pre_vote,
        .request_bytes_max = (uint32_t)o->max_request_bytes,
        .requests_max = REQUESTS_MAX,
        .memtable_bytes_max = MEMTABLE_BYTES_MAX,
        .log_keep_entries = o->snapshot_count,
        .journal_segment_bytes = journal_segment_bytes(o),
        .journal_segment_count_max = JOURNAL_SEGMENTS_MAX,
        .map_bytes = MAP_BYTES,
        .views_max = VIEWS_MAX,
        .on_fatal = on_fatal,
        .on_serving = on_serving,
        .owner = d,
    };
    char detail[NODE_DETAIL_BYTES] = "";
    enum exit_code code = node_open(&d->node, &options, detail);
    if (code != EXIT_CODE_OK)
        fail(detail);
    return code;
}

static struct grpc_options grpc_options_of(struct daemon *d)
{
    const struct options *o = &d->options;
    struct grpc_options options = {
        .io = d->io,
        .owner = &d->services,
        .connection_count_max = CONNECTIONS_MAX,
        .stream_count_max = o->max_concurrent_streams < STREAMS_MAX
                                ? (uint32_t)o->max_concurrent_streams
                                : STREAMS_MAX,
        .message_bytes_max = (uint32_t)o->max_request_bytes + GRPC_OVERHEAD_BYTES,
        .request_bytes_max = REQUESTS_BYTES_MAX,
        .request_bytes_full = etcd_error_text(ETCD_E_TOO_MANY_REQUESTS),
        .response_bytes_max = RESPONSES_BYTES_MAX,
        .connection_out_bytes_max = CONNECTION_OUT_BYTES_MAX,
        .write_stall_ms = WRITE_STALL_MS,
        .keepalive_min_ms = (uint32_t)o->keepalive_min_ms,
        .keepalive_interval_ms = (uint32_t)o->keepalive_interval_ms,
        .keepalive_timeout_ms = (uint32_t)o->keepalive_timeout_ms,
    };
    options.methods = services_methods(&options.method_count);
    return options;
}

static enum exit_code open_services(struct daemon *d)
{
    services_init(&d->services, &(struct services_options){
                                    .io = d->io,
                                    .node = d->node,
                                    .request_bytes_max = (uint32_t)d->options.max_request_bytes,
                                    .txn_ops_max = (uint32_t)d->options.max_txn_ops,
                                    .jobs_max = READ_JOBS_MAX,
                                    .response_bytes_max = RESPONSE_BYTES_MAX,
                                    .version = API_VERSION,
                                });
    struct grpc_options options = grpc_options_of(d);
    if (grpc_server_open(&d->grpc, &options) != GRPC_SERVER_OK) {
        fail("cannot start the gRPC server: out of memory");
        return EXIT_CODE_FAILURE;
    }
    for (size_t i = 0; i < d->options.listen_client_urls.count; i++) {
        const struct io_addr *addr = &d->client_addrs[i];
        struct io_addr bound;
        char text[ADDR_TEXT_BYTES_MAX];
        int err = grpc_server_listen(d->grpc, addr, &bound);
        if (err < 0) {
            fprintf(stderr,
                    "holdfastd: cannot listen for clients on %s: %s; free it, or change "
                    "--listen-client-urls\n",
                    addr_format(addr, text), strerror(-err));
            return EXIT_CODE_ADDRESS;
        }
        LOG_INFOF("serving client traffic", log_text("address", addr_format(&bound, text)));
    }
    return EXIT_CODE_OK;
}

static enum exit_code open_signals(struct daemon *d)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return EXIT_CODE_FAILURE;
    d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return d->signal_fd >= 0 ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
}

static enum exit_code start(struct daemon *d)
{
    /* Signals first: the job threads inherit the mask. */
    enum exit_code code = open_signals(d);
    if (code == EXIT_CODE_OK)
        code = open_loop(d);
    if (code == EXIT_CODE_OK)
        code = open_log(d);
    if (code != EXIT_CODE_OK)
        return code;
    raise_file_limit();
    code = read_addresses(d);
    if (code == EXIT_CODE_OK)
        code = read_cluster(d);
    if (code == EXIT_CODE_OK)
        code = open_node(d);
    if (code == EXIT_CODE_OK)
        code = open_services(d);
    if (code == EXIT_CODE_OK && loop_watch(d->loop, d->signal_fd, on_signal, d) < 0) {
        fail("cannot watch for signals");
        code = EXIT_CODE_FAILURE;
    }
    return code;
}

static enum exit_code serve(struct daemon *d)
{
    enum exit_code code = start(d);
    if (code != EXIT_CODE_OK)
        return code;
    if (loop_run(d->loop) != LOOP_OK) {
        fail("the event loop failed");
        return EXIT_CODE_FAILURE;
    }
    services_done(&d->services);
    loop_close(d->loop);
    membership_done(&d->initial);
    options_done(&d->options);
    return EXIT_CODE_OK;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    char detail[OPTIONS_DETAIL_BYTES] = "";
    if (!options_parse(&d.options, argc, argv, environ, detail)) {
        fail(detail);
        return EXIT_CODE_USAGE;
    }
    if (d.options.wants_help) {
        options_print_help(STDOUT_FILENO);
        return EXIT_CODE_OK;
    }
    if (d.options.wants_version) {
        printf("holdfastd %s\netcd API: %s\n", HOLDFAST_VERSION, API_VERSION);
        return EXIT_CODE_OK;
    }
    return (int)serve(&d);
}
