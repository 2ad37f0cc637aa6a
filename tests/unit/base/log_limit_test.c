#include <criterion/criterion.h>

#include "base/log_limit.h"

Test(log_limit, another_at_once_and_the_same_after_a_minute)
{
    struct log_limit limit = { 0 };
    cr_assert(log_limit_passes(&limit, slice_of_text("a"), 5));
    cr_assert_not(log_limit_passes(&limit, slice_of_text("a"), 5));
    cr_assert(log_limit_passes(&limit, slice_of_text("b"), 6));
    cr_assert_not(log_limit_passes(&limit, slice_of_text("b"), 5 + LOG_LIMIT_MS));
    cr_assert(log_limit_passes(&limit, slice_of_text("b"), 6 + LOG_LIMIT_MS));
}

Test(log_limit, two_in_turn_are_told_so_often_a_minute)
{
    struct log_limit limit = { 0 };
    unsigned told = 0;
    for (uint64_t ms = 0; ms < 10ull * LOG_LIMIT_MS; ms += 10)
        told += log_limit_passes(&limit, slice_of_text(ms % 20 == 0 ? "a" : "b"), ms);
    cr_assert_eq(told, 10 * LOG_LIMIT_PER_MINUTE);
}

Test(log_limit, nothing_is_a_text_too)
{
    struct log_limit limit = { 0 };
    cr_assert(log_limit_passes(&limit, (struct slice){ 0 }, 0));
    cr_assert_not(log_limit_passes(&limit, (struct slice){ 0 }, LOG_LIMIT_MS - 1));
}
