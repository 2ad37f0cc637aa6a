#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "rpc/grpc_codec.h"
#include "tests/support/grpc_fixture.h"
#include "tests/support/h2_client.h"

static struct grpc_fixture *server;
static struct h2_client *client;

static void setup_with(const struct grpc_options *options)
{
    server = grpc_fixture_open(options);
    client = h2_client_open(grpc_fixture_addr(server), NULL);
    cr_assert(client);
}

static void setup(void)
{
    setup_with(NULL);
}

static struct grpc_counters teardown_counters(void)
{
    h2_client_close(client);
    struct grpc_counters c = grpc_fixture_close(server, NULL);
    cr_assert_eq(c.connections_open, 0);
    cr_assert_eq(c.calls_open, 0);
    return c;
}

static void teardown(void)
{
    teardown_counters();
}

static struct slice message_of(const char *text)
{
    static uint8_t bytes[256];
    return slice_of(bytes, h2_message(bytes, 0, slice_of_text(text)));
}

static const struct h2_reply *ask(const struct h2_request *request, struct slice bytes)
{
    int32_t id = h2_client_call(client, request, bytes, true);
    cr_assert_gt(id, 0);
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r, "no answer on %s", request->path);
    return r;
}

static const struct h2_reply *ask_path(const char *path, struct slice bytes)
{
    return ask(&(struct h2_request){ .path = path }, bytes);
}

static void expect_body(const struct h2_reply *r, struct slice body)
{
    cr_assert(slice_equal(slice_of(r->body, r->body_size), body), "%zu bytes of body",
              r->body_size);
}

TestSuite(grpc_call, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(grpc_call_bounds, .timeout = 60);

Test(grpc_call, unary)
{
    const struct h2_reply *r = ask_path("/test.Echo/Unary", message_of("hello"));
    cr_assert_eq(r->http_status, 200);
    cr_assert_str_eq(r->content_type, "application/grpc");
    cr_assert_eq(r->grpc_status, GRPC_OK);
    cr_assert_str_eq(r->text, "");
    cr_assert_eq(r->header_blocks, 2, "headers, then trailers");
    cr_assert_eq(r->reset_code, NGHTTP2_NO_ERROR);
    expect_body(r, message_of("hello"));
}

Test(grpc_call, empty_message)
{
    const struct h2_reply *r = ask_path("/test.Echo/Unary", message_of(""));
    cr_assert_eq(r->grpc_status, GRPC_OK);
    expect_body(r, message_of(""));
}

Test(grpc_call, answered_in_a_later_turn)
{
    for (int i = 0; i < 50; i++) {
        const struct h2_reply *r = ask(
            &(struct h2_request){ .path = "/test.Echo/Later", .timeout = "20S" }, message_of("l"));
        cr_assert_eq(r->grpc_status, GRPC_OK);
        expect_body(r, message_of("l"));
    }
}

Test(grpc_call, message_in_single_bytes)
{
    struct slice all = message_of("piece by piece");
    int32_t id = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Unary" },
                                slice_of(NULL, 0), false);
    for (size_t i = 0; i < all.size; i++) {
        cr_assert(h2_client_data(client, id, slice_of(all.data + i, 1), i + 1 == all.size));
        cr_assert(h2_client_flush(client));
    }
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    expect_body(r, all);
}

/* The end of the request comes alone, after the message had to be kept. */
Test(grpc_call, half_close_in_a_frame_of_its_own)
{
    int32_t id = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Unary" },
                                message_of("kept"), false);
    cr_assert(h2_client_ping(client));
    cr_assert(h2_client_wait_pings(client, 1, 0), "the server has seen the message");
    cr_assert(h2_client_data(client, id, slice_of(NULL, 0), true));
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    expect_body(r, message_of("kept"));
}

