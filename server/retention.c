#include "server/retention.h"

#include <string.h>

#include "base/assert.h"

void retention_init(struct retention *r, uint64_t entries_max, uint64_t bytes_max)
{
    ASSERT(entries_max > 0);
    ASSERT(bytes_max > 0);
    *r = (struct retention){ .entries_max = entries_max, .bytes_max = bytes_max };
}

void retention_on_flush(struct retention *r, uint64_t index, uint64_t bytes)
{
    if (r->mark_count == RETENTION_MARKS_MAX) {
        r->mark_count--;
        memmove(&r->marks[0], &r->marks[1], r->mark_count * sizeof r->marks[0]);
    }
    r->bytes += bytes;
    r->marks[r->mark_count].index = index;
    r->marks[r->mark_count].bytes_before = r->bytes;
    r->mark_count++;
}

void retention_reset(struct retention *r)
{
    r->mark_count = 0;
}

uint64_t retention_floor(const struct retention *r, uint64_t applied)
{
    uint64_t floor = applied > r->entries_max ? applied - r->entries_max + 1 : 1;
    /* The newest mark behind which there is too much. */
    for (uint32_t i = r->mark_count; i-- > 0;) {
        if (r->bytes - r->marks[i].bytes_before <= r->bytes_max)
            continue;
        uint64_t after = r->marks[i].index + 1;
        return after > floor ? after : floor;
    }
    return floor;
}
