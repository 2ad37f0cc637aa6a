/* holdfastd: flags in, one node and its services on one loop, until a signal. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "rpc/loop.h"
#include "server/counters.h"
#include "server/daemon.h"
#include "storage/store_guard.h"

enum {
    WORK_THREADS = 4,
    READ_THREADS = 3,
    RECV_BUFFERS = 512,
    RECV_BUFFER_BYTES = 8192,
    FILES_BESIDE_CONNECTIONS = 256,
    CLOSE_GRACE_MS = 1000,
};

struct main {
    struct options options;
    struct loop *loop;
    struct daemon *daemon; /* NULL: not yet, or closed */
    int signal_fd;
    int data_dir_fd; /* of the guard; below 0: not yet */
    bool is_stopping;
};

static char **start_arguments; /* main's; the process may start itself anew with them */

static void fail(const char *text)
{
    fprintf(stderr, "holdfastd: %s\n", text);
}

/* ---- the end ---- */

/* The same program with the same flags, in this very process: descriptors close, the lock on the
 * data directory goes with them, and a supervisor notices nothing. Async-signal-safe. */
static _Noreturn void start_anew(void)
{
    execve("/proc/self/exe", start_arguments, environ);
    _exit(EXIT_CODE_REPAIR); /* whoever watches it starts it */
}

/* Fail-stop: nothing may leave any more, so the process goes as it stands (I6). */
static void on_fatal(void *owner, enum exit_code code, const char *text)
{
    IGNORE(owner == NULL, "the whole process ends");
    if (code == EXIT_CODE_REPAIR) {
        LOG_ERRORF(text);
        start_anew();
    }
    LOG_AT(LOG_FATAL, text);
    fail(text);
    _exit(code);
}

/* LMDB has run into a damaged page. In a signal handler. */
static void on_store_fault(bool is_marked)
{
    static const char marked[] = "holdfastd: a fault in the store: it is marked as lost, and this "
                                 "node starts again and gets its data from the others\n";
    static const char unmarked[] = "holdfastd: a fault in the store, which could not be marked\n";
    const char *text = is_marked ? marked : unmarked;
    size_t size = (is_marked ? sizeof marked : sizeof unmarked) - 1;
    IGNORE(write(STDERR_FILENO, text, size) < 0, "nobody reads it");
    if (is_marked)
        start_anew();
    _exit(EXIT_CODE_CORRUPT);
}

static void on_closed(void *owner)
{
    struct main *m = owner;
    m->daemon = NULL;
    loop_stop(m->loop);
}

static void take_signal(struct main *m, uint32_t signal_number)
{
    counters_log(daemon_node(m->daemon), daemon_services(m->daemon), daemon_grpc(m->daemon),
                 m->loop);
    if (signal_number == SIGUSR1)
        return;
    m->is_stopping = true;
    LOG_INFOF("received signal; shutting down", log_number("signal", signal_number));
    daemon_close(m->daemon, CLOSE_GRACE_MS, on_closed, m);
}

/* All that are there: the loop calls when the descriptor becomes readable, not while it is. */
static void on_signal(void *owner)
{
    struct main *m = owner;
    struct signalfd_siginfo info;
    while (read(m->signal_fd, &info, sizeof info) == sizeof info)
        if (!m->is_stopping)
            take_signal(m, info.ssi_signo);
}

/* ---- the start ---- */

static void on_serving(void *owner)
{
    IGNORE(owner == NULL, "the log line is all");
    LOG_INFOF("ready to serve client requests");
}

static void on_turn_end(void *owner)
{
    struct main *m = owner;
    if (m->daemon)
        daemon_turn_end(m->daemon);
}

static uint64_t wall_ms(void *owner)
{
    struct main *m = owner;
    struct io *io = loop_io(m->loop);
    return io->ops->wall_ms(io);
}

static enum log_level level_of(const char *name)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = { { "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warn", LOG_WARN } };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].level;
    }
    return LOG_ERROR;
}

static enum exit_code open_log(struct main *m)
{
    const char *output = m->options.log_outputs;
    int fd = STDERR_FILENO;
    if (strcmp(output, "stdout") == 0)
        fd = STDOUT_FILENO;
    else if (strcmp(output, "default") != 0 && strcmp(output, "stderr") != 0)
        fd = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "holdfastd: --log-outputs: cannot open %s: %s\n", output, strerror(errno));
        return EXIT_CODE_USAGE;
    }
    log_setup(&(struct log_options){
        .level_min = level_of(m->options.log_level),
        .format = strcmp(m->options.log_format, "json") == 0 ? LOG_JSON : LOG_CONSOLE,
        .fd = fd,
        .wall_ms = wall_ms,
        .wall_owner = m,
    });
    for (size_t i = 0; i < m->options.warning_count; i++)
        LOG_WARNF(m->options.warnings[i]);
    return EXIT_CODE_OK;
}

