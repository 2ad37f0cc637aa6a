/* Two or three members over loopback: handshakes, messages, ends and new beginnings. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "rpc/addr.h"
#include "tests/support/peer_entries.h"
#include "tests/support/peer_rig.h"

static struct peer_rig rig;
static struct peer_rig_node *const a = &rig.nodes[0];
static struct peer_rig_node *const b = &rig.nodes[1];
static struct peer_rig_node *const c = &rig.nodes[2];

static bool both_are_up(struct peer_rig *r)
{
    (void)r;
    return peer_net_is_up(a->net, b->id) && peer_net_is_up(b->net, a->id);
}

static void pair_open(void)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    peer_rig_add(a, b);
    peer_rig_add(b, a);
}

static void pair_up(void)
{
    pair_open();
    peer_rig_run(&rig, both_are_up);
}

static void rig_done(void)
{
    peer_rig_close(&rig);
}

Test(peer_link, members_meet, .init = pair_up, .fini = rig_done)
{
    cr_assert_eq(a->links_up, 1);
    cr_assert_eq(b->links_up, 1);
    cr_assert_eq(a->hellos, 2, "once on what each side dialled");
    cr_assert_eq(a->deaths + b->deaths, 0);
    cr_assert_eq(peer_net_counters(a->net)->connects, 1);
}

/* ---- messages ---- */

static uint32_t wanted;

static bool b_has_messages(struct peer_rig *r)
{
    (void)r;
    return b->raft_count >= wanted;
}

static void send_append(const struct peer_entries *entries)
{
    struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                            .from = a->id,
                            .to = b->id,
                            .term = 3,
                            .append = { .prev = { 2, 10 },
                                        .commit = 9,
                                        .entries = entries->entries,
                                        .entry_count = entries->count } };
    peer_net_send_raft(a->net, &msg);
}

Test(peer_link, appends_arrive_with_their_entries, .init = pair_up, .fini = rig_done)
{
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 60, 9000);
    send_append(&entries);
    wanted = 1;
    peer_rig_run(&rig, b_has_messages);
    cr_assert_eq(b->raft.from, a->id);
    cr_assert_eq(b->raft.term, 3);
    cr_assert_eq(b->raft.append.prev.index, 10);
    cr_assert_eq(b->raft.append.entry_count, 60);
    cr_assert_eq(b->entry_bytes, 60 * entries.entries[0].bytes.size);
    cr_assert(slice_equal(b->kept_entry, entries.entries[0].bytes), "kept beyond the callback");
    cr_assert_eq(b->kept->refs, 1, "nobody else holds the frame");
    block_unref(entries.block);
}

Test(peer_link, many_small_messages_keep_their_order, .init = pair_up, .fini = rig_done)
{
    for (uint64_t round = 1; round <= 5000; round++) {
        struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT,
                                .to = b->id,
                                .heartbeat = { .round = round } };
        peer_net_send_raft(a->net, &msg);
    }
    wanted = 5000;
    peer_rig_run(&rig, b_has_messages);
    cr_assert_eq(b->raft.heartbeat.round, 5000);
    cr_assert_eq(peer_net_counters(a->net)->frames_dropped, 0);
}

static bool all_kinds_came(struct peer_rig *r)
{
    (void)r;
    return b->formations == 1 && b->forwards == 1 && b->forwards_refused == 1 && b->queries == 1 &&
           b->reaches == 1;
}

Test(peer_link, the_other_kinds_arrive, .init = pair_up, .fini = rig_done)
{
    static const uint8_t formation[] = { 8, 1 };
    peer_net_send_formation(a->net, b->id, slice_of(formation, sizeof formation));
    struct peer_forward forward = { 5, 3, 6, slice_of_text("root"), slice_of_text("put") };
    cr_assert(peer_net_send_forward(a->net, b->id, &forward));
    struct peer_forward_refused refused = { 9, 3, PEER_REFUSED_BUSY };
    peer_net_send_forward_refused(a->net, b->id, &refused);
    peer_net_send_forward_query(a->net, b->id, &(struct peer_forward_query){ 4, 5 });
    peer_net_send_forward_reach(a->net, b->id, &(struct peer_forward_reach){ 6, 7, 8 });
    peer_rig_run(&rig, all_kinds_came);
    cr_assert(b->query.term == 4 && b->query.context == 5);
    cr_assert(b->reach.term == 6 && b->reach.context == 7 && b->reach.last_index == 8);
    cr_assert_eq(b->formation_bytes, sizeof formation);
    cr_assert_arr_eq(b->formation, formation, sizeof formation);
    cr_assert_str_eq(b->forward_command, "put");
    cr_assert_eq(b->forward_id, 9);
    cr_assert_eq(b->forward_why, PEER_REFUSED_BUSY);
}

