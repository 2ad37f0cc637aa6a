/* inline_io.h: a struct io for tests of jobs: offload runs the job and then its completion at
 * once, inside the call; time stands still; everything else is refused with -ENOSYS. */
#ifndef TESTS_SUPPORT_INLINE_IO_H
#define TESTS_SUPPORT_INLINE_IO_H

#include "base/io.h"

struct inline_io {
    struct io io;
    uint64_t now_us; /* the test's to move */
};

/* In place. */
void inline_io_init(struct inline_io *io);

#endif
