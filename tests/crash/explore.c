#include "tests/crash/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"

void explore_promise(struct explorer *x, const struct promise *promise)
{
    ASSERT(x->promise_count < EXPLORE_PROMISES_MAX);
    x->promises[x->promise_count] = *promise;
    record_mark(x->promise_count++);
}

static void find(struct explorer *x, const char *where, size_t point, const struct disk_cut *cut)
{
    x->findings++;
    if (!x->wants_finding)
        printf("seed %lu%s, %s operation %zu, loss %d, salt %lu: %s\n", x->seed,
               x->is_deeper ? ", after a recovery" : "", where, point, cut ? (int)cut->loss : -1,
               cut ? cut->salt : 0, x->why);
}

static bool is_enough(const struct explorer *x)
{
    return x->wants_finding && x->findings > 0;
}

static void cut_check(struct explorer *x, struct disk *disk, size_t point,
                      const struct disk_cut *cut, const struct promise *promise)
{
    disk_dir_clear(x->image);
    /* Written out whole, the disk would stand for the image's files. */
    struct disk *copy = cut->loss == DISK_LOSS_NONE ? disk_copy(disk) : NULL;
    disk_write_out(copy ? copy : disk, cut, x->image);
    disk_free(copy);
    x->images++;
    if (!x->check(x, x->image, promise))
        find(x, "before", point, cut);
}

static void trace_explore(struct explorer *x, struct disk *disk, const struct record_trace *trace,
                          struct promise promise);

/* The machine (or the process alone) stops here and starts again, and then the power is cut. */
static void deeper(struct explorer *x, const struct disk *disk, size_t point,
                   const struct promise *promise)
{
    struct prng chance = prng_seeded(x->seed * 1000003 + point);
    struct disk_cut cut = { .loss = DISK_LOSS_NONE, .salt = prng_next(&chance) };
    bool is_power = prng_below(&chance, 2) == 0;
    if (is_power)
        cut.loss = (enum disk_loss)prng_below(&chance, DISK_LOSS_KINDS);
    struct disk *copy = disk_copy(disk);
    struct record_trace trace = { 0 };
    size_t promise_count = x->promise_count;
    disk_dir_clear(x->again);
    disk_write_out(copy, &cut, x->again);
    if (is_power) {
        disk_free(copy);
        copy = disk_load(x->again);
    }
    struct disk *before = disk_copy(copy);
    x->is_deeper = true;
    record_begin(copy, &trace);
    if (!x->work(x, x->again, promise, false))
        find(x, "again from", point, &cut);
    record_end();
    trace_explore(x, before, &trace, *promise);
    x->is_deeper = false;
    x->promise_count = promise_count;
    record_trace_done(&trace);
    disk_free(before);
    disk_free(copy);
}

static void trace_explore(struct explorer *x, struct disk *disk, const struct record_trace *trace,
                          struct promise promise)
{
    struct prng chance = prng_seeded(x->seed ^ trace->count);
    for (size_t point = 0; point <= trace->count && !is_enough(x); point++) {
        x->points++;
        bool is_clean = disk_is_clean(disk);
        for (uint32_t i = 0; i < x->cuts_per_point * DISK_LOSS_KINDS && !is_enough(x); i++) {
            struct disk_cut cut = { .loss = (enum disk_loss)(i % DISK_LOSS_KINDS),
                                    .salt = prng_next(&chance) };
            if (i == 0 || !is_clean)
                cut_check(x, disk, point, &cut, &promise);
        }
        if (x->deeper_of > 0 && !x->is_deeper && prng_below(&chance, x->deeper_of) == 0)
            deeper(x, disk, point, &promise);
        if (point == trace->count)
            break;
        disk_apply(disk, &trace->ops[point]);
        if (trace->ops[point].type == DISK_OP_MARK)
            promise = x->promises[trace->ops[point].mark];
    }
}

static void path_make(char *path, const char *base, const char *name)
{
    ASSERT(snprintf(path, EXPLORE_PATH_BYTES, "%s/%s", base, name) < EXPLORE_PATH_BYTES);
    ASSERT(mkdir(path, 0700) == 0);
}

void explore_run(struct explorer *x)
{
    /* Memory, where there is such a place: nothing here is really synced. */
    char base[EXPLORE_PATH_BYTES];
    ASSERT(snprintf(base, sizeof base, "%s/holdfast-crash-XXXXXX",
                    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") < (int)sizeof base);
    ASSERT(mkdtemp(base) != NULL);
    path_make(x->live, base, "live");
    path_make(x->again, base, "again");
    path_make(x->image, base, "image");
    struct disk *disk = disk_load(x->live);
    struct disk *before = disk_copy(disk);
    struct record_trace trace = { 0 };
    const struct promise nothing = { 0 };
    record_begin(disk, &trace);
    if (!x->work(x, x->live, &nothing, true))
        find(x, "recording", 0, NULL);
    record_end();
    trace_explore(x, before, &trace, nothing);
    record_trace_done(&trace);
    disk_free(before);
    disk_free(disk);
    disk_dir_clear(base);
    IGNORE(rmdir(base) != 0, "an empty directory of a test does no harm");
}
