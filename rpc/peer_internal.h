/* peer_internal.h: what the files of the peer links share.
 *
 * peer.c is the set of members, peer_link.c the dialling side of one, peer_accept.c the accepting
 * side, peer_conn.c one framed connection of either kind.
 *
 * Who frees what: a connection is freed once it is closed and its operations have completed, a
 * removed member once nothing of its link is under way, both by peer_net_leave alone. Every
 * callback from the loop runs between peer_net_enter and peer_net_leave, so nothing dies under a
 * function that still uses it, whatever the handlers do.
 */
#ifndef RPC_PEER_INTERNAL_H
#define RPC_PEER_INTERNAL_H

#include "base/log_limit.h"
#include "base/map.h"
#include "base/prng.h"
#include "rpc/addr.h"
#include "rpc/peer_codec.h"
#include "rpc/peer_frame.h"

enum {
    PEER_TICK_MS = 1000,
    PEER_PING_TICKS_MAX = 3,     /* without an answer */
    PEER_QUIET_TICKS_MAX = 5,    /* an accepted connection without a byte */
    PEER_SEND_TICKS_MAX = 10,    /* one send that does not end */
    PEER_GATHER_BYTES = 1 << 17, /* small frames leave together */
    PEER_LISTENERS_MAX = 16,
    PEER_STRANGERS_MAX = 16, /* accepted, and not introduced yet */
    PEER_CONNS_PER_MEMBER = 3,
};

enum peer_conn_state {
    PEER_CONN_HELLO, /* waits for the other side's Hello */
    PEER_CONN_UP,
    PEER_CONN_LAST_WORDS, /* a refusal is on its way out */
    PEER_CONN_CLOSED,     /* waits for its operations to complete */
};

struct peer_member;

struct peer_conn {
    struct peer_net *net;
    struct list link;           /* net->conns */
    struct peer_member *member; /* NULL: not introduced yet, or closed */
    bool is_dialled;
    enum peer_conn_state state;
    int fd;
    uint8_t process[PEER_INCARNATION_BYTES]; /* the other side's, from its Hello on */
    struct timer timer;                      /* handshake time-out, then ticks */
    bool receiving;
    bool sending;
    struct io_ref recv_ref;
    struct io_ref send_ref;

    /* The frame that is being received. */
    uint8_t header[PEER_FRAME_HEADER_BYTES];
    size_t header_have_bytes;
    struct peer_frame frame;
    struct block *body; /* sized to the frame once its header has verified */
    size_t body_have_bytes;
    const char *bad_why; /* of a bad frame: more than that it is one; or NULL */

    /* Frames that wait, then what is being sent: one frame as it is, or several gathered. */
    struct list waiting;
    struct list appends; /* those of the waiting that are one, oldest first */
    uint64_t waiting_bytes;
    struct list bulk; /* chunks of snapshots: while nothing else waits */
    uint64_t bulk_bytes;
    struct list dirty; /* net->dirty: has something to send */
    struct peer_out *out_frame;
    uint8_t *gather; /* PEER_GATHER_BYTES once it is needed */
    struct slice out;
    uint32_t out_frames;

    bool heard;        /* bytes came since the last tick */
    bool ping_waiting; /* queued, or under way without an answer */
    bool ping_sent;
    uint32_t ping_ticks;
    uint32_t quiet_ticks;
    uint32_t send_ticks;
};

enum peer_link_state {
    PEER_LINK_WAITING, /* until the back-off ends */
    PEER_LINK_RESOLVING,
    PEER_LINK_CONNECTING,
    PEER_LINK_CONNECTED, /* conn is set */
};

struct peer_link {
    enum peer_link_state state;
    struct timer timer; /* back-off, or the connect's time-out */
    uint32_t backoff_ms;
    uint64_t hurried_ms; /* when a lost link was last dialled at once */
    bool hurried_ever;
    uint32_t url_i;
    struct io_job job;
    struct addr_url job_url; /* the job's own copy */
    struct io_addr job_addr;
    int job_rc;
    bool resolving;
    bool connecting;
    struct io_ref connect_ref;
    struct io_addr addr;    /* dialled last */
    struct io_addr up_addr; /* of the last established link */
    bool was_up;            /* and since then nothing has shown that its process is gone */
    struct peer_conn *conn;
};

struct peer_member {
    struct peer_net *net;
    struct list link; /* net->members or net->removed */
    uint64_t id;
    bool is_removed;
    uint32_t url_count;
    struct addr_url urls[PEER_URLS_MAX];
    bool process_known;
    uint8_t process[PEER_INCARNATION_BYTES];
    struct peer_link dial;
    struct peer_conn *accepted; /* NULL: none that is introduced */
    struct log_limit complaints;
};

