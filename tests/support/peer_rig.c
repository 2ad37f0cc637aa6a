#include "tests/support/peer_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "rpc/addr.h"
#include "tests/support/loop_fixture.h"

/* ---- what handlers note ---- */

static void text_note(char to[PEER_RIG_TEXT_BYTES], struct slice text)
{
    cr_assert_lt(text.size, PEER_RIG_TEXT_BYTES);
    memcpy(to, text.data, text.size);
    to[text.size] = '\0';
}

static const char *on_hello(void *owner, const struct peer_hello *hello,
                            enum peer_unwelcome *ret_why)
{
    struct peer_rig_node *n = owner;
    cr_assert_eq(hello->to_member_id, n->id);
    cr_assert_eq(*ret_why, PEER_UNWELCOME_NOW);
    n->hellos++;
    n->hello_urls = hello->peer_url_count;
    if (n->add_on_hello)
        cr_assert_eq(peer_net_add(n->net, hello->member_id, &n->add_on_hello, 1), PEER_OK);
    *ret_why = n->refuse_why;
    return n->refuse;
}

static void on_refused(void *owner, uint64_t member, struct slice text, enum peer_unwelcome why)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->refusals++;
    n->refused_as = why;
    text_note(n->refused_why, text);
}

static void on_link(void *owner, uint64_t member, bool up)
{
    struct peer_rig_node *n = owner;
    cr_assert_eq(peer_net_is_up(n->net, member), up);
    n->links_up += up;
    n->links_down += !up;
}

static void on_process_dead(void *owner, uint64_t member)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->deaths++;
}

static void entries_note(struct peer_rig_node *n, const struct raft_msg_append *append)
{
    for (uint32_t i = 0; i < append->entry_count; i++)
        n->entry_bytes += append->entries[i].bytes.size;
    if (append->entry_count == 0)
        return;
    block_unref(n->kept);
    n->kept = block_ref(append->entries[0].block);
    n->kept_entry = append->entries[0].bytes;
}

static void node_closed(void *owner)
{
    struct peer_rig_node *n = owner;
    n->net = NULL;
}

static bool on_raft(void *owner, const struct raft_msg *msg)
{
    struct peer_rig_node *n = owner;
    cr_assert_eq(msg->to, n->id);
    n->raft_count++;
    n->raft = *msg;
    if (msg->type == RAFT_MSG_APPEND)
        entries_note(n, &msg->append);
    if (n->remove_in_handler)
        peer_net_remove(n->net, msg->from);
    if (n->close_in_handler) {
        n->close_in_handler = false;
        peer_net_close(n->net, node_closed, n);
    }
    return !n->refuse_messages;
}

static bool on_formation(void *owner, uint64_t member, struct slice formation)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->formations++;
    text_note(n->formation, formation);
    n->formation_bytes = formation.size;
    return !n->refuse_messages;
}

static void on_complaint(void *owner, uint64_t member, const char *why)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->complaints++;
    n->complaint_member = member;
    text_note(n->complaint_why, slice_of_text(why));
}

static void on_forward(void *owner, uint64_t member, const struct peer_forward *forward)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->forwards++;
    n->forward_id = forward->request_id;
    text_note(n->forward_command, forward->command);
}

static void on_forward_refused(void *owner, uint64_t member,
                               const struct peer_forward_refused *refused)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->forwards_refused++;
    n->forward_id = refused->request_id;
    n->forward_why = refused->why;
}

static void on_forward_query(void *owner, uint64_t member, const struct peer_forward_query *query)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->queries++;
    n->query = *query;
}

static void on_forward_reach(void *owner, uint64_t member, const struct peer_forward_reach *reach)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->reaches++;
    n->reach = *reach;
}

static void on_snapshot_chunk(void *owner, uint64_t member, const struct peer_snapshot_chunk *chunk)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->chunks++;
    n->chunk_bytes += chunk->bytes.size;
    n->chunk = *chunk;
}

static void on_snapshot_ack(void *owner, uint64_t member, const struct peer_snapshot_ack *ack)
{
    struct peer_rig_node *n = owner;
    cr_assert_neq(member, n->id);
    n->acks++;
    n->ack = *ack;
}

/* ---- the loop ---- */

static void on_turn_end(void *owner)
{
    struct peer_rig *rig = owner;
    for (size_t i = 0; i < PEER_RIG_NODES_MAX; i++) {
        if (rig->nodes[i].net)
            peer_net_flush(rig->nodes[i].net);
    }
    if (rig->until && rig->until(rig))
        loop_stop(rig->loop);
}

static void on_patience(void *owner)
{
    struct peer_rig *rig = owner;
    rig->gave_up = true;
    loop_stop(rig->loop);
}

void peer_rig_run(struct peer_rig *rig, bool (*until)(struct peer_rig *rig))
{
    if (until(rig))
        return;
    rig->until = until;
    cr_assert(io_timer_set(rig->io, &rig->patience, io_now_ms(rig->io) + PEER_RIG_PATIENCE_MS));
    loop_fixture_run(rig->loop);
    io_timer_cancel(rig->io, &rig->patience);
    rig->until = NULL;
    cr_assert_not(rig->gave_up, "what was waited for did not happen");
}

