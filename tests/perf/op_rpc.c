/* Requests in and answers out through HTTP/2 and gRPC, on a connection in memory, each turn flushed
 * once; and what a Put is decoded and checked by.
 */
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "proto/pb_arena.h"
#include "rpc.pb-c.h"
#include "rpc/grpc.h"
#include "rpc/grpc_codec.h"
#include "server/check.h"
#include "tests/perf/operations.h"
#include "tests/support/fake_net.h"

enum {
    REQUEST_BYTES_MAX = PERF_VALUE_BYTES + 64,
    OUT_BYTES_MAX = 64 << 10,
    PUT_ANSWER_BYTES = 28,
    GET_ANSWER_BYTES = PERF_VALUE_BYTES + 60,
};

static struct slice request; /* packed, behind its prefix */
static uint8_t request_bytes[REQUEST_BYTES_MAX];

static void put_pack(void)
{
    static uint8_t value[PERF_VALUE_BYTES];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){ PERF_KEY_BYTES, (uint8_t *)"key-1234" };
    put.value = (ProtobufCBinaryData){ sizeof value, value };
    size_t size = protobuf_c_message_pack(&put.base, request_bytes + GRPC_PREFIX_BYTES);
    grpc_prefix_put(request_bytes, (uint32_t)size);
    request = slice_of(request_bytes, GRPC_PREFIX_BYTES + size);
}

static void get_pack(void)
{
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    get.key = (ProtobufCBinaryData){ PERF_KEY_BYTES, (uint8_t *)"key-1234" };
    size_t size = protobuf_c_message_pack(&get.base, request_bytes + GRPC_PREFIX_BYTES);
    grpc_prefix_put(request_bytes, (uint32_t)size);
    request = slice_of(request_bytes, GRPC_PREFIX_BYTES + size);
}

/* ---- the server ---- */

static struct fake_net net;
static struct grpc_server *server;
static int fd;
static uint64_t answered;

static void answer(struct grpc_call *call, size_t size)
{
    uint8_t *to = grpc_call_send(call, size);
    ASSERT(to);
    memset(to, 'a', size);
    grpc_call_finish(call, GRPC_OK, NULL);
    answered++;
}

/* Its message is not looked at: what that costs has a line of its own. */
static void on_put(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner, (void)message;
    answer(call, PUT_ANSWER_BYTES);
}

static void on_get(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner, (void)message;
    answer(call, GET_ANSWER_BYTES);
}

static const struct grpc_method methods[] = {
    { "/etcdserverpb.KV/Put", false, on_put, NULL },
    { "/etcdserverpb.KV/Range", false, on_get, NULL },
};

static void server_open(void)
{
    fake_net_init(&net);
    struct grpc_options options = {
        .io = &net.io,
        .methods = methods,
        .method_count = sizeof methods / sizeof methods[0],
        .connection_count_max = 4,
        .stream_count_max = 1000,
        .message_bytes_max = 1 << 20,
        .request_bytes_max = 64 << 20,
        .response_bytes_max = 64 << 20,
        .connection_out_bytes_max = 4 << 20,
        .write_stall_ms = 5000,
        .keepalive_min_ms = 5000,
        .keepalive_interval_ms = 60 * 1000,
        .keepalive_timeout_ms = 20 * 1000,
    };
    struct io_addr any = { 0 };
    struct io_addr bound;
    enum grpc_err err = grpc_server_open(&server, &options);
    ASSERT(err == GRPC_SERVER_OK);
    ASSERT(grpc_server_listen(server, &any, &bound) == 0);
    fd = fake_net_connect(&net);
    ASSERT(fd >= 0);
}

/* ---- the client: makes the bytes of a round, and takes the answers of the one before ---- */

static nghttp2_session *client;
static uint8_t out[OUT_BYTES_MAX];
static size_t out_size;
static uint64_t closed_streams;

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                         strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static ssize_t on_read(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *owner)
{
    (void)ng, (void)id, (void)source, (void)owner;
    ASSERT(request.size <= room);
    memcpy(to, request.data, request.size);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)request.size;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error, void *owner)
{
    (void)ng, (void)id, (void)owner;
    ASSERT(error == NGHTTP2_NO_ERROR);
    closed_streams++;
    return 0;
}

