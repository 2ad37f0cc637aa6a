#include "server/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "server/options_internal.h"

static bool refuse(char *detail, const char *origin, const struct options_flag *flag,
                   const char *value, const char *why)
{
    snprintf(detail, OPTIONS_DETAIL_BYTES, "%s%s: \"%.100s\" %s", origin, flag->name, value, why);
    return false;
}

/* ---- values ---- */

static const char *keep(struct options *o, const char *text, size_t size)
{
    char *copy = arena_alloc(&o->texts, size + 1);
    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

static bool set_urls(struct options *o, const struct options_flag *flag, const char *value,
                     const char *origin, char *detail)
{
    struct options_urls urls = { .count = 0 };
    for (const char *at = value; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (urls.count == OPTIONS_URLS_MAX)
            return refuse(detail, origin, flag, value, "names more than 16 URLs");
        urls.texts[urls.count] = keep(o, at, size);
        if (!urls.texts[urls.count++])
            return refuse(detail, origin, flag, value, "is too long");
        at += size + (at[size] == ',');
    }
    memcpy((uint8_t *)o + flag->offset, &urls, sizeof urls);
    return true;
}

static bool set_number(struct options *o, const struct options_flag *flag, uint64_t number,
                       const char *value, const char *origin, char *detail)
{
    if (number < flag->min || number > flag->max) {
        char why[100];
        snprintf(why, sizeof why, "is not between %" PRIu64 " and %" PRIu64, flag->min, flag->max);
        return refuse(detail, origin, flag, value, why);
    }
    memcpy((uint8_t *)o + flag->offset, &number, sizeof number);
    return true;
}

static bool parse_number(const char *value, uint64_t *ret_number, const char **ret_end)
{
    if (*value < '0' || *value > '9')
        return false;
    char *end;
    errno = 0;
    *ret_number = strtoull(value, &end, 10);
    *ret_end = end;
    return errno == 0;
}

/* Go's time.ParseDuration, whole numbers alone: "1h30m", "100ms", "0". */
static bool parse_duration(const char *value, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    if (strcmp(value, "0") == 0) {
        *ret_ms = 0;
        return true;
    }
    uint64_t total = 0;
    for (const char *at = value; at == value || *at != '\0';) {
        uint64_t number;
        if (!parse_number(at, &number, &at))
            return false;
        size_t unit_bytes = strcspn(at, "0123456789");
        uint64_t unit_ms = 0;
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            if (strlen(units[i].unit) == unit_bytes && memcmp(units[i].unit, at, unit_bytes) == 0)
                unit_ms = units[i].ms;
        }
        uint64_t part;
        if (unit_ms == 0 || __builtin_mul_overflow(number, unit_ms, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
        at += unit_bytes;
    }
    *ret_ms = total;
    return true;
}

/* The values of Go's strconv.ParseBool. */
static bool parse_bool(const char *value, bool *ret_bool)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        bool is_yes = strcmp(value, yes[i]) == 0;
        if (is_yes || strcmp(value, no[i]) == 0) {
            *ret_bool = is_yes;
            return true;
        }
    }
    return false;
}

static void warn_ignored(struct options *o, const struct options_flag *flag, const char *origin)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s%s has no effect: %s", origin, flag->name, flag->help);
    const char *kept = keep(o, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    if (kept && o->warning_count < OPTIONS_WARNINGS_MAX)
        o->warnings[o->warning_count++] = kept;
}

