/* store_pace.h: how fast a flush may go.
 *
 * As fast as it can, it takes a core and the disk for a tenth of a second, and then rests for half
 * of one. But nobody waits for it, as long as it is done before memory is full again; and whoever
 * does wait, for the loop's core and the journal's disk, waits less beside one that goes slowly.
 * So the job rests a little after each few rows while it is ahead of the memory that fills
 * meanwhile. The loop says how full that is; a flush that nobody hurries takes some seconds.
 *
 * To be as slow at any time it has to know how much is left, of all that it does. So it counts
 * work, a unit of which is about a quarter of a microsecond of a core. How many steps to the disk
 * there will be nobody can say beforehand: as many as in the flush before.
 * Thread: `demand` is set by the loop and `done` read there; all functions are the job's.
 */
#ifndef STORAGE_STORE_PACE_H
#define STORAGE_STORE_PACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/io.h"

enum {
    STORE_PACE_HURRY = 1000,
    /* In units of work, as measured for puts of 256 bytes at random over a million keys. */
    STORE_PACE_KEY = 3,
    STORE_PACE_REV = 2,
    STORE_PACE_COUNT = 2,
    STORE_PACE_STEP = 800,
};

struct store_pace {
    _Atomic uint32_t demand; /* permille; at STORE_PACE_HURRY and above it never rests */
    _Atomic uint32_t done;   /* permille of its work, and 0 before it begins */
    uint64_t work;           /* done so far */
    uint64_t total;          /* as expected; 0: it never rests */
    uint64_t rest_at;        /* when so much is done */
    uint64_t steps;          /* to the disk, so far */
    uint64_t steps_before;   /* in the flush before */
};

/* All work but for the steps to the disk; 0: none, and it never rests. */
void store_pace_begin(struct store_pace *p, uint64_t row_work);
void store_pace_end(struct store_pace *p);

/* So much more is done: for one row. */
void store_pace_work(struct store_pace *p, struct io *io, uint32_t work);

/* One step to the disk is done. */
void store_pace_step(struct store_pace *p, struct io *io);

#endif
