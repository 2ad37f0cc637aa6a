/* A server on streams and a clock that the test moves: time-outs, refused operations, and bytes
 * that were damaged on their way. */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/prng.h"
#include "rpc/conn.h"
#include "tests/support/fake_net.h"
#include "tests/support/h2_client.h"

enum { SESSION_BYTES_MAX = 1 << 16, DAMAGED_SESSIONS = 6000, BIG_BYTES = 40000 };

struct node {
    struct fake_net net;
    struct grpc_server *server;
    uint64_t gone;
    bool closed;
};

/* ---- the service ---- */

static void on_echo(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    uint8_t *room = grpc_call_send(call, message.size);
    if (room && message.size > 0)
        memcpy(room, message.data, message.size);
    grpc_call_finish(call, room ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED, NULL);
}

static void on_big(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    (void)message;
    uint8_t *room = grpc_call_send(call, BIG_BYTES);
    cr_assert(room);
    memset(room, 'b', BIG_BYTES);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_gone(void *owner, struct grpc_call *call)
{
    (void)call;
    struct node *n = owner;
    n->gone++;
}

static void on_hold(void *owner, struct grpc_call *call, struct slice message)
{
    (void)message;
    grpc_call_on_gone(call, on_gone, owner);
}

static void on_piece(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    uint8_t *room = grpc_call_send(call, message.size);
    if (!room)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, NULL);
    else if (message.size > 0)
        memcpy(room, message.data, message.size);
}

static void on_pieces_end(void *owner, struct grpc_call *call)
{
    (void)owner;
    grpc_call_finish(call, GRPC_OK, NULL);
}

static const struct grpc_method methods[] = {
    { "/t.T/Big", false, on_big, NULL },
    { "/t.T/Echo", false, on_echo, NULL },
    { "/t.T/Hold", false, on_hold, NULL },
    { "/t.T/Pieces", true, on_piece, on_pieces_end },
};

static void on_closed(void *owner)
{
    struct node *n = owner;
    n->closed = true;
}

static void node_open(struct node *n)
{
    *n = (struct node){ 0 };
    fake_net_init(&n->net);
    struct grpc_options o = {
        .io = &n->net.io,
        .methods = methods,
        .method_count = sizeof methods / sizeof methods[0],
        .owner = n,
        .connection_count_max = 4,
        .stream_count_max = 100,
        .message_bytes_max = 1 << 16,
        .request_bytes_max = 1 << 18,
        .response_bytes_max = 1 << 20,
        .connection_out_bytes_max = 1 << 18,
        .write_stall_ms = 5000,
        .keepalive_min_ms = 5000,
        .keepalive_interval_ms = 60 * 1000,
        .keepalive_timeout_ms = 20 * 1000,
    };
    cr_assert_eq(grpc_server_open(&n->server, &o), GRPC_SERVER_OK);
    struct io_addr any = { 0 };
    struct io_addr bound;
    cr_assert_eq(grpc_server_listen(n->server, &any, &bound), 0);
}

/* Until nothing is left to do at this moment. */
static void node_turn(struct node *n)
{
    for (int i = 0; i < 8 && !n->closed; i++) {
        grpc_server_flush(n->server);
        if (!n->closed)
            fake_net_turn(&n->net);
    }
}

static void node_close(struct node *n)
{
    grpc_server_close(n->server, 0, on_closed, n);
    node_turn(n);
    cr_assert(n->closed);
    fake_net_done(&n->net);
}

static const struct grpc_counters *counters(const struct node *n)
{
    return grpc_server_counters(n->server);
}

static void node_advance(struct node *n, uint64_t ms)
{
    fake_net_advance(&n->net, ms);
    node_turn(n);
}

/* ---- a recorded session ---- */

struct recording {
    uint8_t bytes[SESSION_BYTES_MAX];
    size_t size;
    nghttp2_session *ng;
    struct slice message;
};

