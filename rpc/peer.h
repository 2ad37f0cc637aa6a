/* peer.h: the links between members: framed messages, one connection in each direction.
 *
 * Each node dials every other member and sends on what it dialled; what it accepts it receives
 * from (and answers the handshake on). A frame is a fixed header with version, lengths and an
 * XXH3 checksum (rpc/peer_frame.h), a holdfastpb.PeerMessage, and for appends and forwards an
 * attachment: bytes as they stand in the log.
 *
 * The first frame each way is a Hello: protocol version, cluster, both members, incarnation of
 * the disk (I7a), process. The owner judges it in on_hello; a refusal travels back as text.
 *
 * Owner:    the caller. Received messages and their entries are valid during the callback;
 *           entries' blocks may be referenced to keep them (no copy).
 * Thread:   the loop's. Frames gather during a turn and leave at peer_net_flush.
 * Bounds:   out_bytes_max waiting per member, and one send in flight beside it: at the cap the
 *           oldest append is dropped (Raft sends it again), then the new message. Chunks of
 *           snapshots wait apart, PEER_BULK_BYTES_MAX of them, and leave one by one while nothing
 *           else waits, so that they hold nothing up for longer than one of them takes.
 *           frame_bytes_max
 *           per frame. Back-off of reconnects backoff_min_ms .. backoff_max_ms, doubled each time,
 *           with jitter; the first dial after an established link was lost goes at once, though
 *           not more than once in backoff_max_ms. Connections: three a member, and a few more that
 *           have not introduced themselves yet, of which the oldest makes room for a new one.
 * Silence:  the dialling side pings each second and gives the connection up when three seconds
 *           pass without an answer, or a send does not end in ten; the accepting side when five
 *           seconds pass without a byte. So a partition or a dead host shows as a lost link.
 * Disks:    formation (I7a) relies on this: a member has at most one accepted connection, the
 *           newest; a Hello of another process closes all connections with the one before; and
 *           nothing but the Hello leaves on a dialled connection before it was answered.
 * Errors:   anything malformed, impossible, of another cluster or version: dropped, counted, told
 *           once (on_complaint), connection closed. Who dialled dials again after a back-off.
 */
#ifndef RPC_PEER_H
#define RPC_PEER_H

#include "base/io.h"
#include "raft/raft.h"

enum {
    PEER_PROTOCOL_VERSION = 1,
    PEER_INCARNATION_BYTES = 16,
    PEER_REFUSAL_BYTES_MAX = 512,
    PEER_CLUSTER_HASH_BYTES_MAX = 64,
    PEER_URLS_MAX = 16,
    PEER_URL_BYTES_MAX = 300,
    PEER_BULK_BYTES_MAX = 8 << 20, /* of snapshot frames waiting to a member */
    PEER_FRAME_BYTES_MIN = 1 << 17,
};

struct peer_net;

/* What a Hello says of its sender. */
struct peer_hello {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t to_member_id;
    uint8_t incarnation[PEER_INCARNATION_BYTES];
    uint8_t process[PEER_INCARNATION_BYTES];
    struct slice initial_cluster_hash;
    uint32_t feature_level_max;
    struct slice server_version;
    uint32_t peer_url_count; /* where the sender is dialled: a member that lags may not know */
    const char *peer_urls[PEER_URLS_MAX];
};

/* Why a member will not talk to another one. */
enum peer_unwelcome {
    PEER_UNWELCOME_NOW,     /* later perhaps */
    PEER_UNWELCOME_DISK,    /* not while the sender's disk lives (I7a) */
    PEER_UNWELCOME_REMOVED, /* it was removed from the cluster */
};

/* A write on its way from a follower to the leader. */
struct peer_forward {
    uint64_t request_id;
    uint64_t term; /* in which the leader may take it, and in no later one */
    uint64_t auth_revision;
    struct slice user;
    struct slice command; /* an encoded holdfastpb.Command */
};

enum peer_refusal { PEER_REFUSED_NOT_LEADER = 1, PEER_REFUSED_BUSY = 2 };

/* The answer to a forward that was not taken: id and term are the forward's. */
struct peer_forward_refused {
    uint64_t request_id;
    uint64_t term;
    enum peer_refusal why;
};

