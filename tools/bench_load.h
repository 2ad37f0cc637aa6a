/* bench_load.h: which requests a workload makes, and what its answers mean.
 *
 * Each call in flight has a slot with request buffers of its own, so that nothing is allocated once
 * every slot has been used.
 *
 * Owner:  the run. Thread: the run's.
 * Chance: a seeded generator; the same options make the same requests, in the order of the calls.
 * Errors: false: out of memory.
 */
#ifndef TOOLS_BENCH_LOAD_H
#define TOOLS_BENCH_LOAD_H

#include "base/prng.h"
#include "tools/bench_flags.h"
#include "tools/bench_request.h"

struct bench_slot {
    struct bench_request put;
    struct bench_request other;
    uint64_t key;
    bool is_read;
};

struct bench_load {
    const struct bench_options *options; /* borrowed */
    struct bench_keys keys;
    uint8_t *value;
    struct bench_slot *slots;
    size_t slot_count;
    uint64_t *revisions; /* txn: what each key's mod_revision was last seen to be */
    uint32_t *order;     /* load: the keys, shuffled */
    uint64_t next;       /* put and load: how many there were */
    struct prng prng;
};

struct bench_load_request {
    struct slice path; /* static */
    struct slice body; /* until the slot's next request */
};

bool bench_load_open(struct bench_load *l, const struct bench_options *options, size_t slot_count)
    __attribute__((warn_unused_result));
void bench_load_close(struct bench_load *l); /* zeroed or half-open is fine */

/* 0: until the time is over. */
uint64_t bench_load_total(const struct bench_load *l);

bool bench_load_next(struct bench_load *l, size_t slot, struct bench_load_request *ret_request)
    __attribute__((warn_unused_result));

/* So many bytes from the start of an answer's message are needed. */
size_t bench_load_head_bytes(const struct bench_load *l);

enum bench_outcome {
    BENCH_DONE,
    BENCH_DONE_EMPTY,     /* a read that found nothing */
    BENCH_COMPARE_FAILED, /* the slot knows the revision now */
    BENCH_NOT_UNDERSTOOD,
};

/* The answer to the slot's last request, which succeeded. */
enum bench_outcome bench_load_answer(struct bench_load *l, size_t slot, struct slice message);

#endif
