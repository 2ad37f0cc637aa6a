#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/support/grpc_fixture.h"
#include "tests/support/h2_client.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const uint8_t empty_message[] = { 0, 0, 0, 0, 0 };

TestSuite(grpc_conn, .timeout = 60);

static struct slice empty(void)
{
    return slice_of(empty_message, sizeof empty_message);
}

static struct h2_client *client_of(struct grpc_fixture *server)
{
    struct h2_client *c = h2_client_open(grpc_fixture_addr(server), NULL);
    cr_assert(c);
    return c;
}

static int unary_status(struct h2_client *c)
{
    int32_t id =
        h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Unary" }, empty(), true);
    const struct h2_reply *r = h2_client_wait(c, id);
    return r ? r->grpc_status : -2;
}

static void send_all(int fd, const void *bytes, size_t size)
{
    cr_assert_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* All until the server closes; what fits into text is kept there. */
static void read_to_end(int fd, char *text, size_t room)
{
    size_t kept = 0;
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        cr_assert_gt(poll(&p, 1, H2_CLIENT_WAIT_MS), 0, "the server does not close");
        char bytes[4096];
        ssize_t size = recv(fd, bytes, sizeof bytes, 0);
        if (size <= 0)
            break;
        size_t take = (size_t)size < room - 1 - kept ? (size_t)size : room - 1 - kept;
        memcpy(text + kept, bytes, take);
        kept += take;
    }
    text[kept] = '\0';
}

/* ---- bytes that are not HTTP/2 ---- */

Test(grpc_conn, foreign_bytes_end_their_own_connection)
{
    static const struct {
        struct slice bytes;
    } rows[] = {
        { { (const uint8_t *)"\x16\x03\x01\x02\x00\x01", 6 } },
        { { (const uint8_t *)"SSH-2.0-x\r\n", 11 } },
        { { (const uint8_t *)"\0\0\0\0", 4 } },
        { { (const uint8_t *)"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24 } },
    };
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *other = client_of(server);
    cr_assert_eq(unary_status(other), GRPC_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = h2_client_socket(grpc_fixture_addr(server));
        send_all(fd, rows[i].bytes.data, rows[i].bytes.size);
        char text[64];
        read_to_end(fd, text, sizeof text);
        cr_assert_str_eq(text, "", "row %zu", i);
        close(fd);
    }
    cr_assert_eq(unary_status(other), GRPC_OK, "others do not notice");
    h2_client_close(other);
    struct grpc_counters c = grpc_fixture_close(server, NULL);
    cr_assert_eq(c.connections_broken, sizeof rows / sizeof rows[0]);
    cr_assert_eq(c.connections_open, 0);
}

Test(grpc_conn, http1_is_told_what_this_port_speaks)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    int fd = h2_client_socket(grpc_fixture_addr(server));
    static const char request[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    send_all(fd, request, 2); /* cannot be told from the preface of others yet */
    send_all(fd, request + 2, sizeof request - 3);
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    char text[1024];
    read_to_end(fd, text, sizeof text);
    const char *body = strstr(text, "\r\n\r\n");
    cr_assert(body);
    cr_assert_eq(strncmp(text, "HTTP/1.1 505 HTTP Version Not Supported\r\n", 41), 0, "%s", text);
    cr_assert(strstr(text, "Content-Length: 43\r\n"));
    cr_assert_eq(strlen(body + 4), 43);
    cr_assert(strstr(body, "gRPC over HTTP/2"));
    close(fd);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_broken, 1);
}

Test(grpc_conn, garbage_after_the_preface)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    int fd = h2_client_socket(grpc_fixture_addr(server));
    send_all(fd, preface, sizeof preface - 1);
    uint8_t garbage[512];
    memset(garbage, 0xa5, sizeof garbage);
    send_all(fd, garbage, sizeof garbage);
    char text[4096];
    read_to_end(fd, text, sizeof text);
    close(fd);
    struct grpc_counters c = grpc_fixture_close(server, NULL);
    cr_assert_eq(c.connections_broken, 1);
    cr_assert_eq(c.calls_started, 0);
}