/* A member asks, after its link was lost, how far the leader's log goes: what it had forwarded
 * before stands in it up to there, or nowhere, since a connection is dead once a newer one of the
 * same member is accepted. */
struct peer_forward_query {
    uint64_t term;
    uint64_t context; /* the asking member's own number */
};

struct peer_forward_reach {
    uint64_t term;
    uint64_t context;
    uint64_t last_index; /* of the leader's log, in that term */
};

/* A part of a snapshot, to a member that needs what the log no longer has. */
struct peer_snapshot_chunk {
    uint64_t snapshot_id;
    uint64_t term;       /* in which the sender leads */
    uint64_t seq;        /* 0 is the first */
    struct raft_pos pos; /* that the whole snapshot stands at */
    bool last;
    struct slice bytes;
    struct block *block; /* received: what the bytes live in, to reference; sent: not looked at */
};

enum peer_snapshot_status {
    PEER_SNAPSHOT_OK = 1,
    PEER_SNAPSHOT_RESUME_AT = 2, /* it came out of order: go on with next_seq */
    PEER_SNAPSHOT_BUSY = 3,      /* with another snapshot: later */
    PEER_SNAPSHOT_FAILED = 4,    /* this one is of no use: another from the start */
    PEER_SNAPSHOT_INSTALLED = 5, /* all of it is there, durably */
};

struct peer_snapshot_ack {
    uint64_t snapshot_id;
    uint64_t next_seq; /* all before it have been taken */
    enum peer_snapshot_status status;
};

struct peer_handlers {
    void *owner;
    /* A member introduces itself on a connection that either side dialled. NULL accepts it (the
     * handler may add the member with its URLs first); else the text goes back as the refusal and
     * the connection closes. *ret_why is PEER_UNWELCOME_NOW before the call. */
    const char *(*on_hello)(void *owner, const struct peer_hello *hello,
                            enum peer_unwelcome *ret_why);
    /* It refused us, and says why. The link dials again after a back-off. More than
     * PEER_UNWELCOME_NOW is believed only of the very member that was meant. */
    void (*on_refused)(void *owner, uint64_t member, struct slice text, enum peer_unwelcome why);
    /* Our own dialled connection to the member is through the handshake, or lost. */
    void (*on_link)(void *owner, uint64_t member, bool up);
    /* Dialling was refused by the member's host, or another process answers than before: its
     * process has died. Never after a mere reset or time-out. */
    void (*on_process_dead)(void *owner, uint64_t member);
    /* False: it is impossible. As with a malformed one the connection closes. */
    bool (*on_raft)(void *owner, const struct raft_msg *msg);
    /* An encoded holdfastpb.Formation (I7a). False: likewise. */
    bool (*on_formation)(void *owner, uint64_t member, struct slice formation);
    void (*on_forward)(void *owner, uint64_t member, const struct peer_forward *forward);
    void (*on_forward_refused)(void *owner, uint64_t member,
                               const struct peer_forward_refused *refused);
    /* What came from a member (0: from somebody unknown) was bad or its Hello is refused, and that
     * ends the connection: for the log, as often as base/log_limit.h lets it; strangers are one. */
    void (*on_complaint)(void *owner, uint64_t member, const char *why);
    void (*on_forward_query)(void *owner, uint64_t member, const struct peer_forward_query *query);
    void (*on_forward_reach)(void *owner, uint64_t member, const struct peer_forward_reach *reach);
    void (*on_snapshot_chunk)(void *owner, uint64_t member,
                              const struct peer_snapshot_chunk *chunk);
    void (*on_snapshot_ack)(void *owner, uint64_t member, const struct peer_snapshot_ack *ack);
};

struct peer_options {
    struct io *io;
    struct peer_hello self;        /* to_member_id is filled in for each; all is copied */
    struct peer_handlers handlers; /* all but owner not NULL */
    uint32_t members_max;
    uint64_t out_bytes_max;   /* per member; at least frame_bytes_max */
    uint32_t frame_bytes_max; /* at least PEER_FRAME_BYTES_MIN */
    uint32_t backoff_min_ms;  /* > 0 */
    uint32_t backoff_max_ms;
    uint32_t handshake_timeout_ms; /* also of the connect before it */
};

