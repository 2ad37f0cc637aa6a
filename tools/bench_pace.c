#include "tools/bench_pace.h"

enum { NS_PER_S = 1000000000 };

static uint64_t start_of(const struct bench_pace *p, uint64_t number)
{
    return p->begin_ns + number / p->rate * NS_PER_S + number % p->rate * NS_PER_S / p->rate;
}

uint64_t bench_pace_next_ns(const struct bench_pace *p)
{
    return p->rate > 0 ? start_of(p, p->taken) : 0;
}

bool bench_pace_take(struct bench_pace *p, uint64_t now_ns, uint64_t *ret_start_ns)
{
    uint64_t start_ns = p->rate > 0 ? start_of(p, p->taken) : now_ns;
    if (start_ns > now_ns)
        return false;
    p->taken++;
    *ret_start_ns = start_ns;
    return true;
}

uint64_t bench_pace_late(const struct bench_pace *p, uint64_t now_ns)
{
    if (p->rate == 0 || now_ns < bench_pace_next_ns(p))
        return 0;
    uint64_t ns = now_ns - p->begin_ns;
    uint64_t meant = ns / NS_PER_S * p->rate + ns % NS_PER_S * p->rate / NS_PER_S + 1;
    return meant > p->taken ? meant - p->taken : 0;
}
