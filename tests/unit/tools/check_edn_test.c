#include <criterion/criterion.h>
#include <stdio.h>

#include "tools/check_edn.h"

static struct edn_reader reader;

static const struct edn *first(const char *text)
{
    edn_open(&reader, slice_of_text(text));
    return edn_next(&reader);
}

Test(check_edn, atoms)
{
    static const struct {
        const char *text;
        enum edn_kind kind;
        int64_t integer;
    } rows[] = {
        { "nil", EDN_NIL, 0 },
        { " , \n true ", EDN_BOOL, 1 },
        { "false", EDN_BOOL, 0 },
        { "17", EDN_INTEGER, 17 },
        { "-17N", EDN_INTEGER, -17 },
        { "+5", EDN_INTEGER, 5 },
        { "9223372036854775807", EDN_INTEGER, INT64_MAX },
        { "9223372036854775808", EDN_OTHER_NUMBER, 0 },
        { "99999999999999999999999", EDN_OTHER_NUMBER, 0 },
        { "1.5e3", EDN_OTHER_NUMBER, 0 },
        { "1/2", EDN_OTHER_NUMBER, 0 },
        { "\"a \\\" b\"", EDN_STRING, 0 },
        { "\\newline", EDN_CHARACTER, 0 },
        { "\\(", EDN_CHARACTER, 0 },
        { ":a/b", EDN_KEYWORD, 0 },
        { "sym-bol?", EDN_SYMBOL, 0 },
        { "-", EDN_SYMBOL, 0 },
        { "#inst \"2026\"", EDN_STRING, 0 },
        { "#{1 2}", EDN_SET, 0 },
        { "; all\n #_ {:left out} 3", EDN_INTEGER, 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct edn *e = first(rows[i].text);
        cr_assert(e, "%s: %s", rows[i].text, reader.error);
        cr_assert_eq(e->kind, rows[i].kind, "%s", rows[i].text);
        cr_assert_eq(e->integer, rows[i].integer, "%s", rows[i].text);
        cr_assert_null(edn_next(&reader));
        cr_assert_str_empty(reader.error);
        edn_close(&reader);
    }
}

static void expect_history(const char *text)
{
    const struct edn *e = first(text);
    cr_assert(e, "%s", reader.error);
    cr_assert(edn_is_keyword(edn_get(e, "type"), "ok"));
    cr_assert_null(edn_get(e, "absent"));
    const struct edn *value = edn_get(e, "value");
    cr_assert(edn_is_row(value));
    cr_assert_eq(value->count, 2);
    cr_assert_eq(edn_child(value, 0)->integer, 1);
    cr_assert_eq(edn_child(edn_child(value, 1), 1)->integer, 3);
    cr_assert_null(edn_child(value, 2));
    e = edn_next(&reader);
    cr_assert(e, "%s", reader.error);
    cr_assert_eq(edn_get(e, "process")->integer, 2);
    cr_assert_eq(edn_line(&reader, e), 2);
    cr_assert_null(edn_next(&reader));
    cr_assert_str_empty(reader.error);
    edn_close(&reader);
}

Test(check_edn, rows_of_forms_and_vectors_of_them)
{
    expect_history("{:type :ok, :value [1 [2 3]]}\n{:process 2}");
    expect_history("[{:type :ok, :value [1 [2 3]]}\n {:process 2}]\n");
    expect_history("(#jepsen.history.Op{:type :ok, :value (1 [2 3])}\n #_x {:process 2} ; end\n)");
}

Test(check_edn, empty)
{
    static const char *const rows[] = { "", " ; nothing", "[]", " ( ) ", "#_ 1" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_null(first(rows[i]), "%s", rows[i]);
        cr_assert_str_empty(reader.error, "%s", rows[i]);
        edn_close(&reader);
    }
}

Test(check_edn, errors_say_where)
{
    static const struct {
        const char *text;
        const char *error;
    } rows[] = {
        { "{:a", "1:1: the form does not end" },  { "\n {:a [1 2}", "2:10: unexpected character" },
        { "{:a}", "1:1: a key without a value" }, { "\"abc", "1:1: the string does not end" },
        { "{:a # 1}", "1:5: a tag has a name" },  { "{:a #_}", "1:7: unexpected character" },
        { "#_", "1:3: the text ends too early" }, { "[{}", "1:4: the history does not end" },
        { "}", "1:1: unexpected character" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct edn *e = first(rows[i].text);
        while (e)
            e = edn_next(&reader);
        cr_assert_str_eq(reader.error, rows[i].error, "%s", rows[i].text);
        cr_assert_null(edn_next(&reader), "after an error there is nothing");
        edn_close(&reader);
    }
}

Test(check_edn, depth_is_bounded)
{
    char text[4096];
    for (size_t deep = EDN_DEPTH_MAX - 2; deep < EDN_DEPTH_MAX + 3; deep++) {
        memset(text, '{', sizeof text);
        text[0] = '1'; /* so that the first is not taken for the row of all forms */
        text[1] = ' ';
        memset(text + 2, '[', deep);
        memset(text + 2 + deep, ']', deep);
        edn_open(&reader, slice_of(text, 2 + 2 * deep));
        cr_assert(edn_next(&reader));
        cr_assert_eq(edn_next(&reader) != NULL, deep <= EDN_DEPTH_MAX, "%zu", deep);
        edn_close(&reader);
    }
    for (size_t i = 0; i + 1 < sizeof text; i += 2) {
        text[i] = '#';
        text[i + 1] = 'a';
    }
    edn_open(&reader, slice_of(text, sizeof text)); /* tags nest, too */
    while (edn_next(&reader))
        ;
    edn_close(&reader);
}

/* Whatever is cut or flipped: an end or an error, and no more. */
Test(check_edn, any_bytes)
{
    static const char sample[] =
        "[#op{:type :invoke, :f :txn, :value [[:append 3 -17N] [:r \"k\" nil]], "
        ":process 0, :time 1.5} #_(x \\a) #{1 2} ; c\n {:a true}]";
    char text[sizeof sample];
    for (size_t size = 0; size < sizeof sample; size++) {
        edn_open(&reader, slice_of(sample, size));
        while (edn_next(&reader))
            ;
        edn_close(&reader);
    }
    for (size_t i = 0; i < sizeof sample - 1; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(text, sample, sizeof sample);
            text[i] = (char)(text[i] ^ (1 << bit));
            edn_open(&reader, slice_of(text, sizeof sample - 1));
            while (edn_next(&reader))
                ;
            edn_close(&reader);
        }
    }
}
