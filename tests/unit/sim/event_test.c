#include <criterion/criterion.h>

#include "base/prng.h"
#include "tests/sim/event.h"

enum { COUNT = 200 };

static void nothing(void *owner)
{
    (void)owner;
}

Test(event, comes_by_time_then_in_the_order_it_was_set)
{
    struct events events = { 0 };
    static struct event all[COUNT];
    struct prng chance = prng_seeded(1);
    for (size_t i = 0; i < COUNT; i++) {
        event_init(&all[i], nothing, NULL);
        event_set(&events, &all[i], prng_below(&chance, 20));
    }
    for (size_t i = 0; i < COUNT; i += 3)
        event_cancel(&events, &all[i]);
    for (size_t i = 1; i < COUNT; i += 3)
        event_set(&events, &all[i], prng_below(&chance, 20));
    uint64_t at_us = 0;
    uint64_t order = 0;
    size_t count = 0;
    struct event *event;
    while ((event = events_pop(&events, 19)) != NULL) {
        cr_assert(event->at_us > at_us || event->order >= order);
        cr_assert_geq(event->at_us, at_us);
        cr_assert_neq((event - all) % 3, 0, "a cancelled one");
        cr_assert_not(event_is_set(event));
        at_us = event->at_us;
        order = event->order;
        count++;
    }
    cr_assert_eq(count, COUNT - (COUNT + 2) / 3);
    events_done(&events);
}

Test(event, later_ones_wait)
{
    struct events events = { 0 };
    struct event event;
    event_init(&event, nothing, NULL);
    event_set(&events, &event, 10);
    cr_assert_null(events_pop(&events, 9));
    cr_assert_eq(events_pop(&events, 10), &event);
    events_done(&events);
}
