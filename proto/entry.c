#include "proto/entry.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

enum {
    AT_HEADER_SUM = 0,
    AT_FORMAT = 8,
    AT_TYPE = 9,
    AT_HEADER_BYTES = 10,
    AT_PAYLOAD_BYTES = 12,
    AT_INDEX = 16,
    AT_TERM = 24,
    AT_PAYLOAD_SUM = 32,
    AT_REQUEST_ID = 40,
    AT_WALL_MS = 48,
    AT_AUTH_REVISION = 56,
    AT_USER = 64,
};

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
    return ENTRY_HEADER_BYTES + header->user.size;
}

struct slice entry_payload(struct slice entry)
{
    size_t header_bytes = get_le16(entry.data + AT_HEADER_BYTES);
    ASSERT(header_bytes <= entry.size);
    return slice_of(entry.data + header_bytes, entry.size - header_bytes);
}

size_t entry_size_bytes(const struct entry_header *header)
{
    return entry_payload_offset(header) + header->payload_bytes;
}

void entry_seal(uint8_t *buffer, const struct entry_header *header)
{
    ASSERT(header->user.size <= ENTRY_USER_BYTES_MAX);
    ASSERT(header->payload_bytes <= ENTRY_PAYLOAD_BYTES_MAX);
    size_t header_bytes = entry_payload_offset(header);
    buffer[AT_FORMAT] = ENTRY_FORMAT;
    buffer[AT_TYPE] = (uint8_t)header->type;
    put_le16(buffer + AT_HEADER_BYTES, (uint16_t)header_bytes);
    put_le32(buffer + AT_PAYLOAD_BYTES, header->payload_bytes);
    put_le64(buffer + AT_INDEX, header->pos.index);
    put_le64(buffer + AT_TERM, header->pos.term);
    put_le64(buffer + AT_REQUEST_ID, header->request_id);
    put_le64(buffer + AT_WALL_MS, header->wall_ms);
    put_le64(buffer + AT_AUTH_REVISION, header->auth_revision);
    if (header->user.size > 0)
        memcpy(buffer + AT_USER, header->user.data, header->user.size);
    struct slice payload = slice_of(buffer + header_bytes, header->payload_bytes);
    put_le64(buffer + AT_PAYLOAD_SUM, checksum(payload, 0));
    put_le64(buffer + AT_HEADER_SUM,
             checksum(slice_of(buffer + AT_FORMAT, header_bytes - AT_FORMAT), 0));
}

static bool type_is_known(uint8_t type)
{
    return type >= RAFT_ENTRY_NOOP && type <= RAFT_ENTRY_CONFIG;
}

static enum entry_err header_check(struct slice in)
{
    if (in.size < ENTRY_HEADER_BYTES)
        return ENTRY_E_TRUNCATED;
    if (in.data[AT_FORMAT] != ENTRY_FORMAT)
        return ENTRY_E_VERSION;
    size_t header_bytes = get_le16(in.data + AT_HEADER_BYTES);
    if (header_bytes < ENTRY_HEADER_BYTES ||
        header_bytes > ENTRY_HEADER_BYTES + ENTRY_USER_BYTES_MAX)
        return ENTRY_E_BOUNDS;
    if (header_bytes > in.size)
        return ENTRY_E_TRUNCATED;
    struct slice summed = slice_of(in.data + AT_FORMAT, header_bytes - AT_FORMAT);
    if (checksum(summed, 0) != get_le64(in.data + AT_HEADER_SUM))
        return ENTRY_E_CHECKSUM;
    /* Only now, behind the checksum, is an odd type somebody's newer version. */
    if (!type_is_known(in.data[AT_TYPE]))
        return ENTRY_E_TYPE;
    return ENTRY_OK;
}

enum entry_err entry_decode(struct slice in, struct entry_header *ret_header,
                            struct slice *ret_payload, size_t *ret_size)
{
    enum entry_err err = header_check(in);
    if (err != ENTRY_OK)
        return err;
    size_t header_bytes = get_le16(in.data + AT_HEADER_BYTES);
    uint32_t payload_bytes = get_le32(in.data + AT_PAYLOAD_BYTES);
    if (payload_bytes > ENTRY_PAYLOAD_BYTES_MAX)
        return ENTRY_E_BOUNDS;
    if (payload_bytes > in.size - header_bytes)
        return ENTRY_E_TRUNCATED;
    struct slice payload = slice_of(in.data + header_bytes, payload_bytes);
    if (checksum(payload, 0) != get_le64(in.data + AT_PAYLOAD_SUM))
        return ENTRY_E_CHECKSUM;
    *ret_header = (struct entry_header){
        .type = (enum raft_entry_type)in.data[AT_TYPE],
        .pos = { .term = get_le64(in.data + AT_TERM), .index = get_le64(in.data + AT_INDEX) },
        .request_id = get_le64(in.data + AT_REQUEST_ID),
        .wall_ms = get_le64(in.data + AT_WALL_MS),
        .auth_revision = get_le64(in.data + AT_AUTH_REVISION),
        .user = slice_of(in.data + AT_USER, header_bytes - AT_USER),
        .payload_bytes = payload_bytes,
    };
    *ret_payload = payload;
    *ret_size = header_bytes + payload_bytes;
    return ENTRY_OK;
}
