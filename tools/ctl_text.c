#include "tools/ctl_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tools/ctl_utf8.h"

void text_print(FILE *out, struct slice bytes)
{
    if (bytes.size > 0)
        IGNORE(fwrite(bytes.data, 1, bytes.size, out) != bytes.size, "the stream keeps its error");
}

/* The letter after a backslash for a control character, or 0. */
static char escape_letter(uint32_t c)
{
    static const char letters[] = {
        [7] = 'a', [8] = 'b', [9] = 't', [10] = 'n', [11] = 'v', [12] = 'f', [13] = 'r'
    };
    return c < sizeof letters ? letters[c] : 0;
}

void text_print_quoted(FILE *out, struct slice bytes)
{
    fputc('"', out);
    while (bytes.size > 0) {
        uint32_t point = 0;
        size_t size = utf8_decode(bytes, &point);
        if (size == 0) {
            fprintf(out, "\\x%02x", bytes.data[0]);
            size = 1;
        } else if (point == '"' || point == '\\') {
            fprintf(out, "\\%c", (char)point);
        } else if (utf8_is_printable(point)) {
            text_print(out, slice_of(bytes.data, size));
        } else if (escape_letter(point) != 0) {
            fprintf(out, "\\%c", escape_letter(point));
        } else if (point < ' ' || point == 0x7f) {
            fprintf(out, "\\x%02x", (unsigned)point);
        } else {
            fprintf(out, point < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)point);
        }
        bytes = slice_of(bytes.data + size, bytes.size - size);
    }
    fputc('"', out);
}

void text_print_json(FILE *out, struct slice bytes)
{
    fputc('"', out);
    while (bytes.size > 0) {
        uint32_t point = 0;
        size_t size = utf8_decode(bytes, &point);
        if (size == 0) {
            fputs("\\ufffd", out);
            size = 1;
        } else if (point == '"' || point == '\\') {
            fprintf(out, "\\%c", (char)point);
        } else if (point == '\n' || point == '\r' || point == '\t') {
            fprintf(out, "\\%c", escape_letter(point));
        } else if (point < ' ' || point == '<' || point == '>' || point == '&' || point == 0x2028 ||
                   point == 0x2029) {
            fprintf(out, "\\u%04x", (unsigned)point);
        } else {
            text_print(out, slice_of(bytes.data, size));
        }
        bytes = slice_of(bytes.data + size, bytes.size - size);
    }
    fputc('"', out);
}

void text_print_base64(FILE *out, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.data[i + 2] : 0;
        fputc(digits[group >> 18], out);
        fputc(digits[group >> 12 & 63], out);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', out);
        fputc(left > 2 ? digits[group & 63] : '=', out);
    }
}

void text_print_hex(FILE *out, struct slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        fprintf(out, "\\x%02x", bytes.data[i]);
}

void text_format_bytes(char *ret_text, uint64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    size_t unit = 0;
    double size = (double)bytes;
    while (size >= 1000) {
        size /= 1000;
        unit++;
    }
    ASSERT(unit < sizeof units / sizeof units[0]);
    /* Two digits, rounded half up at the first decimal before the format rounds again. */
    double rounded = (double)(uint64_t)(size * 10 + 0.5) / 10;
    const char *shape = unit > 0 && rounded < 10 ? "%.1f %s" : "%.0f %s";
    int made = snprintf(ret_text, TEXT_SIZE_BYTES_MAX, shape, rounded, units[unit]);
    ASSERT(made > 0 && made < TEXT_SIZE_BYTES_MAX);
}

/* A number and its fraction of `unit_ns`, without trailing zeros. */
static int format_fraction(char *text, size_t size, uint64_t ns, uint64_t unit_ns, const char *unit)
{
    uint64_t rest = ns % unit_ns;
    int digits = 0;
    for (uint64_t u = unit_ns; u > 1; u /= 10)
        digits++;
    while (digits > 0 && rest % 10 == 0) {
        rest /= 10;
        digits--;
    }
    if (digits == 0)
        return snprintf(text, size, "%" PRIu64 "%s", ns / unit_ns, unit);
    return snprintf(text, size, "%" PRIu64 ".%0*" PRIu64 "%s", ns / unit_ns, digits, rest, unit);
}

void text_format_duration(char *ret_text, uint64_t ns)
{
    const uint64_t second = 1000000000;
    size_t room = TEXT_DURATION_BYTES_MAX;
    int made = 0;
    if (ns < 1000) {
        made = snprintf(ret_text, room, ns == 0 ? "0s" : "%" PRIu64 "ns", ns);
    } else if (ns < 1000000) {
        made = format_fraction(ret_text, room, ns, 1000, "\u00b5s");
    } else if (ns < second) {
        made = format_fraction(ret_text, room, ns, 1000000, "ms");
    } else {
        uint64_t minutes = ns / (60 * second);
        if (minutes >= 60)
            made = snprintf(ret_text, room, "%" PRIu64 "h%" PRIu64 "m", minutes / 60, minutes % 60);
        else if (minutes > 0)
            made = snprintf(ret_text, room, "%" PRIu64 "m", minutes);
        ASSERT(made >= 0 && (size_t)made < room);
        made +=
            format_fraction(ret_text + made, room - (size_t)made, ns % (60 * second), second, "s");
    }
    ASSERT(made > 0 && (size_t)made < room);
}

