#include "tests/support/grpc_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/support/loop_fixture.h"

enum { AWAIT_S = 10 };

struct later {
    struct timer timer;
    struct grpc_call *call;
    struct slice message;
    struct grpc_fixture *fixture;
};

struct grpc_fixture {
    pthread_t thread;
    struct grpc_options options;
    struct loop *loop;
    struct grpc_server *server;
    struct io_addr addr;
    int shut_fd;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t turned;
    bool opened;
    bool shut;
    uint32_t grace_ms;
    struct grpc_counters counters;
    uint64_t gone;
};

/* ---- the service ---- */

static void answer(struct grpc_call *call, struct slice bytes)
{
    uint8_t *room = grpc_call_send(call, bytes.size);
    if (!room) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no room");
        return;
    }
    if (bytes.size > 0)
        memcpy(room, bytes.data, bytes.size);
}

static void on_unary(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    answer(call, message);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_fail(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    (void)message;
    grpc_call_finish(call, GRPC_NOT_FOUND, "no \x01 100% \xc3\xa9");
}

static void on_hold_gone(void *owner, struct grpc_call *call)
{
    (void)call;
    struct grpc_fixture *f = owner;
    pthread_mutex_lock(&f->mutex);
    f->gone++;
    pthread_mutex_unlock(&f->mutex);
}

static void on_hold(void *owner, struct grpc_call *call, struct slice message)
{
    (void)message;
    grpc_call_on_gone(call, on_hold_gone, owner);
}

static void on_later_time(void *owner)
{
    struct later *l = owner;
    answer(l->call, l->message);
    grpc_call_finish(l->call, GRPC_OK, NULL);
}

static void on_later_gone(void *owner, struct grpc_call *call)
{
    (void)call;
    struct later *l = owner;
    io_timer_cancel(l->fixture->options.io, &l->timer);
}

static void on_later(void *owner, struct grpc_call *call, struct slice message)
{
    struct grpc_fixture *f = owner;
    struct later *l = arena_zalloc(grpc_call_arena(call), sizeof *l);
    if (!l || !arena_copy(grpc_call_arena(call), message, &l->message)) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "arena");
        return;
    }
    l->call = call;
    l->fixture = f;
    timer_init(&l->timer, on_later_time, l);
    if (!io_timer_set(f->options.io, &l->timer, io_now_ms(f->options.io) + 1))
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "timer");
    else
        grpc_call_on_gone(call, on_later_gone, l);
}

static void repeat_fill(uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(i * 31 + i / 251);
}

static void on_repeat(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    size_t size = message.size == 4 ? get_be32(message.data) : 0;
    uint8_t *room = grpc_call_send(call, size);
    if (!room) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no room");
        return;
    }
    repeat_fill(room, size);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_block(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    size_t size = message.size == 4 ? get_be32(message.data) : 0;
    uint8_t *block = malloc(GRPC_BLOCK_BYTES_BEFORE + size);
    cr_assert(block);
    repeat_fill(block + GRPC_BLOCK_BYTES_BEFORE, size);
    bool is_taken = grpc_call_send_block(call, block, size);
    grpc_call_finish(call, is_taken ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED, is_taken ? NULL : "no");
}

static void on_stream(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    answer(call, message);
}

static void on_stream_end(void *owner, struct grpc_call *call)
{
    (void)owner;
    grpc_call_finish(call, GRPC_OK, NULL);
}

/* The sum lies in the arena's only block: found again through the one that keeps the call. */
struct collect {
    struct grpc_call *call;
    uint64_t bytes;
    struct collect *next;
};

static struct collect *collects; /* one server a test process */

static struct collect **collect_find(const struct grpc_call *call)
{
    struct collect **at = &collects;
    while (*at && (*at)->call != call)
        at = &(*at)->next;
    return at;
}

static void on_collect_gone(void *owner, struct grpc_call *call)
{
    (void)owner;
    struct collect **at = collect_find(call);
    *at = (*at)->next;
}

static void on_collect(void *owner, struct grpc_call *call, struct slice message)
{
    struct collect **at = collect_find(call);
    if (!*at) {
        *at = arena_zalloc(grpc_call_arena(call), sizeof **at);
        cr_assert(*at);
        (*at)->call = call;
        grpc_call_on_gone(call, on_collect_gone, owner);
    }
    (*at)->bytes += message.size;
}

