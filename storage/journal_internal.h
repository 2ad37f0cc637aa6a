/* journal_internal.h: what the files of the journal share.
 *
 *   journal.c           life, writes, completions
 *   journal_segments.c  the ring: making, taking, releasing segments
 *   journal_slots.c     single writes, and the two files of two slots: hard state, marks
 *   journal_scan.c      reads segments and finds the chain of batches
 *   journal_recover.c   judges what was found: torn or corrupt; repairs
 *   journal_salvage.c   goes on after damage with what still verifies
 *   journal_replay.c    the entries of the chain
 *   journal_format.c    bytes
 */
#ifndef STORAGE_JOURNAL_INTERNAL_H
#define STORAGE_JOURNAL_INTERNAL_H

#include "base/list.h"
#include "base/timer.h"
#include "storage/journal.h"
#include "storage/journal_format.h"

enum {
    JOURNAL_SEGMENT_IDS_MAX = 1024,
    JOURNAL_SEGMENT_BYTES_MIN = 64 << 10,
    JOURNAL_SEGMENT_BYTES_MAX = 1 << 30,
    /* Of a segment, with its header: zero in one that is not in use. A recovery looks at all of it,
     * as single blocks may never have reached the disk. */
    JOURNAL_BEGINNING_BYTES = 32 << 10,
    JOURNAL_MARK_INTERVAL_MS = 100,
    JOURNAL_MARK_BYTES = 8 << 20,
    JOURNAL_RETRY_MS = 1,
    JOURNAL_ROOM_RETRY_MS = 500, /* on a full disk: a try writes what room there still is */
};

struct journal_segment {
    struct list link; /* on journal.live or journal.free */
    uint32_t id;      /* its name */
    int fd;
    uint64_t generation;
    uint64_t end;            /* where its next batch goes */
    uint64_t prev_index_min; /* the least prev.index of its durable batches; UINT64_MAX: none */
};

/* One write at a time; begun again a little later when the io is busy. */
struct journal_op {
    struct journal *j;
    int fd;
    struct slice bytes;
    uint64_t offset;
    enum io_write_flags flags;
    void (*done)(struct journal *j);
    struct timer retry;
    bool busy;
};

/* A file of two pages that are written in turn: the one not being written stays readable. */
struct journal_slots {
    enum journal_page_kind kind;
    int fd;
    uint8_t *page; /* aligned */
    uint64_t sequence;
    struct journal_op op;
};

struct journal_new_segment {
    struct io *io;
    int dir_fd;
    bool direct;
    bool rests; /* in a job: again and again, for those who write beside it */
    uint64_t bytes;
    uint32_t id;
};

/* Makes one segment in a job, which touches nothing but this. */
struct journal_maker {
    struct io_job job;
    struct journal *j;
    bool running;
    struct journal_new_segment wanted;
    struct journal_segment *segment; /* fd < 0: -errno */
};

struct journal_pending_write {
    bool active;
    bool waiting; /* for a segment that is being made */
    struct journal_batch_header header;
    struct raft_pos last; /* of the log after it */
    uint64_t size;
    uint64_t sum;
    journal_done_fn *fn;
    void *owner;
};

struct journal {
    struct io *io;
    int dir_fd;
    bool direct;
    bool salvage;
    bool must_exist;
    bool failed;               /* final (I6) */
    bool no_room;              /* the disk was full for the last new segment */
    uint64_t no_room_until_ms; /* then: when a release tries again though it frees nothing */
    bool closing;
    void (*close_fn)(void *owner);
    void *close_owner;
    struct journal_owner owner;
    uint64_t segment_bytes;
    uint32_t segment_count_max;

    struct list live; /* in order of generation; the last one is written to */
    struct list free; /* nothing in them is needed */
    uint32_t live_count;
    uint32_t free_count;
    uint32_t id_last;
    uint64_t generation; /* the highest ever given, or seen */
    struct journal_maker maker;

    uint64_t number; /* of the last durable write; 0: none yet */
    uint64_t sum;
    struct raft_hard_state hard;
    struct raft_pos last; /* where the log ends */
    uint64_t flushed_index;

    uint8_t *buffer; /* aligned, segment_bytes: a page for the header, then the batch */
    struct journal_pending_write write;
    struct journal_op op;
    struct journal_slots slots;
    struct journal_slots marks;
    struct timer mark_timer;
    uint64_t marked_number;
    uint64_t unmarked_bytes;

    uint64_t written_bytes;
    uint64_t write_count;
};

/* NULL when no segment is in use yet. */
static inline struct journal_segment *journal_current(const struct journal *j)
{
    return list_is_empty(&j->live) ? NULL : LIST_ENTRY(j->live.prev, struct journal_segment, link);
}

/* Final: every later call is refused (I6). */
void journal_fail(struct journal *j);

/* ---- journal.c ---- */

/* A segment is there, or none will come: goes on with the write that waited. */
void journal_write_resume(struct journal *j);

/* Frees the journal if it is closing and nothing runs any more. */
void journal_close_check(struct journal *j);

enum journal_err journal_err_of(int64_t negative_errno);

/* ---- journal_segments.c ---- */

/* As the journal's others. */
struct journal_new_segment journal_new_segment(const struct journal *j, uint32_t id);
/* Pre-written with zeros, durable with its name; blocking. The fd, or -errno. */
int journal_segment_make(const struct journal_new_segment *n);
enum { JOURNAL_SEGMENT_NAME_BYTES = 16 };
void journal_segment_name(char *to, uint32_t id);
extern const char journal_segment_name_unfinished[];