bool options_set(struct options *o, const struct options_flag *flag, const char *value,
                 const char *origin, char *detail)
{
    uint64_t number;
    const char *end;
    bool truth;
    switch (flag->kind) {
    case OPTIONS_TEXT: {
        const char *text = keep(o, value, strlen(value));
        memcpy((uint8_t *)o + flag->offset, &text, sizeof text);
        return text || refuse(detail, origin, flag, value, "is too long");
    }
    case OPTIONS_URLS:
        return set_urls(o, flag, value, origin, detail);
    case OPTIONS_NUMBER:
        if (!parse_number(value, &number, &end) || *end != '\0')
            return refuse(detail, origin, flag, value, "is not a whole number");
        return set_number(o, flag, number, value, origin, detail);
    case OPTIONS_DURATION:
        if (!parse_duration(value, &number))
            return refuse(detail, origin, flag, value, "is not a duration such as 5s or 2h");
        return set_number(o, flag, number, value, origin, detail);
    case OPTIONS_BOOL:
        if (!parse_bool(value, &truth))
            return refuse(detail, origin, flag, value, "is neither true nor false");
        memcpy((uint8_t *)o + flag->offset, &truth, sizeof truth);
        return true;
    case OPTIONS_IGNORED:
        if (strcmp(value, flag->initial) != 0)
            warn_ignored(o, flag, origin);
        return true;
    case OPTIONS_REFUSED:
        /* Its default changes nothing, so scripts that spell it out keep working. */
        if (strcmp(value, flag->initial) == 0 || (value[0] == '\0'))
            return true;
        return refuse(detail, origin, flag, value, flag->help);
    }
    return false;
}

/* ---- where values come from ---- */

static bool set_defaults(struct options *o, char *detail)
{
    for (size_t i = 0; i < options_flag_count; i++) {
        if (!options_set(o, &options_flags[i], options_flags[i].initial, "--", detail))
            return false;
    }
    return true;
}

