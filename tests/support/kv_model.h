/* kv_model.h: what a kv should answer, from an array of all changes that were ever made. */
#ifndef TESTS_SUPPORT_KV_MODEL_H
#define TESTS_SUPPORT_KV_MODEL_H

#include "base/prng.h"
#include "storage/kv.h"

enum { KV_MODEL_KEYS = 48, KV_MODEL_CHANGES_MAX = 8000 };

struct kv_model {
    struct slice keys[KV_MODEL_KEYS];               /* ascending */
    struct kv_record changes[KV_MODEL_CHANGES_MAX]; /* revisions ascend; values are owned */
    size_t change_count;
    bool revision_is_whole;
    struct prng prng;
};

/* Keys short and long (with child layers), some prefixes of others. */
struct kv_model *kv_model_new(uint64_t seed);
void kv_model_free(struct kv_model *m);

struct slice kv_model_key(struct kv_model *m); /* any */

/* Draws a put or a delete of a key and remembers it: of the last revision with the next sub, or
 * of a new revision. The caller inserts it. */
struct kv_record *kv_model_change(struct kv_model *m);

/* The last revision gets no more changes: what a freeze and a view need. */
void kv_model_end_revision(struct kv_model *m);

int64_t kv_model_revision(const struct kv_model *m);

/* The newest change of key with mod.main <= revision; NULL: none. */
const struct kv_record *kv_model_get(const struct kv_model *m, struct slice key, int64_t revision);

/* As kv_view_hash. */
uint64_t kv_model_hash(const struct kv_model *m, int64_t compact_revision, int64_t revision);

#endif
