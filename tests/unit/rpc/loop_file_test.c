/* Files: asynchronous writes that come out whole or fail, and the blocking helpers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/support/loop_fixture.h"

struct file_rig {
    struct loop *loop;
    struct io *io;
    char path[64];
    int dir_fd;
};

static struct file_rig rig_open(void)
{
    struct file_rig r = { .loop = loop_fixture_open(NULL), .path = "/tmp/holdfast-loop-XXXXXX" };
    r.io = loop_io(r.loop);
    cr_assert(mkdtemp(r.path));
    r.dir_fd = r.io->ops->dir_open(r.io, AT_FDCWD, r.path, 0);
    cr_assert_geq(r.dir_fd, 0);
    return r;
}

static void rig_close(struct file_rig *r, const char *const *names)
{
    for (; *names; names++)
        cr_expect_eq(r->io->ops->file_remove(r->io, r->dir_fd, *names), 0, "%s", *names);
    r->io->ops->file_close(r->io, r->dir_fd);
    loop_close(r->loop);
    cr_expect_eq(rmdir(r->path), 0);
}

static int32_t write_and_wait(struct file_rig *r, int fd, struct slice bytes, uint64_t offset,
                              enum io_write_flags flags)
{
    struct loop_fixture_done done = { .stop = r->loop };
    cr_assert_eq(
        r->io->ops->file_write(r->io, fd, bytes, offset, flags, loop_fixture_on_done, &done, NULL),
        0);
    cr_assert_eq(done.count, 0, "never inside the call");
    loop_fixture_run(r->loop);
    cr_assert_eq(done.count, 1);
    return done.result;
}

Test(loop_file, a_durable_write_reads_back)
{
    struct file_rig r = rig_open();
    int fd = r.io->ops->file_open(r.io, r.dir_fd, "a", IO_OPEN_CREATE);
    cr_assert_geq(fd, 0);
    enum { SIZE = 1 << 20 };
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE + 10);
    struct prng p = prng_seeded(1);
    for (size_t i = 0; i < SIZE; i++)
        out[i] = (uint8_t)prng_next(&p);
    cr_expect_eq(write_and_wait(&r, fd, slice_of(out, SIZE), 5, IO_WRITE_DURABLE), SIZE);
    cr_expect_eq(r.io->ops->file_size(r.io, fd), SIZE + 5);
    cr_expect_eq(r.io->ops->file_read(r.io, fd, in, SIZE + 10, 5), SIZE, "short at the end alone");
    cr_expect(memcmp(in, out, SIZE) == 0);
    cr_expect_eq(r.io->ops->file_read(r.io, fd, in, 10, SIZE + 5), 0);
    cr_expect_eq(write_and_wait(&r, fd, slice_of("", 0), 0, 0), 0);
    struct loop_fixture_done synced = { .stop = r.loop };
    cr_assert_eq(r.io->ops->file_sync(r.io, fd, loop_fixture_on_done, &synced, NULL), 0);
    loop_fixture_run(r.loop);
    cr_expect_eq(synced.result, 0);
    r.io->ops->file_close(r.io, fd);
    rig_close(&r, (const char *[]){ "a", NULL });
    free(out);
    free(in);
}

Test(loop_file, direct_writes_and_reads_go_by_the_block)
{
    struct file_rig r = rig_open();
    int fd = r.io->ops->file_open(r.io, r.dir_fd, "a", IO_OPEN_CREATE | IO_OPEN_DIRECT);
    if (fd == -EINVAL) {
        rig_close(&r, (const char *[]){ NULL });
        cr_skip_test("this file system has no O_DIRECT");
    }
    cr_assert_geq(fd, 0);
    uint8_t *block = NULL;
    cr_assert_eq(posix_memalign((void **)&block, IO_ALIGN_BYTES, 4 * IO_ALIGN_BYTES), 0);
    memset(block, 7, IO_ALIGN_BYTES);
    struct slice one = slice_of(block, IO_ALIGN_BYTES);
    cr_expect_eq(write_and_wait(&r, fd, one, IO_ALIGN_BYTES, IO_WRITE_DURABLE), IO_ALIGN_BYTES);
    cr_assert_eq(ftruncate(fd, 2 * IO_ALIGN_BYTES - 100), 0);
    cr_expect_eq(r.io->ops->file_read(r.io, fd, block, 4 * IO_ALIGN_BYTES, 0),
                 2 * IO_ALIGN_BYTES - 100, "an end off the alignment");
    cr_expect_eq(block[IO_ALIGN_BYTES - 1], 0);
    cr_expect_eq(block[IO_ALIGN_BYTES], 7);
    r.io->ops->file_close(r.io, fd);
    rig_close(&r, (const char *[]){ "a", NULL });
    free(block);
}

Test(loop_file, a_write_cut_short_goes_on_and_reports_what_stopped_it)
{
    struct file_rig r = rig_open();
    int fd = r.io->ops->file_open(r.io, r.dir_fd, "a", IO_OPEN_CREATE);
    cr_assert_geq(fd, 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit, all;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
    limit = (struct rlimit){ .rlim_cur = 4096, .rlim_max = all.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    static const uint8_t bytes[8192];
    int32_t result = write_and_wait(&r, fd, slice_of(bytes, sizeof bytes), 0, IO_WRITE_DURABLE);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    cr_expect_eq(result, -EFBIG);
    cr_expect_eq(loop_counters(r.loop)->transfers_short, 1);
    cr_expect_eq(r.io->ops->file_size(r.io, fd), 4096);
    r.io->ops->file_close(r.io, fd);
    rig_close(&r, (const char *[]){ "a", NULL });
}

/* ---- a pipe takes a page at a time: many short writes make one ---- */

