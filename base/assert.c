#include "base/assert.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_bool is_failing;

bool assert_is_failing(void)
{
    return atomic_load(&is_failing);
}

_Noreturn void assert_fail(const char *expr, const char *file, int line, const char *func)
{
    atomic_store(&is_failing, true);
    fprintf(stderr, "holdfast: broken invariant: %s (%s:%d, %s); stopping, please report this\n",
            expr, file, line, func);
    abort();
}
