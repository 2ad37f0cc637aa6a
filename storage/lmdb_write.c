#include "storage/lmdb_write.h"

#include <errno.h>
#include <fcntl.h>

#include "base/assert.h"

enum { STEP_BYTES = 256 << 10 };

/* LMDB writes pages in the order of their numbers. */
static _Thread_local struct {
    bool are_on;
    off_t from; /* of what is not waited for yet */
    size_t bytes;
    void (*rest)(void *owner);
    void *owner;
} steps;

void lmdb_write_steps_begin(void (*rest)(void *owner), void *owner)
{
    ASSERT(!steps.are_on);
    steps.are_on = true;
    steps.bytes = 0;
    steps.rest = rest;
    steps.owner = owner;
}

void lmdb_write_steps_end(void)
{
    ASSERT(steps.are_on);
    steps.are_on = false;
}

bool lmdb_write_in_steps(void)
{
    return steps.are_on;
}

bool lmdb_write_step(int fd, off_t offset, size_t size)
{
    if (steps.bytes == 0 || offset < steps.from)
        steps.from = offset;
    steps.bytes += size;
    if (steps.bytes < STEP_BYTES)
        return true;
    steps.bytes = 0;
    unsigned flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(fd, steps.from, offset + (off_t)size - steps.from, flags) == 0) {
        steps.rest(steps.owner);
        return true;
    }
    /* The kernel tells of a failed write once for each descriptor, so the sync that follows would
     * not. Any other error says that this file cannot be written in steps. */
    return errno != EIO && errno != ENOSPC && errno != EDQUOT;
}
