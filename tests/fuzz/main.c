/* Runs the fuzz targets: each on its corpus and on seeded mutations of it.
 *
 * usage: fuzz CORPUS                       as make test does: a fixed number of runs, one seed
 *        fuzz CORPUS TARGET MINUTES SEED   one target until the time is over
 *        fuzz CORPUS TARGET --input FILE   one input
 *        fuzz CORPUS --make                writes the seeds into the corpus
 * A target runs in a process of its own; when that dies the input is kept in
 * build/fuzz-TARGET.input. A crash that was found stays in the corpus, under a name that says what
 * it was.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

enum { CORPUS_MAX = 256, RUN_S_MAX = 20 };

/* What is running: shared with the parent, which tells of it when the child dies. */
struct current {
    size_t size;
    uint8_t bytes[FUZZ_INPUT_BYTES_MAX];
};

struct corpus {
    struct slice inputs[CORPUS_MAX];
    size_t count;
};

/* ---- the corpus ---- */

static struct slice file_read(const char *path)
{
    FILE *file = fopen(path, "re");
    ASSERT(file != NULL);
    uint8_t *bytes = malloc(FUZZ_INPUT_BYTES_MAX);
    ASSERT(bytes != NULL);
    size_t size = fread(bytes, 1, FUZZ_INPUT_BYTES_MAX, file);
    fclose(file);
    return slice_of(bytes, size);
}

static int name_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* In an order that does not depend on the file system. */
static void corpus_load(struct corpus *c, const char *dir, const char *target)
{
    char path[PATH_MAX];
    struct dirent **names;
    ASSERT(snprintf(path, sizeof path, "%s/%s", dir, target) < (int)sizeof path);
    int count = scandir(path, &names, NULL, name_order);
    for (int i = 0; i < count; i++) {
        ASSERT(snprintf(path, sizeof path, "%s/%s/%s", dir, target, names[i]->d_name) <
               (int)sizeof path);
        if (names[i]->d_name[0] != '.' && c->count < CORPUS_MAX)
            c->inputs[c->count++] = file_read(path);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

static void corpus_done(struct corpus *c)
{
    for (size_t i = 0; i < c->count; i++)
        free((void *)(uintptr_t)c->inputs[i].data);
}

struct making {
    const char *dir;
    const struct fuzz_target *target;
};

static void seed_write(void *owner, const char *name, struct slice bytes)
{
    const struct making *m = owner;
    char path[PATH_MAX];
    ASSERT(snprintf(path, sizeof path, "%s/%s", m->dir, m->target->name) < (int)sizeof path);
    IGNORE(mkdir(path, 0777) != 0, "it may be there");
    ASSERT(snprintf(path, sizeof path, "%s/%s/seed-%s", m->dir, m->target->name, name) <
           (int)sizeof path);
    FILE *file = fopen(path, "we");
    ASSERT(file != NULL && fwrite(bytes.data, 1, bytes.size, file) == bytes.size);
    ASSERT(fclose(file) == 0);
}

static int corpus_make(const char *dir)
{
    for (size_t i = 0; i < fuzz_target_count; i++) {
        struct making m = { dir, fuzz_targets[i] };
        m.target->seeds(seed_write, &m);
    }
    return 0;
}

/* ---- running ---- */

static int64_t now_s(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec;
}

/* Of this process: what make test pays for a target. */
static long cpu_ms(void)
{
    struct rusage usage;
    ASSERT(getrusage(RUSAGE_SELF, &usage) == 0);
    return 1000 * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static void input_run(const struct fuzz_target *target, struct current *current)
{
    alarm(RUN_S_MAX); /* one that hangs is a failure too */
    target->run(slice_of(current->bytes, current->size));
}

static void input_set(struct current *current, struct slice bytes)
{
    current->size = bytes.size;
    if (bytes.size > 0)
        memcpy(current->bytes, bytes.data, bytes.size);
}

/* runs mutations, or as many as end before until_s. */
static void target_run(const struct fuzz_target *target, const struct corpus *corpus,
                       struct current *current, uint64_t seed, int64_t until_s)
{
    struct prng chance = prng_seeded(seed);
    uint64_t runs = 0;
    for (size_t i = 0; i < corpus->count; i++) {
        input_set(current, corpus->inputs[i]);
        input_run(target, current);
    }
    while (until_s == 0 ? runs < target->runs : now_s() < until_s) {
        input_set(current, corpus->inputs[prng_below(&chance, corpus->count)]);
        struct slice other = corpus->inputs[prng_below(&chance, corpus->count)];
        mutate(&chance, current->bytes, &current->size, sizeof current->bytes, other);
        input_run(target, current);
        runs++;
    }
    printf("%s: %zu inputs, %lu mutations, %ld ms\n", target->name, corpus->count, runs, cpu_ms());
}

static void input_keep(const struct fuzz_target *target, const struct current *current)
{
    char path[64];
    ASSERT(snprintf(path, sizeof path, "build/fuzz-%s.input", target->name) < (int)sizeof path);
    FILE *file = fopen(path, "we");
    if (file != NULL) {
        IGNORE(fwrite(current->bytes, 1, current->size, file) == 0, "an empty one is one too");
        fclose(file);
    }
    printf("FAIL %s: the input is in %s\n", target->name, path);
}

static bool target_passes(const struct fuzz_target *target, const char *dir, uint64_t seed,
                          int64_t until_s)
{
    struct current *current =
        mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(current != MAP_FAILED);
    fflush(stdout);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        struct corpus corpus = { 0 };
        corpus_load(&corpus, dir, target->name);
        ASSERT(corpus.count > 0);
        target_run(target, &corpus, current, seed, until_s);
        corpus_done(&corpus);
        exit(0);
    }
    int status;
    ASSERT(waitpid(child, &status, 0) == child);
    bool passes = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!passes)
        input_keep(target, current);
    munmap(current, sizeof *current);
    return passes;
}

static int all_run(const char *dir)
{
    unsigned passed = 0;
    unsigned failed = 0;
    for (size_t i = 0; i < fuzz_target_count; i++)
        *(target_passes(fuzz_targets[i], dir, 1, 0) ? &passed : &failed) += 1;
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}

static int input_run_file(const struct fuzz_target *target, const char *path)
{
    struct slice input = file_read(path);
    target->run(input);
    free((void *)(uintptr_t)input.data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return all_run(argv[1]);
    if (argc == 3 && strcmp(argv[2], "--make") == 0)
        return corpus_make(argv[1]);
    const struct fuzz_target *target = argc == 5 ? fuzz_target_find(argv[2]) : NULL;
    if (!target) {
        fprintf(stderr, "usage: fuzz CORPUS [TARGET (MINUTES SEED | --input FILE) | --make]; "
                        "targets:");
        for (size_t i = 0; i < fuzz_target_count; i++)
            fprintf(stderr, " %s", fuzz_targets[i]->name);
        fprintf(stderr, "\n");
        return 2;
    }
    if (strcmp(argv[3], "--input") == 0)
        return input_run_file(target, argv[4]);
    int64_t until_s = now_s() + 60 * strtol(argv[3], NULL, 10);
    return target_passes(target, argv[1], strtoull(argv[4], NULL, 10), until_s) ? 0 : 1;
}
