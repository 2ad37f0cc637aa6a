/* raft_internal.h: the core's state, shared by the files of this folder and their tests.
 *
 * Each file owns one idea and the fields of one section below. A handler changes state and pushes
 * the replies; what a leader sends to everyone is decided once, at the end of the step.
 */
#ifndef RAFT_RAFT_INTERNAL_H
#define RAFT_RAFT_INTERNAL_H

#include "base/assert.h"
#include "base/prng.h"
#include "raft/log.h"
#include "raft/raft.h"

#define RAFT_TERM_MAX  (UINT64_MAX / 2)
#define RAFT_INDEX_MAX (UINT64_MAX / 2)
#define RAFT_NEVER_MS  UINT64_MAX

enum {
    RAFT_APPENDS_PER_STEP_MAX = 16, /* to one member; its next answer lets it go on */
    RAFT_ROUNDS_INFLIGHT_MAX = 4,   /* reads past it share the next round */
    RAFT_DEAD_APART_MS = 5,         /* between the first pre-votes of members when a leader died */
    RAFT_DEAD_RETRY_MS = 10,        /* [1, 2) times this between all later ones */
    RAFT_MESSAGES_MAX =
        RAFT_MEMBERS_MAX * (RAFT_APPENDS_PER_STEP_MAX + 5) + RAFT_READS_WAITING_MAX + 8,
};

/* ---- progress.c: a leader's view of one member ---- */

enum raft_progress_state {
    RAFT_PROGRESS_PROBE,     /* one append at a time, until one is accepted */
    RAFT_PROGRESS_REPLICATE, /* pipelined: `next` runs ahead of `match` */
    RAFT_PROGRESS_SNAPSHOT,  /* needs entries that nobody here has any more */
};

enum raft_ballot { RAFT_BALLOT_NONE, RAFT_BALLOT_GRANTED, RAFT_BALLOT_REJECTED };

/* An append under way that carries entries. */
struct raft_inflight {
    uint64_t last_index;
    uint64_t bytes;
};

struct raft_progress {
    uint64_t id;
    unsigned roles;

    enum raft_progress_state state;
    uint64_t match; /* durable there, known equal to our log */
    uint64_t next;  /* the next index to send */
    bool probe_sent;
    struct raft_inflight
        probe;            /* what the probe that was sent carries; ends at next - 1: nothing */
    bool gap_check_due;   /* send an empty append at next - 1: did something get lost? */
    uint64_t retry_ms;    /* it had no room: nothing to it before then, or before it has */
    uint64_t append_ms;   /* an append that is answered was last sent, or an answer came */
    uint64_t commit_sent; /* the commit index that it will take from what was sent */

    bool heard; /* in this term, at heard_ms */
    uint64_t heard_ms;
    uint64_t contact_ms; /* from then on it counts as lost, if it is not heard: check-quorum */
    uint64_t round;      /* of heartbeats, the last it answered */
    uint64_t room_bytes;
    uint64_t repairing; /* the repair_id that it was last heard with; 0: it counts */

    bool snapshot_asked; /* the caller is at it */
    uint64_t snapshot_retry_ms;
    uint64_t snapshot_backoff_ms;

    /* A fetch outlives terms and roles: at most one a member is out. */
    bool fetching;
    uint64_t fetch_first;

    enum raft_ballot ballot; /* a candidate's view */

    struct raft_inflight *inflights; /* ring of options.inflight_max */
    uint32_t inflight_head;
    uint32_t inflight_count;
    uint64_t inflight_bytes;
};

/* ---- read_index.c ---- */

/* On a leader one that waits for a heartbeat round, whoever asked. On others an own one that
 * waits for a leader or its answer. */
struct raft_read {
    uint64_t member;
    uint64_t context; /* the caller's for own reads, else what the member sent */
    uint64_t ask;     /* own: what goes over the wire for it */
    uint64_t asked_ms;
    uint64_t index; /* leader: the commit index when it was asked */
    uint64_t round; /* leader: the first round that began after it was asked */
};

struct raft {
    struct raft_options options;
    uint64_t now_ms;
    bool is_started;
    bool has_voice;
    struct prng prng;

    /* Term and vote, and the write that holds them (I1, I2). */
    uint64_t term;
    uint64_t vote;
    uint64_t hard_seq;
    uint64_t seq_last;        /* of the readies that had something to persist */
    uint64_t seq_durable;     /* here */
    uint64_t disk_ms;         /* of what is under way nothing has become durable since */
    uint64_t restored_commit; /* as the disk says: a hint */
    struct raft_log log;

    /* election.c */
    enum raft_role role;
    uint64_t leader;      /* whom we follow now; 0: unknown */
    uint64_t term_leader; /* the one leader that this term has, once known (Raft §5.2) */
    uint64_t leader_heard_ms;
    uint64_t election_deadline_ms;
    bool election_restart;  /* got its voice: the timer begins with the next event */
    uint64_t dead_leader;   /* whose process has died, until there is another; 0: none */
    uint64_t dead_term;     /* the term that it led */
    uint64_t last_words_ms; /* until then what arrives from it was sent before it died */
    uint64_t pending_vote;  /* granted, not yet durable: to whom; 0: none */
    bool has_asked;         /* a candidate: its own vote is durable, and it asked for others' */
    bool is_asked_to;       /* a candidate: the leader before it asked for this election */

