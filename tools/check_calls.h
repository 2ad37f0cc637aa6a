/* check_calls.h: operations in the terms of the models, whatever history they come from.
 *
 * Values are numbers of texts (check_history's); 0 is nil. A key is a number of a text, too.
 * Owner: the caller of open. Thread: one at a time.
 */
#ifndef TOOLS_CHECK_CALLS_H
#define TOOLS_CHECK_CALLS_H

#include "tools/check_history.h"
#include "tools/check_wgl.h"

enum check_call_kind {
    CALL_READ,   /* is: the value */
    CALL_WRITE,  /* to: the value; 0 deletes */
    CALL_CAS,    /* is and to */
    CALL_ADD,    /* to: a number */
    CALL_APPEND, /* to: the element; in transactions alone */
    CALL_TXN,    /* parts */
};

struct check_call {
    enum check_call_kind kind;
    uint32_t key;
    bool is_anything; /* what it read is not known */
    bool is_number;   /* of a counter: what follows are numbers, not values */
    int64_t is;
    int64_t to;
    int64_t revision; /* of the answer; 0: unknown */
    struct check_part parts;
    uint64_t invoke_i;
    uint64_t end_i; /* UINT64_MAX: unknown outcome */
    uint64_t where; /* the place of its invocation in the file or history, for people */
    int64_t process;
};

struct check_calls {
    struct check_call *calls;
    size_t count, capacity;
    struct check_call *parts; /* of transactions: READ, WRITE and APPEND */
    size_t part_count, part_capacity;
    struct check_history values; /* values and keys: texts by number */
    uint32_t key_count;          /* all keys are below */
};

/* False: out of memory. */
bool check_calls_open(struct check_calls *c);
void check_calls_close(struct check_calls *c);

/* Valid until the next one. NULL: out of memory. */
struct check_call *check_calls_add(struct check_calls *c);
struct check_call *check_calls_part(struct check_calls *c, struct check_call *txn);

enum check_model_kind {
    CHECK_CAS_REGISTER, /* nil at first; by key */
    CHECK_REGISTER,     /* the same with revisions: they never fall, and each write has its own */
    CHECK_COUNTER,      /* 0 at first; by key */
    CHECK_TXN,          /* registers and lists, all at once */
};

/* Key by key, or all at once for CHECK_TXN. */
enum check_verdict check_calls_judge(struct check_calls *c, enum check_model_kind kind,
                                     const struct check_wgl_budget *budget,
                                     struct check_report *ret_report);

/* One call as text. */
void check_call_describe(const struct check_calls *c, const struct check_call *call, char *to,
                         size_t room);

#endif
