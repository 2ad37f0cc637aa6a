/* node.h: one member: Raft, journal, store, state machine and peers, driven by the loop.
 *
 * Events come in (completions, messages, requests); at the end of each turn of the loop
 * node_turn_end lets out what gathered: proposals as one batch, one journal write, one frame a
 * peer. Services (server/service*.h) sit above it.
 *
 * Owner:    main, or the simulator. Lifetime: open .. the callback of node_close.
 * Thread:   the loop's; only node_open blocks.
 * Bounds:   node_options; node_memory_bytes_max sums the caps.
 * Errors:   what the node cannot survive is reported once, by on_fatal, and from then on nothing
 *           leaves it: fail-stop (I6). EXIT_CODE_REPAIR: the process is to start anew at once.
 */
#ifndef SERVER_NODE_H
#define SERVER_NODE_H

#include "rpc/peer.h"
#include "server/exit_code.h"
#include "server/membership_change.h"
#include "server/reads.h"
#include "server/requests.h"

struct node;

struct node_options {
    struct io *io;
    const char *data_dir;   /* made when missing */
    const char *store_path; /* of the store's directory, made when missing */
    const char *name;
    const char *server_version;
    const struct membership *initial; /* the cluster that --initial-cluster describes */
    uint64_t initial_cluster_id;
    uint64_t initial_member_id; /* ours in it */
    bool
        joins; /* the cluster is there, and has added us by these ids: `initial` is not looked at */
    const char *const *peer_urls; /* joins: where others dial us; else `initial` says so */
    size_t peer_url_count;
    uint32_t learners_max;          /* more are not added */
    const char *const *client_urls; /* what other members and clients are told */
    size_t client_url_count;
    const struct io_addr *peer_addrs; /* to listen on */
    size_t peer_addr_count;
    bool must_match_initial; /* a data directory of another cluster is refused */
    uint32_t heartbeat_ms;
    uint32_t election_timeout_ms;
    bool pre_vote;
    uint32_t request_bytes_max;
    uint32_t requests_max;       /* writes, and reads, that wait at a time */
    uint32_t window_entries_max; /* of the log in memory, a power of two, from 8192 on; four times
                                    what a flush waits for */
    uint64_t window_bytes_keep;  /* of entries that are flushed, for members a little behind */
    uint64_t store_dirty_bytes_max;  /* of one of a flush's transactions */
    uint32_t compact_rows_max;       /* looked at by one flush */
    uint64_t memtable_bytes_max;     /* at which it is flushed */
    uint64_t log_keep_entries;       /* of the log kept behind what members need */
    uint64_t log_retain_entries_max; /* and at most, whatever members need: they get a snapshot */
    uint64_t log_retain_bytes_max;
    uint64_t snapshot_bytes_per_s; /* to one member */
    uint32_t snapshot_chunk_bytes; /* [512, 1 MiB] */
    uint64_t journal_segment_bytes;
    uint32_t journal_segment_count_max;
    uint64_t map_bytes;
    uint32_t views_max;
    void (*on_fatal)(void *owner, enum exit_code code, const char *text);
    void (*on_serving)(void *owner); /* once: the log was replayed and a leader is known */
    void *owner;
};

enum { NODE_DETAIL_BYTES = 512 };

/* Blocking: recovers, then dials the peers. EXIT_CODE_OK, or why it cannot start, with one line
 * for the operator in detail. A node that cannot start may be half there: then node_close ends it
 * like one that has failed, and *ret_node is NULL where nothing is left to close. */
enum exit_code node_open(struct node **ret_node, const struct node_options *options,
                         char detail[NODE_DETAIL_BYTES]) __attribute__((warn_unused_result));

void node_turn_end(struct node *node);

/* Nothing leaves it any more, as after on_fatal: for an owner whose process is as good as dead. */
void node_halt(struct node *node);

/* A leader hands over first, for an election timeout at most. `fn` runs when nothing is in flight
 * any more; the node is gone then. One that has failed flushes and writes nothing. */
