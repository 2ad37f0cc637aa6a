/* The rows of the key tree: key codec, comparator, row codecs. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/key_tree_internal.h"
#include "storage/record_row.h"

enum { LAYER_TAG_ROOT = 0, LAYER_TAG_CHILD = 1 };

enum {
    ROW_CHECK_BYTES = 4, /* at the end of each row, whatever its format */
    ROW_BYTES_MIN = 8,
};
_Static_assert(RECORD_ROW_BYTES_MAX + ROW_CHECK_BYTES == KEY_TREE_RECORD_ROW_BYTES_MAX,
               "record row");

enum {
    LAYER_FORMAT_AND_ZERO = 0,
    LAYER_ID = 4,
    LAYER_CHECK = 12,
    LAYER_FORMAT = 1, /* in the first byte, and zeros */
};
_Static_assert(LAYER_CHECK + ROW_CHECK_BYTES == KEY_TREE_LAYER_ROW_BYTES, "layer row");

/* ---- keys ---- */

void key_tree_row_key_encode(const struct key_tree_place *place, struct key_tree_row_key *ret_key)
{
    struct slice segment = place->segment;
    ASSERT(segment.size <= KEY_TREE_SEGMENT_BYTES);
    uint8_t *to = ret_key->bytes;
    if (place->layer == KEY_TREE_ROOT) {
        *to++ = LAYER_TAG_ROOT;
    } else {
        *to++ = LAYER_TAG_CHILD;
        put_be64(to, place->layer);
        to += 8;
    }
    if (segment.size > 0)
        memcpy(to, segment.data, segment.size);
    to += segment.size;
    *to++ = (uint8_t)place->kind;
    /* Inverted, so that the newest comes first. */
    put_be64(to, place->kind == KEY_TREE_RECORD ? ~(uint64_t)place->revision : 0);
    to += 8;
    ret_key->size = (size_t)(to - ret_key->bytes);
}

enum store_err key_tree_row_key_decode(struct slice bytes, struct key_tree_place *ret_place)
{
    if (bytes.size < 1 + KEY_TREE_SUFFIX_BYTES)
        return STORE_E_CORRUPT;
    size_t layer_bytes = bytes.data[0] == LAYER_TAG_ROOT ? 1 : KEY_TREE_LAYER_BYTES;
    if (bytes.data[0] > LAYER_TAG_CHILD || bytes.size < layer_bytes + KEY_TREE_SUFFIX_BYTES)
        return STORE_E_CORRUPT;
    const uint8_t *suffix = bytes.data + bytes.size - KEY_TREE_SUFFIX_BYTES;
    struct key_tree_place place = {
        .layer = layer_bytes == 1 ? KEY_TREE_ROOT : get_be64(bytes.data + 1),
        .segment =
            slice_of(bytes.data + layer_bytes, bytes.size - layer_bytes - KEY_TREE_SUFFIX_BYTES)
    };
    if (place.segment.size > KEY_TREE_SEGMENT_BYTES)
        return STORE_E_CORRUPT;
    uint64_t inverted = get_be64(suffix + 1);
    if (suffix[0] == KEY_TREE_RECORD) {
        place.kind = KEY_TREE_RECORD;
        place.revision = (int64_t)~inverted;
        if (place.revision < 0)
            return STORE_E_CORRUPT;
    } else {
        place.kind = KEY_TREE_LAYER;
        bool is_ours = suffix[0] == KEY_TREE_LAYER && inverted == 0 &&
                       place.segment.size == KEY_TREE_SEGMENT_BYTES;
        if (!is_ours)
            return STORE_E_CORRUPT;
    }
    *ret_place = place;
    return STORE_OK;
}

int key_tree_compare(const MDB_val *a, const MDB_val *b)
{
    struct slice x = key_tree_slice(a);
    struct slice y = key_tree_slice(b);
    bool x_is_short = x.size < KEY_TREE_SUFFIX_BYTES;
    bool y_is_short = y.size < KEY_TREE_SUFFIX_BYTES;
    if (x_is_short || y_is_short)
        return x_is_short && y_is_short ? slice_compare(x, y) : y_is_short - x_is_short;
    x.size -= KEY_TREE_SUFFIX_BYTES;
    y.size -= KEY_TREE_SUFFIX_BYTES;
    int order = slice_compare(x, y);
    return order != 0 ? order : memcmp(x.data + x.size, y.data + y.size, KEY_TREE_SUFFIX_BYTES);
}

/* ---- rows ---- */

/* The key is part of it, so that a row under another key is noticed. 32 bits are enough to
 * notice damage, and rows stay dense. */
uint32_t key_tree_row_check(struct slice row_key, const uint8_t *row, size_t size)
{
    uint64_t seed = checksum(row_key, 0);
    return (uint32_t)checksum(slice_of(row, size - ROW_CHECK_BYTES), seed);
}

/* Comes first: only a row that was written so can be of a newer format. */
enum store_err key_tree_row_verify(struct slice row_key, struct slice row)
{
    if (row.size < ROW_BYTES_MIN)
        return STORE_E_CORRUPT;
    if (get_le32(row.data + row.size - ROW_CHECK_BYTES) !=
        key_tree_row_check(row_key, row.data, row.size))
        return STORE_E_CORRUPT;
    return STORE_OK;
}

size_t key_tree_record_encode(struct slice row_key, const struct kv_record *record,
                              uint8_t ret_row[KEY_TREE_RECORD_ROW_BYTES_MAX])
{
    size_t check_at = record_row_encode(record, record->mod.sub, ret_row);
    size_t size = check_at + ROW_CHECK_BYTES;
    put_le32(ret_row + check_at, key_tree_row_check(row_key, ret_row, size));
    return size;
}

enum store_err key_tree_record_decode(struct slice row_key, struct slice row,
                                      struct kv_record *record)
{
    enum store_err err = key_tree_row_verify(row_key, row);
    if (err != STORE_OK)
        return err;
    size_t check_at = row.size - ROW_CHECK_BYTES;
    size_t size;
    err = record_row_decode(slice_of(row.data, check_at), record, &record->mod.sub, &size);
    if (err != STORE_OK)
        return err;
    record->value = slice_of(NULL, 0);
    return size == check_at ? STORE_OK : STORE_E_CORRUPT;
}

void key_tree_layer_encode(struct slice row_key, uint64_t layer_id,
                           uint8_t ret_row[KEY_TREE_LAYER_ROW_BYTES])
{
    put_le32(ret_row + LAYER_FORMAT_AND_ZERO, LAYER_FORMAT);
    put_le64(ret_row + LAYER_ID, layer_id);
    put_le32(ret_row + LAYER_CHECK, key_tree_row_check(row_key, ret_row, KEY_TREE_LAYER_ROW_BYTES));
}

enum store_err key_tree_layer_decode(struct slice row_key, struct slice row, uint64_t *ret_layer_id)
{
    enum store_err err = key_tree_row_verify(row_key, row);
    if (err != STORE_OK)
        return err;
    if (get_le32(row.data + LAYER_FORMAT_AND_ZERO) != LAYER_FORMAT)
        return STORE_E_VERSION;
    if (row.size != KEY_TREE_LAYER_ROW_BYTES)
        return STORE_E_CORRUPT;
    *ret_layer_id = get_le64(row.data + LAYER_ID);
    return STORE_OK;
}