static ssize_t on_record(nghttp2_session *ng, const uint8_t *data, size_t size, int flags,
                         void *owner)
{
    (void)ng;
    (void)flags;
    struct recording *r = owner;
    cr_assert_leq(size, sizeof r->bytes - r->size);
    memcpy(r->bytes + r->size, data, size);
    r->size += size;
    return (ssize_t)size;
}

static ssize_t on_message(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room,
                          uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    (void)ng;
    (void)id;
    (void)owner;
    struct slice *left = source->ptr;
    size_t take = left->size < room ? left->size : room;
    if (take > 0)
        memcpy(to, left->data, take);
    *left = slice_of(left->data + take, left->size - take);
    if (left->size == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

static void recording_open(struct recording *r)
{
    *r = (struct recording){ 0 };
    nghttp2_session_callbacks *cb;
    cr_assert_eq(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_send_callback(cb, on_record);
    cr_assert_eq(nghttp2_session_client_new(&r->ng, cb, r), 0);
    nghttp2_session_callbacks_del(cb);
    cr_assert_eq(nghttp2_submit_settings(r->ng, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                         strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static int32_t record_call(struct recording *r, const char *path, struct slice messages)
{
    nghttp2_nv fields[] = {
        field(":method", "POST"),     field(":scheme", "http"),
        field(":authority", "t"),     field(":path", path),
        field("te", "trailers"),      field("content-type", "application/grpc"),
        field("grpc-timeout", "30S"), field("token", "abc.123"),
    };
    r->message = messages;
    nghttp2_data_provider provider = { { .ptr = &r->message }, on_message };
    int32_t id = nghttp2_submit_request(r->ng, NULL, fields, sizeof fields / sizeof fields[0],
                                        &provider, NULL);
    cr_assert_gt(id, 0);
    cr_assert_eq(nghttp2_session_send(r->ng), 0);
    return id;
}

/* A bit of everything that clients send. */
static void record_all(struct recording *r)
{
    static uint8_t large[5 + 2000];
    static uint8_t pieces[3 * (5 + 50)];
    uint8_t small[32];
    struct slice text = slice_of_text("sixteen bytes...");
    size_t small_size = h2_message(small, 0, text);
    h2_message(large, 0, slice_of(large + 5, 2000));
    for (size_t i = 0; i < 3; i++)
        h2_message(pieces + i * 55, 0, slice_of(large, 50));
    recording_open(r);
    record_call(r, "/t.T/Echo", slice_of(small, small_size));
    record_call(r, "/t.T/Pieces", slice_of(pieces, sizeof pieces));
    int32_t held = record_call(r, "/t.T/Hold", slice_of(small, small_size));
    record_call(r, "/t.T/Echo", slice_of(large, sizeof large));
    cr_assert_eq(nghttp2_submit_ping(r->ng, NGHTTP2_FLAG_NONE, NULL), 0);
    cr_assert_eq(nghttp2_submit_rst_stream(r->ng, NGHTTP2_FLAG_NONE, held, NGHTTP2_CANCEL), 0);
    record_call(r, "/t.T/None", slice_of(small, small_size));
    record_call(r, "/t.T/Hold", slice_of(small, small_size));
    nghttp2_session_del(r->ng);
}

/* ---- time ---- */

Test(grpc_fault, handshakes_have_ten_seconds)
{
    struct node n;
    node_open(&n);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    int silent = fake_net_connect(&n.net);
    int half = fake_net_connect(&n.net);
    int greeted = fake_net_connect(&n.net);
    int settled = fake_net_connect(&n.net);
    cr_assert_geq(settled, 0);
    fake_net_bytes(&n.net, half, slice_of(preface, 20));
    fake_net_bytes(&n.net, greeted, slice_of(preface, sizeof preface - 1));
    struct recording r;
    recording_open(&r);
    cr_assert_eq(nghttp2_session_send(r.ng), 0);
    nghttp2_session_del(r.ng);
    fake_net_bytes(&n.net, settled, slice_of(r.bytes, r.size));
    node_turn(&n);
    node_advance(&n, CONN_HANDSHAKE_MS - 1);
    cr_assert_eq(counters(&n)->connections_open, 4);
    node_advance(&n, 1);
    cr_assert_eq(counters(&n)->connections_open, 1);
    cr_assert_eq(counters(&n)->connections_silent, 3);
    cr_assert_not(n.net.streams[silent].open);
    cr_assert(n.net.streams[settled].open);
    node_close(&n);
}

Test(grpc_fault, idle_sessions_stay_as_long_as_they_answer)
{
    struct node n;
    node_open(&n);
    struct recording r;
    recording_open(&r);
    cr_assert_eq(nghttp2_session_send(r.ng), 0);
    nghttp2_session_del(r.ng);
    int fd = fake_net_connect(&n.net);
    fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size));
    node_turn(&n);
    static const uint8_t pong[17] = { 0, 0, 8, 6, 1 };
    for (int i = 0; i < 10; i++) {
        size_t before = n.net.streams[fd].out_size;
        node_advance(&n, 60 * 1000);
        cr_assert_eq(n.net.streams[fd].out_size, before + 17, "a ping");
        node_advance(&n, 15 * 1000);
        fake_net_bytes(&n.net, fd, slice_of(pong, sizeof pong));
        node_turn(&n);
    }
    node_advance(&n, 60 * 1000);
    node_advance(&n, 19999);
    cr_assert(n.net.streams[fd].open);
    node_advance(&n, 1);
    cr_assert_not(n.net.streams[fd].open);
    cr_assert_eq(counters(&n)->connections_silent, 1);
    node_close(&n);
}

/* Its GOAWAY does not name the stream, so the client takes the request for one that nobody acted
 * on, and sends it to another member: acted on here, too, it would take effect twice. */
Test(grpc_fault, nothing_begins_behind_the_last_goaway)
{
    struct node n;
    node_open(&n);
    struct recording r;
    recording_open(&r);
    record_call(&r, "/t.T/Hold", slice_of("\0\0\0\0", 5));
    int fd = fake_net_connect(&n.net);
    fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size));
    node_turn(&n);
    grpc_server_close(n.server, 1000, on_closed, &n);
    r.size = 0;
    record_call(&r, "/t.T/Hold", slice_of("\0\0\0\0", 5));
    nghttp2_session_del(r.ng);
    fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size));
    cr_assert_eq(counters(&n)->calls_refused, 1);
    node_turn(&n);
    node_advance(&n, 2000);
    cr_assert(n.closed);
    cr_assert_eq(n.gone, 1, "the first alone was taken");
    fake_net_done(&n.net);
}

