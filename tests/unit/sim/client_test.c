#include <criterion/criterion.h>

#include "base/prng.h"
#include "tests/sim/client.h"
#include "tests/support/grpc_fixture.h"
#include "tests/support/loop_fixture.h"

enum { CALLS_MAX = 256 };

static struct loop *loop;
static struct sim_client *client;
static size_t told;
static size_t told_until;

static void on_done(void *owner, struct sim_call *call)
{
    (void)owner;
    (void)call;
    if (++told == told_until)
        loop_stop(loop);
}

static void on_closed(void *owner)
{
    (void)owner;
    client = NULL;
    loop_stop(loop);
}

static void setup_loop(void)
{
    struct loop_options options = loop_fixture_options();
    options.timer_count_max = 2 * CALLS_MAX;
    loop = loop_fixture_open(&options);
    told = told_until = 0;
}

static struct sim_client_options options_for(const struct io_addr *addrs, size_t count)
{
    return (struct sim_client_options){
        .io = loop_io(loop),
        .endpoints = addrs,
        .endpoint_count = count,
        .connect_timeout_ms = 1000,
        .pause_min_ms = 5,
        .pause_max_ms = 40,
        .calls_max = CALLS_MAX,
        .response_bytes_max = 1 << 20,
    };
}

static void client_open(const struct sim_client_options *options)
{
    client = sim_client_open(options);
    cr_assert(client);
}

static void finish(void)
{
    if (client) {
        sim_client_close(client, on_closed, NULL);
        loop_fixture_run(loop);
    }
    cr_assert_null(client);
    loop_close(loop);
}

static void begin(struct sim_call *call, const char *path, struct slice request,
                  uint32_t timeout_ms)
{
    call->path = path;
    call->request = request;
    call->timeout_ms = timeout_ms;
    call->done = on_done;
    cr_assert(sim_client_call(client, call));
}

static void await(size_t count)
{
    told_until = count;
    if (told < count)
        loop_fixture_run(loop);
    cr_assert_eq(told, count);
}

/* A port that nobody listens on any more. */
static struct io_addr dead_addr(void)
{
    struct io *io = loop_io(loop);
    struct io_addr any = loop_fixture_loopback(), bound;
    int fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(fd, 0);
    io->ops->close(io, fd);
    return bound;
}

Test(sim_client, answers_come_back)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct sim_client_options options = options_for(grpc_fixture_addr(server), 1);
    client_open(&options);
    struct sim_call call = { 0 };
    for (size_t i = 1; i <= 3; i++) { /* one call object, again and again */
        begin(&call, "/test.Echo/Unary", slice_of_text("hello"), 5000);
        await(i);
        cr_assert_eq(call.outcome, SIM_ANSWERED);
        cr_assert_eq(call.status, GRPC_OK);
        cr_assert(slice_equal(call.response, slice_of_text("hello")));
    }
    begin(&call, "/test.Echo/Fail", slice_of_text("x"), 5000);
    await(4);
    cr_assert_eq(call.outcome, SIM_ANSWERED);
    cr_assert_eq(call.status, GRPC_NOT_FOUND);
    cr_assert_eq(call.response.size, 0);
    cr_assert_str_eq(call.text, "no %01 100%25 %C3%A9");
    finish();
    sim_call_done(&call);
    grpc_fixture_close(server, NULL);
}

Test(sim_client, many_calls_share_a_connection)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct sim_client_options options = options_for(grpc_fixture_addr(server), 1);
    client_open(&options);
    static struct sim_call calls[CALLS_MAX];
    static uint8_t bytes[CALLS_MAX][700];
    for (size_t i = 0; i < CALLS_MAX; i++) {
        memset(bytes[i], (int)i, sizeof bytes[i]);
        begin(&calls[i], i % 2 ? "/test.Echo/Later" : "/test.Echo/Unary",
              slice_of(bytes[i], i % sizeof bytes[i]), 5000);
    }
    struct sim_call extra = { .path = "/test.Echo/Unary", .timeout_ms = 1, .done = on_done };
    cr_assert_not(sim_client_call(client, &extra), "past calls_max");
    await(CALLS_MAX);
    for (size_t i = 0; i < CALLS_MAX; i++) {
        cr_assert_eq(calls[i].outcome, SIM_ANSWERED);
        cr_assert(slice_equal(calls[i].response, calls[i].request), "call %zu", i);
        sim_call_done(&calls[i]);
    }
    cr_assert_eq(sim_client_calls(client), 0);
    finish();
    struct grpc_counters counters = grpc_fixture_close(server, NULL);
    cr_assert_eq(counters.connections_accepted, 1);
}

