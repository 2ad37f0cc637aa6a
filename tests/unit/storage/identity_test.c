#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/identity.h"
#include "tests/support/fake_io.h"
#include "tests/support/loop_fixture.h"

static struct identity identity_make(uint64_t member_id)
{
    struct identity identity = {
        .cluster_id = 0x0102030405060708,
        .member_id = member_id,
        .formed = true,
        .formation = "form",
        .formation_bytes = 4,
    };
    for (uint8_t i = 0; i < INCARNATION_BYTES; i++)
        identity.incarnation[i] = (uint8_t)(0x10 + i);
    return identity;
}

/* Format 1. A change here is a new format. */
static const uint8_t golden[] = {
    0x83, 0x17, 0xf0, 0x86, 0x17, 0xbf, 0xff, 0xe3, 0x48, 0x46, 0x49, 0x44, 0x45, 0x4e,
    0x54, 0x00, 0x01, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05,
    0x04, 0x03, 0x02, 0x01, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x10, 0x11,
    0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x66, 0x6f, 0x72, 0x6d,
};

static enum identity_err save(struct fake_io *fake, int dir_fd, uint64_t member_id)
{
    struct identity identity = identity_make(member_id);
    return identity_save(fake_io_io(fake), dir_fd, &identity);
}

Test(identity, golden_bytes_and_round_trip)
{
    struct fake_io *fake = fake_io_new(1);
    int dir_fd = fake_io_root(fake);
    static struct identity read;
    cr_assert_eq(identity_load(fake_io_io(fake), dir_fd, &read), IDENTITY_E_ABSENT);
    cr_assert_eq(save(fake, dir_fd, 0x2122232425262728), IDENTITY_OK);
    uint8_t bytes[sizeof golden];
    cr_assert_eq(fake_disk_path_size(fake_io_disk(fake), "identity"), (int64_t)sizeof golden);
    fake_disk_peek(fake_io_disk(fake), "identity", 0, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof golden; i++)
        cr_assert_eq(bytes[i], golden[i], "byte %zu: %02x", i, bytes[i]);
    cr_assert_eq(identity_load(fake_io_io(fake), dir_fd, &read), IDENTITY_OK);
    struct identity want = identity_make(0x2122232425262728);
    cr_assert_eq(read.cluster_id, want.cluster_id);
    cr_assert_eq(read.member_id, want.member_id);
    cr_assert_arr_eq(read.incarnation, want.incarnation, INCARNATION_BYTES);
    cr_assert(read.formed);
    cr_assert(slice_equal(slice_of(read.formation, read.formation_bytes), slice_of("form", 4)));
    fake_io_free(fake);
}

Test(identity, every_flip_and_every_cut_shows)
{
    struct fake_io *fake = fake_io_new(1);
    struct fake_disk *disk = fake_io_disk(fake);
    struct io *io = fake_io_io(fake);
    int dir_fd = fake_io_root(fake);
    static struct identity read;
    cr_assert_eq(save(fake, dir_fd, 5), IDENTITY_OK);
    for (uint64_t bit = 0; bit < sizeof golden * 8; bit++) {
        fake_disk_flip(disk, "identity", bit / 8, (uint8_t)(1u << bit % 8));
        cr_assert_eq(identity_load(io, dir_fd, &read), IDENTITY_E_CORRUPT, "bit %lu", bit);
        fake_disk_flip(disk, "identity", bit / 8, (uint8_t)(1u << bit % 8));
    }
    for (size_t size = 0; size < sizeof golden; size++) {
        cr_assert_eq(io->ops->file_remove(io, dir_fd, "identity"), 0);
        int fd = io->ops->file_open(io, dir_fd, "identity", IO_OPEN_CREATE);
        cr_assert_eq(io->ops->file_write_now(io, fd, slice_of(golden, size), 0), 0);
        io->ops->file_close(io, fd);
        cr_assert_eq(io->ops->dir_sync(io, dir_fd), 0);
        cr_assert_eq(identity_load(io, dir_fd, &read), IDENTITY_E_CORRUPT, "%zu bytes", size);
    }
    fake_io_free(fake);
}

Test(identity, tells_a_newer_version_from_damage)
{
    struct fake_io *fake = fake_io_new(1);
    int dir_fd = fake_io_root(fake);
    static struct identity read;
    cr_assert_eq(save(fake, dir_fd, 5), IDENTITY_OK);
    uint8_t bytes[sizeof golden];
    fake_disk_peek(fake_io_disk(fake), "identity", 0, bytes, sizeof bytes);
    put_le32(bytes + 16, 2);
    put_le64(bytes, checksum(slice_of(bytes + 8, sizeof bytes - 8), 0));
    fake_disk_poke(fake_io_disk(fake), "identity", 0, slice_of(bytes, sizeof bytes));
    cr_assert_eq(identity_load(fake_io_io(fake), dir_fd, &read), IDENTITY_E_VERSION);
    fake_io_free(fake);
}