/* Every beginning of a handshake, cut off. */
Test(grpc_conn, half_a_handshake)
{
    static const uint8_t settings[9] = { 0, 0, 0, 4, 0, 0, 0, 0, 0 };
    uint8_t bytes[sizeof preface - 1 + sizeof settings];
    memcpy(bytes, preface, sizeof preface - 1);
    memcpy(bytes + sizeof preface - 1, settings, sizeof settings);
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        int fd = h2_client_socket(grpc_fixture_addr(server));
        cr_assert_geq(fd, 0);
        if (cut > 0)
            send_all(fd, bytes, cut);
        close(fd);
    }
    struct h2_client *c = client_of(server);
    cr_assert_eq(unary_status(c), GRPC_OK);
    h2_client_close(c);
    struct grpc_counters counters = grpc_fixture_close(server, NULL);
    cr_assert_eq(counters.connections_open, 0);
    cr_assert_eq(counters.connections_accepted, sizeof bytes + 2);
    cr_assert_eq(counters.connections_broken, 0);
}

/* ---- caps ---- */

static bool two_are_open(const struct grpc_counters *c)
{
    return c->connections_open == 2;
}

static bool one_is_open(const struct grpc_counters *c)
{
    return c->connections_open == 1;
}

Test(grpc_conn, connections_past_the_cap_are_closed)
{
    struct grpc_options o = grpc_fixture_options();
    o.connection_count_max = 2;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *first = client_of(server);
    struct h2_client *second = client_of(server);
    cr_assert(grpc_fixture_await(server, two_are_open));
    int fd = h2_client_socket(grpc_fixture_addr(server));
    char text[16];
    read_to_end(fd, text, sizeof text);
    close(fd);
    cr_assert_eq(unary_status(second), GRPC_OK);
    h2_client_close(first);
    cr_assert(grpc_fixture_await(server, one_is_open));
    first = client_of(server);
    cr_assert_eq(unary_status(first), GRPC_OK, "there is room again");
    h2_client_close(first);
    h2_client_close(second);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_refused, 1);
}

static bool one_call_refused(const struct grpc_counters *c)
{
    return c->calls_refused > 0;
}

/* The client learns the limit and nghttp2 keeps to it; who does not gets REFUSED_STREAM or, once
 * it has acknowledged the limit, loses its connection (RFC 9113 §5.1.2). */
Test(grpc_conn, streams_past_the_cap_wait_in_the_client)
{
    struct grpc_options o = grpc_fixture_options();
    o.stream_count_max = 3;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    cr_assert(h2_client_wait_settings(c));
    cr_assert_eq(h2_client_setting(c, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 3);
    struct h2_request hold = { .path = "/test.Echo/Hold" };
    int32_t ids[3];
    for (size_t i = 0; i < 3; i++)
        ids[i] = h2_client_call(c, &hold, empty(), true);
    int32_t fourth =
        h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Unary" }, empty(), true);
    cr_assert(h2_client_ping(c));
    cr_assert(h2_client_wait_pings(c, 1, 0));
    cr_assert_eq(grpc_fixture_counters(server).calls_started, 3);
    cr_assert(h2_client_reset(c, ids[0], NGHTTP2_CANCEL));
    const struct h2_reply *r = h2_client_wait(c, fourth);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    h2_client_close(c);
    grpc_fixture_close(server, NULL);
}

/* Responses that the client's windows hold back count; past the cap no more calls begin. */
Test(grpc_conn, responses_that_wait_have_a_cap)
{
    struct grpc_options o = grpc_fixture_options();
    o.connection_out_bytes_max = 100 * 1000;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    nghttp2_settings_entry shut = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0 };
    cr_assert(h2_client_settings(c, &shut, 1));
    uint8_t message[9] = { 0, 0, 0, 0, 4 };
    put_be32(message + 5, 150 * 1000);
    struct h2_request repeat = { .path = "/test.Echo/Repeat" };
    int32_t first = h2_client_call(c, &repeat, slice_of(message, sizeof message), true);
    cr_assert(h2_client_ping(c));
    cr_assert(h2_client_wait_pings(c, 1, 0));
    int32_t second = h2_client_call(c, &repeat, slice_of(message, sizeof message), true);
    const struct h2_reply *r = h2_client_wait(c, second);
    cr_assert(r);
    cr_assert_eq(r->reset_code, NGHTTP2_REFUSED_STREAM);
    cr_assert(grpc_fixture_await(server, one_call_refused));
    nghttp2_settings_entry open = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };
    cr_assert(h2_client_settings(c, &open, 1));
    r = h2_client_wait(c, first);
    cr_assert(r);
    cr_assert_eq(r->body_size, 150 * 1000 + 5);
    /* What is cancelled waits no longer. */
    cr_assert(h2_client_settings(c, &shut, 1));
    cr_assert(h2_client_flush(c));
    int32_t third = h2_client_call(c, &repeat, slice_of(message, sizeof message), true);
    cr_assert(h2_client_ping(c));
    cr_assert(h2_client_wait_pings(c, 2, 0));
    cr_assert(h2_client_reset(c, third, NGHTTP2_CANCEL));
    cr_assert(h2_client_settings(c, &open, 1));
    cr_assert_eq(unary_status(c), GRPC_OK);
    h2_client_close(c);
    grpc_fixture_close(server, NULL);
}

