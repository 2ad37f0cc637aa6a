/* raft_cluster.h: several consensus cores, their disks and the links between them, in memory and
 * in virtual time. One seed is one run.
 *
 * A disk holds what was written, in order, once its delay is over; a crash loses the writes under
 * way (or, by chance, keeps a prefix of them). Links delay, drop, duplicate and reorder by seed
 * and can be cut in one direction. Disks may stall, and lose some of what was durable. After each
 * step raft_check_invariants runs, and each effect is checked against the disks
 * (raft_cluster_check.c, raft_cluster_members.c).
 */
#ifndef TESTS_SUPPORT_RAFT_CLUSTER_H
#define TESTS_SUPPORT_RAFT_CLUSTER_H

#include <stdio.h>

#include "base/prng.h"
#include "raft/raft.h"

enum {
    CLUSTER_NODES_MAX = 7,
    CLUSTER_LOG_MAX = 8192,
    CLUSTER_TERMS_MAX = 8192,
    CLUSTER_READS_MAX = 16384,
};

struct cluster_options {
    uint32_t node_count;
    uint32_t spare_count;   /* of these, the last ones are no members yet */
    uint32_t learner_count; /* those before the spares */
    uint64_t seed;
    uint32_t link_min_ms;
    uint32_t link_max_ms;
    uint32_t disk_min_ms;
    uint32_t disk_max_ms;
    uint32_t drop_permille;
    uint32_t duplicate_permille;
    uint32_t late_permille; /* of the messages: up to late_max_ms more */
    uint32_t late_max_ms;
    uint32_t flush_permille; /* of the readies that apply something */
    uint32_t trim_permille;  /* of the flushes: the log store drops all it may, whoever needs it */
    uint32_t snapshot_fail_permille;
    bool stays_joint; /* nobody proposes to leave a joint configuration by itself */
    bool traces_heartbeats;
    struct raft_options core; /* id and seed are filled in */
};

/* Sizes that a small cluster is comfortable with; 100 ms election timeout, 20 ms heartbeats. */
struct cluster_options cluster_defaults(uint32_t node_count, uint64_t seed);

/* What a crash leaves. Entry i is log[i]; log[0] is unused. */
struct cluster_disk {
    struct raft_hard_state hard;
    struct raft_entry *log;
    uint64_t last;
    uint64_t flushed;
    uint64_t log_start; /* entries up to it were dropped from the log store */
    bool awaits_repair; /* it has lost some of what was durable */

    /* What the last overwriting write put out of the log: after damage that may be what is left. */
    struct raft_entry *past;
    uint64_t past_count;

    struct raft_pos *lost; /* what it held when it lost something */
    uint64_t lost_count;
};

struct cluster_write {
    uint64_t seq;
    struct raft_hard_state hard;
    struct raft_entry *entries;
    uint32_t entry_count;
    struct cluster_write *next;
};

struct cluster_node {
    uint64_t id;
    bool is_up;
    uint32_t life; /* how often it was started */
    struct raft *raft;
    void *memory;
    struct cluster_disk disk;
    struct cluster_write *writes; /* under way, oldest first */
    uint64_t disk_busy_ms;        /* when the newest of them is done */
    uint64_t stalled_until_ms;    /* no write is done before */
    uint64_t hold_index;          /* the log store keeps entries after it; 0: holds nothing */
    uint64_t deadline_ms;
    uint64_t applied;
    uint64_t state_hash;
    uint64_t commit_seen;
    bool noop_due;
    uint64_t refused_messages; /* RAFT_E_MESSAGE: none, among honest nodes */
    uint64_t no_room_count;
    uint64_t fetch_count;
    uint64_t snapshot_count; /* installed here */
    uint64_t repair_count;
    uint64_t config_count; /* proposed here, and accepted */
    uint64_t timeout_now_count;
};

enum cluster_event_kind {
    CLUSTER_MESSAGE,
    CLUSTER_DURABLE,
    CLUSTER_FETCHED,
    CLUSTER_SNAPSHOT,      /* arrives at its receiver, whole */
    CLUSTER_SNAPSHOT_SENT, /* its sender learns how that went */
    CLUSTER_REPAIRED,      /* the disk's mark is gone */
};

struct cluster_snapshot {
    uint64_t from;
    uint32_t from_life;
    uint64_t to;
    uint64_t term; /* that its sender leads */
    struct raft_pos pos;
    bool ok;
};

/* Something that will happen at due_ms, unless its node has died meanwhile. */
struct cluster_event {
    uint64_t due_ms;
    uint64_t order; /* among those due at once: as they were made */
    enum cluster_event_kind kind;
    uint32_t node; /* position in nodes */
    uint32_t life;
    struct raft_msg msg; /* its entries are owned */
    uint64_t seq;
    struct raft_fetch fetch;
    struct cluster_snapshot snapshot;
};

struct cluster_read {
    uint64_t node;
    uint32_t life;
    uint64_t index_min; /* the highest commit index of any node when it was asked */
    bool done;
    bool refused;
    uint64_t index;
};

/* What identifies an entry: two of the same index and term must agree in all of it. */
struct cluster_seen {
    uint64_t term;
    uint64_t prev_term;
    uint64_t value;
    struct cluster_seen *next;
};

