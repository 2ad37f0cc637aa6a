#include "server/flush_room.h"

bool flush_room_admits(uint32_t held, uint32_t fill, uint32_t progress)
{
    enum { FREE = 450, PACED = 400, ALL = 1000 }; /* permille of what is left; the rest is spare */
    bool holds_most = held > FLUSH_ROOM_WHOLE - FLUSH_ROOM_LEAST;
    uint64_t left = holds_most ? FLUSH_ROOM_LEAST : FLUSH_ROOM_WHOLE - held;
    return (uint64_t)fill * ALL <= left * (FREE + (uint64_t)progress * PACED / ALL);
}
