/* daemon.h: everything of a member but its loop, its signals and its log: node, services, gRPC.
 *
 * holdfastd runs one over the real loop, the simulator many over its own struct io.
 * Owner:    main, or the simulator. Lifetime: open .. the callback of close.
 * Thread:   the loop's; only daemon_open blocks.
 * Bounds:   daemon_sizes, and what the flags say.
 * Errors:   one line for the operator in detail; later ones through on_fatal (node.h).
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include "server/node.h"
#include "server/options.h"
#include "server/services.h"

/* What Status tells clients: the etcd release whose API this is. */
#define DAEMON_API_VERSION "3.7.1"

/* What no flag says: how much memory and disk a member takes. */
struct daemon_sizes {
    uint32_t connections_max;
    uint32_t requests_max;
    uint32_t window_entries_max;
    uint32_t views_max;
    uint64_t window_bytes_keep;
    uint64_t store_dirty_bytes_max;
    uint32_t compact_rows_max;
    uint32_t read_jobs_max;
    uint32_t learners_max; /* etcd: --max-learners */
    uint32_t journal_segment_count_max;
    uint64_t journal_segment_bytes; /* at least; more where --max-request-bytes needs it */
    uint64_t memtable_bytes_max;
    uint64_t map_bytes;
    uint64_t log_retain_factor; /* of --snapshot-count: entries for members that are away */
    uint64_t log_retain_bytes_max;
    uint64_t snapshot_bytes_per_s;
    uint32_t snapshot_chunk_bytes;
    uint64_t requests_bytes_max;
    uint64_t responses_bytes_max; /* of one answer, and of all that wait */
};

struct daemon_sizes daemon_sizes_default(void);

/* A member that was added to a cluster, and starts on a blank disk. */
struct daemon_join {
    uint64_t cluster_id;
    uint64_t member_id;
    const char *const *peer_urls;
    size_t peer_url_count;
};

struct daemon_options {
    struct io *io;                  /* borrowed, like all that follows */
    const struct options *flags;    /* as parsed */
    const char *store_path;         /* NULL: "store" below --data-dir */
    const struct daemon_join *join; /* not NULL: in place of --initial-cluster */
    struct daemon_sizes sizes;
    void (*on_fatal)(void *owner, enum exit_code code, const char *text);
    void (*on_serving)(void *owner);
    void *owner;
};

enum { DAEMON_DETAIL_BYTES = NODE_DETAIL_BYTES + MEMBERSHIP_WHY_BYTES };

struct daemon;

/* Blocking. Whatever it returns, daemon_close ends what *ret_daemon then is, if not NULL. */
enum exit_code daemon_open(struct daemon **ret_daemon, const struct daemon_options *options,
                           char detail[DAEMON_DETAIL_BYTES]) __attribute__((warn_unused_result));

/* At the end of each turn of the loop. */
void daemon_turn_end(struct daemon *d);

/* Nothing leaves it any more; what remains is to close it. */
void daemon_halt(struct daemon *d);

/* Clients have until the deadline to finish; then the node closes, and `fn` runs when all is
 * gone. */
void daemon_close(struct daemon *d, uint32_t grace_ms, void (*fn)(void *owner), void *owner);

/* NULL once it is closed, or where it never opened. */
struct node *daemon_node(const struct daemon *d);
const struct services *daemon_services(const struct daemon *d);
const struct grpc_server *daemon_grpc(const struct daemon *d);

#endif
