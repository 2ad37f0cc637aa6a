#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc.pb-c.h"
#include "tools/client.h"

/* A server of a few bytes: accepts, and does one thing to whoever comes. */
enum behaviour {
    CLOSES,         /* reads the request, then closes without a word */
    TALKS_NONSENSE, /* answers in bytes that are no HTTP/2 */
    SAYS_ERROR,     /* trailers with the status and message below */
    SAYS_OK,        /* an empty PutResponse */
    SAYS_BROKEN,    /* OK with a message that is no PutResponse */
    REFUSES,        /* RST_STREAM with REFUSED_STREAM */
};

struct server {
    enum behaviour behaviour;
    const char *status;
    int fd;
    char endpoint[32];
    pthread_t thread;
    unsigned served; /* read after the thread ended */
};

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .value = (uint8_t *)(uintptr_t)value,
                         .namelen = strlen(name),
                         .valuelen = strlen(value) };
}

static ssize_t body_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    const struct server *s = user_data;
    static const uint8_t empty[] = { 0, 0, 0, 0, 0 };
    static const uint8_t broken[] = { 0, 0, 0, 0, 2, 0x0a, 0x7f };
    (void)source;
    cr_assert_geq(size, sizeof broken);
    nghttp2_nv trailers[] = { field("grpc-status", "0") };
    nghttp2_submit_trailer(session, stream_id, trailers, 1);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    memcpy(buffer, s->behaviour == SAYS_OK ? empty : broken, sizeof empty);
    if (s->behaviour == SAYS_OK)
        return sizeof empty;
    memcpy(buffer, broken, sizeof broken);
    return sizeof broken;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct server *s = user_data;
    if (frame->hd.stream_id == 0 || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    nghttp2_nv headers[] = { field(":status", "200"), field("content-type", "application/grpc"),
                             field("grpc-status", s->status ? s->status : "0"),
                             field("grpc-message", "etcdserver: no%20leader") };
    nghttp2_data_provider body = { .read_callback = body_read };
    if (s->behaviour == REFUSES)
        return nghttp2_submit_rst_stream(session, 0, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    if (s->behaviour == SAYS_ERROR)
        return nghttp2_submit_response(session, frame->hd.stream_id, headers, 4, NULL);
    return nghttp2_submit_response(session, frame->hd.stream_id, headers, 2, &body);
}

static bool send_all(nghttp2_session *session, int fd)
{
    const uint8_t *out = NULL;
    ssize_t size = 0;
    while ((size = nghttp2_session_mem_send(session, &out)) > 0) {
        if (send(fd, out, (size_t)size, MSG_NOSIGNAL) != size)
            return false;
    }
    return size == 0;
}

static void serve_http2(struct server *s, int fd)
{
    nghttp2_session *session = NULL;
    nghttp2_session_callbacks *callbacks = NULL;
    uint8_t buffer[4096];
    ssize_t got = 0;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_server_new(&session, callbacks, s);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, 0, NULL, 0);
    while (send_all(session, fd) && (got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        if (nghttp2_session_mem_recv(session, buffer, (size_t)got) < 0)
            break;
    }
    nghttp2_session_del(session);
}

static void *server_run(void *argument)
{
    struct server *s = argument;
    for (;;) {
        uint8_t buffer[4096];
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        s->served++;
        if (s->behaviour == CLOSES || s->behaviour == TALKS_NONSENSE) {
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got > 0 && s->behaviour == TALKS_NONSENSE)
                got = send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
        } else {
            serve_http2(s, fd);
        }
        close(fd);
    }
}

static void server_start(struct server *s, enum behaviour behaviour, const char *status)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    *s = (struct server){ .behaviour = behaviour, .status = status };
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(s->fd, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(s->fd, 16), 0);
    cr_assert_eq(getsockname(s->fd, (struct sockaddr *)&address, &size), 0);
    int made =
        snprintf(s->endpoint, sizeof s->endpoint, "http://127.0.0.1:%u", ntohs(address.sin_port));
    cr_assert_gt(made, 0);
    cr_assert_eq(pthread_create(&s->thread, NULL, server_run, s), 0);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static struct client *open_client(const char *first, const char *second, uint32_t call_timeout_ms)
{
    const char *endpoints[] = { first, second };
    struct client *c = NULL;
    struct client_error error;
    const struct client_options options = {
        .endpoints = endpoints,
        .endpoint_count = second == NULL ? 1 : 2,
        .dial_timeout_ms = 1000,
        .call_timeout_ms = call_timeout_ms,
        .receive_bytes_max = 1 << 20,
    };
    cr_assert(client_open(&c, &options, &error), "%s", error.message);
    return c;
}

static bool put(struct client *c, struct client_error *error)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    bool ok = client_call(c, &client_kv_put, &request.base, &response, error);
    if (ok)
        protobuf_c_message_free_unpacked(response, NULL);
    return ok;
}

static bool get(struct client *c, struct client_error *error)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    bool ok = client_call(c, &client_kv_range, &request.base, &response, error);
    if (ok)
        protobuf_c_message_free_unpacked(response, NULL);
    return ok;
}