Test(grpc_call, large_messages_both_ways)
{
    size_t size = 3 << 20;
    uint8_t *message = malloc(size);
    uint8_t *framed = malloc(size + GRPC_PREFIX_BYTES);
    cr_assert(message && framed);
    for (size_t i = 0; i < size; i++)
        message[i] = (uint8_t)(i * 7 + i / 256);
    struct slice all = slice_of(framed, h2_message(framed, 0, slice_of(message, size)));
    const struct h2_reply *r = ask_path("/test.Echo/Unary", all);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    expect_body(r, all);
    free(message);
    free(framed);
}

static struct slice repeat_message(uint32_t size)
{
    static uint8_t bytes[16];
    uint8_t number[4];
    put_be32(number, size);
    return slice_of(bytes, h2_message(bytes, 0, slice_of(number, sizeof number)));
}

static void expect_large_response(const char *path)
{
    struct h2_client *small = h2_client_open(grpc_fixture_addr(server),
                                             &(struct h2_client_options){ .window_bytes = 70000 });
    cr_assert(small);
    int32_t id =
        h2_client_call(small, &(struct h2_request){ .path = path }, repeat_message(9 << 20), true);
    const struct h2_reply *r = h2_client_wait(small, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    cr_assert_eq(r->body_size, (9u << 20) + GRPC_PREFIX_BYTES);
    for (size_t i = 0; i < 9 << 20; i++)
        cr_assert_eq(r->body[GRPC_PREFIX_BYTES + i], (uint8_t)(i * 31 + i / 251), "at %zu", i);
    h2_client_close(small);
}

Test(grpc_call, response_larger_than_every_window_and_buffer)
{
    expect_large_response("/test.Echo/Repeat");
    expect_large_response("/test.Echo/Block");
}

/* The stream's memory is used again: by an answer of the other kind, and by one that is empty. */
Test(grpc_call, blocks_and_copies_in_turn)
{
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t size = i % 4 == 3 ? 0 : i * 1000;
        const char *path = i % 3 ? "/test.Echo/Block" : "/test.Echo/Repeat";
        const struct h2_reply *r = ask_path(path, repeat_message(size));
        cr_assert_eq(r->grpc_status, GRPC_OK);
        cr_assert_eq(r->body_size, size + GRPC_PREFIX_BYTES);
    }
}

Test(grpc_call, error_is_trailers_alone_and_percent_encoded)
{
    const struct h2_reply *r = ask_path("/test.Echo/Fail", message_of(""));
    cr_assert_eq(r->http_status, 200);
    cr_assert_eq(r->grpc_status, GRPC_NOT_FOUND);
    cr_assert_str_eq(r->text, "no %01 100%25 %C3%A9");
    cr_assert_eq(r->header_blocks, 1);
    cr_assert_eq(r->body_size, 0);
}

Test(grpc_call, error_after_a_message)
{
    const struct h2_reply *r = ask_path("/test.Echo/Token", message_of(""));
    cr_assert_eq(r->header_blocks, 2);
    cr_assert_eq(r->grpc_status, GRPC_UNAVAILABLE);
    cr_assert_str_eq(r->text, "no leader is asked for");
}