Test(peer_link, nothing_is_queued_while_the_link_is_down)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 1, 10);
    send_append(&entries); /* not even a member */
    peer_rig_add(a, b);    /* where nobody listens yet: port 0 */
    send_append(&entries);
    struct peer_forward forward = { .request_id = 1 };
    cr_assert_not(peer_net_send_forward(a->net, b->id, &forward), "the client is told");
    cr_assert_eq(peer_net_counters(a->net)->frames_dropped, 0);
    block_unref(entries.block);
    peer_rig_close(&rig);
}

/* Three appends of 400 kB do not fit into 1 MiB: the oldest goes, heartbeats stay. */
Test(peer_link, at_the_cap_the_oldest_append_goes, .init = pair_up, .fini = rig_done)
{
    struct raft_msg heartbeat = { .type = RAFT_MSG_HEARTBEAT, .to = b->id };
    size_t bytes = 0;
    peer_net_send_raft(a->net, &heartbeat);
    for (uint64_t term = 1; term <= 3; term++) {
        struct peer_entries entries = peer_entries_new((struct raft_pos){ term, 11 }, 4, 100000);
        struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                                .to = b->id,
                                .term = term,
                                .append = { .prev = { 1, 10 },
                                            .entries = entries.entries,
                                            .entry_count = entries.count } };
        peer_net_send_raft(a->net, &msg);
        bytes += term > 1 ? 4 * entries.entries[0].bytes.size : 0;
        if (term == 1)
            peer_net_send_raft(a->net, &heartbeat);
        block_unref(entries.block);
    }
    cr_assert_eq(peer_net_counters(a->net)->frames_dropped, 1);
    wanted = 4;
    peer_rig_run(&rig, b_has_messages);
    cr_assert_eq(b->raft.term, 3);
    cr_assert_eq(b->entry_bytes, bytes, "the second and third append");
}

Test(peer_link, without_an_append_to_drop_the_new_message_goes, .init = pair_up, .fini = rig_done)
{
    char command[400000];
    memset(command, 'x', sizeof command);
    struct peer_forward forward = { .request_id = 1, .command = slice_of(command, 400000) };
    cr_assert(peer_net_send_forward(a->net, b->id, &forward));
    cr_assert(peer_net_send_forward(a->net, b->id, &forward));
    cr_assert_not(peer_net_send_forward(a->net, b->id, &forward));
    cr_assert_eq(peer_net_counters(a->net)->frames_dropped, 1);
}

/* ---- refusals ---- */

static bool a_is_refused(struct peer_rig *r)
{
    (void)r;
    return a->refusals > 0;
}

static bool b_is_refused(struct peer_rig *r)
{
    (void)r;
    return b->refusals > 0;
}

Test(peer_link, a_refusal_reaches_the_dialler)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    b->refuse = "not you";
    b->refuse_why = PEER_UNWELCOME_DISK;
    peer_rig_add(a, b);
    peer_rig_run(&rig, a_is_refused);
    cr_assert_str_eq(a->refused_why, "not you");
    cr_assert_eq(a->refused_as, PEER_UNWELCOME_DISK);
    cr_assert_eq(a->links_up, 0);
    cr_assert_eq(a->hellos, 0);
    cr_assert_geq(peer_net_counters(b->net)->hellos_refused, 1);
    peer_rig_close(&rig);
}

Test(peer_link, a_refusal_reaches_the_acceptor)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    a->refuse = "not your disk";
    peer_rig_add(a, b);
    peer_rig_add(b, a);
    peer_net_remove(b->net, a->id);
    peer_rig_add(b, a);
    peer_rig_run(&rig, b_is_refused);
    cr_assert_str_eq(b->refused_why, "not your disk");
    cr_assert_eq(b->refused_as, PEER_UNWELCOME_NOW);
    cr_assert_eq(a->links_up, 0);
    peer_rig_close(&rig);
}

/* What a's Hello says that b will not have. */
static const struct {
    const char *why;
    uint64_t cluster_id, member_id;
} strangers[] = {
    { "it belongs to another cluster", 8, 1 },
    { "it has the id of this very member", 7, 2 },
    { "this member does not know you, or not yet", 7, 9 },
};

