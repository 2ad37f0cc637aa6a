/* bench_answer.h: the few fields of an answer that the load needs, without unpacking it.
 *
 * Pure; any bytes are fine as input. A message may be cut off behind the field that is looked for.
 */
#ifndef TOOLS_BENCH_ANSWER_H
#define TOOLS_BENCH_ANSWER_H

#include "base/slice.h"

/* A RangeResponse: whether there is a key in it. */
bool bench_answer_has_key(struct slice message);

struct bench_answer_txn {
    bool succeeded;
    uint64_t revision;     /* of the header: that of the put, when it succeeded */
    uint64_t mod_revision; /* of the first key that the failure branch read; 0: none */
};

/* A TxnResponse of bench_request_txn's. False: it is none. */
bool bench_answer_txn(struct slice message, struct bench_answer_txn *ret_txn);

#endif
