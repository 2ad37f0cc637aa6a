#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "rpc/loop_internal.h"

/* One thread submits and reaps, and completions run when it asks for them: no interrupts of the
 * loop, no locks between submitters. A bad request does not hold up those behind it. */
enum {
    RING_FLAGS = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
};

static const struct {
    uint32_t flag;
    const char *name;
} features[] = {
    { IORING_FEAT_NODROP, "IORING_FEAT_NODROP" },
    { IORING_FEAT_SUBMIT_STABLE, "IORING_FEAT_SUBMIT_STABLE" },
    { IORING_FEAT_FAST_POLL, "IORING_FEAT_FAST_POLL" },
    { IORING_FEAT_EXT_ARG, "IORING_FEAT_EXT_ARG" },
    { IORING_FEAT_CQE_SKIP, "IORING_FEAT_CQE_SKIP" },
};

static const struct {
    int opcode;
    const char *name;
} opcodes[] = {
    { IORING_OP_ACCEPT, "IORING_OP_ACCEPT" },
    { IORING_OP_CONNECT, "IORING_OP_CONNECT" },
    { IORING_OP_RECV, "IORING_OP_RECV" },
    { IORING_OP_SEND, "IORING_OP_SEND" },
    { IORING_OP_READ, "IORING_OP_READ" },
    { IORING_OP_WRITE, "IORING_OP_WRITE" },
    { IORING_OP_FSYNC, "IORING_OP_FSYNC" },
    { IORING_OP_POLL_ADD, "IORING_OP_POLL_ADD" },
    { IORING_OP_ASYNC_CANCEL, "IORING_OP_ASYNC_CANCEL" },
};

static uint32_t power_of_two_above(uint32_t n)
{
    uint32_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

uint32_t loop_ring_sq_entries(const struct loop_options *options)
{
    uint32_t n = power_of_two_above(options->op_count_max);
    return n < LOOP_SQ_ENTRIES_MAX ? n : LOOP_SQ_ENTRIES_MAX;
}

uint32_t loop_ring_cq_entries(const struct loop_options *options)
{
    uint32_t n = power_of_two_above(options->op_count_max) * 2;
    return n < LOOP_CQ_ENTRIES_MAX ? n : LOOP_CQ_ENTRIES_MAX;
}

static enum loop_err setup_failed(int error, char *detail, size_t detail_bytes)
{
    const char *why = "";
    enum loop_err err = LOOP_E_SYSTEM;
    if (error == ENOSYS) {
        why = ": this kernel, or a seccomp filter, offers no io_uring";
        err = LOOP_E_UNSUPPORTED;
    } else if (error == EPERM) {
        why = ": io_uring is disabled; see sysctl kernel.io_uring_disabled and the container's "
              "seccomp profile";
        err = LOOP_E_UNSUPPORTED;
    } else if (error == EINVAL) {
        why = ": IORING_SETUP_DEFER_TASKRUN needs Linux 6.1";
        err = LOOP_E_UNSUPPORTED;
    } else if (error == ENOMEM) {
        why = ": see the limit of locked memory (ulimit -l)";
    }
    snprintf(detail, detail_bytes, "io_uring_setup: %s%s", strerror(error), why);
    return err;
}

static enum loop_err ring_probe(struct loop *l, char *detail, size_t detail_bytes)
{
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (!(l->ring.features & features[i].flag)) {
            snprintf(detail, detail_bytes, "io_uring lacks %s", features[i].name);
            return LOOP_E_UNSUPPORTED;
        }
    }
    struct io_uring_probe *probe = io_uring_get_probe_ring(&l->ring);
    if (!probe) {
        snprintf(detail, detail_bytes, "io_uring cannot be asked for its operations");
        return LOOP_E_UNSUPPORTED;
    }
    enum loop_err err = LOOP_OK;
    for (size_t i = 0; err == LOOP_OK && i < sizeof opcodes / sizeof *opcodes; i++) {
        if (!io_uring_opcode_supported(probe, opcodes[i].opcode)) {
            snprintf(detail, detail_bytes, "io_uring lacks %s", opcodes[i].name);
            err = LOOP_E_UNSUPPORTED;
        }
    }
    io_uring_free_probe(probe);
    return err;
}

enum loop_err loop_ring_open(struct loop *l, char *detail, size_t detail_bytes)
{
    struct io_uring_params params = {
        .flags = RING_FLAGS,
        .cq_entries = loop_ring_cq_entries(&l->options),
    };
    int rc = io_uring_queue_init_params(loop_ring_sq_entries(&l->options), &l->ring, &params);
    if (rc < 0)
        return setup_failed(-rc, detail, detail_bytes);
    l->ring_is_open = true;
    enum loop_err err = ring_probe(l, detail, detail_bytes);
    if (err != LOOP_OK)
        return err;
    IGNORE(io_uring_register_ring_fd(&l->ring) < 0, "it only spares a look-up at each enter");
    rc = loop_buffers_open(l);
    if (rc < 0) {
        snprintf(detail, detail_bytes, "provided buffer ring: %s", strerror(-rc));
        return rc == -EINVAL ? LOOP_E_UNSUPPORTED : LOOP_E_SYSTEM;
    }
    return LOOP_OK;
}

struct io_uring_sqe *loop_ring_sqe(struct loop *l)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);
    if (sqe)
        return sqe;
    l->counters.submissions_full++;
    IGNORE(io_uring_submit(&l->ring), "what it did not take is still queued, and sqe stays NULL");
    return io_uring_get_sqe(&l->ring);
}
