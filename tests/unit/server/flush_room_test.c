#include "server/flush_room.h"

#include <criterion/criterion.h>

Test(flush_room, nearly_half_fills_freely_and_the_rest_as_the_flush_goes_on)
{
    cr_assert_eq(flush_room_most(1000, 0), 900);
    cr_assert_eq(flush_room_most(1000, 500), 1300);
    cr_assert_eq(flush_room_most(1000, 1000), 1700);
    for (uint32_t progress = 0; progress < 1000; progress++)
        cr_assert_leq(flush_room_most(1000, progress + 1) - flush_room_most(1000, progress), 2,
                      "without a leap");
}

Test(flush_room, some_is_left_at_the_end_of_any_flush)
{
    for (uint32_t held = 0; held <= FLUSH_ROOM_WHOLE - FLUSH_ROOM_LEAST; held += 100)
        cr_assert_lt(held + flush_room_most(held, 1200), FLUSH_ROOM_WHOLE, "held %u", held);
}

/* The more the flush holds, the less may come, and a steady load finds its place between. */
Test(flush_room, a_flush_that_holds_more_leaves_less)
{
    for (uint32_t held = 0; held < FLUSH_ROOM_WHOLE - FLUSH_ROOM_LEAST; held += 100)
        cr_assert_gt(flush_room_most(held, 1000), flush_room_most(held + 100, 1000), "held %u",
                     held);
}

/* Writes never stop for the whole of a flush, though it may hold all that memory is meant for. */
Test(flush_room, there_is_room_beside_the_largest_flush)
{
    cr_assert_eq(flush_room_most(FLUSH_ROOM_WHOLE, 0), 225);
    cr_assert_eq(flush_room_most(UINT32_MAX, 0), 225);
    cr_assert_eq(flush_room_most(UINT32_MAX, 1000), 425);
}

Test(flush_room, the_largest_numbers_do_no_harm)
{
    cr_assert_lt(flush_room_most(UINT32_MAX, 1200), FLUSH_ROOM_LEAST);
    cr_assert_gt(flush_room_most(0, UINT32_MAX), FLUSH_ROOM_WHOLE);
}

Test(flush_room, what_is_on_its_way_takes_room_too)
{
    cr_assert_eq(flush_room_entries(900, 100, 6000, 6000), 48000);
    cr_assert_eq(flush_room_entries(900, 100, 6000, 6000 + 30000), 18000);
    cr_assert_eq(flush_room_entries(900, 100, 6000, 6000 + 47999), 60, "the last permille");
    cr_assert_eq(flush_room_entries(900, 100, 6000, 6000 + 48000), 0);
    cr_assert_eq(flush_room_entries(900, 1200, 6000, 6000), 0);
}

Test(flush_room, nothing_says_yet_what_an_entry_weighs)
{
    cr_assert_eq(flush_room_entries(900, 0, 10, 5000), UINT64_MAX);
    cr_assert_eq(flush_room_entries(900, 500, 0, 5000), UINT64_MAX);
}
