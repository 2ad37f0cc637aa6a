/* peer_entries.h: sealed log entries in one block, for tests of what carries them. */
#ifndef TESTS_SUPPORT_PEER_ENTRIES_H
#define TESTS_SUPPORT_PEER_ENTRIES_H

#include "raft/types.h"

enum { PEER_ENTRIES_MAX = 64 };

struct peer_entries {
    struct block *block; /* the caller's reference */
    uint32_t count;
    struct raft_entry entries[PEER_ENTRIES_MAX];
};

/* count entries from `first` on, all of its term, payload_bytes each. */
struct peer_entries peer_entries_new(struct raft_pos first, uint32_t count, uint32_t payload_bytes);

#endif