static bool one_call_began(const struct grpc_counters *c)
{
    return c->calls_started == 1;
}

/* Of the only call's client. Another client's calls make the turns that tell. */
static void await_full_socket(struct grpc_fixture *server)
{
    cr_assert(grpc_fixture_await(server, one_call_began));
    struct h2_client *other = client_of(server);
    uint64_t sent_bytes = 0;
    for (int small_steps = 0; small_steps < 50;) {
        cr_assert_eq(unary_status(other), GRPC_OK);
        uint64_t now = grpc_fixture_counters(server).sent_bytes;
        small_steps = now - sent_bytes < 1000 ? small_steps + 1 : 0;
        sent_bytes = now;
    }
    h2_client_close(other);
}

/* The socket is full, and so nothing more is read of a client for whom so much waits: but what it
 * says next opens its windows. */
Test(grpc_conn, what_a_paused_client_says_is_read_when_it_takes_again)
{
    struct grpc_options o = grpc_fixture_options();
    o.connection_out_bytes_max = 100 * 1000;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = h2_client_open(grpc_fixture_addr(server),
                                         &(struct h2_client_options){ .window_bytes = 14 << 20 });
    cr_assert(c);
    uint8_t message[9] = { 0, 0, 0, 0, 4 };
    put_be32(message + 5, 24 << 20);
    struct h2_request q = { .path = "/test.Echo/Repeat" };
    int32_t id = h2_client_call(c, &q, slice_of(message, sizeof message), true);
    cr_assert(h2_client_flush(c));
    await_full_socket(server);
    cr_assert(h2_client_ping(c)); /* and this pauses it */
    const struct h2_reply *r = h2_client_wait(c, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_stalled, 0);
}

/* A list that a client takes its time for is no reason to refuse its other requests. */
Test(grpc_conn, small_answers_pass_a_large_one)
{
    struct grpc_options o = grpc_fixture_options();
    o.connection_out_bytes_max = 100 * 1000;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    nghttp2_settings_entry narrow = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000 };
    cr_assert(h2_client_settings(c, &narrow, 1));
    uint8_t message[9] = { 0, 0, 0, 0, 4 };
    put_be32(message + 5, 150 * 1000);
    struct h2_request block = { .path = "/test.Echo/Block" };
    int32_t first = h2_client_call(c, &block, slice_of(message, sizeof message), true);
    cr_assert(h2_client_ping(c));
    cr_assert(h2_client_wait_pings(c, 1, 0));
    cr_assert_eq(unary_status(c), GRPC_OK);
    nghttp2_settings_entry open = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };
    cr_assert(h2_client_settings(c, &open, 1));
    const struct h2_reply *r = h2_client_wait(c, first);
    cr_assert(r);
    cr_assert_eq(r->body_size, 150 * 1000 + 5);
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).calls_refused, 0);
}

/* ---- clients that ask for more than can be done ---- */

static int32_t call_begin(struct h2_client *c, const char *path)
{
    static const uint8_t empty[5];
    int32_t id = h2_client_call(c, &(struct h2_request){ .path = path },
                                slice_of(empty, sizeof empty), true);
    cr_assert_gt(id, 0);
    return id;
}

