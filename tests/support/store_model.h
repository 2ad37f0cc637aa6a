/* store_model.h: what a store should hold, kept in the plainest way, and random changes to it. */
#ifndef TESTS_SUPPORT_STORE_MODEL_H
#define TESTS_SUPPORT_STORE_MODEL_H

#include "base/arena.h"
#include "tests/support/store_rig.h"

enum { STORE_MODEL_KEYS = 96, STORE_MODEL_RECORDS_MAX = 1 << 14 };

struct store_model {
    struct prng prng;
    struct arena arena; /* keys and values */
    struct slice keys[STORE_MODEL_KEYS];
    uint32_t key_count;
    struct kv_record records[STORE_MODEL_RECORDS_MAX]; /* by revision */
    size_t record_count;
    int64_t revision;
    uint32_t value_bytes_max;
};

/* Some keys are longer than LMDB's, and differ late. */
void store_model_init(struct store_model *m, uint64_t seed);
void store_model_done(struct store_model *m);

/* One more revision: a few keys are put or deleted, here and in the memtable. */
void store_model_change(struct store_model *m, struct memtable *memtable);
void store_model_put(struct store_model *m, struct memtable *memtable, struct slice key);
/* The key lives. */
void store_model_delete(struct store_model *m, struct memtable *memtable, struct slice key);

/* What may go when clients are told that history below `revision` is gone: of each key all but
 * the newest up to there; that one too when it is a tombstone, unless of that very revision. */
void store_model_compact(struct store_model *m, int64_t revision);

/* The rev tree, the key tree and the model hold the same records up to the published revision, and
 * the count tree counts them. Asserts. */
void store_model_expect(const struct store_model *m, struct store_rig *rig);

#endif
