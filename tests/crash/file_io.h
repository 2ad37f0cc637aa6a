/* file_io.h: a struct io over plain files, through libc, so that record.h sees every call.
 *
 * Completions and jobs wait for file_io_run; time stands still but for file_io_pass.
 * Network calls return -ENOSYS. Owner: the caller, in place. Thread: one.
 * Bounds: FILE_IO_WAITING_MAX completions and jobs, then -EAGAIN or an assert.
 */
#ifndef TESTS_CRASH_FILE_IO_H
#define TESTS_CRASH_FILE_IO_H

#include "base/io.h"
#include "base/timer.h"

enum { FILE_IO_WAITING_MAX = 16, FILE_IO_NAMES_MAX = 32, FILE_IO_NAME_BYTES_MAX = 32 };

struct file_io_waiting {
    io_done_fn *fn; /* NULL: a job */
    void *owner;
    int32_t result;
    struct io_job *job;
};

struct file_io {
    struct io io;
    uint64_t now_ms;
    struct timer_heap timers;
    struct file_io_waiting waiting[FILE_IO_WAITING_MAX];
    size_t waiting_count;
    /* What is in listed_fd, until something changes there: the journal tries a thousand names. */
    int listed_fd; /* -1: nothing is known */
    char names[FILE_IO_NAMES_MAX][FILE_IO_NAME_BYTES_MAX];
    size_t name_count;
};

void file_io_init(struct file_io *f);
void file_io_done(struct file_io *f);

/* Until nothing waits. */
void file_io_run(struct file_io *f);

/* Lets time pass; timers that are due run. */
void file_io_pass(struct file_io *f, uint64_t ms);

#endif
