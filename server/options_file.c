/* The configuration file: YAML as etcd's sample uses it for flags: one "name: value" a line,
 * comments, quotes. What nests (TLS sections, lists) belongs to what is not here yet, and is
 * refused rather than misread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/options_internal.h"

enum { LINE_BYTES_MAX = 8192 };

static bool line_error(char *detail, const char *path, unsigned line, const char *why)
{
    snprintf(detail, OPTIONS_DETAIL_BYTES, "%s:%u: %s", path, line, why);
    return false;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]))
        text[--size] = '\0';
    return text;
}

/* Takes quotes off, and a comment behind the value; NULL: a quote has no other, or more follows. */
static char *plain_value(char *value)
{
    if (value[0] == '"' || value[0] == '\'') {
        char *end = strchr(value + 1, value[0]);
        const char *rest = end ? end + 1 + strspn(end + 1, " \t") : "?";
        if (rest[0] != '\0' && rest[0] != '#')
            return NULL;
        *end = '\0';
        return value + 1;
    }
    char *comment = strstr(value, " #");
    if (comment)
        *comment = '\0';
    return trim(value);
}

static bool read_line(struct options *o, char *text, const char *path, unsigned line, char *detail)
{
    char *content = trim(text);
    if (content[0] == '\0' || content[0] == '#' || strcmp(content, "---") == 0)
        return true;
    if (content != text)
        return line_error(detail, path, line,
                          "an indented section; only plain \"name: value\" lines are known");
    char *colon = strchr(content, ':');
    if (!colon || (colon[1] != ' ' && colon[1] != '\0'))
        return line_error(detail, path, line, "not a \"name: value\" line");
    *colon = '\0';
    const struct options_flag *flag = options_flag_find(content, strlen(content));
    if (!flag) {
        char why[200];
        snprintf(why, sizeof why, "unknown name %.60s; the nearest known one is %s", content,
                 options_flag_nearest(content, strlen(content)));
        return line_error(detail, path, line, why);
    }
    const char *value = plain_value(trim(colon + 1));
    if (!value)
        return line_error(detail, path, line, "quotes that do not enclose the whole value");
    return options_set(o, flag, value, "the configuration file's ", detail);
}

bool options_read_file(struct options *o, const char *path, char *detail)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(detail, OPTIONS_DETAIL_BYTES, "cannot read the configuration file %s: %s", path,
                 strerror(errno));
        return false;
    }
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;
    bool ok = true;
    for (unsigned line = 1; ok && (size = getline(&text, &capacity, file)) > 0; line++) {
        if (size >= LINE_BYTES_MAX)
            ok = line_error(detail, path, line, "a line that is too long");
        else if (strlen(text) != (size_t)size)
            ok = line_error(detail, path, line, "a byte that is 0: this is no text");
        else
            ok = read_line(o, text, path, line, detail);
    }
    free(text);
    if (ok && ferror(file)) {
        snprintf(detail, OPTIONS_DETAIL_BYTES, "cannot read the configuration file %s", path);
        ok = false;
    }
    fclose(file);
    return ok;
}
