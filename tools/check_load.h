/* check_load.h: a history in EDN, as calls for a model.
 *
 * Each form is a map with :type (:invoke :ok :fail :info), :f, :value and :process; what has no
 * number as :process (Jepsen's nemesis) is left out. :revision on a completion is taken where it
 * stands. By :f:
 *   :read :write :delete :cas     values v, or [k v] where keys are independent; cas [old new]
 *   :add                          a number, or [k number]
 *   :txn                          [[:r k v] [:w k v] [:append k v] ...]; the model of these takes
 *                                 the first row, too, with keys
 * Left out: :compact, and reads marked :serializable or :at-revision, which promise no order.
 * Errors: line, column and a text; nothing is guessed.
 */
#ifndef TOOLS_CHECK_LOAD_H
#define TOOLS_CHECK_LOAD_H

#include "tools/check_calls.h"

enum { CHECK_LOAD_ERROR_BYTES = 200 };

/* Into calls that are open and empty. False: *error says why. */
bool check_load(struct check_calls *calls, enum check_model_kind kind, struct slice text,
                char error[CHECK_LOAD_ERROR_BYTES]);

#endif
