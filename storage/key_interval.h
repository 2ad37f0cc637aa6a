/* key_interval.h: the keys of [start, end). A value of borrowed slices. Thread: any. */
#ifndef STORAGE_KEY_INTERVAL_H
#define STORAGE_KEY_INTERVAL_H

#include "base/slice.h"

struct key_interval {
    struct slice start;
    struct slice end;
    bool end_is_open; /* no upper end; `end` is not looked at */
};

/* Whether `key` lies before the end. */
static inline bool key_interval_reaches(const struct key_interval *k, struct slice key)
{
    return k->end_is_open || slice_compare(key, k->end) < 0;
}

static inline bool key_interval_has(const struct key_interval *k, struct slice key)
{
    return slice_compare(key, k->start) >= 0 && key_interval_reaches(k, key);
}

static inline bool key_interval_is_empty(const struct key_interval *k)
{
    return !key_interval_reaches(k, k->start);
}

#endif