Test(grpc_call, metadata)
{
    static const struct {
        const char *name;
        const char *value;
        const char *token;
        int status;
    } rows[] = {
        { "token", "abc.1", "abc.1", GRPC_UNAVAILABLE },
        { "authorization", "abc.2", "abc.2", GRPC_UNAVAILABLE },
        { "hasleader", "true", "", GRPC_OK },
        { "hasleader", "yes", "", GRPC_UNAVAILABLE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct h2_request q = { .path = "/test.Echo/Token",
                                .extra_name = rows[i].name,
                                .extra_value = rows[i].value };
        const struct h2_reply *r = ask(&q, message_of(""));
        cr_assert_eq(r->grpc_status, rows[i].status, "%s: %s", rows[i].name, rows[i].value);
        expect_body(r, message_of(rows[i].token));
    }
}

static const uint8_t two[] = { 0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 1, 'b' };
static const uint8_t two_empty[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
static const uint8_t compressed[] = { 1, 0, 0, 0, 1, 'a' };
static const uint8_t unknown_flag[] = { 2, 0, 0, 0, 1, 'a' };
static const uint8_t huge[] = { 0, 0xff, 0xff, 0xff, 0xff, 'a' };
static const uint8_t good[] = { 0, 0, 0, 0, 1, 'a' };
static const struct {
    struct h2_request request;
    struct slice bytes;
    int http_status;
    enum grpc_status status;
    const char *text;
} bad_requests[] = {
    { { .path = "/test.Other/Unary" },
      { good, 6 },
      200,
      GRPC_UNIMPLEMENTED,
      "unknown service test.Other" },
    { { .path = "/test.Echo/None" },
      { good, 6 },
      200,
      GRPC_UNIMPLEMENTED,
      "unknown method None for service test.Echo" },
    { { .path = "/nonsense" },
      { good, 6 },
      200,
      GRPC_UNIMPLEMENTED,
      "malformed method name: \"/nonsense\"" },
    { { .path = "/test.Echo/Unary", .method = "PUT" },
      { good, 6 },
      405,
      GRPC_INTERNAL,
      "Received a HEADERS frame with :method \"PUT\" which should be POST" },
    { { .path = "/test.Echo/Unary", .content_type = "text/html" },
      { good, 6 },
      415,
      GRPC_INVALID_ARGUMENT,
      "invalid gRPC request content-type \"text/html\"" },
    { { .path = "/test.Echo/Unary", .timeout = "soon" },
      { good, 6 },
      400,
      GRPC_INTERNAL,
      "malformed grpc-timeout" },
    { { .path = "/test.Echo/Unary" },
      { two, sizeof two },
      200,
      GRPC_INTERNAL,
      "cardinality violation: received multiple request messages for "
      "non-client-streaming RPC" },
    { { .path = "/test.Echo/Unary" },
      { two_empty, sizeof two_empty },
      200,
      GRPC_INTERNAL,
      "cardinality violation: received multiple request messages for "
      "non-client-streaming RPC" },
    { { .path = "/test.Echo/Unary" },
      { NULL, 0 },
      200,
      GRPC_INTERNAL,
      "cardinality violation: received no request message from non-client-streaming RPC" },
    { { .path = "/test.Echo/Unary" }, { good, 3 }, 200, GRPC_INTERNAL, "unexpected EOF" },
    { { .path = "/test.Echo/Unary" }, { good, 5 }, 200, GRPC_INTERNAL, "unexpected EOF" },
    { { .path = "/test.Echo/Unary" },
      { compressed, 6 },
      200,
      GRPC_INTERNAL,
      "grpc: compressed flag set with identity or empty encoding" },
    { { .path = "/test.Echo/Unary", .encoding = "identity" },
      { compressed, 6 },
      200,
      GRPC_INTERNAL,
      "grpc: compressed flag set with identity or empty encoding" },
    { { .path = "/test.Echo/Unary", .encoding = "gzip" },
      { compressed, 6 },
      200,
      GRPC_UNIMPLEMENTED,
      "grpc: Decompressor is not installed for grpc-encoding \"gzip\"" },
    { { .path = "/test.Echo/Unary" },
      { unknown_flag, 6 },
      200,
      GRPC_INTERNAL,
      "grpc: received unexpected payload format 2" },
    { { .path = "/test.Echo/Unary" },
      { huge, 6 },
      200,
      GRPC_RESOURCE_EXHAUSTED,
      "grpc: received message larger than max (4294967295 vs. 4194304)" },
};

Test(grpc_call, what_is_no_good_request)
{
    for (size_t i = 0; i < sizeof bad_requests / sizeof bad_requests[0]; i++) {
        const struct h2_reply *r = ask(&bad_requests[i].request, bad_requests[i].bytes);
        cr_assert_eq(r->http_status, bad_requests[i].http_status, "row %zu: %d", i, r->http_status);
        cr_assert_eq(r->grpc_status, (int)bad_requests[i].status, "row %zu: %d", i, r->grpc_status);
        cr_assert_str_eq(r->text, bad_requests[i].text, "row %zu", i);
        cr_assert_eq(r->header_blocks, 1, "row %zu", i);
        cr_assert_str_eq(r->accept_encoding,
                         bad_requests[i].status == GRPC_UNIMPLEMENTED ? "identity" : "", "row %zu",
                         i);
    }
    const struct h2_reply *r = ask_path("/test.Echo/Unary", slice_of(good, sizeof good));
    cr_assert_eq(r->grpc_status, GRPC_OK, "the connection has survived all of it");
}

/* An uncompressed message is fine whatever the encoding header says. */
Test(grpc_call, encoding_without_the_flag)
{
    struct h2_request q = { .path = "/test.Echo/Unary", .encoding = "gzip" };
    cr_assert_eq(ask(&q, message_of("x"))->grpc_status, GRPC_OK);
}

/* RFC 9113 §8.1: the whole answer, then a reset that asks to stop sending. */
Test(grpc_call, answer_before_the_request_has_ended)
{
    int32_t id = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/None" },
                                message_of("more"), false);
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_UNIMPLEMENTED);
    cr_assert_eq(r->reset_code, NGHTTP2_NO_ERROR);
}

