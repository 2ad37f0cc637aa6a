/* node_internal.h: shared by node*.c alone. */
#ifndef SERVER_NODE_INTERNAL_H
#define SERVER_NODE_INTERNAL_H

#include "base/log_limit.h"
#include "rpc/addr.h"
#include "server/formation.h"
#include "server/machine.h"
#include "server/node.h"
#include "server/node_snapshot.h"
#include "server/retention.h"
#include "storage/identity.h"
#include "storage/journal.h"
#include "storage/kv.h"
#include "storage/repair_mark.h"

enum {
    NODE_HASHES = 1024,        /* state hashes of the newest entries, a power of two */
    NODE_APPLY_SLICE_US = 500, /* of applying in one turn (I10) */
    NODE_BATCH_BYTES_MAX = 4 << 20,
    NODE_BATCH_ENTRIES_MAX = 4096, /* half a window at most, or it might never fit */
    NODE_REWRITE_ENTRIES_MAX = 1 << 17,
    NODE_WINDOW_ENTRIES_MIN = 2 * NODE_BATCH_ENTRIES_MAX,
    NODE_FORWARD_RETRY_MS = 10, /* after the leader would not take one */
    NODE_PATH_BYTES_MAX = 4096,
    NODE_LINKS_MAX = RAFT_MEMBERS_MAX + 8, /* members, and some that are not known to be yet */
};

/* etcd's words. */
#define NODE_REMOVED_TEXT "the member has been permanently removed from the cluster"

/* Entries on their way to the journal: a range of the log window, and what it must wait for. */
struct node_persist {
    bool is_pending;
    bool is_writing;
    struct raft_range range; /* pending; empty: the hard state alone */
    struct raft_hard_state hard;
    uint64_t seq;         /* pending up to here */
    uint64_t writing_seq; /* what is durable once it is; 0: nothing new */
    struct slice *slices; /* of the write, NODE_REWRITE_ENTRIES_MAX */
    struct raft_pos *positions;
    bool wants_rewrite; /* the live tail again, so that old segments come free */
    bool is_rewriting;  /* the write under way is that */
    bool has_said_full; /* that no journal segment could be made; until a write is done */
};

/* A write that another member forwarded, until the end of the turn. */
struct node_forwarded {
    struct list link;
    uint64_t member;
    uint64_t request_id;
    uint64_t term;
    uint64_t auth_revision;
    size_t user_bytes;
    size_t command_bytes;
    uint8_t bytes[]; /* user, command */
};

struct node_forward_query {
    uint64_t member;
    struct peer_forward_query query;
};

/* Entries for a slow member, read from the log store by a job. */
struct node_fetch {
    struct node *node;
    struct list link;
    struct io_job job;
    struct raft_fetch wanted;
    struct raft_entry *entries;
    size_t count;
    struct block *block;
    enum store_err err;
};

struct node_flush {
    bool is_running;
    bool had_memtable;
    struct store_flush flush;
    struct raft_entry *entries; /* each with a block reference */
    struct arena membership;    /* encoded */
    uint32_t fill;              /* how full memory was with what it takes: memory_fill */
    uint64_t began_us;
    uint32_t progress; /* as it was seen last, and when */
    uint64_t progress_us;
};

/* node_config.c: the memberships by the log, ahead of what is applied. */
struct node_config {
    struct membership in_force;
    struct membership before; /* while in_force is not committed; else empty */
    struct {
        uint64_t id;
        struct log_limit refusals; /* of us, by it */
    } links[NODE_LINKS_MAX];       /* whom peers knows, oldest first */
    uint32_t link_count;
};

/* node_change.c: the change of the membership that somebody waits for. */
enum node_change_state {
    NODE_CHANGE_NONE,
    NODE_CHANGE_WAITS, /* until all of the log is applied */
    NODE_CHANGE_PROPOSED,
    NODE_CHANGE_LEAVES, /* the joint one is applied */
};

struct node_change {
    enum node_change_state state;
    struct member_change_request *request; /* NULL: nobody waits any more */
    struct raft_pos pos;                   /* of the entry */
    struct timer timer;
};

/* node_join.c: disks that have said Hello and are not recorded. */
struct node_met {
    uint64_t member;
    uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES];
};

struct node_join {
    struct node_met met[NODE_LINKS_MAX];
    uint32_t met_count;
    bool is_recording;
    struct request request;
    struct arena arena;
};

/* node_news.c: what each member has been told of the commit index, and what waits to be. */
struct node_told {
    uint64_t member;
    uint64_t commit;
    bool is_waiting;
    struct raft_msg waiting;
};

struct node_news {
    struct node_told told[RAFT_MEMBERS_MAX];
    uint32_t told_count;
    uint64_t awaited_index; /* the last entry that somebody elsewhere waits for */
    struct timer timer;
};

struct node_batch; /* node_news.c */
void node_news_send(struct node *node, const struct raft_msg *msg);
/* Others wait for entries of ours up to this index. */
void node_news_await(struct node *node, uint64_t index);
void node_on_news_timer(void *owner);
void node_news_forget(struct node *node); /* we lead no more, or not yet */

