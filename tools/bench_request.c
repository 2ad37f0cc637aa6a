#include "tools/bench_request.h"

#include <stdlib.h>

#include "base/assert.h"
#include "rpc/grpc_codec.h"

enum {
    VARINT_BYTES_MAX = 10,
    FIELD_HEAD_BYTES_MAX = 1 + VARINT_BYTES_MAX,
    FIELDS_MAX = 12, /* in any request here, messages included */
    WIRE_VARINT = 0,
    WIRE_BYTES = 2,
};

#define TAG(number, wire) ((uint8_t)((number) << 3 | (wire)))

static size_t varint_bytes(uint64_t value)
{
    size_t size = 1;
    while (value >>= 7)
        size++;
    return size;
}

static void put_byte(struct bench_request *r, uint8_t byte)
{
    ASSERT(r->size < r->capacity);
    r->bytes[r->size++] = byte;
}

static void put_varint(struct bench_request *r, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(r, (uint8_t)(value | 0x80));
    put_byte(r, (uint8_t)value);
}

static void put_bytes(struct bench_request *r, struct slice bytes)
{
    ASSERT(bytes.size <= r->capacity - r->size);
    if (bytes.size > 0)
        memcpy(r->bytes + r->size, bytes.data, bytes.size);
    r->size += bytes.size;
}

static void put_number_field(struct bench_request *r, uint8_t field, uint64_t value)
{
    put_byte(r, TAG(field, WIRE_VARINT));
    put_varint(r, value);
}

static void put_bytes_head(struct bench_request *r, uint8_t field, size_t size)
{
    put_byte(r, TAG(field, WIRE_BYTES));
    put_varint(r, size);
}

static size_t bytes_field_bytes(size_t size)
{
    return 1 + varint_bytes(size) + size;
}

static size_t key_bytes(const struct bench_keys *keys)
{
    return keys->prefix.size + keys->digits;
}

static void put_digits(uint8_t *to, size_t digits, uint64_t number)
{
    for (size_t i = digits; i > 0; i--) {
        to[i - 1] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

/* Returns where the digits are. */
static size_t put_key_field(struct bench_request *r, uint8_t field, const struct bench_keys *keys,
                            uint64_t number)
{
    put_bytes_head(r, field, key_bytes(keys));
    put_bytes(r, keys->prefix);
    size_t at = r->size;
    ASSERT(keys->digits <= r->capacity - at);
    put_digits(r->bytes + at, keys->digits, number);
    r->size += keys->digits;
    return at;
}

/* Empty, with room for gRPC's prefix, which is written at the end, for the fields' heads and small
 * numbers, and for so many bytes of keys and values. */
static bool request_begin(struct bench_request *r, size_t payload_bytes)
{
    size_t capacity = GRPC_PREFIX_BYTES + FIELDS_MAX * FIELD_HEAD_BYTES_MAX + payload_bytes;
    if (capacity > r->capacity) {
        uint8_t *bytes = realloc(r->bytes, capacity);
        if (!bytes)
            return false;
        r->bytes = bytes;
        r->capacity = capacity;
    }
    r->size = GRPC_PREFIX_BYTES;
    r->digits_at = 0;
    return true;
}

static bool request_end(struct bench_request *r)
{
    grpc_prefix_put(r->bytes, (uint32_t)(r->size - GRPC_PREFIX_BYTES));
    return true;
}

void bench_request_done(struct bench_request *r)
{
    free(r->bytes);
    *r = (struct bench_request){ 0 };
}

bool bench_request_empty(struct bench_request *r)
{
    return request_begin(r, 0) && request_end(r);
}

bool bench_request_put(struct bench_request *r, const struct bench_keys *keys, struct slice value)
{
    if (!request_begin(r, key_bytes(keys) + value.size))
        return false;
    size_t at = put_key_field(r, 1, keys, 0);
    put_bytes_head(r, 2, value.size);
    put_bytes(r, value);
    r->digits_at = at;
    return request_end(r);
}

/* The first key behind all with the prefix: of its bytes the last that is not 0xff, one up. Without
 * such a byte: "\0", which is all keys. */
static void put_range_end(struct bench_request *r, struct slice prefix)
{
    size_t size = prefix.size;
    while (size > 0 && prefix.data[size - 1] == 0xff)
        size--;
    put_bytes_head(r, 2, size > 0 ? size : 1);
    if (size == 0) {
        put_byte(r, 0);
        return;
    }
    put_bytes(r, slice_of(prefix.data, size - 1));
    put_byte(r, (uint8_t)(prefix.data[size - 1] + 1));
}

bool bench_request_range(struct bench_request *r, const struct bench_keys *keys,
                         const struct bench_range *range)
{
    if (!request_begin(r, 2 * key_bytes(keys) + 1))
        return false;
    size_t at = put_key_field(r, 1, keys, range->first);
    if (range->to_end)
        put_range_end(r, keys->prefix);
    if (range->limit > 0)
        put_number_field(r, 3, range->limit);
    if (range->serializable)
        put_number_field(r, 7, 1);
    if (range->count_only)
        put_number_field(r, 9, 1);
    r->digits_at = at;
    return request_end(r);
}

/* Compare { result = EQUAL (0, left out), target = MOD, key, mod_revision } */
static void put_compare(struct bench_request *r, const struct bench_keys *keys,
                        const struct bench_txn *txn)
{
    enum { TARGET_MOD = 2 };
    size_t size = 2 + bytes_field_bytes(key_bytes(keys)) + 1 + varint_bytes(txn->mod_revision);
    put_bytes_head(r, 1, size);
    put_number_field(r, 2, TARGET_MOD);
    put_key_field(r, 3, keys, txn->key);
    put_number_field(r, 6, txn->mod_revision); /* in a oneof: 0 is written too */
}

bool bench_request_txn(struct bench_request *r, const struct bench_keys *keys,
                       const struct bench_txn *txn)
{
    size_t key = bytes_field_bytes(key_bytes(keys));
    if (!request_begin(r, 3 * key_bytes(keys) + txn->value.size))
        return false;
    put_compare(r, keys, txn);

    size_t put = key + bytes_field_bytes(txn->value.size);
    put_bytes_head(r, 2, bytes_field_bytes(put)); /* RequestOp of success */
    put_bytes_head(r, 2, put);
    put_key_field(r, 1, keys, txn->key);
    put_bytes_head(r, 2, txn->value.size);
    put_bytes(r, txn->value);

    size_t range = key + 2;
    put_bytes_head(r, 3, bytes_field_bytes(range)); /* RequestOp of failure */
    put_bytes_head(r, 1, range);
    put_key_field(r, 1, keys, txn->key);
    put_number_field(r, 8, 1); /* keys_only */
    return request_end(r);
}

void bench_request_aim(struct bench_request *r, const struct bench_keys *keys, uint64_t number)
{
    ASSERT(r->digits_at > 0);
    put_digits(r->bytes + r->digits_at, keys->digits, number);
}
