#include <criterion/criterion.h>
#include <errno.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/repair_mark.h"
#include "tests/support/fake_io.h"

static struct fake_io *fake;
static struct io *io;
static int root_fd;

static void setup_seeded(uint64_t seed)
{
    fake = fake_io_new(seed);
    io = fake_io_io(fake);
    root_fd = fake_io_root(fake);
}

static void setup(void)
{
    setup_seeded(1);
}

static void teardown(void)
{
    fake_io_free(fake);
}

TestSuite(repair_mark, .init = setup, .fini = teardown);

static const struct repair_mark lost = { REPAIR_STORE_LOST, REPAIR_CAUSE_ROW };
static const struct repair_mark catch_up = { REPAIR_CATCH_UP, REPAIR_CAUSE_JOURNAL };

/* Format 1. */
static const uint8_t golden[REPAIR_MARK_BYTES] = {
    0x0a, 0x6f, 0xa7, 0x1e, 0x03, 0x4b, 0x74, 0xe2, 0x48, 0x46, 0x52, 0x45, 0x50, 0x41, 0x49, 0x52,
    0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static void reboot(void)
{
    fake_io_reboot(fake);
    root_fd = fake_io_root(fake);
}

static struct repair_mark load(void)
{
    struct repair_mark mark;
    cr_assert_eq(repair_mark_load(io, root_fd, &mark), REPAIR_MARK_OK);
    return mark;
}

Test(repair_mark, golden_bytes)
{
    uint8_t bytes[REPAIR_MARK_BYTES];
    repair_mark_encode(bytes, &catch_up);
    for (size_t i = 0; i < sizeof golden; i++)
        cr_assert_eq(bytes[i], golden[i], "byte %zu: %02x, not %02x", i, bytes[i], golden[i]);
}

Test(repair_mark, goes_through_its_states)
{
    cr_assert_eq(load().state, REPAIR_NONE);
    cr_assert_eq(repair_mark_save(io, root_fd, &lost), REPAIR_MARK_OK);
    fake_io_crash(fake, FAKE_CRASH_POWER);
    reboot();
    cr_assert_eq(load().state, REPAIR_STORE_LOST);
    cr_assert_eq(load().cause, REPAIR_CAUSE_ROW);
    cr_assert_eq(repair_mark_save(io, root_fd, &catch_up), REPAIR_MARK_OK);
    fake_io_crash(fake, FAKE_CRASH_POWER);
    reboot();
    cr_assert_eq(load().state, REPAIR_CATCH_UP);
    cr_assert_eq(load().cause, REPAIR_CAUSE_JOURNAL);
    cr_assert_eq(repair_mark_clear(io, root_fd), REPAIR_MARK_OK);
    fake_io_crash(fake, FAKE_CRASH_POWER);
    reboot();
    cr_assert_eq(load().state, REPAIR_NONE);
    cr_assert_eq(repair_mark_clear(io, root_fd), REPAIR_MARK_OK, "none there is fine");
}

static void file_write(const uint8_t *bytes, size_t size)
{
    IGNORE(io->ops->file_remove(io, root_fd, REPAIR_MARK_NAME), "it may not be there");
    int fd = io->ops->file_open(io, root_fd, REPAIR_MARK_NAME, IO_OPEN_CREATE);
    cr_assert_geq(fd, 0);
    cr_assert_eq(io->ops->file_write_now(io, fd, slice_of(bytes, size), 0), 0);
    io->ops->file_close(io, fd);
}

/* It never reads as no mark at all. */
Test(repair_mark, a_damaged_one_means_that_the_store_is_lost)
{
    uint8_t bytes[REPAIR_MARK_BYTES + 1] = { 0 };
    memcpy(bytes, golden, sizeof golden);
    for (size_t bit = 0; bit < sizeof golden * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        file_write(bytes, sizeof golden);
        cr_assert_eq(load().state, REPAIR_STORE_LOST, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < sizeof golden; size++) {
        file_write(bytes, size);
        cr_assert_eq(load().state, REPAIR_STORE_LOST, "%zu bytes", size);
    }
    file_write(bytes, sizeof bytes);
    cr_assert_eq(load().state, REPAIR_STORE_LOST, "too long");
}

Test(repair_mark, tells_a_newer_version)
{
    static const size_t at[] = { 16, 20, 20 };
    static const uint32_t values[] = { 2, 3, 0 };
    for (size_t i = 0; i < 3; i++) {
        uint8_t bytes[REPAIR_MARK_BYTES];
        memcpy(bytes, golden, sizeof bytes);
        put_le32(bytes + at[i], values[i]);
        put_le64(bytes, checksum(slice_of(bytes + 8, sizeof bytes - 8), 0));
        file_write(bytes, sizeof bytes);
        struct repair_mark mark;
        cr_assert_eq(repair_mark_load(io, root_fd, &mark), REPAIR_MARK_E_VERSION);
    }
    uint8_t bytes[REPAIR_MARK_BYTES];
    memcpy(bytes, golden, sizeof bytes);
    put_le32(bytes + 24, 77);
    put_le64(bytes, checksum(slice_of(bytes + 8, sizeof bytes - 8), 0));
    file_write(bytes, sizeof bytes);
    cr_assert_eq(load().state, REPAIR_CATCH_UP, "a cause that came later is no reason to stop");
    cr_assert_eq(load().cause, REPAIR_CAUSE_UNKNOWN);
}

/* Until a save has returned there is the state before or the one after, and never none. */
Test(repair_mark, a_crash_on_the_way_leaves_one_or_the_other)
{
    for (uint64_t nth = 1; nth <= 60; nth++) {
        teardown();
        setup_seeded(nth); /* another choice of what the power cut takes */
        cr_assert_eq(repair_mark_save(io, root_fd, &lost), REPAIR_MARK_OK);
        fake_io_crash_at(fake, 1 + nth / 4, nth % 2 ? FAKE_CRASH_POWER : FAKE_CRASH_PROCESS);
        enum repair_mark_err err = repair_mark_save(io, root_fd, &catch_up);
        bool died = fake_io_is_dead(fake);
        cr_assert_eq(err == REPAIR_MARK_OK, !died);
        if (!died)
            fake_io_crash(fake, FAKE_CRASH_POWER);
        reboot();
        struct repair_mark mark = load();
        cr_assert(mark.state == REPAIR_CATCH_UP || (died && mark.state == REPAIR_STORE_LOST));
        fake_io_crash(fake, FAKE_CRASH_POWER);
        reboot();
        cr_assert_eq(load().state, mark.state, "what was believed stays");
    }
}

Test(repair_mark, failures_are_told)
{
    static const enum fake_io_kind kinds[] = { FAKE_IO_WRITE, FAKE_IO_SYNC, FAKE_IO_NAME };
    for (size_t k = 0; k < 3; k++) {
        fake_io_fail(fake, kinds[k], 1, ENOSPC);
        cr_assert_eq(repair_mark_save(io, root_fd, &lost), REPAIR_MARK_E_NOSPACE, "kind %zu", k);
    }
    cr_assert_eq(repair_mark_save(io, root_fd, &lost), REPAIR_MARK_OK);
    fake_io_fail(fake, FAKE_IO_READ, 1, EIO);
    struct repair_mark mark;
    cr_assert_eq(repair_mark_load(io, root_fd, &mark), REPAIR_MARK_E_IO);
    fake_io_fail(fake, FAKE_IO_NAME, 1, EIO);
    cr_assert_eq(repair_mark_clear(io, root_fd), REPAIR_MARK_E_IO);
    for (int err = 0; err <= REPAIR_MARK_E_VERSION; err++)
        cr_assert_str_neq(repair_mark_strerror((enum repair_mark_err)err), "unknown error");
    for (int cause = 1; cause <= REPAIR_CAUSE_JOURNAL; cause++)
        cr_assert_str_neq(repair_cause_text((enum repair_cause)cause), "unknown");
}