Test(grpc_call, stream_both_ways)
{
    int32_t id = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Stream" },
                                message_of("first"), false);
    size_t body = message_of("first").size;
    const struct h2_reply *r = h2_client_wait_body(client, id, body);
    cr_assert(r, "the first answer comes before the second message");
    for (int i = 0; i < 100; i++) {
        cr_assert(h2_client_data(client, id, message_of("again"), false));
        body += message_of("again").size;
        cr_assert(h2_client_wait_body(client, id, body), "round %d", i);
    }
    cr_assert(h2_client_data(client, id, slice_of(NULL, 0), true));
    r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    cr_assert_eq(r->body_size, body);
}

/* The stream's buffer fills, empties a little, and fills again. */
Test(grpc_call, stream_into_a_narrow_window)
{
    nghttp2_settings_entry narrow = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 700 };
    cr_assert(h2_client_settings(client, &narrow, 1));
    static uint8_t all[2000 * (GRPC_PREFIX_BYTES + 40)];
    size_t size = 0;
    int32_t id = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Stream" },
                                slice_of(NULL, 0), false);
    for (int i = 0; i < 2000; i++) {
        char text[40];
        int length = snprintf(text, sizeof text, "this is message number %d", i);
        size_t added = h2_message(all + size, 0, slice_of(text, (size_t)length));
        cr_assert(h2_client_data(client, id, slice_of(all + size, added), i == 1999));
        cr_assert(h2_client_flush(client));
        size += added;
        if (i % 50 == 0)
            cr_assert(h2_client_wait_body(client, id, size / 2));
    }
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    expect_body(r, slice_of(all, size));
}

Test(grpc_call, stream_in)
{
    static uint8_t bytes[100 * 205];
    size_t size = 0;
    static const uint8_t message[200] = { 1 };
    for (int i = 0; i < 100; i++)
        size += h2_message(bytes + size, 0, slice_of(message, sizeof message));
    const struct h2_reply *r = ask_path("/test.Echo/Collect", slice_of(bytes, size));
    cr_assert_eq(r->grpc_status, GRPC_OK);
    expect_body(r, message_of("20000"));
    r = ask_path("/test.Echo/Collect", slice_of(NULL, 0));
    expect_body(r, message_of("0"));
}

