/* record.h: records what this process does to the files below one directory, LMDB included.
 *
 * The executable defines open, pwrite, fdatasync and the like itself; being exported (-rdynamic)
 * these stand in front of libc's for the libraries too. Each makes its system call and, while a
 * recording runs, notes what it did. Files are known by inode, descriptors not at all.
 *
 * LMDB 0.9.24 in its default mode: dirty pages by pwrite, and runs of them by lseek and writev;
 * then fdatasync; then 120 bytes of a meta page by pwrite to a second descriptor that has
 * O_DSYNC. A new file begins with two meta pages that nothing syncs before the first commit does.
 *
 * Thread: one records at a time; other threads must not touch the files meanwhile.
 */
#ifndef TESTS_CRASH_RECORD_H
#define TESTS_CRASH_RECORD_H

#include "tests/crash/disk.h"

struct record_trace {
    struct disk_op *ops;
    size_t count;
    size_t capacity;
};

void record_trace_done(struct record_trace *trace);

/* Below the files that `disk` stands for; it learns of new ones, but does not follow: that is
 * the trace's to replay, on a copy. */
void record_begin(struct disk *disk, struct record_trace *trace);
void record_end(void);
void record_mark(uint64_t mark);

/* Faults, to see them found: the recording leaves out what the program did do. */
enum record_drop {
    RECORD_DROP_SYNC = 1,    /* of files */
    RECORD_DROP_DURABLE = 2, /* the durability of durable writes */
    RECORD_DROP_NAMES = 4,   /* syncs of directories */
};
void record_drop(enum record_drop what); /* 0: nothing any more */

#endif
