#include "server/flush_room.h"

#include <stdbool.h>

uint32_t flush_room_most(uint32_t held, uint32_t progress)
{
    enum { FREE = 450, PACED = 400, ALL = 1000 }; /* permille of what is left; the rest is spare */
    bool holds_most = held > FLUSH_ROOM_WHOLE - FLUSH_ROOM_LEAST;
    uint64_t left = holds_most ? FLUSH_ROOM_LEAST : FLUSH_ROOM_WHOLE - held;
    uint64_t most = left * (FREE + (uint64_t)progress * PACED / ALL) / ALL;
    return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

uint64_t flush_room_entries(uint32_t most, uint32_t fill, uint64_t applied, uint64_t came)
{
    if (fill == 0 || applied == 0)
        return UINT64_MAX;
    uint64_t expected = came * fill / applied;
    return expected < most ? (most - expected) * applied / fill : 0;
}
