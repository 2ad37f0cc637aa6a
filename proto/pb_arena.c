#include "proto/pb_arena.h"

static void *pb_alloc(void *data, size_t size)
{
    return arena_alloc(data, size);
}

/* The arena frees all at once. */
static void pb_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

ProtobufCAllocator pb_arena_allocator(struct arena *a)
{
    return (ProtobufCAllocator){ .alloc = pb_alloc, .free = pb_free, .allocator_data = a };
}

ProtobufCMessage *pb_arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
                                  struct slice bytes)
{
    ProtobufCAllocator allocator = pb_arena_allocator(a);
    return protobuf_c_message_unpack(descriptor, &allocator, bytes.size, bytes.data);
}

bool pb_arena_pack(struct arena *a, const ProtobufCMessage *message, struct slice *ret_bytes)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *to = arena_alloc(a, size);
    if (!to)
        return false;
    *ret_bytes = slice_of(to, protobuf_c_message_pack(message, to));
    return true;
}
