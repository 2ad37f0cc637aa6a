#include "rpc/peer.h"

#include <stdlib.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "proto/pb_arena.h"
#include "rpc/peer_internal.h"

const char *peer_strerror(enum peer_err err)
{
#define PEER_TEXT(name, text) \
    case name:                \
        return text;
    switch (err) {
        PEER_ERRORS(PEER_TEXT)
    }
#undef PEER_TEXT
    return "unknown error";
}

/* ---- life ---- */

static struct slice slice_kept(struct slice from, uint8_t *to, size_t max)
{
    size_t size = from.size < max ? from.size : max;
    if (size > 0)
        memcpy(to, from.data, size);
    return slice_of(to, size);
}

void peer_net_set_cluster_hash(struct peer_net *net, struct slice initial_cluster_hash)
{
    net->options.self.initial_cluster_hash =
        slice_kept(initial_cluster_hash, net->cluster_hash, sizeof net->cluster_hash);
}

void peer_net_set_own_urls(struct peer_net *net, const char *const *urls, size_t url_count)
{
    struct peer_hello *self = &net->options.self;
    self->peer_url_count = 0;
    for (size_t i = 0; i < url_count && i < PEER_URLS_MAX; i++) {
        size_t size = strlen(urls[i]);
        if (size > PEER_URL_BYTES_MAX)
            continue;
        char *copy = net->own_urls[self->peer_url_count];
        memcpy(copy, urls[i], size + 1);
        self->peer_urls[self->peer_url_count++] = copy;
    }
}

/* A head unpacked, and an array of the smallest entries that a frame can hold. */
static size_t arena_bytes_max(const struct peer_options *options)
{
    return 16 * (size_t)PEER_FRAME_HEAD_BYTES_MAX + 2 * (size_t)options->frame_bytes_max;
}

uint64_t peer_memory_bytes(const struct peer_options *options)
{
    uint64_t members = options->members_max;
    uint64_t conns = members * PEER_CONNS_PER_MEMBER + PEER_STRANGERS_MAX;
    /* A member's accepted connection receives one frame; its link queues, and sends one. */
    uint64_t member_bytes = sizeof(struct peer_member) + options->out_bytes_max +
                            PEER_BULK_BYTES_MAX + 2 * (uint64_t)options->frame_bytes_max +
                            2 * PEER_GATHER_BYTES;
    return sizeof(struct peer_net) + arena_bytes_max(options) + members * member_bytes +
           conns * (sizeof(struct peer_conn) + PEER_FRAME_BYTES_MIN);
}

enum peer_err peer_net_open(struct peer_net **ret_net, const struct peer_options *options)
{
    if (options->members_max == 0 || options->frame_bytes_max < PEER_FRAME_BYTES_MIN ||
        options->frame_bytes_max > INT32_MAX || options->out_bytes_max < options->frame_bytes_max ||
        options->backoff_min_ms == 0 || options->backoff_max_ms < options->backoff_min_ms ||
        options->handshake_timeout_ms == 0)
        return PEER_E_OPTIONS;
    struct peer_net *net = calloc(1, sizeof *net);
    if (!net)
        return PEER_E_NOMEM;
    net->options = *options;
    peer_net_set_cluster_hash(net, options->self.initial_cluster_hash);
    net->options.self.server_version =
        slice_kept(options->self.server_version, net->server_version, sizeof net->server_version);
    peer_net_set_own_urls(net, options->self.peer_urls, options->self.peer_url_count);
    net->prng = prng_seeded(options->io->ops->random(options->io));
    map_init(&net->by_id, options->members_max);
    list_init(&net->members);
    list_init(&net->removed);
    list_init(&net->conns);
    list_init(&net->dirty);
    /* A head unpacked, and an array of the smallest entries that a frame can hold. */
    _Static_assert(sizeof(struct raft_entry) <= 2 * ENTRY_HEADER_BYTES_MIN, "of each");
    arena_init(&net->arena,
               16 * (size_t)PEER_FRAME_HEAD_BYTES_MAX + 2 * (size_t)options->frame_bytes_max);
    *ret_net = net;
    return PEER_OK;
}

