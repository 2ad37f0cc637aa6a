/* old_entry.h: log entries in format 1 (proto/entry.h), as journals and stores held them that were
 * written before there was another, for tests.
 */
#ifndef TESTS_SUPPORT_OLD_ENTRY_H
#define TESTS_SUPPORT_OLD_ENTRY_H

#include "proto/entry.h"

enum { OLD_ENTRY_HEADER_BYTES = 64 };

static inline size_t old_entry_payload_offset(const struct entry_header *header)
{
    return OLD_ENTRY_HEADER_BYTES + header->user.size;
}

static inline size_t old_entry_size_bytes(const struct entry_header *header)
{
    return old_entry_payload_offset(header) + header->payload_bytes;
}

/* As entry_seal, for a payload that stands at old_entry_payload_offset. */
void old_entry_seal(uint8_t *buffer, const struct entry_header *header);

/* The same entry in format 1, in a block of its own; the caller drops it. */
struct raft_entry old_entry_of(const struct raft_entry *entry);

#endif
