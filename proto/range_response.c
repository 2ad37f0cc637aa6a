#include "proto/range_response.h"

#include <string.h>

#include "base/varint.h"

/* Field numbers of rpc.proto and kv.proto. All are below 16: a tag is one byte. */
enum { HEADER_CLUSTER_ID = 1, HEADER_MEMBER_ID = 2, HEADER_REVISION = 3, HEADER_RAFT_TERM = 4 };
enum { KV_KEY = 1, KV_CREATE = 2, KV_MOD = 3, KV_VERSION = 4, KV_VALUE = 5, KV_LEASE = 6 };
enum { RESPONSE_HEADER = 1, RESPONSE_KVS = 2, RESPONSE_MORE = 3, RESPONSE_COUNT = 4 };

enum { KVS_AHEAD = 4, FETCH_BYTES_MAX = 512, CACHE_LINE_BYTES = 64 };

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, TAG_BYTES = 1 };

/* ---- fields ---- */

static size_t number_size(uint64_t number)
{
    return number == 0 ? 0 : TAG_BYTES + varint_size(number);
}

static size_t bytes_size(size_t size)
{
    return size == 0 ? 0 : TAG_BYTES + varint_size(size) + size;
}

/* Of a message, which is there also when it is empty. */
static size_t message_size(size_t size)
{
    return TAG_BYTES + varint_size(size) + size;
}

static uint8_t *number_put(uint8_t *to, int field, uint64_t number)
{
    if (number == 0)
        return to;
    *to++ = (uint8_t)(field << 3 | WIRE_VARINT);
    return varint_put(to, number);
}

/* What stands in front of so many bytes. */
static uint8_t *length_put(uint8_t *to, int field, size_t size)
{
    *to++ = (uint8_t)(field << 3 | WIRE_BYTES);
    return varint_put(to, size);
}

static uint8_t *bytes_put(uint8_t *to, int field, ProtobufCBinaryData bytes)
{
    if (bytes.len == 0)
        return to;
    to = length_put(to, field, bytes.len);
    memcpy(to, bytes.data, bytes.len);
    return to + bytes.len;
}

/* ---- messages ---- */

static size_t header_size(const Etcdserverpb__ResponseHeader *h)
{
    return number_size(h->cluster_id) + number_size(h->member_id) +
           number_size((uint64_t)h->revision) + number_size(h->raft_term);
}

static uint8_t *header_put(uint8_t *to, const Etcdserverpb__ResponseHeader *h)
{
    to = length_put(to, RESPONSE_HEADER, header_size(h));
    to = number_put(to, HEADER_CLUSTER_ID, h->cluster_id);
    to = number_put(to, HEADER_MEMBER_ID, h->member_id);
    to = number_put(to, HEADER_REVISION, (uint64_t)h->revision);
    return number_put(to, HEADER_RAFT_TERM, h->raft_term);
}

static size_t kv_size(const Mvccpb__KeyValue *kv)
{
    return bytes_size(kv->key.len) + number_size((uint64_t)kv->create_revision) +
           number_size((uint64_t)kv->mod_revision) + number_size((uint64_t)kv->version) +
           bytes_size(kv->value.len) + number_size((uint64_t)kv->lease);
}

static uint8_t *kv_put(uint8_t *to, const Mvccpb__KeyValue *kv)
{
    to = length_put(to, RESPONSE_KVS, kv_size(kv));
    to = bytes_put(to, KV_KEY, kv->key);
    to = number_put(to, KV_CREATE, (uint64_t)kv->create_revision);
    to = number_put(to, KV_MOD, (uint64_t)kv->mod_revision);
    to = number_put(to, KV_VERSION, (uint64_t)kv->version);
    to = bytes_put(to, KV_VALUE, kv->value);
    return number_put(to, KV_LEASE, (uint64_t)kv->lease);
}

/* Values lie all over the store: of many, the first are no longer in the near caches. */
static void value_fetch(const Mvccpb__KeyValue *kv)
{
    size_t size = kv->value.len < FETCH_BYTES_MAX ? kv->value.len : FETCH_BYTES_MAX;
    for (size_t at = 0; at < size; at += CACHE_LINE_BYTES)
        __builtin_prefetch(kv->value.data + at);
}

size_t range_response_size(const Etcdserverpb__RangeResponse *r)
{
    size_t size = r->header ? message_size(header_size(r->header)) : 0;
    for (size_t i = 0; i < r->n_kvs; i++)
        size += message_size(kv_size(r->kvs[i]));
    return size + number_size(r->more != 0) + number_size((uint64_t)r->count);
}

size_t range_response_pack(const Etcdserverpb__RangeResponse *r, uint8_t *to)
{
    uint8_t *begin = to;
    if (r->header)
        to = header_put(to, r->header);
    for (size_t i = 0; i < r->n_kvs; i++) {
        if (i + KVS_AHEAD < r->n_kvs)
            value_fetch(r->kvs[i + KVS_AHEAD]);
        to = kv_put(to, r->kvs[i]);
    }
    to = number_put(to, RESPONSE_MORE, r->more != 0);
    to = number_put(to, RESPONSE_COUNT, (uint64_t)r->count);
    return (size_t)(to - begin);
}