enum { LONG_MS = 20000, SHORT_MS = 100 };

Test(client, answers_on_one_connection)
{
    struct server s;
    struct client_error error;
    server_start(&s, SAYS_OK, NULL);
    struct client *c = open_client(s.endpoint, NULL, LONG_MS);
    for (int i = 0; i < 3; i++)
        cr_assert(put(c, &error), "%s", error.message);
    client_close(c);
    server_stop(&s);
    cr_assert_eq(s.served, 1);
}

Test(client, status_and_text_come_through)
{
    struct server s;
    struct client_error error;
    server_start(&s, SAYS_ERROR, "9");
    struct client *c = open_client(s.endpoint, NULL, LONG_MS);
    cr_assert_not(get(c, &error));
    cr_assert_eq(error.code, GRPC_FAILED_PRECONDITION);
    cr_assert_str_eq(error.message, "etcdserver: no leader");
    client_close(c);
    server_stop(&s);
}

Test(client, a_broken_response_is_an_error)
{
    struct server s;
    struct client_error error;
    server_start(&s, SAYS_BROKEN, NULL);
    struct client *c = open_client(s.endpoint, NULL, LONG_MS);
    cr_assert_not(put(c, &error));
    cr_assert_eq(error.code, GRPC_INTERNAL);
    client_close(c);
    server_stop(&s);
}

Test(client, a_read_goes_on_to_the_next_endpoint)
{
    static const enum behaviour bad[] = { CLOSES, TALKS_NONSENSE, REFUSES, SAYS_ERROR };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct server first, second;
        struct client_error error;
        server_start(&first, bad[i], "14");
        server_start(&second, SAYS_OK, NULL);
        struct client *c = open_client(first.endpoint, second.endpoint, LONG_MS);
        cr_assert(get(c, &error), "%s", error.message);
        cr_assert_str_eq(client_endpoint(c), second.endpoint);
        client_close(c);
        server_stop(&first);
        server_stop(&second);
    }
}

Test(client, a_write_that_may_have_happened_is_not_repeated)
{
    static const enum behaviour bad[] = { CLOSES, TALKS_NONSENSE, SAYS_ERROR };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct server first, second;
        struct client_error error;
        server_start(&first, bad[i], "14");
        server_start(&second, SAYS_OK, NULL);
        struct client *c = open_client(first.endpoint, second.endpoint, LONG_MS);
        cr_assert_not(put(c, &error));
        cr_assert_eq(error.code, GRPC_UNAVAILABLE);
        client_close(c);
        server_stop(&first);
        server_stop(&second);
        cr_assert_eq(first.served, 1);
        cr_assert_eq(second.served, 0);
    }
}

Test(client, a_refused_write_goes_on_to_the_next_endpoint)
{
    struct server first, second;
    struct client_error error;
    server_start(&first, REFUSES, NULL);
    server_start(&second, SAYS_OK, NULL);
    struct client *c = open_client(first.endpoint, second.endpoint, LONG_MS);
    cr_assert(put(c, &error), "%s", error.message);
    client_close(c);
    server_stop(&first);
    server_stop(&second);
}

Test(client, a_write_looks_for_an_endpoint_that_listens)
{
    struct server dead, alive;
    struct client_error error;
    server_start(&dead, SAYS_OK, NULL);
    server_stop(&dead); /* its port refuses now */
    server_start(&alive, SAYS_OK, NULL);
    struct client *c = open_client(dead.endpoint, alive.endpoint, LONG_MS);
    cr_assert(put(c, &error), "%s", error.message);
    client_close(c);
    server_stop(&alive);
}

Test(client, nobody_there_ends_at_the_deadline)
{
    struct server dead;
    struct client_error error;
    server_start(&dead, SAYS_OK, NULL);
    server_stop(&dead);
    struct client *c = open_client(dead.endpoint, NULL, SHORT_MS);
    cr_assert_not(put(c, &error));
    cr_assert_eq(error.code, GRPC_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(error.message, "context deadline exceeded"));
    cr_assert_not_null(strstr(error.message, "refused"));
    client_close(c);
}

Test(client, endpoints_are_checked)
{
    static const struct {
        const char *endpoint;
        bool ok;
    } rows[] = { { "a:1", true },          { "http://a:1/", true }, { "[::1]:2379", true },
                 { "https://a:1", false }, { "a", false },          { "a:", false },
                 { ":1", false },          { "a:b", false },        { "::1:2379", false },
                 { "[::1]", false },       { "", false },           { "http://a/b:1", false } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client *c = NULL;
        struct client_error error;
        const struct client_options options = {
            .endpoints = &rows[i].endpoint,
            .endpoint_count = 1,
            .dial_timeout_ms = 1,
            .call_timeout_ms = 1,
            .receive_bytes_max = 1,
        };
        cr_assert_eq(client_open(&c, &options, &error), rows[i].ok, "%s", rows[i].endpoint);
        client_close(c);
    }
}
