/* pb_arena.h: protobuf-c unpacks into an arena: no free of single messages, and a cap.
 *
 * Owner:    the arena's; an unpacked message lives until arena_reset or arena_done, and nobody
 *           calls the message's free_unpacked.
 * Bounds:   the arena's bytes_max: bytes that would unpack to more do not unpack (I9). Messages
 *           inside messages: PB_ARENA_DEPTH_MAX; every one costs stack.
 * Thread:   the arena's.
 */
#ifndef PROTO_PB_ARENA_H
#define PROTO_PB_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

enum { PB_ARENA_DEPTH_MAX = 1000 }; /* a transaction in a transaction is two */

/* A value that borrows `a`: pass its address to an unpack function. */
ProtobufCAllocator pb_arena_allocator(struct arena *a);

/* NULL: malformed, too deep, or larger than the arena allows. The caller casts to the message's
 * type. */
ProtobufCMessage *pb_arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
                                  struct slice bytes);

/* Packs into the arena. False when it is full, and then *ret_bytes is untouched. */
bool pb_arena_pack(struct arena *a, const ProtobufCMessage *message, struct slice *ret_bytes);

#endif
