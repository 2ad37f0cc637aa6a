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

#include <stdint.h>

enum {
    FLUSH_ROOM_WHOLE = 3000, /* all memory */
    /* For what comes beside a flush that holds more than the rest of it, as after a replay: what
     * may be allocated at all is bounded elsewhere (raft_log_room, admits_proposals). */
    FLUSH_ROOM_LEAST = 500,
};

/* The most that may have come since: `held` is what the flush took along, `progress` how far it is;
 * a little above 1000 where that is estimated. Never 0. */
uint32_t flush_room_most(uint32_t held, uint32_t progress);

/* Entries that may be added so that no more than `most` comes: `applied` entries are what filled
 * memory so far, `came` those and what is on its way to be applied, which will weigh as much.
 * Without the latter writes would stop and go, each time for as long as a flush takes to make room
 * for all that is on its way. */
uint64_t flush_room_entries(uint32_t most, uint32_t fill, uint64_t applied, uint64_t came);

#endif