struct cluster {
    struct cluster_options options;
    struct prng prng;
    uint64_t now_ms;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    bool cut[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* from, to */

    struct cluster_event *events; /* a heap */
    size_t event_count;
    size_t event_capacity;
    uint64_t order_last;

    uint64_t value_last;
    uint64_t steps;
    char *trace;
    size_t trace_size;
    FILE *trace_file; /* NULL: no trace */

    /* What the checkers know. */
    struct cluster_seen *seen[CLUSTER_LOG_MAX];
    struct raft_entry truth[CLUSTER_LOG_MAX]; /* committed, whatever happens */
    uint64_t truth_count;
    uint64_t commit_max;
    uint64_t leader_of_term[CLUSTER_TERMS_MAX];
    uint64_t elections;
    struct cluster_read reads[CLUSTER_READS_MAX];
    uint64_t read_count;
};

struct cluster *cluster_new(const struct cluster_options *options);
void cluster_free(struct cluster *c);

/* Before the node's start: its log as a list of terms, and its term. */
void cluster_preload(struct cluster *c, uint64_t id, uint64_t term, const char *terms);

void cluster_start(struct cluster *c, uint64_t id);
void cluster_start_all(struct cluster *c);

/* Loses what was not durable; some of the writes under way may have reached the disk. */
void cluster_crash(struct cluster *c, uint64_t id);

struct cluster_node *cluster_node(struct cluster *c, uint64_t id);

/* The next thing that happens; false when it would be after until_ms. */
bool cluster_step(struct cluster *c, uint64_t until_ms);
void cluster_run(struct cluster *c, uint64_t for_ms);

/* Feeds one event (now_ms is filled in) and carries out all effects. */
enum raft_err cluster_feed(struct cluster *c, uint64_t id, struct raft_event event);

/* A command of so many bytes, at least 8. */
enum raft_err cluster_propose(struct cluster *c, uint64_t id, uint32_t size_bytes);

/* Its number, to look it up in c->reads. */
uint64_t cluster_read(struct cluster *c, uint64_t id);

void cluster_flush(struct cluster *c, uint64_t id);
enum raft_err cluster_transfer(struct cluster *c, uint64_t id, uint64_t to);

/* No write of this node's is done before that. */
void cluster_stall(struct cluster *c, uint64_t id, uint64_t for_ms);

/* The node, which is down, loses the entries after `kept`, or more: all of it when that is less
 * than the log store holds. `past`: what an overwrite had put out of the log is there again
 * instead. */
void cluster_lose(struct cluster *c, uint64_t id, uint64_t kept, bool past);
void cluster_cut(struct cluster *c, uint64_t from, uint64_t to, bool is_cut);
void cluster_cut_off(struct cluster *c, uint64_t id, bool is_cut); /* both ways, from all */
void cluster_link(struct cluster *c, uint64_t at, uint64_t member, bool is_up);
void cluster_set_voice(struct cluster *c, uint64_t at, bool has_voice);
void cluster_leader_dead(struct cluster *c, uint64_t at);

/* Of the highest term among those that run; 0: none. */
uint64_t cluster_leader(struct cluster *c);

/* The trace so far, and from now on from the beginning again. The caller frees it. */
char *cluster_take_trace(struct cluster *c);
void cluster_trace_begin(struct cluster *c);

/* ---- raft_cluster_members.c ---- */

/* "123 L4 O5": voters, then with a letter learners, outgoing voters, B: both halves, D: to become
 * a learner. */
struct raft_config cluster_config(const char *text);
enum raft_err cluster_propose_config(struct cluster *c, uint64_t id,
                                     const struct raft_config *config);
/* The one that leads from the present one to `to`, joint if it has to be. */
struct raft_config cluster_config_towards(const struct raft_config *present,
                                          const struct raft_config *to);
struct raft_config cluster_config_of_entry(const struct raft_entry *entry);
/* What a disk's start is at: as of `flushed`. */
struct raft_config_at cluster_config_at(const struct cluster *c, const struct raft_entry *log,
                                        uint64_t index);
bool cluster_is_quorum(const struct raft_config *config, unsigned nodes);
void cluster_check_config(struct cluster *c, struct cluster_node *n);

/* ---- raft_cluster_check.c ---- */

_Noreturn void cluster_fail(const struct cluster *c, const struct cluster_node *n,
                            const char *what);
bool cluster_disk_holds(const struct cluster_disk *disk, struct raft_pos pos);

void cluster_check_entry(struct cluster *c, const struct raft_entry *entry, uint64_t prev_term);
void cluster_check_ready(struct cluster *c, struct cluster_node *n, const struct raft_ready *ready);
void cluster_check_refusal(struct cluster *c, const struct cluster_node *n,
                           const struct raft_msg *msg);

/* ---- raft_cluster_trace.c ---- */

void cluster_trace(struct cluster *c, uint64_t id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cluster_trace_message(struct cluster *c, const struct raft_msg *msg);
void cluster_trace_ready(struct cluster *c, const struct cluster_node *n,
                         const struct raft_ready *ready);

#endif
