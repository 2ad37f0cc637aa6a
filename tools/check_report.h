/* check_report.h: what a checker of histories has to say. A plain value. */
#ifndef TOOLS_CHECK_REPORT_H
#define TOOLS_CHECK_REPORT_H

#include <stdint.h>

enum { CHECK_REPORT_TEXT_BYTES = 2048 };

enum check_verdict {
    CHECK_VALID,
    CHECK_INVALID,
    CHECK_UNKNOWN, /* the budget or the memory did not suffice */
};

struct check_report {
    enum check_verdict verdict;
    const char *rule; /* static: a few words; of a valid history NULL */
    uint32_t op;      /* the operation that cannot be, or UINT32_MAX */
    char text[CHECK_REPORT_TEXT_BYTES];
};

#endif
