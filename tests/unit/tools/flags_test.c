#include <criterion/criterion.h>
#include <stdlib.h>

#include "tools/ctl.h"

enum { WORDS_MAX = 16 };

/* Splits on spaces; parses into `args`. */
static bool parse(const char *line, struct ctl_args *args, struct ctl_error *error)
{
    static char copy[512];
    struct slice words[WORDS_MAX];
    size_t count = 0;
    cr_assert_lt((size_t)snprintf(copy, sizeof copy, "%s", line), sizeof copy);
    char *rest = copy;
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " "))
        words[count++] = slice_of_text(word);
    return ctl_parse(args, words, count, error);
}

static const char *text_of(const struct ctl_args *args, enum ctl_flag_id id)
{
    return (const char *)args->values[id].text.data;
}

Test(flags, commands_are_found_among_flags)
{
    static const struct {
        const char *line, *command;
        size_t argument_count;
    } rows[] = {
        { "get a", "get", 1 },
        { "-w json get a b", "get", 2 },
        { "--write-out=json --hex get a", "get", 1 },
        { "endpoint status --cluster", "endpoint status", 0 },
        { "endpoint --cluster status", "endpoint status", 0 },
        { "mem li", "member list", 0 },
        { "comp 5", "compaction", 1 },
        { "get -- --prefix", "get", 1 },
        { "put k -- -1", "put", 2 },
        { "put -", "put", 1 },
        { "help endpoint status", "help", 2 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct ctl_args args;
        struct ctl_error error;
        cr_assert(parse(rows[i].line, &args, &error), "%s", rows[i].line);
        cr_assert_not_null(args.command, "%s", rows[i].line);
        cr_assert_str_eq(args.command->name, rows[i].command);
        cr_assert_eq(args.argument_count, rows[i].argument_count, "%s", rows[i].line);
    }
}

Test(flags, forms_of_a_value)
{
    static const char *const lines[] = { "get a -w json", "get a -wjson", "get a -w=json",
                                         "get a --write-out json", "get -w simple a -w json" };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        static struct ctl_args args;
        struct ctl_error error;
        cr_assert(parse(lines[i], &args, &error), "%s", lines[i]);
        cr_assert_str_eq(text_of(&args, CTL_FLAG_WRITE_OUT), "json");
        cr_assert_eq(args.argument_count, 1);
    }
}

Test(flags, values_and_defaults)
{
    static struct ctl_args args;
    struct ctl_error error;
    cr_assert(parse("get a --prefix --keys-only=false --limit 0x10 --command-timeout=1m30s "
                    "--endpoints a:1,b:2 --endpoints c:3",
                    &args, &error));
    cr_assert(args.values[CTL_FLAG_GET_PREFIX].is_true);
    cr_assert_not(args.values[CTL_FLAG_GET_KEYS_ONLY].is_true);
    cr_assert_eq(args.values[CTL_FLAG_GET_LIMIT].number, 16);
    cr_assert_eq(args.values[CTL_FLAG_COMMAND_TIMEOUT].ms, 90000);
    cr_assert_eq(args.values[CTL_FLAG_DIAL_TIMEOUT].ms, 2000);
    cr_assert_eq(args.endpoint_count, 3);
    cr_assert(slice_equal(args.endpoints[1], slice_of_text("b:2")));
    cr_assert(slice_equal(args.endpoints[2], slice_of_text("c:3")));
    cr_assert(parse("get a", &args, &error));
    cr_assert_eq(args.endpoint_count, 1);
}

Test(flags, the_same_name_belongs_to_its_command)
{
    static struct ctl_args args;
    struct ctl_error error;
    cr_assert(parse("get a --rev 7", &args, &error));
    cr_assert_eq(args.values[CTL_FLAG_GET_REV].number, 7);
    cr_assert_eq(args.values[CTL_FLAG_HASHKV_REV].number, 0);
    cr_assert(parse("endpoint hashkv --rev 8", &args, &error));
    cr_assert_eq(args.values[CTL_FLAG_HASHKV_REV].number, 8);
}