/* "ETCD_LISTEN_CLIENT_URLS" -> "listen-client-urls" */
static size_t flag_name_of_variable(const char *variable, char *name, size_t name_bytes_max)
{
    size_t n = 0;
    for (; variable[n] != '=' && variable[n] != '\0' && n < name_bytes_max; n++) {
        char c = variable[n];
        name[n] = (char)(c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return n;
}

static bool set_environment(struct options *o, char *const *environment, char *detail)
{
    static const char prefix[] = "ETCD_";
    for (; *environment; environment++) {
        if (strncmp(*environment, prefix, sizeof prefix - 1) != 0)
            continue;
        const char *variable = *environment + sizeof prefix - 1;
        const char *equals = strchr(variable, '=');
        char name[64];
        size_t name_bytes = flag_name_of_variable(variable, name, sizeof name);
        const struct options_flag *flag = options_flag_find(name, name_bytes);
        /* An unknown variable is somebody else's (a Kubernetes service's, say). */
        if (flag && equals && !options_set(o, flag, equals + 1, "the environment's ", detail))
            return false;
    }
    return true;
}

static bool set_argument(struct options *o, int argc, char *const *argv, int *i, char *detail)
{
    const char *argument = argv[*i];
    if (argument[0] != '-') {
        snprintf(detail, OPTIONS_DETAIL_BYTES,
                 "\"%.100s\" is not a flag; holdfastd takes flags alone, see --help", argument);
        return false;
    }
    const char *name = argument + 1 + (argument[1] == '-');
    size_t name_bytes = strcspn(name, "=");
    const struct options_flag *flag = options_flag_find(name, name_bytes);
    if (!flag) {
        snprintf(detail, OPTIONS_DETAIL_BYTES,
                 "unknown flag --%.*s; the nearest known one is --%s, see --help",
                 (int)(name_bytes < 100 ? name_bytes : 100), name,
                 options_flag_nearest(name, name_bytes));
        return false;
    }
    const char *value = name[name_bytes] == '=' ? name + name_bytes + 1 : NULL;
    /* As with Go's flag package: a boolean takes its value behind "=" alone. */
    bool is_bool = strcmp(flag->initial, "true") == 0 || strcmp(flag->initial, "false") == 0;
    if (!value && is_bool)
        value = "true";
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    if (!value) {
        snprintf(detail, OPTIONS_DETAIL_BYTES, "--%s needs a value", flag->name);
        return false;
    }
    return options_set(o, flag, value, "--", detail);
}

static bool is_word(const char *argument, const char *a, const char *b)
{
    return strcmp(argument, a) == 0 || strcmp(argument, b) == 0;
}

static bool set_arguments(struct options *o, int argc, char *const *argv, char *detail)
{
    for (int i = 1; i < argc; i++) {
        if (is_word(argv[i], "--help", "-h"))
            o->wants_help = true;
        else if (is_word(argv[i], "--version", "-version"))
            o->wants_version = true;
        else if (!set_argument(o, argc, argv, &i, detail))
            return false;
    }
    return true;
}

/* ---- what must hold between them ---- */

static bool complain(char *detail, const char *text)
{
    snprintf(detail, OPTIONS_DETAIL_BYTES, "%s", text);
    return false;
}

static bool is_one_of(const char *value, const char *const *known)
{
    for (; *known; known++) {
        if (strcmp(value, *known) == 0)
            return true;
    }
    return false;
}

static bool check(struct options *o, char *detail)
{
    static const char *const states[] = { "new", "existing", NULL };
    static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
    static const char *const formats[] = { "json", "console", NULL };
    if (o->name[0] == '\0')
        return complain(detail, "--name must not be empty");
    if (o->election_timeout_ms < 5 * o->heartbeat_interval_ms)
        return complain(detail, "--election-timeout must be at least 5 times --heartbeat-interval");
    if (!is_one_of(o->initial_cluster_state, states))
        return complain(detail, "--initial-cluster-state must be new or existing");
    if (!is_one_of(o->log_level, levels))
        return complain(detail, "--log-level must be debug, info, warn or error");
    if (!is_one_of(o->log_format, formats))
        return complain(detail, "--log-format must be json or console");
    if (o->listen_client_urls.count == 0 || o->listen_peer_urls.count == 0 ||
        o->advertise_client_urls.count == 0)
        return complain(detail, "--listen-client-urls, --advertise-client-urls and "
                                "--listen-peer-urls must not be empty");
    return true;
}

/* Defaults that depend on other flags (etcd: embed/config.go). */
static bool complete(struct options *o, char *detail)
{
    char text[OPTIONS_DETAIL_BYTES];
    if (o->data_dir[0] == '\0') {
        int n = snprintf(text, sizeof text, "%s.etcd", o->name);
        o->data_dir = (size_t)n < sizeof text ? keep(o, text, (size_t)n) : NULL;
    }
    if (o->initial_cluster[0] == '\0') {
        int n = snprintf(text, sizeof text, "%s=%s", o->name, o->initial_advertise_peer_urls);
        o->initial_cluster = (size_t)n < sizeof text ? keep(o, text, (size_t)n) : NULL;
    }
    if (!o->data_dir || !o->initial_cluster)
        return complain(detail, "--name or --initial-advertise-peer-urls is too long");
    return true;
}

bool options_parse(struct options *o, int argc, char *const *argv, char *const *environment,
                   char detail[OPTIONS_DETAIL_BYTES])
{
    *o = (struct options){ 0 };
    arena_init(&o->texts, OPTIONS_VALUE_BYTES_MAX);
    if (!set_defaults(o, detail) || !set_environment(o, environment, detail) ||
        !set_arguments(o, argc, argv, detail))
        return false;
    if (o->config_file[0] != '\0') {
        const char *path = o->config_file;
        if (!set_defaults(o, detail) || !options_read_file(o, path, detail))
            return false;
    }
    return complete(o, detail) && check(o, detail);
}

void options_done(struct options *o)
{
    arena_done(&o->texts);
}

void options_print_help(int fd)
{
    dprintf(fd,
            "usage: holdfastd [flags]\n\n"
            "A member of a Holdfast cluster. Flags are etcd's, and so are their ETCD_ variables."
            "\n\n");
    for (size_t i = 0; i < options_flag_count; i++) {
        const struct options_flag *flag = &options_flags[i];
        if (flag->kind == OPTIONS_IGNORED || flag->kind == OPTIONS_REFUSED)
            continue;
        dprintf(fd, "  --%-28s %s%s%s%s\n", flag->name, flag->help, flag->initial[0] ? " (" : "",
                flag->initial, flag->initial[0] ? ")" : "");
    }
    dprintf(fd,
            "\nExit codes: 0 ok, 1 failure, 2 usage, 3 address in use, 4 data of another "
            "cluster,\n5 data in use, 6 disk full, 7 corrupt data, 8 disk failure, 9 blank disk "
            "under an old\nname, 10 kernel lacks io_uring, 11 data of a newer version.\n");
}
