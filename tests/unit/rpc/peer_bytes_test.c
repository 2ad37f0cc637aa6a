/* Bytes that no member would send: they end their own connection, are counted, and do no more. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"
#include "rpc/peer_codec.h"
#include "rpc/peer_frame.h"
#include "tests/support/peer_entries.h"
#include "tests/support/peer_rig.h"

static struct peer_rig rig;
static struct peer_rig_node *const a = &rig.nodes[0];
static struct peer_rig_node *const b = &rig.nodes[1];

static bool pair_is_up(struct peer_rig *r)
{
    (void)r;
    return peer_net_is_up(a->net, b->id) && peer_net_is_up(b->net, a->id);
}

static void pair_up(void)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    peer_rig_add(a, b);
    peer_rig_add(b, a);
    peer_rig_run(&rig, pair_is_up);
}

/* Whatever came in beside it, the pair's own links are untouched. */
static void pair_done(void)
{
    cr_assert(pair_is_up(&rig));
    cr_assert_eq(a->links_down + b->links_down, 0);
    peer_rig_close(&rig);
}

/* b knows member 3, which is the test itself. */
static void stranger_known(void)
{
    const char *nowhere = "http://127.0.0.1:1";
    cr_assert_eq(peer_net_add(b->net, 3, &nowhere, 1), PEER_OK);
}

static struct peer_hello stranger_hello(void)
{
    struct peer_hello hello = a->options.self;
    hello.member_id = 3;
    hello.to_member_id = b->id;
    return hello;
}

static void send_out(struct peer_rig_raw *raw, struct peer_out *out)
{
    cr_assert_not_null(out);
    peer_rig_raw_send(raw, slice_of(out->bytes, out->size));
    free(out);
}

/* Introduced as member 3. */
static void raw_up(struct peer_rig_raw *raw)
{
    peer_rig_raw_open(raw, b);
    struct peer_hello hello = stranger_hello();
    send_out(raw, peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW));
    peer_rig_raw_wait_bytes(raw, PEER_FRAME_HEADER_BYTES + 1);
}

static uint64_t bad(void)
{
    return peer_net_counters(b->net)->frames_bad;
}

/* The node closes the connection, and counts one more bad frame. */
static void expect_bad(struct peer_rig_raw *raw, uint64_t bad_before, const char *what)
{
    peer_rig_raw_wait_end(raw);
    cr_assert_eq(bad(), bad_before + 1, "%s", what);
    peer_rig_raw_close(raw);
}

Test(peer_bytes, garbage_before_the_hello, .init = pair_up, .fini = pair_done)
{
    struct prng prng = prng_seeded(3);
    for (int i = 0; i < 20; i++) {
        uint8_t garbage[256];
        for (size_t k = 0; k < sizeof garbage; k++)
            garbage[k] = (uint8_t)prng_next(&prng);
        struct peer_rig_raw raw;
        uint64_t before = bad();
        peer_rig_raw_open(&raw, b);
        peer_rig_raw_send(&raw, slice_of(garbage, sizeof garbage));
        expect_bad(&raw, before, "garbage");
    }
    struct peer_rig_raw raw;
    uint64_t before = bad();
    peer_rig_raw_open(&raw, b);
    static const char http[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    peer_rig_raw_send(&raw, slice_of(http, sizeof http));
    expect_bad(&raw, before, "http");
}

Test(peer_bytes, every_flipped_byte_of_a_hello, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_hello hello = stranger_hello();
    struct peer_out *out = peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW);
    for (size_t at = 0; at < out->size; at++) {
        struct peer_rig_raw raw;
        uint64_t before = bad();
        out->bytes[at] ^= 0x40;
        peer_rig_raw_open(&raw, b);
        peer_rig_raw_send(&raw, slice_of(out->bytes, out->size));
        expect_bad(&raw, before, "flip");
        out->bytes[at] ^= 0x40;
    }
    free(out);
}

static bool b_is_rid_of_it(struct peer_rig *r)
{
    (void)r;
    return peer_net_counters(b->net)->connections_silent > 0;
}