struct journal_segment *journal_segment_new(uint32_t id);
/* One of the free list: closed, freed; its file stays. */
void journal_segment_forget(struct journal *j, struct journal_segment *s);

/* Sees to it that a spare is ready or being made; false when neither can be. */
bool journal_spare_keep(struct journal *j);

/* The next segment becomes the one written to; one is free. */
void journal_segment_take(struct journal *j);

/* ---- journal_slots.c ---- */

void journal_op_init(struct journal_op *op, struct journal *j, void (*done)(struct journal *j));

/* False: it failed at once, the journal has failed and nothing is in flight. */
bool journal_op_begin(struct journal_op *op) __attribute__((warn_unused_result));

bool journal_slots_init(struct journal_slots *s, struct journal *j, enum journal_page_kind kind,
                        void (*done)(struct journal *j)) __attribute__((warn_unused_result));

/* Writes the older of the two. */
bool journal_slots_write(struct journal_slots *s, const struct journal_page *page,
                         enum io_write_flags flags) __attribute__((warn_unused_result));

/* Blocking, at open. What the two hold; a missing file is blank. JOURNAL_OK or _VERSION,
 * _FOREIGN, _IO. */
struct journal_slots_found {
    enum journal_verdict verdicts[2];
    struct journal_page pages[2];
};
enum journal_err journal_slots_load(struct journal_slots *s, struct journal_slots_found *ret_found)
    __attribute__((warn_unused_result));

/* Blocking, at open: makes the file when it is missing, writes `page` into both when it is not
 * NULL, syncs. */
enum journal_err journal_slots_repair(struct journal_slots *s, const struct journal_page *page)
    __attribute__((warn_unused_result));

const char *journal_slots_name(enum journal_page_kind kind);

/* After a durable write: a mark now, soon, or not yet. */
void journal_mark_schedule(struct journal *j, uint64_t written_bytes);
void journal_mark_timer_fn(void *owner);
/* The last one, before closing. */
void journal_mark_last(struct journal *j);

/* ---- journal_scan.c ---- */

struct journal_found_batch {
    struct journal_segment *segment;
    uint64_t offset;
    uint64_t sum;
    struct journal_batch_header header;
    struct block *payload; /* of a scan that keeps them, else NULL: owned by the scan */
};

struct journal_found_segment {
    struct journal_segment *segment;
    enum journal_verdict verdict;
};

/* What the files say. */
struct journal_scan {
    bool salvages;                          /* set by the caller: what cannot be used is left out */
    bool keeps_payloads;                    /* set by the caller: those of the chain, in memory */
    struct journal_found_segment *segments; /* newest generation first, then those without */
    size_t segment_count;
    struct journal_found_batch *chain; /* newest first, down to where `flushed` begins */
    size_t chain_count;
    size_t chain_capacity;
    bool chain_is_whole;    /* its last one starts at or before `flushed`, or nothing was written */
    uint64_t known_durable; /* write number, of all headers seen */
    uint64_t newest_header; /* write number */
    struct raft_hard_state hard;     /* of all headers seen, ... */
    bool votes_agree;                /* ... which do not contradict each other */
    struct journal_segment *damaged; /* its own header fails; NULL: none */
    uint64_t damaged_number;         /* the highest write number found in it */
    char *detail;                    /* for the operator: borrowed */
    size_t detail_bytes;
};

void journal_scan_say(struct journal_scan *scan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Opens the segments that exist and reads their headers; j->segment_bytes becomes theirs. */
enum journal_err journal_scan_segments(struct journal *j, struct journal_scan *scan)
    __attribute__((warn_unused_result));

bool journal_batch_continues(const struct journal_found_batch *older,
                             const struct journal_found_batch *newer);

/* Every batch that verifies, of every segment whose header does, in no order: into scan->chain. */
enum journal_err journal_scan_all(struct journal *j, struct journal_scan *scan)
    __attribute__((warn_unused_result));

/* Follows the chain back from the newest batch, to a reset that drops what is older at most. */
enum journal_err journal_scan_chain(struct journal *j, struct journal_scan *scan,
                                    uint64_t flushed_index) __attribute__((warn_unused_result));

void journal_scan_done(struct journal_scan *scan);

/* ---- journal_replay.c ---- */

/* The entries after `flushed` into recovery, and j->last where the log ends. */
enum journal_err journal_replay(struct journal *j, struct journal_scan *scan,
                                struct raft_pos flushed, struct journal_recovery *recovery)
    __attribute__((warn_unused_result));

/* ---- journal_salvage.c ---- */

/* In place of recovery, after it found damage: keeps what can be kept, and only then drops the
 * rest. JOURNAL_E_CORRUPT when term and vote are not known for sure. */
enum journal_err journal_salvage(struct journal *j, struct raft_pos flushed,
                                 struct journal_recovery *recovery)
    __attribute__((warn_unused_result));

/* ---- journal_recover.c ---- */

extern const char journal_advice[];

/* The later of two, and never a lower term or a vote undone. False: they contradict each other. */
bool journal_hard_join(struct raft_hard_state *hard, struct raft_hard_state other);

/* The slots' states into *hard, likewise. */
bool journal_hard_join_slots(struct raft_hard_state *hard, const struct journal_slots_found *slots);

/* Reads and syncs: what journal_find_reset answers. */
enum journal_err journal_recover_reset(struct journal *j, bool *ret_found, struct raft_pos *ret_pos)
    __attribute__((warn_unused_result));

/* The whole of it: scan, judge, replay, repair, sync. */
enum journal_err journal_recover(struct journal *j, struct raft_pos flushed,
                                 struct journal_recovery *recovery)
    __attribute__((warn_unused_result));

#endif
