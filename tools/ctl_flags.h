/* ctl_flags.h: holdfastctl's commands and flags, from one table, and the parser over it.
 *
 * Parsing, help and suggestions all read CTL_FLAGS and ctl_commands (ctl_commands.c); a flag or
 * a command that is not there does not exist.
 *
 * Owner:    parsed values are views of the words that were parsed.
 * Thread:   any. Nothing global changes.
 * Bounds:   CTL_ARGUMENT_COUNT_MAX positional arguments, CTL_ENDPOINT_COUNT_MAX endpoints.
 * Errors:   struct ctl_error: what to print after "Error: ", and the exit code.
 */
#ifndef TOOLS_CTL_FLAGS_H
#define TOOLS_CTL_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* etcd: pkg/cobrautl/error.go. Scripts test these. */
enum ctl_exit {
    CTL_EXIT_SUCCESS = 0,
    CTL_EXIT_ERROR = 1,
    CTL_EXIT_BAD_CONNECTION = 2,
    CTL_EXIT_INVALID_INPUT = 3, /* of txn */
    CTL_EXIT_BAD_FEATURE = 4,   /* a flag's value is none that it takes */
    CTL_EXIT_INTERRUPTED = 5,
    CTL_EXIT_IO = 6,
    CTL_EXIT_BAD_ARGS = 128,
};

enum {
    CTL_ARGUMENT_COUNT_MAX = 16,
    CTL_ENDPOINT_COUNT_MAX = 64,
    CTL_ERROR_BYTES_MAX = 2048,
};

struct ctl_error {
    enum ctl_exit code;
    char text[CTL_ERROR_BYTES_MAX]; /* cut when longer */
};

