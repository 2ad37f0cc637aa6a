/* log.h: the node's log: one event a line, as JSON objects or for the console.
 *
 * Libraries below server/ return errors and stay silent; server/ and rpc/'s edges log.
 * Field names and layout follow etcd's (zap): level, ts, caller, msg, then the fields.
 * Thread:  any; a line is one write(2).
 * Bounds:  a line ends at LOG_LINE_BYTES_MAX: the text that does not fit ends with "...", the
 *          fields behind it are left out, and what remains is still one JSON object.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

enum { LOG_LINE_BYTES_MAX = 4096 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };
enum log_format { LOG_JSON, LOG_CONSOLE };

enum log_field_type { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_ID };

struct log_field {
    const char *name;
    enum log_field_type type;
    struct slice text;
    uint64_t number;
};

/* At start, before other threads: what to write, how, and where to (borrowed). The wall clock is
 * asked through wall_ms, so that simulated runs print simulated time. */
struct log_options {
    enum log_level level_min;
    enum log_format format;
    int fd;
    uint64_t (*wall_ms)(void *owner);
    void *wall_owner;
};

void log_setup(const struct log_options *options);
bool log_is_on(enum log_level level);

static inline struct log_field log_text(const char *name, const char *text)
{
    return (struct log_field){ name, LOG_FIELD_TEXT, slice_of_text(text ? text : ""), 0 };
}

static inline struct log_field log_bytes(const char *name, struct slice text)
{
    return (struct log_field){ name, LOG_FIELD_TEXT, text, 0 };
}

static inline struct log_field log_number(const char *name, uint64_t number)
{
    return (struct log_field){ name, LOG_FIELD_NUMBER, { 0 }, number };
}

/* Members, clusters: hexadecimal, as etcd prints them. */
static inline struct log_field log_id(const char *name, uint64_t id)
{
    return (struct log_field){ name, LOG_FIELD_ID, { 0 }, id };
}

/* fields ends with LOG_FIELD_END. Use the macros. */
void log_event(enum log_level level, const char *file, int line, const char *msg,
               const struct log_field *fields);

#define LOG_AT(level, msg, ...)                                                       \
    do {                                                                              \
        if (log_is_on(level))                                                         \
            log_event((level), __FILE__, __LINE__, (msg),                             \
                      (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }); \
    } while (0)

#define LOG_DEBUGF(msg, ...) LOG_AT(LOG_DEBUG, msg __VA_OPT__(, ) __VA_ARGS__)
#define LOG_INFOF(msg, ...)  LOG_AT(LOG_INFO, msg __VA_OPT__(, ) __VA_ARGS__)
#define LOG_WARNF(msg, ...)  LOG_AT(LOG_WARN, msg __VA_OPT__(, ) __VA_ARGS__)
#define LOG_ERRORF(msg, ...) LOG_AT(LOG_ERROR, msg __VA_OPT__(, ) __VA_ARGS__)

#endif
