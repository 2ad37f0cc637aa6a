/* raft.h: consensus as a pure function: one event in, all effects out.
 *
 * Sources:  Raft: "In Search of an Understandable Consensus Algorithm" (extended version);
 *           thesis: Ongaro, "Consensus: Bridging Theory and Practice".
 * Owner:    the caller owns the memory it hands to raft_open and everything it passes in; the
 *           core takes its own block references on entries that it keeps.
 * Lifetime: a ready's arrays stay valid until the next raft_step. The entries of RAFT_EV_FETCHED
 *           may be part of its messages: they stay until the caller has sent those.
 * Thread:   one at a time. No clock, no I/O, no allocation, no chance but options.seed.
 * Bounds:   raft_memory_bytes(options), fixed at open. window_entries_max and window_bytes_max
 *           bound the entries in memory: past them a proposal gets RAFT_E_FULL, and an append
 *           from a leader is answered "no room" and sent again later. RAFT_READS_WAITING_MAX
 *           reads; past it they are refused.
 * Order:    nothing that may leave only after a sync is handed out before it: the core itself
 *           keeps granted votes and append acknowledgements until RAFT_EV_DURABLE covers them
 *           (I1, thesis §3.8), and asks for votes only when its own is durable, so everything
 *           in ready.messages may be sent at once.
 */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "raft/types.h"

struct raft;

enum { RAFT_READS_WAITING_MAX = 1024 }; /* at one node, its own and others'; past it: refused */

#define RAFT_ERRORS(X)                                                            \
    X(RAFT_OK, "ok")                                                              \
    X(RAFT_E_NOT_LEADER, "not the leader")                                        \
    X(RAFT_E_FULL, "too many entries wait to be committed or applied; try again") \
    X(RAFT_E_OPTIONS, "options out of bounds")                                    \
    X(RAFT_E_STATE, "persisted state contradicts itself")                         \
    X(RAFT_E_MESSAGE, "message with impossible contents")                         \
    X(RAFT_E_CONFIG, "not a configuration that may follow the present one")       \
    X(RAFT_E_TRANSFEREE, "no member that leadership could be transferred to")

#define RAFT_ENUM_ENTRY(name, text) name,
enum raft_err { RAFT_ERRORS(RAFT_ENUM_ENTRY) };
#undef RAFT_ENUM_ENTRY

const char *raft_strerror(enum raft_err err);

/* ---- messages between members ---- */

enum raft_msg_type {
    RAFT_MSG_VOTE = 1, /* RequestVote (Raft §5.2), or its pre-vote form (thesis §9.6) */
    RAFT_MSG_VOTE_RESULT = 2,
    RAFT_MSG_APPEND = 3, /* AppendEntries with entries, or a probe without (Raft §5.3) */
    RAFT_MSG_APPEND_RESULT = 4,
    RAFT_MSG_HEARTBEAT = 5, /* keeps leadership, carries ReadIndex rounds (thesis §6.4) */
    RAFT_MSG_HEARTBEAT_RESULT = 6,
    RAFT_MSG_READ_INDEX = 7, /* a follower asks for a read index (thesis §6.4.1) */
    RAFT_MSG_READ_INDEX_RESULT = 8,
    RAFT_MSG_TIMEOUT_NOW = 9, /* the leader hands over: campaign at once (thesis §3.10); no body */
};

struct raft_msg_vote {
    bool pre_vote;        /* asks only whether a vote would be granted; `term` is the next one */
    bool leader_is_dead;  /* sees past leader stickiness: the leader's process is known dead */
    bool transfer;        /* likewise: the leader itself asked for this election */
    struct raft_pos last; /* of the candidate's log */
};

struct raft_msg_vote_result {
    bool pre_vote;
    bool granted;
};