Test(grpc_call, deadline)
{
    struct h2_request q = { .path = "/test.Echo/Hold", .timeout = "20m" };
    const struct h2_reply *r = ask(&q, message_of(""));
    cr_assert_eq(r->grpc_status, GRPC_DEADLINE_EXCEEDED);
    cr_assert_str_eq(r->text, "context deadline exceeded");
    q.timeout = "0n";
    cr_assert_eq(ask(&q, message_of(""))->grpc_status, GRPC_DEADLINE_EXCEEDED);
    /* Also while the message is still on its way. */
    q.timeout = "20m";
    q.path = "/test.Echo/Unary";
    struct slice half = message_of("half");
    half.size -= 2;
    int32_t id = h2_client_call(client, &q, half, false);
    r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_DEADLINE_EXCEEDED);
}

static bool three_are_gone(const struct grpc_counters *c)
{
    return c->calls_gone == 3;
}

static bool three_are_open(const struct grpc_counters *c)
{
    return c->calls_open == 3;
}

Test(grpc_call_bounds, cancelled_calls_are_gone)
{
    setup();
    int32_t ids[3];
    for (size_t i = 0; i < 3; i++)
        ids[i] = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Hold" },
                                message_of(""), true);
    cr_assert(h2_client_flush(client));
    cr_assert(grpc_fixture_await(server, three_are_open));
    for (size_t i = 0; i < 3; i++)
        cr_assert(h2_client_reset(client, ids[i], NGHTTP2_CANCEL));
    cr_assert(h2_client_flush(client));
    cr_assert(grpc_fixture_await(server, three_are_gone));
    cr_assert_eq(ask_path("/test.Echo/Unary", message_of("on"))->grpc_status, GRPC_OK);
    h2_client_close(client);
    uint64_t gone;
    struct grpc_counters c = grpc_fixture_close(server, &gone);
    cr_assert_eq(gone, 3);
    cr_assert_eq(c.calls_gone, 3);
    cr_assert_eq(c.calls_open, 0);
}

Test(grpc_call_bounds, a_lost_connection_loses_its_calls)
{
    setup();
    for (size_t i = 0; i < 3; i++)
        cr_assert_gt(h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Hold" },
                                    message_of(""), true),
                     0);
    cr_assert(h2_client_flush(client));
    cr_assert(grpc_fixture_await(server, three_are_open));
    h2_client_close(client);
    cr_assert(grpc_fixture_await(server, three_are_gone));
    uint64_t gone;
    struct grpc_counters c = grpc_fixture_close(server, &gone);
    cr_assert_eq(gone, 3);
    cr_assert_eq(c.connections_broken, 0);
}