Test(flags, mistakes_are_named)
{
    static const struct {
        const char *line, *text;
        enum ctl_exit code;
    } rows[] = {
        { "get a --prefx", "unknown flag: --prefx (did you mean --prefix?)", CTL_EXIT_ERROR },
        { "put a b --prefix", "unknown flag: --prefix", CTL_EXIT_ERROR },
        { "get a --utterly", "unknown flag: --utterly", CTL_EXIT_ERROR },
        { "get a -q", "unknown shorthand flag: 'q' in -q", CTL_EXIT_ERROR },
        { "gett a", "unknown command \"gett\" for \"holdfastctl\" (did you mean \"get\"?)",
          CTL_EXIT_ERROR },
        { "endpoint stats",
          "unknown command \"endpoint stats\" for \"holdfastctl\" (did you mean \"endpoint "
          "status\"?)",
          CTL_EXIT_ERROR },
        { "bogus", "unknown command \"bogus\" for \"holdfastctl\"", CTL_EXIT_ERROR },
        { "get a --limit", "flag needs an argument: --limit", CTL_EXIT_ERROR },
        { "get a --limit x",
          "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid "
          "syntax",
          CTL_EXIT_ERROR },
        { "get a --prefix=maybe",
          "invalid argument \"maybe\" for \"--prefix\" flag: strconv.ParseBool: parsing \"maybe\": "
          "invalid syntax",
          CTL_EXIT_ERROR },
        { "get a --dial-timeout 5",
          "invalid argument \"5\" for \"--dial-timeout\" flag: time: missing unit in duration "
          "\"5\"",
          CTL_EXIT_ERROR },
        { "get 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", NULL, CTL_EXIT_SUCCESS },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct ctl_args args;
        struct ctl_error error;
        bool ok = parse(rows[i].line, &args, &error);
        cr_assert_eq(ok, rows[i].text == NULL, "%s", rows[i].line);
        if (ok)
            continue;
        cr_assert_str_eq(error.text, rows[i].text);
        cr_assert_eq(error.code, rows[i].code);
    }
}

Test(flags, no_command_and_half_a_command_ask_for_help)
{
    static struct ctl_args args;
    struct ctl_error error;
    cr_assert(ctl_parse(&args, NULL, 0, &error));
    cr_assert_null(args.command);
    cr_assert(parse("endpoint", &args, &error));
    cr_assert_null(args.command);
    cr_assert(slice_equal(args.group, slice_of_text("endpoint")));
}

Test(flags, a_flag_wins_over_the_environment)
{
    static struct ctl_args args;
    struct ctl_error error;
    const char *unknown = NULL;
    char *environment[] = { (char[]){ "ETCDCTL_API=3" },
                            (char[]){ "ETCDCTL_ENDPOINTS=e:1" },
                            (char[]){ "HOLDFASTCTL_ENDPOINTS=h:1" },
                            (char[]){ "ETCDCTL_WRITE_OUT=fields" },
                            (char[]){ "ETCDCTL_DIAL_TIMEOUT=1s" },
                            NULL };
    cr_assert(parse("get a -w json", &args, &error));
    cr_assert(ctl_parse_environment(&args, environment, &unknown, &error));
    cr_assert_null(unknown);
    cr_assert_str_eq(text_of(&args, CTL_FLAG_WRITE_OUT), "json");
    cr_assert_eq(args.endpoint_count, 1);
    cr_assert(slice_equal(args.endpoints[0], slice_of_text("h:1")));
    cr_assert_eq(args.values[CTL_FLAG_DIAL_TIMEOUT].ms, 1000);
}

Test(flags, odd_variables_are_named)
{
    static struct ctl_args args;
    struct ctl_error error;
    const char *unknown = NULL;
    char *misspelt[] = { (char[]){ "HOLDFASTCTL_ENDPOINT=x" }, NULL };
    char *bad[] = { (char[]){ "ETCDCTL_HEX=perhaps" }, NULL };
    cr_assert(parse("get a", &args, &error));
    cr_assert(ctl_parse_environment(&args, misspelt, &unknown, &error));
    cr_assert_str_eq(unknown, "HOLDFASTCTL_ENDPOINT=x");
    cr_assert_not(ctl_parse_environment(&args, bad, &unknown, &error));
}

Test(flags, every_flag_of_the_table_is_reachable)
{
    for (enum ctl_flag_id id = 0; id < CTL_FLAG_COUNT; id++) {
        bool taken = id < CTL_GLOBAL_FLAG_COUNT;
        for (size_t i = 0; i < ctl_command_count; i++)
            taken = taken || ctl_command_takes(&ctl_commands[i], id);
        cr_assert(taken, "--%s", ctl_flags[id].name);
    }
}

