#include "server/flush_room.h"

#include <criterion/criterion.h>

/* The most that may have come when a flush is so far. */
static uint32_t most(uint32_t held, uint32_t progress)
{
    uint32_t fill = 0;
    while (flush_room_admits(held, fill + 1, progress))
        fill++;
    return fill;
}

Test(flush_room, nearly_half_fills_freely_and_the_rest_as_the_flush_goes_on)
{
    cr_assert_eq(most(1000, 0), 900);
    cr_assert_eq(most(1000, 500), 1300);
    cr_assert_eq(most(1000, 1000), 1700);
    for (uint32_t progress = 0; progress < 1000; progress++)
        cr_assert_leq(most(1000, progress + 1) - most(1000, progress), 2, "without a leap");
}

Test(flush_room, some_is_left_at_the_end_of_any_flush)
{
    for (uint32_t held = 0; held <= FLUSH_ROOM_WHOLE - FLUSH_ROOM_LEAST; held += 100)
        cr_assert_lt(held + most(held, 1200), FLUSH_ROOM_WHOLE, "held %u", held);
}

/* The more the flush holds, the less may come, and a steady load finds its place between. */
Test(flush_room, a_flush_that_holds_more_leaves_less)
{
    for (uint32_t held = 0; held < FLUSH_ROOM_WHOLE - FLUSH_ROOM_LEAST; held += 100)
        cr_assert_gt(most(held, 1000), most(held + 100, 1000), "held %u", held);
}

/* Writes never stop for the whole of a flush, though it may hold all that memory is meant for. */
Test(flush_room, there_is_room_beside_the_largest_flush)
{
    cr_assert_eq(most(FLUSH_ROOM_WHOLE, 0), 225);
    cr_assert_eq(most(UINT32_MAX, 0), 225);
    cr_assert_eq(most(UINT32_MAX, 1000), 425);
}

Test(flush_room, the_largest_numbers_do_no_harm)
{
    cr_assert_not(flush_room_admits(UINT32_MAX, UINT32_MAX, 1200));
    cr_assert(flush_room_admits(0, 0, UINT32_MAX));
}
