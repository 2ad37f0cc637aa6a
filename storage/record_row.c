#include "storage/record_row.h"

#include "base/bytes.h"
#include "base/varint.h"

enum {
    FORMAT_FIXED = 1,
    FORMAT_COMPACT = 2,
    FLAG_TOMBSTONE = 1,
    FLAG_LEASE = 2, /* of the compact format */
};

enum { AT_FORMAT = 0, AT_FLAGS = 1 };

/* Format 1. */
enum {
    FIXED_ZERO = 2,
    FIXED_NUMBER = 4,
    FIXED_VALUE_BYTES = 8,
    FIXED_CREATE = 12,
    FIXED_VERSION = 20,
    FIXED_LEASE = 28,
    FIXED_SUM = 36,
    FIXED_BYTES = 44
};

/* Format 2. */
enum {
    COMPACT_NUMBERS = 2,
    VARINT32_BYTES_MAX = 5,
    LEASE_BYTES = 8,
    SUM_BYTES = 8,
};
_Static_assert(COMPACT_NUMBERS + 2 * VARINT32_BYTES_MAX + 2 * VARINT_BYTES_MAX + LEASE_BYTES +
                       SUM_BYTES ==
                   RECORD_ROW_BYTES_MAX,
               "the longest");

size_t record_row_encode(const struct kv_record *record, uint32_t number,
                         uint8_t ret_bytes[RECORD_ROW_BYTES_MAX])
{
    ret_bytes[AT_FORMAT] = FORMAT_COMPACT;
    ret_bytes[AT_FLAGS] =
        (uint8_t)((record->tombstone ? FLAG_TOMBSTONE : 0) | (record->lease != 0 ? FLAG_LEASE : 0));
    uint8_t *to = varint_put(ret_bytes + COMPACT_NUMBERS, number);
    to = varint_put(to, record->value_bytes);
    /* Most are young; a tombstone's is the revision itself, and any pair comes back. */
    to = varint_put(to, (uint64_t)record->mod.main - (uint64_t)record->create_revision);
    to = varint_put(to, (uint64_t)record->version);
    if (record->lease != 0) { /* a random number: no shorter as a varint */
        put_le64(to, (uint64_t)record->lease);
        to += LEASE_BYTES;
    }
    put_le64(to, record->sum);
    return (size_t)(to - ret_bytes) + SUM_BYTES;
}

static enum store_err compact_decode(struct slice row, struct kv_record *record,
                                     uint32_t *ret_number, size_t *ret_size)
{
    const uint8_t *end = row.data + row.size;
    uint64_t number, value_bytes, age, version;
    const uint8_t *at = varint_get(row.data + COMPACT_NUMBERS, end, &number);
    if (at != NULL)
        at = varint_get(at, end, &value_bytes);
    if (at != NULL)
        at = varint_get(at, end, &age);
    if (at != NULL)
        at = varint_get(at, end, &version);
    bool has_lease = (row.data[AT_FLAGS] & FLAG_LEASE) != 0;
    size_t lease_bytes = has_lease ? LEASE_BYTES : 0;
    if (at == NULL || (size_t)(end - at) < lease_bytes + SUM_BYTES || number > UINT32_MAX ||
        value_bytes > UINT32_MAX)
        return STORE_E_CORRUPT;
    record->lease = has_lease ? (int64_t)get_le64(at) : 0;
    if (has_lease && record->lease == 0)
        return STORE_E_CORRUPT; /* it has another form */
    at += lease_bytes;
    record->value_bytes = (uint32_t)value_bytes;
    record->create_revision = (int64_t)((uint64_t)record->mod.main - age);
    record->version = (int64_t)version;
    record->sum = get_le64(at);
    *ret_number = (uint32_t)number;
    *ret_size = (size_t)(at - row.data) + SUM_BYTES;
    return STORE_OK;
}

static enum store_err fixed_decode(struct slice row, struct kv_record *record, uint32_t *ret_number,
                                   size_t *ret_size)
{
    if (row.size < FIXED_BYTES)
        return STORE_E_CORRUPT;
    record->value_bytes = get_le32(row.data + FIXED_VALUE_BYTES);
    record->create_revision = (int64_t)get_le64(row.data + FIXED_CREATE);
    record->version = (int64_t)get_le64(row.data + FIXED_VERSION);
    record->lease = (int64_t)get_le64(row.data + FIXED_LEASE);
    record->sum = get_le64(row.data + FIXED_SUM);
    *ret_number = get_le32(row.data + FIXED_NUMBER);
    *ret_size = FIXED_BYTES;
    return STORE_OK;
}

enum store_err record_row_decode(struct slice row, struct kv_record *record, uint32_t *ret_number,
                                 size_t *ret_size)
{
    if (row.size < FIXED_NUMBER) /* shorter than any of both */
        return STORE_E_CORRUPT;
    uint8_t flags = row.data[AT_FLAGS];
    record->tombstone = (flags & FLAG_TOMBSTONE) != 0;
    if (row.data[AT_FORMAT] == FORMAT_COMPACT && (flags & ~(FLAG_TOMBSTONE | FLAG_LEASE)) == 0)
        return compact_decode(row, record, ret_number, ret_size);
    if (row.data[AT_FORMAT] == FORMAT_FIXED && (flags & ~FLAG_TOMBSTONE) == 0 &&
        get_le16(row.data + FIXED_ZERO) == 0)
        return fixed_decode(row, record, ret_number, ret_size);
    return STORE_E_VERSION;
}
