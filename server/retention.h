/* retention.h: how much of the log is kept for members that are away: a number of entries, and of
 * bytes as far as they were flushed by this process. Who needs more gets a snapshot.
 *
 * Pure. Owner: the node, in place; nothing to free. Thread: the loop's.
 * Bounds: RETENTION_MARKS_MAX flushes are remembered; older ones count as one.
 */
#ifndef SERVER_RETENTION_H
#define SERVER_RETENTION_H

#include <stdint.h>

enum { RETENTION_MARKS_MAX = 256 };

struct retention {
    uint64_t entries_max; /* > 0 */
    uint64_t bytes_max;   /* > 0 */
    struct {
        uint64_t index;
        uint64_t bytes_before;    /* of all entries flushed up to the index */
    } marks[RETENTION_MARKS_MAX]; /* ascending */
    uint32_t mark_count;
    uint64_t bytes; /* of all that was flushed */
};

void retention_init(struct retention *r, uint64_t entries_max, uint64_t bytes_max);

/* Entries up to the index, of so many bytes, are on their way into the log store. */
void retention_on_flush(struct retention *r, uint64_t index, uint64_t bytes);

/* A snapshot has taken the place of the log. */
void retention_reset(struct retention *r);

/* Entries below it are kept for nobody, with `applied` the newest. */
uint64_t retention_floor(const struct retention *r, uint64_t applied);

#endif
