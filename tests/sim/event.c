#include "tests/sim/event.h"

#include <stdlib.h>

#include "base/assert.h"

void events_done(struct events *e)
{
    free(e->heap);
    *e = (struct events){ 0 };
}

void event_init(struct event *event, void (*fn)(void *owner), void *owner)
{
    *event = (struct event){ .fn = fn, .owner = owner };
}

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void place(struct events *e, struct event *event, size_t i)
{
    e->heap[i] = event;
    event->heap_i = i;
}

static void sift_up(struct events *e, size_t i)
{
    struct event *event = e->heap[i];
    for (; i > 1 && is_before(event, e->heap[i / 2]); i /= 2)
        place(e, e->heap[i / 2], i);
    place(e, event, i);
}

static void sift_down(struct events *e, size_t i)
{
    struct event *event = e->heap[i];
    for (size_t child = 2 * i; child <= e->count; child = 2 * i) {
        if (child < e->count && is_before(e->heap[child + 1], e->heap[child]))
            child++;
        if (is_before(event, e->heap[child]))
            break;
        place(e, e->heap[child], i);
        i = child;
    }
    place(e, event, i);
}

void event_set(struct events *e, struct event *event, uint64_t at_us)
{
    if (event->heap_i == 0) {
        if (e->count + 1 >= e->capacity) {
            e->capacity = e->capacity ? 2 * e->capacity : 256;
            e->heap = realloc(e->heap, e->capacity * sizeof(struct event *));
            ASSERT(e->heap);
        }
        place(e, event, ++e->count);
    }
    event->at_us = at_us;
    event->order = e->order_next++;
    sift_up(e, event->heap_i);
    sift_down(e, event->heap_i);
}

void event_cancel(struct events *e, struct event *event)
{
    size_t i = event->heap_i;
    if (i == 0)
        return;
    event->heap_i = 0;
    struct event *last = e->heap[e->count--];
    if (last == event)
        return;
    place(e, last, i);
    sift_up(e, i);
    sift_down(e, last->heap_i);
}

struct event *events_pop(struct events *e, uint64_t until_us)
{
    if (e->count == 0 || e->heap[1]->at_us > until_us)
        return NULL;
    struct event *event = e->heap[1];
    event_cancel(e, event);
    return event;
}