Test(peer_bytes, a_truncated_hello_waits_for_its_time_out)
{
    peer_rig_open(&rig);
    b->options.handshake_timeout_ms = 20;
    peer_rig_node_open(b, 2);
    struct peer_hello hello = stranger_hello();
    struct peer_out *out = peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW);
    struct peer_rig_raw raw;
    peer_rig_raw_open(&raw, b);
    peer_rig_raw_send(&raw, slice_of(out->bytes, out->size - 1));
    peer_rig_run(&rig, b_is_rid_of_it);
    peer_rig_raw_wait_end(&raw);
    cr_assert_eq(bad(), 0);
    peer_rig_raw_close(&raw);
    free(out);
    peer_rig_close(&rig);
}

Test(peer_bytes, messages_before_the_hello, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT };
    struct peer_rig_raw raw;
    uint64_t before = bad();
    peer_rig_raw_open(&raw, b);
    send_out(&raw, peer_encode_raft(&msg, 1 << 20));
    expect_bad(&raw, before, "raft");
    peer_rig_raw_open(&raw, b);
    send_out(&raw, peer_encode_ping());
    expect_bad(&raw, before + 1, "ping");
    cr_assert_eq(b->raft_count, 0);
}

/* A length that is fine later on, and more than anybody may ask for unknown. */
Test(peer_bytes, a_large_frame_before_the_hello, .init = pair_up, .fini = pair_done)
{
    uint8_t header[PEER_FRAME_HEADER_BYTES + PEER_FRAME_BYTES_MIN] = { 0 };
    peer_frame_seal(header, 0, PEER_FRAME_BYTES_MIN);
    struct peer_rig_raw raw;
    uint64_t before = bad();
    peer_rig_raw_open(&raw, b);
    peer_rig_raw_send(&raw, slice_of(header, PEER_FRAME_HEADER_BYTES));
    expect_bad(&raw, before, "large");
}

static bool b_got_one(struct peer_rig *r)
{
    (void)r;
    return b->raft_count == 1;
}

Test(peer_bytes, a_hello_split_into_bytes_is_one, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_hello hello = stranger_hello();
    struct peer_out *out = peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW);
    struct peer_rig_raw raw;
    peer_rig_raw_open(&raw, b);
    for (size_t i = 0; i < out->size; i++)
        peer_rig_raw_send(&raw, slice_of(out->bytes + i, 1));
    free(out);
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT };
    send_out(&raw, peer_encode_raft(&msg, 1 << 20));
    peer_rig_run(&rig, b_got_one);
    cr_assert_eq(b->raft.from, 3);
    peer_rig_raw_close(&raw);
}

Test(peer_bytes, an_entry_that_fails_its_own_checksum, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 3, 50);
    struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                            .term = 3,
                            .append = {
                                .prev = { 3, 10 }, .entries = entries.entries, .entry_count = 3 } };
    entries.block->data[entries.entries[0].bytes.size * 2 - 1] ^= 1; /* the second's last byte */
    struct peer_rig_raw raw;
    raw_up(&raw);
    uint64_t before = bad();
    send_out(&raw, peer_encode_raft(&msg, 1 << 20));
    expect_bad(&raw, before, "entry");
    cr_assert_eq(b->raft_count, 0, "not even the good entries");
    block_unref(entries.block);
}

Test(peer_bytes, a_frame_over_the_cap, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_rig_raw raw;
    raw_up(&raw);
    uint64_t before = bad();
    char *command = calloc(1, 1 << 20);
    struct peer_forward forward = { .command = slice_of(command, 1 << 20) };
    struct peer_out *out = peer_encode_forward(&forward, 2 << 20);
    peer_rig_raw_send(&raw, slice_of(out->bytes, PEER_FRAME_HEADER_BYTES));
    expect_bad(&raw, before, "over the cap");
    free(out);
    free(command);
}

Test(peer_bytes, a_second_hello, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_rig_raw raw;
    raw_up(&raw);
    uint64_t before = bad();
    struct peer_hello hello = stranger_hello();
    send_out(&raw, peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW));
    expect_bad(&raw, before, "second hello");
}

