/* check_describe.h: one operation of a history as one line for people. */
#ifndef TOOLS_CHECK_DESCRIBE_H
#define TOOLS_CHECK_DESCRIBE_H

#include "tools/check_history.h"

/* Cut when it does not fit; always ended by a NUL. room > 0. */
void check_describe(const struct check_history *h, uint32_t op, char *to, size_t room);

#endif
