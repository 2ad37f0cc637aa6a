/* counts_check.h: whether a store's counts of live keys are what its key tree says.
 *
 * Thread: the caller's; in a read transaction of its own. Errors: what is wrong is a text.
 */
#ifndef TESTS_SUPPORT_COUNTS_CHECK_H
#define TESTS_SUPPORT_COUNTS_CHECK_H

#include "storage/store.h"

enum { COUNTS_CHECK_WHY_BYTES = 160 };

/* Walks all keys at the published revision, makes every row of the count tree from them, and
 * compares: no row differs, is missing, or too many. */
bool counts_are_right(struct store *store, char why[COUNTS_CHECK_WHY_BYTES]);

#endif
