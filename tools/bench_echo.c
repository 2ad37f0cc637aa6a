#include "tools/bench_echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/addr.h"
#include "rpc/grpc.h"
#include "rpc/loop.h"
#include "tools/bench_run.h"

enum { WARM_UP_S = 0, BYTES_MAX = 1 << 20 };

/* ---- the child ---- */

static void on_check(void *owner, struct grpc_call *call, struct slice message)
{
    (void)owner;
    (void)message;
    static const uint8_t serving[] = { 1 << 3, 1 }; /* HealthCheckResponse, status SERVING */
    uint8_t *room = grpc_call_send(call, sizeof serving);
    if (room)
        memcpy(room, serving, sizeof serving);
    grpc_call_finish(call, room ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED, NULL);
}

static void on_turn_end(void *owner)
{
    struct grpc_server **server = owner;
    if (*server)
        grpc_server_flush(*server);
}

static const char *serve(int port_fd)
{
    static const struct grpc_method method = { .path = "/grpc.health.v1.Health/Check",
                                               .on_message = on_check };
    static char detail[128];
    struct grpc_server *server = NULL;
    struct loop_options loop_options = {
        .op_count_max = 64,
        .timer_count_max = 64,
        .recv_buffer_count = 16,
        .recv_buffer_bytes = 16 << 10,
        .thread_counts = { 1, 1 },
        .turn_end = on_turn_end,
        .owner = &server,
    };
    struct loop *loop;
    enum loop_err loop_err = loop_open(&loop, &loop_options, detail, sizeof detail);
    if (loop_err != LOOP_OK)
        return loop_strerror(loop_err);
    struct grpc_options options = {
        .io = loop_io(loop),
        .methods = &method,
        .method_count = 1,
        .connection_count_max = 4,
        .stream_count_max = 16,
        .message_bytes_max = BYTES_MAX,
        .request_bytes_max = BYTES_MAX,
        .request_bytes_full = "too much",
        .response_bytes_max = BYTES_MAX,
        .connection_out_bytes_max = BYTES_MAX,
        .write_stall_ms = 10000,
        .keepalive_min_ms = 5000,
        .keepalive_timeout_ms = 20000,
    };
    struct io_addr any = { .sa_size = sizeof(struct sockaddr_in) };
    memcpy(
        &any.sa,
        &(struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
        sizeof(struct sockaddr_in));
    struct io_addr bound;
    enum grpc_err err = grpc_server_open(&server, &options);
    if (err != GRPC_SERVER_OK)
        return grpc_server_strerror(err);
    if (grpc_server_listen(server, &any, &bound) != 0)
        return "cannot listen";
    uint16_t port = addr_port(&bound);
    if (write(port_fd, &port, sizeof port) != sizeof port)
        return "cannot tell the port";
    loop_err = loop_run(loop); /* until it is killed */
    return loop_strerror(loop_err);
}

/* ---- the parent ---- */

static bool fail(char *why, const char *what)
{
    IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "%s: %s", what, strerror(errno)) < 0, "it fits");
    return false;
}

static bool measure(const struct bench_options *limit, uint16_t port, struct bench_hist *ret_times,
                    char *why)
{
    char endpoint[32];
    IGNORE(snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", port) < 0, "it fits");
    struct bench_options options = *limit;
    options.workload = BENCH_ECHO;
    options.endpoints = endpoint;
    options.connections = 1;
    options.in_flight = 1;
    options.rate = 0;
    options.total = limit->rounds;
    options.warm_up_s = WARM_UP_S;
    options.quiet = true;
    struct bench_result *result = calloc(1, sizeof *result);
    bool ok = result && bench_run(&options, result, why);
    if (ok)
        *ret_times = result->tally.latency;
    free(result);
    return ok;
}

bool bench_echo_run(const struct bench_options *options, struct bench_hist *ret_times,
                    char why[BENCH_ERROR_BYTES_MAX])
{
    int port_fds[2];
    if (pipe(port_fds) != 0)
        return fail(why, "pipe");
    pid_t child = fork();
    if (child < 0)
        return fail(why, "fork");
    if (child == 0) {
        close(port_fds[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fprintf(stderr, "holdfast-bench: the echo server: %s\n", serve(port_fds[1]));
        _exit(BENCH_EXIT_FAILED);
    }
    close(port_fds[1]);
    uint16_t port;
    bool ok = read(port_fds[0], &port, sizeof port) == sizeof port;
    if (ok)
        ok = measure(options, port, ret_times, why);
    else
        IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "its server did not start") < 0, "it fits");
    close(port_fds[0]);
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return ok;
}