void node_close(struct node *node, void (*fn)(void *owner), void *owner);

/* ---- for services ---- */

/* Takes the request on: request->done will run. Fails at once, through done, past a cap. */
void node_submit(struct node *node, struct request *request);

/* How many writes and reads wait, and how many of each may. */
struct node_waiting {
    uint32_t writes;
    uint32_t reads;
    uint32_t max;
};
struct node_waiting node_waiting(const struct node *node);

void node_cancel(struct node *node, struct request *request);

/* Runs read->done when a linearizable read may be served. */
void node_read(struct node *node, struct read *read);
void node_cancel_read(struct node *node, struct read *read);

/* Runs `done` once the store has let go of what a compaction at the revision superseded. */
struct node_wait {
    int64_t revision;
    void (*done)(struct node_wait *wait);
    struct list link; /* list_init before; list_remove ends the waiting */
};
void node_wait_compacted(struct node *node, struct node_wait *wait);

/* Changes the membership; leader only, one at a time. What was proposed goes its way whoever waits
 * for it: a joint configuration is left by itself. */
struct member_change_request {
    struct member_change *changes; /* the caller's until done; id 0 of an add: one is chosen */
    size_t change_count;
    /* Exactly once, unless cancelled: ETCD_OK when the last configuration of the change is applied
     * here. ETCD_E_LEADER_CHANGED and the time-outs say nothing of the outcome. */
    void (*done)(struct member_change_request *request, enum etcd_error error);
};
void node_change_members(struct node *node, struct member_change_request *request);
void node_cancel_change(struct node *node, struct member_change_request *request);

/* Hands leadership to a member (etcd: MoveLeader). done: exactly once, unless cancelled; it may
 * run inside the call. */
struct node_transfer {
    uint64_t to;
    void (*done)(struct node_transfer *transfer, enum etcd_error error);
    /* Internal. */
    struct node *node; /* NULL: not under way */
    struct timer timer;
    struct list link;
};
void node_transfer(struct node *node, struct node_transfer *transfer);
void node_cancel_transfer(struct node *node, struct node_transfer *transfer);

struct kv *node_kv(struct node *node);
const struct machine_state *node_machine_state(const struct node *node);
const struct membership *node_membership(const struct node *node); /* as applied */

/* The store cannot be read: stops the node; unless a snapshot has replaced `kv`, that was read,
 * meanwhile: that one is on its way out, and the new one is sound. */
void node_fail_store(struct node *node, const struct kv *kv, enum kv_err err);

struct node_status {
    uint64_t cluster_id;
    uint64_t member_id;
    struct raft_status raft;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t last_index;
    uint64_t db_bytes;
    uint64_t db_in_use_bytes;
    bool is_corrupt; /* a state hash differed from the leader's (I5) */
    bool is_serving;
};
struct node_status node_status(const struct node *node);

struct node_counters {
    uint64_t proposals_committed;
    uint64_t proposals_failed;
    uint64_t leader_changes;
    uint64_t reads_served;
    uint64_t flushes;
    uint64_t journal_writes;
    uint64_t journal_written_bytes;
    uint64_t requests_refused;
    uint64_t requests_timed_out;
    uint64_t forwards_refused; /* to other members: not the leader, or no room */
    uint64_t raft_refused;     /* events: proposals without room, impossible messages */
    uint64_t configs_applied;  /* changes of the membership, both steps of a joint one */
    uint64_t transfers;        /* of leadership, asked for here, that came about */
    uint64_t removed_refused;  /* Hellos of members that were removed */
    uint64_t repairs_started;  /* by this start: 0 or 1 */
    uint64_t repairs_finished;
    uint64_t snapshots_sent;
    uint64_t snapshots_received; /* and installed */
    uint64_t snapshots_failed;   /* either way, for whatever reason */
    struct peer_counters peers;
};
struct node_counters node_counters(const struct node *node);

#endif
