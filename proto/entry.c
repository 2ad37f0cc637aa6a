#include "proto/entry.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/varint.h"

enum {
    FORMAT_FIXED = 1,
    FORMAT_COMPACT = ENTRY_FORMAT,
};

/* Of every format. */
enum {
    AT_HEADER_SUM = 0,
    AT_FORMAT = 8,
    AT_TYPE = 9,
    AT_HEADER_BYTES = 10,
    FRONT_BYTES = 12,
};

/* Format 1. */
enum {
    FIXED_PAYLOAD_BYTES = 12,
    FIXED_INDEX = 16,
    FIXED_TERM = 24,
    FIXED_PAYLOAD_SUM = 32,
    FIXED_REQUEST_ID = 40,
    FIXED_WALL_MS = 48,
    FIXED_AUTH_REVISION = 56,
    FIXED_USER = 64,
};

/* Format 2. */
enum {
    COMPACT_PAYLOAD_SUM = 12,
    COMPACT_REQUEST_ID = 20,
    COMPACT_NUMBERS = 28,
    NUMBERS = 5,
    VARINT31_BYTES_MAX = 5, /* payload_bytes */
    COMPACT_BYTES_MAX = COMPACT_NUMBERS + VARINT31_BYTES_MAX + (NUMBERS - 1) * VARINT_BYTES_MAX,
};
_Static_assert(COMPACT_NUMBERS + NUMBERS == ENTRY_HEADER_BYTES_MIN &&
                   (int)ENTRY_HEADER_BYTES_MIN < (int)FIXED_USER,
               "the shortest");
_Static_assert(COMPACT_BYTES_MAX + ENTRY_USER_BYTES_MAX == ENTRY_HEADER_BYTES_MAX &&
                   (int)COMPACT_BYTES_MAX > (int)FIXED_USER,
               "the longest");

const char *entry_strerror(enum entry_err err)
{
#define ENTRY_TEXT(name, text) \
    case name:                 \
        return text;
    switch (err) {
        ENTRY_ERRORS(ENTRY_TEXT)
    }
#undef ENTRY_TEXT
    return "unknown error";
}

size_t entry_payload_offset(const struct entry_header *header)
{
    return COMPACT_NUMBERS + varint_size(header->payload_bytes) + varint_size(header->pos.index) +
           varint_size(header->pos.term) + varint_size(header->wall_ms) +
           varint_size(header->auth_revision) + header->user.size;
}

size_t entry_size_bytes(const struct entry_header *header)
{
    return entry_payload_offset(header) + header->payload_bytes;
}

struct slice entry_payload(struct slice entry)
{
    size_t header_bytes = get_le16(entry.data + AT_HEADER_BYTES);
    ASSERT(header_bytes <= entry.size);
    return slice_of(entry.data + header_bytes, entry.size - header_bytes);
}

void entry_seal(uint8_t *buffer, const struct entry_header *header)
{
    ASSERT(header->user.size <= ENTRY_USER_BYTES_MAX);
    ASSERT(header->payload_bytes <= ENTRY_PAYLOAD_BYTES_MAX);
    uint8_t *to = varint_put(buffer + COMPACT_NUMBERS, header->payload_bytes);
    to = varint_put(to, header->pos.index);
    to = varint_put(to, header->pos.term);
    to = varint_put(to, header->wall_ms);
    to = varint_put(to, header->auth_revision);
    if (header->user.size > 0)
        memcpy(to, header->user.data, header->user.size);
    uint8_t *payload = to + header->user.size;
    size_t header_bytes = (size_t)(payload - buffer);
    buffer[AT_FORMAT] = FORMAT_COMPACT;
    buffer[AT_TYPE] = (uint8_t)header->type;
    put_le16(buffer + AT_HEADER_BYTES, (uint16_t)header_bytes);
    put_le64(buffer + COMPACT_REQUEST_ID, header->request_id);
    put_le64(buffer + COMPACT_PAYLOAD_SUM, checksum(slice_of(payload, header->payload_bytes), 0));
    put_le64(buffer + AT_HEADER_SUM,
             checksum(slice_of(buffer + AT_FORMAT, header_bytes - AT_FORMAT), 0));
}

static bool type_is_known(uint8_t type)
{
    return type >= RAFT_ENTRY_NOOP && type <= RAFT_ENTRY_CONFIG;
}

