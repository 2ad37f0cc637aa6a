#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdalign.h>

#include "base/prng.h"

Test(arena, allocations_are_aligned_apart_and_zeroed_on_request)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    cr_expect_eq(a.total_bytes, 0, "allocates nothing yet");
    struct prng p = prng_seeded(1);
    uint8_t *blocks[200];
    size_t sizes[200];
    for (size_t i = 0; i < 200; i++) {
        sizes[i] = prng_below(&p, 300);
        blocks[i] = i % 2 ? arena_alloc(&a, sizes[i]) : arena_zalloc(&a, sizes[i]);
        cr_assert(blocks[i]);
        cr_assert_eq((uintptr_t)blocks[i] % alignof(max_align_t), 0);
        for (size_t k = 0; i % 2 == 0 && k < sizes[i]; k++)
            cr_assert_eq(blocks[i][k], 0);
        memset(blocks[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(blocks[i][k], (uint8_t)i, "%zu overlaps", i);
    }
    arena_done(&a);
    cr_expect_eq(a.total_bytes, 0);
}

Test(arena, refuses_what_exceeds_its_cap_and_stays_usable)
{
    struct arena a;
    arena_init(&a, 4096);
    cr_expect_null(arena_alloc(&a, 4097));
    cr_expect_null(arena_alloc(&a, SIZE_MAX));
    cr_expect_null(arena_zalloc(&a, SIZE_MAX - 15));
    cr_expect(arena_alloc(&a, 4096));
    cr_expect_eq(a.total_bytes, 4096);
    cr_expect_null(arena_alloc(&a, 1));
    arena_reset(&a);
    cr_expect(arena_alloc(&a, 100));
    arena_done(&a);
    arena_init(&a, 0);
    cr_expect_null(arena_alloc(&a, 1));
    arena_done(&a);
}

Test(arena, never_holds_more_than_its_cap)
{
    struct arena a;
    arena_init(&a, 100000);
    size_t allocated = 0;
    while (arena_alloc(&a, 1000))
        allocated += 1000;
    cr_expect_leq(a.total_bytes, 100000);
    cr_expect_gt(allocated, 90000, "little is lost between chunks");
    arena_done(&a);
}

Test(arena, copies_and_leaves_the_result_alone_when_full)
{
    struct arena a;
    arena_init(&a, 64);
    struct slice copy = slice_of("old", 3);
    char text[] = "text";
    cr_assert(arena_copy(&a, slice_of(text, 4), &copy));
    text[0] = 'x';
    cr_expect(slice_equal(copy, slice_of_text("text")));
    cr_assert(arena_copy(&a, (struct slice){ 0 }, &copy));
    cr_expect_eq(copy.size, 0);
    copy = slice_of("old", 3);
    static const uint8_t large[100];
    cr_expect_not(arena_copy(&a, slice_of(large, sizeof large), &copy));
    cr_expect(slice_equal(copy, slice_of_text("old")));
    arena_done(&a);
}

Test(arena, an_idle_one_keeps_only_a_small_chunk)
{
    static const size_t first_sizes[] = { 10, 5000, 1 << 20 };
    for (size_t i = 0; i < sizeof first_sizes / sizeof *first_sizes; i++) {
        struct arena a;
        arena_init(&a, 64 << 20);
        cr_assert(arena_alloc(&a, first_sizes[i]));
        for (int n = 0; n < 100; n++)
            cr_assert(arena_alloc(&a, 10000));
        arena_reset(&a);
        cr_expect_leq(a.total_bytes, ARENA_KEPT_BYTES);
        cr_expect_eq(a.total_bytes > 0, first_sizes[i] <= ARENA_KEPT_BYTES);
        cr_expect(arena_alloc(&a, 100));
        arena_done(&a);
    }
    struct arena never_used;
    arena_init(&never_used, 10);
    arena_reset(&never_used);
    arena_done(&never_used);
}