static uint32_t call_status(struct h2_client *c, int32_t id)
{
    const struct h2_reply *r = h2_client_wait(c, id);
    cr_assert(r);
    return (uint32_t)r->grpc_status;
}

Test(grpc_conn, who_is_refused_for_want_of_room_is_held)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    struct h2_client *other = client_of(server);
    cr_assert_eq(call_status(c, call_begin(c, "/test.Echo/Busy")), GRPC_RESOURCE_EXHAUSTED);
    int32_t held = call_begin(c, "/test.Echo/Unary");
    for (int i = 0; i < 20; i++)
        cr_assert_eq(unary_status(other), GRPC_OK);
    cr_assert_eq(grpc_fixture_counters(server).calls_open, 0, "not read yet");
    cr_assert_eq(call_status(other, call_begin(other, "/test.Echo/More")), GRPC_OK);
    cr_assert_eq(call_status(c, held), GRPC_OK);
    h2_client_close(c);
    h2_client_close(other);
    struct grpc_counters counters = grpc_fixture_close(server, NULL);
    cr_assert_eq(counters.connections_held, 1);
    cr_assert_eq(counters.calls_busy, 1);
}

/* Whatever becomes of the room: what it has to say may be a lease's keepalive. */
Test(grpc_conn, nobody_is_held_for_long)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    for (int i = 0; i < 2; i++) {
        int32_t first = call_begin(c, "/test.Echo/Busy");
        int32_t second = call_begin(c, "/test.Echo/Unary");
        cr_assert_eq(call_status(c, first), GRPC_RESOURCE_EXHAUSTED);
        cr_assert_eq(call_status(c, second), GRPC_OK);
    }
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_held, 2);
}

/* It may go while it is held. */
Test(grpc_conn, a_held_client_that_leaves_is_forgotten)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    cr_assert_eq(call_status(c, call_begin(c, "/test.Echo/Busy")), GRPC_RESOURCE_EXHAUSTED);
    h2_client_close(c);
    c = client_of(server);
    cr_assert_eq(unary_status(c), GRPC_OK);
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_open, 0);
}

/* ---- clients that do not read ---- */

static bool one_stalled(const struct grpc_counters *c)
{
    return c->connections_stalled == 1;
}

/* Windows wide open, but nobody empties the socket. */
Test(grpc_conn, a_client_that_never_reads_is_closed)
{
    struct grpc_options o = grpc_fixture_options();
    o.write_stall_ms = 100;
    o.connection_out_bytes_max = 1 << 20;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = h2_client_open(grpc_fixture_addr(server),
                                         &(struct h2_client_options){ .window_bytes = 1 << 30 });
    cr_assert(c);
    cr_assert(h2_client_wait_settings(c));
    uint8_t message[9] = { 0, 0, 0, 0, 4 };
    put_be32(message + 5, 8 << 20);
    for (int i = 0; i < 8; i++)
        cr_assert_gt(h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Repeat" },
                                    slice_of(message, sizeof message), true),
                     0);
    cr_assert(h2_client_flush(c));
    cr_assert(grpc_fixture_await(server, one_stalled));
    struct h2_client *other = client_of(server);
    cr_assert_eq(unary_status(other), GRPC_OK);
    h2_client_close(other);
    h2_client_close(c);
    struct grpc_counters counters = grpc_fixture_close(server, NULL);
    cr_assert_eq(counters.connections_open, 0);
    cr_assert_eq(counters.calls_open, 0);
}

