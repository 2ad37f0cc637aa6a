/* holdfast-demo: `make demo` and `make cluster`. */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "tools/client.h"
#include "tools/demo.h"

enum {
    POLL_MS = 5,
    SIGNAL_MS = 1000,
    READY_MS = 60000,
    STATUS_TIMEOUT_MS = 1000,
    TREE_FDS = 16,
    EXIT_USAGE = 2
};

static volatile sig_atomic_t interrupted;
static uint64_t start_ms;

static void on_signal(int signal_number)
{
    if (signal_number != SIGCHLD)
        interrupted = signal_number;
}

bool demo_is_interrupted(void)
{
    return interrupted != 0;
}

void demo_poll_pause(void)
{
    IGNORE(poll(NULL, 0, POLL_MS) < 0, "an interrupted pause is a shorter pause");
}

void demo_wait_signal(void)
{
    IGNORE(poll(NULL, 0, SIGNAL_MS) < 0, "a signal is what ends it early");
}

void demo_say(enum demo_mood mood, const char *format, ...)
{
    static const char *const colours[] = { [DEMO_PLAIN] = "",
                                           [DEMO_BOLD] = "\033[1m",
                                           [DEMO_GOOD] = "\033[1;32m",
                                           [DEMO_BAD] = "\033[1;31m" };
    bool coloured = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    uint64_t ms = client_now_ms() - start_ms;
    va_list arguments;
    va_start(arguments, format);
    printf("%4u.%03u  %s", (unsigned)(ms / 1000), (unsigned)(ms % 1000),
           coloured ? colours[mood] : "");
    vprintf(format, arguments);
    printf("%s\n", coloured && mood != DEMO_PLAIN ? "\033[0m" : "");
    va_end(arguments);
    fflush(stdout);
}

struct demo_node *demo_wait_ready(struct demo_nodes *nodes, uint64_t *ret_term)
{
    uint64_t deadline_ms = client_now_ms() + READY_MS;
    for (size_t i = 0; i < DEMO_NODE_COUNT;) {
        struct demo_node *node = &nodes->items[i];
        struct demo_status status;
        if (demo_is_interrupted() || !demo_node_is_alive(node))
            return NULL;
        if (demo_node_status(node, STATUS_TIMEOUT_MS, &status) && status.leader_id != 0) {
            i++;
            continue;
        }
        if (client_now_ms() >= deadline_ms) {
            fprintf(stderr, "demo: %s is not ready after %d s; its log is %s\n", node->name,
                    READY_MS / 1000, node->log_path);
            return NULL;
        }
        demo_poll_pause();
    }
    struct demo_node *leader = NULL;
    while (leader == NULL && client_now_ms() < deadline_ms && !demo_is_interrupted()) {
        leader = demo_nodes_leader(nodes, ret_term);
        if (leader == NULL)
            demo_poll_pause();
    }
    return leader;
}

/* ---- directories ---- */

static int entry_remove(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    return remove(path);
}

static bool directory_make(const char *wanted, char *ret_path, size_t size)
{
    const char *temporary = getenv("TMPDIR");
    int made = wanted != NULL
                   ? snprintf(ret_path, size, "%s", wanted)
                   : snprintf(ret_path, size, "%s/holdfast-XXXXXX",
                              temporary != NULL && *temporary != '\0' ? temporary : "/tmp");
    if (made < 0 || (size_t)made >= size) {
        fputs("demo: the directory's name is too long\n", stderr);
        return false;
    }
    bool ok =
        wanted != NULL ? mkdir(ret_path, 0700) == 0 || errno == EEXIST : mkdtemp(ret_path) != NULL;
    if (!ok)
        fprintf(stderr, "demo: cannot make %s: %s\n", ret_path, strerror(errno));
    return ok;
}

/* ---- the command line ---- */

struct demo_options {
    bool cluster;
    const char *server;
    const char *data_dir; /* NULL: a temporary one, removed at the end */
};

static const char usage[] =
    "usage: holdfast-demo [--cluster] [--server PROGRAM] [--data-dir DIR]\n"
    "\n"
    "Without --cluster: starts three nodes on loopback, writes to them, kills the leader and\n"
    "then a follower, restarts both, and checks that nothing acknowledged is lost.\n"
    "With --cluster: keeps the three nodes in the foreground until Ctrl-C.\n"
    "\n"
    "  --server PROGRAM  default: holdfastd beside this program\n"
    "  --data-dir DIR    default: a temporary directory, removed at the end\n";

/* 0: go on; else the exit code + 1. */
static int options_parse(int argc, char **argv, struct demo_options *options)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cluster") == 0) {
            options->cluster = true;
        } else if (strcmp(argv[i], "--server") == 0 && i + 1 < argc) {
            options->server = argv[++i];
        } else if (strcmp(argv[i], "--data-dir") == 0 && i + 1 < argc) {
            options->data_dir = argv[++i];
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return EXIT_SUCCESS + 1;
        } else {
            fprintf(stderr, "demo: do not know %s, or it lacks its value\n%s", argv[i], usage);
            return EXIT_USAGE + 1;
        }
    }
    return 0;
}

/* holdfastd in the directory of this program. */
static bool server_find(char *ret_path, size_t size)
{
    char self[PATH_MAX];
    ssize_t got = readlink("/proc/self/exe", self, sizeof self - 1);
    if (got <= 0)
        return false;
    self[got] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    int made = snprintf(ret_path, size, "%s/holdfastd", self);
    return made > 0 && (size_t)made < size;
}

int main(int argc, char **argv)
{
    struct demo_options options = { 0 };
    static struct demo_nodes nodes;
    char server[PATH_MAX];
    char directory[PATH_MAX];
    start_ms = client_now_ms();
    int done = options_parse(argc, argv, &options);
    if (done != 0)
        return done - 1;
    if (options.server == NULL && !server_find(server, sizeof server)) {
        fputs("demo: cannot find holdfastd; say where with --server\n", stderr);
        return EXIT_FAILURE;
    }
    const struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    if (!directory_make(options.data_dir, directory, sizeof directory))
        return EXIT_FAILURE;
    int code = EXIT_FAILURE;
    if (demo_nodes_init(&nodes, options.server != NULL ? options.server : server, directory,
                        options.cluster))
        code = options.cluster ? demo_cluster_run(&nodes) : demo_story_run(&nodes);
    demo_nodes_stop(&nodes);
    /* What failed is kept to be looked at. */
    if (options.data_dir == NULL && (code == EXIT_SUCCESS || demo_is_interrupted()))
        nftw(directory, entry_remove, TREE_FDS, FTW_DEPTH | FTW_PHYS);
    else if (options.data_dir == NULL && rmdir(directory) != 0)
        fprintf(stderr, "demo: data and logs are in %s\n", directory);
    return code;
}