static void net_free(struct peer_net *net)
{
    struct io *io = net->options.io;
    void (*fn)(void *owner) = net->on_closed;
    void *owner = net->on_closed_owner;
    for (uint32_t i = 0; i < net->listener_count; i++)
        io->ops->close(io, net->listeners[i].fd);
    map_done(&net->by_id);
    arena_done(&net->arena);
    free(net);
    fn(owner);
}

void peer_net_enter(struct peer_net *net)
{
    net->depth++;
}

static void conns_reap(struct peer_net *net)
{
    for (struct list *at = net->conns.next; at != &net->conns;) {
        struct peer_conn *c = LIST_ENTRY(at, struct peer_conn, link);
        at = at->next;
        if (peer_conn_is_done(c))
            peer_conn_free(c);
    }
}

static void members_reap(struct peer_net *net)
{
    for (struct list *at = net->removed.next; at != &net->removed;) {
        struct peer_member *m = LIST_ENTRY(at, struct peer_member, link);
        at = at->next;
        if (peer_link_is_idle(m) && !m->accepted) {
            list_remove(&m->link);
            free(m);
        }
    }
}

/* Few of each, so a walk a callback is cheap beside its system call. */
void peer_net_leave(struct peer_net *net)
{
    if (--net->depth > 0)
        return;
    conns_reap(net);
    members_reap(net);
    if (net->closing && list_is_empty(&net->conns) && list_is_empty(&net->removed) &&
        peer_accept_is_idle(net))
        net_free(net);
}

static void member_remove(struct peer_member *m)
{
    struct peer_net *net = m->net;
    IGNORE(map_remove(&net->by_id, m->id) == NULL, "it is there, and lives on until reaped");
    m->is_removed = true;
    list_remove(&m->link);
    list_push_back(&net->removed, &m->link);
    peer_link_stop(m);
    if (m->accepted)
        peer_conn_close(m->accepted);
}

void peer_net_close(struct peer_net *net, void (*fn)(void *owner), void *owner)
{
    ASSERT(!net->closing);
    peer_net_enter(net);
    net->closing = true;
    net->on_closed = fn;
    net->on_closed_owner = owner;
    while (!list_is_empty(&net->members))
        member_remove(LIST_ENTRY(net->members.next, struct peer_member, link));
    for (struct list *at = net->conns.next; at != &net->conns; at = at->next)
        peer_conn_close(LIST_ENTRY(at, struct peer_conn, link));
    peer_accept_stop(net);
    peer_net_leave(net);
}

/* ---- members ---- */

struct peer_member *peer_net_find(const struct peer_net *net, uint64_t member)
{
    return map_get(&net->by_id, member);
}

static bool urls_parse(struct peer_member *m, const char *const *urls, size_t url_count)
{
    if (url_count == 0 || url_count > PEER_URLS_MAX)
        return false;
    for (size_t i = 0; i < url_count; i++) {
        const char *why = NULL;
        if (!addr_parse_url(slice_of_text(urls[i]), &m->urls[i], &why) || m->urls[i].tls)
            return false;
    }
    m->url_count = (uint32_t)url_count;
    return true;
}

/* New URLs for a known member; the link that stands is left alone. */
static void urls_replace(struct peer_member *m, const struct peer_member *from)
{
    m->url_count = from->url_count;
    memcpy(m->urls, from->urls, sizeof m->urls);
    m->dial.url_i = 0;
}

enum peer_err peer_net_add(struct peer_net *net, uint64_t member, const char *const *urls,
                           size_t url_count)
{
    ASSERT(!net->closing);
    struct peer_member *known = peer_net_find(net, member);
    struct peer_member *m = calloc(1, sizeof *m);
    enum peer_err err = PEER_E_NOMEM;
    if (!m)
        goto out;
    err = PEER_E_ADDRESS;
    if (!urls_parse(m, urls, url_count))
        goto out;
    err = PEER_OK;
    if (known) {
        urls_replace(known, m);
        goto out;
    }
    err = PEER_E_FULL;
    if (!map_put(&net->by_id, member, m))
        goto out;
    m->net = net;
    m->id = member;
    list_init(&m->link);
    list_push_back(&net->members, &m->link);
    peer_link_init(m);
    peer_link_dial(m);
    return PEER_OK;
out:
    free(m);
    return err;
}

