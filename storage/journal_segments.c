#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/journal_internal.h"

enum {
    ZERO_BYTES = 256 << 10,
    /* After each, while the loop runs: clients wait for what is written beside it. */
    REST_US = 1000,
};

/* A segment gets its name only when it is whole: what stands under this one never was. */
const char journal_segment_name_unfinished[] = "new.seg";

void journal_segment_name(char *to, uint32_t id)
{
    ASSERT(id <= 99999999);
    IGNORE(snprintf(to, JOURNAL_SEGMENT_NAME_BYTES, "%08u.seg", id), "it fits");
}

struct journal_segment *journal_segment_new(uint32_t id)
{
    struct journal_segment *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    list_init(&s->link);
    s->id = id;
    s->fd = -1;
    s->end = JOURNAL_ALIGN_BYTES;
    s->prev_index_min = UINT64_MAX;
    return s;
}

void journal_segment_forget(struct journal *j, struct journal_segment *s)
{
    list_remove(&s->link);
    j->free_count--;
    j->io->ops->file_close(j->io, s->fd);
    free(s);
}

/* ---- making ---- */

static int zeros_write(const struct journal_new_segment *n, int fd)
{
    uint8_t *zeros = aligned_alloc(IO_ALIGN_BYTES, ZERO_BYTES);
    if (!zeros)
        return -ENOMEM;
    memset(zeros, 0, ZERO_BYTES);
    int err = 0;
    for (uint64_t at = 0; at < n->bytes && err == 0; at += ZERO_BYTES) {
        size_t size = n->bytes - at < ZERO_BYTES ? (size_t)(n->bytes - at) : ZERO_BYTES;
        err = n->io->ops->file_write_now(n->io, fd, slice_of(zeros, size), at);
        if (n->rests)
            n->io->ops->pause(n->io, REST_US);
    }
    free(zeros);
    return err;
}

static int file_fill(const struct journal_new_segment *n, int fd)
{
    struct io *io = n->io;
    int err = zeros_write(n, fd);
    if (err == 0)
        err = io->ops->file_sync_now(io, fd);
    if (err != 0)
        return err;
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    journal_segment_name(name, n->id);
    err = io->ops->file_rename(io, n->dir_fd, journal_segment_name_unfinished, name);
    return err != 0 ? err : io->ops->dir_sync(io, n->dir_fd);
}

struct journal_new_segment journal_new_segment(const struct journal *j, uint32_t id)
{
    return (struct journal_new_segment){
        .io = j->io,
        .dir_fd = j->dir_fd,
        .direct = j->direct,
        .bytes = j->segment_bytes,
        .id = id,
    };
}

int journal_segment_make(const struct journal_new_segment *n)
{
    struct io *io = n->io;
    int err = io->ops->file_remove(io, n->dir_fd, journal_segment_name_unfinished);
    if (err != 0 && err != -ENOENT)
        return err;
    enum io_open_flags flags = IO_OPEN_CREATE | (n->direct ? IO_OPEN_DIRECT : 0);
    int fd = io->ops->file_open(io, n->dir_fd, journal_segment_name_unfinished, flags);
    if (fd < 0)
        return fd;
    err = file_fill(n, fd);
    if (err == 0)
        return fd;
    io->ops->file_close(io, fd);
    IGNORE(io->ops->file_remove(io, n->dir_fd, journal_segment_name_unfinished),
           "gives the room back if it can; the next try removes it again");
    return err;
}

static void maker_run(struct io_job *job)
{
    struct journal_maker *m = LIST_ENTRY(job, struct journal_maker, job);
    m->segment->fd = journal_segment_make(&m->wanted);
}

/* Only a full disk is an answer to live with; anything else may be a sync that failed. */
static void maker_failed(struct journal *j, int negative_errno)
{
    if (journal_err_of(negative_errno) != JOURNAL_E_NOSPACE) {
        journal_fail(j);
        return;
    }
    j->no_room = true;
    j->no_room_until_ms = io_now_ms(j->io) + JOURNAL_ROOM_RETRY_MS;
}

