#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/options.h"

static struct options o;
static char detail[OPTIONS_DETAIL_BYTES];
static char path[] = "/tmp/holdfast-options-XXXXXX";

static void setup(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void done(void)
{
    options_done(&o);
    unlink(path);
}

TestSuite(options_file, .init = setup, .fini = done);

static bool parse(const char *text)
{
    options_done(&o);
    detail[0] = '\0';
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    char *argv[] = { "holdfastd", "--name=flag", "--config-file", path, NULL };
    char *environment[] = { "ETCD_HEARTBEAT_INTERVAL=7", NULL };
    return options_parse(&o, 4, argv, environment, detail);
}

Test(options_file, replaces_flags_and_environment)
{
    cr_assert(parse("---\n# a comment\nname: n1\nelection-timeout: 2000 # another\n\n"
                    "pre-vote: false\ndata-dir: '/x #y'\nlog-level: \"warn\" # c\r\n"),
              "%s", detail);
    cr_assert_str_eq(o.name, "n1");
    cr_assert_eq(o.election_timeout_ms, 2000);
    cr_assert_not(o.pre_vote);
    cr_assert_str_eq(o.data_dir, "/x #y");
    cr_assert_str_eq(o.log_level, "warn");
    cr_assert_eq(o.heartbeat_interval_ms, 100, "the environment does not count");
    cr_assert(parse(""));
    cr_assert_str_eq(o.name, "default", "nor do flags");
}

Test(options_file, colons_in_values_are_fine)
{
    cr_assert(parse("initial-cluster: a=http://h:1,b=http://i:2\nlisten-client-urls: http://a:1"));
    cr_assert_str_eq(o.initial_cluster, "a=http://h:1,b=http://i:2");
    cr_assert_str_eq(o.listen_client_urls.texts[0], "http://a:1");
}

Test(options_file, what_is_refused_says_where)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "name: a\nnaem: b\n", ":2: unknown name naem; the nearest known one is name" },
        { "client-transport-security:\n  cert-file: x\n", ":1: " },
        { "name: a\n  indented: b\n", ":2: an indented section" },
        { "just words\n", ":1: not a \"name: value\" line" },
        { "name:a\n", ":1: not a" },
        { "heartbeat-interval: x\n", "configuration file's heartbeat-interval" },
        { "name: \"a\n", ":1: quotes" },
        { "name: 'a' b\n", ":1: quotes" },
        { "cert-file: x\n", "TLS is not in this version" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_not(parse(rows[i].text), "%s", rows[i].text);
        cr_assert(strstr(detail, rows[i].says), "%s: %s", rows[i].text, detail);
    }
}

Test(options_file, a_line_that_is_too_long_is_refused_and_not_cut)
{
    static char text[20000];
    memset(text, 'y', sizeof text - 1);
    memcpy(text, "name: ", 6);
    cr_assert_not(parse(text));
    cr_assert(strstr(detail, ":1: "), "%s", detail);
}