/* Fills *ret_error and returns false, so that a check can end with it. */
bool ctl_fail(struct ctl_error *ret_error, enum ctl_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

enum ctl_flag_type {
    CTL_TYPE_BOOL,
    CTL_TYPE_INT,
    CTL_TYPE_TEXT,
    CTL_TYPE_DURATION,
    CTL_TYPE_LIST, /* commas, and repeatable */
};

/* id, name, letter, type, default, help. The first ones, to CTL_GLOBAL_FLAG_COUNT, belong to
 * every command and have a twin in the environment. */
#define CTL_FLAGS(X)                                                                            \
    X(ENDPOINTS, "endpoints", 0, LIST, "127.0.0.1:2379", "where to call, host:port,host:port")  \
    X(DIAL_TIMEOUT, "dial-timeout", 0, DURATION, "2s", "of one attempt to connect")             \
    X(COMMAND_TIMEOUT, "command-timeout", 0, DURATION, "5s", "of one call with its retries")    \
    X(WRITE_OUT, "write-out", 'w', TEXT, "simple", "format: simple, json, fields or table")     \
    X(HEX, "hex", 0, BOOL, "false", "print keys, values and ids as hexadecimal digits")         \
    X(DEBUG, "debug", 0, BOOL, "false", "tell on stderr what is connected and called")          \
    X(MAX_RECV_BYTES, "max-recv-bytes", 0, INT, "0", "limit of a response; 0: 2 GiB")           \
    X(KEEPALIVE_TIME, "keepalive-time", 0, DURATION, "2s", "accepted; connections are short")   \
    X(KEEPALIVE_TIMEOUT, "keepalive-timeout", 0, DURATION, "6s", "accepted, as above")          \
    X(INSECURE_TRANSPORT, "insecure-transport", 0, BOOL, "true", "accepted; there is no other") \
    X(INSECURE_SKIP, "insecure-skip-tls-verify", 0, BOOL, "false", "accepted; without meaning") \
    X(INSECURE_DISCOVERY, "insecure-discovery", 0, BOOL, "true", "accepted; without meaning")   \
    X(HELP, "help", 'h', BOOL, "false", "print help for a command")                             \
    X(PUT_LEASE, "lease", 0, TEXT, "0", "lease to attach to the key, in hexadecimal")           \
    X(PUT_PREV_KV, "prev-kv", 0, BOOL, "false", "print the key as it was before")               \
    X(PUT_IGNORE_VALUE, "ignore-value", 0, BOOL, "false", "keep the key's current value")       \
    X(PUT_IGNORE_LEASE, "ignore-lease", 0, BOOL, "false", "keep the key's current lease")       \
    X(GET_CONSISTENCY, "consistency", 0, TEXT, "l", "l: linearizable, s: serializable")         \
    X(GET_ORDER, "order", 0, TEXT, "", "ASCEND or DESCEND")                                     \
    X(GET_SORT_BY, "sort-by", 0, TEXT, "", "CREATE, KEY, MODIFY, VALUE or VERSION")             \
    X(GET_LIMIT, "limit", 0, INT, "0", "at most so many keys; 0: all")                          \
    X(GET_PREFIX, "prefix", 0, BOOL, "false", "all keys that begin with KEY")                   \
    X(GET_FROM_KEY, "from-key", 0, BOOL, "false", "all keys from KEY on, in byte order")        \
    X(GET_REV, "rev", 0, INT, "0", "as of this revision; 0: the newest")                        \
    X(GET_KEYS_ONLY, "keys-only", 0, BOOL, "false", "keys without their values")                \
    X(GET_COUNT_ONLY, "count-only", 0, BOOL, "false", "how many keys (with -w fields)")         \
    X(GET_VALUE_ONLY, "print-value-only", 0, BOOL, "false", "values alone (with -w simple)")    \
    X(GET_MIN_CREATE, "min-create-rev", 0, INT, "0", "keys created at this revision or later")  \
    X(GET_MAX_CREATE, "max-create-rev", 0, INT, "0", "keys created at this revision or before") \
    X(GET_MIN_MOD, "min-mod-rev", 0, INT, "0", "keys modified at this revision or later")       \
    X(GET_MAX_MOD, "max-mod-rev", 0, INT, "0", "keys modified at this revision or before")      \
    X(DEL_PREFIX, "prefix", 0, BOOL, "false", "all keys that begin with KEY")                   \
    X(DEL_FROM_KEY, "from-key", 0, BOOL, "false", "all keys from KEY on, in byte order")        \
    X(DEL_PREV_KV, "prev-kv", 0, BOOL, "false", "print the keys that were deleted")             \
    X(DEL_RANGE, "range", 0, BOOL, "false", "yes, a range: do not wait before deleting it")     \
    X(TXN_INTERACTIVE, "interactive", 'i', BOOL, "false", "say which part is asked for")        \
    X(COMPACT_PHYSICAL, "physical", 0, BOOL, "false", "wait until the disk has let go of it")   \
    X(ENDPOINT_CLUSTER, "cluster", 0, BOOL, "false", "of all members, not of --endpoints")      \
    X(HASHKV_REV, "rev", 0, INT, "0", "hash up to this revision; 0: the newest")                \
    X(MEMBER_CONSISTENCY, "consistency", 0, TEXT, "l", "l: linearizable, s: serializable")

enum ctl_flag_id {
#define X(id, name, letter, type, initial, help) CTL_FLAG_##id,
    CTL_FLAGS(X)
#undef X
        CTL_FLAG_COUNT,
    CTL_GLOBAL_FLAG_COUNT = CTL_FLAG_HELP + 1,
};

struct ctl_flag {
    const char *name;
    char letter; /* 0: none */
    enum ctl_flag_type type;
    const char *initial;
    const char *help;
};

extern const struct ctl_flag ctl_flags[CTL_FLAG_COUNT];

struct ctl;

struct ctl_command {
    const char *name;      /* one word or two */
    const char *arguments; /* for the usage line */
    const char *summary;
    const char *details; /* paragraphs, may be NULL */
    enum ctl_exit (*run)(struct ctl *ctl);
    const enum ctl_flag_id *flags; /* ends with CTL_FLAG_COUNT; may be NULL */
};

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;

struct ctl_value {
    bool given; /* on the command line or in the environment */
    bool is_true;
    int64_t number;
    uint64_t ms;
    struct slice text; /* NUL-terminated */
};

struct ctl_args {
    const struct ctl_command *command; /* NULL: none was named */
    struct slice group;                /* the word alone, when the subcommand is missing */
    struct ctl_value values[CTL_FLAG_COUNT];
    struct slice endpoints[CTL_ENDPOINT_COUNT_MAX];
    size_t endpoint_count;
    struct slice arguments[CTL_ARGUMENT_COUNT_MAX]; /* without the command's words */
    size_t argument_count;
};

/* Words as a shell splits them, without the program's name. Each is followed by a NUL that its
 * size does not count. Unknown flags and commands name the nearest known one. */
bool ctl_parse(struct ctl_args *ret_args, const struct slice *words, size_t word_count,
               struct ctl_error *ret_error) __attribute__((warn_unused_result));

/* Global flags that were not given take HOLDFASTCTL_NAME, else ETCDCTL_NAME, from "NAME=value"
 * strings. *ret_unknown is the first variable of ours that is no flag, or NULL. */
bool ctl_parse_environment(struct ctl_args *args, char *const *environment,
                           const char **ret_unknown, struct ctl_error *ret_error)
    __attribute__((warn_unused_result));

/* The variable of a global flag, without its prefix: COMMAND_TIMEOUT. */
void ctl_flag_variable(enum ctl_flag_id id, char *ret_name, size_t size);

/* Whether this command takes the flag: its own and the global ones. */
bool ctl_command_takes(const struct ctl_command *command, enum ctl_flag_id id);

#endif
