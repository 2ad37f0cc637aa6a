/* What bad input gets: dropped, counted, told once, and the connection closed; who dialled dials
 * again. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "rpc/peer_codec.h"
#include "rpc/peer_frame.h"
#include "tests/support/peer_rig.h"

static struct peer_rig rig;
static struct peer_rig_node *const b = &rig.nodes[1];

enum { STRANGER = 3 };

static void node_up(void)
{
    const char *nowhere = "http://127.0.0.1:1";
    peer_rig_open(&rig);
    peer_rig_node_open(b, 2);
    cr_assert_eq(peer_net_add(b->net, STRANGER, &nowhere, 1), PEER_OK);
}

static void node_down(void)
{
    peer_rig_close(&rig);
}

static struct peer_hello stranger_hello(void)
{
    struct peer_hello hello = b->options.self;
    hello.member_id = STRANGER;
    hello.to_member_id = b->id;
    return hello;
}

static void send_out(struct peer_rig_raw *raw, struct peer_out *out)
{
    cr_assert_not_null(out);
    peer_rig_raw_send(raw, slice_of(out->bytes, out->size));
    free(out);
}

/* A sealed frame around this head. */
static void send_head(struct peer_rig_raw *raw, const uint8_t *head, uint32_t size)
{
    uint8_t frame[PEER_FRAME_HEADER_BYTES + 256];
    cr_assert_leq(size, 256);
    memcpy(frame + PEER_FRAME_HEADER_BYTES, head, size);
    peer_frame_seal(frame, size, 0);
    peer_rig_raw_send(raw, slice_of(frame, PEER_FRAME_HEADER_BYTES + size));
}

static void raw_up(struct peer_rig_raw *raw)
{
    peer_rig_raw_open(raw, b);
    struct peer_hello hello = stranger_hello();
    send_out(raw, peer_encode_hello(&hello, NULL, false));
    peer_rig_raw_wait_bytes(raw, PEER_FRAME_HEADER_BYTES + 1);
}

/* ---- from a member ---- */

static void send_bad_magic(struct peer_rig_raw *raw)
{
    static const uint8_t noise[PEER_FRAME_HEADER_BYTES] = "GET / HTTP/1.1";
    peer_rig_raw_send(raw, slice_of(noise, sizeof noise));
}

static void send_newer_frame(struct peer_rig_raw *raw)
{
    uint8_t frame[PEER_FRAME_HEADER_BYTES];
    peer_frame_seal(frame, 0, 0);
    frame[4]++;
    peer_rig_raw_send(raw, slice_of(frame, sizeof frame));
}

static void send_torn_body(struct peer_rig_raw *raw)
{
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .term = 1 };
    struct peer_out *out = peer_encode_raft(&msg, 1 << 20);
    out->bytes[out->size - 1] ^= 1;
    send_out(raw, out);
}

static void send_no_message(struct peer_rig_raw *raw)
{
    static const uint8_t head[] = { 0xff, 0xff, 0xff };
    send_head(raw, head, sizeof head);
}

/* Field 99 of the PeerMessage: what a newer version may say. */
static void send_unknown_type(struct peer_rig_raw *raw)
{
    static const uint8_t head[] = { 0x9a, 0x06, 0x00 };
    send_head(raw, head, sizeof head);
}

static void send_raft(struct peer_rig_raw *raw)
{
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .term = 1 };
    send_out(raw, peer_encode_raft(&msg, 1 << 20));
}

static void send_formation(struct peer_rig_raw *raw)
{
    static const uint8_t formation[] = { 0x08, 0x01 };
    send_out(raw, peer_encode_formation(slice_of(formation, sizeof formation)));
}

static const struct {
    void (*send)(struct peer_rig_raw *raw);
    const char *why; /* a part of it */
} kinds[] = {
    { send_bad_magic, "not a member's frame" },
    { send_newer_frame, "unknown protocol version" },
    { send_torn_body, "checksum" },
    { send_no_message, "malformed" },
    { send_unknown_type, "unknown type" },
    { send_raft, "impossible message" },
    { send_formation, "impossible announcement" },
};

static void spoil(size_t kind)
{
    struct peer_rig_raw raw;
    raw_up(&raw);
    kinds[kind].send(&raw);
    peer_rig_raw_wait_end(&raw);
    peer_rig_raw_close(&raw);
}

