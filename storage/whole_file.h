/* whole_file.h: small files that are read and replaced as a whole: the identity, the repair mark.
 *
 * A replacement is written beside the file, synced, renamed over it, and the directory synced:
 * after a crash at any point the file is the old one or the new one. Thread: one at a time for a
 * name; blocking: before the loop runs, or in a job. Errors: -errno.
 */
#ifndef STORAGE_WHOLE_FILE_H
#define STORAGE_WHOLE_FILE_H

#include "base/io.h"

/* At most size bytes of it; how many, or -ENOENT. What was read is synced, file and name, before it
 * is handed out: a rename that only a cache knew must not be believed (I6). */
int64_t whole_file_load(struct io *io, int dir_fd, const char *name, void *to, size_t size);

/* Durable when it returns 0. What `next` was before is gone: an unfinished replacement. */
int whole_file_replace(struct io *io, int dir_fd, const char *name, const char *next,
                       struct slice bytes);

#endif
