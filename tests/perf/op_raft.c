/* The consensus core: a turn's proposals to their commit on the leader, the same entries on a
 * follower, and a read point.
 */
#include "tests/perf/operations.h"
#include "tests/support/peer_entries.h"
#include "tests/support/raft_rig.h"

enum { ENTRY_PAYLOAD_BYTES = PERF_VALUE_BYTES + PERF_KEY_BYTES + 8, ROOM_BYTES = 64 << 20 };

static struct rig rig;
static struct raft_entry entries[PERF_BATCH];
static struct peer_entries made;
static uint64_t context;

/* raft_check_invariants is the rig's: these steps are without. */
static void step(struct raft_event event)
{
    event.now_ms = rig.now_ms;
    enum raft_err err = raft_step(rig.raft, &event, &rig.ready);
    ASSERT(err == RAFT_OK);
    if (rig.ready.persist_seq != 0)
        rig.seq = rig.ready.persist_seq;
}

static void receive(struct raft_msg msg)
{
    msg.to = rig.options.id;
    step((struct raft_event){ .type = RAFT_EV_MESSAGE, .message = msg });
}

static void durable(void)
{
    step((struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = rig.seq });
}

static void applied(uint64_t index)
{
    step((struct raft_event){ .type = RAFT_EV_APPLIED, .applied = { index, index * 11 } });
}

static void flushed(uint64_t index)
{
    step((struct raft_event){ .type = RAFT_EV_FLUSHED, .flushed_index = index });
}

static void accept(uint64_t from, uint64_t match)
{
    receive((struct raft_msg){ .type = RAFT_MSG_APPEND_RESULT,
                               .from = from,
                               .term = raft_status(rig.raft).term,
                               .append_result = { .match = match, .room_bytes = ROOM_BYTES } });
}

static void core_open(void)
{
    rig = rig_defaults();
    rig.options.window_entries_max = 1 << 12;
    rig.options.window_bytes_max = ROOM_BYTES;
    rig.options.window_bytes_keep = 64 << 10;
    rig.options.uncommitted_bytes_max = ROOM_BYTES / 2;
    rig.options.append_bytes_max = 1 << 20;
    rig.options.inflight_max = 64;
    rig.options.inflight_bytes_max = 16 << 20;
    rig_open(&rig, "");
    made = peer_entries_new((struct raft_pos){ 1, 1 }, PERF_BATCH, ENTRY_PAYLOAD_BYTES);
}

static void core_close(void)
{
    rig_close(&rig);
    block_unref(made.block);
}

static void leader_open(void)
{
    core_open();
    rig_elect(&rig);
    accept(2, 1);
    accept(3, 1);
    ASSERT(raft_commit_index(rig.raft) == 1);
    applied(1);
}

/* The core looks at positions and sizes alone, so the bytes may be of other entries. */
static void entries_at(struct raft_pos pos)
{
    for (uint32_t i = 0; i < PERF_BATCH; i++, pos.index++) {
        entries[i] = made.entries[i];
        entries[i].pos = pos;
    }
}

static void leader_prepare(void)
{
    flushed(raft_commit_index(rig.raft));
    entries_at(raft_next_pos(rig.raft));
}

static void commit(uint32_t count)
{
    step((struct raft_event){ .type = RAFT_EV_PROPOSE,
                              .propose = { .entries = entries, .entry_count = count } });
    uint64_t last = raft_last_pos(rig.raft).index;
    durable();
    accept(2, last);
    ASSERT(rig.ready.committed.last == last);
    accept(3, last);
    applied(last);
}

static void commit_one(void)
{
    commit(1);
}

static void commit_batch(void)
{
    commit(PERF_BATCH);
}

/* ---- a follower ---- */

static void follower_prepare(void)
{
    uint64_t last = raft_last_pos(rig.raft).index;
    if (last > PERF_BATCH)
        flushed(last - PERF_BATCH);
    entries_at((struct raft_pos){ 1, last + 1 });
}

/* What came before is committed by the next append, as under load. */
static void follow(void)
{
    struct raft_pos last = raft_last_pos(rig.raft);
    receive((struct raft_msg){
        .type = RAFT_MSG_APPEND,
        .from = 2,
        .term = 1,
        .append = {
            .prev = last, .commit = last.index, .entries = entries, .entry_count = PERF_BATCH } });
    if (last.index > 0)
        applied(last.index);
    durable();
    ASSERT(rig.ready.message_count == 1);
}

/* ---- reads ---- */

static void read_point(void)
{
    step((struct raft_event){ .type = RAFT_EV_READ, .read = { ++context } });
    const struct raft_msg *asked = rig_message(&rig, RAFT_MSG_HEARTBEAT, 2);
    ASSERT(asked);
    uint64_t round = asked->heartbeat.round;
    uint32_t confirmed = 0;
    for (uint64_t from = 2; from <= 3; from++) {
        receive(
            (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT_RESULT,
                               .from = from,
                               .term = raft_status(rig.raft).term,
                               .heartbeat_result = { .round = round, .room_bytes = ROOM_BYTES } });
        confirmed += rig.ready.read_count;
    }
    ASSERT(confirmed == 1);
}

const struct perf_operation perf_raft_operations[] = {
    { .name = "raft-commit-1",
      .rounds = 1000,
      .counts_as = 1,
      .open = leader_open,
      .prepare = leader_prepare,
      .round = commit_one,
      .close = core_close },
    { .name = "raft-commit-64",
      .rounds = 200,
      .counts_as = PERF_BATCH,
      .open = leader_open,
      .prepare = leader_prepare,
      .round = commit_batch,
      .close = core_close },
    { .name = "raft-follow-64",
      .rounds = 200,
      .counts_as = PERF_BATCH,
      .open = core_open,
      .prepare = follower_prepare,
      .round = follow,
      .close = core_close },
    { .name = "raft-read-point",
      .rounds = 1000,
      .counts_as = 1,
      .open = leader_open,
      .round = read_point,
      .close = core_close },
    { 0 },
};