struct raft_msg_append {
    struct raft_pos prev;
    uint64_t commit;
    const struct raft_entry *entries; /* consecutive, prev.index + 1 the first; may be NULL */
    uint32_t entry_count;
    /* What the RAFT_ENTRY_CONFIGs among them say, in their order. Whoever receives a message
     * decodes them; the core's own messages carry none, since the entries' bytes do. */
    const struct raft_config_at *configs;
    uint32_t config_count;
};

struct raft_msg_append_result {
    bool rejected;
    bool no_room;           /* rejected only because the window is full: send again later */
    uint64_t match;         /* accepted: the log equals the leader's up to here, durably */
    uint64_t rejected_prev; /* rejected: the prev.index that did not match */
    struct raft_pos hint;   /* rejected: the last own position that could match (Raft §5.3, end) */
    uint64_t room_bytes;    /* what this member can still take in, for the leader's admission */
    uint64_t repair_id;     /* not 0: it awaits repair and counts for nothing (I7) */
};

struct raft_msg_heartbeat {
    uint64_t commit;     /* already limited to what the receiver is known to have */
    uint64_t round;      /* echoed: whoever echoes round n confirms the leader for all up to n */
    uint64_t keep_index; /* log entries from here on may still be needed by a member */
    struct raft_state_hash state; /* the leader's, at some applied index (I5) */
    uint64_t last_index;          /* of the leader's log */
    uint64_t repair_id;           /* the receiver's, when it was last heard to await repair */
};

struct raft_msg_heartbeat_result {
    uint64_t round;
    struct raft_state_hash state; /* the follower's */
    uint64_t room_bytes;
    uint64_t repair_id; /* not 0: it awaits repair, since the start that has this number */
};

struct raft_msg_read_index {
    uint64_t context; /* the asking member's own number */
};

struct raft_msg_read_index_result {
    uint64_t context;
    uint64_t index;
    bool refused; /* not the leader, or deposed meanwhile: ask again */
};

struct raft_msg {
    enum raft_msg_type type;
    uint64_t from;
    uint64_t to;
    uint64_t term;
    union {
        struct raft_msg_vote vote;
        struct raft_msg_vote_result vote_result;
        struct raft_msg_append append;
        struct raft_msg_append_result append_result;
        struct raft_msg_heartbeat heartbeat;
        struct raft_msg_heartbeat_result heartbeat_result;
        struct raft_msg_read_index read_index;
        struct raft_msg_read_index_result read_index_result;
    };
};

/* ---- events: what may happen to the core ---- */

enum raft_event_type {
    RAFT_EV_TICK,        /* ready.deadline_ms has come, or nothing special: time passes */
    RAFT_EV_MESSAGE,     /* from a member; RAFT_E_MESSAGE when it is impossible, nothing changed */
    RAFT_EV_PROPOSE,     /* new entries at raft_next_pos(); leader only. When a ready says that
                            this node has become leader, the first is a RAFT_ENTRY_NOOP, alone,
                            in that same turn: until an entry of its own term is committed a
                            leader commits nothing (Raft §5.4.2) and answers no read (thesis §6.4).
                            No limit in bytes holds it up; should the window have no entry free,
                            RAFT_E_FULL: again after the next RAFT_EV_FLUSHED. The same goes for a
                            RAFT_ENTRY_CONFIG; RAFT_E_CONFIG when it may not follow the one in
                            force, or not yet (raft/membership.c has the rules). While leadership
                            is being transferred all but the NOOP get RAFT_E_FULL. */
    RAFT_EV_DURABLE,     /* all that readies up to persist_seq asked to persist is durable here */
    RAFT_EV_APPLIED,     /* the state machine has applied up to applied.index */
    RAFT_EV_FLUSHED,     /* the log store holds up to flushed_index: memory may drop them */
    RAFT_EV_READ,        /* this node wants a linearizable read point (I11) */
    RAFT_EV_FETCHED,     /* answers ready.fetches: entries that had left memory. RAFT_E_MESSAGE:
                            they are not the log's, the log store is damaged */
    RAFT_EV_LINK,        /* the link to a member came up or went down */
    RAFT_EV_STARTED,     /* this member has just started and met a quorum: it need not wait out an
                            election timeout. Without pre-vote, or once it has heard of a leader,
                            nothing happens; and who has a leader refuses it, so it disturbs none. */
    RAFT_EV_LEADER_DEAD, /* the leader's process has died: its port refuses, or another
                            incarnation answers. Never a mere reset. Clears stickiness. */
    RAFT_EV_TRANSFER,    /* leader only: hands leadership over (thesis §3.10). It ends with another
                            leader, or, after an election timeout, with this one going on.
                            RAFT_E_TRANSFEREE: not another voter, or none is fit. */
    RAFT_EV_SNAPSHOT_SENT,      /* answers ready.snapshots; ignored when the need has passed */
    RAFT_EV_SNAPSHOT_INSTALLED, /* the state machine now is a snapshot's, durably, and the log on
                            the disk begins anew after it: with the entries that raft_entry_at
                            gives after pos if raft_term_at says that pos is in the log, else
                            empty. So that the log does not change in between, nothing else is
                            fed from when that is written to this event. What readies asked to
                            persist before still gets its RAFT_EV_DURABLE. A leader steps down.
                            RAFT_E_STATE: as raft_snapshot_check says.
                            Nothing happens when pos is applied already. */
};

