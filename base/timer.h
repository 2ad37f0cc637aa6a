/* timer.h: deadlines in a binary heap; what an implementation of struct io wakes up for.
 *
 * Owner:  timers live inside their owners' objects, which cancel them before they die.
 * Thread: the loop's. Bounds: the heap holds at most count_max timers.
 */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs once, on the loop's thread; it may set the same timer again. */
typedef void timer_fn(void *owner);

struct timer {
    uint64_t deadline_ms;
    uint64_t order; /* among equal deadlines: first set, first run */
    timer_fn *fn;
    void *owner;
    size_t heap_i; /* 1-based; 0: not set */
};

struct timer_heap {
    struct timer **timers; /* [1 .. count] */
    size_t count;
    size_t capacity;
    size_t count_max;
    uint64_t order_next;
    uint64_t running_ms; /* in timer_heap_run: its now_ms; else 0 */
};

void timer_heap_init(struct timer_heap *h, size_t count_max);
void timer_heap_done(struct timer_heap *h);

/* In place; the timer is not set. */
void timer_init(struct timer *t, timer_fn *fn, void *owner);

/* Sets or moves it, behind those of the same deadline. False when the heap is at count_max or out
 * of memory. */
bool timer_heap_set(struct timer_heap *h, struct timer *t, uint64_t deadline_ms);

/* Also fine on a timer that is not set. */
void timer_heap_cancel(struct timer_heap *h, struct timer *t);

/* UINT64_MAX when none is set. */
uint64_t timer_heap_next_ms(const struct timer_heap *h);

/* Runs all timers due at now_ms; those that they set for now or earlier (which counts as now) wait
 * for the next call. */
void timer_heap_run(struct timer_heap *h, uint64_t now_ms);

#endif