static double duration_unit_ms(const char **text)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = { { "ns", 1e-6 },  { "us", 1e-3 }, { "\u00b5s", 1e-3 }, { "ms", 1 },
                  { "h", 3600e3 }, { "s", 1e3 },   { "m", 60e3 } };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t size = strlen(units[i].name);
        if (strncmp(*text, units[i].name, size) == 0) {
            *text += size;
            return units[i].ms;
        }
    }
    return 0;
}

bool text_parse_duration(const char *text, uint64_t *ret_ms, const char **ret_why)
{
    const char *at = text;
    double total_ms = 0;
    *ret_why = "invalid duration";
    if (*at == '\0' || strspn(text, "0123456789.") == strlen(text)) {
        *ret_why = *at == '\0' ? "invalid duration" : "missing unit in duration";
        return false;
    }
    while (*at != '\0') {
        size_t digits = strspn(at, "0123456789.");
        char number[TEXT_DURATION_BYTES_MAX];
        if (digits == 0 || digits >= sizeof number)
            return false;
        memcpy(number, at, digits);
        number[digits] = '\0';
        char *end = NULL;
        double value = strtod(number, &end);
        if (*end != '\0')
            return false;
        at += digits;
        double unit_ms = duration_unit_ms(&at);
        if (unit_ms == 0) {
            *ret_why = *at == '\0' ? "missing unit in duration" : "unknown unit in duration";
            return false;
        }
        total_ms += value * unit_ms;
    }
    if (total_ms > (double)INT32_MAX)
        return false;
    uint64_t ms = (uint64_t)total_ms;
    *ret_ms = ms + ((double)ms < total_ms ? 1 : 0);
    return true;
}

bool text_parse_int(const char *text, int base, int64_t *ret_value, const char **ret_why)
{
    const char *digits = text + (*text == '-' || *text == '+');
    *ret_why = "invalid syntax";
    bool has_prefix = base == 16 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (digits[0] == '\0' || strspn(digits, "0123456789abcdefABCDEFxX") != strlen(digits) ||
        has_prefix)
        return false;
    errno = 0;
    char *end = NULL;
    long long value = strtoll(text, &end, base);
    if (*end != '\0')
        return false;
    if (errno == ERANGE) {
        *ret_why = "value out of range";
        return false;
    }
    *ret_value = value;
    return true;
}

bool text_parse_bool(const char *text, bool *ret_value)
{
    static const char *const words[] = { "1", "t", "T", "true",  "TRUE",  "True",
                                         "0", "f", "F", "false", "FALSE", "False" };
    size_t count = sizeof words / sizeof words[0];
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_value = i < count / 2;
            return true;
        }
    }
    return false;
}

/* The value of `count` digits in `base`; false when they are not all there. */
static bool unquote_digits(struct slice text, size_t count, uint32_t base, uint32_t *ret_value)
{
    uint32_t value = 0;
    if (text.size < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint8_t c = text.data[i];
        uint32_t digit = base;
        if (c >= '0' && c <= '9')
            digit = c - (uint32_t)'0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20u) - 'a' + 10;
        if (digit >= base)
            return false;
        value = value * base + digit;
    }
    *ret_value = value;
    return true;
}

/* One escape after its backslash: bytes read, 0 when it is none of Go's. */
static size_t unquote_escape(struct slice text, uint8_t *ret_bytes, size_t *ret_size)
{
    static const char letters[] = "abfnrtv\\\"";
    static const char meanings[] = "\a\b\f\n\r\t\v\\\"";
    uint8_t c = text.data[0];
    const char *letter = c == 0 ? NULL : strchr(letters, c);
    if (letter != NULL) {
        ret_bytes[0] = (uint8_t)meanings[letter - letters];
        *ret_size = 1;
        return 1;
    }
    struct slice rest = slice_of(text.data + 1, text.size - 1);
    uint32_t value = 0;
    *ret_size = 1;
    if (c == 'x' && unquote_digits(rest, 2, 16, &value)) {
        ret_bytes[0] = (uint8_t)value;
        return 3;
    }
    if (c >= '0' && c <= '7' && unquote_digits(text, 3, 8, &value) && value <= 0xff) {
        ret_bytes[0] = (uint8_t)value;
        return 3;
    }
    size_t digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0 || !unquote_digits(rest, digits, 16, &value))
        return 0;
    *ret_size = utf8_encode(value, ret_bytes);
    return *ret_size == 0 ? 0 : digits + 1;
}

size_t text_unquote(struct slice text, uint8_t *ret_bytes, size_t *ret_size)
{
    if (text.size < 2 || (text.data[0] != '"' && text.data[0] != '`'))
        return 0;
    uint8_t quote = text.data[0];
    size_t made = 0;
    for (size_t i = 1; i < text.size;) {
        uint8_t c = text.data[i];
        if (c == quote) {
            *ret_size = made;
            return i + 1;
        }
        i++;
        if (quote == '`' || c != '\\') {
            ret_bytes[made++] = c;
            continue;
        }
        size_t size = 0;
        size_t read = i == text.size ? 0
                                     : unquote_escape(slice_of(text.data + i, text.size - i),
                                                      ret_bytes + made, &size);
        if (read == 0)
            return 0;
        i += read;
        made += size;
    }
    return 0;
}

unsigned text_distance(const char *a, const char *b)
{
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    unsigned rows[3][TEXT_WORD_BYTES_MAX + 1]; /* row i in slot i % 3 */
    if (a_size > TEXT_WORD_BYTES_MAX || b_size > TEXT_WORD_BYTES_MAX)
        return TEXT_WORD_BYTES_MAX;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && rows[(i - 2) % 3][j - 2] + 1 < best)
                best = rows[(i - 2) % 3][j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_size % 3][b_size];
}
