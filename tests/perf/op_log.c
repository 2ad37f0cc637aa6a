/* Entries on their way: sealed by the leader, verified, framed for a member and taken out of the
 * frame, written to the journal.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/entry.h"
#include "rpc/peer_codec.h"
#include "rpc/peer_frame.h"
#include "storage/journal.h"
#include "tests/perf/operations.h"
#include "tests/support/fake_io.h"
#include "tests/support/peer_entries.h"

enum {
    PAYLOAD_BYTES = PERF_VALUE_BYTES + PERF_KEY_BYTES + 8,
    FRAME_BYTES_MAX = 4 << 20,
    ARENA_BYTES = 1 << 20,
    SEGMENT_BYTES = 1 << 20,
    HELD_MAX = 4, /* batch, hard state, mark */
};

static struct peer_entries made;
static struct arena arena;
static struct block *block;

static void entries_open(void)
{
    made = peer_entries_new((struct raft_pos){ 3, 1000 }, PERF_BATCH, PAYLOAD_BYTES);
    arena_init(&arena, ARENA_BYTES);
}

static void entries_close(void)
{
    block_unref(made.block);
    block_unref(block);
    arena_done(&arena);
}

/* ---- the envelope ---- */

static uint8_t payload[PAYLOAD_BYTES];

/* As node_propose.c makes the batch of a turn. */
static void seal(void)
{
    struct entry_header header = { .type = RAFT_ENTRY_COMMAND,
                                   .pos = { 3, 1000 },
                                   .wall_ms = 1780000000000,
                                   .payload_bytes = sizeof payload };
    size_t size = entry_size_bytes(&header);
    struct block *batch = block_new(size * PERF_BATCH);
    ASSERT(batch);
    for (uint32_t i = 0; i < PERF_BATCH; i++, header.pos.index++) {
        header.request_id = i + 1;
        memcpy(batch->data + i * size + entry_payload_offset(&header), payload, sizeof payload);
        entry_seal(batch->data + i * size, &header);
    }
    block_unref(batch);
}

static void verify(void)
{
    for (uint32_t i = 0; i < PERF_BATCH; i++) {
        struct entry_header header;
        struct slice bytes;
        size_t size;
        enum entry_err err = entry_decode(made.entries[i].bytes, &header, &bytes, &size);
        ASSERT(err == ENTRY_OK);
    }
}

/* ---- between members ---- */

static struct peer_out *frame_of_entries(void)
{
    struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                            .from = 1,
                            .to = 2,
                            .term = 3,
                            .append = { .prev = { 3, 999 },
                                        .commit = 990,
                                        .entries = made.entries,
                                        .entry_count = made.count } };
    struct peer_out *out = peer_encode_raft(&msg, FRAME_BYTES_MAX);
    ASSERT(out);
    return out;
}

static void encode(void)
{
    free(frame_of_entries());
}

static uint8_t frame_header[PEER_FRAME_HEADER_BYTES];
static size_t body_bytes;

/* The body in a block of its own, as a connection receives it. */
static void decode_prepare(void)
{
    struct peer_out *out = frame_of_entries();
    memcpy(frame_header, out->bytes, sizeof frame_header);
    body_bytes = out->size - sizeof frame_header;
    block_unref(block);
    block = block_new(body_bytes);
    ASSERT(block);
    memcpy(block->data, out->bytes + sizeof frame_header, body_bytes);
    free(out);
}

static void decode(void)
{
    struct peer_frame frame;
    enum peer_frame_err err = peer_frame_decode(frame_header, FRAME_BYTES_MAX, &frame);
    ASSERT(err == PEER_FRAME_OK);
    ASSERT(peer_frame_body_is_intact(&frame, slice_of(block->data, body_bytes)));
    const Holdfastpb__PeerMessage *message =
        peer_decode(slice_of(block->data, frame.head_bytes), &arena);
    ASSERT(message && message->raft);
    struct raft_msg msg;
    struct slice attachment = slice_of(block->data + frame.head_bytes, frame.attachment_bytes);
    ASSERT(peer_decode_raft(message->raft, block, attachment, &arena, &msg));
    ASSERT(msg.append.entry_count == PERF_BATCH);
    arena_reset(&arena);
}

/* ---- the journal ---- */

static struct fake_io *fake;
static struct journal *journal;
static int root_fd;
static uint64_t last_index;
static struct slice slices[PERF_BATCH];
static struct raft_pos positions[PERF_BATCH];

/* The disk is not what is counted: writes that the journal begins are held back until the round is
 * over. */
