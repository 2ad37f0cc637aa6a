#include "tools/demo_node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc.pb-c.h"
#include "tools/client.h"

enum {
    /* Below the kernel's range for outgoing connections: a port must still be free when a node
     * comes back to it. */
    PORT_MIN = 10000,
    PORT_MAX = 32000,
    PORT_STEP = 7,
    STOP_MS = 10000,
    POLL_MS = 5,
    LOG_TAIL_BYTES = 2048,
    STATUS_TIMEOUT_MS = 500,
};

static const uint16_t fixed_client_ports[DEMO_NODE_COUNT] = { 2379, 22379, 32379 };

/* ---- ports ---- */

static bool port_is_free(uint16_t port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_port = htons(port),
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    int one = 1;
    IGNORE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0, "bind will tell");
    bool is_free = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_free;
}

static bool port_is_ours(const struct demo_nodes *nodes, uint16_t port)
{
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        if (nodes->items[i].client_port == port || nodes->items[i].peer_port == port)
            return true;
    }
    return false;
}

/* The first free port from `port` on, 0 when there is none. */
static uint16_t port_take(const struct demo_nodes *nodes, uint32_t port)
{
    for (; port <= UINT16_MAX; port++) {
        if (!port_is_ours(nodes, (uint16_t)port) && port_is_free((uint16_t)port))
            return (uint16_t)port;
    }
    return 0;
}

static bool ports_choose(struct demo_nodes *nodes, bool fixed_ports)
{
    /* Two demos at once begin in different places. */
    uint32_t from = PORT_MIN + (uint32_t)getpid() * PORT_STEP % (uint32_t)(PORT_MAX - PORT_MIN);
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        struct demo_node *node = &nodes->items[i];
        node->client_port = port_take(nodes, fixed_ports ? fixed_client_ports[i] : from);
        node->peer_port =
            port_take(nodes, fixed_ports ? fixed_client_ports[i] + 1u : node->client_port + 1u);
        if (node->client_port == 0 || node->peer_port == 0) {
            fputs("demo: no free ports on 127.0.0.1\n", stderr);
            return false;
        }
    }
    return true;
}

/* ---- names and paths ---- */

static bool text_fits(int made, size_t room)
{
    return made >= 0 && (size_t)made < room;
}

bool demo_nodes_init(struct demo_nodes *nodes, const char *server, const char *directory,
                     bool fixed_ports)
{
    size_t at = 0;
    *nodes = (struct demo_nodes){ .server = server, .directory = directory };
    if (access(server, X_OK) != 0) {
        fprintf(stderr, "demo: cannot run %s: %s\n", server, strerror(errno));
        return false;
    }
    if (!ports_choose(nodes, fixed_ports))
        return false;
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        struct demo_node *node = &nodes->items[i];
        bool fits =
            text_fits(snprintf(node->name, sizeof node->name, "n%zu", i + 1), sizeof node->name) &&
            text_fits(
                snprintf(node->endpoint, sizeof node->endpoint, "127.0.0.1:%u", node->client_port),
                sizeof node->endpoint) &&
            text_fits(
                snprintf(node->data_dir, sizeof node->data_dir, "%s/%s", directory, node->name),
                sizeof node->data_dir) &&
            text_fits(
                snprintf(node->log_path, sizeof node->log_path, "%s/%s.log", directory, node->name),
                sizeof node->log_path);
        int made =
            snprintf(nodes->initial + at, sizeof nodes->initial - at, "%s%s=http://127.0.0.1:%u",
                     i == 0 ? "" : ",", node->name, node->peer_port);
        if (!fits || !text_fits(made, sizeof nodes->initial - at)) {
            fprintf(stderr, "demo: the directory's name is too long: %s\n", directory);
            return false;
        }
        at += (size_t)made;
    }
    return true;
}

/* ---- processes ---- */

/* In the child: never returns. */
static void node_exec(const struct demo_nodes *nodes, const struct demo_node *node, pid_t parent)
{
    char client_url[64];
    char peer_url[64];
    int log = open(node->log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    /* Its own group: Ctrl-C is for this program, which then stops the nodes in good order. */
    bool ok = text_fits(snprintf(client_url, sizeof client_url, "http://%s", node->endpoint),
                        sizeof client_url) &&
              text_fits(snprintf(peer_url, sizeof peer_url, "http://127.0.0.1:%u", node->peer_port),
                        sizeof peer_url) &&
              log >= 0 && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 &&
              setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!ok || getppid() != parent)
        _exit(127);
    execl(nodes->server, nodes->server, "--name", node->name, "--data-dir", node->data_dir,
          "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
          "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
          "--initial-cluster", nodes->initial, "--initial-cluster-state", "new", (char *)NULL);
    _exit(127);
}

