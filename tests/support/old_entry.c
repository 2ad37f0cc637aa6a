#include "tests/support/old_entry.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

void old_entry_seal(uint8_t *buffer, const struct entry_header *header)
{
    size_t header_bytes = old_entry_payload_offset(header);
    buffer[8] = 1;
    buffer[9] = (uint8_t)header->type;
    put_le16(buffer + 10, (uint16_t)header_bytes);
    put_le32(buffer + 12, header->payload_bytes);
    put_le64(buffer + 16, header->pos.index);
    put_le64(buffer + 24, header->pos.term);
    put_le64(buffer + 32, checksum(slice_of(buffer + header_bytes, header->payload_bytes), 0));
    put_le64(buffer + 40, header->request_id);
    put_le64(buffer + 48, header->wall_ms);
    put_le64(buffer + 56, header->auth_revision);
    if (header->user.size > 0)
        memcpy(buffer + OLD_ENTRY_HEADER_BYTES, header->user.data, header->user.size);
    put_le64(buffer, checksum(slice_of(buffer + 8, header_bytes - 8), 0));
}

struct raft_entry old_entry_of(const struct raft_entry *entry)
{
    struct entry_header header;
    struct slice payload;
    size_t size;
    enum entry_err err = entry_decode(entry->bytes, &header, &payload, &size);
    ASSERT(err == ENTRY_OK);
    struct block *block = block_new(old_entry_size_bytes(&header));
    ASSERT(block != NULL);
    if (payload.size > 0)
        memcpy(block->data + old_entry_payload_offset(&header), payload.data, payload.size);
    old_entry_seal(block->data, &header);
    return (struct raft_entry){ entry->pos, entry->type,
                                slice_of(block->data, old_entry_size_bytes(&header)), block };
}
