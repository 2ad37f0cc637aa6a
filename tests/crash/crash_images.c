/* Crash images: what a power cut could leave of the real store, journal and identity, and what
 * recovery makes of it. tests/crash/disk.h says what the disk may do, tests/crash/record.h how the
 * real writes come to be known, tests/crash/explore.h which states are built.
 *
 * Not covered here: the loop's io_uring (the journal writes through file_io.h, one call after the
 * other), and a flush that overlaps a journal write (they share no file, and a crash between two
 * steps of the one is a crash in the middle of the other's wait).
 *
 * usage: crash_images [SEEDS [CUTS]]    SEEDS a scenario, CUTS of each kind at each point
 * Each scenario runs in a process of its own, so that one that dies is a failure and no more.
 * Those that break the disk on purpose must find it: a test that cannot fail is none.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/crash/subjects.h"

struct scenario {
    const char *name;
    struct store_script_options script;
    bool with_journal;
    uint32_t deeper_of;
    struct subject_faults faults;
    bool finds; /* it must find something */
};

enum { SMALL = 64 << 10, LARGE = 64 << 20 };

/* flush_count, changes_max, value_bytes_max, dirty_bytes_max */
#define SCRIPT(flushes, changes, value_bytes, dirty_bytes) \
    .script = { .flush_count = (flushes),                  \
                .changes_max = (changes),                  \
                .value_bytes_max = (value_bytes),          \
                .dirty_bytes_max = (dirty_bytes) }

static const struct scenario scenarios[] = {
    { .name = "one transaction a flush", SCRIPT(6, 40, 6000, LARGE) },
    { .name = "many transactions a flush", SCRIPT(4, 60, 6000, SMALL) },
    { .name = "long values", SCRIPT(3, 12, 60000, SMALL) },
    { .name = "crashes after crashes", SCRIPT(5, 12, 600, LARGE), .deeper_of = 3 },
    { .name = "store and journal",
      SCRIPT(5, 8, 600, LARGE),
      .with_journal = true,
      .deeper_of = 30 },
    { .name = "a journal that goes round", SCRIPT(14, 2, 600, LARGE), .with_journal = true },
    { .name = "FAULT: commits do not sync",
      SCRIPT(4, 12, 600, LARGE),
      .faults.in_flush = RECORD_DROP_SYNC,
      .finds = true },
    { .name = "FAULT: meta pages are not durable",
      SCRIPT(4, 12, 600, LARGE),
      .faults.in_flush = RECORD_DROP_DURABLE,
      .finds = true },
    { .name = "FAULT: a new file does not sync",
      SCRIPT(1, 12, 600, LARGE),
      .faults.in_open = RECORD_DROP_SYNC,
      .finds = true },
    { .name = "FAULT: a new file's directory does not sync",
      SCRIPT(2, 12, 600, LARGE),
      .faults.in_open = RECORD_DROP_NAMES,
      .finds = true },
    { .name = "FAULT: what was recovered does not sync",
      SCRIPT(4, 12, 600, LARGE),
      .deeper_of = 1,
      .faults.again_store = RECORD_DROP_SYNC,
      .finds = true },
    { .name = "FAULT: journal writes are not durable",
      SCRIPT(4, 4, 600, LARGE),
      .with_journal = true,
      .faults.in_journal = RECORD_DROP_DURABLE,
      .finds = true },
    { .name = "FAULT: the data directory's name does not sync",
      SCRIPT(2, 4, 600, LARGE),
      .with_journal = true,
      .faults.in_open = RECORD_DROP_NAMES,
      .finds = true },
    { .name = "FAULT: what the journal recovered does not sync",
      SCRIPT(4, 4, 600, LARGE),
      .with_journal = true,
      .deeper_of = 2,
      .faults.again_journal = RECORD_DROP_SYNC,
      .finds = true },
};

static uint64_t findings_of(const struct scenario *scenario, uint64_t seed, uint32_t cuts)
{
    struct explorer *x = calloc(1, sizeof *x);
    ASSERT(x != NULL);
    struct store_script_options options = scenario->script;
    options.seed = seed;
    struct subject subject = { .script = store_script_new(&options),
                               .faults = scenario->faults,
                               .seed = seed };
    x->seed = seed;
    x->cuts_per_point = cuts;
    x->deeper_of = scenario->deeper_of;
    x->wants_finding = scenario->finds;
    if (scenario->with_journal)
        subject_node(x, &subject);
    else
        subject_store(x, &subject);
    explore_run(x);
    uint64_t findings = x->findings;
    printf("%s, seed %lu: %lu points, %lu images, %lu findings%s%s\n", scenario->name, seed,
           x->points, x->images, findings, findings > 0 ? ", the last: " : "", x->why);
    store_script_free(subject.script);
    free(x);
    return findings;
}

/* 0: as it should be. */
static int scenario_run(const struct scenario *scenario, uint64_t seeds, uint32_t cuts)
{
    uint64_t findings = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        findings += findings_of(scenario, seed, cuts);
    return (findings > 0) != scenario->finds;
}

static bool scenario_passes(const struct scenario *scenario, uint64_t seeds, uint32_t cuts)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int code = scenario_run(scenario, seeds, cuts);
        fflush(stdout);
        _exit(code);
    }
    ASSERT(child > 0 && waitpid(child, &status, 0) == child);
    bool died = !WIFEXITED(status);
    bool passes = died ? scenario->finds : WEXITSTATUS(status) == 0;
    if (!passes)
        printf("FAIL %s%s\n", scenario->name,
               died              ? ": it died"
               : scenario->finds ? ": the fault was not found"
                                 : "");
    return passes;
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint32_t cuts = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    /* Buffers of hundreds of kilobytes come and go thousands of times: not to the kernel. */
    IGNORE(mallopt(M_MMAP_THRESHOLD, 64 << 20) + mallopt(M_TRIM_THRESHOLD, 256 << 20) != 2,
           "a sanitizer has its own");
    unsigned passed = 0;
    unsigned failed = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        *(scenario_passes(&scenarios[i], seeds, cuts) ? &passed : &failed) += 1;
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
