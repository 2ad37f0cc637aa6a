#include "server/key_range.h"

struct key_range key_range_point(struct slice key)
{
    return (struct key_range){ .start = key, .end = key, .is_point = true };
}

struct key_range key_range_of(ProtobufCBinaryData key, ProtobufCBinaryData range_end)
{
    if (range_end.len == 0)
        return key_range_point(slice_of_pb(key));
    return (struct key_range){
        .start = slice_of_pb(key),
        .end = slice_of_pb(range_end),
        .is_open = range_end.len == 1 && range_end.data[0] == 0,
    };
}

bool key_range_is_empty(const struct key_range *r)
{
    return !r->is_point && !r->is_open && slice_compare(r->start, r->end) >= 0;
}

bool key_range_has(const struct key_range *r, struct slice key)
{
    if (slice_compare(key, r->start) < 0)
        return false;
    if (r->is_point)
        return slice_equal(key, r->start);
    return r->is_open || slice_compare(key, r->end) < 0;
}