Test(peer_bytes, pings_are_answered, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_rig_raw raw;
    raw_up(&raw);
    size_t before = raw.size;
    send_out(&raw, peer_encode_ping());
    peer_rig_raw_wait_bytes(&raw, before + PEER_FRAME_HEADER_BYTES);
    struct peer_frame frame;
    cr_assert_eq(peer_frame_decode(raw.received + before, 1 << 20, &frame), PEER_FRAME_OK);
    cr_assert_eq(frame.head_bytes + frame.attachment_bytes, 0);
    peer_rig_raw_close(&raw);
}

static bool b_has_a_death(struct peer_rig *r)
{
    (void)r;
    return b->deaths > 0;
}

/* What formation relies on: see peer.h, Disks. */
Test(peer_bytes, the_newest_connection_is_the_member, .init = pair_up, .fini = pair_done)
{
    stranger_known();
    struct peer_rig_raw first, second, restarted;
    raw_up(&first);
    raw_up(&second);
    peer_rig_raw_wait_end(&first);
    cr_assert_eq(b->deaths, 0, "the same process");
    peer_rig_raw_open(&restarted, b);
    struct peer_hello hello = stranger_hello();
    memset(hello.process, 0x77, sizeof hello.process);
    send_out(&restarted, peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW));
    peer_rig_run(&rig, b_has_a_death);
    peer_rig_raw_wait_end(&second);
    cr_assert_eq(bad(), 0);
    cr_assert_eq(peer_net_counters(b->net)->connections_silent, 0, "closed, not timed out");
    peer_rig_raw_close(&first);
    peer_rig_raw_close(&second);
    peer_rig_raw_close(&restarted);
}

/* The same when it is our own dialled connection that meets the new process. */
Test(peer_bytes, an_answer_of_another_process_ends_the_old_connection, .init = pair_up,
     .fini = pair_done)
{
    struct peer_rig_node *c = &rig.nodes[2];
    const char *nowhere = "http://127.0.0.1:1";
    stranger_known();
    struct peer_rig_raw old;
    raw_up(&old);
    peer_rig_node_open(c, 9);
    cr_assert_eq(peer_net_add(c->net, b->id, &nowhere, 1), PEER_OK);
    peer_rig_add(b, c); /* where member 3 really is */
    peer_rig_raw_wait_end(&old);
    cr_assert_eq(b->deaths, 1);
    cr_assert_eq(peer_net_counters(b->net)->connections_silent, 0, "closed, not timed out");
    cr_assert(peer_net_is_up(b->net, c->id));
    peer_rig_raw_close(&old);
}

enum { CROWD = 40 };

static bool b_has_refused(struct peer_rig *r)
{
    (void)r;
    return peer_net_counters(b->net)->accepts_refused > 0;
}

Test(peer_bytes, a_crowd_of_strangers_is_capped, .init = pair_up, .fini = pair_done)
{
    struct peer_rig_raw *raws = calloc(CROWD, sizeof *raws);
    for (size_t i = 0; i < CROWD; i++)
        peer_rig_raw_open(&raws[i], b);
    peer_rig_run(&rig, b_has_refused);
    for (size_t i = 0; i < CROWD; i++)
        peer_rig_raw_close(&raws[i]);
    free(raws);
}

/* They hold their connections, and say nothing: a member gets in all the same. */
Test(peer_bytes, a_silent_crowd_keeps_no_member_out, .init = pair_up, .fini = pair_done)
{
    struct peer_rig_raw *raws = calloc(CROWD, sizeof *raws);
    stranger_known();
    for (size_t i = 0; i < CROWD; i++)
        peer_rig_raw_open(&raws[i], b);
    peer_rig_run(&rig, b_has_refused);
    struct peer_rig_raw member;
    raw_up(&member);
    for (size_t i = 0; i < CROWD; i++)
        peer_rig_raw_close(&raws[i]);
    peer_rig_raw_close(&member);
    free(raws);
}
