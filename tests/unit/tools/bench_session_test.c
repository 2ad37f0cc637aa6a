/* The session against nghttp2's server, which holds it to every rule: no socket, bytes in pieces.
 */
#include "tools/bench_session.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "tools/bench_conn.h"

enum { CALLS = 12, HEAD_BYTES = 64, REQUEST_BYTES = 5 + 100000, TEXT_BYTES = 200 };

struct rig {
    struct bench_conn_env env;
    struct bench_endpoint endpoint;
    struct bench_conn conn;
    struct bench_call calls[CALLS];
    uint8_t heads[CALLS][HEAD_BYTES];
    char errors[CALLS][TEXT_BYTES];
    unsigned ended;
    uint8_t *request;
    uint8_t from_server[1 << 16]; /* not taken yet */
    size_t from_server_size;

    nghttp2_session_callbacks *callbacks;
    nghttp2_session *server;
    size_t data_bytes; /* of all requests, as the server got them */
    char fields[TEXT_BYTES];
    int32_t held; /* a stream that is not answered */
};

static void on_end(void *owner, struct bench_call *call, const char *error)
{
    struct rig *rig = owner;
    rig->ended++;
    snprintf(rig->errors[call->slot], TEXT_BYTES, "%s", error ? error : "");
}

static void on_down(void *owner, struct bench_conn *conn, bool was_up)
{
    (void)owner;
    (void)conn;
    (void)was_up;
}

/* ---- the server ---- */

static ssize_t on_read(nghttp2_session *server, int32_t id, uint8_t *to, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    static const uint8_t answer[] = { 0, 0, 0, 0, 2, 'o', 'k' };
    nghttp2_nv status = { (uint8_t *)"grpc-status", (uint8_t *)"0", 11, 1, 0 };
    (void)source;
    (void)owner;
    cr_assert_geq(size, sizeof answer);
    memcpy(to, answer, sizeof answer);
    *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(server, id, &status, 1);
    return sizeof answer;
}

static int on_request(nghttp2_session *server, const nghttp2_frame *frame, void *owner)
{
    struct rig *rig = owner;
    nghttp2_nv fields[] = { { (uint8_t *)":status", (uint8_t *)"200", 7, 3, 0 },
                            { (uint8_t *)"a", (uint8_t *)"b", 1, 1, 0 } };
    nghttp2_data_provider body = { .read_callback = on_read };
    bool is_data = frame->hd.type == NGHTTP2_DATA;
    if (!is_data || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        frame->hd.stream_id == rig->held)
        return 0;
    return nghttp2_submit_response(server, frame->hd.stream_id, fields, 2, &body);
}

static int on_data(nghttp2_session *server, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *owner)
{
    (void)server;
    (void)flags;
    (void)id;
    (void)data;
    ((struct rig *)owner)->data_bytes += size;
    return 0;
}

static int on_header(nghttp2_session *server, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *owner)
{
    (void)server;
    (void)flags;
    struct rig *rig = owner;
    size_t size = strlen(rig->fields);
    if (frame->hd.stream_id == 1)
        snprintf(rig->fields + size, TEXT_BYTES - size, "%.*s=%.*s ", (int)name_size,
                 (const char *)name, (int)value_size, (const char *)value);
    return 0;
}

static ssize_t on_pad(nghttp2_session *server, const nghttp2_frame *frame, size_t size, void *owner)
{
    (void)server;
    (void)owner;
    return (ssize_t)(frame->hd.length + 3 < size ? frame->hd.length + 3 : size);
}

