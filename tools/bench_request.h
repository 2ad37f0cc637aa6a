/* bench_request.h: requests as they go into a DATA frame: gRPC's prefix and the message.
 *
 * A template is encoded once; for each call only the digits of its key change. They must say what
 * proto/rpc.proto says; tests unpack them.
 * Owner:  the caller frees with bench_request_done. Thread: the owner's.
 * Errors: false or NULL: out of memory.
 */
#ifndef TOOLS_BENCH_REQUEST_H
#define TOOLS_BENCH_REQUEST_H

#include "base/slice.h"

/* A key is the prefix and a number in decimal, with leading zeros. */
struct bench_keys {
    struct slice prefix;
    size_t digits;
};

struct bench_request {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    size_t digits_at; /* of the key's number; 0: there is none to change */
};

struct bench_range {
    uint64_t first; /* the key's number */
    bool to_end;    /* of all keys with the prefix; else one key */
    uint64_t limit; /* 0: none */
    bool serializable;
    bool count_only;
};

struct bench_txn {
    uint64_t key;
    uint64_t mod_revision; /* 0: the key is not there */
    struct slice value;
};

void bench_request_done(struct bench_request *r);

bool bench_request_empty(struct bench_request *r); /* a message without fields */
bool bench_request_put(struct bench_request *r, const struct bench_keys *keys, struct slice value);
bool bench_request_range(struct bench_request *r, const struct bench_keys *keys,
                         const struct bench_range *range);

/* Compares the key's mod_revision; puts it, or else reads it without its value. Encoded as a whole
 * each time. */
bool bench_request_txn(struct bench_request *r, const struct bench_keys *keys,
                       const struct bench_txn *txn);

/* Writes the number into the key of a put or range. */
void bench_request_aim(struct bench_request *r, const struct bench_keys *keys, uint64_t number);

static inline struct slice bench_request_bytes(const struct bench_request *r)
{
    return slice_of(r->bytes, r->size);
}

#endif
