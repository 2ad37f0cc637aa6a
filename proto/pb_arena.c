#include "proto/pb_arena.h"

#include "base/assert.h"

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

/* ---- depth ---- */

static bool has_submessages(const ProtobufCMessageDescriptor *descriptor)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            return true;
    }
    return false;
}

/* Moves *at behind the varint; false when it does not end before `end` or in bytes_max bytes. */
static bool varint_take(const uint8_t **at, const uint8_t *end, unsigned bytes_max,
                        uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes_max && *at < end; i++) {
        uint8_t byte = *(*at)++;
        number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret_number = number;
            return true;
        }
    }
    return false;
}

/* One field: its number, and where its bytes begin and end; a number's bytes are skipped over.
 * Never more lenient than protobuf-c, so that what passes here is nested as seen here. */
static bool field_take(const uint8_t **at, const uint8_t *end, uint32_t *ret_number,
                       struct slice *ret_bytes)
{
    enum { VARINT = 0, FIXED64 = 1, LENGTH_DELIMITED = 2, FIXED32 = 5 };
    uint64_t tag;
    uint64_t size = 0;
    if (!varint_take(at, end, 5, &tag))
        return false;
    *ret_number = (uint32_t)(tag >> 3);
    *ret_bytes = slice_of(NULL, 0);
    switch (tag & 7) {
    case VARINT:
        return varint_take(at, end, 10, &size);
    case FIXED64:
        size = 8;
        break;
    case FIXED32:
        size = 4;
        break;
    case LENGTH_DELIMITED:
        if (!varint_take(at, end, 5, &size))
            return false;
        break;
    default: /* groups, which protobuf-c does not know either */
        return false;
    }
    if (size > (uint64_t)(end - *at))
        return false;
    if ((tag & 7) == LENGTH_DELIMITED)
        *ret_bytes = slice_of(*at, (size_t)size);
    *at += size;
    return true;
}

bool pb_depth_is_within(const ProtobufCMessageDescriptor *descriptor, struct slice bytes,
                        uint32_t depth_max)
{
    struct {
        const ProtobufCMessageDescriptor *descriptor;
        const uint8_t *end;
    } levels[PB_LOG_DEPTH_MAX];
    ASSERT(depth_max > 0 && depth_max <= PB_LOG_DEPTH_MAX);
    if (bytes.size == 0 || !has_submessages(descriptor))
        return true;
    uint32_t depth = 0; /* of the level in hand; a message without submessages is at 1 */
    levels[0].descriptor = descriptor;
    levels[0].end = bytes.data + bytes.size;
    for (const uint8_t *at = bytes.data;;) {
        while (at == levels[depth].end) {
            if (depth-- == 0)
                return true;
        }
        uint32_t number;
        struct slice field;
        if (!field_take(&at, levels[depth].end, &number, &field))
            return false;
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(levels[depth].descriptor, number);
        if (!field.data || !known || known->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (depth + 2 > depth_max)
            return false;
        if (!has_submessages(known->descriptor))
            continue;
        levels[++depth].descriptor = known->descriptor;
        levels[depth].end = at;
        at = field.data;
    }
}

ProtobufCMessage *pb_arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
                                  struct slice bytes)
{
    return pb_arena_unpack_within(a, descriptor, bytes, PB_DEPTH_MAX);
}

ProtobufCMessage *pb_arena_unpack_within(struct arena *a,
                                         const ProtobufCMessageDescriptor *descriptor,
                                         struct slice bytes, uint32_t depth_max)
{
    if (!pb_depth_is_within(descriptor, bytes, depth_max))
        return NULL;
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
