/* record_expect.h: all that a record says of itself, beside key and value. For unit tests. */
#ifndef TESTS_SUPPORT_RECORD_EXPECT_H
#define TESTS_SUPPORT_RECORD_EXPECT_H

#include "storage/record.h"

/* Asserts that these are equal in both. */
void record_expect_numbers(const struct kv_record *got, const struct kv_record *want);

#endif
