/* demo_load.h: writers that remember what was acknowledged to them, and the check afterwards.
 *
 * Owner:    demo_load_start's writers run until demo_load_stop; the record lives to
 *           demo_load_done.
 * Thread:   one a writer; the functions here are the main thread's.
 * Bounds:   DEMO_WRITE_COUNT_MAX writes of one writer, which ends there.
 */
#ifndef TOOLS_DEMO_LOAD_H
#define TOOLS_DEMO_LOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/demo_node.h"

enum { DEMO_WRITER_COUNT = 4, DEMO_WRITE_COUNT_MAX = 1 << 20 };

struct demo_load;

struct demo_writer {
    struct demo_load *load;
    uint32_t id;
    pthread_t thread;
    bool is_running;
    uint8_t *acknowledged; /* by number of the write: 0 or 1 */
    uint32_t write_count;  /* begun; the main thread reads it after the writer ended */
};

struct demo_load {
    const struct demo_nodes *nodes;
    struct demo_writer writers[DEMO_WRITER_COUNT];
    pthread_mutex_t lock; /* of what follows */
    bool stops;
    uint64_t acknowledged_count;
    uint64_t unknown_count; /* neither acknowledged nor known not to be there */
    uint64_t last_us;       /* when the last acknowledgement came */
    uint64_t gap_us;        /* the longest time without one since demo_load_watch */
};

bool demo_load_start(struct demo_load *load, const struct demo_nodes *nodes)
    __attribute__((warn_unused_result));

uint64_t demo_load_acknowledged(struct demo_load *load);

/* Begins to look for the longest standstill; demo_load_gap_ms says what it has been since. */
void demo_load_watch(struct demo_load *load);
uint64_t demo_load_gap_ms(struct demo_load *load);

void demo_load_stop(struct demo_load *load);
void demo_load_done(struct demo_load *load);

/* Reads all keys from one node alone, at `revision`. *ret_missing counts acknowledged writes
 * that are not there or have another value. False: the node could not be read. */
bool demo_load_verify(const struct demo_load *load, const struct demo_node *node, int64_t revision,
                      uint64_t *ret_present, uint64_t *ret_missing)
    __attribute__((warn_unused_result));

#endif
