/* event.h: what is still to happen, in virtual microseconds: a binary heap.
 *
 * Owner:  events live inside their owners' objects, which cancel them before they die.
 * Order:  among equal moments, first set, first run: the same in every run of a seed.
 */
#ifndef TESTS_SIM_EVENT_H
#define TESTS_SIM_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event {
    uint64_t at_us;
    uint64_t order;
    void (*fn)(void *owner); /* may set the same event again, or free it */
    void *owner;
    size_t heap_i; /* 1-based; 0: not set */
};

struct events {
    struct event **heap; /* [1 .. count] */
    size_t count;
    size_t capacity;
    uint64_t order_next;
};

void events_done(struct events *e);

void event_init(struct event *event, void (*fn)(void *owner), void *owner);
void event_set(struct events *e, struct event *event, uint64_t at_us); /* or moves it */
void event_cancel(struct events *e, struct event *event);

static inline bool event_is_set(const struct event *event)
{
    return event->heap_i != 0;
}

/* Takes the next off the heap; NULL when there is none at or before until_us. */
struct event *events_pop(struct events *e, uint64_t until_us);

#endif
