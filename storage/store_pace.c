#include "storage/store_pace.h"

enum {
    REST_ROWS = 64, /* tens of microseconds of work */
    REST_US = 1000,
    DONE = 1000,
    DONE_BY = 800, /* permille of the memory; what then is left is for the unforeseen */
};

void store_pace_begin(struct store_pace *p, uint64_t row_count)
{
    p->rows = 0;
    p->row_count = row_count;
    if (row_count == 0)
        atomic_store_explicit(&p->done, DONE, memory_order_relaxed);
}

void store_pace_end(struct store_pace *p)
{
    p->rows = 0;
    p->row_count = 0;
}

void store_pace_rest(struct store_pace *p, struct io *io)
{
    uint32_t demand = atomic_load_explicit(&p->demand, memory_order_relaxed);
    if (p->row_count > 0 && p->rows * DONE_BY > p->row_count * demand)
        io->ops->pause(io, REST_US);
}

void store_pace_row(struct store_pace *p, struct io *io)
{
    if (++p->rows % REST_ROWS != 0)
        return;
    if (p->row_count > 0)
        atomic_store_explicit(&p->done, (uint32_t)(p->rows * DONE / p->row_count),
                              memory_order_relaxed);
    store_pace_rest(p, io);
}