static void client_open(void)
{
    nghttp2_session_callbacks *callbacks;
    ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    ASSERT(nghttp2_session_client_new(&client, callbacks, NULL) == 0);
    nghttp2_session_callbacks_del(callbacks);
    ASSERT(nghttp2_submit_settings(client, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
}

static void call_submit(const char *path)
{
    nghttp2_nv fields[] = {
        field(":method", "POST"),    field(":scheme", "http"),
        field(":path", path),        field(":authority", "127.0.0.1:2379"),
        field("te", "trailers"),     field("content-type", "application/grpc"),
        field("user-agent", "perf"),
    };
    nghttp2_data_provider body = { .read_callback = on_read };
    int32_t id =
        nghttp2_submit_request(client, NULL, fields, sizeof fields / sizeof fields[0], &body, NULL);
    ASSERT(id > 0);
}

static void answers_take(void)
{
    struct fake_stream *s = &net.streams[fd];
    ASSERT(nghttp2_session_mem_recv(client, s->out, s->out_size) == (ssize_t)s->out_size);
    s->out_size = 0;
    ASSERT(closed_streams == answered);
}

static void requests_make(const char *path, uint32_t count)
{
    answers_take();
    for (uint32_t i = 0; i < count; i++)
        call_submit(path);
    const uint8_t *made;
    ssize_t size;
    out_size = 0;
    while ((size = nghttp2_session_mem_send(client, &made)) > 0) {
        ASSERT((size_t)size <= sizeof out - out_size);
        memcpy(out + out_size, made, (size_t)size);
        out_size += (size_t)size;
    }
    ASSERT(size == 0);
}

/* ---- the operations ---- */

static void put_open(void)
{
    put_pack();
    server_open();
    client_open();
}

static void get_open(void)
{
    get_pack();
    server_open();
    client_open();
}

static void on_closed(void *owner)
{
    *(bool *)owner = true;
}

static void rpc_close(void)
{
    answers_take();
    nghttp2_session_del(client);
    bool closed = false;
    fake_net_end(&net, fd);
    grpc_server_close(server, 0, on_closed, &closed);
    while (!closed) {
        grpc_server_flush(server);
        fake_net_turn(&net);
    }
    fake_net_done(&net);
}

static void put_one_prepare(void)
{
    requests_make("/etcdserverpb.KV/Put", 1);
}

static void put_batch_prepare(void)
{
    requests_make("/etcdserverpb.KV/Put", PERF_BATCH);
}

static void get_batch_prepare(void)
{
    requests_make("/etcdserverpb.KV/Range", PERF_BATCH);
}

/* A turn: what came is read in pieces as large as the loop's, the answers leave, the send ends. */
static void turn(void)
{
    enum { PIECE_BYTES = 8192 };
    struct fake_stream *s = &net.streams[fd];
    for (size_t at = 0; at < out_size; at += PIECE_BYTES) {
        size_t size = out_size - at < PIECE_BYTES ? out_size - at : PIECE_BYTES;
        s->recv(s->recv_owner, slice_of(out + at, size), 0);
    }
    grpc_server_flush(server);
    fake_net_turn(&net);
}

static struct arena arena;

static void decode_open(void)
{
    put_pack();
    arena_init(&arena, 1 << 20);
}

static void decode(void)
{
    struct slice message =
        slice_of(request_bytes + GRPC_PREFIX_BYTES, request.size - GRPC_PREFIX_BYTES);
    const Etcdserverpb__PutRequest *put = (const Etcdserverpb__PutRequest *)pb_arena_unpack(
        &arena, &etcdserverpb__put_request__descriptor, message);
    ASSERT(put && check_put(put) == ETCD_OK);
    arena_reset(&arena);
}

static void decode_close(void)
{
    arena_done(&arena);
}

const struct perf_operation perf_rpc_operations[] = {
    { .name = "rpc-put-1",
      .rounds = 1000,
      .counts_as = 1,
      .open = put_open,
      .prepare = put_one_prepare,
      .round = turn,
      .close = rpc_close },
    { .name = "rpc-put-64",
      .rounds = 40,
      .counts_as = PERF_BATCH,
      .open = put_open,
      .prepare = put_batch_prepare,
      .round = turn,
      .close = rpc_close },
    { .name = "rpc-get-64",
      .rounds = 40,
      .counts_as = PERF_BATCH,
      .open = get_open,
      .prepare = get_batch_prepare,
      .round = turn,
      .close = rpc_close },
    { .name = "put-decode-and-check",
      .rounds = 1000,
      .counts_as = 1,
      .open = decode_open,
      .round = decode,
      .close = decode_close },
    { 0 },
};