void peer_net_remove(struct peer_net *net, uint64_t member)
{
    struct peer_member *m = peer_net_find(net, member);
    if (!m)
        return;
    peer_net_enter(net);
    member_remove(m);
    peer_net_leave(net);
}

bool peer_net_is_up(const struct peer_net *net, uint64_t member)
{
    const struct peer_member *m = peer_net_find(net, member);
    return m && peer_link_is_up(m);
}

void peer_net_hurry(struct peer_net *net, uint64_t member)
{
    struct peer_member *m = peer_net_find(net, member);
    if (m)
        peer_link_hurry(m);
}

void peer_member_died(struct peer_member *m)
{
    const struct peer_handlers *h = &m->net->options.handlers;
    m->process_known = false;
    m->dial.was_up = false;
    h->on_process_dead(h->owner, m->id);
}

static bool process_equal(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, PEER_INCARNATION_BYTES) == 0;
}

void peer_member_met(struct peer_member *m, struct peer_conn *c)
{
    bool is_other = m->process_known && !process_equal(m->process, c->process);
    if (is_other)
        peer_member_died(m);
    if (c->state != PEER_CONN_UP)
        return; /* the handler has removed the member */
    m->process_known = true;
    memcpy(m->process, c->process, PEER_INCARNATION_BYTES);
    if (m->accepted && !process_equal(m->accepted->process, c->process))
        peer_conn_close(m->accepted);
    if (peer_link_is_up(m) && !process_equal(m->dial.conn->process, c->process))
        peer_conn_lose(m->dial.conn);
}

/* ---- received ---- */

const char *peer_hello_judge(struct peer_net *net, const Holdfastpb__Hello *pb, uint64_t from,
                             struct peer_hello *ret_hello, enum peer_unwelcome *ret_why)
{
    const struct peer_hello *self = &net->options.self;
    const struct peer_handlers *h = &net->options.handlers;
    if (pb->protocol_version != PEER_PROTOCOL_VERSION)
        return "it speaks another version of the protocol between members";
    if (!peer_decode_hello(pb, ret_hello))
        return "its introduction is malformed";
    if (ret_hello->cluster_id != self->cluster_id)
        return "it belongs to another cluster";
    if (ret_hello->to_member_id != self->member_id)
        return "it is looking for another member; do the URLs of two members point here?";
    if (ret_hello->member_id == self->member_id)
        return "it has the id of this very member";
    if (from != 0 && ret_hello->member_id != from)
        return "another member answers at its URL";
    return h->on_hello(h->owner, ret_hello, ret_why);
}

enum peer_unwelcome peer_refusal_kind(const struct peer_net *net, const Holdfastpb__Hello *pb,
                                      uint64_t member)
{
    const struct peer_hello *self = &net->options.self;
    if (pb->cluster_id != self->cluster_id || pb->member_id != member ||
        pb->to_member_id != self->member_id)
        return PEER_UNWELCOME_NOW; /* somebody else answers there */
    if (pb->refusal_is_removal)
        return PEER_UNWELCOME_REMOVED;
    return pb->refusal_is_final ? PEER_UNWELCOME_DISK : PEER_UNWELCOME_NOW;
}

void peer_complain(struct peer_net *net, uint64_t member, const char *why)
{
    const struct peer_handlers *h = &net->options.handlers;
    struct peer_member *m = peer_net_find(net, member);
    /* Anybody can be a stranger, with one fault after another: all of theirs are the same. */
    struct slice text = m ? slice_of_text(why) : (struct slice){ 0 };
    struct log_limit *limit = m ? &m->complaints : &net->complaints;
    if (log_limit_passes(limit, text, io_now_ms(net->options.io)))
        h->on_complaint(h->owner, m ? member : 0, why);
}