static void rig_open(struct rig *rig, uint32_t window, uint32_t streams)
{
    nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window },
                                          { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams } };
    rig->env.on_end = on_end;
    rig->env.on_down = on_down;
    rig->env.owner = rig;
    cr_assert(bench_conn_env_open(&rig->env));
    snprintf(rig->endpoint.authority, sizeof rig->endpoint.authority, "127.0.0.1:2379");
    rig->conn = (struct bench_conn){
        .env = &rig->env, .calls = rig->calls, .call_count = CALLS, .endpoint = &rig->endpoint
    };
    bench_conn_init(&rig->conn);
    rig->request = calloc(1, REQUEST_BYTES);
    for (uint32_t i = 0; i < CALLS; i++) {
        rig->calls[i].slot = i;
        rig->calls[i].head = rig->heads[i];
        rig->calls[i].head_capacity = HEAD_BYTES;
        rig->calls[i].path = slice_of_text("/a.B/C");
        rig->calls[i].request = slice_of(rig->request, 5);
    }
    cr_assert(bench_session_open(&rig->conn.session, &rig->conn));
    nghttp2_session_callbacks_new(&rig->callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(rig->callbacks, on_request);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(rig->callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(rig->callbacks, on_header);
    nghttp2_session_callbacks_set_select_padding_callback(rig->callbacks, on_pad);
    nghttp2_session_server_new(&rig->server, rig->callbacks, rig);
    nghttp2_submit_settings(rig->server, NGHTTP2_FLAG_NONE, settings, 2);
}

static void rig_close(struct rig *rig)
{
    nghttp2_session_del(rig->server);
    nghttp2_session_callbacks_del(rig->callbacks);
    bench_conn_done(&rig->conn);
    bench_conn_env_close(&rig->env);
    free(rig->request);
}

/* What both have to say, the server's in pieces of so many bytes, until neither has more. */
static void talk(struct rig *rig, size_t piece)
{
    struct bench_conn *c = &rig->conn;
    bool more = true;
    while (more) {
        more = false;
        cr_assert(bench_session_pump(&c->session, 50000, &more));
        if (c->out_size > 0) {
            cr_assert_eq(nghttp2_session_mem_recv(rig->server, c->out, c->out_size),
                         (ssize_t)c->out_size);
            c->out_size = 0;
            more = true;
        }
        const uint8_t *data;
        ssize_t size;
        while ((size = nghttp2_session_mem_send(rig->server, &data)) > 0) {
            for (size_t at = 0; at < (size_t)size; at += piece) {
                size_t part = (size_t)size - at < piece ? (size_t)size - at : piece;
                size_t taken;
                memcpy(rig->from_server + rig->from_server_size, data + at, part);
                rig->from_server_size += part;
                const char *why = bench_session_receive(
                    &c->session, slice_of(rig->from_server, rig->from_server_size), &taken);
                cr_assert_null(why, "%s", why);
                rig->from_server_size -= taken;
                memmove(rig->from_server, rig->from_server + taken, rig->from_server_size);
            }
            more = true;
        }
        cr_assert_eq(size, 0);
    }
}

static void submit(struct rig *rig, unsigned i)
{
    bench_session_submit(&rig->conn.session, &rig->calls[i]);
}

static struct rig rig; /* zeroed in each test's process */

Test(bench_session, calls_in_pieces_of_any_size)
{
    rig_open(&rig, 65535, 100);
    for (size_t piece = 1; piece < 40; piece++) {
        for (unsigned i = 0; i < CALLS; i++)
            submit(&rig, i);
        talk(&rig, piece);
    }
    cr_assert_eq(rig.ended, 39 * CALLS);
    for (unsigned i = 0; i < CALLS; i++) {
        cr_assert_str_eq(rig.errors[i], "");
        cr_assert_eq(rig.calls[i].received, 7);
        cr_assert_arr_eq(rig.heads[i] + 5, "ok", 2);
    }
    cr_assert_str_eq(rig.fields, ":method=POST :scheme=http :path=/a.B/C "
                                 ":authority=127.0.0.1:2379 te=trailers "
                                 "content-type=application/grpc ");
    cr_assert_eq(rig.conn.session.open_count, 0);
    rig_close(&rig);
}

/* More of them than are kept in the table: all arrive, in any order. */
Test(bench_session, many_paths)
{
    static char paths[CALLS][8];
    rig_open(&rig, 65535, 100);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CALLS; i++) {
            snprintf(paths[i], sizeof paths[i], "/a/%u", i);
            rig.calls[i].path = slice_of_text(paths[i]);
            submit(&rig, i);
        }
        talk(&rig, 1000);
    }
    cr_assert_eq(rig.ended, 3 * CALLS);
    for (unsigned i = 0; i < CALLS; i++)
        cr_assert_str_eq(rig.errors[i], "");
    rig_close(&rig);
}

