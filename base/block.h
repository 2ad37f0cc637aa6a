/* block.h: a counted run of bytes that several owners share.
 *
 * Log entries live in blocks from the moment they are proposed or received until they are
 * durable, sent and applied: the log window, the journal and the peers each hold a reference.
 * Thread: references are taken and dropped on the loop's thread only; a job may read the bytes
 * while the loop holds a reference for it.
 */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

struct block {
    uint32_t refs;
    size_t capacity_bytes;
    uint8_t data[];
};

/* One reference, the caller's. NULL without memory. */
struct block *block_new(size_t capacity_bytes);

struct block *block_ref(struct block *b);

/* Frees it with the last reference. NULL is fine. */
void block_unref(struct block *b);

#endif
