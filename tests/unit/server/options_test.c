#include <criterion/criterion.h>
#include <unistd.h>

#include "server/options_internal.h"

static struct options o;
static char detail[OPTIONS_DETAIL_BYTES];
static char *no_environment[] = { NULL };

static void done(void)
{
    options_done(&o);
}

TestSuite(options, .fini = done);

enum { ARGUMENTS_MAX = 8 };

/* One or two arguments; NULL: none. */
static bool parse_with(const char *first, const char *second, char *const *environment)
{
    options_done(&o);
    detail[0] = '\0';
    const char *argv[ARGUMENTS_MAX] = { "holdfastd", first, second, NULL };
    return options_parse(&o, 1 + (first != NULL) + (second != NULL), (char *const *)argv,
                         environment, detail);
}

static bool parse(const char *first, const char *second)
{
    return parse_with(first, second, no_environment);
}

Test(options, defaults_are_etcds)
{
    cr_assert(parse(NULL, NULL), "%s", detail);
    cr_assert_str_eq(o.name, "default");
    cr_assert_str_eq(o.data_dir, "default.etcd");
    cr_assert_str_eq(o.listen_client_urls.texts[0], "http://localhost:2379");
    cr_assert_eq(o.listen_client_urls.count, 1);
    cr_assert_str_eq(o.initial_cluster, "default=http://localhost:2380");
    cr_assert_eq(o.heartbeat_interval_ms, 100);
    cr_assert_eq(o.election_timeout_ms, 1000);
    cr_assert_eq(o.max_txn_ops, 128);
    cr_assert_eq(o.max_request_bytes, 1572864);
    cr_assert_eq(o.keepalive_interval_ms, 7200000);
    cr_assert(o.pre_vote);
    cr_assert_eq(o.warning_count, 0);
}

Test(options, defaults_follow_the_name)
{
    cr_assert(parse("--name=n1", "--initial-advertise-peer-urls=http://h:1"));
    cr_assert_str_eq(o.data_dir, "n1.etcd");
    cr_assert_str_eq(o.initial_cluster, "n1=http://h:1");
}

Test(options, forms_of_a_flag)
{
    cr_assert(parse("--name=a", NULL));
    cr_assert_str_eq(o.name, "a");
    cr_assert(parse("-name", "b"));
    cr_assert_str_eq(o.name, "b");
    cr_assert(parse("--name", "--odd"));
    cr_assert_str_eq(o.name, "--odd");
    cr_assert(parse("--pre-vote=false", NULL));
    cr_assert_not(o.pre_vote);
    cr_assert(parse("--pre-vote", NULL));
    cr_assert(o.pre_vote);
    cr_assert_not(parse("--pre-vote", "false"), "a boolean's value stands behind = alone");
    cr_assert(parse("--listen-client-urls=http://a:1,http://b:2", NULL));
    cr_assert_eq(o.listen_client_urls.count, 2);
    cr_assert_str_eq(o.listen_client_urls.texts[1], "http://b:2");
    cr_assert(parse("--help", "--version"));
    cr_assert(o.wants_help && o.wants_version);
}

