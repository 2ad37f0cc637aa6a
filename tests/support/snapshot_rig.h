/* snapshot_rig.h: a snapshot from one store_rig into another's data directory, step by step, for
 * tests. inline_io runs each job within the call. */
#ifndef TESTS_SUPPORT_SNAPSHOT_RIG_H
#define TESTS_SUPPORT_SNAPSHOT_RIG_H

#include "storage/snapshot_sink.h"
#include "storage/snapshot_source.h"
#include "tests/support/store_rig.h"

enum { SNAPSHOT_RIG_ID = 0x1d, SNAPSHOT_RIG_HOLD_MS = 1000 };

/* The directory that the rig's store is in; valid until the next call. */
const char *snapshot_rig_dir(const struct store_rig *rig);
bool snapshot_rig_has(const struct store_rig *rig, const char *name);

/* No environment is left in it, nor what was set aside. */
void snapshot_rig_clear(const struct store_rig *rig);

/* Open until SNAPSHOT_RIG_HOLD_MS. */
struct snapshot_source *snapshot_rig_source(struct store_rig *rig, uint32_t row_bytes_max);
struct snapshot_sink *snapshot_rig_sink(struct store_rig *rig, uint64_t batch_bytes);

/* With SNAPSHOT_OK the caller drops read.block. */
struct snapshot_read snapshot_rig_read(struct snapshot_source *source, uint64_t seq);
struct snapshot_add snapshot_rig_add(struct snapshot_sink *sink, struct slice chunk);
void snapshot_rig_end(struct snapshot_sink *sink, bool keep);

/* All of it, chunk by chunk, each acknowledged at once; closes the source and ends the sink, whose
 * store.new stays. */
void snapshot_rig_copy(struct snapshot_source *source, struct snapshot_sink *sink);

#endif
