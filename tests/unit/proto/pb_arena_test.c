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

/* ---- depth ---- */

enum { NEST_BYTES_MAX = 3 << 19 };

/* A TxnRequest with `levels` transactions inside each other, back to front: each level is a
 * success operation (field 2 of TxnRequest) that is a transaction (field 4 of RequestOp). */
static struct slice txn_nested(uint8_t *buffer, uint32_t levels)
{
    uint8_t *at = buffer + NEST_BYTES_MAX;
    for (uint32_t i = 0; i < 2 * levels; i++) {
        uint8_t head[8];
        size_t size = 0;
        head[size++] = i % 2 == 0 ? 4 << 3 | 2 : 2 << 3 | 2;
        size_t left = (size_t)(buffer + NEST_BYTES_MAX - at);
        for (; left >= 0x80; left >>= 7)
            head[size++] = (uint8_t)(left | 0x80);
        head[size++] = (uint8_t)left;
        at -= size;
        cr_assert_geq(at, buffer);
        memcpy(at, head, size);
    }
    return slice_of(at, (size_t)(buffer + NEST_BYTES_MAX - at));
}

Test(pb_arena, refuses_what_would_take_the_stack)
{
    static uint8_t buffer[NEST_BYTES_MAX];
    struct arena a;
    arena_init(&a, 64 << 20);
    const ProtobufCMessageDescriptor *txn = &etcdserverpb__txn_request__descriptor;
    /* Each level is two messages, and one stands around them all. */
    static const struct {
        uint32_t levels;
        bool fits;
    } rows[] = { { 0, true },    { 1, true },     { 100, true },     { 149, true },
                 { 150, false }, { 1000, false }, { 100000, false }, { 150000, false } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice bytes = txn_nested(buffer, rows[i].levels);
        arena_reset(&a);
        cr_assert_eq(pb_arena_unpack(&a, txn, bytes) != NULL, rows[i].fits, "%u", rows[i].levels);
    }
    arena_done(&a);
}

Test(pb_arena, the_log_takes_a_little_more_than_clients_may_send)
{
    static uint8_t buffer[NEST_BYTES_MAX];
    struct arena a;
    arena_init(&a, 1 << 20);
    const ProtobufCMessageDescriptor *txn = &etcdserverpb__txn_request__descriptor;
    struct slice bytes = txn_nested(buffer, 150);
    cr_assert_null(pb_arena_unpack(&a, txn, bytes));
    cr_assert_not_null(pb_arena_unpack_within(&a, txn, bytes, PB_LOG_DEPTH_MAX));
    arena_done(&a);
}

Test(pb_arena, depth_is_exact)
{
    static uint8_t buffer[NEST_BYTES_MAX];
    const ProtobufCMessageDescriptor *txn = &etcdserverpb__txn_request__descriptor;
    for (uint32_t levels = 1; levels <= 10; levels++) {
        struct slice bytes = txn_nested(buffer, levels);
        cr_assert(pb_depth_is_within(txn, bytes, 2 * levels + 1));
        cr_assert_not(pb_depth_is_within(txn, bytes, 2 * levels));
    }
    /* A leaf message counts; bytes that only look like messages do not; siblings do not add up. */
    static const uint8_t compare[] = { 0x0a, 0, 0x0a, 0, 0x0a, 0 };
    cr_assert(pb_depth_is_within(txn, slice_of(compare, sizeof compare), 2));
    cr_assert_not(pb_depth_is_within(txn, slice_of(compare, sizeof compare), 1));
    static const uint8_t value[] = { 0x0a, 4, 0x12, 2, 0x22, 0 };
    cr_assert(pb_depth_is_within(&etcdserverpb__put_request__descriptor,
                                 slice_of(value, sizeof value), 1));
    static const uint8_t unknown[] = { 0x7a, 4, 0x12, 2, 0x22, 0 };
    cr_assert(pb_depth_is_within(txn, slice_of(unknown, sizeof unknown), 1));
}

/* What the depth check lets pass, and only that, reaches protobuf-c: it must not be fooled about
 * where messages begin and end. */
Test(pb_arena, the_depth_check_is_not_fooled_about_ends)
{
    static const struct {
        const char *what;
        uint8_t bytes[12];
        size_t size;
        bool fits;
    } rows[] = {
        { "varint field", { 0x08, 0x96, 0x01 }, 3, true },
        { "fixed fields", { 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7d }, 10, false },
        { "fixed32", { 0x7d, 1, 2, 3, 4 }, 5, true },
        { "fixed64", { 0x79, 1, 2, 3, 4, 5, 6, 7, 8 }, 9, true },
        { "group", { 0x7b, 0x7c }, 2, false },
        { "tag without an end", { 0x80, 0x80, 0x80, 0x80, 0x80, 0x01 }, 6, false },
        { "length past the end", { 0x12, 2, 0 }, 3, false },
        { "length of 2^32", { 0x7a, 0x80, 0x80, 0x80, 0x80, 0x10 }, 6, false },
        { "number without an end", { 0x78, 0xff, 0xff }, 3, false },
        { "child past its parent", { 0x12, 2, 0x22, 1, 0 }, 5, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool fits = pb_depth_is_within(&etcdserverpb__txn_request__descriptor,
                                       slice_of(rows[i].bytes, rows[i].size), PB_DEPTH_MAX);
        cr_assert_eq(fits, rows[i].fits, "%s", rows[i].what);
    }
}
