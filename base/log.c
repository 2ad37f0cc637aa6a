#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

static struct log_options log_setting = { .level_min = LOG_INFO, .fd = STDERR_FILENO };

struct line {
    char text[LOG_LINE_BYTES_MAX];
    size_t size;
    bool cut; /* nothing is added any more */
};

/* Kept free to the end: what closes a cut string, and the line. */
enum { CUT_BYTES = 4, TAIL_BYTES = 2 };

void log_setup(const struct log_options *options)
{
    log_setting = *options;
}

bool log_is_on(enum log_level level)
{
    return level >= log_setting.level_min;
}

static size_t line_room(const struct line *l)
{
    return sizeof l->text - TAIL_BYTES - CUT_BYTES - l->size;
}

/* Whole or not at all. */
static void line_add(struct line *l, const char *text, size_t size)
{
    if (l->cut || size > line_room(l)) {
        l->cut = true;
        return;
    }
    memcpy(l->text + l->size, text, size);
    l->size += size;
}

static void line_add_text(struct line *l, const char *text)
{
    line_add(l, text, strlen(text));
}

/* The length of the UTF-8 character at the start of text (RFC 3629, section 4), or 0. */
static size_t utf8_size(struct slice text)
{
    static const struct {
        uint8_t lead_min, lead_max;     /* of the first byte */
        uint8_t second_min, second_max; /* the others are 80..bf */
        uint8_t size;
    } rows[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (text.data[0] < rows[i].lead_min || text.data[0] > rows[i].lead_max)
            continue;
        if (text.size < rows[i].size || text.data[1] < rows[i].second_min ||
            text.data[1] > rows[i].second_max)
            return 0;
        for (size_t k = 2; k < rows[i].size; k++) {
            if ((text.data[k] & 0xc0) != 0x80)
                return 0;
        }
        return rows[i].size;
    }
    return 0;
}

/* One character of a JSON string, escaped where it must be: a log never carries the control
 * characters or broken UTF-8 of what it quotes. Returns the bytes of text that it took. */
static size_t line_add_character(struct line *l, struct slice text)
{
    uint8_t c = text.data[0];
    char escape[8];
    if (c == '"' || c == '\\') {
        line_add(l, (char[]){ '\\', (char)c }, 2);
        return 1;
    }
    if (c >= 0x20 && c < 0x7f) {
        line_add(l, (const char *)text.data, 1);
        return 1;
    }
    size_t size = c < 0x80 ? 0 : utf8_size(text);
    if (size > 0) {
        line_add(l, (const char *)text.data, size);
        return size;
    }
    /* The replacement character stands for a byte that is none, as zap prints it. */
    int n = snprintf(escape, sizeof escape, "\\u%04x", c < 0x80 ? c : 0xfffdu);
    line_add(l, escape, (size_t)n);
    return 1;
}

/* Always a whole JSON string: where there is no room for all, it ends with "...". */
static void line_add_quoted(struct line *l, struct slice text)
{
    line_add_text(l, "\"");
    if (l->cut)
        return;
    for (size_t i = 0; i < text.size && !l->cut;)
        i += line_add_character(l, slice_of(text.data + i, text.size - i));
    if (!l->cut)
        line_add_text(l, "\"");
    if (l->cut) {
        memcpy(l->text + l->size, "...\"", CUT_BYTES);
        l->size += CUT_BYTES;
    }
}

static void line_add_time(struct line *l)
{
    uint64_t wall_ms;
    if (log_setting.wall_ms) {
        wall_ms = log_setting.wall_ms(log_setting.wall_owner);
    } else {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        wall_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    }
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char text[40];
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    line_add(l, text, n);
    int m = snprintf(text, sizeof text, ".%03" PRIu64 "Z", wall_ms % 1000);
    line_add(l, text, (size_t)m);
}

static void line_add_value(struct line *l, const struct log_field *f)
{
    char number[32];
    int n = 0;
    switch (f->type) {
    case LOG_FIELD_TEXT:
        line_add_quoted(l, f->text);
        return;
    case LOG_FIELD_NUMBER:
        n = snprintf(number, sizeof number, "%" PRIu64, f->number);
        break;
    case LOG_FIELD_ID:
        n = snprintf(number, sizeof number, "\"%" PRIx64 "\"", f->number);
        break;
    case LOG_FIELD_END:
        break;
    }
    line_add(l, number, (size_t)n);
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = { "debug", "info", "warn", "error", "fatal" };
    return names[level];
}

/* "server/node.c:12", as the project's own tree names it. */
static void line_add_caller(struct line *l, const char *file, int line)
{
    char number[16];
    int n = snprintf(number, sizeof number, ":%d", line);
    line_add_text(l, file);
    line_add(l, number, (size_t)n);
}

static void line_add_field(struct line *l, const struct log_field *f, bool first)
{
    size_t before = l->size;
    if (!first)
        line_add_text(l, ",");
    line_add_quoted(l, slice_of_text(f->name));
    line_add_text(l, ":");
    bool has_name = !l->cut;
    line_add_value(l, f);
    /* A text may be cut and stand; a name or a number without the rest may not. */
    bool is_whole = has_name && (!l->cut || l->text[l->size - 1] == '"');
    if (!is_whole)
        l->size = before;
}

static void line_add_fields(struct line *l, const struct log_field *fields, bool json)
{
    for (const struct log_field *f = fields; f->type != LOG_FIELD_END && !l->cut; f++)
        line_add_field(l, f, !json && f == fields);
}

static void line_add_json(struct line *l, enum log_level level, const char *file, int line,
                          const char *msg, const struct log_field *fields)
{
    line_add_text(l, "{\"level\":\"");
    line_add_text(l, level_name(level));
    line_add_text(l, "\",\"ts\":\"");
    line_add_time(l);
    line_add_text(l, "\",\"caller\":\"");
    line_add_caller(l, file, line);
    line_add_text(l, "\",\"msg\":");
    line_add_quoted(l, slice_of_text(msg));
    line_add_fields(l, fields, true);
}

static void line_add_console(struct line *l, enum log_level level, const char *file, int line,
                             const char *msg, const struct log_field *fields)
{
    line_add_time(l);
    line_add_text(l, "\t");
    line_add_text(l, level_name(level));
    line_add_text(l, "\t");
    line_add_caller(l, file, line);
    line_add_text(l, "\t");
    line_add_text(l, msg);
    if (fields->type != LOG_FIELD_END) {
        line_add_text(l, "\t{");
        line_add_fields(l, fields, false);
    }
}

void log_event(enum log_level level, const char *file, int line, const char *msg,
               const struct log_field *fields)
{
    struct line l = { .size = 0 };
    bool json = log_setting.format == LOG_JSON;
    if (json)
        line_add_json(&l, level, file, line, msg, fields);
    else
        line_add_console(&l, level, file, line, msg, fields);
    bool has_brace = json || fields->type != LOG_FIELD_END;
    const char *tail = has_brace ? "}\n" : "\n";
    size_t tail_size = strlen(tail);
    ASSERT(l.size + tail_size <= sizeof l.text);
    memcpy(l.text + l.size, tail, tail_size);
    ssize_t written = write(log_setting.fd, l.text, l.size + tail_size);
    IGNORE(written < 0, "there is nowhere to report a log that cannot be written");
}