/* nghttp2 ends the connection when a window or the number of streams is not kept to. */
Test(bench_session, windows_and_numbers_of_streams_are_kept_to)
{
    static const struct {
        uint32_t window, streams;
    } rows[] = { { 65535, 100 }, { 7, 100 }, { 1000, 1 }, { 100000, 3 }, { 1 << 30, 2 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig = (struct rig){ 0 };
        rig_open(&rig, rows[i].window, rows[i].streams);
        talk(&rig, 1000);
        for (unsigned j = 0; j < CALLS; j++) {
            rig.calls[j].request = slice_of(rig.request, j % 2 ? REQUEST_BYTES : 5);
            submit(&rig, j);
        }
        talk(&rig, 1000);
        cr_assert_eq(rig.ended, CALLS, "window %u, streams %u", rows[i].window, rows[i].streams);
        cr_assert_eq(rig.data_bytes, CALLS / 2 * (REQUEST_BYTES + 5));
        for (unsigned j = 0; j < CALLS; j++)
            cr_assert_str_eq(rig.errors[j], "");
        rig_close(&rig);
    }
}

Test(bench_session, a_call_that_takes_long_lets_others_pass)
{
    rig_open(&rig, 65535, 100);
    rig.held = 1;
    submit(&rig, 0);
    talk(&rig, 1000);
    for (unsigned round = 0; round < 200; round++) {
        submit(&rig, 1);
        talk(&rig, 1000);
    }
    cr_assert_eq(rig.ended, 200);
    cr_assert(rig.calls[0].in_flight);
    cr_assert(bench_session_cancel(&rig.conn.session, &rig.calls[0]));
    submit(&rig, 0);
    talk(&rig, 1000);
    cr_assert_str_eq(rig.errors[0], "");
    cr_assert_eq(rig.ended, 201);
    rig_close(&rig);
}

Test(bench_session, resets_pings_and_goaway)
{
    rig_open(&rig, 65535, 100);
    rig.held = 1;
    submit(&rig, 0);
    talk(&rig, 1000);
    nghttp2_submit_ping(rig.server, NGHTTP2_FLAG_NONE, NULL);
    nghttp2_submit_rst_stream(rig.server, NGHTTP2_FLAG_NONE, 1, NGHTTP2_INTERNAL_ERROR);
    talk(&rig, 1000);
    cr_assert_str_eq(rig.errors[0], "stream reset: INTERNAL_ERROR");
    rig.held = 3;
    submit(&rig, 0);
    talk(&rig, 1000);
    nghttp2_submit_goaway(rig.server, NGHTTP2_FLAG_NONE, 3, NGHTTP2_NO_ERROR, NULL, 0);
    submit(&rig, 1);
    talk(&rig, 1000);
    cr_assert(rig.conn.is_leaving);
    cr_assert(rig.calls[0].in_flight, "the server may still answer");
    cr_assert_str_eq(rig.errors[1], "stream reset: REFUSED_STREAM");
    rig_close(&rig);
}

/* ---- what no server should send ---- */

static const char *receive(struct rig *r, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size); /* its own block, so that sanitizers see the end */
    size_t taken;
    memcpy(copy, bytes, size);
    const char *why = bench_session_receive(&r->conn.session, slice_of(copy, size), &taken);
    free(copy);
    return why;
}

Test(bench_session, frames_that_are_refused)
{
    static const struct {
        const char *what;
        uint8_t bytes[24];
        size_t size;
    } rows[] = {
        { "HTTP/1", "HTTP/1.1 400 Bad Request", 24 },
        { "padding without end", { 0, 0, 2, NGHTTP2_DATA, 8, 0, 0, 0, 1, 2, 0 }, 11 },
        { "a priority cut off", { 0, 0, 4, NGHTTP2_HEADERS, 0x20, 0, 0, 0, 1 }, 13 },
        { "half a setting", { 0, 0, 5, NGHTTP2_SETTINGS }, 14 },
        { "a short GOAWAY", { 0, 0, 7, NGHTTP2_GOAWAY }, 16 },
        { "a short reset", { 0, 0, 3, NGHTTP2_RST_STREAM, 0, 0, 0, 0, 1 }, 12 },
        { "a short WINDOW_UPDATE", { 0, 0, 0, NGHTTP2_WINDOW_UPDATE }, 9 },
        { "a push", { 0, 0, 0, NGHTTP2_PUSH_PROMISE }, 9 },
        { "a continuation of nothing", { 0, 0, 0, NGHTTP2_CONTINUATION, 0, 0, 0, 0, 1 }, 9 },
        { "no header block", { 0, 0, 1, NGHTTP2_HEADERS, 4, 0, 0, 0, 1, 0xff }, 10 },
        { "a tiny header table", { 0, 0, 6, NGHTTP2_SETTINGS, 0, 0, 0, 0, 0, 0, 1 }, 15 },
    };
    rig_open(&rig, 65535, 100);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_not_null(receive(&rig, rows[i].bytes, rows[i].size), "%s", rows[i].what);
    rig_close(&rig);
}

Test(bench_session, any_bytes_are_survived)
{
    uint32_t chance = 1;
    for (int run = 0; run < 300; run++) {
        rig = (struct rig){ 0 };
        rig_open(&rig, 65535, 100);
        submit(&rig, 0);
        bool more;
        cr_assert(bench_session_pump(&rig.conn.session, 50000, &more));
        const char *why = NULL;
        for (int i = 0; i < 50 && !why; i++) {
            uint8_t frame[64];
            for (size_t j = 0; j < sizeof frame; j++)
                frame[j] = (uint8_t)((chance = chance * 1664525 + 1013904223) >> 24);
            put_be32(frame, (uint32_t)(frame[3] % 50) << 8 | frame[0] % 12);
            put_be32(frame + 5, frame[8] % 4);
            why = receive(&rig, frame, sizeof frame - 5);
            rig.conn.out_size = 0;
        }
        rig_close(&rig);
    }
}