static struct io_ops held_ops;
static const struct io_ops *disk_ops;
static struct {
    int fd;
    struct slice bytes;
    uint64_t offset;
    enum io_write_flags flags;
    io_done_fn *fn;
    void *owner;
} held[HELD_MAX];
static uint32_t held_count;

static int write_hold(struct io *io, int fd, struct slice bytes, uint64_t offset,
                      enum io_write_flags flags, io_done_fn *fn, void *owner,
                      struct io_ref *ret_ref)
{
    (void)io, (void)ret_ref;
    ASSERT(held_count < HELD_MAX);
    held[held_count].fd = fd;
    held[held_count].bytes = bytes;
    held[held_count].offset = offset;
    held[held_count].flags = flags;
    held[held_count].fn = fn;
    held[held_count].owner = owner;
    held_count++;
    return 0;
}

static void disk_run(void)
{
    struct io *io = fake_io_io(fake);
    io->ops = disk_ops;
    for (uint32_t i = 0; i < held_count; i++) {
        int err = disk_ops->file_write(io, held[i].fd, held[i].bytes, held[i].offset, held[i].flags,
                                       held[i].fn, held[i].owner, NULL);
        ASSERT(err == 0);
    }
    held_count = 0;
    fake_io_run(fake);
    io->ops = &held_ops;
}

static void journal_begin(void)
{
    entries_open();
    fake = fake_io_new(1);
    root_fd = fake_io_root(fake);
    disk_ops = fake_io_io(fake)->ops;
    held_ops = *disk_ops;
    held_ops.file_write = write_hold;
    static const uint8_t incarnation[16] = { 1 };
    struct journal_options options = {
        .io = fake_io_io(fake),
        .dir_fd = root_fd,
        .segment_bytes = SEGMENT_BYTES,
        .segment_count_max = 12,
        .cluster_id = 7,
        .incarnation = slice_of(incarnation, sizeof incarnation),
        .direct = true,
    };
    struct journal_recovery recovery;
    enum journal_err err = journal_open(&journal, &options, (struct raft_pos){ 0 }, &recovery);
    ASSERT(err == JOURNAL_OK);
    journal_recovery_done(&recovery);
}

static void on_closed(void *owner)
{
    *(bool *)owner = true;
}

static void journal_end(void)
{
    disk_run();
    fake_io_io(fake)->ops = disk_ops;
    bool closed = false;
    journal_close(journal, on_closed, &closed);
    while (!closed) {
        fake_io_run(fake);
        fake_io_advance(fake, 1);
    }
    fake_io_free(fake);
    entries_close();
}

static void journal_prepare(void)
{
    disk_run();
    ASSERT(!journal_is_writing(journal));
    journal_release(journal, last_index);
    disk_run();
    for (uint32_t i = 0; i < PERF_BATCH; i++) {
        slices[i] = made.entries[i].bytes;
        positions[i] = (struct raft_pos){ 1, last_index + 1 + i };
    }
}

static void on_written(void *owner, enum journal_err err)
{
    (void)owner;
    ASSERT(err == JOURNAL_OK);
}

static void write_of(uint32_t count)
{
    struct journal_batch batch = {
        .hard = { .term = 1, .commit = last_index },
        .prev = { last_index > 0, last_index },
        .entries = slices,
        .positions = positions,
        .entry_count = count,
    };
    enum journal_err err = journal_write(journal, &batch, on_written, NULL);
    ASSERT(err == JOURNAL_OK);
    last_index += count;
}

static void write_one(void)
{
    write_of(1);
}

static void write_batch(void)
{
    write_of(PERF_BATCH);
}

const struct perf_operation perf_log_operations[] = {
    { .name = "entry-seal",
      .rounds = 200,
      .counts_as = PERF_BATCH,
      .open = entries_open,
      .round = seal,
      .close = entries_close },
    { .name = "entry-verify",
      .rounds = 200,
      .counts_as = PERF_BATCH,
      .open = entries_open,
      .round = verify,
      .close = entries_close },
    { .name = "peer-encode-64",
      .rounds = 200,
      .counts_as = PERF_BATCH,
      .open = entries_open,
      .round = encode,
      .close = entries_close },
    { .name = "peer-decode-64",
      .rounds = 200,
      .counts_as = PERF_BATCH,
      .open = entries_open,
      .prepare = decode_prepare,
      .round = decode,
      .close = entries_close },
    { .name = "journal-write-1",
      .rounds = 200,
      .counts_as = 1,
      .open = journal_begin,
      .prepare = journal_prepare,
      .round = write_one,
      .close = journal_end },
    { .name = "journal-write-64",
      .rounds = 100,
      .counts_as = PERF_BATCH,
      .open = journal_begin,
      .prepare = journal_prepare,
      .round = write_batch,
      .close = journal_end },
    { 0 },
};
