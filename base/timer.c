#include "base/timer.h"

#include <stdlib.h>

#include "base/assert.h"

enum { CAPACITY_MIN = 64 };

void timer_heap_init(struct timer_heap *h, size_t count_max)
{
    *h = (struct timer_heap){ .count_max = count_max };
}

void timer_heap_done(struct timer_heap *h)
{
    free(h->timers);
    timer_heap_init(h, h->count_max);
}

void timer_init(struct timer *t, timer_fn *fn, void *owner)
{
    *t = (struct timer){ .fn = fn, .owner = owner };
}

static void place(struct timer_heap *h, struct timer *t, size_t i)
{
    h->timers[i] = t;
    t->heap_i = i;
}

static void sift_up(struct timer_heap *h, size_t i)
{
    struct timer *t = h->timers[i];
    while (i > 1 && t->deadline_ms < h->timers[i / 2]->deadline_ms) {
        place(h, h->timers[i / 2], i);
        i /= 2;
    }
    place(h, t, i);
}

static void sift_down(struct timer_heap *h, size_t i)
{
    struct timer *t = h->timers[i];
    for (size_t child = 2 * i; child <= h->count; child = 2 * i) {
        if (child < h->count && h->timers[child + 1]->deadline_ms < h->timers[child]->deadline_ms)
            child++;
        if (t->deadline_ms <= h->timers[child]->deadline_ms)
            break;
        place(h, h->timers[child], i);
        i = child;
    }
    place(h, t, i);
}

static bool heap_grow(struct timer_heap *h)
{
    size_t capacity = h->capacity ? h->capacity * 2 : CAPACITY_MIN;
    struct timer **timers = realloc(h->timers, (capacity + 1) * sizeof(struct timer *));
    if (!timers)
        return false;
    h->timers = timers;
    h->capacity = capacity;
    return true;
}

bool timer_heap_set(struct timer_heap *h, struct timer *t, uint64_t deadline_ms)
{
    if (t->heap_i == 0) {
        if (h->count >= h->count_max || (h->count >= h->capacity && !heap_grow(h)))
            return false;
        t->deadline_ms = deadline_ms;
        place(h, t, ++h->count);
        sift_up(h, h->count);
        return true;
    }
    bool earlier = deadline_ms < t->deadline_ms;
    t->deadline_ms = deadline_ms;
    if (earlier)
        sift_up(h, t->heap_i);
    else
        sift_down(h, t->heap_i);
    return true;
}

void timer_heap_cancel(struct timer_heap *h, struct timer *t)
{
    size_t i = t->heap_i;
    if (i == 0)
        return;
    ASSERT(i <= h->count && h->timers[i] == t);
    t->heap_i = 0;
    struct timer *last = h->timers[h->count--];
    if (last == t)
        return;
    place(h, last, i);
    sift_up(h, i);
    sift_down(h, last->heap_i);
}

uint64_t timer_heap_next_ms(const struct timer_heap *h)
{
    return h->count == 0 ? UINT64_MAX : h->timers[1]->deadline_ms;
}

void timer_heap_run(struct timer_heap *h, uint64_t now_ms)
{
    /* A timer that sets itself to now would spin here: only as many as were set run. */
    for (size_t left = h->count; left > 0 && timer_heap_next_ms(h) <= now_ms; left--) {
        struct timer *t = h->timers[1];
        timer_heap_cancel(h, t);
        t->fn(t->owner);
    }
}