Test(sim_client, large_request_and_response)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct sim_client_options options = options_for(grpc_fixture_addr(server), 1);
    client_open(&options);
    static uint8_t big[900 * 1024];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7 + i / 255);
    struct sim_call call = { 0 }, too_large = { 0 };
    begin(&call, "/test.Echo/Unary", slice_of(big, sizeof big), 5000);
    const uint8_t two_mib[] = { 0, 0x20, 0, 0 };
    begin(&too_large, "/test.Echo/Repeat", slice_of(two_mib, sizeof two_mib), 5000);
    await(2);
    cr_assert(slice_equal(call.response, slice_of(big, sizeof big)));
    cr_assert_eq(too_large.outcome, SIM_UNKNOWN);
    finish();
    sim_call_done(&call);
    sim_call_done(&too_large);
    grpc_fixture_close(server, NULL);
}

Test(sim_client, deadline_is_an_unknown_outcome)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct sim_client_options options = options_for(grpc_fixture_addr(server), 1);
    client_open(&options);
    struct sim_call call = { 0 };
    begin(&call, "/test.Echo/Hold", slice_of_text("x"), 30);
    await(1);
    cr_assert_neq(call.outcome, SIM_NOT_SENT);
    begin(&call, "/test.Echo/Unary", slice_of_text("y"), 5000);
    await(2);
    cr_assert_eq(call.outcome, SIM_ANSWERED);
    finish();
    sim_call_done(&call);
    uint64_t gone = 0;
    grpc_fixture_close(server, &gone);
    cr_assert_eq(gone, 1);
}

Test(sim_client, closing_ends_what_is_in_flight)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct sim_client_options options = options_for(grpc_fixture_addr(server), 1);
    client_open(&options);
    struct sim_call unary = { 0 }, held = { 0 }, late = { 0 };
    begin(&held, "/test.Echo/Hold", slice_of_text("x"), 60000);
    begin(&unary, "/test.Echo/Unary", slice_of_text("x"), 60000);
    await(1);
    sim_client_close(client, on_closed, NULL);
    late = (struct sim_call){ .path = "/test.Echo/Unary", .timeout_ms = 1, .done = on_done };
    cr_assert_not(sim_client_call(client, &late));
    loop_fixture_run(loop);
    cr_assert_null(client);
    cr_assert_eq(told, 2);
    cr_assert_eq(held.outcome, SIM_UNKNOWN);
    sim_call_done(&held);
    sim_call_done(&unary);
    loop_close(loop);
    grpc_fixture_close(server, NULL);
}

Test(sim_client, next_endpoint_after_a_dead_one)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct io_addr addrs[] = { dead_addr(), *grpc_fixture_addr(server) };
    struct sim_client_options options = options_for(addrs, 2);
    client_open(&options);
    struct sim_call call = { 0 };
    begin(&call, "/test.Echo/Unary", slice_of_text("x"), 5000);
    await(1);
    cr_assert_eq(call.outcome, SIM_NOT_SENT);
    begin(&call, "/test.Echo/Unary", slice_of_text("x"), 5000);
    await(2);
    cr_assert_eq(call.outcome, SIM_ANSWERED);
    cr_assert(sim_client_is_up(client));
    cr_assert_eq(sim_client_endpoint(client), 1);
    sim_client_move(client);
    begin(&call, "/test.Echo/Unary", slice_of_text("x"), 5000);
    await(3);
    cr_assert_eq(call.outcome, SIM_NOT_SENT, "the dead one again");
    finish();
    sim_call_done(&call);
    grpc_fixture_close(server, NULL);
}

Test(sim_client, server_that_goes_away)
{
    setup_loop();
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    struct sim_client_options options = options_for(grpc_fixture_addr(server), 1);
    client_open(&options);
    struct sim_call held = { 0 }, unary = { 0 };
    begin(&unary, "/test.Echo/Unary", slice_of_text("x"), 5000);
    begin(&held, "/test.Echo/Hold", slice_of_text("x"), 5000);
    await(1);
    grpc_fixture_shut(server, 0);
    await(2);
    cr_assert_neq(held.outcome, SIM_NOT_SENT);
    begin(&unary, "/test.Echo/Unary", slice_of_text("x"), 5000);
    await(3);
    cr_assert_eq(unary.outcome, SIM_NOT_SENT);
    finish();
    sim_call_done(&held);
    sim_call_done(&unary);
    grpc_fixture_close(server, NULL);
}