static bool dispatch_raft(struct peer_conn *c, const Holdfastpb__RaftMessage *pb,
                          struct block *block, struct slice attachment)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct raft_msg msg;
    if (!peer_decode_raft(pb, block, attachment, &c->net->arena, &msg))
        return false;
    msg.from = c->member->id;
    msg.to = c->net->options.self.member_id;
    c->bad_why = "an impossible message of the consensus";
    return h->on_raft(h->owner, &msg);
}

static bool dispatch_formation(struct peer_conn *c, const Holdfastpb__Formation *pb)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct slice bytes;
    if (!pb_arena_pack(&c->net->arena, &pb->base, &bytes))
        return false;
    c->bad_why = "an impossible announcement of its disk";
    return h->on_formation(h->owner, c->member->id, bytes);
}

static bool dispatch_forward(struct peer_conn *c, const Holdfastpb__Forward *pb,
                             struct slice attachment)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct peer_forward forward;
    if (!peer_decode_forward(pb, attachment, &forward))
        return false;
    h->on_forward(h->owner, c->member->id, &forward);
    return true;
}

static bool dispatch_forward_refused(struct peer_conn *c, const Holdfastpb__ForwardRefused *pb)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct peer_forward_refused refused;
    if (!peer_decode_forward_refused(pb, &refused))
        return false;
    h->on_forward_refused(h->owner, c->member->id, &refused);
    return true;
}

static bool dispatch_forward_query(struct peer_conn *c, const Holdfastpb__ForwardQuery *pb)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct peer_forward_query query = { .term = pb->term, .context = pb->context };
    h->on_forward_query(h->owner, c->member->id, &query);
    return true;
}

static bool dispatch_forward_reach(struct peer_conn *c, const Holdfastpb__ForwardReach *pb)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct peer_forward_reach reach = { pb->term, pb->context, pb->last_index };
    h->on_forward_reach(h->owner, c->member->id, &reach);
    return true;
}

static bool dispatch_snapshot_chunk(struct peer_conn *c, const Holdfastpb__SnapshotChunk *pb,
                                    struct block *block, struct slice attachment)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct peer_snapshot_chunk chunk;
    if (!peer_decode_snapshot_chunk(pb, block, attachment, &chunk))
        return false;
    h->on_snapshot_chunk(h->owner, c->member->id, &chunk);
    return true;
}

static bool dispatch_snapshot_ack(struct peer_conn *c, const Holdfastpb__SnapshotAck *pb)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct peer_snapshot_ack ack;
    if (!peer_decode_snapshot_ack(pb, &ack))
        return false;
    h->on_snapshot_ack(h->owner, c->member->id, &ack);
    return true;
}

/* Whoever dialled us does not like our answer: its last frame. */
static bool dispatch_refusal(struct peer_conn *c, const Holdfastpb__Hello *pb)
{
    const struct peer_handlers *h = &c->net->options.handlers;
    struct slice text = slice_of_text(pb->refusal);
    if (text.size == 0)
        return false;
    text.size = text.size < PEER_REFUSAL_BYTES_MAX ? text.size : PEER_REFUSAL_BYTES_MAX;
    uint64_t id = c->member->id;
    enum peer_unwelcome why = peer_refusal_kind(c->net, pb, id);
    peer_conn_close(c);
    h->on_refused(h->owner, id, text, why);
    return true;
}

bool peer_dispatch(struct peer_conn *c, const Holdfastpb__PeerMessage *message, struct block *block,
                   struct slice attachment)
{
    switch (message->message_case) {
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_RAFT:
        return dispatch_raft(c, message->raft, block, attachment);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD:
        return dispatch_forward(c, message->forward, attachment);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORMATION:
        return attachment.size == 0 && dispatch_formation(c, message->formation);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_REFUSED:
        return attachment.size == 0 && dispatch_forward_refused(c, message->forward_refused);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_QUERY:
        return attachment.size == 0 && dispatch_forward_query(c, message->forward_query);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_REACH:
        return attachment.size == 0 && dispatch_forward_reach(c, message->forward_reach);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_SNAPSHOT_CHUNK:
        return dispatch_snapshot_chunk(c, message->snapshot_chunk, block, attachment);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_SNAPSHOT_ACK:
        return attachment.size == 0 && dispatch_snapshot_ack(c, message->snapshot_ack);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_HELLO:
        return dispatch_refusal(c, message->hello);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE__NOT_SET:
    case _HOLDFASTPB__PEER_MESSAGE__MESSAGE__CASE_IS_INT_SIZE:
        break;
    }
    c->bad_why = "a message of an unknown type; is this node too old?";
    return false;
}

