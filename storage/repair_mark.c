#include "storage/repair_mark.h"

#include <errno.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/whole_file.h"

enum {
    AT_SUM = 0,
    AT_MAGIC = 8,
    AT_FORMAT = 16,
    AT_STATE = 20,
    AT_CAUSE = 24,
    AT_ZERO = 28,
};

enum { REPAIR_MARK_FORMAT = 1, MAGIC_BYTES = 8 };

static const char magic[MAGIC_BYTES + 1] = "HFREPAIR";

const char *repair_mark_strerror(enum repair_mark_err err)
{
#define REPAIR_MARK_TEXT(name, text) \
    case name:                       \
        return text;
    switch (err) {
        REPAIR_MARK_ERRORS(REPAIR_MARK_TEXT)
    }
#undef REPAIR_MARK_TEXT
    return "unknown error";
}

const char *repair_cause_text(enum repair_cause cause)
{
#define REPAIR_CAUSE_TEXT(name, number, text) \
    case name:                                \
        return text;
    switch (cause) {
        REPAIR_CAUSES(REPAIR_CAUSE_TEXT)
    }
#undef REPAIR_CAUSE_TEXT
    return "unknown";
}

static enum repair_mark_err err_of(int64_t negative_errno)
{
    return negative_errno == -ENOSPC || negative_errno == -EDQUOT ? REPAIR_MARK_E_NOSPACE
                                                                  : REPAIR_MARK_E_IO;
}

static uint64_t sum_of(const uint8_t *bytes)
{
    return checksum(slice_of(bytes + AT_MAGIC, REPAIR_MARK_BYTES - AT_MAGIC), 0);
}

void repair_mark_encode(uint8_t to[REPAIR_MARK_BYTES], const struct repair_mark *mark)
{
    ASSERT(mark->state != REPAIR_NONE);
    memcpy(to + AT_MAGIC, magic, MAGIC_BYTES);
    put_le32(to + AT_FORMAT, REPAIR_MARK_FORMAT);
    put_le32(to + AT_STATE, mark->state);
    put_le32(to + AT_CAUSE, mark->cause);
    put_le32(to + AT_ZERO, 0);
    put_le64(to + AT_SUM, sum_of(to));
}

/* A cause that came later is no reason to refuse: it is for the eyes alone. */
static enum repair_mark_err decode(struct slice in, struct repair_mark *ret_mark)
{
    *ret_mark = (struct repair_mark){ REPAIR_STORE_LOST, REPAIR_CAUSE_UNKNOWN };
    if (in.size != REPAIR_MARK_BYTES || memcmp(in.data + AT_MAGIC, magic, MAGIC_BYTES) != 0 ||
        get_le64(in.data + AT_SUM) != sum_of(in.data))
        return REPAIR_MARK_OK;
    uint32_t state = get_le32(in.data + AT_STATE);
    uint32_t cause = get_le32(in.data + AT_CAUSE);
    if (get_le32(in.data + AT_FORMAT) != REPAIR_MARK_FORMAT || state == REPAIR_NONE ||
        state > REPAIR_CATCH_UP)
        return REPAIR_MARK_E_VERSION;
    ret_mark->state = (enum repair_state)state;
    if (cause <= REPAIR_CAUSE_JOURNAL)
        ret_mark->cause = (enum repair_cause)cause;
    return REPAIR_MARK_OK;
}

enum repair_mark_err repair_mark_load(struct io *io, int dir_fd, struct repair_mark *ret_mark)
{
    *ret_mark = (struct repair_mark){ .state = REPAIR_NONE };
    uint8_t bytes[REPAIR_MARK_BYTES + 1]; /* one more: a longer file does not verify */
    int64_t got = whole_file_load(io, dir_fd, REPAIR_MARK_NAME, bytes, sizeof bytes);
    if (got == -ENOENT)
        return REPAIR_MARK_OK;
    return got < 0 ? REPAIR_MARK_E_IO : decode(slice_of(bytes, (size_t)got), ret_mark);
}

enum repair_mark_err repair_mark_save(struct io *io, int dir_fd, const struct repair_mark *mark)
{
    uint8_t bytes[REPAIR_MARK_BYTES];
    repair_mark_encode(bytes, mark);
    int err = whole_file_replace(io, dir_fd, REPAIR_MARK_NAME, REPAIR_MARK_NAME_NEXT,
                                 slice_of(bytes, sizeof bytes));
    return err == 0 ? REPAIR_MARK_OK : err_of(err);
}

enum repair_mark_err repair_mark_clear(struct io *io, int dir_fd)
{
    int err = io->ops->file_remove(io, dir_fd, REPAIR_MARK_NAME);
    if (err == 0 || err == -ENOENT)
        err = io->ops->dir_sync(io, dir_fd);
    return err == 0 ? REPAIR_MARK_OK : err_of(err);
}