/* Whatever call the power goes at: the old one or the new one, whole; the new one once saved. */
Test(identity, is_replaced_whole)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct fake_io *fake = fake_io_new(seed);
        int dir_fd = fake_io_root(fake);
        cr_assert_eq(save(fake, dir_fd, 1), IDENTITY_OK);
        fake_io_crash_at(fake, 1 + seed % 8, seed % 3 == 0 ? FAKE_CRASH_PROCESS : FAKE_CRASH_POWER);
        bool saved = save(fake, dir_fd, 2) == IDENTITY_OK;
        if (!fake_io_is_dead(fake))
            fake_io_crash(fake, FAKE_CRASH_POWER);
        fake_io_reboot(fake);
        static struct identity read;
        dir_fd = fake_io_root(fake);
        cr_assert_eq(identity_load(fake_io_io(fake), dir_fd, &read), IDENTITY_OK, "seed %lu", seed);
        cr_assert(read.member_id == 2 || (!saved && read.member_id == 1), "seed %lu", seed);
        cr_assert_eq(save(fake, dir_fd, 3), IDENTITY_OK, "leftovers are in nobody's way");
        fake_io_free(fake);
    }
}

Test(identity, says_what_failed)
{
    static const struct {
        enum fake_io_kind kind;
        int error;
        enum identity_err err;
    } rows[] = {
        { FAKE_IO_WRITE, EIO, IDENTITY_E_IO },        { FAKE_IO_WRITE, ENOSPC, IDENTITY_E_NOSPACE },
        { FAKE_IO_SYNC, EIO, IDENTITY_E_IO },         { FAKE_IO_NAME, EIO, IDENTITY_E_IO },
        { FAKE_IO_NAME, ENOSPC, IDENTITY_E_NOSPACE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_io *fake = fake_io_new(1);
        int dir_fd = fake_io_root(fake);
        fake_io_fail(fake, rows[i].kind, 1, rows[i].error);
        cr_assert_eq(save(fake, dir_fd, 1), rows[i].err, "row %zu", i);
        cr_assert_eq(save(fake, dir_fd, 1), IDENTITY_OK);
        static struct identity read;
        fake_io_fail(fake, FAKE_IO_READ, 1, EIO);
        cr_assert_eq(identity_load(fake_io_io(fake), dir_fd, &read), IDENTITY_E_IO);
        fake_io_free(fake);
    }
}

Test(identity, makes_its_directory)
{
    char base[] = "/tmp/holdfast-identity-XXXXXX";
    char path[64];
    char nowhere[64];
    struct loop *loop = loop_fixture_open(NULL);
    struct io *io = loop_io(loop);
    cr_assert_not_null(mkdtemp(base));
    cr_assert_gt(snprintf(path, sizeof path, "%s/data", base), 0);
    cr_assert_gt(snprintf(nowhere, sizeof nowhere, "%s/no/data", base), 0);
    cr_assert_eq(identity_dir_open(io, nowhere), -ENOENT);
    int first = identity_dir_open(io, path);
    int second = identity_dir_open(io, path);
    cr_assert_geq(first, 0);
    cr_assert_geq(second, 0, "one that is there is fine");
    io->ops->file_close(io, first);
    io->ops->file_close(io, second);
    loop_close(loop);
    rmdir(path);
    rmdir(base);
}

Test(identity, one_process_holds_the_lock)
{
    struct fake_io *fake = fake_io_new(1);
    struct io *io = fake_io_io(fake);
    int dir_fd = fake_io_root(fake);
    int first = -1;
    int second = -1;
    cr_assert_eq(identity_lock(io, dir_fd, &first), IDENTITY_OK);
    cr_assert_eq(identity_lock(io, dir_fd, &second), IDENTITY_E_LOCKED);
    cr_assert_eq(second, -1);
    io->ops->file_close(io, first);
    cr_assert_eq(identity_lock(io, dir_fd, &second), IDENTITY_OK);
    /* A process that dies lets go of it. */
    fake_io_crash(fake, FAKE_CRASH_PROCESS);
    fake_io_reboot(fake);
    cr_assert_eq(identity_lock(io, fake_io_root(fake), &first), IDENTITY_OK);
    fake_io_free(fake);
}
