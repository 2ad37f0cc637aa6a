#include "tools/bench_usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { US_PER_S = 1000000 };

struct bench_usage bench_usage_self(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return (struct bench_usage){ 0 };
    uint64_t s = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec);
    uint64_t us = (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return (struct bench_usage){ .is_known = true, .cpu_us = s * US_PER_S + us };
}

static bool file_read(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    if (snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name) < 0)
        return false;
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t count = fread(text, 1, size - 1, file);
    text[count] = '\0';
    fclose(file);
    return count > 0;
}

/* stat's 14th and 15th value; the second is a name in brackets with anything in it. */
static bool cpu_read(pid_t pid, uint64_t *ret_us)
{
    char text[1024];
    uint64_t user;
    uint64_t system;
    if (!file_read(pid, "stat", text, sizeof text))
        return false;
    const char *at = strrchr(text, ')');
    if (!at || sscanf(at, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64,
                      &user, &system) != 2)
        return false;
    long hertz = sysconf(_SC_CLK_TCK);
    if (hertz <= 0)
        return false;
    *ret_us = (user + system) * US_PER_S / (uint64_t)hertz;
    return true;
}

static bool written_read(pid_t pid, uint64_t *ret_bytes)
{
    char text[1024];
    if (!file_read(pid, "io", text, sizeof text))
        return false;
    const char *at = strstr(text, "\nwrite_bytes: ");
    return at && sscanf(at, "\nwrite_bytes: %" SCNu64, ret_bytes) == 1;
}

struct bench_usage bench_usage_of(const pid_t *pids, size_t count)
{
    struct bench_usage sum = { .is_known = count > 0 };
    for (size_t i = 0; i < count; i++) {
        uint64_t us = 0;
        uint64_t bytes = 0;
        sum.is_known = cpu_read(pids[i], &us) && written_read(pids[i], &bytes) && sum.is_known;
        sum.cpu_us += us;
        sum.written_bytes += bytes;
    }
    return sum;
}