static void maker_done(struct io_job *job)
{
    struct journal_maker *m = LIST_ENTRY(job, struct journal_maker, job);
    struct journal *j = m->j;
    struct journal_segment *s = m->segment;
    m->segment = NULL;
    m->running = false;
    if (s->fd >= 0) {
        list_push_back(&j->free, &s->link);
        j->free_count++;
        j->id_last = s->id;
    } else {
        maker_failed(j, s->fd);
        free(s);
    }
    if (j->closing)
        journal_close_check(j);
    else
        journal_write_resume(j);
}

static bool maker_begin(struct journal *j)
{
    struct journal_maker *m = &j->maker;
    bool may_grow = j->live_count + j->free_count < j->segment_count_max &&
                    j->id_last < JOURNAL_SEGMENT_IDS_MAX;
    if (j->failed || j->closing || j->no_room || !may_grow)
        return false;
    struct journal_segment *s = journal_segment_new(j->id_last + 1);
    if (!s)
        return false;
    *m = (struct journal_maker){
        .job = { .run = maker_run, .done = maker_done },
        .j = j,
        .running = true,
        .wanted = journal_new_segment(j, s->id),
        .segment = s,
    };
    m->wanted.rests = true;
    list_init(&m->job.link);
    io_offload(j->io, &m->job);
    return true;
}

bool journal_spare_keep(struct journal *j)
{
    return j->free_count > 0 || j->maker.running || maker_begin(j);
}

/* ---- taking and releasing ---- */

void journal_segment_take(struct journal *j)
{
    ASSERT(j->free_count > 0);
    struct journal_segment *s = LIST_ENTRY(list_pop_front(&j->free), struct journal_segment, link);
    j->free_count--;
    s->generation = ++j->generation;
    s->end = JOURNAL_ALIGN_BYTES;
    s->prev_index_min = UINT64_MAX;
    list_push_back(&j->live, &s->link);
    j->live_count++;
    IGNORE(journal_spare_keep(j), "without a spare the next switch says so");
}

/* A batch whose prev.index is flushed needs nothing that was written before it: recovery starts
 * at the newest such batch, so the segments before that one are free. Highest entry of a segment
 * is not the measure: it may name an entry that was truncated away and never comes back, and the
 * live tail written again has to free what it replaces. */
void journal_release(struct journal *j, uint64_t flushed_index)
{
    if (flushed_index > j->flushed_index)
        j->flushed_index = flushed_index;
    struct list *keep = j->live.prev;
    while (keep != &j->live &&
           LIST_ENTRY(keep, struct journal_segment, link)->prev_index_min > j->flushed_index)
        keep = keep->prev;
    while (keep != &j->live && j->live.next != keep) {
        struct list *node = list_pop_front(&j->live);
        list_push_back(&j->free, node);
        j->live_count--;
        j->free_count++;
    }
    if (j->free_count > 0 || io_now_ms(j->io) >= j->no_room_until_ms)
        j->no_room = false;
    IGNORE(journal_spare_keep(j), "journal_usage shows what room there is");
    journal_write_resume(j);
}

/* The least flushed index with which the oldest segment becomes free. */
static uint64_t release_index(const struct journal *j)
{
    uint64_t index = j->last.index;
    if (j->live_count < 2)
        return 0;
    for (struct list *l = j->live.next->next; l != &j->live; l = l->next) {
        uint64_t prev = LIST_ENTRY(l, struct journal_segment, link)->prev_index_min;
        index = prev < index ? prev : index;
    }
    return index;
}

struct journal_usage journal_usage(const struct journal *j)
{
    struct journal_segment *current = journal_current(j);
    uint32_t count = j->live_count + j->free_count;
    uint32_t to_make =
        j->no_room || count >= j->segment_count_max ? 0 : j->segment_count_max - count;
    uint64_t each = j->segment_bytes - JOURNAL_ALIGN_BYTES;
    return (struct journal_usage){
        .room_bytes = (current ? j->segment_bytes - current->end : 0) +
                      ((uint64_t)j->free_count + to_make) * each,
        .release_index = release_index(j),
        .size_bytes = count * j->segment_bytes,
        .written_bytes = j->written_bytes,
        .write_count = j->write_count,
        .segments_in_use = j->live_count,
        .is_stuck = j->write.waiting && j->free_count == 0 && !j->maker.running,
    };
}
