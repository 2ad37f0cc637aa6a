/* history.h: a recorded history as EDN in Jepsen's form, one map a line.
 *
 * One step on one register is :read, :write or :cas of [k v] or [k [old new]]; :write nil deletes.
 * All else is a :txn as Elle reads it, [[:append k x] [:r k [x y]] [:w k v]], with one :r for each
 * key of a range; where a compare did not hold it is a :fail. Compactions are :compact. Beside
 * Jepsen's keys a completion has :revision and :node, and :serializable or :at-revision marks reads
 * that promise no order. `holdfast-check --model txn` judges the whole file again.
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
