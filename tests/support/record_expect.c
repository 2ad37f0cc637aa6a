#include "tests/support/record_expect.h"

#include <criterion/criterion.h>

void record_expect_numbers(const struct kv_record *got, const struct kv_record *want)
{
    cr_assert_eq(got->mod.main, want->mod.main);
    cr_assert_eq(got->mod.sub, want->mod.sub);
    cr_assert_eq(got->create_revision, want->create_revision);
    cr_assert_eq(got->version, want->version);
    cr_assert_eq(got->lease, want->lease);
    cr_assert_eq(got->tombstone, want->tombstone);
    cr_assert_eq(got->value_bytes, want->value_bytes);
    cr_assert_eq(got->sum, want->sum);
}