/* node_propose.c */

struct node {
    struct node_options options;
    struct io *io;
    int dir_fd;
    int lock_fd;
    char store_parent[NODE_PATH_BYTES_MAX]; /* of the store, and of a snapshot beside it */
    struct identity identity;
    struct repair_mark repair; /* as on the disk */
    struct io_job repair_job;  /* saves or clears it */
    bool repair_is_saving;
    enum repair_mark_err repair_err;
    char repair_text[NODE_DETAIL_BYTES]; /* why, for on_fatal */
    struct membership membership;
    struct store *store;
    struct kv *kv;
    struct machine *machine;
    struct journal *journal;
    struct raft *raft;
    void *raft_memory;
    struct peer_net *peers;
    struct formation formation;
    struct node_config config;
    struct node_change change;
    bool leave_joint_due; /* from the last ready */
    struct node_join join;
    uint64_t membership_changes; /* of the machine, carried out */
    bool is_removed;             /* it waits for its last words to leave */
    struct timer removal_timer;  /* then it ends */
    struct list transfers;       /* struct node_transfer */
    uint32_t transfer_count;
    struct timer leave_timer;
    struct io_job identity_job; /* saves `identity` */
    bool identity_is_saving;
    struct identity identity_saving; /* what the job writes */
    enum identity_err identity_err;

    struct requests requests;
    struct reads reads;
    struct node_batch *batch;      /* under construction; NULL before node_propose_open */
    struct node_batch *noop_batch; /* a step within the other's may need it */
    struct arena check;            /* of one forwarded command */
    struct list forwarded;         /* struct node_forwarded */
    size_t forwarded_bytes;
    struct list compaction_waits; /* struct node_wait */
    struct request publish;       /* our own name and URLs */
    struct arena publish_arena;
    bool publish_is_due; /* not published yet, or refused */

    struct raft_status status;
    uint64_t apply_to_index; /* committed, and durable here: may be applied */
    uint64_t applied_term;
    uint64_t noop_term;       /* the last term that we led and began */
    bool apply_is_sliced;     /* an entry is half applied */
    uint64_t unflushed_bytes; /* of entries, applied since the last flush began */
    struct raft_state_hash hashes[NODE_HASHES];
    struct raft_state_hash expected; /* the leader's, ahead of us; index 0: none */
    bool is_corrupt;

    struct node_news news;
    struct node_persist persist;
    struct node_flush flush;
    struct list fetches; /* struct node_fetch: one a member, but for some that was removed */
    struct retention retention;
    struct node_send sends[RAFT_MEMBERS_MAX];
    struct node_receive receive;
    struct timer receive_timer;
    struct node_install install;
    uint64_t install_seq; /* of the core's writes, that the reset of the journal covers */
    struct node_retired retired;

    struct timer raft_timer;
    struct timer turn_timer;
    uint32_t starts;          /* rounds of it so far */
    struct timer start_timer; /* the first election need not wait for a time-out */
    uint64_t forward_not_before_ms;
    bool forward_query_is_due; /* a link was lost with forwards under way */
    struct node_forward_query forward_queries[NODE_LINKS_MAX]; /* of others, until the turn's end */
    uint32_t forward_query_count;
    bool has_voice;
    bool is_serving;
    bool has_failed;
    bool is_leaving; /* node_close was called: nothing new is taken on */
    bool is_closing;
    int closing_parts; /* that have not reported back */
    void (*closed)(void *owner);
    void *closed_owner;

    struct node_counters counters;
};

/* node.c */
void node_fail(struct node *node, enum exit_code code, const char *what, const char *why);
/* The loop comes round again at once: work was left for a next turn. */
void node_want_turn(struct node *node);
/* The same in a millisecond: to look again whether something goes on elsewhere. */
void node_want_turn_soon(struct node *node);
void node_close_parts(struct node *node); /* leadership is handed over, or was not ours */

/* node_raft.c: one event in, its effects carried out. False: Raft refused the event. */
bool node_step(struct node *node, struct raft_event *event);
/* A message from a member. False: it is impossible. */
bool node_step_message(struct node *node, const struct raft_msg *msg);
void node_on_raft_timer(void *owner);
void node_on_start_timer(void *owner);
enum exit_code node_raft_open(struct node *node, const struct store_state *state,
                              struct journal_recovery *recovery, char *detail);

/* node_propose.c */
bool node_propose_open(struct node *node); /* false without memory */
void node_propose_done(struct node *node);
void node_propose_noop(struct node *node);
void node_propose_gathered(struct node *node);
/* False: Raft does not take it now. */
bool node_propose_config(struct node *node, const struct membership *next);
void node_on_forward(void *owner, uint64_t member, const struct peer_forward *forward);
void node_on_forward_refused(void *owner, uint64_t member,
                             const struct peer_forward_refused *refused);
void node_on_forward_query(void *owner, uint64_t member, const struct peer_forward_query *query);
void node_on_forward_reach(void *owner, uint64_t member, const struct peer_forward_reach *reach);

