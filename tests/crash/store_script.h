/* store_script.h: a sequence of flushes made from a seed, and what a store must hold after each.
 *
 * Owner: the caller; made on the heap. Thread: one. Errors: what a check finds wrong is a text;
 * making a script asserts.
 */
#ifndef TESTS_CRASH_STORE_SCRIPT_H
#define TESTS_CRASH_STORE_SCRIPT_H

#include "tests/support/store_model.h"

enum {
    STORE_SCRIPT_FLUSHES_MAX = 16,
    STORE_SCRIPT_ENTRIES_MAX = 512,
    STORE_SCRIPT_WHY_BYTES = 256
};

/* steps[0] is the state of a new store; steps[i] the one after the i-th flush. */
struct store_step {
    struct memtable *memtable; /* NULL: no changes of keys */
    size_t entry_count;
    uint64_t log_keep_index;
    struct store_state state;
};

struct store_script {
    struct store_model model; /* all records that ever were: nothing is compacted there */
    size_t later[STORE_MODEL_RECORDS_MAX]; /* the next record of the same key; SIZE_MAX: none */
    struct raft_entry entries[STORE_SCRIPT_ENTRIES_MAX]; /* from index 1 on */
    size_t entry_count;
    struct store_step steps[STORE_SCRIPT_FLUSHES_MAX + 1];
    uint32_t flush_count;
    struct store_options options; /* path and io are filled in */
    struct inline_io io;
};

struct store_script_options {
    uint64_t seed;
    uint32_t flush_count;
    uint32_t changes_max;     /* of a flush */
    uint32_t value_bytes_max; /* of one in eight values; the others are short */
    uint64_t dirty_bytes_max; /* of a transaction */
};

struct store_script *store_script_new(const struct store_script_options *options);
void store_script_free(struct store_script *s);

/* Opens the store below `path`; runs flush i (1-based). False: it failed, and why. */
bool store_script_open(struct store_script *s, const char *path, struct store **ret_store,
                       char *why);
bool store_script_flush(struct store_script *s, struct store *store, uint32_t i, char *why);

/* The step that this store stands at, [low, high]; false: at none of them. */
bool store_script_find(const struct store_script *s, const struct store *store, uint32_t low,
                       uint32_t high, uint32_t *ret_i, char *why);

/* Everything that the store holds is what step i says. */
bool store_script_holds(struct store_script *s, struct store *store, uint32_t i, char *why);

/* Recovers the store below `path`: it stands at a step of [low, high] and holds it; then it takes
 * the next flush and holds that one too, also when it is opened once more. */
bool store_script_recovers(struct store_script *s, const char *path, uint32_t low, uint32_t high,
                           char *why);

#endif