/* It reads, but never opens the connection's window again. */
Test(grpc_conn, a_client_with_shut_windows_is_closed)
{
    struct grpc_options o = grpc_fixture_options();
    o.write_stall_ms = 100;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    int fd = h2_client_socket(grpc_fixture_addr(server));
    static const uint8_t session[] = {
        0,    0,   0,   4,   0,   0,   0,   0,   0,                       /* SETTINGS */
        0,    0,   72,  1,   4,   0,   0,   0,   1,                       /* HEADERS */
        0x01, 1,   'x',                                                   /* :authority */
        0x83,                                                             /* :method POST */
        0x86,                                                             /* :scheme http */
        4,    17,  '/', 't', 'e', 's', 't', '.', 'E', 'c', 'h', 'o',      /* :path */
        '/',  'R', 'e', 'p', 'e', 'a', 't',                               /**/
        0x0f, 16,  16,  'a', 'p', 'p', 'l', 'i', 'c', 'a', 't', 'i',      /* content-type */
        'o',  'n', '/', 'g', 'r', 'p', 'c',                               /**/
        0,    2,   't', 'e', 8,   't', 'r', 'a', 'i', 'l', 'e', 'r', 's', /**/
        0,    9,   'h', 'a', 's', 'l', 'e', 'a', 'd', 'e', 'r', 4,   't', 'r', 'u', 'e',
    };
    static const uint8_t data[] = { 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 2, 0, 0 };
    uint8_t bytes[sizeof session];
    memcpy(bytes, session, sizeof session);
    bytes[11] = (uint8_t)(sizeof session - 18);
    send_all(fd, preface, sizeof preface - 1);
    send_all(fd, bytes, sizeof bytes);
    send_all(fd, data, sizeof data);
    static char text[1 << 18];
    read_to_end(fd, text, sizeof text);
    close(fd);
    struct grpc_counters c = grpc_fixture_close(server, NULL);
    cr_assert_eq(c.connections_stalled, 1);
    cr_assert_eq(c.calls_started, 1);
}

/* One slow stream is allowed to wait, as long as the others go on. */
Test(grpc_conn, one_slow_stream_is_not_a_stall)
{
    struct grpc_options o = grpc_fixture_options();
    o.write_stall_ms = 30;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    nghttp2_settings_entry narrow = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100 };
    cr_assert(h2_client_settings(c, &narrow, 1));
    uint8_t message[9] = { 0, 0, 0, 0, 4 };
    put_be32(message + 5, 1000);
    int32_t slow = h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Repeat" },
                                  slice_of(message, sizeof message), true);
    struct h2_request hold = { .path = "/test.Echo/Hold", .timeout = "100m" };
    int32_t clock = h2_client_call(c, &hold, empty(), true);
    const struct h2_reply *r = h2_client_wait(c, clock);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_DEADLINE_EXCEEDED, "more than a stall later");
    cr_assert_eq(unary_status(c), GRPC_OK);
    nghttp2_settings_entry wide = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20 };
    cr_assert(h2_client_settings(c, &wide, 1));
    r = h2_client_wait(c, slow);
    cr_assert(r);
    cr_assert_eq(r->body_size, 1005);
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_stalled, 0);
}

/* ---- keepalive ---- */

Test(grpc_conn, too_many_pings)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    cr_assert_eq(unary_status(c), GRPC_OK);
    /* The first sets the clock, two more are strikes, the next one is too much. */
    for (size_t i = 1; i <= 3; i++) {
        cr_assert(h2_client_ping(c));
        cr_assert(h2_client_wait_pings(c, i, 0), "ping %zu", i);
    }
    cr_assert(h2_client_ping(c));
    cr_assert(h2_client_wait_end(c));
    const char *debug;
    cr_assert_eq(h2_client_goaway(c, &debug), NGHTTP2_ENHANCE_YOUR_CALM);
    cr_assert_str_eq(debug, "too_many_pings");
    h2_client_close(c);
    struct grpc_counters counters = grpc_fixture_close(server, NULL);
    cr_assert_eq(counters.connections_pinging, 1);
    cr_assert_eq(counters.connections_broken, 0);
}

/* What the server sends between them forgives pings (grpc-go: resetPingStrikes). */
Test(grpc_conn, pings_beside_answers_are_fine)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    for (size_t i = 1; i <= 20; i++) {
        cr_assert(h2_client_ping(c));
        cr_assert_eq(unary_status(c), GRPC_OK);
        cr_assert(h2_client_wait_pings(c, i, 0));
    }
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_pinging, 0);
}

/* With a call open the server's own minimum counts, not two hours. */
Test(grpc_conn, pings_at_the_allowed_pace)
{
    struct grpc_options o = grpc_fixture_options();
    o.keepalive_min_ms = 0;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    cr_assert_gt(
        h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Hold" }, empty(), true), 0);
    for (size_t i = 1; i <= 20; i++) {
        cr_assert(h2_client_ping(c));
        cr_assert(h2_client_wait_pings(c, i, 0));
    }
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_pinging, 0);
}

