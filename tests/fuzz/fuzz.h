/* fuzz.h: decoders and what stands behind them, as functions of any bytes.
 *
 * A target takes an input and must neither crash, leak nor trip an assert, whatever it is (I9).
 * Checksums would keep mutations out: where bytes have one the harness may seal them again, so
 * that what lies behind is reached (reseal.h); an input says in its first byte whether.
 * Two drivers: main.c (gcc with the sanitizers, corpus and seeded mutations, in make test) and
 * libfuzzer.c (make fuzz with clang). The corpus is small and made by the encoders themselves
 * (make fuzz-corpus): a new message is covered once its seed is there.
 * Owner: nobody; a target keeps nothing between runs. Thread: one.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>

#include "base/slice.h"

enum { FUZZ_INPUT_BYTES_MAX = 1 << 16 };

/* Takes one seed: a file's name and its bytes, which it copies. */
typedef void fuzz_seed_fn(void *owner, const char *name, struct slice bytes);

struct fuzz_target {
    const char *name;
    unsigned runs; /* mutations in make test */
    void (*run)(struct slice input);
    void (*seeds)(fuzz_seed_fn *add, void *owner);
};

extern const struct fuzz_target *const fuzz_targets[];
extern const size_t fuzz_target_count;

/* NULL: none of this name. */
const struct fuzz_target *fuzz_target_find(const char *name);

extern const struct fuzz_target fuzz_peer;
extern const struct fuzz_target fuzz_raft;
extern const struct fuzz_target fuzz_entry;
extern const struct fuzz_target fuzz_journal_page;
extern const struct fuzz_target fuzz_journal;
extern const struct fuzz_target fuzz_identity;
extern const struct fuzz_target fuzz_store_meta;
extern const struct fuzz_target fuzz_row;
extern const struct fuzz_target fuzz_repair_mark;
extern const struct fuzz_target fuzz_snapshot_chunk;
extern const struct fuzz_target fuzz_snapshot;
extern const struct fuzz_target fuzz_config;
extern const struct fuzz_target fuzz_membership;
extern const struct fuzz_target fuzz_formation;
extern const struct fuzz_target fuzz_options;
extern const struct fuzz_target fuzz_request;
extern const struct fuzz_target fuzz_http2;

/* ---- reading an input: past its end there are zeros ---- */

struct fuzz_reader {
    struct slice left;
};

static inline uint8_t fuzz_u8(struct fuzz_reader *r)
{
    if (r->left.size == 0)
        return 0;
    uint8_t value = r->left.data[0];
    r->left = slice_of(r->left.data + 1, r->left.size - 1);
    return value;
}

static inline uint16_t fuzz_u16(struct fuzz_reader *r)
{
    uint16_t low = fuzz_u8(r);
    return (uint16_t)(low | fuzz_u8(r) << 8);
}

/* At most `size` bytes, fewer at the end. */
static inline struct slice fuzz_take(struct fuzz_reader *r, size_t size)
{
    struct slice taken = slice_of(r->left.data, size < r->left.size ? size : r->left.size);
    if (taken.size > 0)
        r->left = slice_of(r->left.data + taken.size, r->left.size - taken.size);
    return taken;
}

/* ---- writing a seed ---- */

struct fuzz_writer {
    uint8_t bytes[FUZZ_INPUT_BYTES_MAX];
    size_t size;
};

void fuzz_put_u8(struct fuzz_writer *w, unsigned value);
void fuzz_put_u16(struct fuzz_writer *w, size_t value);
void fuzz_put(struct fuzz_writer *w, struct slice bytes);

#endif
