/* store_pace.h: how fast a flush may go.
 *
 * As fast as it can, it takes a core and the disk for a tenth of a second, and then rests for half
 * of one. But nobody waits for it, as long as it is done before memory is full again; and whoever
 * does wait, for the loop's core and the journal's disk, waits less beside one that goes slowly.
 * So the job rests a little after each few rows while it is ahead of the memory that fills
 * meanwhile. The loop says how full that is; a flush that nobody hurries takes some seconds.
 * Thread: store_pace_demand is the loop's, or the job's; the others are the job's.
 */
#ifndef STORAGE_STORE_PACE_H
#define STORAGE_STORE_PACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/io.h"

enum { STORE_PACE_HURRY = 1000 };

struct store_pace {
    _Atomic uint32_t demand; /* permille; at STORE_PACE_HURRY and above it never rests */
    _Atomic uint32_t done;   /* permille of its rows, and 0 before it begins */
    uint64_t rows;           /* written so far */
    uint64_t row_count;      /* in all; 0: it never rests */
};

void store_pace_begin(struct store_pace *p, uint64_t row_count);
void store_pace_end(struct store_pace *p);

/* One row more is written. */
void store_pace_row(struct store_pace *p, struct io *io);

/* Rests, if there is time: between two steps to the disk. */
void store_pace_rest(struct store_pace *p, struct io *io);

#endif
