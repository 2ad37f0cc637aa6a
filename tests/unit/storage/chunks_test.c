#include <criterion/criterion.h>
#include <string.h>

#include "storage/chunks.h"

enum { MIB = 1 << 20, SPARE_MAX = 2 * MIB };

/* Each allocation is filled with its number: overlaps would show. */
static void fill(struct chunks *c, size_t size, size_t count)
{
    uint8_t *last = NULL;
    for (size_t i = 0; i < count; i++) {
        uint8_t *p = chunks_alloc(c, size);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 8, 0);
        memset(p, (int)i & 0xff, size);
        if (last)
            cr_assert_eq(last[size - 1], (uint8_t)(i - 1));
        last = p;
    }
}

Test(chunks, a_small_user_stays_small_and_a_large_one_wastes_little)
{
    struct chunks c;
    chunks_init(&c, NULL);
    cr_assert_eq(c.total_bytes, 0);
    fill(&c, 100, 1);
    cr_assert_leq(c.total_bytes, CHUNK_BYTES_MIN + 64);
    fill(&c, 104, 200 * 1000);
    cr_assert_leq(c.total_bytes, (size_t)104 * 200 * 1000 + 2 * MIB);
    size_t before = c.total_bytes;
    fill(&c, 3 * MIB, 1);
    cr_assert_leq(c.total_bytes, before + 3 * MIB + 64, "alone, and not rounded up");
    fill(&c, 1, 9);
    chunks_done(&c);
    cr_assert_eq(c.total_bytes, 0);
}

Test(chunks, a_pool_hands_them_on)
{
    struct chunk_pool pool;
    struct chunks a;
    struct chunks b;
    chunk_pool_init(&pool, 100 * MIB);
    chunks_init(&a, &pool);
    chunks_init(&b, &pool);
    fill(&a, 1000, 8000);
    cr_assert_eq(pool.bytes, 0);
    chunks_done(&a);
    size_t held = pool.bytes;
    cr_assert_geq(held, 8000 * 1000);
    fill(&b, 1000, 8000);
    cr_assert_leq(pool.bytes, held - 6 * MIB, "they were taken from there");
    chunks_done(&b);
    chunk_pool_done(&pool);
    cr_assert_eq(pool.bytes, 0);
}

Test(chunks, a_pool_lets_go_a_chunk_at_a_time)
{
    struct chunk_pool pool;
    struct chunks c;
    chunk_pool_init(&pool, SPARE_MAX);
    cr_assert_not(chunk_pool_trim(&pool), "it is empty");
    chunks_init(&c, &pool);
    fill(&c, 1000, 6000);
    fill(&c, 5 * MIB, 1);
    chunks_done(&c);
    size_t steps = 0;
    for (bool more = true; more; steps++) {
        size_t before = pool.bytes;
        more = chunk_pool_trim(&pool);
        cr_assert_lt(pool.bytes, before);
        cr_assert_leq(steps, 20);
    }
    cr_assert_gt(steps, 4);
    cr_assert_eq(pool.bytes, SPARE_MAX);
    cr_assert_not(chunk_pool_trim(&pool));
    cr_assert_eq(pool.bytes, SPARE_MAX, "what is kept is kept");
    chunk_pool_done(&pool);
}

/* Nobody trims: the next user does it by taking. */
Test(chunks, a_pool_shrinks_while_it_is_used)
{
    struct chunk_pool pool;
    struct chunks c;
    chunk_pool_init(&pool, 0);
    chunks_init(&c, &pool);
    fill(&c, 1000, 8000);
    chunks_done(&c);
    size_t held = pool.bytes;
    fill(&c, 1000, 5000);
    cr_assert_lt(pool.bytes, held / 2);
    chunks_done(&c);
    chunk_pool_done(&pool);
}
