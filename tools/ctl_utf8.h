/* ctl_utf8.h: UTF-8 as Go reads it (RFC 3629: no surrogates, no overlong forms). */
#ifndef TOOLS_CTL_UTF8_H
#define TOOLS_CTL_UTF8_H

#include "base/slice.h"

/* Bytes of the first code point, 1..4; 0: the first byte begins none. `text` is not empty. */
size_t utf8_decode(struct slice text, uint32_t *ret_point);

/* Bytes written, at most 4; 0: not a code point. */
size_t utf8_encode(uint32_t point, uint8_t *ret_bytes);

/* Whether Go's %q shows it as it is: letters, marks, numbers, punctuation, symbols and the
 * ASCII space. */
bool utf8_is_printable(uint32_t point);

#endif