Test(peer_link, strangers_are_told_why)
{
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        peer_rig_open(&rig);
        peer_rig_node_open(b, 2);
        a->options.self.cluster_id = strangers[i].cluster_id;
        a->options.self.member_id = strangers[i].member_id;
        peer_rig_node_open(a, 1);
        peer_rig_add(a, b);
        peer_rig_run(&rig, a_is_refused);
        cr_assert_str_eq(a->refused_why, strangers[i].why);
        peer_rig_close(&rig);
    }
}

static bool c_is_refused(struct peer_rig *r)
{
    (void)r;
    return c->refusals > 0;
}

Test(peer_link, a_url_of_another_member_is_noticed)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(c, 3);
    b->addr = a->addr;
    peer_rig_add(c, b);
    peer_rig_run(&rig, c_is_refused);
    cr_assert_str_eq(c->refused_why,
                     "it is looking for another member; do the URLs of two members point here?");
    peer_rig_close(&rig);
}

/* ---- ends and new beginnings ---- */

static bool b_is_dead_to_a(struct peer_rig *r)
{
    (void)r;
    return a->deaths > 0;
}

static bool a_is_up_again(struct peer_rig *r)
{
    (void)r;
    return a->links_up >= 2 && peer_net_is_up(a->net, b->id);
}

static bool a_failed_five_times(struct peer_rig *r)
{
    (void)r;
    return peer_net_counters(a->net)->dials_failed >= 5;
}

Test(peer_link, a_refused_dial_after_a_lost_link_is_a_death, .init = pair_up, .fini = rig_done)
{
    peer_rig_node_close(b);
    peer_rig_run(&rig, b_is_dead_to_a);
    cr_assert_eq(a->links_down, 1);
    peer_rig_run(&rig, a_failed_five_times);
    cr_assert_eq(a->deaths, 1, "told once, not at each refused dial");
    peer_rig_node_open(b, 3);
    peer_rig_add(b, a);
    peer_rig_run(&rig, a_is_up_again);
    cr_assert_eq(a->deaths, 1, "told once, not again when it is back");
}

/* b comes back so fast that no dial is ever refused: its Hello gives it away. */
Test(peer_link, another_process_is_a_death, .init = pair_up, .fini = rig_done)
{
    struct peer_net *old = b->net;
    peer_rig_node_open(c, 4); /* takes b's place on another port */
    struct peer_options as_b = b->options;
    as_b.handlers = c->options.handlers;
    memset(as_b.self.process, 9, PEER_INCARNATION_BYTES);
    peer_rig_node_close(c);
    cr_assert_eq(peer_net_open(&c->net, &as_b), PEER_OK);
    c->id = b->id;
    peer_rig_add(c, a);
    peer_rig_run(&rig, b_is_dead_to_a);
    cr_assert_eq(b->net, old);
    cr_assert_eq(a->deaths, 1);
    cr_assert_eq(a->links_down, 1, "the link to the old process is given up");
}

static bool a_lost_and_found(struct peer_rig *r)
{
    (void)r;
    return a->links_down >= 1 && peer_net_is_up(a->net, b->id);
}

Test(peer_link, a_mere_reset_is_no_death, .init = pair_up, .fini = rig_done)
{
    peer_net_remove(b->net, a->id); /* closes what a dialled */
    peer_rig_add(b, a);
    peer_rig_run(&rig, a_lost_and_found);
    cr_assert_eq(a->deaths, 0);
}

static bool c_listens_and_a_is_up(struct peer_rig *r)
{
    (void)r;
    return peer_net_is_up(a->net, b->id);
}

static bool a_failed_twice(struct peer_rig *r)
{
    (void)r;
    return peer_net_counters(a->net)->dials_failed >= 2;
}

Test(peer_link, a_member_that_is_not_there_yet_is_dialled_until_it_is)
{
    peer_rig_open(&rig);
    peer_rig_node_open(b, 2);
    peer_rig_node_close(b); /* its port is known, and refuses */
    peer_rig_node_open(a, 1);
    peer_rig_add(a, b);
    peer_rig_run(&rig, a_failed_twice);
    cr_assert_eq(a->deaths, 0, "it never lived");
    peer_rig_node_open(b, 2);
    peer_rig_add(b, a);
    peer_net_hurry(a->net, b->id);
    peer_rig_run(&rig, c_listens_and_a_is_up);
    peer_rig_close(&rig);
}