/* How many requests were taken; the one in r was not. */
static size_t calls_until_paused(struct node *n, struct recording *r, int fd)
{
    n->net.holds_sends = true;
    for (size_t taken = 0; taken < 50; taken++) {
        r->size = 0;
        record_call(r, "/t.T/Big", slice_of("\0\0\0\0", 5));
        if (!fake_net_bytes(&n->net, fd, slice_of(r->bytes, r->size)))
            return taken;
        node_turn(n);
    }
    cr_assert(false, "it reads on and on");
    return 0;
}

/* A client with wide windows, and requests until the server stops reading. */
static size_t big_calls(struct node *n, struct recording *r, int *ret_fd)
{
    node_open(n);
    recording_open(r);
    nghttp2_settings_entry wide = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24 };
    cr_assert_eq(nghttp2_submit_settings(r->ng, NGHTTP2_FLAG_NONE, &wide, 1), 0);
    cr_assert_eq(nghttp2_session_set_local_window_size(r->ng, NGHTTP2_FLAG_NONE, 0, 1 << 24), 0);
    cr_assert_eq(nghttp2_session_send(r->ng), 0);
    *ret_fd = fake_net_connect(&n->net);
    fake_net_bytes(&n->net, *ret_fd, slice_of(r->bytes, r->size));
    node_turn(n);
    return calls_until_paused(n, r, *ret_fd);
}

