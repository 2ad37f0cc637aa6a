#include <criterion/criterion.h>

#include "server/key_range.h"

static ProtobufCBinaryData pb(const char *text, size_t size)
{
    return (ProtobufCBinaryData){ .len = size, .data = (uint8_t *)text };
}

static struct key_range range_of(const char *key, const char *end)
{
    return key_range_of(pb(key, strlen(key)), pb(end, strlen(end)));
}

static struct key_range range_from(const char *key)
{
    return key_range_of(pb(key, strlen(key)), pb("\0", 1));
}

Test(key_range, has_what_etcd_says)
{
    static const struct {
        const char *key, *end;
        bool is_open;
        const char *asked;
        bool has;
    } rows[] = {
        { "b", "", false, "b", true },   { "b", "", false, "a", false },
        { "b", "", false, "bb", false }, { "b", "d", false, "b", true },
        { "b", "d", false, "c", true },  { "b", "d", false, "czzz", true },
        { "b", "d", false, "d", false }, { "b", "d", false, "a", false },
        { "b", "b", false, "b", false }, { "d", "b", false, "c", false },
        { "b", "", true, "b", true },    { "b", "", true, "zzz", true },
        { "b", "", true, "a", false },   { "b", "b\x01", false, "b", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct key_range r =
            rows[i].is_open ? range_from(rows[i].key) : range_of(rows[i].key, rows[i].end);
        cr_assert_eq(key_range_has(&r, slice_of_text(rows[i].asked)), rows[i].has, "row %zu", i);
    }
}

Test(key_range, an_end_of_one_zero_byte_is_open_and_longer_ones_are_not)
{
    cr_assert(range_from("a").is_open);
    cr_assert_not(key_range_of(pb("a", 1), pb("\0\0", 2)).is_open);
    cr_assert_not(key_range_of(pb("a", 1), pb("\1", 1)).is_open);
}

Test(key_range, is_empty)
{
    struct key_range point = range_of("a", "");
    struct key_range open = range_from("a");
    struct key_range some = range_of("a", "b");
    struct key_range none = range_of("a", "a");
    struct key_range reversed = range_of("b", "a");
    cr_assert_not(key_range_is_empty(&point));
    cr_assert_not(key_range_is_empty(&open));
    cr_assert_not(key_range_is_empty(&some));
    cr_assert(key_range_is_empty(&none));
    cr_assert(key_range_is_empty(&reversed));
}
