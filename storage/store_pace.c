#include "storage/store_pace.h"

enum {
    REST_WORK = 200, /* tens of microseconds */
    REST_US = 1000,
    DONE = 1000,
    DONE_BY = 800, /* permille of the memory; what then is left is for the unforeseen */
};

void store_pace_begin(struct store_pace *p, uint64_t row_work)
{
    p->work = 0;
    p->rest_at = REST_WORK;
    p->steps = 0;
    p->total = row_work == 0 ? 0 : row_work + p->steps_before * STORE_PACE_STEP;
    if (row_work == 0)
        atomic_store_explicit(&p->done, DONE, memory_order_relaxed);
}

void store_pace_end(struct store_pace *p)
{
    if (p->total > 0)
        p->steps_before = p->steps;
    p->total = 0;
}

/* Steps nobody expected may make it more than all; who is hurried does not rest then either. */
static uint64_t work_done(const struct store_pace *p)
{
    return p->work < p->total ? p->work : p->total;
}

void store_pace_work(struct store_pace *p, struct io *io, uint32_t work)
{
    if (p->total == 0)
        return;
    p->work += work;
    if (p->work < p->rest_at)
        return;
    p->rest_at = p->work + REST_WORK;
    uint64_t done = work_done(p);
    atomic_store_explicit(&p->done, (uint32_t)(done * DONE / p->total), memory_order_relaxed);
    uint32_t demand = atomic_load_explicit(&p->demand, memory_order_relaxed);
    if (done * DONE_BY > p->total * demand)
        io->ops->pause(io, REST_US);
}

void store_pace_step(struct store_pace *p, struct io *io)
{
    p->steps++;
    store_pace_work(p, io, STORE_PACE_STEP);
}
