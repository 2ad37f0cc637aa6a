/* kv.h: the key space as apply and readers see it: memtables in front of the store.
 *
 * Writes go to the active memtable. A freeze sets it aside for a flush and starts a new one; at
 * most KV_FROZEN_MAX wait. Reads go through a view, which pins memtables and one LMDB read
 * transaction, in this order, so that a flush in between shows a record twice rather than never.
 *
 * Owner:  the caller. Thread: the loop's, but for reading through a view: one thread at a time a
 *         view, any thread. Views are opened and closed on the loop.
 * Bounds: views_max open at once (KV_E_BUSY); memtable bytes are the caller's to watch.
 */
#ifndef STORAGE_KV_H
#define STORAGE_KV_H

#include "base/arena.h"
#include "storage/store.h"

enum {
    KV_FROZEN_MAX = 2,
    KV_SPARE_BYTES_MAX = 32 << 20 /* of memtables that are gone, kept for the next ones */
};

#define KV_ERRORS(X)                            \
    X(KV_OK, "ok")                              \
    X(KV_E_NOMEM, "out of memory")              \
    X(KV_E_BUSY, "too many readers; try again") \
    X(KV_E_IO, "the store cannot be read")      \
    X(KV_E_CORRUPT, "a row of the store fails its checksum")

#define KV_ENUM_ENTRY(name, text) name,
enum kv_err { KV_ERRORS(KV_ENUM_ENTRY) };
#undef KV_ENUM_ENTRY

const char *kv_strerror(enum kv_err err);

struct kv;

/* Blocking. Takes a reader slot of the store for each of views_max; KV_E_BUSY when it has not so
 * many. */
enum kv_err kv_open(struct kv **ret_kv, struct store *store, uint32_t views_max)
    __attribute__((warn_unused_result));
void kv_close(struct kv *kv); /* NULL is fine; no view is open */

/* Into the active memtable; revisions ascend. record->sum is filled in by the callee.
 * KV_E_NOMEM: stop the node. */
enum kv_err kv_insert(struct kv *kv, struct kv_record *record) __attribute__((warn_unused_result));

/* Puts of these keys follow, at most KV_PREFETCH_MAX: what they will read comes into the
 * processor's cache. */
enum { KV_PREFETCH_MAX = 16 };
void kv_prefetch(const struct kv *kv, const struct slice *keys, size_t count);

size_t kv_active_bytes(const struct kv *kv);
size_t kv_memtable_bytes(const struct kv *kv); /* active and frozen */

/* Sets the active memtable aside; false when KV_FROZEN_MAX wait already, or without memory. */
bool kv_freeze(struct kv *kv) __attribute__((warn_unused_result));

/* The oldest frozen memtable, which is the one to flush; NULL when none waits. */
const struct memtable *kv_frozen(const struct kv *kv);

/* It is in the store now: drop it. */
void kv_flushed(struct kv *kv);

/* Memory of memtables that are gone. What is above KV_SPARE_BYTES_MAX goes a chunk at a time
 * (giving back all at once would hold up the loop, I10): while memtables grow, and with each call
 * of kv_trim, which says whether there is more. Call it now and then when there is time. */
size_t kv_spare_bytes(const struct kv *kv);
bool kv_trim(struct kv *kv);

/* ---- views ---- */

struct kv_view;

enum kv_err kv_view_open(struct kv *kv, struct kv_view **ret_view)
    __attribute__((warn_unused_result));
void kv_view_close(struct kv_view *view); /* NULL is fine */
struct kv *kv_view_kv(const struct kv_view *view);
uint32_t kv_views_open(const struct kv *kv);

/* The newest change of key with mod.main <= revision. *ret_found is false when there is none, or
 * when it is a tombstone (which *ret_record then describes all the same, tombstone set; a key
 * that never was has mod.main 0). With want_value the value is loaded: it and the key are views
 * that live as long as the view, or copies in the arena (values of several chunks); without it
 * the key may be the caller's own slice. revision >= 0. */
enum kv_err kv_view_get(struct kv_view *view, struct slice key, int64_t revision, bool want_value,
                        struct arena *arena, struct kv_record *ret_record, bool *ret_found)
    __attribute__((warn_unused_result));

/* Walks the live keys of [start, end) at a revision, ascending. end.size 0 with end_is_open:
 * no upper end. */
struct kv_range {
    struct slice start;
    struct slice end;
    bool end_is_open;
    int64_t revision;
};

struct kv_cursor;

/* One cursor a view at a time, in the arena; it ends with kv_cursor_close. */
enum kv_err kv_cursor_open(struct kv_view *view, const struct kv_range *range, struct arena *arena,
                           struct kv_cursor **ret_cursor) __attribute__((warn_unused_result));

/* The next live record, without its value; *ret_found false at the end. The key stays valid until
 * the next call alone, unless it is copied. */
enum kv_err kv_cursor_next(struct kv_cursor *cursor, struct kv_record *ret_record, bool *ret_found)
    __attribute__((warn_unused_result));

/* Loads the value of the record that kv_cursor_next gave last, as kv_view_get does. */
enum kv_err kv_cursor_value(struct kv_cursor *cursor, struct arena *arena, struct kv_record *record)
    __attribute__((warn_unused_result));

/* Values of several records are loaded faster together: most of the time goes by waiting for
 * memory, and so they wait at the same time. */
enum { KV_BATCH_MAX = 64 };
struct kv_batch {
    size_t count; /* 0: a new one */
    struct kv_record records[KV_BATCH_MAX];
    bool has_value[KV_BATCH_MAX];
};

/* Puts the record that kv_cursor_next gave last into a batch, which is not full, for its value to
 * be loaded later; its key is kept in the arena until then. */
enum kv_err kv_cursor_value_later(struct kv_cursor *cursor, struct arena *arena,
                                  struct kv_batch *batch) __attribute__((warn_unused_result));

/* Loads the values of all of them, as kv_view_get does. */
enum kv_err kv_batch_load(struct kv_view *view, struct arena *arena, struct kv_batch *batch)
    __attribute__((warn_unused_result));

void kv_cursor_close(struct kv_cursor *cursor); /* NULL is fine */

/* ---- counting ---- */

/* How the live keys of a range are counted. */
struct kv_counting {
    /* On the loop's thread: the memtables then answer in two searches. On another they are walked:
     * at most all that lies in the range of what is not flushed. */
    bool on_loop;
    uint64_t steps_max; /* left to take: about one a key or a row of the store */
};

/* The live keys of [start, end) at a revision that is not compacted, exact. What is published is
 * counted by blocks (count_tree.h), the memtables add to it, and at an older revision the changes
 * since are taken off; where these are more than the keys, the keys are walked. *ret_known is
 * false when steps_max is spent before. No cursor of the view is open. */
enum kv_err kv_view_count(struct kv_view *view, const struct kv_range *range,
                          struct kv_counting *counting, uint64_t *ret_count, bool *ret_known)
    __attribute__((warn_unused_result));

/* HashKV: over every record with compact_revision < mod.main <= revision and, of each key, the
 * newest at or below compact_revision unless that is a tombstone: in key order, newest first.
 * Equal on all replicas, whatever is flushed or compacted where. Takes long: inside a job. */
enum kv_err kv_view_hash(struct kv_view *view, int64_t compact_revision, int64_t revision,
                         uint64_t *ret_hash) __attribute__((warn_unused_result));

#endif
