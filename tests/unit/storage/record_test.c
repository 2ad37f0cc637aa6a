#include <criterion/criterion.h>

#include "storage/record.h"

/* A record with something in every field. */
static struct kv_record full(void)
{
    return (struct kv_record){ .key = slice_of("k\0ey", 4),
                               .value = slice_of_text("value"),
                               .mod = { .main = 7, .sub = 2 },
                               .create_revision = 5,
                               .version = 3,
                               .lease = 0x1122334455667788,
                               .value_bytes = 5 };
}

/* The sum is on disk and in HashKV. These were computed by another program, from the layout. */
Test(record, sum_is_the_golden_one)
{
    struct kv_record put = full();
    cr_assert_eq(kv_record_sum(&put), UINT64_C(0x6542a0bc058d9a32));
    struct kv_record gone = { .key = slice_of_text("gone"),
                              .mod = { .main = 9, .sub = 0 },
                              .tombstone = true };
    cr_assert_eq(kv_record_sum(&gone), UINT64_C(0x531a866d6f1a8bc6));
}

Test(record, sum_depends_on_every_field)
{
    struct kv_record other[10];
    for (int i = 0; i < 10; i++)
        other[i] = full();
    other[0].key = slice_of("k\0ex", 4);
    other[1].value = slice_of_text("valuf");
    other[2].mod.main++;
    other[3].mod.sub++;
    other[4].create_revision++;
    other[5].version++;
    other[6].lease++;
    other[7].tombstone = true;
    other[8].key = slice_of("k\0eyv", 5); /* a byte moved from the value to the key */
    other[8].value = slice_of_text("alue");
    other[9].value = slice_of("value\0", 6);
    struct kv_record base = full();
    for (int i = 0; i < 10; i++) {
        cr_assert_neq(kv_record_sum(&other[i]), kv_record_sum(&base), "change %d", i);
        for (int j = 0; j < i; j++)
            cr_assert_neq(kv_record_sum(&other[i]), kv_record_sum(&other[j]), "%d, %d", i, j);
    }
}

Test(record, sum_is_not_part_of_itself)
{
    struct kv_record a = full();
    struct kv_record b = full();
    b.sum = 1;
    b.value_bytes = 0; /* the value itself is there: its size counts */
    cr_assert_eq(kv_record_sum(&a), kv_record_sum(&b));
}