void peer_rig_open(struct peer_rig *rig)
{
    *rig = (struct peer_rig){ 0 };
    struct loop_options options = loop_fixture_options();
    options.turn_end = on_turn_end;
    options.owner = rig;
    rig->loop = loop_fixture_open(&options);
    rig->io = loop_io(rig->loop);
    timer_init(&rig->patience, on_patience, rig);
    for (size_t i = 0; i < PEER_RIG_NODES_MAX; i++) {
        struct peer_rig_node *n = &rig->nodes[i];
        n->rig = rig;
        n->id = i + 1;
        n->addr = loop_fixture_loopback();
        n->options = (struct peer_options){
            .io = rig->io,
            .self = { .cluster_id = 7,
                      .member_id = n->id,
                      .feature_level_max = 1,
                      .initial_cluster_hash = slice_of_text("12345678"),
                      .server_version = slice_of_text("0.1.0") },
            .handlers = { n, on_hello, on_refused, on_link, on_process_dead, on_raft, on_formation,
                          on_forward, on_forward_refused, on_complaint, on_forward_query,
                          on_forward_reach, on_snapshot_chunk, on_snapshot_ack },
            .members_max = 4,
            .out_bytes_max = 1 << 20,
            .frame_bytes_max = 1 << 20,
            .backoff_min_ms = 2,
            .backoff_max_ms = 20,
            .handshake_timeout_ms = 5000,
        };
    }
}

void peer_rig_node_open(struct peer_rig_node *n, uint8_t process)
{
    memset(n->options.self.process, process, PEER_INCARNATION_BYTES);
    cr_assert_eq(peer_net_open(&n->net, &n->options), PEER_OK);
    int rc = peer_net_listen(n->net, &n->addr, &n->addr);
    cr_assert_eq(rc, 0, "listen: %s", strerror(-rc));
}

static bool closing_is_done(struct peer_rig *rig)
{
    for (size_t i = 0; i < PEER_RIG_NODES_MAX; i++) {
        if (rig->nodes[i].net && rig->nodes[i].options.members_max == 0)
            return false;
    }
    return true;
}

void peer_rig_node_close(struct peer_rig_node *n)
{
    uint32_t members_max = n->options.members_max;
    n->options.members_max = 0; /* marks it for closing_is_done */
    peer_net_close(n->net, node_closed, n);
    peer_rig_run(n->rig, closing_is_done);
    n->options.members_max = members_max;
}

void peer_rig_close(struct peer_rig *rig)
{
    for (size_t i = 0; i < PEER_RIG_NODES_MAX; i++) {
        if (rig->nodes[i].net)
            peer_rig_node_close(&rig->nodes[i]);
        block_unref(rig->nodes[i].kept);
    }
    loop_close(rig->loop);
}

void peer_rig_add(struct peer_rig_node *a, const struct peer_rig_node *b)
{
    char url[ADDR_TEXT_BYTES_MAX + 8];
    char addr[ADDR_TEXT_BYTES_MAX];
    snprintf(url, sizeof url, "http://%s", addr_format(&b->addr, addr));
    const char *urls[] = { url };
    cr_assert_eq(peer_net_add(a->net, b->id, urls, 1), PEER_OK);
}

/* ---- raw connections ---- */

static struct peer_rig_raw *waiting_raw;
static size_t waiting_size;

static void raw_on_recv(void *owner, struct slice bytes, int32_t result)
{
    (void)result;
    struct peer_rig_raw *raw = owner;
    if (bytes.size == 0) {
        raw->ended = true;
        return;
    }
    cr_assert_leq(bytes.size, sizeof raw->received - raw->size);
    memcpy(raw->received + raw->size, bytes.data, bytes.size);
    raw->size += bytes.size;
}

static void raw_on_connect(void *owner, int32_t result)
{
    struct peer_rig_raw *raw = owner;
    cr_assert_geq(result, 0, "connect: %s", strerror(-result));
    raw->fd = result;
}

static bool raw_is_connected(struct peer_rig *rig)
{
    (void)rig;
    return waiting_raw->fd >= 0;
}

static bool raw_has_sent(struct peer_rig *rig)
{
    (void)rig;
    return !waiting_raw->sending;
}

static bool raw_has_ended(struct peer_rig *rig)
{
    (void)rig;
    return waiting_raw->ended;
}

static bool raw_has_bytes(struct peer_rig *rig)
{
    (void)rig;
    return waiting_raw->ended || waiting_raw->size >= waiting_size;
}

void peer_rig_raw_open(struct peer_rig_raw *raw, struct peer_rig_node *n)
{
    struct io *io = n->rig->io;
    *raw = (struct peer_rig_raw){ .rig = n->rig, .fd = -1 };
    waiting_raw = raw;
    cr_assert_eq(io->ops->connect(io, &n->addr, raw_on_connect, raw, NULL), 0);
    peer_rig_run(raw->rig, raw_is_connected);
    cr_assert_eq(io->ops->recv(io, raw->fd, raw_on_recv, raw, &raw->recv_ref), 0);
}

static void raw_on_sent(void *owner, int32_t result)
{
    struct peer_rig_raw *raw = owner;
    (void)result; /* the node may have closed it already */
    raw->sending = false;
}

void peer_rig_raw_send(struct peer_rig_raw *raw, struct slice bytes)
{
    struct io *io = raw->rig->io;
    waiting_raw = raw;
    raw->sending = true;
    cr_assert_eq(io->ops->send(io, raw->fd, bytes, raw_on_sent, raw, NULL), 0);
    peer_rig_run(raw->rig, raw_has_sent);
}

void peer_rig_raw_wait_end(struct peer_rig_raw *raw)
{
    waiting_raw = raw;
    peer_rig_run(raw->rig, raw_has_ended);
}

void peer_rig_raw_wait_bytes(struct peer_rig_raw *raw, size_t size)
{
    waiting_raw = raw;
    waiting_size = size;
    peer_rig_run(raw->rig, raw_has_bytes);
    cr_assert_geq(raw->size, size);
}

void peer_rig_raw_close(struct peer_rig_raw *raw)
{
    struct io *io = raw->rig->io;
    if (!raw->ended) {
        io_cancel(io, raw->recv_ref);
        peer_rig_raw_wait_end(raw);
    }
    io->ops->close(io, raw->fd);
}
