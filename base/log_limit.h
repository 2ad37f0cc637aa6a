/* log_limit.h: how often something may be said about one somebody who can make it happen at will.
 *
 * A text that was not the last one at once, the same again after a minute; and no more than
 * LOG_LIMIT_PER_MINUTE of all of them: whoever alternates between faults fills no log either. In
 * place, zeroed: nothing was said yet.
 * Thread: one at a time.
 */
#ifndef BASE_LOG_LIMIT_H
#define BASE_LOG_LIMIT_H

#include "base/slice.h"

enum { LOG_LIMIT_MS = 60000, LOG_LIMIT_PER_MINUTE = 16 };

struct log_limit {
    uint64_t text_sum; /* of what was told last */
    uint64_t told_ms;
    uint64_t minute_ms; /* began then */
    uint32_t count;     /* told in it; 0: nothing ever */
};

/* Whether it is to be told now; if so it counts as told. now_ms never falls. */
bool log_limit_passes(struct log_limit *limit, struct slice text, uint64_t now_ms);

#endif
