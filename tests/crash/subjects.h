/* subjects.h: what explore.h explores: the store alone, and a data directory as a node makes it,
 * with identity, store, and the journal in front.
 *
 * Both work through a store_script. The second writes the script's entries into a journal first,
 * in batches of its own that run ahead of the flushes, with now and then another term or vote:
 * as a node does, an entry counts once its batch has completed, and a segment is released once
 * the store has its entries.
 */
#ifndef TESTS_CRASH_SUBJECTS_H
#define TESTS_CRASH_SUBJECTS_H

#include "tests/crash/explore.h"
#include "tests/crash/store_script.h"

/* Syncs to be left out of the recording, and when. */
struct subject_faults {
    enum record_drop in_open; /* the store's, of the first life */
    enum record_drop in_flush;
    enum record_drop in_journal;  /* its writes */
    enum record_drop again_store; /* opening it after a crash, where one goes deeper */
    enum record_drop again_journal;
};

struct subject {
    struct store_script *script;
    struct subject_faults faults;
    uint64_t seed;
};

void subject_store(struct explorer *x, struct subject *subject);
void subject_node(struct explorer *x, struct subject *subject);

#endif
