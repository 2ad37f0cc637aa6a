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

static void work_add(struct store_pace *p, struct io *io, uint32_t work)
{
    if (p->total == 0)
        return;
    p->work += work;
    if (p->work < p->rest_at)
        return;
    p->rest_at = p->work + REST_WORK;
    uint64_t done = p->work * DONE / p->total;
    atomic_store_explicit(&p->done, done < DONE ? (uint32_t)done : DONE, memory_order_relaxed);
    uint32_t demand = atomic_load_explicit(&p->demand, memory_order_relaxed);
    if (p->work * DONE_BY > p->total * demand)
        io->ops->pause(io, REST_US);
}

void store_pace_row(struct store_pace *p, struct io *io, uint32_t work)
{
    work_add(p, io, work);
}

void store_pace_step(struct store_pace *p, struct io *io)
{
    p->steps++;
    work_add(p, io, STORE_PACE_STEP);
}
