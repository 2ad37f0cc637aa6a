/* repair_mark.h: a small file that says that this node has lost part of what was durable (I7).
 *
 * States, in the order in which a repair goes through them:
 *   STORE_LOST  the environment is not to be believed. The start discards it (store_discard), makes
 *               a blank one, opens the journal with `salvage` and then saves CATCH_UP.
 *   CATCH_UP    the store is a true one, perhaps of long ago, and the log may lack what was
 *               confirmed once: the node votes for nobody and confirms nothing
 *               (raft_start.awaits_repair) until it has caught up (ready.repaired); then the mark
 *               is cleared.
 * A mark is saved before anything that it speaks of is dropped, and cleared after everything is
 * there again; both are durable when the call returns.
 *
 * The file `repair`, little-endian, replaced whole (write, sync, rename, sync of the directory):
 *   0 checksum of the rest (8) | 8 magic "HFREPAIR" (8) | 16 format, 1 (4) | 20 state (4) |
 *   24 cause (4) | 28 zero (4)
 * One that does not verify was a mark all the same: it is read as STORE_LOST.
 * Thread: one at a time; blocking: before the loop runs, or in a job. Errors: as listed.
 */
#ifndef STORAGE_REPAIR_MARK_H
#define STORAGE_REPAIR_MARK_H

#include "base/io.h"

enum { REPAIR_MARK_BYTES = 32 };

#define REPAIR_MARK_NAME      "repair"
#define REPAIR_MARK_NAME_NEXT "repair.new"

#define REPAIR_MARK_ERRORS(X)                                           \
    X(REPAIR_MARK_OK, "ok")                                             \
    X(REPAIR_MARK_E_IO, "the repair mark cannot be read or written")    \
    X(REPAIR_MARK_E_NOSPACE, "no room on the disk for the repair mark") \
    X(REPAIR_MARK_E_VERSION, "the repair mark was written by a newer version of this program")

#define REPAIR_MARK_ENUM_ENTRY(name, text) name,
enum repair_mark_err { REPAIR_MARK_ERRORS(REPAIR_MARK_ENUM_ENTRY) };
#undef REPAIR_MARK_ENUM_ENTRY

const char *repair_mark_strerror(enum repair_mark_err err);

enum repair_state {
    REPAIR_NONE = 0, /* no mark */
    REPAIR_STORE_LOST = 1,
    REPAIR_CATCH_UP = 2,
};

/* For the operator. */
#define REPAIR_CAUSES(X)                                                        \
    X(REPAIR_CAUSE_UNKNOWN, 0, "unknown")                                       \
    X(REPAIR_CAUSE_ROW, 1, "a row of the store fails its checksum")             \
    X(REPAIR_CAUSE_FAULT, 2, "the store could not be read: a fault in its map") \
    X(REPAIR_CAUSE_OPEN, 3, "the store could not be opened: it is damaged")     \
    X(REPAIR_CAUSE_JOURNAL, 4, "the journal is damaged below what was known durable")

#define REPAIR_CAUSE_ENUM_ENTRY(name, number, text) name = number,
enum repair_cause { REPAIR_CAUSES(REPAIR_CAUSE_ENUM_ENTRY) };
#undef REPAIR_CAUSE_ENUM_ENTRY

const char *repair_cause_text(enum repair_cause cause);

struct repair_mark {
    enum repair_state state;
    enum repair_cause cause;
};

/* The file's bytes; state is not REPAIR_NONE. */
void repair_mark_encode(uint8_t to[REPAIR_MARK_BYTES], const struct repair_mark *mark);

/* REPAIR_NONE without a file. What was read is synced before it is believed (I6). */
enum repair_mark_err repair_mark_load(struct io *io, int dir_fd, struct repair_mark *ret_mark)
    __attribute__((warn_unused_result));

/* Durable when it returns REPAIR_MARK_OK. state is not REPAIR_NONE. */
enum repair_mark_err repair_mark_save(struct io *io, int dir_fd, const struct repair_mark *mark)
    __attribute__((warn_unused_result));

/* Removes it, durably; none there is fine. */
enum repair_mark_err repair_mark_clear(struct io *io, int dir_fd)
    __attribute__((warn_unused_result));

#endif
