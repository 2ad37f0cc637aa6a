/* history.h: a recorded history as EDN in Jepsen's form, one map a line.
 *
 *   registers  :read :write :delete :cas    [k v], [k [old new]]; :write nil is a delete
 *   counters   :read :add                   [k n], [k 1]
 *   lists      :txn                         [[:append k x] [:r k [x y]]], as Elle reads them
 *   the rest   :txn                         [[:w k v] [:r k v]], one :r for each key of a range
 * Beside Jepsen's keys each completion has :revision and :node; a history so written can be judged
 * again by the checker's own binary.
 *
 * Thread: any. Owner: nothing is kept.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include <stdio.h>

#include "tools/check_history.h"

enum history_class { HISTORY_ACCOUNT, HISTORY_COUNTER, HISTORY_LIST, HISTORY_REGISTER };

/* classes: one history_class a key. False: the file took it not. */
bool history_write_edn(const struct check_history *h, const uint8_t *classes, FILE *to);

#endif
