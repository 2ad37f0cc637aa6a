/* node_snapshot.h: a node's parts of sending, receiving and installing snapshots, for node*.c.
 *
 * Sending (node_send.c): a session for each member that Raft asks for, NODE_SENDS_MAX at a time;
 * chunks go out while fewer than NODE_SNAPSHOT_WINDOW are not acknowledged, and not faster than
 * options.snapshot_bytes_per_s. Afterwards the log behind it stays for a while, until the member
 * has caught up with what was written meanwhile.
 * Receiving (node_receive.c): one at a time, into a new environment beside the store.
 * Installing (node_install.c): the new environment becomes the store.
 */
#ifndef SERVER_NODE_SNAPSHOT_H
#define SERVER_NODE_SNAPSHOT_H

#include "rpc/peer.h"
#include "storage/kv.h"
#include "storage/snapshot_sink.h"
#include "storage/snapshot_source.h"

enum {
    NODE_SENDS_MAX = 2,
    NODE_SNAPSHOT_WINDOW = 4, /* chunks under way; also what a receiver has room for */
};

enum node_send_state {
    NODE_SEND_NONE,
    NODE_SEND_QUEUED, /* until another one ends */
    NODE_SEND_RUNS,
    NODE_SEND_TRAILS, /* it was installed: the log after it stays until the member has caught up */
    NODE_SEND_ENDS,   /* when its read is done */
};

struct node_send {
    struct node *node;
    enum node_send_state state;
    uint64_t member;
    uint64_t term;
    uint64_t id;
    struct raft_pos pos;
    struct snapshot_source *source;
    struct snapshot_read read;
    bool is_reading;
    bool has_last; /* last_seq is known */
    uint64_t last_seq;
    uint64_t next_seq;  /* to be read and sent */
    uint64_t acked_seq; /* all before it are there */
    uint64_t began_ms;
    uint64_t trail_ms;    /* until then the log stays at most */
    uint64_t trail_index; /* what the member needed next when that was last looked at */
    uint64_t resumed_ms;  /* when it last began again */
    uint64_t progress_ms; /* when the receiver last got further */
    uint64_t pace_ms;     /* the rate allows no chunk before */
    struct timer timer;
};

struct node_chunk {
    struct block *block;
    struct slice bytes;
};

enum node_receive_state {
    NODE_RECEIVE_NONE,
    NODE_RECEIVE_TAKES,
    NODE_RECEIVE_INSTALLS, /* complete, and about to become the store */
    NODE_RECEIVE_ENDS,     /* the sink is on its way out */
};

struct node_receive {
    enum node_receive_state state;
    uint64_t member;
    uint64_t id;
    uint64_t term;
    struct raft_pos pos;
    struct snapshot_sink *sink;
    struct snapshot_add add;
    bool is_adding;
    bool ends;         /* as soon as nothing is added any more */
    uint64_t next_seq; /* that is taken on */
    uint64_t heard_ms;
    struct node_chunk chunks[NODE_SNAPSHOT_WINDOW]; /* the first one is being added */
    uint32_t chunk_count;
};

enum node_install_state {
    NODE_INSTALL_NONE,
    NODE_INSTALL_WAITS,    /* for flushes, reads of the log and the journal's write to end */
    NODE_INSTALL_RESETS,   /* the journal is told: the point of no return */
    NODE_INSTALL_SWITCHES, /* a job puts the new environment in place and opens it */
};

struct node_install {
    enum node_install_state state;
    struct io_job job;
    struct store *store; /* what the job opened */
    struct kv *kv;
    struct store_state published;
    enum store_err err;
    char detail[160];
};

/* The store before, until the last read of it has ended. */
struct node_retired {
    struct store *store;
    struct kv *kv;
    bool is_closing;
    struct io_job job;
};

#endif
