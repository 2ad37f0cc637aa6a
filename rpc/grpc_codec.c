#include "rpc/grpc_codec.h"

#include "base/assert.h"
#include "base/bytes.h"

enum { TIMEOUT_DIGITS_MAX = 8, STATUS_MAX = 99 };

/* What one unit is, as a ratio of milliseconds. False: no such unit. */
static bool timeout_unit(uint8_t unit, uint64_t *ret_times, uint64_t *ret_parts)
{
    *ret_times = 1;
    *ret_parts = 1;
    switch (unit) {
    case 'H':
        *ret_times = 3600 * 1000;
        return true;
    case 'M':
        *ret_times = 60 * 1000;
        return true;
    case 'S':
        *ret_times = 1000;
        return true;
    case 'm':
        return true;
    case 'u':
        *ret_parts = 1000;
        return true;
    case 'n':
        *ret_parts = 1000 * 1000;
        return true;
    default:
        return false;
    }
}

bool grpc_timeout_parse(struct slice text, uint64_t *ret_ms)
{
    if (text.size < 2 || text.size > TIMEOUT_DIGITS_MAX + 1)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    uint64_t times;
    uint64_t parts;
    if (!timeout_unit(text.data[text.size - 1], &times, &parts))
        return false;
    *ret_ms = (value * times + parts - 1) / parts;
    return true;
}

size_t grpc_percent_encode(struct slice text, uint8_t *to, size_t room)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        bool plain = byte >= 0x20 && byte <= 0x7e && byte != '%';
        if (room - size < (plain ? 1u : 3u))
            break;
        if (plain) {
            to[size++] = byte;
        } else {
            to[size++] = '%';
            to[size++] = (uint8_t)hex[byte >> 4];
            to[size++] = (uint8_t)hex[byte & 15];
        }
    }
    return size;
}

bool grpc_content_type_is_ours(struct slice value)
{
    static const char type[] = "application/grpc";
    size_t size = sizeof type - 1;
    if (value.size < size || memcmp(value.data, type, size) != 0)
        return false;
    struct slice rest = slice_of(value.data + size, value.size - size);
    if (rest.size == 0 || rest.data[0] == ';')
        return true;
    if (rest.data[0] != '+')
        return false;
    /* Other message formats than protobuf ("+json") have no decoder here. */
    static const char proto[] = "+proto";
    size = sizeof proto - 1;
    return rest.size >= size && memcmp(rest.data, proto, size) == 0 &&
           (rest.size == size || rest.data[size] == ';');
}

bool grpc_path_split(struct slice path, struct slice *ret_service, struct slice *ret_method)
{
    if (path.size == 0 || path.data[0] != '/')
        return false;
    const uint8_t *service = path.data + 1;
    const uint8_t *slash = memrchr(service, '/', path.size - 1);
    if (!slash)
        return false;
    *ret_service = slice_of(service, (size_t)(slash - service));
    *ret_method = slice_of(slash + 1, (size_t)(path.data + path.size - slash - 1));
    return true;
}

void grpc_prefix_put(uint8_t to[GRPC_PREFIX_BYTES], uint32_t message_bytes)
{
    to[0] = 0; /* not compressed */
    put_be32(to + 1, message_bytes);
}

bool grpc_prefix_take(struct grpc_prefix *p, struct slice *bytes)
{
    size_t missing = (size_t)GRPC_PREFIX_BYTES - p->count;
    size_t take = bytes->size < missing ? bytes->size : missing;
    if (take > 0)
        memcpy(p->bytes + p->count, bytes->data, take);
    p->count = (uint8_t)(p->count + take);
    *bytes = slice_of(bytes->data + take, bytes->size - take);
    return p->count == GRPC_PREFIX_BYTES;
}

uint8_t grpc_prefix_flags(const struct grpc_prefix *p)
{
    return p->bytes[0];
}

uint32_t grpc_prefix_message_bytes(const struct grpc_prefix *p)
{
    return get_be32(p->bytes + 1);
}

/* RFC 7541 §5.1 with a prefix of seven bits, and no Huffman code. */
static uint8_t *hpack_length_put(uint8_t *to, size_t length)
{
    if (length < 127) {
        *to++ = (uint8_t)length;
        return to;
    }
    *to++ = 127;
    for (length -= 127; length >= 128; length /= 128)
        *to++ = (uint8_t)(128 | (length % 128));
    *to++ = (uint8_t)length;
    return to;
}

static uint8_t *hpack_field_put(uint8_t *to, struct slice name, struct slice value)
{
    *to++ = 0; /* literal, not indexed, new name */
    to = hpack_length_put(to, name.size);
    memcpy(to, name.data, name.size);
    to = hpack_length_put(to + name.size, value.size);
    memcpy(to, value.data, value.size);
    return to + value.size;
}

size_t grpc_trailer_encode(uint32_t status, struct slice message,
                           uint8_t to[GRPC_TRAILER_BYTES_MAX])
{
    ASSERT(status <= STATUS_MAX);
    ASSERT(message.size <= GRPC_STATUS_TEXT_BYTES_MAX);
    uint8_t digits[2] = { (uint8_t)('0' + status / 10), (uint8_t)('0' + status % 10) };
    size_t skip = status < 10;
    uint8_t *end = hpack_field_put(to, slice_of_text("grpc-status"),
                                   slice_of(digits + skip, sizeof digits - skip));
    if (message.size > 0)
        end = hpack_field_put(end, slice_of_text("grpc-message"), message);
    return (size_t)(end - to);
}