struct peer_counters {
    uint64_t frames_sent;
    uint64_t frames_received;
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t frames_dropped;     /* out_bytes_max, frame_bytes_max, no memory */
    uint64_t frames_bad;         /* malformed, checksum, unknown version or type, impossible */
    uint64_t hellos_refused;     /* by on_hello, or another cluster's */
    uint64_t connects;           /* dialled connections that got through the handshake */
    uint64_t dials_failed;       /* refused, timed out, unresolved */
    uint64_t accepts_refused;    /* at the cap of connections */
    uint64_t connections_silent; /* given up: no answer, no byte, a send that does not end */
};

#define PEER_ERRORS(X)                         \
    X(PEER_OK, "ok")                           \
    X(PEER_E_NOMEM, "out of memory")           \
    X(PEER_E_OPTIONS, "options out of bounds") \
    X(PEER_E_FULL, "too many members")         \
    X(PEER_E_ADDRESS, "not a member's URL; http://host:port is supported")

#define PEER_ENUM_ENTRY(name, text) name,
enum peer_err { PEER_ERRORS(PEER_ENUM_ENTRY) };
#undef PEER_ENUM_ENTRY

const char *peer_strerror(enum peer_err err);

/* The most that a net with these options takes, for the total at start-up (I8); entries that the
 * owner keeps come on top. */
uint64_t peer_memory_bytes(const struct peer_options *options);

enum peer_err peer_net_open(struct peer_net **ret_net, const struct peer_options *options)
    __attribute__((warn_unused_result));

/* On one more address (a few at most: -ENOSPC). 0 or -errno. */
int peer_net_listen(struct peer_net *net, const struct io_addr *addr, struct io_addr *ret_bound);

/* For Hellos from now on: it is empty once the cluster has formed. Copied, cut at
 * PEER_CLUSTER_HASH_BYTES_MAX. */
void peer_net_set_cluster_hash(struct peer_net *net, struct slice initial_cluster_hash);

/* For Hellos from now on. Copied; texts beyond the bounds are left out. */
void peer_net_set_own_urls(struct peer_net *net, const char *const *urls, size_t url_count);

/* Starts dialling. urls: "http://host:port", tried in turn; copied. For a member that is there
 * already they replace its URLs, and an established link stays. */
enum peer_err peer_net_add(struct peer_net *net, uint64_t member, const char *const *urls,
                           size_t url_count) __attribute__((warn_unused_result));

/* Closes its connections; no handler runs for it any more. */
void peer_net_remove(struct peer_net *net, uint64_t member);

bool peer_net_is_up(const struct peer_net *net, uint64_t member);

/* Dials again now rather than after the back-off. */
void peer_net_hurry(struct peer_net *net, uint64_t member);

/* Queue for msg->to; everything is copied. Silently dropped while the link is down. */
void peer_net_send_raft(struct peer_net *net, const struct raft_msg *msg);
void peer_net_send_formation(struct peer_net *net, uint64_t member, struct slice formation);
/* False when it could not be queued: the caller tells its client. */
bool peer_net_send_forward(struct peer_net *net, uint64_t member,
                           const struct peer_forward *forward);
void peer_net_send_forward_refused(struct peer_net *net, uint64_t member,
                                   const struct peer_forward_refused *refused);

void peer_net_send_forward_query(struct peer_net *net, uint64_t member,
                                 const struct peer_forward_query *query);
void peer_net_send_forward_reach(struct peer_net *net, uint64_t member,
                                 const struct peer_forward_reach *reach);
/* False when the link is down or too many wait: later again. */
bool peer_net_send_snapshot_chunk(struct peer_net *net, uint64_t member,
                                  const struct peer_snapshot_chunk *chunk);
void peer_net_send_snapshot_ack(struct peer_net *net, uint64_t member,
                                const struct peer_snapshot_ack *ack);

void peer_net_flush(struct peer_net *net);

const struct peer_counters *peer_net_counters(const struct peer_net *net);

/* No handler runs any more. `fn` runs when all connections are gone, and the net with them; it
 * may run inside the call, unless that comes from a handler. */
void peer_net_close(struct peer_net *net, void (*fn)(void *owner), void *owner);

#endif
