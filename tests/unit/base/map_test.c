#include <criterion/criterion.h>

#include "base/map.h"
#include "base/prng.h"

enum { KEYS = 512, STEPS = 20000 };

Test(map, agrees_with_an_array_over_random_steps)
{
    struct map m;
    map_init(&m, KEYS);
    void *model[KEYS] = { 0 };
    struct prng p = prng_seeded(1);
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        uint64_t key = prng_below(&p, KEYS);
        if (prng_below(&p, 2) == 0) {
            count += model[key] == NULL;
            model[key] = &model[prng_below(&p, KEYS)];
            cr_assert(map_put(&m, key, model[key]));
        } else {
            count -= model[key] != NULL;
            cr_assert_eq(map_remove(&m, key), model[key]);
            model[key] = NULL;
        }
        uint64_t probe = prng_below(&p, KEYS);
        cr_assert_eq(map_get(&m, probe), model[probe]);
        cr_assert_eq(m.count, count);
    }
    size_t walked = 0;
    for (size_t position = 0; map_next(&m, &position);)
        walked++;
    cr_assert_eq(walked, count);
    map_done(&m);
}

Test(map, refuses_one_more_than_its_cap)
{
    struct map m;
    map_init(&m, 2);
    int value;
    cr_assert(map_put(&m, 1, &value));
    cr_assert(map_put(&m, 2, &value));
    cr_assert_not(map_put(&m, 3, &value), "a third key past count_max");
    cr_assert(map_put(&m, 2, &value), "replacing needs no room");
    map_done(&m);
}