static void on_collect_end(void *owner, struct grpc_call *call)
{
    struct collect **at = collect_find(call);
    uint64_t bytes = *at ? (*at)->bytes : 0;
    if (*at)
        on_collect_gone(owner, call);
    char text[32];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    answer(call, slice_of(text, (size_t)size));
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_token(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    (void)message;
    const struct grpc_metadata *m = grpc_call_metadata(call);
    answer(call, m->authorization);
    grpc_call_finish(call, m->has_leader ? GRPC_OK : GRPC_UNAVAILABLE, "no leader is asked for");
}

static void on_busy(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    (void)message;
    grpc_call_finish_busy(call, "busy");
}

static void on_more(void *owner, struct grpc_call *call, struct slice message)
{
    struct grpc_fixture *f = owner;
    grpc_server_take_more(f->server, 1);
    answer(call, message);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static const struct grpc_method methods[] = {
    { "/test.Echo/Block", false, on_block, NULL },
    { "/test.Echo/Busy", false, on_busy, NULL },
    { "/test.Echo/Collect", true, on_collect, on_collect_end },
    { "/test.Echo/Fail", false, on_fail, NULL },
    { "/test.Echo/Hold", false, on_hold, NULL },
    { "/test.Echo/Later", false, on_later, NULL },
    { "/test.Echo/More", false, on_more, NULL },
    { "/test.Echo/Repeat", false, on_repeat, NULL },
    { "/test.Echo/Stream", true, on_stream, on_stream_end },
    { "/test.Echo/Token", false, on_token, NULL },
    { "/test.Echo/Unary", false, on_unary, NULL },
};

/* ---- its thread ---- */

static void on_closed(void *owner)
{
    struct grpc_fixture *f = owner;
    f->server = NULL;
    loop_stop(f->loop);
}

static void on_shut(void *owner)
{
    struct grpc_fixture *f = owner;
    uint64_t count;
    cr_assert_eq(read(f->shut_fd, &count, sizeof count), (ssize_t)sizeof count);
    grpc_server_close(f->server, f->grace_ms, on_closed, f);
}

static void counters_publish(struct grpc_fixture *f)
{
    pthread_mutex_lock(&f->mutex);
    f->counters = *grpc_server_counters(f->server);
    pthread_cond_broadcast(&f->turned);
    pthread_mutex_unlock(&f->mutex);
}

static void on_turn_end(void *owner)
{
    struct grpc_fixture *f = owner;
    if (!f->server)
        return;
    counters_publish(f);
    grpc_server_flush(f->server);
    if (f->server)
        counters_publish(f);
}

static void server_open(struct grpc_fixture *f)
{
    struct loop_options options = {
        .op_count_max = 16384,
        .timer_count_max = 16384,
        .recv_buffer_count = 256,
        .recv_buffer_bytes = 16384,
        .thread_counts = { 1, 1 },
        .turn_end = on_turn_end,
        .owner = f,
    };
    f->loop = loop_fixture_open(&options);
    f->options.io = loop_io(f->loop);
    enum grpc_err err = grpc_server_open(&f->server, &f->options);
    cr_assert_eq(err, GRPC_SERVER_OK, "%s", grpc_server_strerror(err));
    struct io_addr any = loop_fixture_loopback();
    cr_assert_eq(grpc_server_listen(f->server, &any, &f->addr), 0);
    cr_assert_eq(loop_watch(f->loop, f->shut_fd, on_shut, f), 0);
}

static void *serve(void *owner)
{
    struct grpc_fixture *f = owner;
    server_open(f);
    pthread_mutex_lock(&f->mutex);
    f->opened = true;
    pthread_cond_broadcast(&f->turned);
    pthread_mutex_unlock(&f->mutex);
    loop_fixture_run(f->loop);
    loop_close(f->loop);
    return NULL;
}

/* ---- for the tests ---- */

struct grpc_options grpc_fixture_options(void)
{
    return (struct grpc_options){
        .connection_count_max = 10000,
        .stream_count_max = 2000,
        .message_bytes_max = 4 << 20,
        .request_bytes_max = 64 << 20,
        .response_bytes_max = 1u << 31,
        .connection_out_bytes_max = 64 << 20,
        .write_stall_ms = 10 * 1000,
        .keepalive_min_ms = 5 * 1000,
        .keepalive_interval_ms = 7200 * 1000,
        .keepalive_timeout_ms = 20 * 1000,
    };
}

struct grpc_fixture *grpc_fixture_open(const struct grpc_options *options)
{
    struct grpc_fixture *f = calloc(1, sizeof *f);
    cr_assert(f);
    f->options = options ? *options : grpc_fixture_options();
    f->options.methods = methods;
    f->options.method_count = sizeof methods / sizeof methods[0];
    f->options.owner = f;
    f->shut_fd = eventfd(0, EFD_CLOEXEC);
    cr_assert_geq(f->shut_fd, 0);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->turned, NULL);
    cr_assert_eq(pthread_create(&f->thread, NULL, serve, f), 0);
    pthread_mutex_lock(&f->mutex);
    while (!f->opened)
        pthread_cond_wait(&f->turned, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
    return f;
}

const struct io_addr *grpc_fixture_addr(const struct grpc_fixture *f)
{
    return &f->addr;
}

struct grpc_counters grpc_fixture_counters(struct grpc_fixture *f)
{
    pthread_mutex_lock(&f->mutex);
    struct grpc_counters counters = f->counters;
    pthread_mutex_unlock(&f->mutex);
    return counters;
}

bool grpc_fixture_await(struct grpc_fixture *f, bool (*is_so)(const struct grpc_counters *c))
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += AWAIT_S;
    int error = 0;
    pthread_mutex_lock(&f->mutex);
    while (!is_so(&f->counters) && error == 0)
        error = pthread_cond_timedwait(&f->turned, &f->mutex, &until);
    pthread_mutex_unlock(&f->mutex);
    return error == 0;
}

void grpc_fixture_shut(struct grpc_fixture *f, uint32_t grace_ms)
{
    uint64_t one = 1;
    f->grace_ms = grace_ms;
    f->shut = true;
    cr_assert_eq(write(f->shut_fd, &one, sizeof one), (ssize_t)sizeof one);
}

struct grpc_counters grpc_fixture_close(struct grpc_fixture *f, uint64_t *ret_gone)
{
    if (!f->shut)
        grpc_fixture_shut(f, 0);
    cr_assert_eq(pthread_join(f->thread, NULL), 0);
    struct grpc_counters counters = f->counters;
    if (ret_gone)
        *ret_gone = f->gone;
    close(f->shut_fd);
    pthread_cond_destroy(&f->turned);
    pthread_mutex_destroy(&f->mutex);
    free(f);
    return counters;
}
