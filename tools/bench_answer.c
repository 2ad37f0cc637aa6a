#include "tools/bench_answer.h"

struct field {
    uint32_t number;
    uint64_t value;     /* of a varint */
    struct slice bytes; /* of what has a length; what is there of it */
};

static bool take_varint(struct slice *from, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && from->size > 0; shift += 7) {
        uint8_t byte = *from->data;
        *from = slice_of(from->data + 1, from->size - 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The messages here have varints and bytes alone. */
static bool take_field(struct slice *from, struct field *ret_field)
{
    uint64_t tag;
    uint64_t value;
    if (!take_varint(from, &tag) || !take_varint(from, &value))
        return false;
    *ret_field = (struct field){ .number = (uint32_t)(tag >> 3), .value = value };
    if ((tag & 7) == 0)
        return true;
    if ((tag & 7) != 2)
        return false;
    size_t size = value < from->size ? (size_t)value : from->size;
    ret_field->bytes = slice_of(from->data, size);
    *from = slice_of(from->data + size, from->size - size);
    return true;
}

/* The first field of that number. */
static bool find(struct slice message, uint32_t number, struct field *ret_field)
{
    while (take_field(&message, ret_field)) {
        if (ret_field->number == number)
            return true;
    }
    return false;
}

bool bench_answer_has_key(struct slice message)
{
    struct field kvs;
    return find(message, 2, &kvs);
}

bool bench_answer_txn(struct slice message, struct bench_answer_txn *ret_txn)
{
    struct field field;
    struct field header;
    struct bench_answer_txn txn = { 0 };
    if (!find(message, 1, &header) || !find(header.bytes, 3, &field))
        return false;
    txn.revision = field.value;
    txn.succeeded = find(message, 2, &field) && field.value != 0;
    /* ResponseOp, RangeResponse, the first KeyValue of it, its mod_revision */
    if (!txn.succeeded && find(message, 3, &field) && find(field.bytes, 1, &field) &&
        find(field.bytes, 2, &field) && find(field.bytes, 3, &field))
        txn.mod_revision = field.value;
    *ret_txn = txn;
    return true;
}
