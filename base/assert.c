#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_fail(const char *expr, const char *file, int line, const char *func)
{
    fprintf(stderr, "holdfast: broken invariant: %s (%s:%d, %s); stopping, please report this\n",
            expr, file, line, func);
    abort();
}