/* The socket takes nothing: reading stops once too much waits, and then the time is up. */
Test(grpc_fault, reading_pauses_while_nothing_can_be_sent)
{
    struct node n;
    static struct recording r;
    int fd;
    size_t taken = big_calls(&n, &r, &fd);
    nghttp2_session_del(r.ng);
    /* The first answer is on its way, and as many wait behind it as just pass 256 KiB. */
    cr_assert_eq(taken, 1 + (1 << 18) / BIG_BYTES + 1, "%zu", taken);
    node_advance(&n, 4999);
    cr_assert_eq(counters(&n)->connections_stalled, 0);
    node_advance(&n, 1);
    cr_assert_eq(counters(&n)->connections_stalled, 1);
    cr_assert_eq(counters(&n)->connections_open, 0);
    node_close(&n);
}

/* And goes on when the socket does. */
Test(grpc_fault, reading_resumes)
{
    struct node n;
    static struct recording r;
    int fd;
    size_t taken = big_calls(&n, &r, &fd);
    for (int round = 0; round < 3; round++) {
        n.net.holds_sends = false;
        node_turn(&n);
        node_turn(&n);
        cr_assert_eq(counters(&n)->calls_open, 0);
        cr_assert(fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size)), "the one that waited");
        node_turn(&n);
        taken += 1 + calls_until_paused(&n, &r, fd);
    }
    n.net.holds_sends = false;
    node_turn(&n);
    node_turn(&n);
    nghttp2_session_del(r.ng);
    cr_assert_eq(counters(&n)->calls_refused, 0);
    cr_assert_gt(n.net.streams[fd].out_size, taken * BIG_BYTES);
    cr_assert_lt(n.net.streams[fd].out_size, taken * (BIG_BYTES + 200) + 1000);
    cr_assert_eq(counters(&n)->connections_stalled, 0);
    node_close(&n);
}

/* However little the windows let through: while something leaves, nobody is stalled. */
Test(grpc_fault, a_slow_client_is_not_a_stalled_one)
{
    struct node n;
    node_open(&n);
    static struct recording r;
    recording_open(&r);
    for (int i = 0; i < 3; i++)
        record_call(&r, "/t.T/Big", slice_of("\0\0\0\0", 5));
    nghttp2_session_del(r.ng);
    int fd = fake_net_connect(&n.net);
    fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size));
    node_turn(&n);
    static const uint8_t more[13] = { 0, 0, 4, NGHTTP2_WINDOW_UPDATE, 0, 0, 0, 0, 0, 0, 0, 0, 50 };
    for (int i = 0; i < 6; i++) {
        node_advance(&n, 4000);
        size_t before = n.net.streams[fd].out_size;
        cr_assert(fake_net_bytes(&n.net, fd, slice_of(more, sizeof more)), "round %d", i);
        node_turn(&n);
        cr_assert_gt(n.net.streams[fd].out_size, before);
    }
    node_advance(&n, 4999);
    cr_assert_eq(counters(&n)->connections_stalled, 0);
    node_advance(&n, 1);
    cr_assert_eq(counters(&n)->connections_stalled, 1);
    node_close(&n);
}

/* The receive buffer is gone when the request ends in a later one. */
Test(grpc_fault, a_whole_message_outlives_its_receive_buffer)
{
    struct node n;
    node_open(&n);
    static struct recording r;
    recording_open(&r);
    uint8_t message[32];
    struct slice text = slice_of_text("sixteen bytes...");
    size_t size = h2_message(message, 0, text);
    record_call(&r, "/t.T/Echo", slice_of(message, size));
    nghttp2_session_del(r.ng);
    uint8_t *data_frame = r.bytes + r.size - size - 9;
    cr_assert_eq(data_frame[4], NGHTTP2_FLAG_END_STREAM);
    data_frame[4] = 0;
    int fd = fake_net_connect(&n.net);
    fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size));
    node_turn(&n);
    static const uint8_t end[9] = { 0, 0, 0, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 0, 0, 0, 1 };
    fake_net_bytes(&n.net, fd, slice_of(end, sizeof end));
    node_turn(&n);
    const struct fake_stream *s = &n.net.streams[fd];
    cr_assert(memmem(s->out, s->out_size, text.data, text.size), "the echo");
    cr_assert_eq(counters(&n)->calls_open, 0);
    node_close(&n);
}