struct raft_event {
    enum raft_event_type type;
    uint64_t now_ms; /* never below an earlier event's */
    union {
        struct raft_msg message;
        struct {
            const struct raft_entry *entries; /* positions as raft_next_pos said */
            uint32_t entry_count;
            const struct raft_config_at *configs; /* of the RAFT_ENTRY_CONFIGs, in their order */
            uint32_t config_count;
        } propose;
        uint64_t persist_seq;
        struct raft_state_hash applied;
        uint64_t flushed_index;
        struct {
            uint64_t context; /* the caller's number, given back with the result */
        } read;
        struct {
            uint64_t member;
            uint64_t first_index;             /* as asked */
            const struct raft_entry *entries; /* NULL with count 0: no longer in the log store */
            uint32_t entry_count;
        } fetched;
        struct {
            uint64_t member;
            bool up;
        } link;
        struct {
            uint64_t to; /* 0: the voter that is furthest */
        } transfer;
        struct {
            uint64_t member;
            struct raft_pos pos; /* of the snapshot; applied here */
            bool ok;             /* installed there; else asked for again after a back-off */
        } snapshot_sent;
        struct {
            struct raft_pos pos;
            struct raft_config_at config; /* in force at pos */
            uint64_t hash;                /* of the state at pos (I5) */
        } snapshot_installed;
    };
};

/* ---- effects: what the caller does now, in any order but for what is said ---- */

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_status {
    enum raft_role role;
    uint64_t term;
    uint64_t leader; /* 0: unknown */
};

/* A read point that was asked for: serve the read once applied >= index. When refused there was
 * no leader to confirm it within an election timeout, or it changed: ask again or give up. */
struct raft_read_result {
    uint64_t context;
    uint64_t index;
    bool refused;
};

/* Entries for a member that have left memory: read them from the log store by a job, then
 * RAFT_EV_FETCHED. At most one a member is out at a time. */
struct raft_fetch {
    uint64_t member;
    uint64_t first_index;
    uint32_t bytes_max; /* at least one entry, whatever its size */
};

/* A member that needs what the log store no longer has: send it a snapshot, then
 * RAFT_EV_SNAPSHOT_SENT. Asked for once; void as soon as this node does not lead this term.
 * Heartbeats go on meanwhile, and an empty append once an election timeout: it may have been
 * restored. */
struct raft_snapshot_need {
    uint64_t member;
};

