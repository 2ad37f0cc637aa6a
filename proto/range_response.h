/* range_response.h: packs a RangeResponse, which may hold many thousand records.
 *
 * protobuf-c packs by descriptors, a call for each field; here the fields are known. The bytes are
 * the same: field by field in the order of their numbers, and none that has its default value.
 *
 * Owner:  the caller; nothing is kept. Fields that the message does not know are not packed: who
 *         makes a response sets none. Thread: any.
 */
#ifndef PROTO_RANGE_RESPONSE_H
#define PROTO_RANGE_RESPONSE_H

#include "rpc.pb-c.h"

size_t range_response_size(const Etcdserverpb__RangeResponse *r);

/* `to` has room for range_response_size, which it returns. */
size_t range_response_pack(const Etcdserverpb__RangeResponse *r, uint8_t *to);

#endif