bool demo_node_start(struct demo_nodes *nodes, struct demo_node *node)
{
    ASSERT(node->pid == 0);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        node_exec(nodes, node, parent);
    if (pid < 0) {
        fprintf(stderr, "demo: cannot start %s: %s\n", node->name, strerror(errno));
        return false;
    }
    node->pid = pid;
    return true;
}

static bool process_has_ended(pid_t pid, int *ret_status)
{
    return waitpid(pid, ret_status, WNOHANG) == pid;
}

void demo_node_kill(struct demo_node *node)
{
    if (node->pid == 0)
        return;
    kill(node->pid, SIGKILL);
    IGNORE(waitpid(node->pid, NULL, 0) < 0, "gone either way");
    node->pid = 0;
}

void demo_nodes_stop(struct demo_nodes *nodes)
{
    uint64_t deadline_ms = client_now_ms() + STOP_MS;
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        if (nodes->items[i].pid != 0)
            kill(nodes->items[i].pid, SIGTERM);
    }
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        struct demo_node *node = &nodes->items[i];
        int status = 0;
        while (node->pid != 0 && client_now_ms() < deadline_ms) {
            if (process_has_ended(node->pid, &status))
                node->pid = 0;
            else
                IGNORE(poll(NULL, 0, POLL_MS) < 0, "an interrupted pause is a shorter pause");
        }
        demo_node_kill(node);
    }
}

static void log_tail_print(const struct demo_node *node)
{
    char tail[LOG_TAIL_BYTES + 1];
    FILE *log = fopen(node->log_path, "r");
    if (log == NULL)
        return;
    if (fseek(log, -LOG_TAIL_BYTES, SEEK_END) != 0)
        rewind(log);
    size_t size = fread(tail, 1, LOG_TAIL_BYTES, log);
    tail[size] = '\0';
    fclose(log);
    fprintf(stderr, "---- the end of %s ----\n%s\n", node->log_path, tail);
}

bool demo_node_is_alive(struct demo_node *node)
{
    int status = 0;
    if (node->pid == 0)
        return false;
    if (!process_has_ended(node->pid, &status))
        return true;
    node->pid = 0;
    if (WIFSIGNALED(status))
        fprintf(stderr, "demo: %s was ended by signal %d\n", node->name, WTERMSIG(status));
    else
        fprintf(stderr, "demo: %s ended by itself with code %d\n", node->name, WEXITSTATUS(status));
    log_tail_print(node);
    return false;
}

/* ---- what nodes say ---- */

bool demo_node_status(const struct demo_node *node, uint32_t timeout_ms,
                      struct demo_status *ret_status)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct client *client = NULL;
    struct client_error error;
    const char *endpoint = node->endpoint;
    const struct client_options options = { .endpoints = &endpoint,
                                            .endpoint_count = 1,
                                            .dial_timeout_ms = timeout_ms,
                                            .call_timeout_ms = timeout_ms,
                                            .receive_bytes_max = 1 << 20 };
    if (!client_open(&client, &options, &error))
        return false;
    bool ok = client_call(client, &client_maintenance_status, &request.base, &response, &error);
    client_close(client);
    if (!ok)
        return false;
    const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)response;
    ok = status->header != NULL;
    if (ok)
        *ret_status = (struct demo_status){ .member_id = status->header->member_id,
                                            .leader_id = status->leader,
                                            .term = status->raftterm,
                                            .revision = status->header->revision };
    protobuf_c_message_free_unpacked(response, NULL);
    return ok;
}

struct demo_node *demo_nodes_leader(struct demo_nodes *nodes, uint64_t *ret_term)
{
    struct demo_node *leader = NULL;
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        struct demo_node *node = &nodes->items[i];
        struct demo_status status;
        if (node->pid == 0 || !demo_node_status(node, STATUS_TIMEOUT_MS, &status))
            continue;
        if (status.leader_id == status.member_id && (leader == NULL || status.term > *ret_term)) {
            leader = node;
            *ret_term = status.term;
        }
    }
    return leader;
}
