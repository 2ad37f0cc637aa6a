/* A client connection's bytes, in pieces, with time passing: an HTTP/2 session, gRPC, requests. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/assert.h"
#include "proto/pb_arena.h"
#include "rpc/grpc.h"
#include "server/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_net.h"

enum { PIECE_BYTES_MAX = 900, MESSAGE_PREFIX_BYTES = 5, TURNS = 8 };

static struct fake_net net;
static struct grpc_server *server;
static bool closed;

static void answer(struct grpc_call *call, enum etcd_error error)
{
    grpc_call_finish(call, etcd_error_status(error),
                     error == ETCD_OK ? NULL : etcd_error_text(error));
}

static void on_put(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    const Etcdserverpb__PutRequest *put = (const Etcdserverpb__PutRequest *)pb_arena_unpack(
        grpc_call_arena(call), &etcdserverpb__put_request__descriptor, message);
    answer(call, put ? check_put(put) : ETCD_E_BAD_MESSAGE);
}

static void on_range(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    const Etcdserverpb__RangeRequest *range = (const Etcdserverpb__RangeRequest *)pb_arena_unpack(
        grpc_call_arena(call), &etcdserverpb__range_request__descriptor, message);
    uint8_t *room = grpc_call_send(call, message.size);
    if (room && message.size > 0)
        memcpy(room, message.data, message.size);
    answer(call, range ? check_range(range) : ETCD_E_BAD_MESSAGE);
}

static void on_held_gone(void *owner, struct grpc_call *call)
{
    (void)owner, (void)call;
}

static void on_watch(void *owner, struct grpc_call *call, struct slice message)
{
    (void)message;
    grpc_call_on_gone(call, on_held_gone, owner);
}

static const struct grpc_method methods[] = {
    { "/etcdserverpb.KV/Put", false, on_put, NULL },
    { "/etcdserverpb.KV/Range", false, on_range, NULL },
    { "/etcdserverpb.Watch/Watch", true, on_watch, NULL },
};

static void server_make(void)
{
    fake_net_init(&net);
    struct grpc_options options = {
        .io = &net.io,
        .methods = methods,
        .method_count = sizeof methods / sizeof methods[0],
        .connection_count_max = 4,
        .stream_count_max = 20,
        .message_bytes_max = 1 << 14,
        .request_bytes_max = 1 << 16,
        .response_bytes_max = 1 << 18,
        .connection_out_bytes_max = 1 << 16,
        .write_stall_ms = 5000,
        .keepalive_min_ms = 5000,
        .keepalive_interval_ms = 60 * 1000,
        .keepalive_timeout_ms = 20 * 1000,
    };
    struct io_addr any = { 0 };
    struct io_addr bound;
    ASSERT(grpc_server_open(&server, &options) == GRPC_SERVER_OK);
    ASSERT(grpc_server_listen(server, &any, &bound) == 0);
}

static void turns(void)
{
    for (int i = 0; i < TURNS && !closed; i++) {
        grpc_server_flush(server);
        if (!closed)
            fake_net_turn(&net);
    }
}

static void on_closed(void *owner)
{
    *(bool *)owner = true;
}

/* How large the pieces are, how much time passes after each; then the stream. */
static void run(struct slice input)
{
    struct fuzz_reader r = { input };
    size_t piece_bytes = 1 + fuzz_u8(&r) * (size_t)PIECE_BYTES_MAX / UINT8_MAX;
    uint64_t pass_ms = 10ull * fuzz_u8(&r);
    closed = false;
    server_make();
    int fd = fake_net_connect(&net);
    while (r.left.size > 0 && fake_net_bytes(&net, fd, fuzz_take(&r, piece_bytes))) {
        turns();
        fake_net_advance(&net, pass_ms);
    }
    if (net.streams[fd].open)
        fake_net_end(&net, fd);
    turns();
    ASSERT(grpc_server_counters(server)->connections_open == 0);
    ASSERT(grpc_server_counters(server)->calls_open == 0);
    grpc_server_close(server, 0, on_closed, &closed);
    turns();
    ASSERT(closed);
    fake_net_done(&net);
}

/* ---- seeds: a session as a client's library makes it ---- */

static struct fuzz_writer writer;

static ssize_t on_record(nghttp2_session *ng, const uint8_t *data, size_t size, int flags,
                         void *owner)
{
    (void)ng, (void)flags, (void)owner;
    fuzz_put(&writer, slice_of(data, size));
    return (ssize_t)size;
}

static ssize_t on_message(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room,
                          uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    (void)ng, (void)id, (void)owner;
    const struct slice *message = source->ptr;
    ASSERT(message->size <= room);
    memcpy(to, message->data, message->size);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)message->size;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                         strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static void record_call(nghttp2_session *ng, const char *path, struct slice message)
{
    nghttp2_nv fields[] = {
        field(":method", "POST"),     field(":scheme", "http"),
        field(":authority", "t"),     field(":path", path),
        field("te", "trailers"),      field("content-type", "application/grpc"),
        field("grpc-timeout", "30S"), field("token", "abc.123"),
    };
    nghttp2_data_provider provider = { { .ptr = &message }, on_message };
    ASSERT(nghttp2_submit_request(ng, NULL, fields, sizeof fields / sizeof fields[0], &provider,
                                  NULL) > 0);
    ASSERT(nghttp2_session_send(ng) == 0);
}

static void seeds(fuzz_seed_fn *add, void *owner)
{
    static const uint8_t put[] = { 0, 0, 0, 0, 6, 0x0a, 1, 'k', 0x12, 1, 'v' };
    static const char http1[] = "..GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *ng;
    ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_record);
    ASSERT(nghttp2_session_client_new(&ng, callbacks, NULL) == 0);
    nghttp2_session_callbacks_del(callbacks);
    writer.size = 0;
    fuzz_put_u8(&writer, 255);
    fuzz_put_u8(&writer, 0);
    ASSERT(nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    record_call(ng, "/etcdserverpb.KV/Put", slice_of(put, sizeof put));
    record_call(ng, "/etcdserverpb.KV/Range", slice_of(put, MESSAGE_PREFIX_BYTES + 3));
    record_call(ng, "/etcdserverpb.Watch/Watch", slice_of(put, sizeof put));
    ASSERT(nghttp2_submit_ping(ng, NGHTTP2_FLAG_NONE, NULL) == 0);
    ASSERT(nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, 5, NGHTTP2_CANCEL) == 0);
    record_call(ng, "/none/None", slice_of(put, sizeof put));
    nghttp2_session_del(ng);
    add(owner, "session", slice_of(writer.bytes, writer.size));
    add(owner, "http1", slice_of(http1, sizeof http1 - 1));
}

const struct fuzz_target fuzz_http2 = { "http2", 6000, run, seeds };
