#include <criterion/criterion.h>
#include <stdlib.h>

#include "tools/client_h2.h"
#include "tools/ctl_text.h"
#include "tools/ctl_utf8.h"

typedef void print_fn(FILE *out, struct slice bytes);

static void expect_printed(print_fn *print, struct slice bytes, const char *expected)
{
    char *made = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&made, &size);
    print(out, bytes);
    fclose(out);
    cr_assert_str_eq(made, expected);
    free(made);
}

struct row {
    const char *bytes;
    size_t size;
    const char *expected;
};

#define ROW(bytes, expected)               \
    {                                      \
        bytes, sizeof(bytes) - 1, expected \
    }

static void expect_rows(print_fn *print, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_printed(print, slice_of(rows[i].bytes, rows[i].size), rows[i].expected);
}

Test(text, quotes_as_go_does)
{
    static const struct row rows[] = {
        ROW("", "\"\""),
        ROW("a\"b\\c", "\"a\\\"b\\\\c\""),
        ROW("\a\b\f\n\r\t\v", "\"\\a\\b\\f\\n\\r\\t\\v\""),
        ROW("\0\x01\x1f\x7f", "\"\\x00\\x01\\x1f\\x7f\""),
        ROW("\xc3\xa9\xe2\x82\xac", "\"\xc3\xa9\xe2\x82\xac\""),
        ROW("\xc2\xa0\xe2\x80\x8b", "\"\\u00a0\\u200b\""),
        ROW("\xff\xc3", "\"\\xff\\xc3\""),
        ROW("\xed\xa0\x80", "\"\\xed\\xa0\\x80\""),
        ROW("\xc0\xaf", "\"\\xc0\\xaf\""),
        ROW("\xf3\xa0\x80\x81", "\"\\U000e0001\""),
    };
    expect_rows(text_print_quoted, rows, sizeof rows / sizeof rows[0]);
}

Test(text, json_strings_as_go_writes_them)
{
    static const struct row rows[] = {
        ROW("a\"b\\", "\"a\\\"b\\\\\""),
        ROW("<&>\n\r\t\x01", "\"\\u003c\\u0026\\u003e\\n\\r\\t\\u0001\""),
        ROW("\xff", "\"\\ufffd\""),
        ROW("\xe2\x80\xa8\xc3\xa9", "\"\\u2028\xc3\xa9\""),
    };
    expect_rows(text_print_json, rows, sizeof rows / sizeof rows[0]);
}

Test(text, base64_of_rfc_4648)
{
    static const struct row rows[] = {
        ROW("", ""),        ROW("f", "Zg=="),          ROW("fo", "Zm8="),
        ROW("foo", "Zm9v"), ROW("foobar", "Zm9vYmFy"), ROW("\xff\xfe\xfb\0", "//77AA=="),
    };
    expect_rows(text_print_base64, rows, sizeof rows / sizeof rows[0]);
    expect_printed(text_print_hex, slice_of("a\0\xff", 3), "\\x61\\x00\\xff");
}

