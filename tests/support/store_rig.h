/* store_rig.h: a store in a directory of its own, and what goes into it, for tests. All calls
 * that can fail assert that they do not, unless they return the error. */
#ifndef TESTS_SUPPORT_STORE_RIG_H
#define TESTS_SUPPORT_STORE_RIG_H

#include "base/prng.h"
#include "storage/store.h"
#include "tests/support/inline_io.h"

enum { STORE_RIG_CLUSTER = 0xc1, STORE_RIG_PATH_BYTES = 64 };

struct store_rig {
    struct inline_io io;
    char path[STORE_RIG_PATH_BYTES]; /* of the store, below a temporary directory */
    struct store_options options;
    struct store *store; /* NULL: closed */
    struct store_state state;
    char detail[256];
};

/* A directory is made; nothing is opened. Options may be changed before the open. */
void store_rig_init(struct store_rig *rig);
/* Sets state and detail. */
enum store_err store_rig_open(struct store_rig *rig) __attribute__((warn_unused_result));
void store_rig_close(struct store_rig *rig);
void store_rig_reopen(struct store_rig *rig);
/* Closes it and removes the directory. */
void store_rig_done(struct store_rig *rig);

/* A flush of `memtable` (NULL is fine) and of entries up to `applied`, which publishes `state`
 * with that position; nothing is trimmed, and compaction is not bounded. */
struct store_flush store_rig_flush_of(const struct store_rig *rig, const struct memtable *memtable,
                                      const struct raft_entry *entries, size_t entry_count);
/* Runs it to its end. */
enum store_err store_rig_flush(struct store_rig *rig, struct store_flush *flush);

/* An entry whose payload is made of its position; the caller drops entry.block. */
struct raft_entry store_rig_entry(struct raft_pos pos, uint32_t payload_bytes);

/* A record with its sum. */
struct kv_record store_rig_record(struct slice key, struct slice value, struct kv_revision mod);
struct kv_record store_rig_tombstone(struct slice key, struct kv_revision mod);

/* Damage: the record of the change that was first at this revision is gone, its key's row stays. */
void store_rig_lose_record(struct store_rig *rig, int64_t revision);

#endif