/* node_persist.c */
enum exit_code node_persist_open(struct node *node);
void node_persist_add(struct node *node, const struct raft_ready *ready);
void node_persist_write(struct node *node);
/* All that is not flushed goes to the journal once more, if one batch holds it, and the segments
 * before it come free. */
void node_persist_rewrite(struct node *node);
void node_persist_done(struct node *node);

/* node_apply.c */
void node_apply_committed(struct node *node);
void node_check_hash(struct node *node, uint64_t member, struct raft_state_hash theirs);

/* node_flush.c */
void node_flush_if_due(struct node *node);
/* The journal is full: flushes whatever there is, or stops the node when that cannot help. */
void node_flush_for_room(struct node *node);
/* Tells the flush under way how much it is wanted. */
void node_flush_pace(struct node *node);
/* How many entries the leader may propose now, so that memory does not end before a flush that is
 * running does. */
uint64_t node_flush_room(struct node *node);
/* At an orderly end, so that the next start has nothing to replay. */
void node_flush_last(struct node *node);
void node_fetch_begin(struct node *node, const struct raft_fetch *wanted);
bool node_fetch_is_running(const struct node *node);
bool node_jobs_are_running(const struct node *node);
/* Whoever waits for a compaction up to there need not wait any more. */
void node_tell_compacted(struct node *node, int64_t compacted_revision);

/* node_send.c */
void node_send_open(struct node *node);
void node_send_wanted(struct node *node, uint64_t member); /* also inside a step */
void node_send_on_ack(void *owner, uint64_t member, const struct peer_snapshot_ack *ack);
void node_send_on_link_up(struct node *node, uint64_t member);
void node_send_on_flushed(struct node *node);
/* A snapshot begins when the flush under way is done. */
bool node_send_awaits_flush(const struct node *node);
/* Sessions of another term or of a member that is gone end; all, when the node does. */
void node_send_review(struct node *node);
bool node_send_is_reading(const struct node *node);
uint64_t node_send_keep_index(const struct node *node); /* UINT64_MAX: none */

/* node_receive.c */
void node_receive_on_chunk(void *owner, uint64_t member, const struct peer_snapshot_chunk *chunk);
void node_on_receive_timer(void *owner);
bool node_receive_is_needless(const struct node *node, struct raft_pos pos);
/* keep: a complete one stays on the disk, since the journal may speak of it. */
void node_receive_end(struct node *node, bool keep);
bool node_receive_is_running(const struct node *node);

/* node_install.c */
void node_install_begin(struct node *node);
void node_install_advance(struct node *node);
bool node_install_holds(const struct node *node);       /* nothing is applied or flushed */
bool node_install_is_critical(const struct node *node); /* and the core stands still */
bool node_install_is_running(const struct node *node);  /* as a job */
void node_retired_close(struct node *node);

/* node_members.c */
enum exit_code node_members_open(struct node *node, char *detail);
void node_publish_attributes(struct node *node);
void node_on_removal_timer(void *owner);
void node_formation_carry_out(struct node *node, const struct formation_effects *effects);
/* The state machine's membership is another one than before. */
void node_members_on_applied(struct node *node);

/* node_config.c */
void node_config_open(struct node *node);
void node_config_done(struct node *node);
/* What is in force has changed, or has been committed. */
void node_config_refresh(struct node *node);
bool node_config_is_linked(const struct node *node, uint64_t id);
/* For the log: it dials again and again, and is refused each time. */
bool node_config_refusal_is_news(struct node *node, uint64_t id, struct slice text);
bool node_config_admit_stranger(struct node *node, const struct peer_hello *hello);

/* node_change.c */
void node_change_open(struct node *node);
void node_change_fail(struct node *node, enum etcd_error error);
/* True: proposals wait. Called by a leader in each turn; it proposes the change when it may. */
bool node_change_holds(struct node *node);
void node_change_on_applied(struct node *node, struct raft_pos pos, bool is_config);

/* node_join.c */
void node_join_on_hello(struct node *node, const struct peer_hello *hello);
void node_join_advance(struct node *node);
void node_join_on_applied(struct node *node);

/* node_transfer.c */
void node_transfer_open(struct node *node);
void node_transfer_on_status(struct node *node, struct raft_status before);
void node_transfer_fail_all(struct node *node);
void node_leave(struct node *node); /* then node_close_parts, never inside the call */

/* node_repair.c */
/* A row of the store is damaged: the node stops, and is marked so that its next start gets all of
 * it from the others; without others it just stops. */
void node_fail_damaged(struct node *node, const char *what, const char *why);
void node_repair_on_repaired(struct node *node);

/* node_recover.c */
struct store_options node_store_options(const struct node *node);
enum exit_code node_recover(struct node *node, char *detail);

/* node_open.c */
/* The line for the operator; returns the code. */
enum exit_code node_detail_set(char *detail, enum exit_code code, const char *what,
                               const char *path, const char *why);
void node_free(struct node *node);
void node_random_fill(struct io *io, uint8_t *bytes, size_t size);

#endif
