#include "tools/bench_limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_echo.h"

enum { BLOCK_BYTES = 4096, FILE_BYTES = 16 << 20, FOLLOWERS = 2, PATH_BYTES_MAX = 4096 };

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "holdfast-bench: limit: %s: %s\n", what, strerror(errno));
    exit(BENCH_EXIT_FAILED);
}

/* ---- a node's disk ---- */

struct disk {
    int fd;
    void *block;
    uint64_t writes;
};

static struct disk disk_open(const char *dir, int node)
{
    char path[PATH_BYTES_MAX];
    struct disk d = { 0 };
    int size = snprintf(path, sizeof path, "%s/limit-%d-%d", dir, (int)getpid(), node);
    if (size < 0 || (size_t)size >= sizeof path) {
        errno = ENAMETOOLONG;
        die(dir);
    }
    if (posix_memalign(&d.block, BLOCK_BYTES, BLOCK_BYTES) != 0)
        die("memory");
    memset(d.block, 0x5a, BLOCK_BYTES);
    d.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
    if (d.fd < 0 || unlink(path) != 0)
        die(path);
    for (off_t at = 0; at < FILE_BYTES; at += BLOCK_BYTES) {
        if (pwrite(d.fd, d.block, BLOCK_BYTES, at) != BLOCK_BYTES)
            die(path);
    }
    if (fsync(d.fd) != 0)
        die(path);
    return d;
}

static void disk_write(struct disk *d)
{
    struct iovec part = { d->block, BLOCK_BYTES };
    off_t at = (off_t)(d->writes++ * BLOCK_BYTES % FILE_BYTES);
    if (pwritev2(d->fd, &part, 1, at, RWF_DSYNC) != BLOCK_BYTES)
        die("write");
}

static void disk_close(struct disk *d)
{
    close(d->fd);
    free(d->block);
}

/* ---- followers ---- */

struct follower {
    pthread_t thread;
    const char *dir; /* NULL: it only answers */
    int node;
    uint16_t port;
};

static int nodelay(int fd)
{
    int on = 1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void *follow(void *owner)
{
    const struct follower *f = owner;
    struct disk disk = { 0 };
    if (f->dir)
        disk = disk_open(f->dir, f->node);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(f->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || nodelay(fd) != 0)
        die("connect");
    char byte;
    while (read(fd, &byte, 1) == 1) {
        if (f->dir)
            disk_write(&disk);
        if (write(fd, &byte, 1) != 1)
            break;
    }
    close(fd);
    if (f->dir)
        disk_close(&disk);
    return NULL;
}

struct followers {
    struct follower items[FOLLOWERS];
    struct pollfd fds[FOLLOWERS];
    uint64_t answered[FOLLOWERS];
    nfds_t count;
};

static int listen_any(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof addr;
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        listen(fd, FOLLOWERS) != 0 || getsockname(fd, (struct sockaddr *)&addr, &size) != 0)
        die("listen");
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

static void followers_start(struct followers *f, nfds_t count, const char *dir)
{
    uint16_t port;
    int listener = listen_any(&port);
    *f = (struct followers){ .count = count };
    for (nfds_t i = 0; i < count; i++) {
        struct follower *item = &f->items[i];
        *item = (struct follower){ .dir = dir, .node = (int)i + 1, .port = port };
        if (pthread_create(&item->thread, NULL, follow, item) != 0)
            die("thread");
    }
    for (nfds_t i = 0; i < count; i++) {
        f->fds[i] = (struct pollfd){ .fd = accept(listener, NULL, NULL), .events = POLLIN };
        if (f->fds[i].fd < 0 || nodelay(f->fds[i].fd) != 0)
            die("accept");
    }
    close(listener);
}

static void followers_ask(const struct followers *f)
{
    for (nfds_t i = 0; i < f->count; i++) {
        if (write(f->fds[i].fd, "a", 1) != 1)
            die("send");
    }
}

/* Until one of them has answered `rounds` times. The slower one's answers are read when they
 * come. */
static void followers_await_one(struct followers *f, uint64_t rounds)
{
    for (;;) {
        for (nfds_t i = 0; i < f->count; i++) {
            if (f->answered[i] >= rounds)
                return;
        }
        if (poll(f->fds, f->count, -1) < 0)
            die("poll");
        for (nfds_t i = 0; i < f->count; i++) {
            char byte;
            if ((f->fds[i].revents & POLLIN) && read(f->fds[i].fd, &byte, 1) == 1)
                f->answered[i]++;
        }
    }
}

static void followers_stop(struct followers *f)
{
    for (nfds_t i = 0; i < f->count; i++)
        close(f->fds[i].fd);
    for (nfds_t i = 0; i < f->count; i++)
        pthread_join(f->items[i].thread, NULL);
}

/* ---- what is measured ---- */

static void measure_write(uint64_t rounds, const char *dir, struct bench_hist *times)
{
    struct disk disk = disk_open(dir, 0);
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start_ns = bench_now_ns();
        disk_write(&disk);
        bench_hist_add(times, bench_now_ns() - start_ns);
    }
    disk_close(&disk);
}

static void measure_round(uint64_t rounds, struct bench_hist *times)
{
    struct followers followers;
    followers_start(&followers, 1, NULL);
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start_ns = bench_now_ns();
        followers_ask(&followers);
        followers_await_one(&followers, i + 1);
        bench_hist_add(times, bench_now_ns() - start_ns);
    }
    followers_stop(&followers);
}

static void measure_total(uint64_t rounds, const char *dir, struct bench_hist *times)
{
    struct disk disk = disk_open(dir, 0);
    struct followers followers;
    followers_start(&followers, FOLLOWERS, dir);
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start_ns = bench_now_ns();
        followers_ask(&followers);
        disk_write(&disk);
        followers_await_one(&followers, i + 1);
        bench_hist_add(times, bench_now_ns() - start_ns);
    }
    followers_stop(&followers);
    disk_close(&disk);
}

void bench_limit_run(const struct bench_options *options, struct bench_limit *limit)
{
    signal(SIGPIPE, SIG_IGN); /* a follower may still answer when the leader is done */
    measure_write(options->rounds, options->dir, &limit->own_write);
    measure_round(options->rounds, &limit->round);
    measure_total(options->rounds, options->dir, &limit->total);
    char why[BENCH_ERROR_BYTES_MAX];
    if (!bench_echo_run(options, &limit->echo, why)) {
        fprintf(stderr, "holdfast-bench: limit: echo: %s\n", why);
        exit(BENCH_EXIT_FAILED);
    }
}
