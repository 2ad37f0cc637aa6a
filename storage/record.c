#include "storage/record.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

/* The layout that is hashed. It is part of every row on disk and of HashKV: changing it needs a
 * new row format. Key and value go in by their own hashes, so that no byte can move from one to
 * the other unseen. */
enum {
    SUM_KEY = 0,
    SUM_VALUE = 8,
    SUM_KEY_BYTES = 16,
    SUM_VALUE_BYTES = 20,
    SUM_MAIN = 24,
    SUM_SUB = 32,
    SUM_TOMBSTONE = 36,
    SUM_CREATE = 40,
    SUM_VERSION = 48,
    SUM_LEASE = 56,
    SUM_BYTES = 64
};

uint64_t kv_record_sum(const struct kv_record *record)
{
    ASSERT(record->key.size <= UINT32_MAX);
    ASSERT(record->value.size <= UINT32_MAX);
    uint8_t bytes[SUM_BYTES];
    put_le64(bytes + SUM_KEY, checksum(record->key, 0));
    put_le64(bytes + SUM_VALUE, checksum(record->value, 0));
    put_le32(bytes + SUM_KEY_BYTES, (uint32_t)record->key.size);
    put_le32(bytes + SUM_VALUE_BYTES, (uint32_t)record->value.size);
    put_le64(bytes + SUM_MAIN, (uint64_t)record->mod.main);
    put_le32(bytes + SUM_SUB, record->mod.sub);
    put_le32(bytes + SUM_TOMBSTONE, record->tombstone);
    put_le64(bytes + SUM_CREATE, (uint64_t)record->create_revision);
    put_le64(bytes + SUM_VERSION, (uint64_t)record->version);
    put_le64(bytes + SUM_LEASE, (uint64_t)record->lease);
    return checksum(slice_of(bytes, sizeof bytes), 0);
}
