/* The rows of runs. A key that changes often would fill leaves with rows that hardly differ: of a
 * run each takes a quarter of one of its own. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/varint.h"
#include "storage/key_tree_internal.h"

enum {
    AT_FORMAT = 0,
    AT_COUNT = 1,
    AT_RECORDS = 2,
    FORMAT = 3,
    CHECK_BYTES = 4,
    FLAG_TOMBSTONE = 1,
    FLAG_LEASE = 2,
    FLAG_BEFORE = 4,
    FLAGS = FLAG_TOMBSTONE | FLAG_LEASE | FLAG_BEFORE,
    LEASE_BYTES = 8,
    SUM_BYTES = 8,
};

/* Of the put before it; any number has one. */
static int64_t version_before(const struct kv_record *newer)
{
    return (int64_t)((uint64_t)newer->version - 1);
}

/* Whether it is the put that the newer one followed. */
static bool is_put_before(const struct kv_record *record, const struct kv_record *newer)
{
    return !record->tombstone && !newer->tombstone && record->lease == newer->lease &&
           record->create_revision == newer->create_revision &&
           record->version == version_before(newer);
}

/* ---- writing ---- */

static uint8_t *life_put(uint8_t *to, const struct kv_record *record)
{
    to = varint_put(to, (uint64_t)record->mod.main - (uint64_t)record->create_revision);
    to = varint_put(to, (uint64_t)record->version);
    if (record->lease == 0)
        return to;
    put_le64(to, (uint64_t)record->lease);
    return to + LEASE_BYTES;
}

static uint8_t *record_put(uint8_t *to, const struct kv_record *record, uint64_t distance,
                           bool is_before)
{
    *to++ = (uint8_t)((record->tombstone ? FLAG_TOMBSTONE : 0) |
                      (record->lease != 0 && !is_before ? FLAG_LEASE : 0) |
                      (is_before ? FLAG_BEFORE : 0));
    to = varint_put(to, distance);
    to = varint_put(to, record->mod.sub);
    to = varint_put(to, record->value_bytes);
    if (!is_before)
        to = life_put(to, record);
    put_le64(to, record->sum);
    return to + SUM_BYTES;
}

size_t key_tree_run_encode(struct slice row_key, const struct kv_record *records, size_t count,
                           uint8_t ret_row[KEY_TREE_RUN_ROW_BYTES_MAX])
{
    ASSERT(count > 0 && count <= KEY_TREE_RUN_MAX);
    if (count == 1)
        return key_tree_record_encode(row_key, records, ret_row);
    ret_row[AT_FORMAT] = FORMAT;
    ret_row[AT_COUNT] = (uint8_t)count;
    int64_t oldest = records[count - 1].mod.main;
    uint8_t *to = record_put(ret_row + AT_RECORDS, &records[0],
                             (uint64_t)(records[0].mod.main - oldest), false);
    for (size_t i = 1; i < count; i++) {
        const struct kv_record *newer = &records[i - 1];
        ASSERT(records[i].mod.main < newer->mod.main);
        to = record_put(to, &records[i], (uint64_t)(newer->mod.main - records[i].mod.main),
                        is_put_before(&records[i], newer));
    }
    size_t size = (size_t)(to - ret_row) + CHECK_BYTES;
    put_le32(to, key_tree_row_check(row_key, ret_row, size));
    return size;
}

/* ---- reading ---- */

static const uint8_t *life_get(const uint8_t *at, const uint8_t *end, bool has_lease,
                               struct kv_record *record)
{
    uint64_t age, version;
    at = varint_get(at, end, &age);
    if (at != NULL)
        at = varint_get(at, end, &version);
    if (at == NULL)
        return NULL;
    record->create_revision = (int64_t)((uint64_t)record->mod.main - age);
    record->version = (int64_t)version;
    if (!has_lease)
        return at;
    if (end - at < LEASE_BYTES)
        return NULL;
    record->lease = (int64_t)get_le64(at);
    return record->lease != 0 ? at + LEASE_BYTES : NULL;
}

/* `from` is the revision that the distance is from, and its sign the direction. */
static bool distance_get(uint64_t distance, int64_t from, bool is_first, int64_t *ret_main)
{
    bool fits = is_first ? distance <= (uint64_t)(INT64_MAX - from) : distance <= (uint64_t)from;
    if (!fits || distance == 0)
        return false;
    *ret_main = is_first ? from + (int64_t)distance : from - (int64_t)distance;
    return true;
}

/* newer is NULL for the first. Behind the record; NULL: it is none. */
static const uint8_t *record_get(const uint8_t *at, const uint8_t *end, int64_t oldest,
                                 const struct kv_record *newer, struct kv_record *ret_record)
{
    if (at == end)
        return NULL;
    uint8_t flags = *at++;
    bool is_before = (flags & FLAG_BEFORE) != 0;
    uint64_t distance, sub, value_bytes;
    at = varint_get(at, end, &distance);
    if (at != NULL)
        at = varint_get(at, end, &sub);
    if (at != NULL)
        at = varint_get(at, end, &value_bytes);
    if (at == NULL || (flags & ~FLAGS) != 0 || sub > UINT32_MAX || value_bytes > UINT32_MAX)
        return NULL;
    *ret_record = (struct kv_record){ .mod = { .sub = (uint32_t)sub },
                                      .tombstone = (flags & FLAG_TOMBSTONE) != 0,
                                      .value_bytes = (uint32_t)value_bytes };
    if (!distance_get(distance, newer != NULL ? newer->mod.main : oldest, newer == NULL,
                      &ret_record->mod.main))
        return NULL;
    if (!is_before) {
        at = life_get(at, end, (flags & FLAG_LEASE) != 0, ret_record);
    } else if (newer != NULL && (flags & FLAG_LEASE) == 0) {
        ret_record->create_revision = newer->create_revision;
        ret_record->version = version_before(newer);
        ret_record->lease = newer->lease;
    }
    bool has_one_form = newer == NULL ? !is_before : is_before == is_put_before(ret_record, newer);
    if (at == NULL || !has_one_form || end - at < SUM_BYTES)
        return NULL;
    ret_record->sum = get_le64(at);
    return at + SUM_BYTES;
}

static enum store_err run_get(struct slice row, int64_t oldest, struct key_tree_run *ret_run)
{
    const uint8_t *end = row.data + row.size - CHECK_BYTES;
    const uint8_t *at = row.data + AT_RECORDS;
    uint32_t count = row.data[AT_COUNT];
    if (count < 2 || count > KEY_TREE_RUN_MAX)
        return STORE_E_CORRUPT;
    for (uint32_t i = 0; i < count && at != NULL; i++)
        at = record_get(at, end, oldest, i > 0 ? &ret_run->records[i - 1] : NULL,
                        &ret_run->records[i]);
    ret_run->count = count;
    bool is_whole = at == end && ret_run->records[count - 1].mod.main == oldest;
    return is_whole ? STORE_OK : STORE_E_CORRUPT;
}

enum store_err key_tree_run_decode(struct slice row_key, struct slice row, int64_t oldest,
                                   struct key_tree_run *ret_run)
{
    if (row.size == 0 || row.data[AT_FORMAT] != FORMAT) {
        ret_run->count = 1;
        ret_run->records[0].key = slice_of(NULL, 0);
        ret_run->records[0].mod.main = oldest;
        return key_tree_record_decode(row_key, row, &ret_run->records[0]);
    }
    enum store_err err = key_tree_row_verify(row_key, row);
    return err == STORE_OK ? run_get(row, oldest, ret_run) : err;
}
