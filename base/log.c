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
};

enum { TAIL_BYTES = 8 }; /* room to close a line that was cut */

void log_setup(const struct log_options *options)
{
    log_setting = *options;
}

bool log_is_on(enum log_level level)
{
    return level >= log_setting.level_min;
}

static void line_add(struct line *l, const char *text, size_t size)
{
    size_t room = sizeof l->text - TAIL_BYTES - l->size;
    if (size > room)
        size = room;
    memcpy(l->text + l->size, text, size);
    l->size += size;
}

static void line_add_text(struct line *l, const char *text)
{
    line_add(l, text, strlen(text));
}

/* A JSON string; bytes that are not printable ASCII or plain UTF-8 lead bytes are escaped. */
static void line_add_quoted(struct line *l, struct slice text)
{
    line_add_text(l, "\"");
    for (size_t i = 0; i < text.size && l->size < sizeof l->text - TAIL_BYTES - 8; i++) {
        char c = (char)text.data[i];
        if (c == '"' || c == '\\') {
            line_add(l, (char[]){ '\\', c }, 2);
        } else if (text.data[i] < 0x20 || text.data[i] >= 0x7f) {
            char escape[8];
            int n = snprintf(escape, sizeof escape, "\\u%04x", text.data[i]);
            line_add(l, escape, (size_t)n);
        } else {
            line_add(l, &c, 1);
        }
    }
    line_add_text(l, "\"");
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

static void line_add_fields(struct line *l, const struct log_field *fields, bool json)
{
    for (const struct log_field *f = fields; f->type != LOG_FIELD_END; f++) {
        if (json || f != fields)
            line_add_text(l, ",");
        line_add_quoted(l, slice_of_text(f->name));
        line_add_text(l, ":");
        line_add_value(l, f);
    }
}

void log_event(enum log_level level, const char *file, int line, const char *msg,
               const struct log_field *fields)
{
    struct line l = { .size = 0 };
    bool json = log_setting.format == LOG_JSON;
    line_add_text(&l, json ? "{\"level\":\"" : "");
    if (json) {
        line_add_text(&l, level_name(level));
        line_add_text(&l, "\",\"ts\":\"");
        line_add_time(&l);
        line_add_text(&l, "\",\"caller\":\"");
        line_add_caller(&l, file, line);
        line_add_text(&l, "\",\"msg\":");
        line_add_quoted(&l, slice_of_text(msg));
        line_add_fields(&l, fields, true);
    } else {
        line_add_time(&l);
        line_add_text(&l, "\t");
        line_add_text(&l, level_name(level));
        line_add_text(&l, "\t");
        line_add_caller(&l, file, line);
        line_add_text(&l, "\t");
        line_add_text(&l, msg);
        if (fields->type != LOG_FIELD_END) {
            line_add_text(&l, "\t{");
            line_add_fields(&l, fields, false);
        }
    }
    bool cut = l.size >= sizeof l.text - TAIL_BYTES;
    const char *tail = cut                             ? "...\"}\n"
                       : json                          ? "}\n"
                       : fields->type != LOG_FIELD_END ? "}\n"
                                                       : "\n";
    size_t tail_size = strlen(tail);
    ASSERT(tail_size <= TAIL_BYTES);
    memcpy(l.text + l.size, tail, tail_size);
    ssize_t written = write(log_setting.fd, l.text, l.size + tail_size);
    IGNORE(written < 0, "there is nowhere to report a log that cannot be written");
}