/* 10,000 clients need as many descriptors: as far as the hard limit lets us. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t wanted = daemon_sizes_default().connections_max + FILES_BESIDE_CONNECTIONS;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        LOG_WARNF("few file descriptors: raise the hard limit (ulimit -Hn) for more clients",
                  log_number("limit", limit.rlim_cur));
}

static enum exit_code open_loop(struct main *m)
{
    struct daemon_sizes sizes = daemon_sizes_default();
    struct loop_options options = {
        .op_count_max = 4 * sizes.connections_max,
        .timer_count_max = 4 * sizes.connections_max + 2 * sizes.requests_max,
        .recv_buffer_count = RECV_BUFFERS,
        .recv_buffer_bytes = RECV_BUFFER_BYTES,
        .thread_counts = { [IO_LANE_WORK] = WORK_THREADS, [IO_LANE_READ] = READ_THREADS },
        .turn_end = on_turn_end,
        .owner = m,
    };
    char detail[NODE_DETAIL_BYTES] = "";
    enum loop_err err = loop_open(&m->loop, &options, detail, sizeof detail);
    if (err == LOOP_OK)
        return EXIT_CODE_OK;
    fprintf(stderr, "holdfastd: cannot start the event loop: %s: %s\n", loop_strerror(err), detail);
    return err == LOOP_E_UNSUPPORTED ? EXIT_CODE_KERNEL : EXIT_CODE_FAILURE;
}

/* A fault may come as soon as the store is opened; of a first start there is no directory yet, and
 * no damage either. */
static void guard_store(struct main *m)
{
    if (m->data_dir_fd >= 0)
        return;
    m->data_dir_fd = open(m->options.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->data_dir_fd < 0)
        return;
    struct store_guard_options options = { .dir_fd = m->data_dir_fd, .then = on_store_fault };
    if (!store_guard_install(&options))
        LOG_WARNF("a fault in the store will end this process without a mark");
}

static enum exit_code open_daemon(struct main *m)
{
    struct daemon_options options = {
        .io = loop_io(m->loop),
        .flags = &m->options,
        .sizes = daemon_sizes_default(),
        .on_fatal = on_fatal,
        .on_serving = on_serving,
        .owner = m,
    };
    char detail[DAEMON_DETAIL_BYTES] = "";
    guard_store(m);
    enum exit_code code = daemon_open(&m->daemon, &options, detail);
    if (code != EXIT_CODE_OK)
        fail(detail);
    guard_store(m);
    return code;
}

static enum exit_code open_signals(struct main *m)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return EXIT_CODE_FAILURE;
    m->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return m->signal_fd >= 0 ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
}

static enum exit_code start(struct main *m)
{
    /* Signals first: the job threads inherit the mask. */
    enum exit_code code = open_signals(m);
    if (code == EXIT_CODE_OK)
        code = open_loop(m);
    if (code == EXIT_CODE_OK)
        code = open_log(m);
    if (code != EXIT_CODE_OK)
        return code;
    raise_file_limit();
    code = open_daemon(m);
    if (code == EXIT_CODE_OK && loop_watch(m->loop, m->signal_fd, on_signal, m) < 0) {
        fail("cannot watch for signals");
        code = EXIT_CODE_FAILURE;
    }
    return code;
}

static enum exit_code serve(struct main *m)
{
    enum exit_code code = start(m);
    if (code != EXIT_CODE_OK)
        return code;
    if (loop_run(m->loop) != LOOP_OK) {
        fail("the event loop failed");
        return EXIT_CODE_FAILURE;
    }
    loop_close(m->loop);
    store_guard_uninstall();
    if (m->data_dir_fd >= 0)
        close(m->data_dir_fd);
    options_done(&m->options);
    return EXIT_CODE_OK;
}

int main(int argc, char **argv)
{
    static struct main m = { .data_dir_fd = -1 };
    char detail[OPTIONS_DETAIL_BYTES] = "";
    start_arguments = argv;
    if (!options_parse(&m.options, argc, argv, environ, detail)) {
        fail(detail);
        return EXIT_CODE_USAGE;
    }
    if (m.options.wants_help) {
        options_print_help(STDOUT_FILENO);
        return EXIT_CODE_OK;
    }
    if (m.options.wants_version) {
        printf("holdfastd %s\netcd API: %s\n", HOLDFAST_VERSION, DAEMON_API_VERSION);
        return EXIT_CODE_OK;
    }
    return (int)serve(&m);
}
