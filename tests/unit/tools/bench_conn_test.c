/* Against a real gRPC server of ours, in a thread. */
#include "tools/bench_conn.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/bytes.h"
#include "rpc/grpc_codec.h"
#include "tests/support/grpc_fixture.h"

enum { CALLS = 3, HEAD_BYTES = 64, WAIT_MS = 10000, LARGE_BYTES = 200000 };

struct rig {
    struct grpc_fixture *fixture;
    struct bench_conn_env env;
    struct bench_endpoint endpoint;
    struct bench_conn conn;
    struct bench_call calls[CALLS];
    uint8_t heads[CALLS][HEAD_BYTES];
    char errors[CALLS][BENCH_CALL_TEXT_BYTES]; /* "": none */
    unsigned ended;
    unsigned ups;
    unsigned downs;
};

static void on_end(void *owner, struct bench_call *call, const char *error)
{
    struct rig *rig = owner;
    rig->ended++;
    snprintf(rig->errors[call->slot], BENCH_CALL_TEXT_BYTES, "%s", error ? error : "");
}

static void on_up(void *owner, struct bench_conn *conn)
{
    (void)conn;
    ((struct rig *)owner)->ups++;
}

static void on_down(void *owner, struct bench_conn *conn, bool was_up)
{
    (void)conn;
    (void)was_up;
    ((struct rig *)owner)->downs++;
}

static void turn(struct rig *rig)
{
    struct epoll_event event;
    while (!list_is_empty(&rig->env.dirty))
        bench_conn_flush(LIST_ENTRY(rig->env.dirty.next, struct bench_conn, dirty));
    cr_assert_eq(epoll_wait(rig->env.epoll_fd, &event, 1, WAIT_MS), 1, "nothing happens");
    bench_conn_on_events(event.data.ptr, event.events);
}

static void rig_open(struct rig *rig)
{
    *rig = (struct rig){ .fixture = grpc_fixture_open(NULL) };
    rig->env.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rig->env.on_end = on_end;
    rig->env.on_up = on_up;
    rig->env.on_down = on_down;
    rig->env.owner = rig;
    cr_assert(bench_conn_env_open(&rig->env));
    rig->endpoint.addr = *grpc_fixture_addr(rig->fixture);
    snprintf(rig->endpoint.authority, sizeof rig->endpoint.authority, "test");
    rig->conn = (struct bench_conn){ .env = &rig->env, .calls = rig->calls, .call_count = CALLS };
    for (uint32_t i = 0; i < CALLS; i++) {
        rig->calls[i] =
            (struct bench_call){ .slot = i, .head = rig->heads[i], .head_capacity = HEAD_BYTES };
    }
    bench_conn_init(&rig->conn);
    bench_conn_dial(&rig->conn, &rig->endpoint);
    while (rig->ups == 0)
        turn(rig);
}

static void rig_close(struct rig *rig)
{
    bench_conn_done(&rig->conn);
    bench_conn_env_close(&rig->env);
    close(rig->env.epoll_fd);
    grpc_fixture_close(rig->fixture, NULL);
}

static void begin(struct rig *rig, unsigned i, const char *path, struct slice frame)
{
    rig->calls[i].path = slice_of_text(path);
    rig->calls[i].request = frame;
    bench_conn_begin(&rig->conn, &rig->calls[i]);
}

Test(bench_conn, answers_errors_and_large_requests)
{
    static struct rig rig;
    static const uint8_t small[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c' };
    uint8_t *large = calloc(1, GRPC_PREFIX_BYTES + LARGE_BYTES);
    grpc_prefix_put(large, LARGE_BYTES);
    rig_open(&rig);
    begin(&rig, 0, "/test.Echo/Unary", slice_of(small, sizeof small));
    begin(&rig, 1, "/test.Echo/Fail", slice_of(small, sizeof small));
    begin(&rig, 2, "/test.Echo/Unary", slice_of(large, GRPC_PREFIX_BYTES + LARGE_BYTES));
    while (rig.ended < CALLS)
        turn(&rig);
    cr_assert_str_eq(rig.errors[0], "");
    cr_assert_eq(rig.calls[0].received, sizeof small);
    cr_assert_arr_eq(rig.heads[0], small, sizeof small);
    cr_assert_str_eq(rig.errors[1], "NOT_FOUND: no \x01 100% \xc3\xa9");
    cr_assert_str_eq(rig.errors[2], "");
    cr_assert_eq(rig.calls[2].received, GRPC_PREFIX_BYTES + LARGE_BYTES);
    cr_assert_gt(rig.env.sent_bytes, LARGE_BYTES);
    cr_assert_gt(rig.env.received_bytes, LARGE_BYTES);
    rig_close(&rig);
    free(large);
}

Test(bench_conn, a_call_given_up_may_begin_again_at_once)
{
    static struct rig rig;
    static const uint8_t frame[] = { 0, 0, 0, 0, 1, 'x' };
    rig_open(&rig);
    begin(&rig, 0, "/test.Echo/Hold", slice_of(frame, sizeof frame));
    bench_conn_flush(&rig.conn);
    begin(&rig, 1, "/test.Echo/Unary", slice_of(frame, sizeof frame));
    bench_conn_cancel(&rig.conn, &rig.calls[0], "DEADLINE_EXCEEDED");
    cr_assert_str_eq(rig.errors[0], "DEADLINE_EXCEEDED");
    begin(&rig, 0, "/test.Echo/Unary", slice_of(frame, sizeof frame));
    bench_conn_cancel(&rig.conn, &rig.calls[0], "DEADLINE_EXCEEDED"); /* before it was sent */
    begin(&rig, 0, "/test.Echo/Unary", slice_of(frame, sizeof frame));
    while (rig.ended < 4)
        turn(&rig);
    cr_assert_str_eq(rig.errors[0], "");
    cr_assert_str_eq(rig.errors[1], "");
    cr_assert_eq(rig.downs, 0);
    rig_close(&rig);
}

Test(bench_conn, a_connection_that_ends_ends_its_calls_and_is_dialled_again)
{
    static struct rig rig;
    static const uint8_t frame[] = { 0, 0, 0, 0, 1, 'x' };
    rig_open(&rig);
    begin(&rig, 0, "/test.Echo/Hold", slice_of(frame, sizeof frame));
    bench_conn_flush(&rig.conn);
    bench_conn_fail(&rig.conn, "connection lost: on purpose");
    cr_assert_str_eq(rig.errors[0], "connection lost: on purpose");
    cr_assert(rig.ended == 1 && rig.downs == 1);
    bench_conn_dial(&rig.conn, &rig.endpoint);
    while (rig.ups < 2)
        turn(&rig);
    begin(&rig, 0, "/test.Echo/Unary", slice_of(frame, sizeof frame));
    while (rig.ended < 2)
        turn(&rig);
    cr_assert_str_eq(rig.errors[0], "");
    grpc_fixture_shut(rig.fixture, 0);
    while (rig.downs < 2)
        turn(&rig);
    rig_close(&rig);
}

/* Nobody listens there: the port is that of a server that has gone. */
Test(bench_conn, a_dial_that_fails_says_why)
{
    static struct rig rig;
    rig_open(&rig);
    bench_conn_hang_up(&rig.conn);
    grpc_fixture_close(rig.fixture, NULL);
    bench_conn_dial(&rig.conn, &rig.endpoint);
    while (rig.downs == 0)
        turn(&rig);
    cr_assert_str_eq(rig.conn.why, "cannot connect: Connection refused");
    bench_conn_done(&rig.conn);
    bench_conn_env_close(&rig.env);
    close(rig.env.epoll_fd);
}