Test(text, sizes_have_two_digits)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = { { 0, "0 B" },          { 9, "9 B" },          { 999, "999 B" },
                 { 1000, "1.0 kB" },    { 9949, "9.9 kB" },    { 20480, "20 kB" },
                 { 2800000, "2.8 MB" }, { 82854982, "83 MB" }, { UINT64_MAX, "18 EB" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TEXT_SIZE_BYTES_MAX];
        text_format_bytes(text, rows[i].bytes);
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(text, durations_print_as_go_does)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = { { 0, "0s" },
                 { 999, "999ns" },
                 { 1500, "1.5\u00b5s" },
                 { 2215501, "2.215501ms" },
                 { 5000886093, "5.000886093s" },
                 { 60000000000, "1m0s" },
                 { 3661500000000, "1h1m1.5s" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TEXT_DURATION_BYTES_MAX];
        text_format_duration(text, rows[i].ns);
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(text, durations_parse)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t ms;
    } rows[] = { { "5s", true, 5000 },   { "100ms", true, 100 },  { "1m30s", true, 90000 },
                 { "1.5s", true, 1500 }, { "1h", true, 3600000 }, { "1us", true, 1 },
                 { "0s", true, 0 },      { "5", false, 0 },       { "", false, 0 },
                 { "s", false, 0 },      { "5xs", false, 0 },     { "-5s", false, 0 },
                 { "1.2.3s", false, 0 }, { "9999999h", false, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 0;
        const char *why = NULL;
        cr_assert_eq(text_parse_duration(rows[i].text, &ms, &why), rows[i].ok, "%s", rows[i].text);
        cr_assert_eq(ms, rows[i].ms, "%s", rows[i].text);
    }
}

Test(text, integers_parse)
{
    static const struct {
        const char *text;
        int base;
        bool ok;
        int64_t value;
    } rows[] = { { "12", 10, true, 12 },
                 { "-12", 10, true, -12 },
                 { "9223372036854775807", 10, true, INT64_MAX },
                 { "9223372036854775808", 10, false, 0 },
                 { "1f", 16, true, 31 },
                 { "0x1f", 16, false, 0 },
                 { "0x1f", 0, true, 31 },
                 { "zz", 16, false, 0 },
                 { "", 10, false, 0 },
                 { "-", 10, false, 0 },
                 { " 1", 10, false, 0 },
                 { "1 ", 10, false, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 0;
        const char *why = NULL;
        cr_assert_eq(text_parse_int(rows[i].text, rows[i].base, &value, &why), rows[i].ok, "%s",
                     rows[i].text);
        cr_assert_eq(value, rows[i].value, "%s", rows[i].text);
    }
}

Test(text, unquotes_go_literals)
{
    static const struct {
        const char *literal;
        size_t used;
        const char *bytes;
        size_t size;
    } rows[] = { { "\"a b\" rest", 5, "a b", 3 },
                 { "\"\\x00\\377\\n\\\"\\\\\"", 16, "\0\xff\n\"\\", 5 },
                 { "\"\\u00e9\\U0001f600\"", 18, "\xc3\xa9\xf0\x9f\x98\x80", 6 },
                 { "`a\\n`", 5, "a\\n", 3 },
                 { "\"open", 0, "", 0 },
                 { "\"open\\", 0, "", 0 },
                 { "\"\\q\"", 0, "", 0 },
                 { "\"\\x1\"", 0, "", 0 },
                 { "\"\\400\"", 0, "", 0 },
                 { "\"\\ud800\"", 0, "", 0 },
                 { "bare", 0, "", 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[64];
        size_t size = 0;
        size_t used = text_unquote(slice_of_text(rows[i].literal), bytes, &size);
        cr_assert_eq(used, rows[i].used, "%s: %zu", rows[i].literal, used);
        cr_assert(used == 0 ||
                  slice_equal(slice_of(bytes, size), slice_of(rows[i].bytes, rows[i].size)));
    }
}

Test(text, every_prefix_of_a_literal_is_refused)
{
    static const char literal[] = "\"a\\x41\\u00e9\\101\\n\"";
    for (size_t size = 0; size < sizeof literal - 1; size++) {
        uint8_t bytes[sizeof literal];
        size_t made = 0;
        uint8_t *exact = malloc(size + 1); /* so that a sanitizer sees reads past the end */
        memcpy(exact, literal, size);
        cr_assert_eq(text_unquote(slice_of(exact, size), bytes, &made), 0);
        free(exact);
    }
}

Test(text, distance_counts_edits)
{
    cr_assert_eq(text_distance("get", "get"), 0);
    cr_assert_eq(text_distance("gte", "get"), 1);
    cr_assert_eq(text_distance("gett", "get"), 1);
    cr_assert_eq(text_distance("prefx", "prefix"), 1);
    cr_assert_eq(text_distance("", "abc"), 3);
    cr_assert_geq(text_distance("bogus", "txn"), 4);
}

Test(text, grpc_messages_decode)
{
    static const struct {
        const char *wire, *text;
    } rows[] = { { "plain", "plain" },
                 { "a%20b%C3%A9", "a b\xc3\xa9" },
                 { "50%", "50%" },
                 { "%4", "%4" },
                 { "%zz", "%zz" },
                 { "%25", "%" },
                 { "toolongtext", "toolongte" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[10];
        client_h2_message_decode(slice_of_text(rows[i].wire), text, sizeof text);
        cr_assert_str_eq(text, rows[i].text);
    }
}