Test(grpc_conn, idle_connections_are_pinged)
{
    struct grpc_options o = grpc_fixture_options();
    o.keepalive_interval_ms = 20;
    o.keepalive_timeout_ms = 5000;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    cr_assert(h2_client_wait_pings(c, 0, 3), "and after an answer again");
    cr_assert_eq(unary_status(c), GRPC_OK);
    h2_client_close(c);
    cr_assert_eq(grpc_fixture_close(server, NULL).connections_silent, 0);
}

static bool one_silent(const struct grpc_counters *c)
{
    return c->connections_silent == 1;
}

Test(grpc_conn, who_does_not_answer_a_ping_is_closed)
{
    struct grpc_options o = grpc_fixture_options();
    o.keepalive_interval_ms = 20;
    o.keepalive_timeout_ms = 50;
    struct grpc_fixture *server = grpc_fixture_open(&o);
    struct h2_client *c = client_of(server);
    cr_assert_gt(
        h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Hold" }, empty(), true), 0);
    cr_assert(h2_client_flush(c));
    cr_assert(grpc_fixture_await(server, one_silent));
    h2_client_close(c);
    uint64_t gone;
    grpc_fixture_close(server, &gone);
    cr_assert_eq(gone, 1);
}

/* ---- the end ---- */

static bool one_call_open(const struct grpc_counters *c)
{
    return c->calls_open == 1;
}

Test(grpc_conn, closing_lets_open_calls_finish)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    struct h2_client *idle = client_of(server);
    cr_assert_eq(unary_status(idle), GRPC_OK);
    int32_t id =
        h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Stream" }, empty(), false);
    cr_assert(h2_client_wait_body(c, id, 5));
    grpc_fixture_shut(server, 30 * 1000);
    cr_assert(h2_client_wait_end(idle), "nothing to wait for");
    const char *debug;
    cr_assert_eq(h2_client_goaway(idle, &debug), NGHTTP2_NO_ERROR);
    cr_assert(h2_client_data(c, id, empty(), true));
    const struct h2_reply *r = h2_client_wait(c, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    cr_assert(h2_client_wait_end(c));
    h2_client_close(idle);
    h2_client_close(c);
    uint64_t gone;
    struct grpc_counters counters = grpc_fixture_close(server, &gone);
    cr_assert_eq(counters.calls_gone, 0);
}

Test(grpc_conn, closing_ends_at_the_deadline)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct h2_client *c = client_of(server);
    cr_assert_gt(
        h2_client_call(c, &(struct h2_request){ .path = "/test.Echo/Hold" }, empty(), true), 0);
    cr_assert(h2_client_flush(c));
    cr_assert(grpc_fixture_await(server, one_call_open));
    int half_open = h2_client_socket(grpc_fixture_addr(server));
    grpc_fixture_shut(server, 50);
    cr_assert(h2_client_wait_end(c));
    uint64_t gone;
    struct grpc_counters counters = grpc_fixture_close(server, &gone);
    cr_assert_eq(gone, 1);
    cr_assert_eq(counters.connections_open, 0);
    close(half_open);
    h2_client_close(c);
}

Test(grpc_conn, options_out_of_bounds)
{
    struct grpc_options good = grpc_fixture_options();
    struct io unused = { NULL };
    good.io = &unused;
    struct grpc_server *s;
    struct grpc_options o = good;
    o.stream_count_max = 0;
    cr_assert_eq(grpc_server_open(&s, &o), GRPC_SERVER_E_OPTIONS);
    o = good;
    o.connection_out_bytes_max = 0;
    cr_assert_eq(grpc_server_open(&s, &o), GRPC_SERVER_E_OPTIONS);
    static const struct grpc_method one = { "/a/a", false, NULL, NULL };
    o = good;
    o.methods = &one;
    o.method_count = 1;
    cr_assert_eq(grpc_server_open(&s, &o), GRPC_SERVER_E_OPTIONS, "a method without a handler");
}
