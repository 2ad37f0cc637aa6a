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

static bool is_before(const struct timer *a, const struct timer *b)
{
    return a->deadline_ms < b->deadline_ms ||
           (a->deadline_ms == b->deadline_ms && a->order < b->order);
}

static void sift_up(struct timer_heap *h, size_t i)
{
    struct timer *t = h->timers[i];
    while (i > 1 && is_before(t, h->timers[i / 2])) {
        place(h, h->timers[i / 2], i);
        i /= 2;
    }
    place(h, t, i);
}

static void sift_down(struct timer_heap *h, size_t i)
{
    struct timer *t = h->timers[i];
    for (size_t child = 2 * i; child <= h->count; child = 2 * i) {
        if (child < h->count && is_before(h->timers[child + 1], h->timers[child]))
            child++;
        if (is_before(t, h->timers[child]))
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
    bool is_new = t->heap_i == 0;
    if (is_new && (h->count >= h->count_max || (h->count >= h->capacity && !heap_grow(h))))
        return false;
    if (is_new)
        place(h, t, ++h->count);
    /* Never before a timer that is due in this run and still waits for its turn. */
    t->deadline_ms = deadline_ms > h->running_ms ? deadline_ms : h->running_ms;
    t->order = h->order_next++;
    sift_up(h, t->heap_i);
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
    /* What the timers set from here on has a later order: at the first of those, all that were
     * due have run, and a timer that sets itself to now does not spin. */
    uint64_t order_end = h->order_next;
    ASSERT(h->running_ms == 0);
    h->running_ms = now_ms;
    while (h->count > 0 && timer_heap_next_ms(h) <= now_ms && h->timers[1]->order < order_end) {
        struct timer *t = h->timers[1];
        timer_heap_cancel(h, t);
        t->fn(t->owner);
    }
    h->running_ms = 0;
}
