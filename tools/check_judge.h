/* check_judge.h: all that can be said of a recorded history, in one call.
 *
 * First by revisions (check_revision.h): where every outcome is known that is the whole truth.
 * Then, if some are not, key by key (check_keys.h), which places unknown writes as well. Checkers
 * of what watchers were told and of when leases ended belong here, too.
 *
 * Thread: any. Owner: nothing is kept.
 */
#ifndef TOOLS_CHECK_JUDGE_H
#define TOOLS_CHECK_JUDGE_H

#include "tools/check_calls.h"

/* CHECK_UNKNOWN: nothing wrong was found, but the search of a key ran out of its budget. */
enum check_verdict check_judge(const struct check_history *h, int64_t base_revision,
                               const struct check_wgl_budget *budget,
                               struct check_report *ret_report);

#endif