struct raft_ready {
    /* To the journal, in one write; then RAFT_EV_DURABLE with persist_seq. 0: nothing to
     * persist. Entries that start at or below earlier ones replace these and all after them. */
    uint64_t persist_seq;
    bool hard_changed;           /* term or vote changed: must be in that write (I2) */
    struct raft_hard_state hard; /* as of this event, by value */
    struct raft_range persist;   /* raft_entry_at gives them */

    const struct raft_msg *messages; /* may leave now */
    uint32_t message_count;

    struct raft_range committed; /* newly to apply: committed, and durable here (I3) */

    const struct raft_read_result *reads;
    uint32_t read_count;

    const struct raft_fetch *fetches;
    uint32_t fetch_count;

    const struct raft_snapshot_need *snapshots;
    uint32_t snapshot_count;

    /* The configuration in force has changed: by an entry, by dropping one, by a snapshot, or, with
     * the first ready, by what raft_restore_entry brought. */
    bool config_changed;
    struct raft_config_at config; /* when it has */

    /* On a leader, until it is done: the joint configuration in force is committed; propose the
     * one that leaves it. */
    bool leave_joint_due;

    /* What this disk had lost is back and durable: this node counts and votes from now on. */
    bool repaired;

    bool status_changed; /* to RAFT_LEADER: now propose the NOOP, see RAFT_EV_PROPOSE */
    struct raft_status status;

    uint64_t deadline_ms; /* wake me with RAFT_EV_TICK at the latest then; UINT64_MAX: never */
};

/* ---- life ---- */

struct raft_options {
    uint64_t id;
    uint64_t seed;                  /* another at each start: election jitter, and what tells
                                       answers to this life's reads from those to an earlier's */
    uint32_t election_timeout_ms;   /* [50, 50000]; real ones are [1, 1.5) times this, apart */
    uint32_t heartbeat_ms;          /* > 0, election_timeout_ms at least 5 times this */
    uint32_t window_entries_max;    /* power of two, [4, 2^22]; half of it may be uncommitted */
    uint64_t window_bytes_max;      /* of entries in memory that cannot be dropped */
    uint64_t window_bytes_keep;     /* of older ones kept for slow followers; <= window_bytes_max */
    uint64_t uncommitted_bytes_max; /* a leader's proposals wait past it; <= window_bytes_max */
    uint32_t append_bytes_max;      /* of entries in one message (one entry may exceed it) */
    uint32_t inflight_max;          /* appends under way to a member, [1, 1024] */
    uint64_t inflight_bytes_max;    /* their entries' bytes */
    bool pre_vote;
};

/* What was persisted. Entries above `flushed` follow by raft_restore_entry. Of more term starts
 * than window_entries_max + 1024 the oldest are forgotten: the log begins later then. */
struct raft_start {
    struct raft_hard_state hard;
    struct raft_config config; /* as of `flushed`; without members: one that joins knows none yet */
    struct raft_pos log_start; /* the log store begins after it; {0, 0}: from the beginning */
    struct raft_pos flushed;   /* applied and in the log store: these entries need not be in
                                  memory, their terms come from term_starts */
    const struct raft_term_start *term_starts; /* of (log_start, flushed], ascending */
    uint32_t term_start_count;
    bool awaits_repair; /* some of what was durable is lost, but not term and vote (I7): until it
                           is `repaired` this node votes for nobody and confirms nothing */
    uint64_t now_ms;
};

/* RAFT_E_OPTIONS when a knob is out of bounds; 0 bytes likewise. */
size_t raft_memory_bytes(const struct raft_options *options);

/* In the caller's memory of raft_memory_bytes, aligned as malloc aligns. No effects. */
enum raft_err raft_open(struct raft **ret_r, void *memory, const struct raft_options *options,
                        const struct raft_start *start) __attribute__((warn_unused_result));

/* After open, before the first step: the entries after start.flushed, in order, all durable.
 * config: what a RAFT_ENTRY_CONFIG says; NULL for the others. RAFT_E_FULL: more than
 * window_entries_max. */