/* ---- sent ---- */

/* NULL while the link is down. */
static struct peer_conn *conn_to(const struct peer_net *net, uint64_t member)
{
    const struct peer_member *m = peer_net_find(net, member);
    return m && peer_link_is_up(m) ? m->dial.conn : NULL;
}

void peer_net_send_raft(struct peer_net *net, const struct raft_msg *msg)
{
    struct peer_conn *c = conn_to(net, msg->to);
    if (c)
        IGNORE(peer_conn_queue(c, peer_encode_raft(msg, net->options.frame_bytes_max)),
               "counted; Raft sends again what matters");
}

void peer_net_send_formation(struct peer_net *net, uint64_t member, struct slice formation)
{
    struct peer_conn *c = conn_to(net, member);
    if (c)
        IGNORE(peer_conn_queue(c, peer_encode_formation(formation)),
               "counted; announced again when the link comes up again");
}

bool peer_net_send_forward(struct peer_net *net, uint64_t member,
                           const struct peer_forward *forward)
{
    struct peer_conn *c = conn_to(net, member);
    return c && peer_conn_queue(c, peer_encode_forward(forward, net->options.frame_bytes_max));
}

void peer_net_send_forward_refused(struct peer_net *net, uint64_t member,
                                   const struct peer_forward_refused *refused)
{
    struct peer_conn *c = conn_to(net, member);
    if (c)
        IGNORE(peer_conn_queue(c, peer_encode_forward_refused(refused)),
               "counted; the client's deadline passes instead");
}

void peer_net_send_forward_query(struct peer_net *net, uint64_t member,
                                 const struct peer_forward_query *query)
{
    struct peer_conn *c = conn_to(net, member);
    if (c)
        IGNORE(peer_conn_queue(c, peer_encode_forward_query(query)),
               "counted; the time-outs of the requests remain");
}

void peer_net_send_forward_reach(struct peer_net *net, uint64_t member,
                                 const struct peer_forward_reach *reach)
{
    struct peer_conn *c = conn_to(net, member);
    if (c)
        IGNORE(peer_conn_queue(c, peer_encode_forward_reach(reach)),
               "counted; the time-outs of the requests remain");
}

bool peer_net_send_snapshot_chunk(struct peer_net *net, uint64_t member,
                                  const struct peer_snapshot_chunk *chunk)
{
    struct peer_conn *c = conn_to(net, member);
    return c && peer_conn_queue(c, peer_encode_snapshot_chunk(chunk, net->options.frame_bytes_max));
}

void peer_net_send_snapshot_ack(struct peer_net *net, uint64_t member,
                                const struct peer_snapshot_ack *ack)
{
    struct peer_conn *c = conn_to(net, member);
    if (c)
        IGNORE(peer_conn_queue(c, peer_encode_snapshot_ack(ack)),
               "counted; the sender tries again after a while");
}

void peer_net_flush(struct peer_net *net)
{
    peer_net_enter(net);
    /* Only those that are on the list now: one that cannot send goes back on it. */
    size_t count = 0;
    for (struct list *at = net->dirty.next; at != &net->dirty; at = at->next)
        count++;
    while (count-- > 0 && !list_is_empty(&net->dirty))
        peer_conn_flush(LIST_ENTRY(net->dirty.next, struct peer_conn, dirty));
    if (net->timer_refused) {
        net->timer_refused = false;
        for (struct list *at = net->members.next; at != &net->members; at = at->next)
            peer_link_rearm(LIST_ENTRY(at, struct peer_member, link));
    }
    peer_net_leave(net);
}

const struct peer_counters *peer_net_counters(const struct peer_net *net)
{
    return &net->counters;
}
