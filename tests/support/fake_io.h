/* fake_io.h: struct io over files in memory, in virtual time, one thread.
 *
 * Nothing happens by itself: an asynchronous write or sync completes, and a job runs, when the
 * test steps; which of those that wait comes next is the seed's choice. Time passes when the
 * test says. Network calls return -ENOSYS.
 * A crash keeps what the disk keeps (fake_disk.h) and leaves the io dead: whatever is in flight
 * completes with -EIO and every new call fails, so that the objects under test can be closed;
 * then fake_io_reboot starts the next life.
 *
 * Owner:  fake_io_new .. fake_io_free. Bounds: FAKE_IO_OPS_MAX in flight, then -EAGAIN.
 */
#ifndef TESTS_SUPPORT_FAKE_IO_H
#define TESTS_SUPPORT_FAKE_IO_H

#include "base/io.h"
#include "tests/support/fake_disk.h"

enum { FAKE_IO_OPS_MAX = 64, FAKE_IO_TIMERS_MAX = 1024 };

enum fake_io_kind { FAKE_IO_READ, FAKE_IO_WRITE, FAKE_IO_SYNC, FAKE_IO_NAME, FAKE_IO_KINDS };

struct fake_io;

struct fake_io *fake_io_new(uint64_t seed);
void fake_io_free(struct fake_io *f); /* nothing is in flight */

struct io *fake_io_io(struct fake_io *f);
struct fake_disk *fake_io_disk(struct fake_io *f);
struct prng *fake_io_chance(struct fake_io *f);

/* The root directory, a new descriptor. */
int fake_io_root(struct fake_io *f);

/* One completion, one job's run or one job's done; false when nothing waits. */
bool fake_io_step(struct fake_io *f);
void fake_io_run(struct fake_io *f); /* steps until nothing waits */
size_t fake_io_waiting(const struct fake_io *f);

/* Time passes and timers run; completions wait for steps. */
void fake_io_advance(struct fake_io *f, uint64_t ms);

/* The nth call of this kind from now on (1: the next) fails with -error: an asynchronous one when
 * it completes. A failed write leaves any subset of its sectors. 0: none. */
void fake_io_fail(struct fake_io *f, enum fake_io_kind kind, uint64_t nth, int error);
uint64_t fake_io_count(const struct fake_io *f, enum fake_io_kind kind); /* calls so far */

/* The next n calls that would begin an operation return -EAGAIN. */
void fake_io_be_busy(struct fake_io *f, uint64_t n);

void fake_io_crash(struct fake_io *f, enum fake_crash kind);
/* Crashes in the middle of the nth disk call or step from now on; 0: not. */
void fake_io_crash_at(struct fake_io *f, uint64_t nth, enum fake_crash kind);
bool fake_io_is_dead(const struct fake_io *f);
void fake_io_reboot(struct fake_io *f); /* nothing is in flight */

#endif