enum raft_err raft_restore_entry(struct raft *r, const struct raft_entry *entry,
                                 const struct raft_config *config)
    __attribute__((warn_unused_result));

/* Drops the references it holds; the memory is the caller's. NULL is fine. */
void raft_close(struct raft *r);

/* Until it is told to vote, a node answers nothing and starts no election: a blank disk has no
 * voice (I7a). Starts as `false`. */
void raft_set_voice(struct raft *r, bool has_voice);

/* One event. Anything but RAFT_OK means: refused, nothing changed, *ret_ready is empty but for
 * the deadline. */
enum raft_err raft_step(struct raft *r, const struct raft_event *event,
                        struct raft_ready *ret_ready) __attribute__((warn_unused_result));

/* ---- queries: no effects ---- */

/* NULL when it is not in memory. Valid until the next raft_step. */
const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index);

/* The persist_seq with which the entry at index, which is in memory, was handed out. A caller that
 * persists in parts tells of a part that ends before it by RAFT_EV_DURABLE with one less. */
uint64_t raft_persist_seq_at(const struct raft *r, uint64_t index);

/* Where the next proposal goes: {own term, last + 1}. Meaningful on a leader. */
struct raft_pos raft_next_pos(const struct raft *r);

struct raft_status raft_status(const struct raft *r);
struct raft_pos raft_last_pos(const struct raft *r);
uint64_t raft_commit_index(const struct raft *r);

/* 0 when unknown: before log_start or after the last. */
uint64_t raft_term_at(const struct raft *r, uint64_t index);

/* The terms of (log_start, up_to]: what a flush writes beside the log. At most count_max, the
 * newest ones; returns how many. */
uint32_t raft_term_starts(const struct raft *r, uint64_t up_to, struct raft_term_start *ret_starts,
                          uint32_t count_max);

/* Entries from here on may still be needed by some member: the log store keeps them. On a
 * follower it is what the leader last said. A member that gets a snapshot needs none: whoever
 * sends it keeps those after its position. */
uint64_t raft_keep_index(const struct raft *r);

/* The configuration in force, and the last one that is committed: the same, or the one before. */
struct raft_config_at raft_config_in_force(const struct raft *r);
struct raft_config_at raft_config_committed(const struct raft *r);

/* What keeps `next` from following `present`, as far as the two alone decide: RAFT_OK or
 * RAFT_E_CONFIG. For whoever makes one, before it is proposed. */
enum raft_err raft_config_may_follow(const struct raft_config *present,
                                     const struct raft_config *next);

/* What a joint configuration becomes when it is left; of a simple one, itself. */
struct raft_config raft_config_left(const struct raft_config *joint);
bool raft_config_is_joint(const struct raft_config *config);

/* On a leader: whom it is transferring leadership to; 0: nobody. */
uint64_t raft_transferee(const struct raft *r);

/* Whether a snapshot may be installed, for who has not begun to. RAFT_E_STATE: it contradicts
 * itself, what is committed here or this term's leader has said, or is of a later term than ours.
 */
enum raft_err raft_snapshot_check(const struct raft *r, struct raft_pos pos,
                                  const struct raft_config_at *config);

bool raft_awaits_repair(const struct raft *r);

/* Leader only: how far a member is, for status and metrics. False when it is no member. */
struct raft_member_progress {
    uint64_t match;
    bool active;    /* heard from within an election timeout */
    bool repairing; /* counts for nothing meanwhile */
    bool needs_snapshot;
    uint64_t room_bytes; /* what it could last take in; 0: not heard yet, or full */
};
bool raft_member_progress(const struct raft *r, uint64_t member,
                          struct raft_member_progress *ret_progress);

/* Walks everything and ASSERTs: for tests and the simulator, after each step. */
void raft_check_invariants(const struct raft *r);

#endif
