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

/* ---- how deep a message is ---- */

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool varint_take(struct slice *bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < bytes->size; i++) {
        value |= (uint64_t)(bytes->data[i] & 0x7f) << (7 * i);
        if (bytes->data[i] < 0x80) {
            *bytes = slice_of(bytes->data + i + 1, bytes->size - i - 1);
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* One field off the front; ret_content: its bytes, when it is of that wire type. */
static bool field_take(struct slice *bytes, uint64_t *ret_tag, struct slice *ret_content)
{
    uint64_t size = 0;
    uint64_t value;
    if (!varint_take(bytes, ret_tag))
        return false;
    switch (*ret_tag & 7) {
    case WIRE_VARINT:
        return varint_take(bytes, &value);
    case WIRE_64:
        size = 8;
        break;
    case WIRE_32:
        size = 4;
        break;
    case WIRE_BYTES:
        if (!varint_take(bytes, &size))
            return false;
        break;
    default: /* groups: protobuf-c does not know them either */
        return false;
    }
    if (size > bytes->size)
        return false;
    *ret_content = slice_of(bytes->data, (size_t)size);
    *bytes = slice_of(bytes->data + size, bytes->size - (size_t)size);
    return true;
}

static bool has_messages(const ProtobufCMessageDescriptor *descriptor)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            return true;
    }
    return false;
}

/* protobuf-c unpacks, packs and measures by recursion without a bound of its own: a request of
 * nothing but nesting would run the stack over. Each field is looked at once. */
static bool depth_is_bounded(const ProtobufCMessageDescriptor *descriptor, struct slice bytes,
                             unsigned depth_left)
{
    if (!has_messages(descriptor))
        return true;
    while (bytes.size > 0) {
        uint64_t tag;
        struct slice content;
        if (!field_take(&bytes, &tag, &content))
            return false;
        if ((tag & 7) != WIRE_BYTES || tag >> 3 > UINT32_MAX)
            continue;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
        if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (depth_left == 0 || !depth_is_bounded(field->descriptor, content, depth_left - 1))
            return false;
    }
    return true;
}

ProtobufCMessage *pb_arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor,
                                  struct slice bytes)
{
    if (!depth_is_bounded(descriptor, bytes, PB_ARENA_DEPTH_MAX))
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