/* ---- refused operations ---- */

Test(grpc_fault, each_operation_refused_in_turn)
{
    static struct recording r;
    record_all(&r);
    bool survived = false;
    for (uint64_t at = 1; !survived; at++) {
        struct node n;
        node_open(&n);
        n.net.fail_at = at;
        int fd = fake_net_connect(&n.net);
        if (fd >= 0)
            fake_net_bytes(&n.net, fd, slice_of(r.bytes, r.size));
        node_turn(&n);
        survived = n.net.fail_at != 0; /* there were not so many operations */
        n.net.fail_at = 0;
        if (fd >= 0)
            fake_net_end(&n.net, fd);
        node_turn(&n);
        cr_assert_eq(counters(&n)->connections_open, 0, "operation %lu", (unsigned long)at);
        cr_assert_eq(counters(&n)->calls_open, 0, "operation %lu", (unsigned long)at);
        node_close(&n);
    }
}

/* ---- damaged bytes ---- */

static size_t session_damage(struct prng *p, const struct recording *r, uint8_t *bytes)
{
    size_t size = r->size;
    memcpy(bytes, r->bytes, size);
    uint64_t flips = 1 + prng_below(p, 6);
    for (uint64_t i = 0; i < flips; i++)
        bytes[prng_below(p, size)] ^= (uint8_t)(1u << prng_below(p, 8));
    if (prng_below(p, 4) == 0)
        size = (size_t)prng_below(p, size);
    return size;
}

static void session_feed(struct node *n, struct prng *p, struct slice bytes)
{
    int fd = fake_net_connect(&n->net);
    cr_assert_geq(fd, 0);
    bool reading = true;
    while (bytes.size > 0 && reading) {
        size_t piece = 1 + (size_t)prng_below(p, prng_below(p, 2) ? 64 : 16384);
        if (piece > bytes.size)
            piece = bytes.size;
        reading = fake_net_bytes(&n->net, fd, slice_of(bytes.data, piece));
        bytes = slice_of(bytes.data + piece, bytes.size - piece);
        if (prng_below(p, 3) == 0)
            node_turn(n);
    }
    node_turn(n);
    if (n->net.streams[fd].open)
        fake_net_end(&n->net, fd);
    node_turn(n);
    node_advance(n, CONN_LINGER_MS);
}

Test(grpc_fault, the_recording_itself_is_fine)
{
    static struct recording r;
    record_all(&r);
    struct node n;
    node_open(&n);
    struct prng p = prng_seeded(1);
    session_feed(&n, &p, slice_of(r.bytes, r.size));
    cr_assert_eq(counters(&n)->connections_broken, 0);
    cr_assert_eq(counters(&n)->calls_started, 6);
    cr_assert_eq(counters(&n)->calls_gone, 2);
    cr_assert_eq(n.gone, 2);
    node_close(&n);
}

Test(grpc_fault, damaged_sessions, .timeout = 120)
{
    static struct recording r;
    static uint8_t bytes[SESSION_BYTES_MAX];
    record_all(&r);
    struct node n;
    node_open(&n);
    for (uint64_t seed = 1; seed <= DAMAGED_SESSIONS; seed++) {
        struct prng p = prng_seeded(seed);
        size_t size = session_damage(&p, &r, bytes);
        session_feed(&n, &p, slice_of(bytes, size));
        cr_assert_eq(counters(&n)->connections_open, 0, "seed %lu", (unsigned long)seed);
        cr_assert_eq(counters(&n)->calls_open, 0, "seed %lu", (unsigned long)seed);
    }
    const struct grpc_counters *c = counters(&n);
    cr_assert_eq(c->connections_accepted, DAMAGED_SESSIONS);
    cr_assert_gt(c->connections_broken, DAMAGED_SESSIONS / 10, "the damage reaches the parsers");
    cr_assert_gt(c->calls_started, DAMAGED_SESSIONS / 10);
    node_close(&n);
}
