/* pb_arena.h: protobuf-c unpacks into an arena: no free of single messages, and a cap.
 *
 * Owner:    the arena's; an unpacked message lives until arena_reset or arena_done, and nobody
 *           calls the message's free_unpacked.
 * Bounds:   the arena's bytes_max: bytes that would unpack to more do not unpack (I9). Messages in
 *           messages up to a depth: protobuf-c calls itself for each, about a KiB of stack.
 * Thread:   the arena's.
 */
#ifndef PROTO_PB_ARENA_H
#define PROTO_PB_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

enum {
    PB_DEPTH_MAX = 300, /* of what a client or a member sends */
    /* Of what is in the log: a client's message with a command around it. It passed the limit
     * above on its way in, and an entry that does not unpack would stop every member. */
    PB_LOG_DEPTH_MAX = PB_DEPTH_MAX + 8,
};

/* A value that borrows `a`: pass its address to an unpack function. */
ProtobufCAllocator pb_arena_allocator(struct arena *a);

/* Whether no message in `bytes` stands deeper than depth_max; the outermost is at 1. False also
 * for some of what does not unpack anyway. Costs next to nothing for types without submessages. */
bool pb_depth_is_within(const ProtobufCMessageDescriptor *descriptor, struct slice bytes,
                        uint32_t depth_max);

/* NULL: malformed, deeper than PB_DEPTH_MAX, or larger than the arena allows. The caller casts to
 * the message's type. */
ProtobufCMessage *pb_arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
                                  struct slice bytes);

/* The same with another depth, up to PB_LOG_DEPTH_MAX. */
ProtobufCMessage *pb_arena_unpack_within(struct arena *a,
                                         const ProtobufCMessageDescriptor *descriptor,
                                         struct slice bytes, uint32_t depth_max);

/* Packs into the arena. False when it is full, and then *ret_bytes is untouched. */
bool pb_arena_pack(struct arena *a, const ProtobufCMessage *message, struct slice *ret_bytes);

#endif
