/* check_history.h: what clients of a key-value store did and were told, in memory.
 *
 * Every operation is a transaction: compares, then one of two lists of steps; a plain put, get or
 * delete is one step without compares. Keys are small numbers, values are interned: equal bytes,
 * equal number, and 0 stands for no value. A checker that identifies unknown writes needs each
 * written value to be unique; the recorder sees to that.
 *
 * Owner:  the caller of open; pointers into it live until the next addition.
 * Bounds: ops_max operations; past it, or out of memory, the adding functions say so.
 * Thread: one at a time.
 */
#ifndef TOOLS_CHECK_HISTORY_H
#define TOOLS_CHECK_HISTORY_H

#include "base/slice.h"

enum check_end {
    CHECK_OPEN, /* not completed: as good as CHECK_INFO */
    CHECK_OK,
    CHECK_FAIL, /* it had no effect and never will */
    CHECK_INFO, /* it may have taken effect, or may yet, once */
};

enum check_step_kind { CHECK_GET, CHECK_PUT, CHECK_DELETE, CHECK_STEP_KINDS };

/* A key-value pair as an answer showed it. */
struct check_seen {
    uint32_t key;
    uint32_t value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
};

struct check_step {
    enum check_step_kind kind;
    uint32_t key;
    uint32_t key_end; /* exclusive; key + 1 but for ranges */
    uint32_t value;   /* of a put */
    uint32_t limit;   /* of a get; 0: none */
    bool prev;        /* a put or delete that shows what was there before */
    /* What was answered, when the operation is CHECK_OK and took this branch. */
    int64_t count; /* keys in the whole range, or deleted */
    bool more;
    uint32_t seen_first;
    uint32_t seen_count;
};

enum check_target { CHECK_VALUE, CHECK_MOD, CHECK_CREATE, CHECK_VERSION };
enum check_relation { CHECK_EQUAL, CHECK_GREATER, CHECK_LESS, CHECK_NOT_EQUAL };

struct check_compare {
    enum check_target target;
    enum check_relation relation; /* of CHECK_VALUE: equal or not */
    uint32_t key;
    int64_t operand; /* a value's number, or a revision */
};

/* A part of history->steps or ->compares. */
struct check_part {
    uint32_t first;
    uint32_t count;
};

struct check_op {
    const char *f; /* static: what the client calls it */
    uint32_t process;
    uint32_t endpoint;
    uint64_t session;  /* one connection to one life of the endpoint; 0: unknown */
    uint64_t invoke_i; /* place among all invocations and completions */
    uint64_t end_i;    /* UINT64_MAX while CHECK_OPEN */
    uint64_t invoke_ns;
    uint64_t end_ns;
    enum check_end end;
    bool serializable;
    bool succeeded;      /* which branch was taken: true without compares */
    int64_t at_revision; /* a read of the past; 0: of the newest state */
    int64_t compacts;    /* a compaction up to there; 0: none */
    int64_t revision;    /* the header's, when CHECK_OK */
    struct check_part compares;
    struct check_part branches[2]; /* [1]: when all compares hold */
};

#define CHECK_OP_NONE    UINT32_MAX
#define CHECK_OP_SEVERAL (UINT32_MAX - 1)

struct check_value {
    uint64_t offset;
    uint32_t size;
    uint32_t op; /* the operation that puts it, or one of the below */
};

struct check_history {
    struct check_op *ops;
    size_t op_count, op_capacity, ops_max;
    struct check_step *steps;
    size_t step_count, step_capacity;
    struct check_compare *compares;
    size_t compare_count, compare_capacity;
    struct check_seen *seen;
    size_t seen_count, seen_capacity;
    struct check_value *values; /* [0]: none */
    size_t value_count, value_capacity;
    uint8_t *bytes;
    size_t byte_count, byte_capacity;
    uint32_t *value_slots; /* hash table: numbers of values */
    size_t value_slot_count;
    uint64_t next_i;
    uint32_t key_count;
};

/* False: out of memory. */
bool check_history_open(struct check_history *h, uint32_t key_count, size_t ops_max);
void check_history_close(struct check_history *h);

/* The number of these bytes; 0: out of memory. */
uint32_t check_history_value(struct check_history *h, struct slice bytes);
struct slice check_history_bytes(const struct check_history *h, uint32_t value);

/* Begins an operation; steps and compares that are added next are its own, branch by branch, until
 * the next one begins. NULL: ops_max, or out of memory. */
struct check_op *check_history_invoke(struct check_history *h, uint64_t now_ns);
bool check_history_compare(struct check_history *h, const struct check_compare *compare);
bool check_history_step(struct check_history *h, bool branch, const struct check_step *step);

/* Completes ops[i]; what was seen is added for one step at a time. */
void check_history_end(struct check_history *h, size_t i, enum check_end end, uint64_t now_ns);
bool check_history_see(struct check_history *h, struct check_step *step,
                       const struct check_seen *seen);

/* The branch that ran, or would have without compares. */
static inline struct check_part check_op_branch(const struct check_op *op)
{
    return op->branches[op->succeeded ? 1 : 0];
}

/* Puts or deletes in this branch. */
bool check_history_branch_writes(const struct check_history *h, const struct check_op *op,
                                 bool branch);
/* An OK operation that made a revision. */
bool check_history_op_wrote(const struct check_history *h, const struct check_op *op);

#endif
