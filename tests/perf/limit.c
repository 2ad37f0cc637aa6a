/* limit: what a replicated put costs at least on this machine: on the leader one durable write,
 * and beside it one round trip and one durable write on the quicker of two followers.
 *
 *   limit DIRECTORY [ROUNDS]
 *
 * Three threads stand for three nodes, each with a pre-written file of its own, written past the
 * page cache with RWF_DSYNC, 4 KiB at a time; the round trips go over TCP on loopback. Prints the
 * median, and the parts' medians, in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, FILE_BYTES = 16 << 20, FOLLOWERS = 2, ROUNDS_DEFAULT = 2000 };

static const char *directory;

static void die(const char *what)
{
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void *block_new(void)
{
    void *block = NULL;
    if (posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES) != 0)
        die("memory");
    memset(block, 0x5a, BLOCK_BYTES);
    return block;
}

static int file_new(int node, void *block)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/limit-%d", directory, node);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0 || unlink(path) != 0)
        die(path);
    for (off_t at = 0; at < FILE_BYTES; at += BLOCK_BYTES)
        if (pwrite(fd, block, BLOCK_BYTES, at) != BLOCK_BYTES)
            die(path);
    if (fsync(fd) != 0)
        die(path);
    return fd;
}

static void write_durably(int fd, void *block, int round)
{
    struct iovec part = { block, BLOCK_BYTES };
    off_t at = (off_t)round * BLOCK_BYTES % FILE_BYTES;
    if (pwritev2(fd, &part, 1, at, RWF_DSYNC) != BLOCK_BYTES)
        die("write");
}

struct follower {
    int node;
    uint16_t port;
};

static void *follow(void *owner)
{
    struct follower *f = owner;
    void *block = block_new();
    int file = file_new(f->node, block);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(f->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die("connect");
    char byte;
    for (int round = 0; read(fd, &byte, 1) == 1; round++) {
        write_durably(file, block, round);
        if (write(fd, &byte, 1) != 1)
            break;
    }
    close(fd);
    close(file);
    free(block);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

/* Reads answers until one of the followers has answered every round up to this one. The slower
 * one's answers are read when they come. */
static void await_quorum(struct pollfd *fds, int *answered, int round)
{
    while (answered[0] <= round && answered[1] <= round) {
        if (poll(fds, FOLLOWERS, -1) < 0)
            die("poll");
        for (int i = 0; i < FOLLOWERS; i++) {
            char byte;
            if ((fds[i].revents & POLLIN) && read(fds[i].fd, &byte, 1) == 1)
                answered[i]++;
        }
    }
}

static int listen_any(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof addr;
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 2) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &size) != 0)
        die("listen");
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

static void lead(int listener, int rounds, double *total_us, double *write_us)
{
    void *block = block_new();
    int file = file_new(0, block);
    struct pollfd fds[FOLLOWERS];
    int answered[FOLLOWERS] = { 0 };
    for (int i = 0; i < FOLLOWERS; i++) {
        int on = 1;
        fds[i] = (struct pollfd){ .fd = accept(listener, NULL, NULL), .events = POLLIN };
        if (fds[i].fd < 0 || setsockopt(fds[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
            die("accept");
    }
    for (int round = 0; round < rounds; round++) {
        double start = now_us();
        for (int i = 0; i < FOLLOWERS; i++)
            if (write(fds[i].fd, "a", 1) != 1)
                die("send");
        write_durably(file, block, round);
        write_us[round] = now_us() - start;
        await_quorum(fds, answered, round);
        total_us[round] = now_us() - start;
    }
    for (int i = 0; i < FOLLOWERS; i++)
        close(fds[i].fd);
    close(file);
    free(block);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: limit DIRECTORY [ROUNDS]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* a follower may still answer when the leader is done */
    directory = argv[1];
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    double *total_us = calloc((size_t)rounds, sizeof *total_us);
    double *write_us = calloc((size_t)rounds, sizeof *write_us);
    uint16_t port;
    int listener = listen_any(&port);
    pthread_t threads[FOLLOWERS];
    struct follower followers[FOLLOWERS];
    for (int i = 0; i < FOLLOWERS; i++) {
        followers[i] = (struct follower){ i + 1, port };
        if (pthread_create(&threads[i], NULL, follow, &followers[i]) != 0)
            die("thread");
    }
    lead(listener, rounds, total_us, write_us);
    for (int i = 0; i < FOLLOWERS; i++)
        pthread_join(threads[i], NULL);
    printf("limit %.0f us (own write %.0f us)\n", median(total_us, rounds),
           median(write_us, rounds));
    close(listener);
    free(total_us);
    free(write_us);
    return 0;
}