    /* append.c: what a follower owes its leader */
    uint64_t verified; /* our log equals the term's leader's up to here */
    uint64_t answered; /* the highest match told it */
    uint64_t owed_match;
    bool owes_answer;
    bool said_no_room;

    /* membership.c */
    struct raft_config_at config;        /* in force */
    struct raft_config_at config_before; /* in force again if that one's entry is dropped */

    /* progress.c: those of the configuration in force */
    uint32_t member_count;
    struct raft_progress members[RAFT_MEMBERS_MAX]; /* by id, ascending */

    /* replication.c, heartbeat.c: a leader's */
    uint64_t term_first_index; /* of its own term's first entry, the NOOP */
    uint64_t round;            /* of heartbeats, the last begun in this term */
    uint64_t heartbeat_due_ms;
    uint64_t keep_index; /* a follower's: as the leader last said */
    struct raft_state_hash state;

    /* transfer.c: a leader's */
    uint64_t transferee; /* 0: no transfer is under way */
    bool transfer_is_sent;
    uint64_t transfer_deadline_ms;
    uint64_t transfer_told; /* who got a TIMEOUT_NOW in this term; 0: nobody */

    /* repair.c */
    bool awaits_repair;
    uint64_t repair_id;
    uint64_t repair_start_term;
    bool repair_has_target; /* in this term */
    uint64_t repair_target;

    /* read_index.c */
    struct raft_read *reads; /* RAFT_READS_WAITING_MAX; oldest first */
    uint32_t read_count;
    uint64_t ask_base; /* differs from one start to the next */
    uint64_t ask_last;
    uint64_t ask_sent; /* all up to it were sent, to reads_sent_to */
    uint64_t reads_sent_to;
    uint64_t reads_sent_ms;

    /* raft.c: the ready that is being made */
    bool hard_changed;
    bool config_changed;
    bool repaired;
    struct raft_range persist;
    struct raft_status told; /* the status last reported */
    struct raft_msg *messages;
    uint32_t message_count;
    struct raft_read_result *results;
    uint32_t result_count;
    struct raft_fetch fetches[RAFT_MEMBERS_MAX];
    uint32_t fetch_count;
    struct raft_snapshot_need snapshots[RAFT_MEMBERS_MAX];
    uint32_t snapshot_count;
};

/* raft.c */
void raft_push_message(struct raft *r, const struct raft_msg *msg);
uint64_t raft_step_seq(const struct raft *r); /* of what this step persists */
void raft_set_hard(struct raft *r, uint64_t term, uint64_t vote);
void raft_append_entries(struct raft *r, const struct raft_entry *entries, uint32_t count);

/* message.c */
enum raft_err raft_message_check(const struct raft *r, const struct raft_msg *msg);
void raft_on_message(struct raft *r, const struct raft_msg *msg);

/* election.c */
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader);
uint64_t raft_election_deadline_ms(const struct raft *r);
void raft_on_election_tick(struct raft *r);
void raft_on_started(struct raft *r);
void raft_on_leader_dead(struct raft *r);
void raft_election_on_durable(struct raft *r);
void raft_election_on_link_up(struct raft *r, struct raft_progress *member);
void raft_election_reset(struct raft *r);
void raft_on_leader_heard(struct raft *r, uint64_t from);
void raft_campaign_for_transfer(struct raft *r);
bool raft_is_promotable(const struct raft *r);

/* vote.c */
bool raft_pos_is_fresh(struct raft_pos ours, struct raft_pos theirs);
bool raft_vote_is_ignored(const struct raft *r, const struct raft_msg *msg);
void raft_on_vote(struct raft *r, const struct raft_msg *msg);
void raft_on_vote_result(struct raft *r, const struct raft_msg *msg);
void raft_vote_reject(struct raft *r, const struct raft_msg *msg);
void raft_vote_on_durable(struct raft *r);
void raft_ballots_count(struct raft *r); /* acts when the election is decided */

/* append.c: the follower's side */
enum raft_err raft_append_check(const struct raft *r, const struct raft_msg *msg);
void raft_on_append(struct raft *r, const struct raft_msg *msg);
void raft_append_answer_due(struct raft *r);
void raft_append_answer_again(struct raft *r);
void raft_append_on_flushed(struct raft *r);

/* replication.c: the leader's side */
void raft_on_append_result(struct raft *r, const struct raft_msg *msg);
enum raft_err raft_propose_check(const struct raft *r, const struct raft_event *event);
enum raft_err raft_fetched_check(const struct raft *r, const struct raft_event *event);
void raft_on_fetched(struct raft *r, const struct raft_event *event);
void raft_replication_on_link(struct raft *r, struct raft_progress *p, bool is_up);
void raft_commit_advance(struct raft *r);
void raft_replicate(struct raft *r);