enum { PIPED_BYTES = 100000 };

struct reader {
    struct io_job job;
    struct loop_fixture_done *done;
    int fd;
    uint8_t in[PIPED_BYTES];
    size_t received;
};

static void reader_run(struct io_job *job)
{
    struct reader *r = LIST_ENTRY(job, struct reader, job);
    ssize_t n = 1;
    while (n > 0 && r->received < PIPED_BYTES) {
        n = read(r->fd, r->in + r->received, PIPED_BYTES - r->received);
        r->received += n > 0 ? (size_t)n : 0;
    }
}

static void reader_done(struct io_job *job)
{
    struct reader *r = LIST_ENTRY(job, struct reader, job);
    loop_fixture_on_done(r->done, (int32_t)r->received);
}

Test(loop_file, short_writes_add_up, .timeout = 60)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_gt(fcntl(fds[1], F_SETPIPE_SZ, 4096), 0);
    static uint8_t out[PIPED_BYTES];
    for (size_t i = 0; i < PIPED_BYTES; i++)
        out[i] = (uint8_t)(i * 7 + i / 256);
    struct loop_fixture_done read_done = { .stop = l }, written = { 0 };
    static struct reader reader;
    reader.job = (struct io_job){ .run = reader_run, .done = reader_done };
    reader.done = &read_done;
    reader.fd = fds[0];
    io_offload(io, &reader.job);
    cr_assert_eq(io->ops->file_write(io, fds[1], slice_of(out, PIPED_BYTES), 0, 0,
                                     loop_fixture_on_done, &written, NULL),
                 0);
    loop_fixture_run(l);
    loop_fixture_settle(l);
    cr_expect_eq(read_done.result, PIPED_BYTES);
    cr_expect_eq(written.count, 1);
    cr_expect_eq(written.result, PIPED_BYTES);
    cr_expect(memcmp(out, reader.in, PIPED_BYTES) == 0);
    cr_expect_gt(loop_counters(l)->transfers_short, 0);
    loop_close(l);
}

/* ---- blocking helpers ---- */

Test(loop_file, names_are_made_moved_and_removed)
{
    struct file_rig r = rig_open();
    struct io *io = r.io;
    cr_expect_eq(io->ops->file_open(io, r.dir_fd, "none", 0), -ENOENT);
    int fd = io->ops->file_open(io, r.dir_fd, "a", IO_OPEN_CREATE);
    cr_assert_geq(fd, 0);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    cr_expect_eq(io->ops->file_write_now(io, fd, slice_of("12345", 5), 3), 0);
    cr_expect_eq(io->ops->file_sync_now(io, fd), 0);
    char in[8] = { 0 };
    cr_expect_eq(io->ops->file_read(io, fd, in, 5, 3), 5);
    cr_expect_str_eq(in, "12345");
    io->ops->file_close(io, fd);
    cr_expect_eq(io->ops->file_rename(io, r.dir_fd, "a", "b"), 0);
    cr_expect_eq(io->ops->file_rename(io, r.dir_fd, "a", "b"), -ENOENT);
    cr_expect_eq(io->ops->dir_sync(io, r.dir_fd), 0);
    cr_expect_eq(io->ops->file_remove(io, r.dir_fd, "a"), -ENOENT);
    cr_expect_eq(io->ops->dir_open(io, r.dir_fd, "sub", 0), -ENOENT);
    for (int again = 0; again < 2; again++) {
        int sub = io->ops->dir_open(io, r.dir_fd, "sub", IO_OPEN_CREATE);
        cr_assert_geq(sub, 0);
        io->ops->file_close(io, sub);
    }
    cr_expect_eq(io->ops->dir_open(io, r.dir_fd, "b", IO_OPEN_CREATE), -ENOTDIR);
    cr_assert_eq(unlinkat(r.dir_fd, "sub", AT_REMOVEDIR), 0);
    rig_close(&r, (const char *[]){ "b", NULL });
}

Test(loop_file, bad_descriptors_and_offsets_are_errors)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    char byte;
    struct slice huge = slice_of("", (size_t)INT32_MAX + 1);
    struct slice one = slice_of("x", 1);
    cr_expect_eq(io->ops->file_size(io, -1), -EBADF);
    cr_expect_eq(io->ops->file_read(io, -1, &byte, 1, 0), -EBADF);
    cr_expect_eq(io->ops->file_read(io, -1, &byte, 1, UINT64_MAX), -EINVAL);
    cr_expect_eq(io->ops->file_write_now(io, -1, one, 0), -EBADF);
    cr_expect_eq(io->ops->file_write_now(io, -1, one, UINT64_MAX), -EINVAL);
    cr_expect_eq(io->ops->file_sync_now(io, -1), -EBADF);
    cr_expect_eq(io->ops->file_write(io, 0, huge, 0, 0, loop_fixture_on_done, NULL, NULL), -EINVAL);
    cr_expect_eq(io->ops->file_write(io, 0, one, INT64_MAX, 0, loop_fixture_on_done, NULL, NULL),
                 -EINVAL);
    struct loop_fixture_done done = { .stop = l };
    cr_assert_eq(io->ops->file_write(io, -1, one, 0, 0, loop_fixture_on_done, &done, NULL), 0);
    loop_fixture_run(l);
    cr_expect_eq(done.result, -EBADF);
    loop_close(l);
}
