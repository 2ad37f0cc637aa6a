/* record.h: one change of one key, as memtables, trees and views hand it around. A value. */
#ifndef STORAGE_RECORD_H
#define STORAGE_RECORD_H

#include "base/slice.h"

/* A revision is the number of the change (etcd's "main"); sub counts the keys that the same
 * transaction changed before this one. */
struct kv_revision {
    int64_t main;
    uint32_t sub;
};

struct kv_record {
    struct slice key;
    struct slice value;
    struct kv_revision mod;  /* of this change */
    int64_t create_revision; /* of the put that made the key; of a tombstone: 0 */
    int64_t version;         /* puts since then; of a tombstone: 0 */
    int64_t lease;           /* 0: none */
    bool tombstone;
    uint32_t value_bytes; /* also where the value itself is not loaded */
    uint64_t sum;         /* kv_record_sum: travels with the record, checked on reads */
};

/* Over key, value and all numbers: equal on every replica. */
uint64_t kv_record_sum(const struct kv_record *record);

#endif
