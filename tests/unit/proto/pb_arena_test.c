#include <criterion/criterion.h>

#include "proto/pb_arena.h"
#include "rpc.pb-c.h"
#include "state.pb-c.h"

enum { URLS = 64, URL_BYTES = 100 };

/* A record with URLS long strings, packed into `a`. */
static struct slice record_packed(struct arena *a)
{
    static char url[URL_BYTES + 1];
    static char *urls[URLS];
    memset(url, 'u', URL_BYTES);
    for (size_t i = 0; i < URLS; i++)
        urls[i] = url;
    Holdfastpb__MemberRecord record = HOLDFASTPB__MEMBER_RECORD__INIT;
    record.id = 7;
    record.n_peer_urls = URLS;
    record.peer_urls = urls;
    struct slice bytes = { 0 };
    cr_assert(pb_arena_pack(a, &record.base, &bytes));
    return bytes;
}

Test(pb_arena, unpacks_what_it_packed)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct slice bytes = record_packed(&a);
    Holdfastpb__MemberRecord *record = (Holdfastpb__MemberRecord *)pb_arena_unpack(
        &a, &holdfastpb__member_record__descriptor, bytes);
    cr_assert_not_null(record);
    cr_assert_eq(record->id, 7);
    cr_assert_eq(record->n_peer_urls, URLS);
    cr_assert_eq(strlen(record->peer_urls[URLS - 1]), URL_BYTES);
    arena_done(&a);
}

Test(pb_arena, stops_at_the_cap_of_the_arena)
{
    struct arena packed;
    arena_init(&packed, 1 << 20);
    struct slice bytes = record_packed(&packed);
    struct arena small;
    arena_init(&small, bytes.size / 2);
    cr_assert_null(pb_arena_unpack(&small, &holdfastpb__member_record__descriptor, bytes));
    cr_assert_leq(small.total_bytes, bytes.size / 2);
    Holdfastpb__MemberRecord empty = HOLDFASTPB__MEMBER_RECORD__INIT;
    uint8_t user[4096] = { 0 };
    empty.incarnation = (ProtobufCBinaryData){ sizeof user, user };
    struct slice untouched = slice_of_text("x");
    arena_reset(&small);
    cr_assert_not(pb_arena_pack(&small, &empty.base, &untouched));
    cr_assert_eq(untouched.size, 1);
    arena_done(&small);
    arena_done(&packed);
}

/* Transactions in transactions: TxnRequest.success (2) holds RequestOp.request_txn (4). Written
 * from the innermost outwards, each in front of what it holds. */
static struct slice txn_nested(struct arena *a, unsigned levels)
{
    size_t room = (size_t)levels * 2 * 4;
    uint8_t *bytes = arena_alloc(a, room + 1);
    cr_assert_not_null(bytes);
    size_t at = room;
    for (unsigned level = 0; level < levels * 2; level++) {
        size_t size = room - at;
        cr_assert_lt(size, 1 << 21);
        at -= 4;
        bytes[at] = level % 2 == 0 ? 4 << 3 | 2 : 2 << 3 | 2;
        bytes[at + 1] = (uint8_t)(size | 0x80);
        bytes[at + 2] = (uint8_t)(size >> 7 | 0x80);
        bytes[at + 3] = (uint8_t)(size >> 14);
    }
    return slice_of(bytes + at, room - at);
}

Test(pb_arena, refuses_what_is_nested_too_deep)
{
    struct arena a;
    arena_init(&a, (size_t)256 << 20);
    const ProtobufCMessageDescriptor *txn = &etcdserverpb__txn_request__descriptor;
    cr_assert_not_null(pb_arena_unpack(&a, txn, txn_nested(&a, 1)));
    cr_assert_not_null(pb_arena_unpack(&a, txn, txn_nested(&a, PB_ARENA_DEPTH_MAX / 2)));
    cr_assert_null(pb_arena_unpack(&a, txn, txn_nested(&a, PB_ARENA_DEPTH_MAX / 2 + 1)));
    cr_assert_null(pb_arena_unpack(&a, txn, txn_nested(&a, 180000)));
    arena_done(&a);
}

Test(pb_arena, refuses_every_truncation_or_gives_a_message)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct arena packed;
    arena_init(&packed, 1 << 20);
    struct slice bytes = record_packed(&packed);
    size_t refused = 0;
    for (size_t size = 0; size < bytes.size; size++) {
        arena_reset(&a);
        refused += pb_arena_unpack(&a, &holdfastpb__member_record__descriptor,
                                   slice_of(bytes.data, size)) == NULL;
    }
    cr_assert_gt(refused, bytes.size / 2);
    arena_done(&packed);
    arena_done(&a);
}