Test(peer_link, a_name_that_does_not_resolve_is_passed_over)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    peer_rig_add(b, a);
    char url[64];
    char addr[ADDR_TEXT_BYTES_MAX];
    snprintf(url, sizeof url, "http://%s", addr_format(&b->addr, addr));
    /* A label of more than 63 bytes: the resolver knows without asking (RFC 1035 2.3.4). */
    const char *urls[] = {
        "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ":1",
        url
    };
    cr_assert_eq(peer_net_add(a->net, b->id, urls, 2), PEER_OK);
    peer_rig_run(&rig, c_listens_and_a_is_up);
    cr_assert_geq(peer_net_counters(a->net)->dials_failed, 1);
    peer_rig_close(&rig);
}

/* ---- handlers that pull the rug ---- */

static bool b_removed_a(struct peer_rig *r)
{
    (void)r;
    return b->raft_count > 0;
}

Test(peer_link, a_handler_may_remove_the_sender, .init = pair_up, .fini = rig_done)
{
    b->remove_in_handler = true;
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .to = b->id };
    for (int i = 0; i < 10; i++)
        peer_net_send_raft(a->net, &msg);
    peer_rig_run(&rig, b_removed_a);
    cr_assert_eq(b->raft_count, 1, "nothing after the removal");
    cr_assert_not(peer_net_is_up(b->net, a->id));
}

static bool b_is_closed(struct peer_rig *r)
{
    (void)r;
    return b->net == NULL;
}

Test(peer_link, a_handler_may_close_the_net, .init = pair_up, .fini = rig_done)
{
    b->close_in_handler = true;
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .to = b->id };
    for (int i = 0; i < 10; i++)
        peer_net_send_raft(a->net, &msg);
    peer_rig_run(&rig, b_is_closed);
    cr_assert_eq(b->raft_count, 1);
}

Test(peer_link, closing_amid_a_dial_leaves_nothing, .init = pair_open, .fini = rig_done)
{
    peer_rig_node_close(a);
    peer_rig_node_close(b);
}

static void count_one(void *owner)
{
    (*(unsigned *)owner)++;
}

Test(peer_link, an_unused_net_closes_at_once)
{
    peer_rig_open(&rig);
    unsigned closed = 0;
    struct peer_net *net;
    cr_assert_eq(peer_net_open(&net, &a->options), PEER_OK);
    peer_net_close(net, count_one, &closed);
    cr_assert_eq(closed, 1);
    peer_rig_close(&rig);
}

/* ---- arguments ---- */

Test(peer_link, bad_urls_and_too_many_members_are_refused)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    static const char *const bad[] = { "ftp://h:1", "http://h", "https://h:1", "" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(peer_net_add(a->net, 2, &bad[i], 1), PEER_E_ADDRESS, "%s", bad[i]);
    cr_assert_eq(peer_net_add(a->net, 2, bad, 0), PEER_E_ADDRESS);
    for (uint64_t id = 2; id < 6; id++) {
        b->id = id;
        peer_rig_add(a, b);
    }
    const char *url = "http://127.0.0.1:1";
    cr_assert_eq(peer_net_add(a->net, 6, &url, 1), PEER_E_FULL);
    cr_assert_eq(peer_net_add(a->net, 5, &url, 1), PEER_OK, "new URLs need no room");
    peer_net_remove(a->net, 5);
    peer_net_remove(a->net, 5);
    cr_assert_eq(peer_net_add(a->net, 6, &url, 1), PEER_OK);
    peer_rig_close(&rig);
}

Test(peer_link, options_out_of_bounds_are_refused)
{
    peer_rig_open(&rig);
    struct peer_net *net = NULL;
    struct peer_options o = a->options;
    o.out_bytes_max = o.frame_bytes_max - 1;
    cr_assert_eq(peer_net_open(&net, &o), PEER_E_OPTIONS);
    o = a->options;
    o.backoff_min_ms = 0;
    cr_assert_eq(peer_net_open(&net, &o), PEER_E_OPTIONS);
    o = a->options;
    o.frame_bytes_max = PEER_FRAME_BYTES_MIN - 1;
    cr_assert_eq(peer_net_open(&net, &o), PEER_E_OPTIONS);
    cr_assert_null(net);
    cr_assert_gt(peer_memory_bytes(&a->options), 4 * a->options.out_bytes_max);
    peer_rig_close(&rig);
}

/* ---- members that are not known yet ---- */

static bool b_meets_a(struct peer_rig *r)
{
    (void)r;
    return b->links_up > 0 && a->links_up > 0;
}

