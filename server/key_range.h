/* key_range.h: etcd's way to say which keys: key and range_end.
 *
 * range_end empty: the key alone; "\0": every key from `key` on; else [key, range_end).
 * Thread: any; values.
 */
#ifndef SERVER_KEY_RANGE_H
#define SERVER_KEY_RANGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/slice.h"

struct key_range {
    struct slice start;
    struct slice end;
    bool is_point; /* start alone */
    bool is_open;  /* no upper end */
};

static inline struct slice slice_of_pb(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

struct key_range key_range_point(struct slice key);
struct key_range key_range_of(ProtobufCBinaryData key, ProtobufCBinaryData range_end);

bool key_range_is_empty(const struct key_range *r);

/* Of a key at or after start: whether the range reaches it. */
bool key_range_has(const struct key_range *r, struct slice key);

#endif
