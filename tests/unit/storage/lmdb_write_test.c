#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/lmdb_write.h"

enum { PIECE_BYTES = 100 << 10, PIECES = 12 };

static int file_new(void)
{
    char name[] = "/tmp/holdfast-lmdb-write-XXXXXX";
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    cr_assert_eq(unlink(name), 0);
    return fd;
}

static void rest(void *owner)
{
    ++*(int *)owner;
}

Test(lmdb_write, what_is_written_in_steps_is_there)
{
    int fd = file_new();
    uint8_t *piece = malloc(PIECE_BYTES);
    cr_assert(piece);
    int rests = 0;
    lmdb_write_steps_begin(rest, &rests);
    cr_assert(lmdb_write_in_steps());
    for (int i = 0; i < PIECES; i++) {
        off_t at = (off_t)i * PIECE_BYTES;
        memset(piece, i, PIECE_BYTES);
        cr_assert_eq(pwrite(fd, piece, PIECE_BYTES, at), PIECE_BYTES);
        cr_assert(lmdb_write_step(fd, at, PIECE_BYTES));
    }
    cr_assert(lmdb_write_step(fd, 0, 4096), "the meta page, behind all others");
    lmdb_write_steps_end();
    cr_assert_eq(rests, PIECES / 3);
    cr_assert_not(lmdb_write_in_steps());
    for (int i = 0; i < PIECES; i++) {
        cr_assert_eq(pread(fd, piece, PIECE_BYTES, (off_t)i * PIECE_BYTES), PIECE_BYTES);
        for (int k = 0; k < PIECE_BYTES; k++)
            cr_assert_eq(piece[k], (uint8_t)i);
    }
    free(piece);
    close(fd);
}

Test(lmdb_write, a_file_that_knows_no_steps_is_left_alone)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    int rests = 0;
    lmdb_write_steps_begin(rest, &rests);
    for (int i = 0; i < PIECES; i++)
        cr_assert(lmdb_write_step(fds[1], (off_t)i * PIECE_BYTES, PIECE_BYTES));
    lmdb_write_steps_end();
    close(fds[0]);
    close(fds[1]);
}
