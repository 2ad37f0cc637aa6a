/* Opening: options, what is said where io_uring is missing, and the total at start-up. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/loop_fixture.h"

Test(loop_open, names_the_option_that_is_out_of_bounds)
{
    struct loop_options good = loop_fixture_options();
    struct {
        const char *option;
        uint32_t *knob;
        uint32_t bad;
    } cases[] = {
        { "op_count_max", &good.op_count_max, 63 },
        { "op_count_max", &good.op_count_max, (1 << 20) + 1 },
        { "timer_count_max", &good.timer_count_max, 0 },
        { "recv_buffer_count", &good.recv_buffer_count, 0 },
        { "recv_buffer_count", &good.recv_buffer_count, 48 },
        { "recv_buffer_count", &good.recv_buffer_count, 65536 },
        { "recv_buffer_bytes", &good.recv_buffer_bytes, 15 },
        { "recv_buffer_bytes", &good.recv_buffer_bytes, (1 << 20) + 1 },
        { "thread_counts", &good.thread_counts[IO_LANE_WORK], 0 },
        { "thread_counts", &good.thread_counts[IO_LANE_READ], 65 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t before = *cases[i].knob;
        *cases[i].knob = cases[i].bad;
        struct loop *l = NULL;
        char detail[64];
        cr_expect_eq(loop_open(&l, &good, detail, sizeof detail), LOOP_E_OPTIONS, "%zu", i);
        cr_expect_str_eq(detail, cases[i].option);
        cr_expect_null(l);
        *cases[i].knob = before;
    }
}

/* As a container's profile does it. */
static void forbid_io_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void expect_detail(int error, enum loop_err expected, const char *part)
{
    forbid_io_uring(error);
    struct loop_options options = loop_fixture_options();
    struct loop *l = NULL;
    char detail[256];
    cr_expect_eq(loop_open(&l, &options, detail, sizeof detail), expected);
    cr_expect_null(l);
    cr_expect(strstr(detail, part), "%s", detail);
}

Test(loop_open, says_that_the_kernel_has_no_io_uring)
{
    expect_detail(ENOSYS, LOOP_E_UNSUPPORTED, "no io_uring");
}

Test(loop_open, says_that_io_uring_is_disabled)
{
    expect_detail(EPERM, LOOP_E_UNSUPPORTED, "kernel.io_uring_disabled");
}

Test(loop_open, says_which_kernel_it_needs)
{
    expect_detail(EINVAL, LOOP_E_UNSUPPORTED, "Linux 6.1");
}

Test(loop_open, says_what_else_the_system_answered)
{
    expect_detail(EMFILE, LOOP_E_SYSTEM, "Too many open files");
}

Test(loop_open, counts_its_buffers_and_slots)
{
    struct loop_options options = loop_fixture_options();
    uint64_t before = loop_memory_bytes(&options);
    options.recv_buffer_count *= 2;
    uint64_t added = loop_memory_bytes(&options) - before;
    uint64_t buffers = (uint64_t)options.recv_buffer_count / 2 * options.recv_buffer_bytes;
    cr_expect_geq(added, buffers);
    cr_expect_lt(added, buffers + buffers / 8);
    before = loop_memory_bytes(&options);
    options.op_count_max *= 2;
    cr_expect_gt(loop_memory_bytes(&options), before);
}

Test(loop_open, every_error_has_a_text)
{
    for (int err = LOOP_OK; err <= LOOP_E_SYSTEM; err++)
        cr_expect_str_neq(loop_strerror((enum loop_err)err), "unknown error");
    cr_expect_str_eq(loop_strerror((enum loop_err)99), "unknown error");
}

Test(loop_open, closing_nothing_is_fine)
{
    loop_close(NULL);
    loop_close(loop_fixture_open(NULL));
}
