/* flush_room.h: how full memory may get while a flush empties another part of it.
 *
 * A leader that fills memory faster than it is flushed would stop where memory ends, and stand
 * still until the flush is done. So from nearly half of what the flush does not hold itself on,
 * memory fills as the flush goes on. The faster it fills, the more the next flush has, and the less
 * each of its rows costs.
 *
 * Pure. Thread: any. All numbers are in permille of what a flush waits for, or of a flush.
 */
#ifndef SERVER_FLUSH_ROOM_H
#define SERVER_FLUSH_ROOM_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FLUSH_ROOM_WHOLE = 3000, /* all memory */
    /* For what comes beside a flush that holds more than the rest of it, as after a replay: what
     * may be allocated at all is bounded elsewhere (raft_log_room, admits_proposals). */
    FLUSH_ROOM_LEAST = 500,
};

/* Whether more may come: `held` is what the flush took along, `fill` what has come since,
 * `progress` how far the flush is; a little above 1000 where it is estimated. */
bool flush_room_admits(uint32_t held, uint32_t fill, uint32_t progress);

#endif
