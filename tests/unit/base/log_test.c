/* Lines of the log: their shape, their escapes, and where they are cut. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t noon(void *owner)
{
    (void)owner;
    return UINT64_C(1700000000123);
}

static int log_to_pipe(enum log_format format, enum log_level level_min)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_gt(fcntl(fds[1], F_SETPIPE_SZ, 65536), 0);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    log_setup(&(struct log_options){
        .level_min = level_min, .format = format, .fd = fds[1], .wall_ms = noon });
    return fds[0];
}

static const char *line_from(int fd)
{
    static char text[2 * LOG_LINE_BYTES_MAX];
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

Test(log, a_json_line_has_the_fields_of_etcds)
{
    int fd = log_to_pipe(LOG_JSON, LOG_INFO);
    log_event(LOG_WARN, "server/node.c", 12, "slow",
              (const struct log_field[]){ log_text("what", "disk"),
                                          log_number("took-ms", 250),
                                          log_id("member", 0xabcdef0123u),
                                          { 0 } });
    cr_expect_str_eq(line_from(fd),
                     "{\"level\":\"warn\",\"ts\":\"2023-11-14T22:13:20.123Z\","
                     "\"caller\":\"server/node.c:12\",\"msg\":\"slow\",\"what\":\"disk\","
                     "\"took-ms\":250,\"member\":\"abcdef0123\"}\n");
    log_event(LOG_ERROR, "a.c", 1, "bare", (const struct log_field[]){ { 0 } });
    cr_expect_str_eq(line_from(fd), "{\"level\":\"error\",\"ts\":\"2023-11-14T22:13:20.123Z\","
                                    "\"caller\":\"a.c:1\",\"msg\":\"bare\"}\n");
}

Test(log, a_console_line_is_for_people)
{
    int fd = log_to_pipe(LOG_CONSOLE, LOG_DEBUG);
    log_event(LOG_DEBUG, "a.c", 1, "bare", (const struct log_field[]){ { 0 } });
    cr_expect_str_eq(line_from(fd), "2023-11-14T22:13:20.123Z\tdebug\ta.c:1\tbare\n");
    log_event(LOG_FATAL, "a.c", 2, "two",
              (const struct log_field[]){ log_number("n", 1), log_text("t", NULL), { 0 } });
    cr_expect_str_eq(line_from(fd),
                     "2023-11-14T22:13:20.123Z\tfatal\ta.c:2\ttwo\t{\"n\":1,\"t\":\"\"}\n");
}

Test(log, levels_below_the_lowest_are_silent_and_not_evaluated)
{
    int fd = log_to_pipe(LOG_CONSOLE, LOG_WARN);
    unsigned evaluated = 0;
    LOG_INFOF("no", log_number("n", ++evaluated));
    cr_expect_str_eq(line_from(fd), "");
    cr_expect_eq(evaluated, 0);
    LOG_WARNF("yes", log_number("n", ++evaluated));
    cr_expect(strstr(line_from(fd), "log_test.c:"));
    LOG_ERRORF("bare");
    cr_expect(strstr(line_from(fd), "\tbare\n"));
}

Test(log, quoted_text_cannot_break_the_line)
{
    static const struct {
        struct slice text;
        const char *quoted;
    } cases[] = {
        { { (const uint8_t *)"a\"b\\c", 5 }, "\"a\\\"b\\\\c\"" },
        { { (const uint8_t *)"a\nb\0\x1b\x7f", 6 }, "\"a\\u000ab\\u0000\\u001b\\u007f\"" },
        { { (const uint8_t *)"z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80", 16 },
          "\"z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80\"" },
        { { (const uint8_t *)"\xff", 1 }, "\"\\ufffd\"" },
        { { (const uint8_t *)"\xc3", 1 }, "\"\\ufffd\"" },
        { { (const uint8_t *)"\xc3(", 2 }, "\"\\ufffd(\"" },
        { { (const uint8_t *)"\xc0\x80", 2 }, "\"\\ufffd\\ufffd\"" },
        { { (const uint8_t *)"\xed\xa0\x80", 3 }, "\"\\ufffd\\ufffd\\ufffd\"" },
        { { (const uint8_t *)"\xf4\x90\x80\x80", 4 }, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
        { { (const uint8_t *)"\xe2\x82", 2 }, "\"\\ufffd\\ufffd\"" },
        { { NULL, 0 }, "\"\"" },
    };
    int fd = log_to_pipe(LOG_CONSOLE, LOG_INFO);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        log_event(LOG_INFO, "a.c", 1, "m",
                  (const struct log_field[]){ log_bytes("t", cases[i].text), { 0 } });
        char expected[200];
        snprintf(expected, sizeof expected, "\t{\"t\":%s}\n", cases[i].quoted);
        cr_expect(strstr(line_from(fd), expected), "%zu: wants %s", i, expected);
    }
}

/* Enough of JSON to see that strings and the object are closed. */
static bool is_whole_object(const char *line)
{
    bool in_string = false;
    int depth = 0;
    const char *c = line;
    for (; *c && *c != '\n'; c++) {
        if (in_string && *c == '\\')
            c++;
        else if (*c == '"')
            in_string = !in_string;
        else if (!in_string)
            depth += (*c == '{') - (*c == '}');
    }
    return c > line + 2 && !in_string && depth == 0 && c[0] == '\n' && c[1] == '\0' &&
           c[-1] == '}' && !strchr(":,", c[-2]);
}

/* Each length moves the cut by one: through the text, its quotes, the name and the number. */
Test(log, a_line_that_is_too_long_is_cut_and_still_an_object)
{
    int fd = log_to_pipe(LOG_JSON, LOG_INFO);
    static char text[LOG_LINE_BYTES_MAX + 100];
    static const char *const fills[] = { "a", "\"", "\xc3\xbc", "\n" };
    for (size_t f = 0; f < sizeof fills / sizeof *fills; f++) {
        size_t fill_size = strlen(fills[f]);
        for (size_t size = LOG_LINE_BYTES_MAX / 8 * fill_size; size < sizeof text;
             size += fill_size * (size < LOG_LINE_BYTES_MAX - 300 ? 97 : 1)) {
            for (size_t i = 0; i + fill_size <= size; i += fill_size)
                memcpy(text + i, fills[f], fill_size);
            log_event(LOG_INFO, "a.c", 1, "m",
                      (const struct log_field[]){ log_bytes("long", slice_of(text, size)),
                                                  log_number("number", 1234567890),
                                                  log_id("id", 255),
                                                  log_text("last", "end"),
                                                  { 0 } });
            const char *line = line_from(fd);
            cr_assert(is_whole_object(line), "%zu of %zu: %s", f, size, line);
            cr_assert_leq(strlen(line), LOG_LINE_BYTES_MAX);
            bool has_all = strstr(line, "\"last\":\"end\"");
            cr_assert(has_all || strlen(line) > LOG_LINE_BYTES_MAX - 80, "cut with room to spare");
        }
    }
    memset(text, 'a', sizeof text - 1);
    log_event(LOG_INFO, "a.c", 1, text, (const struct log_field[]){ log_number("n", 1), { 0 } });
    const char *line = line_from(fd);
    cr_expect(is_whole_object(line));
    cr_expect(strstr(line, "aaa...\"}\n"));
}