struct peer_listener {
    struct peer_net *net;
    int fd;
    bool accepting;
    struct io_ref ref;
};

struct peer_net {
    struct peer_options options; /* its slices and texts are the buffers below */
    uint8_t cluster_hash[PEER_CLUSTER_HASH_BYTES_MAX];
    uint8_t server_version[PEER_VERSION_BYTES_MAX];
    char own_urls[PEER_URLS_MAX][PEER_URL_BYTES_MAX + 1];
    struct prng prng; /* jitter */
    struct map by_id;
    struct list members;
    struct list removed;
    struct list conns;
    uint32_t conn_count;
    struct list dirty;
    bool timer_refused; /* a link waits without a timer: flush tries again */
    struct arena arena; /* of the message that is being handled */
    struct peer_listener listeners[PEER_LISTENERS_MAX];
    uint32_t listener_count;
    struct peer_counters counters;
    struct log_limit complaints; /* about strangers */
    uint32_t depth;              /* of callbacks */
    bool closing;
    void (*on_closed)(void *owner);
    void *on_closed_owner;
};

/* ---- peer.c ---- */

void peer_net_enter(struct peer_net *net);
void peer_net_leave(struct peer_net *net);
struct peer_member *peer_net_find(const struct peer_net *net, uint64_t member);

/* What is wrong with a Hello whoever sent it, then what the owner thinks of it. NULL: it is
 * fine. from: whom it must be from; 0: any. */
const char *peer_hello_judge(struct peer_net *net, const Holdfastpb__Hello *pb, uint64_t from,
                             struct peer_hello *ret_hello, enum peer_unwelcome *ret_why);

/* How far a refusal that came from where `member` is dialled is to be believed. */
enum peer_unwelcome peer_refusal_kind(const struct peer_net *net, const Holdfastpb__Hello *pb,
                                      uint64_t member);

/* A member has shown itself on c, by the process that c->process names: what is still connected
 * with another one is not the member any more. */
void peer_member_met(struct peer_member *m, struct peer_conn *c);

/* Its process has died; told once. */
void peer_member_died(struct peer_member *m);

/* Says why a connection ends that c's other side has spoilt; member: whose it is, if known. */
void peer_complain(struct peer_net *net, uint64_t member, const char *why);

/* A frame on an established accepted connection. False: a bad one. */
bool peer_dispatch(struct peer_conn *c, const Holdfastpb__PeerMessage *message, struct block *block,
                   struct slice attachment);

/* ---- peer_conn.c ---- */

/* Takes fd, also when it fails. NULL: no memory, no operation or no timer left. */
struct peer_conn *peer_conn_new(struct peer_net *net, int fd, struct peer_member *member);

/* False: dropped (cap, no memory); then it is counted and freed. out may be NULL. */
bool peer_conn_queue(struct peer_conn *c, struct peer_out *out);

void peer_conn_flush(struct peer_conn *c);
void peer_conn_say_hello(struct peer_conn *c, uint64_t to);

/* Through the handshake. */
void peer_conn_up(struct peer_conn *c);

/* Says why, then closes. */
void peer_conn_refuse(struct peer_conn *c, uint64_t to, const char *text, enum peer_unwelcome why);

/* Closes quietly: neither link nor member hears of it. */
void peer_conn_close(struct peer_conn *c);

/* Closes, and tells the link that dialled it. */
void peer_conn_lose(struct peer_conn *c);

bool peer_conn_is_done(const struct peer_conn *c);
void peer_conn_free(struct peer_conn *c);

/* ---- peer_link.c ---- */

void peer_link_init(struct peer_member *m);
void peer_link_dial(struct peer_member *m);
void peer_link_hurry(struct peer_member *m);
void peer_link_rearm(struct peer_member *m);
void peer_link_stop(struct peer_member *m);
bool peer_link_is_idle(const struct peer_member *m);
bool peer_link_is_up(const struct peer_member *m);

/* The answer to our Hello. False: a bad frame. */
bool peer_link_on_hello(struct peer_conn *c, const Holdfastpb__Hello *pb);
void peer_link_on_lost(struct peer_member *m, bool was_up);

/* ---- peer_accept.c ---- */

/* The Hello of whoever dialled us. False: a bad frame. */
bool peer_accept_on_hello(struct peer_conn *c, const Holdfastpb__Hello *pb);
void peer_accept_stop(struct peer_net *net);
bool peer_accept_is_idle(const struct peer_net *net);

#endif
