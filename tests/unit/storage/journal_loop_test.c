#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "rpc/loop.h"
#include "storage/journal.h"

/* The same journal over io_uring and real files, through the page cache and around it. */

enum { ENTRIES = 60, PAYLOAD_BYTES = 9000, SEGMENT_BYTES = 64 << 10 };

struct writer {
    struct loop *loop;
    struct journal *j;
    struct raft_pos last;
    uint8_t entry[ENTRY_HEADER_BYTES_MAX + PAYLOAD_BYTES];
};

static void on_closed(void *owner)
{
    struct writer *w = owner;
    w->j = NULL;
    loop_stop(w->loop);
}

static void on_written(void *owner, enum journal_err err);

static void write_next(struct writer *w)
{
    struct entry_header header = { .type = RAFT_ENTRY_COMMAND,
                                   .pos = { .term = 1, .index = w->last.index + 1 },
                                   .payload_bytes = PAYLOAD_BYTES };
    memset(w->entry + entry_payload_offset(&header), (int)header.pos.index, PAYLOAD_BYTES);
    entry_seal(w->entry, &header);
    struct slice bytes = slice_of(w->entry, entry_size_bytes(&header));
    struct journal_batch batch = { .hard = { .term = 1, .vote = 1 },
                                   .prev = w->last,
                                   .entries = &bytes,
                                   .positions = &header.pos,
                                   .entry_count = 1 };
    w->last = header.pos;
    cr_assert_eq(journal_write(w->j, &batch, on_written, w), JOURNAL_OK);
}

static void on_written(void *owner, enum journal_err err)
{
    struct writer *w = owner;
    cr_assert_eq(err, JOURNAL_OK);
    if (w->last.index > 20)
        journal_release(w->j, w->last.index - 20);
    if (w->last.index < ENTRIES)
        write_next(w);
    else
        journal_close(w->j, on_closed, w);
}

static enum journal_err open_at(struct writer *w, int dir_fd, bool direct, uint64_t flushed_index,
                                struct journal_recovery *recovery)
{
    static const uint8_t incarnation[16] = { 1 };
    struct journal_options options = {
        .io = loop_io(w->loop),
        .dir_fd = dir_fd,
        .segment_bytes = SEGMENT_BYTES,
        .segment_count_max = 8,
        .cluster_id = 1,
        .incarnation = slice_of(incarnation, sizeof incarnation),
        .direct = direct,
    };
    struct raft_pos flushed = { .term = flushed_index > 0, .index = flushed_index };
    return journal_open(&w->j, &options, flushed, recovery);
}

static void loop_start(struct writer *w)
{
    struct loop_options options = { .op_count_max = 64,
                                    .timer_count_max = 64,
                                    .recv_buffer_count = 2,
                                    .recv_buffer_bytes = 4096,
                                    .thread_counts = { 1, 1 } };
    char detail[200] = "";
    cr_assert_eq(loop_open(&w->loop, &options, detail, sizeof detail), LOOP_OK, "%s", detail);
}

static void write_and_read_back(int dir_fd, bool direct)
{
    static struct writer w;
    struct journal_recovery recovery;
    loop_start(&w);
    cr_assert_eq(open_at(&w, dir_fd, direct, 0, &recovery), JOURNAL_OK, "%s", recovery.detail);
    write_next(&w);
    cr_assert_eq(loop_run(w.loop), LOOP_OK);
    cr_assert_null(w.j);
    cr_assert_eq(open_at(&w, dir_fd, direct, ENTRIES - 20, &recovery), JOURNAL_OK, "%s",
                 recovery.detail);
    cr_assert_eq(recovery.entry_count, 20);
    cr_assert_eq(recovery.hard.vote, 1);
    for (size_t i = 0; i < recovery.entry_count; i++) {
        const struct raft_entry *entry = &recovery.entries[i];
        cr_assert_eq(entry->pos.index, ENTRIES - 20 + i + 1);
        cr_assert_gt(entry->bytes.size, PAYLOAD_BYTES);
        cr_assert_eq(entry->bytes.data[entry->bytes.size - 1], (uint8_t)entry->pos.index);
    }
    journal_recovery_done(&recovery);
    journal_close(w.j, on_closed, &w);
    if (w.j)
        cr_assert_eq(loop_run(w.loop), LOOP_OK);
    loop_close(w.loop);
}

static void in_a_directory(bool direct)
{
    char path[] = "/tmp/holdfast-journal-XXXXXX";
    cr_assert_not_null(mkdtemp(path));
    int dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    int probe = openat(dir_fd, "probe", O_RDWR | O_CREAT | (direct ? O_DIRECT : 0), 0600);
    if (probe >= 0) {
        close(probe);
        write_and_read_back(dir_fd, direct);
    }
    char command[sizeof path + 16];
    IGNORE(snprintf(command, sizeof command, "rm -r %s", path), "it fits");
    cr_assert_eq(system(command), 0);
    close(dir_fd);
    if (probe < 0)
        cr_skip_test("the file system of /tmp takes no direct I/O");
}

Test(journal_loop, through_the_page_cache)
{
    in_a_directory(false);
}

Test(journal_loop, around_the_page_cache)
{
    in_a_directory(true);
}
