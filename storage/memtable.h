/* memtable.h: the changes since the last flush, ordered by key, then newest revision first.
 *
 * Insert-only: nothing in it is changed or removed, and it is freed whole. Beside the order by
 * key it remembers the order of insertion, which is the order of revisions.
 * Owner:  counted references; memtable_new gives the first. References are the loop's business.
 * Thread: one writer (the loop); readers on other threads need no lock, while somebody holds a
 *         reference for them: what was inserted before they began is seen, later things may be.
 *         Live keys are counted on the loop alone, or by anybody in a table that is frozen.
 * Bounds: the caller looks at memtable_bytes and freezes it in time; inserting fails only
 *         without memory, and then the node stops.
 */
#ifndef STORAGE_MEMTABLE_H
#define STORAGE_MEMTABLE_H

#include "storage/key_interval.h"
#include "storage/record.h"

struct chunk_pool;
struct memtable;
struct memtable_node; /* one record; lives as long as its memtable */

struct memtable *memtable_new(void);
/* Its memory comes from the pool, which outlives it, and goes back there. NULL: as above. */
struct memtable *memtable_new_pooled(struct chunk_pool *pool);
struct memtable *memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL is fine */

/* Copies the record. Revisions ascend from call to call, and one changes a key once. False without
 * memory. */
bool memtable_insert(struct memtable *m, const struct kv_record *record)
    __attribute__((warn_unused_result));

size_t memtable_bytes(const struct memtable *m); /* memory held */
size_t memtable_count(const struct memtable *m);

/* The newest version of exactly `key` with mod.main <= revision; NULL: none. By the key's hash:
 * much cheaper than a search, above all where there is none. */
const struct memtable_node *memtable_get(const struct memtable *m, struct slice key,
                                         int64_t revision);

/* Fetches what inserts of these keys will read, and lookups of them, into the processor's cache: up
 * to MEMTABLE_PREFETCH_MAX searches side by side wait for memory together, each by itself would
 * wait at every step. The writer's thread. */
enum { MEMTABLE_PREFETCH_MAX = 16 };
void memtable_prefetch(const struct memtable *m, const struct slice *keys, size_t count);
/* The same for lookups alone. */
void memtable_prefetch_get(const struct memtable *m, const struct slice *keys, size_t count);

/* The first node at or after (key, revision): of `key` the newest with mod.main <= revision, else
 * of the next key its newest. NULL at the end. */
const struct memtable_node *memtable_seek(const struct memtable *m, struct slice key,
                                          int64_t revision);
const struct memtable_node *memtable_next(const struct memtable_node *node);

/* Parts of the record, without touching the rest of it. */
struct slice memtable_key(const struct memtable_node *node);
int64_t memtable_revision(const struct memtable_node *node);
int memtable_change(const struct memtable_node *node); /* of the number of live keys: 1, 0, -1 */

/* Views into the memtable: the value is loaded. */
struct kv_record memtable_record(const struct memtable_node *node);

/* In order of insertion: NULL starts; NULL ends. */
const struct memtable_node *memtable_next_inserted(const struct memtable *m,
                                                   const struct memtable_node *node);

/* ---- the loop's thread alone, unless the table is frozen ---- */

/* What all its changes together make of the number of live keys in `keys`, which is not empty.
 * Two searches. */
int64_t memtable_live_change(const struct memtable *m, const struct key_interval *keys);

/* How many of its records make a key or end one. */
size_t memtable_change_count(const struct memtable *m);

int64_t memtable_newest(const struct memtable *m); /* the last revision; 0: empty */

/* The first, in order of insertion, above the revision; NULL: none. */
const struct memtable_node *memtable_seek_inserted(const struct memtable *m, int64_t revision);

#endif
