#include "tests/support/peer_entries.h"

#include "base/assert.h"
#include "proto/entry.h"

struct peer_entries peer_entries_new(struct raft_pos first, uint32_t count, uint32_t payload_bytes)
{
    ASSERT(count <= PEER_ENTRIES_MAX);
    struct peer_entries made = { .count = count };
    struct entry_header header = {
        .type = RAFT_ENTRY_COMMAND,
        .pos = first,
        .wall_ms = 1780000000000,
        .user = slice_of_text("root"),
        .payload_bytes = payload_bytes,
    };
    size_t size = entry_size_bytes(&header);
    made.block = block_new(size * (count > 0 ? count : 1));
    ASSERT(made.block);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = made.block->data + i * size;
        header.request_id = i + 1;
        memset(at + entry_payload_offset(&header), 'a' + (int)(i % 26), payload_bytes);
        entry_seal(at, &header);
        made.entries[i] = (struct raft_entry){
            .pos = header.pos, .type = header.type, .bytes = slice_of(at, size), .block = made.block
        };
        header.pos.index++;
    }
    return made;
}