Test(options, durations)
{
    static const struct {
        const char *text;
        bool fits;
        uint64_t ms;
    } rows[] = {
        { "0", true, 0 },
        { "5s", true, 5000 },
        { "100ms", true, 100 },
        { "1h30m", true, 5400000 },
        { "2m", true, 120000 },
        { "", false, 0 },
        { "5", false, 0 },
        { "5d", false, 0 },
        { "s", false, 0 },
        { "-5s", false, 0 },
        { "5s3", false, 0 },
        { "99999999999999999999s", false, 0 },
        { "5124095576030432h", false, 0 },
        { " 5s", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool fits = parse("--grpc-keepalive-timeout", rows[i].text);
        cr_assert_eq(fits, rows[i].fits, "%s: %s", rows[i].text, detail);
        if (fits)
            cr_assert_eq(o.keepalive_timeout_ms, rows[i].ms, "%s", rows[i].text);
    }
}

Test(options, what_is_refused_says_why)
{
    static const struct {
        const char *first, *second, *says;
    } rows[] = {
        { "--heartbeat-interval=0", NULL, "not between 1 and 10000" },
        { "--heartbeat-interval=ten", NULL, "not a whole number" },
        { "--heartbeat-interval=10x", NULL, "not a whole number" },
        { "--heartbeat-interval=-1", NULL, "not a whole number" },
        { "--heartbeat-interval=99999999999999999999999", NULL, "not a whole number" },
        { "--heartbeat-interval=100", "--election-timeout=499", "at least 5 times" },
        { "--pre-vote=maybe", NULL, "neither true nor false" },
        { "--name=", NULL, "--name must not be empty" },
        { "--name", NULL, "--name needs a value" },
        { "--listen-client-urls=", NULL, "must not be empty" },
        { "--listen-peer-urls=1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7", NULL, "more than 16" },
        { "--initial-cluster-state=old", NULL, "new or existing" },
        { "--log-level=loud", NULL, "debug, info, warn or error" },
        { "--log-format=xml", NULL, "json or console" },
        { "--nme=x", NULL, "nearest known one is --name" },
        { "--listen-clients-url", "x", "--listen-client-urls" },
        { "plain", NULL, "is not a flag" },
        { "--cert-file=x", NULL, "TLS is not in this version" },
        { "--unsafe-no-fsync", NULL, "does not acknowledge" },
        { "--config-file=/nonexistent/x", NULL, "/nonexistent/x" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_not(parse(rows[i].first, rows[i].second), "%s", rows[i].first);
        cr_assert(strstr(detail, rows[i].says), "%s: %s", rows[i].first, detail);
    }
}

Test(options, long_nonsense_is_refused_within_bounds)
{
    static char flag[100000];
    memset(flag, 'x', sizeof flag - 1);
    flag[0] = flag[1] = '-';
    cr_assert_not(parse(flag, NULL));
    cr_assert_lt(strlen(detail), sizeof detail - 1);
    cr_assert_not(parse("--name", flag), "64 KiB are enough for all values");
    cr_assert(strstr(detail, "too long"), "%s", detail);
}

Test(options, ignored_flags_warn_unless_they_say_the_default)
{
    cr_assert(parse("--max-wals=5", NULL));
    cr_assert_eq(o.warning_count, 0);
    cr_assert(parse("--max-wals=6", "--enable-pprof"));
    cr_assert_eq(o.warning_count, 2);
    cr_assert(strstr(o.warnings[0], "max-wals"));
    cr_assert(parse("--auth-token=simple", "--client-cert-auth=false"));
    cr_assert_eq(o.warning_count, 0);
}

Test(options, a_flag_wins_over_the_environment)
{
    char *environment[] = { "ETCD_NAME=from-env", "ETCD_HEARTBEAT_INTERVAL=7", "ETCD_UNKNOWN=1",
                            "ETCDCTL_NAME=x",     "ETCD_PRE_VOTE=0",           NULL };
    cr_assert(parse_with("--name=flag", NULL, environment), "%s", detail);
    cr_assert_str_eq(o.name, "flag");
    cr_assert_eq(o.heartbeat_interval_ms, 7);
    cr_assert_not(o.pre_vote);
    char *bad[] = { "ETCD_HEARTBEAT_INTERVAL=x", NULL };
    cr_assert_not(parse_with(NULL, NULL, bad));
    cr_assert(strstr(detail, "environment"), "%s", detail);
}

Test(options, every_flag_is_found_and_is_its_own_nearest)
{
    for (size_t i = 0; i < options_flag_count; i++) {
        const char *name = options_flags[i].name;
        cr_assert_eq(options_flag_find(name, strlen(name)), &options_flags[i], "%s twice", name);
        cr_assert_str_eq(options_flag_nearest(name, strlen(name)), name);
        cr_assert_leq(strlen(name), 64);
    }
    cr_assert_null(options_flag_find("nam", 3));
    cr_assert_null(options_flag_find("", 0));
}

Test(options, help_names_what_works)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    options_print_help(ends[1]);
    close(ends[1]);
    char text[16384];
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_assert(strstr(text, "--listen-client-urls"));
    cr_assert_not(strstr(text, "--cert-file"));
}