/* heartbeat.c */
void raft_on_heartbeat(struct raft *r, const struct raft_msg *msg);
void raft_on_heartbeat_result(struct raft *r, const struct raft_msg *msg);
void raft_heartbeat_round(struct raft *r);
void raft_heartbeat_send(struct raft *r, const struct raft_progress *member);
void raft_on_leader_tick(struct raft *r);
uint64_t raft_quorum_contact_ms(const struct raft *r);

/* read_index.c */
void raft_on_read(struct raft *r, uint64_t context);
void raft_on_read_index(struct raft *r, const struct raft_msg *msg);
void raft_on_read_index_result(struct raft *r, const struct raft_msg *msg);
void raft_reads_on_tick(struct raft *r);
void raft_reads_on_leader(struct raft *r);  /* another leader than the one asked is known */
void raft_reads_on_elected(struct raft *r); /* it is this node */
void raft_reads_on_deposed(struct raft *r); /* this node no longer leads */
void raft_reads_send(struct raft *r);
void raft_reads_begin_round(struct raft *r);
void raft_reads_confirm(struct raft *r);
uint64_t raft_reads_deadline_ms(const struct raft *r);

/* progress.c */
struct raft_progress *raft_member(const struct raft *r, uint64_t id); /* NULL: no member */
void raft_members_install(struct raft *r, const struct raft_config *config);
void raft_progress_reset(struct raft *r, struct raft_progress *p, uint64_t next);
void raft_progress_probe(struct raft_progress *p, uint64_t next);
void raft_progress_replicate(const struct raft *r, struct raft_progress *p);
void raft_progress_strand(struct raft_progress *p);
void raft_progress_reset_match(const struct raft *r, struct raft_progress *p);
uint64_t raft_progress_counted(const struct raft_progress *p); /* its match, for a quorum */
void raft_progress_hear(const struct raft *r, struct raft_progress *p);
bool raft_progress_is_active(const struct raft *r, const struct raft_progress *p);
bool raft_progress_is_full(const struct raft *r, const struct raft_progress *p);
void raft_inflights_add(const struct raft *r, struct raft_progress *p,
                        struct raft_inflight inflight);
void raft_inflights_free(const struct raft *r, struct raft_progress *p, uint64_t match);

/* membership.c */
bool raft_config_is_valid(const struct raft_config *config);
bool raft_config_has_voter(const struct raft_config *config, uint64_t id); /* of either half */
bool raft_configs_match(const struct raft_entry *entries, uint32_t entry_count,
                        const struct raft_config_at *configs, uint32_t config_count);
enum raft_err raft_config_check(const struct raft *r, const struct raft_config *next);
void raft_config_append(struct raft *r, const struct raft_config_at *config);
void raft_config_on_truncate(struct raft *r, uint64_t index);
void raft_config_on_snapshot(struct raft *r, const struct raft_config_at *config,
                             uint64_t pos_index, bool is_kept);
bool raft_is_leave_joint_due(const struct raft *r);
bool raft_is_voter(const struct raft *r);

/* transfer.c */
bool raft_disk_is_stalled(const struct raft *r);
uint64_t raft_disk_stall_ms(const struct raft *r); /* when it will be */
enum raft_err raft_transfer_check(const struct raft *r, uint64_t to);
void raft_on_transfer(struct raft *r, uint64_t to);
void raft_on_timeout_now(struct raft *r);
void raft_transfer_advance(struct raft *r);
void raft_transfer_end(struct raft *r);
uint64_t raft_transfer_deadline_ms(const struct raft *r);

/* snapshot.c */
void raft_snapshot_ask(struct raft *r, struct raft_progress *p);
void raft_on_snapshot_sent(struct raft *r, uint64_t member, struct raft_pos pos, bool ok);
uint64_t raft_snapshot_check_next(const struct raft *r, const struct raft_progress *p);
void raft_on_snapshot_installed(struct raft *r, struct raft_pos pos,
                                const struct raft_config_at *config, uint64_t hash);

/* repair.c */
void raft_repair_begin(struct raft *r);
uint64_t raft_repair_id(const struct raft *r); /* 0: none is awaited */
void raft_repair_on_heartbeat(struct raft *r, const struct raft_msg_heartbeat *heartbeat);
void raft_repair_advance(struct raft *r);
bool raft_repair_hear(struct raft *r, struct raft_progress *p, uint64_t repair_id);

/* quorum.c */
/* What a majority of each half has reached: values[i] is members[i]'s. */
uint64_t raft_quorum_value(const struct raft *r, const uint64_t values[RAFT_MEMBERS_MAX]);
enum raft_quorum_vote { RAFT_QUORUM_PENDING, RAFT_QUORUM_WON, RAFT_QUORUM_LOST };
enum raft_quorum_vote raft_quorum_vote(const struct raft *r);
bool raft_quorum_is_self(const struct raft *r); /* this node alone is a quorum */

#endif