Test(grpc_call_bounds, message_too_large)
{
    struct grpc_options o = grpc_fixture_options();
    o.message_bytes_max = 10;
    o.message_too_large = "etcdserver: request is too large";
    setup_with(&o);
    cr_assert_eq(ask_path("/test.Echo/Unary", message_of("0123456789"))->grpc_status, GRPC_OK);
    const struct h2_reply *r = ask_path("/test.Echo/Unary", message_of("0123456789a"));
    cr_assert_eq(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(r->text, "etcdserver: request is too large");
    cr_assert_eq(teardown_counters().calls_too_large, 1);
}

/* What is announced costs nothing; what has come counts for all connections together. */
Test(grpc_call_bounds, request_bytes_of_all_calls)
{
    struct grpc_options o = grpc_fixture_options();
    o.request_bytes_max = 100 * 1024;
    o.request_bytes_full = "etcdserver: too many requests";
    setup_with(&o);
    static uint8_t bytes[GRPC_PREFIX_BYTES + 70000] = { 0, 0, 2, 0, 0 }; /* of 128 KiB */
    struct h2_request q = { .path = "/test.Echo/Unary" };
    int32_t first = h2_client_call(client, &q, slice_of(bytes, 50005), false);
    cr_assert(h2_client_ping(client));
    cr_assert(h2_client_wait_pings(client, 1, 0));
    int32_t second = h2_client_call(client, &q, slice_of(bytes, 70005), false);
    const struct h2_reply *r = h2_client_wait(client, second);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(r->text, "etcdserver: too many requests");
    cr_assert(h2_client_reset(client, first, NGHTTP2_CANCEL));
    for (int i = 0; i < 3; i++) {
        size_t size = h2_message(bytes, 0, slice_of(bytes + GRPC_PREFIX_BYTES, 60000));
        cr_assert_eq(ask(&q, slice_of(bytes, size))->grpc_status, GRPC_OK, "there is room again");
    }
    cr_assert_eq(teardown_counters().calls_refused, 1);
}

/* Answers that wait are bounded together; what is small goes all the same. */
Test(grpc_call_bounds, response_bytes_of_all_calls)
{
    struct grpc_options o = grpc_fixture_options();
    o.response_bytes_max = 100 * 1024;
    setup_with(&o);
    static const char *const paths[] = { "/test.Echo/Repeat", "/test.Echo/Block" };
    for (size_t i = 0; i < 2; i++) {
        const struct h2_reply *r = ask_path(paths[i], repeat_message(200 * 1024));
        cr_assert_eq(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
        r = ask_path(paths[i], repeat_message(60 * 1024));
        cr_assert_eq(r->grpc_status, GRPC_OK);
    }
    cr_assert_eq(teardown_counters().responses_refused, 2);
}

Test(grpc_call, a_thousand_streams_at_once)
{
    static int32_t ids[1000];
    cr_assert(h2_client_wait_settings(client));
    for (size_t i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof text, "%zu", i);
        struct h2_request q = { .path = i % 2 ? "/test.Echo/Unary" : "/test.Echo/Later" };
        ids[i] = h2_client_call(client, &q, message_of(text), true);
        cr_assert_gt(ids[i], 0);
    }
    for (size_t i = 0; i < 1000; i++) {
        const struct h2_reply *r = h2_client_wait(client, ids[i]);
        cr_assert(r, "call %zu", i);
        cr_assert_eq(r->grpc_status, GRPC_OK);
        char text[16];
        snprintf(text, sizeof text, "%zu", i);
        expect_body(r, message_of(text));
        h2_client_forget(client, ids[i]);
    }
}

/* RFC 7541 §4.2: the first header block after a change of the table begins with the new size,
 * or nghttp2's client gives up. A stream is open meanwhile, so that block is its trailers. */
Test(grpc_call, header_table_changed_while_a_stream_is_open)
{
    int32_t id = h2_client_call(client, &(struct h2_request){ .path = "/test.Echo/Stream" },
                                message_of("a"), false);
    cr_assert(h2_client_wait_body(client, id, message_of("a").size));
    nghttp2_settings_entry entry = { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0 };
    cr_assert(h2_client_settings(client, &entry, 1));
    cr_assert(h2_client_ping(client));
    cr_assert(h2_client_wait_pings(client, 1, 0));
    cr_assert(h2_client_data(client, id, message_of("b"), true));
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->grpc_status, GRPC_OK);
    r = ask_path("/test.Echo/Token", message_of(""));
    cr_assert_eq(r->grpc_status, GRPC_UNAVAILABLE);
    cr_assert_str_eq(r->text, "no leader is asked for");
}

/* Headers past SETTINGS_MAX_HEADER_LIST_SIZE end their stream, not the connection. */
Test(grpc_call, header_list_too_large)
{
    static char value[17 * 1024];
    memset(value, 'v', sizeof value - 1);
    struct h2_request q = { .path = "/test.Echo/Unary", .extra_name = "x", .extra_value = value };
    int32_t id = h2_client_call(client, &q, message_of(""), true);
    const struct h2_reply *r = h2_client_wait(client, id);
    cr_assert(r);
    cr_assert_eq(r->reset_code, NGHTTP2_INTERNAL_ERROR);
    cr_assert_eq(ask_path("/test.Echo/Unary", message_of("on"))->grpc_status, GRPC_OK);
}
