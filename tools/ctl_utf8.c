#include "tools/ctl_utf8.h"

#include <locale.h>
#include <wctype.h>

static bool is_scalar(uint32_t point)
{
    return point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
}

size_t utf8_decode(struct slice text, uint32_t *ret_point)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t first = text.data[0];
    if (first < 0x80) {
        *ret_point = first;
        return 1;
    }
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc0 || first >= 0xf8 || text.size < size)
        return 0;
    uint32_t point = first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text.data[i] & 0x3f);
    }
    if (point < smallest[size] || !is_scalar(point))
        return 0;
    *ret_point = point;
    return size;
}

size_t utf8_encode(uint32_t point, uint8_t *ret_bytes)
{
    if (!is_scalar(point))
        return 0;
    if (point < 0x80) {
        ret_bytes[0] = (uint8_t)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    uint32_t rest = point;
    for (size_t i = size - 1; i > 0; i--) {
        ret_bytes[i] = (uint8_t)(0x80 | (rest & 0x3f));
        rest >>= 6;
    }
    ret_bytes[0] = (uint8_t)((0xf00u >> size) | rest);
    return size;
}

/* Code points that the C library calls printable and Go does not: formatting characters,
 * private use, and every space but the first. */
static bool is_invisible(uint32_t point)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        { 0x00a0, 0x00a0 },   { 0x00ad, 0x00ad },   { 0x0600, 0x0605 },   { 0x061c, 0x061c },
        { 0x06dd, 0x06dd },   { 0x070f, 0x070f },   { 0x0890, 0x0891 },   { 0x08e2, 0x08e2 },
        { 0x1680, 0x1680 },   { 0x180e, 0x180e },   { 0x2000, 0x200f },   { 0x2028, 0x202f },
        { 0x205f, 0x206f },   { 0x3000, 0x3000 },   { 0xe000, 0xf8ff },   { 0xfeff, 0xfeff },
        { 0xfff9, 0xfffb },   { 0x110bd, 0x110bd }, { 0x110cd, 0x110cd }, { 0x13430, 0x1343f },
        { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe007f }, { 0xf0000, 0x10ffff },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (point >= ranges[i].first && point <= ranges[i].last)
            return true;
    }
    return false;
}

bool utf8_is_printable(uint32_t point)
{
    static locale_t utf8; /* made once, lives as long as the program */
    if (point < 0x80)
        return point >= 0x20 && point < 0x7f;
    if (utf8 == NULL)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    return utf8 != NULL && iswprint_l((wint_t)point, utf8) && !is_invisible(point);
}