/* ---- requests from flags ---- */

Test(requests, get_ranges)
{
    static const struct {
        const char *line, *key, *end;
        size_t end_size;
    } rows[] = {
        { "get a", "a", "", 0 },
        { "get a c", "a", "c", 1 },
        { "get a --prefix", "a", "b", 1 },
        { "get a\xff --prefix", "a\xff", "b", 1 },
        { "get \xff\xff --prefix", "\xff\xff", "\0", 1 },
        { "get a --from-key", "a", "\0", 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct ctl_args args;
        struct ctl_error error;
        struct ctl_get_request get;
        cr_assert(parse(rows[i].line, &args, &error));
        cr_assert(ctl_get_parse(&args, &get, &error), "%s", rows[i].line);
        cr_assert(slice_equal(slice_of_pb(get.request.key), slice_of_text(rows[i].key)));
        cr_assert(slice_equal(slice_of_pb(get.request.range_end),
                              slice_of(rows[i].end, rows[i].end_size)),
                  "%s", rows[i].line);
        free(get.range_end);
    }
}

Test(requests, mistakes_keep_etcdctl_texts_and_codes)
{
    static const struct {
        const char *line, *text;
        enum ctl_exit code;
    } rows[] = {
        { "get", "get command needs one argument as key and an optional argument as range_end",
          CTL_EXIT_BAD_ARGS },
        { "get a b c",
          "get command needs one argument as key and an optional argument as range_end",
          CTL_EXIT_BAD_ARGS },
        { "get a --prefix --from-key",
          "`--prefix` and `--from-key` cannot be set at the same time, choose one",
          CTL_EXIT_BAD_ARGS },
        { "get a b --prefix",
          "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
          CTL_EXIT_BAD_ARGS },
        { "get a --keys-only --count-only",
          "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
          CTL_EXIT_BAD_ARGS },
        { "get a --order x", "bad sort order x", CTL_EXIT_BAD_FEATURE },
        { "get a --sort-by x", "bad sort target x", CTL_EXIT_BAD_FEATURE },
        { "get a --consistency x", "unknown consistency flag \"x\"", CTL_EXIT_BAD_FEATURE },
        { "get a --min-mod-rev 5 --max-mod-rev 4", "getMinModRev(=5) > getMaxModRev(=4)",
          CTL_EXIT_BAD_FEATURE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct ctl_args args;
        struct ctl_error error;
        struct ctl_get_request get;
        cr_assert(parse(rows[i].line, &args, &error));
        cr_assert_not(ctl_get_parse(&args, &get, &error), "%s", rows[i].line);
        cr_assert_str_eq(error.text, rows[i].text);
        cr_assert_eq(error.code, rows[i].code);
    }
}

Test(requests, put_takes_a_value_or_asks_for_input)
{
    static struct ctl_args args;
    struct ctl_error error;
    struct ctl_put_request put;
    cr_assert(parse("put k v --lease 1f --prev-kv", &args, &error));
    cr_assert(ctl_put_parse(&args, &put, &error));
    cr_assert_eq(put.request.lease, 31);
    cr_assert(put.request.prev_kv);
    cr_assert_not(put.wants_input);
    cr_assert(parse("put k", &args, &error) && ctl_put_parse(&args, &put, &error));
    cr_assert(put.wants_input);
    cr_assert(parse("put k --ignore-value", &args, &error) && ctl_put_parse(&args, &put, &error));
    cr_assert_not(put.wants_input);
    cr_assert(parse("put k v --ignore-value", &args, &error));
    cr_assert_not(ctl_put_parse(&args, &put, &error));
    cr_assert(parse("put k v --lease=zz", &args, &error));
    cr_assert_not(ctl_put_parse(&args, &put, &error));
    cr_assert_eq(error.code, CTL_EXIT_BAD_ARGS);
}

Test(requests, ascending_keys_are_not_sorted_again)
{
    static struct ctl_args args;
    struct ctl_error error;
    struct ctl_get_request get;
    cr_assert(parse("get a b --order ascend", &args, &error) && ctl_get_parse(&args, &get, &error));
    cr_assert_eq(get.request.sort_order, ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE);
    cr_assert(parse("get a b --order descend --sort-by modify", &args, &error) &&
              ctl_get_parse(&args, &get, &error));
    cr_assert_eq(get.request.sort_order, ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND);
    cr_assert_eq(get.request.sort_target, ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD);
}
