/* options.h: holdfastd's command line, environment and configuration file: etcd's, with etcd's
 * defaults.
 *
 * A flag wins over its ETCD_ variable, and that over the default; --config-file replaces both
 * (etcd: server/etcdmain/config.go). A flag that has no meaning here is accepted and named in
 * `warnings`; one that is not known is an error that names the nearest known one.
 * Owner:    options_done frees what parsing allocated; texts live until then.
 * Thread:   at start, before others. Errors: false, and one line for the operator in `detail`.
 */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "base/arena.h"
#include "base/log.h"

enum {
    OPTIONS_URLS_MAX = 16,
    OPTIONS_WARNINGS_MAX = 64,
    OPTIONS_DETAIL_BYTES = 512,
    OPTIONS_VALUE_BYTES_MAX = 64 << 10,
};

struct options_urls {
    const char *texts[OPTIONS_URLS_MAX];
    size_t count;
};

struct options {
    const char *name;
    const char *data_dir; /* NAME.etcd when it is not given, as etcd does */
    const char *config_file;
    struct options_urls listen_client_urls;
    struct options_urls advertise_client_urls;
    struct options_urls listen_peer_urls;
    const char *initial_advertise_peer_urls; /* as given: a list */
    const char *initial_cluster;
    const char *initial_cluster_state; /* "new" or "existing" */
    const char *initial_cluster_token;
    uint64_t heartbeat_interval_ms;
    uint64_t election_timeout_ms;
    uint64_t snapshot_count;           /* a tenth of the log kept for a member that is away */
    uint64_t snapshot_catchup_entries; /* of the log, kept behind what members need */
    uint64_t max_txn_ops;
    uint64_t max_request_bytes;
    uint64_t max_concurrent_streams;
    uint64_t keepalive_min_ms;
    uint64_t keepalive_interval_ms;
    uint64_t keepalive_timeout_ms;
    bool pre_vote;
    const char *log_level;
    const char *log_format;
    const char *log_outputs;
    bool wants_help;
    bool wants_version;
    struct arena texts;
    const char *warnings[OPTIONS_WARNINGS_MAX];
    size_t warning_count;
};

bool options_parse(struct options *o, int argc, char *const *argv, char *const *environment,
                   char detail[OPTIONS_DETAIL_BYTES]) __attribute__((warn_unused_result));
void options_done(struct options *o);

/* The text of --help: every flag with its default. */
void options_print_help(int fd);

#endif