/* Of a format that is not known any length may be right. */
static bool header_bytes_fit(uint8_t format, size_t header_bytes)
{
    if (format == FORMAT_COMPACT)
        return header_bytes >= ENTRY_HEADER_BYTES_MIN && header_bytes <= ENTRY_HEADER_BYTES_MAX;
    if (format == FORMAT_FIXED)
        return header_bytes >= FIXED_USER && header_bytes <= FIXED_USER + ENTRY_USER_BYTES_MAX;
    return header_bytes >= FRONT_BYTES;
}

/* What all formats share; on success the header is there, and as it was sealed. */
static enum entry_err front_check(struct slice in)
{
    if (in.size < FRONT_BYTES)
        return ENTRY_E_TRUNCATED;
    uint8_t format = in.data[AT_FORMAT];
    size_t header_bytes = get_le16(in.data + AT_HEADER_BYTES);
    if (!header_bytes_fit(format, header_bytes))
        return ENTRY_E_BOUNDS;
    if (header_bytes > in.size)
        return ENTRY_E_TRUNCATED;
    struct slice summed = slice_of(in.data + AT_FORMAT, header_bytes - AT_FORMAT);
    if (checksum(summed, 0) != get_le64(in.data + AT_HEADER_SUM))
        return ENTRY_E_CHECKSUM;
    /* Only now, behind the checksum, is what is odd somebody's newer version. */
    if (format != FORMAT_COMPACT && format != FORMAT_FIXED)
        return ENTRY_E_VERSION;
    return type_is_known(in.data[AT_TYPE]) ? ENTRY_OK : ENTRY_E_TYPE;
}

/* What a header says, before it is known that the payload is there. */
struct reading {
    struct entry_header header;
    uint64_t payload_bytes;
    uint64_t payload_sum;
};

static bool compact_read(const uint8_t *in, const uint8_t *end, struct reading *r)
{
    struct entry_header *h = &r->header;
    const uint8_t *at = varint_get(in + COMPACT_NUMBERS, end, &r->payload_bytes);
    if (at != NULL)
        at = varint_get(at, end, &h->pos.index);
    if (at != NULL)
        at = varint_get(at, end, &h->pos.term);
    if (at != NULL)
        at = varint_get(at, end, &h->wall_ms);
    if (at != NULL)
        at = varint_get(at, end, &h->auth_revision);
    if (at == NULL || end - at > ENTRY_USER_BYTES_MAX)
        return false;
    h->user = slice_of(at, (size_t)(end - at));
    h->request_id = get_le64(in + COMPACT_REQUEST_ID);
    r->payload_sum = get_le64(in + COMPACT_PAYLOAD_SUM);
    return true;
}

static void fixed_read(const uint8_t *in, const uint8_t *end, struct reading *r)
{
    r->header = (struct entry_header){
        .pos = { .term = get_le64(in + FIXED_TERM), .index = get_le64(in + FIXED_INDEX) },
        .request_id = get_le64(in + FIXED_REQUEST_ID),
        .wall_ms = get_le64(in + FIXED_WALL_MS),
        .auth_revision = get_le64(in + FIXED_AUTH_REVISION),
        .user = slice_of(in + FIXED_USER, (size_t)(end - (in + FIXED_USER))),
    };
    r->payload_bytes = get_le32(in + FIXED_PAYLOAD_BYTES);
    r->payload_sum = get_le64(in + FIXED_PAYLOAD_SUM);
}

enum entry_err entry_decode(struct slice in, struct entry_header *ret_header,
                            struct slice *ret_payload, size_t *ret_size)
{
    enum entry_err err = front_check(in);
    if (err != ENTRY_OK)
        return err;
    size_t header_bytes = get_le16(in.data + AT_HEADER_BYTES);
    const uint8_t *end = in.data + header_bytes;
    struct reading r;
    if (in.data[AT_FORMAT] == FORMAT_FIXED)
        fixed_read(in.data, end, &r);
    else if (!compact_read(in.data, end, &r))
        return ENTRY_E_BOUNDS;
    if (r.payload_bytes > ENTRY_PAYLOAD_BYTES_MAX)
        return ENTRY_E_BOUNDS;
    if (r.payload_bytes > in.size - header_bytes)
        return ENTRY_E_TRUNCATED;
    struct slice payload = slice_of(end, r.payload_bytes);
    if (checksum(payload, 0) != r.payload_sum)
        return ENTRY_E_CHECKSUM;
    r.header.type = (enum raft_entry_type)in.data[AT_TYPE];
    r.header.payload_bytes = (uint32_t)r.payload_bytes;
    *ret_header = r.header;
    *ret_payload = payload;
    *ret_size = header_bytes + r.payload_bytes;
    return ENTRY_OK;
}
