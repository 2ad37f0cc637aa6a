/* check_keys.h: a history as calls on single keys, for check_calls.h's register model.
 *
 * Each operation is cut into what it did to each key. If there is a lawful order of the whole,
 * then of each key's part, too; so what this refuses is wrong, while what crosses keys is for
 * check_revision.h. Serializable reads and reads of the past promise no order and are left out.
 */
#ifndef TOOLS_CHECK_KEYS_H
#define TOOLS_CHECK_KEYS_H

#include "tools/check_calls.h"

/* Into calls that are open and empty. False: out of memory, or an operation of unknown outcome
 * writes a key in both of its branches. */
bool check_keys_load(struct check_calls *calls, const struct check_history *h);

#endif