Test(peer_link, the_hello_handler_may_add_a_member)
{
    peer_rig_open(&rig);
    static const char *const urls[] = { "http://somewhere:1", "http://else:1" };
    a->options.self.peer_urls[0] = urls[0];
    a->options.self.peer_urls[1] = urls[1];
    a->options.self.peer_url_count = 2;
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    char url[ADDR_TEXT_BYTES_MAX + 8];
    char addr[ADDR_TEXT_BYTES_MAX];
    snprintf(url, sizeof url, "http://%s", addr_format(&a->addr, addr));
    b->add_on_hello = url;
    peer_rig_add(a, b);
    peer_rig_run(&rig, b_meets_a);
    cr_assert_eq(b->hello_urls, 2);
    peer_net_set_own_urls(a->net, urls, 1);
    b->links_up = 0;
    a->links_up = 0;
    peer_net_remove(a->net, b->id);
    peer_rig_add(a, b);
    peer_rig_run(&rig, b_meets_a);
    cr_assert_eq(b->hello_urls, 1);
    peer_rig_close(&rig);
}

Test(peer_link, a_removal_is_told_as_such)
{
    peer_rig_open(&rig);
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    b->refuse = "removed";
    b->refuse_why = PEER_UNWELCOME_REMOVED;
    peer_rig_add(a, b);
    peer_rig_run(&rig, a_is_refused);
    cr_assert_eq(a->refused_as, PEER_UNWELCOME_REMOVED);
    peer_rig_close(&rig);
}

Test(peer_link, a_refusal_from_somebody_else_is_never_final)
{
    peer_rig_open(&rig);
    b->options.self.cluster_id = 8; /* what runs at b's URL belongs to another cluster */
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    b->refuse_why = PEER_UNWELCOME_REMOVED;
    peer_rig_add(a, b);
    peer_rig_run(&rig, a_is_refused);
    cr_assert_eq(a->refused_as, PEER_UNWELCOME_NOW);
    peer_rig_close(&rig);
}

/* ---- snapshots ---- */

static uint8_t rows[64 << 10];

static struct peer_snapshot_chunk chunk_of(uint64_t seq)
{
    return (struct peer_snapshot_chunk){ .snapshot_id = 5,
                                         .term = 3,
                                         .seq = seq,
                                         .pos = { 2, 10 },
                                         .bytes = slice_of(rows, sizeof rows) };
}

static bool b_has_chunks(struct peer_rig *r)
{
    (void)r;
    return b->chunks >= wanted;
}

static bool a_has_an_ack(struct peer_rig *r)
{
    (void)r;
    return a->acks > 0;
}

Test(peer_link, chunks_wait_behind_all_else, .init = pair_up, .fini = rig_done)
{
    for (wanted = 0; wanted < 100; wanted++) {
        struct peer_snapshot_chunk chunk = chunk_of(wanted);
        cr_assert(peer_net_send_snapshot_chunk(a->net, b->id, &chunk));
    }
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .to = b->id };
    peer_net_send_raft(a->net, &msg);
    wanted = 1;
    peer_rig_run(&rig, b_has_messages);
    cr_assert_eq(b->chunks, 0, "the heartbeat overtook all of them");
    wanted = 100;
    peer_rig_run(&rig, b_has_chunks);
    cr_assert_eq(b->chunk_bytes, 100 * sizeof rows);
    cr_assert_eq(b->chunk.seq, 99);
    struct peer_snapshot_ack ack = { 5, 100, PEER_SNAPSHOT_OK };
    peer_net_send_snapshot_ack(b->net, a->id, &ack);
    peer_rig_run(&rig, a_has_an_ack);
    cr_assert_eq(a->ack.next_seq, 100);
}

Test(peer_link, chunks_have_a_cap_of_their_own, .init = pair_up, .fini = rig_done)
{
    struct peer_snapshot_chunk chunk = chunk_of(0);
    uint32_t taken = 0;
    while (peer_net_send_snapshot_chunk(a->net, b->id, &chunk))
        taken++;
    cr_assert_leq(taken, PEER_BULK_BYTES_MAX / sizeof rows);
    cr_assert_geq(taken, PEER_BULK_BYTES_MAX / sizeof rows - 2);
    cr_assert_eq(peer_net_counters(a->net)->frames_dropped, 0);
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .to = b->id };
    peer_net_send_raft(a->net, &msg);
    wanted = taken;
    peer_rig_run(&rig, b_has_chunks);
    cr_assert_eq(b->raft_count, 1);
    peer_net_remove(a->net, b->id);
    cr_assert_not(peer_net_send_snapshot_chunk(a->net, b->id, &chunk), "no link");
}
