/* ctl_txn_parse.h: the lines of `txn`, as etcdctl reads them.
 *
 * Owner:    the transaction owns all that its requests point to, until ctl_txn_done.
 * Bounds:   CTL_TXN_BYTES_MAX for everything that was parsed.
 * Errors:   CTL_EXIT_INVALID_INPUT and a text that quotes the line.
 */
#ifndef TOOLS_CTL_TXN_PARSE_H
#define TOOLS_CTL_TXN_PARSE_H

#include "base/arena.h"
#include "tools/ctl_flags.h"

#include "rpc.pb-c.h"

enum { CTL_TXN_BYTES_MAX = 256 << 20, CTL_TXN_WORD_COUNT_MAX = 32 };

struct ctl_txn_ops {
    Etcdserverpb__RequestOp **items;
    size_t count;
    size_t room;
};

struct ctl_txn {
    struct arena arena;
    Etcdserverpb__Compare **compares;
    size_t compare_count;
    size_t compare_room;
    struct ctl_txn_ops success;
    struct ctl_txn_ops failure;
};

void ctl_txn_init(struct ctl_txn *txn);
void ctl_txn_done(struct ctl_txn *txn);

/* One line without the white space around it, such as: mod("key") > "0" */
bool ctl_txn_add_compare(struct ctl_txn *txn, struct slice line, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

/* One line, such as: put key "a value" --lease=1f */
bool ctl_txn_add_op(struct ctl_txn *txn, struct ctl_txn_ops *ops, struct slice line,
                    struct ctl_error *ret_error) __attribute__((warn_unused_result));

/* Splits a line into words: plain, 'taken as it is' or "with Go's escapes". */
bool ctl_txn_split(struct arena *arena, struct slice line, struct slice *ret_words,
                   size_t *ret_count, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

#endif