Test(peer_complaint, each_kind_is_told_once, .init = node_up, .fini = node_down)
{
    const struct peer_counters *counters = peer_net_counters(b->net);
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    b->refuse_messages = true;
    for (uint32_t i = 0; i < KINDS; i++) {
        spoil(i);
        cr_assert_eq(counters->frames_bad, 2 * i + 1);
        cr_assert_eq(b->complaints, i + 1, "%s", kinds[i].why);
        cr_assert_not_null(strstr(b->complaint_why, kinds[i].why), "%s", b->complaint_why);
        cr_assert_eq(b->complaint_member, STRANGER);
        spoil(i);
        cr_assert_eq(counters->frames_bad, 2 * i + 2);
        cr_assert_eq(b->complaints, i + 1, "the same again is counted alone");
    }
}

/* ---- Hellos ---- */

static void hello_expect(const struct peer_hello *hello, const char *why, uint64_t member)
{
    uint64_t refused = peer_net_counters(b->net)->hellos_refused;
    uint32_t told = b->complaints;
    struct peer_rig_raw raw;
    peer_rig_raw_open(&raw, b);
    send_out(&raw, peer_encode_hello(hello, NULL, false));
    peer_rig_raw_wait_end(&raw);
    peer_rig_raw_close(&raw);
    cr_assert_eq(peer_net_counters(b->net)->hellos_refused, refused + 1);
    cr_assert_eq(b->complaints, told + 1);
    cr_assert_not_null(strstr(b->complaint_why, why), "%s", b->complaint_why);
    cr_assert_eq(b->complaint_member, member);
}

Test(peer_complaint, a_hello_of_another_cluster, .init = node_up, .fini = node_down)
{
    struct peer_hello hello = stranger_hello();
    hello.cluster_id++;
    hello_expect(&hello, "another cluster", STRANGER);
    cr_assert_eq(b->hellos, 0, "the owner is not asked");
}

Test(peer_complaint, a_hello_that_the_owner_refuses, .init = node_up, .fini = node_down)
{
    struct peer_hello hello = stranger_hello();
    b->refuse = "not you";
    hello_expect(&hello, "not you", STRANGER);
}

/* The frame is as ever; the Hello inside says version 2. */
Test(peer_complaint, a_hello_of_another_version, .init = node_up, .fini = node_down)
{
    Holdfastpb__Hello pb = HOLDFASTPB__HELLO__INIT;
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    pb.protocol_version = PEER_PROTOCOL_VERSION + 1;
    pb.member_id = STRANGER;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_HELLO;
    message.hello = &pb;
    uint8_t head[128];
    cr_assert_leq(holdfastpb__peer_message__get_packed_size(&message), sizeof head);
    size_t size = holdfastpb__peer_message__pack(&message, head);
    struct peer_rig_raw raw;
    peer_rig_raw_open(&raw, b);
    send_head(&raw, head, (uint32_t)size);
    peer_rig_raw_wait_end(&raw);
    peer_rig_raw_close(&raw);
    cr_assert_eq(peer_net_counters(b->net)->hellos_refused, 1);
    cr_assert_not_null(strstr(b->complaint_why, "another version"), "%s", b->complaint_why);
}

/* Anybody can be one, again and again: one line for all of them. */
Test(peer_complaint, strangers_are_told_of_together, .init = node_up, .fini = node_down)
{
    struct peer_hello hello = stranger_hello();
    hello.member_id = 77;
    hello_expect(&hello, "does not know you", 0);
    struct peer_rig_raw raw;
    peer_rig_raw_open(&raw, b);
    send_bad_magic(&raw);
    peer_rig_raw_wait_end(&raw);
    peer_rig_raw_close(&raw);
    cr_assert_eq(b->complaints, 1);
    cr_assert_eq(peer_net_counters(b->net)->frames_bad, 1);
}

/* ---- the other side ---- */

static bool a_is_up_again(struct peer_rig *r)
{
    return r->nodes[0].links_up == 2 && peer_net_is_up(r->nodes[0].net, b->id);
}

static bool a_is_up(struct peer_rig *r)
{
    return peer_net_is_up(r->nodes[0].net, b->id) && peer_net_is_up(b->net, r->nodes[0].id);
}

Test(peer_complaint, the_link_comes_back)
{
    struct peer_rig_node *a = &rig.nodes[0];
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    peer_rig_add(a, b);
    peer_rig_add(b, a);
    peer_rig_run(&rig, a_is_up);
    b->refuse_messages = true;
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .to = b->id, .term = 1 };
    peer_net_send_raft(a->net, &msg);
    peer_net_flush(a->net);
    peer_rig_run(&rig, a_is_up_again);
    cr_assert_eq(b->raft_count, 1);
    cr_assert_eq(b->complaints, 1);
    cr_assert_eq(a->deaths + b->deaths, 0, "nobody's process has died");
    peer_rig_close(&rig);
}
