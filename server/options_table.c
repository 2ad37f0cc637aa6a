/* Every flag of etcd's server that we know, in etcd's order of subjects, with etcd's defaults. */
#include <string.h>

#include "server/check.h"
#include "server/options_internal.h"

#define AT(member) offsetof(struct options, member)
#define NO_TLS     "TLS is not in this version; run inside a trusted network or a tunnel until it is"
#define NO_AUTH    "authentication is not in this version"
#define OWN_PACE   "this store paces itself"
#define NO_V2      "the v2 API and its proxy and discovery do not exist here"

const struct options_flag options_flags[] = {
    { "name", OPTIONS_TEXT, AT(name), "default", "this member's name", 0, 0 },
    { "data-dir", OPTIONS_TEXT, AT(data_dir), "", "the data directory (default NAME.etcd)", 0, 0 },
    { "config-file", OPTIONS_TEXT, AT(config_file), "",
      "a YAML file of these names; replaces flags and environment", 0, 0 },
    { "listen-client-urls", OPTIONS_URLS, AT(listen_client_urls), "http://localhost:2379",
      "where to serve clients", 0, 0 },
    { "advertise-client-urls", OPTIONS_URLS, AT(advertise_client_urls), "http://localhost:2379",
      "what clients and members are told", 0, 0 },
    { "listen-peer-urls", OPTIONS_URLS, AT(listen_peer_urls), "http://localhost:2380",
      "where to listen for members", 0, 0 },
    { "initial-advertise-peer-urls", OPTIONS_TEXT, AT(initial_advertise_peer_urls),
      "http://localhost:2380", "this member's peer URLs, as in --initial-cluster", 0, 0 },
    { "initial-cluster", OPTIONS_TEXT, AT(initial_cluster), "",
      "NAME=PEER_URL,... of all first members (default this one alone)", 0, 0 },
    { "initial-cluster-state", OPTIONS_TEXT, AT(initial_cluster_state), "new", "new or existing", 0,
      0 },
    { "initial-cluster-token", OPTIONS_TEXT, AT(initial_cluster_token), "etcd-cluster",
      "tells clusters apart that have the same members", 0, 0 },
    { "heartbeat-interval", OPTIONS_NUMBER, AT(heartbeat_interval_ms), "100",
      "milliseconds between a leader's heartbeats", 1, 10000 },
    { "election-timeout", OPTIONS_NUMBER, AT(election_timeout_ms), "1000",
      "milliseconds without a leader before an election, at least 5 heartbeats", 50, 50000 },
    { "pre-vote", OPTIONS_BOOL, AT(pre_vote), "true", "ask before an election", 0, 0 },
    { "snapshot-count", OPTIONS_NUMBER, AT(snapshot_count), "10000",
      "a tenth of the log entries kept for a member that is away", 1, UINT64_MAX / 10 },
    { "snapshot-catchup-entries", OPTIONS_NUMBER, AT(snapshot_catchup_entries), "5000",
      "log entries kept behind what members need", 1, UINT64_MAX },
    { "experimental-snapshot-catchup-entries", OPTIONS_NUMBER, AT(snapshot_catchup_entries), "5000",
      "the same, as it was called before", 1, UINT64_MAX },
    { "max-txn-ops", OPTIONS_NUMBER, AT(max_txn_ops), "128", "operations in a transaction, at most",
      1, CHECK_TXN_OPS_MAX },
    { "max-request-bytes", OPTIONS_NUMBER, AT(max_request_bytes), "1572864",
      "bytes in a request, at most", 1024, 64 << 20 },
    { "max-concurrent-streams", OPTIONS_NUMBER, AT(max_concurrent_streams), "4294967295",
      "calls on one connection at a time, at most (10,000 here whatever is given above)", 1,
      UINT32_MAX },
    { "grpc-keepalive-min-time", OPTIONS_DURATION, AT(keepalive_min_ms), "5s",
      "clients that ping more often are sent away", 0, UINT32_MAX },
    { "grpc-keepalive-interval", OPTIONS_DURATION, AT(keepalive_interval_ms), "2h",
      "idle connections are pinged; 0 for never", 0, UINT32_MAX },
    { "grpc-keepalive-timeout", OPTIONS_DURATION, AT(keepalive_timeout_ms), "20s",
      "and closed without an answer in that time", 0, UINT32_MAX },
    { "log-level", OPTIONS_TEXT, AT(log_level), "info", "debug, info, warn, error", 0, 0 },
    { "log-format", OPTIONS_TEXT, AT(log_format), "json", "json or console", 0, 0 },
    { "log-outputs", OPTIONS_TEXT, AT(log_outputs), "default",
      "default or stderr, stdout, or a file's path", 0, 0 },

    { "cert-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "key-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "client-cert-auth", OPTIONS_REFUSED, 0, "false", NO_TLS, 0, 0 },
    { "client-crl-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "client-cert-allowed-hostname", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "trusted-ca-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "auto-tls", OPTIONS_REFUSED, 0, "false", NO_TLS, 0, 0 },
    { "peer-cert-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "peer-key-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "peer-client-cert-auth", OPTIONS_REFUSED, 0, "false", NO_TLS, 0, 0 },
    { "peer-trusted-ca-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "peer-cert-allowed-cn", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "peer-cert-allowed-hostname", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "peer-crl-file", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "peer-auto-tls", OPTIONS_REFUSED, 0, "false", NO_TLS, 0, 0 },
    { "cipher-suites", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "tls-min-version", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "tls-max-version", OPTIONS_REFUSED, 0, "", NO_TLS, 0, 0 },
    { "auth-token", OPTIONS_REFUSED, 0, "simple", NO_AUTH, 0, 0 },
    { "bcrypt-cost", OPTIONS_REFUSED, 0, "10", NO_AUTH, 0, 0 },
    { "auth-token-ttl", OPTIONS_REFUSED, 0, "300", NO_AUTH, 0, 0 },
    { "quota-backend-bytes", OPTIONS_IGNORED, 0, "0",
      "the quota and its alarm are not in this version", 0, 0 },
    { "auto-compaction-mode", OPTIONS_IGNORED, 0, "periodic",
      "auto compaction is not in this version; run holdfastctl compaction", 0, 0 },
    { "auto-compaction-retention", OPTIONS_IGNORED, 0, "0",
      "auto compaction is not in this version; run holdfastctl compaction", 0, 0 },
    { "force-new-cluster", OPTIONS_REFUSED, 0, "false", "this is not in this version", 0, 0 },
    { "listen-metrics-urls", OPTIONS_IGNORED, 0, "", "metrics are not in this version", 0, 0 },

    { "wal-dir", OPTIONS_IGNORED, 0, "", "log and state are in --data-dir", 0, 0 },
    { "max-snapshots", OPTIONS_IGNORED, 0, "5", OWN_PACE, 0, 0 },
    { "max-wals", OPTIONS_IGNORED, 0, "5", OWN_PACE, 0, 0 },
    { "backend-batch-interval", OPTIONS_IGNORED, 0, "", OWN_PACE, 0, 0 },
    { "backend-batch-limit", OPTIONS_IGNORED, 0, "0", OWN_PACE, 0, 0 },
    { "backend-bbolt-freelist-type", OPTIONS_IGNORED, 0, "map", OWN_PACE, 0, 0 },
    { "compaction-batch-limit", OPTIONS_IGNORED, 0, "1000", OWN_PACE, 0, 0 },
    { "compaction-sleep-interval", OPTIONS_IGNORED, 0, "", OWN_PACE, 0, 0 },
    { "initial-election-tick-advance", OPTIONS_IGNORED, 0, "true",
      "elections do not count in ticks here", 0, 0 },
    { "strict-reconfig-check", OPTIONS_IGNORED, 0, "true", "it is always strict", 0, 0 },
    { "max-learners", OPTIONS_IGNORED, 0, "1", "members do not change in this version", 0, 0 },
    { "cors", OPTIONS_IGNORED, 0, "*", "there is no JSON gateway in this version", 0, 0 },
    { "host-whitelist", OPTIONS_IGNORED, 0, "*", "there is no JSON gateway in this version", 0, 0 },
    { "enable-grpc-gateway", OPTIONS_IGNORED, 0, "true", "there is no JSON gateway in this version",
      0, 0 },
    { "enable-v2", OPTIONS_IGNORED, 0, "false", NO_V2, 0, 0 },
    { "discovery", OPTIONS_REFUSED, 0, "", NO_V2, 0, 0 },
    { "discovery-srv", OPTIONS_REFUSED, 0, "", "use --initial-cluster", 0, 0 },
    { "proxy", OPTIONS_IGNORED, 0, "off", NO_V2, 0, 0 },
    { "enable-pprof", OPTIONS_IGNORED, 0, "false", "profile with perf", 0, 0 },
    { "metrics", OPTIONS_IGNORED, 0, "basic", "metrics are not in this version", 0, 0 },
    { "logger", OPTIONS_IGNORED, 0, "zap", "there is one logger", 0, 0 },
    { "enable-log-rotation", OPTIONS_IGNORED, 0, "false", "use logrotate or journald", 0, 0 },
    { "log-rotation-config-json", OPTIONS_IGNORED, 0, "", "use logrotate or journald", 0, 0 },
    { "unsafe-no-fsync", OPTIONS_REFUSED, 0, "false",
      "this store does not acknowledge what it has not synced", 0, 0 },
    { "warning-apply-duration", OPTIONS_IGNORED, 0, "100ms", OWN_PACE, 0, 0 },
    { "warning-unary-request-duration", OPTIONS_IGNORED, 0, "300ms", OWN_PACE, 0, 0 },
    { "socket-reuse-port", OPTIONS_IGNORED, 0, "false", "one process serves a port", 0, 0 },
    { "socket-reuse-address", OPTIONS_IGNORED, 0, "false", "it always is", 0, 0 },
    { "memory-mlock", OPTIONS_IGNORED, 0, "false", "memory is bounded instead", 0, 0 },
    { "raft-read-timeout", OPTIONS_IGNORED, 0, "5s", "peer links watch themselves", 0, 0 },
    { "raft-write-timeout", OPTIONS_IGNORED, 0, "5s", "peer links watch themselves", 0, 0 },
    { "corrupt-check-time", OPTIONS_IGNORED, 0, "0s", "every heartbeat compares the state's hash",
      0, 0 },
    { "experimental-initial-corrupt-check", OPTIONS_IGNORED, 0, "false",
      "every heartbeat compares the state's hash", 0, 0 },
    { "experimental-corrupt-check-time", OPTIONS_IGNORED, 0, "0s",
      "every heartbeat compares the state's hash", 0, 0 },
    { "feature-gates", OPTIONS_IGNORED, 0, "", "etcd's features have no gates here", 0, 0 },
};

const size_t options_flag_count = sizeof options_flags / sizeof options_flags[0];

const struct options_flag *options_flag_find(const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < options_flag_count; i++) {
        const char *known = options_flags[i].name;
        if (strlen(known) == name_bytes && memcmp(known, name, name_bytes) == 0)
            return &options_flags[i];
    }
    return NULL;
}

enum { NAME_BYTES_MAX = 64 };

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance, one row at a time. */
static size_t edit_distance(const char *a, size_t a_bytes, const char *b)
{
    size_t b_bytes = strlen(b);
    size_t row[NAME_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t above = row[j];
            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_bytes];
}

const char *options_flag_nearest(const char *name, size_t name_bytes)
{
    if (name_bytes > NAME_BYTES_MAX)
        name_bytes = NAME_BYTES_MAX;
    const char *nearest = options_flags[0].name;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < options_flag_count; i++) {
        size_t edits = edit_distance(name, name_bytes, options_flags[i].name);
        if (edits < fewest) {
            fewest = edits;
            nearest = options_flags[i].name;
        }
    }
    return nearest;
}
