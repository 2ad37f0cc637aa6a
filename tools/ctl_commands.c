#include "tools/ctl.h"

#define FLAGS(...)                  \
    (const enum ctl_flag_id[])      \
    {                               \
        __VA_ARGS__, CTL_FLAG_COUNT \
    }

const struct ctl_command ctl_commands[] = {
    {
        .name = "put",
        .arguments = "<key> [<value>]",
        .summary = "Puts the given key into the store",
        .details =
            "Without a value, the value is all of standard input, which may hold any bytes:\n"
            "    cat file | holdfastctl put key\n"
            "A value that begins with '-' goes after '--':\n"
            "    holdfastctl put key -- -1",
        .run = ctl_put_run,
        .flags = FLAGS(CTL_FLAG_PUT_LEASE, CTL_FLAG_PUT_PREV_KV, CTL_FLAG_PUT_IGNORE_VALUE,
                       CTL_FLAG_PUT_IGNORE_LEASE),
    },
    {
        .name = "get",
        .arguments = "<key> [range_end]",
        .summary = "Gets the key or a range of keys",
        .details = "A range is from <key> up to, but without, [range_end]. Keys and values are\n"
                   "printed one a line:\n"
                   "    holdfastctl get --prefix users/ --limit 10",
        .run = ctl_get_run,
        .flags = FLAGS(CTL_FLAG_GET_PREFIX, CTL_FLAG_GET_FROM_KEY, CTL_FLAG_GET_LIMIT,
                       CTL_FLAG_GET_ORDER, CTL_FLAG_GET_SORT_BY, CTL_FLAG_GET_REV,
                       CTL_FLAG_GET_KEYS_ONLY, CTL_FLAG_GET_COUNT_ONLY, CTL_FLAG_GET_VALUE_ONLY,
                       CTL_FLAG_GET_CONSISTENCY, CTL_FLAG_GET_MIN_CREATE, CTL_FLAG_GET_MAX_CREATE,
                       CTL_FLAG_GET_MIN_MOD, CTL_FLAG_GET_MAX_MOD),
    },
    {
        .name = "del",
        .arguments = "<key> [range_end]",
        .summary = "Removes the specified key or range of keys [key, range_end)",
        .details = "Prints how many keys were deleted.",
        .run = ctl_del_run,
        .flags = FLAGS(CTL_FLAG_DEL_PREFIX, CTL_FLAG_DEL_FROM_KEY, CTL_FLAG_DEL_PREV_KV,
                       CTL_FLAG_DEL_RANGE),
    },
    {
        .name = "txn",
        .arguments = "",
        .summary = "Processes all the requests in one transaction",
        .details = "Reads three parts from standard input, each ended by an empty line: compares,\n"
                   "requests for when all of them hold, and requests for when one does not:\n"
                   "    mod(\"key1\") > \"0\"\n"
                   "\n"
                   "    put key1 \"changed\"\n"
                   "\n"
                   "    put key1 \"created\"\n"
                   "    get key2\n"
                   "\n"
                   "A compare is of mod, create, version, value or lease, with =, !=, > or <.\n"
                   "A request is a get, put or del with that command's flags.",
        .run = ctl_txn_run,
        .flags = FLAGS(CTL_FLAG_TXN_INTERACTIVE),
    },
    {
        .name = "compaction",
        .arguments = "<revision>",
        .summary = "Compacts the event history",
        .details = "What was superseded at <revision> or before is forgotten for good.",
        .run = ctl_compaction_run,
        .flags = FLAGS(CTL_FLAG_COMPACT_PHYSICAL),
    },
    {
        .name = "endpoint status",
        .arguments = "",
        .summary = "Prints out the status of endpoints specified in `--endpoints` flag",
        .details =
            "The columns of the simple format are those of -w table: endpoint, ID, version,\n"
            "db size, is leader, is learner, raft term, raft index, raft applied index,\n"
            "errors.",
        .run = ctl_endpoint_status_run,
        .flags = FLAGS(CTL_FLAG_ENDPOINT_CLUSTER),
    },
    {
        .name = "endpoint health",
        .arguments = "",
        .summary = "Checks the healthiness of endpoints specified in `--endpoints` flag",
        .details = "Each is asked for a linearizable read; exits with 1 when one does not answer.",
        .run = ctl_endpoint_health_run,
        .flags = FLAGS(CTL_FLAG_ENDPOINT_CLUSTER),
    },
    {
        .name = "endpoint hashkv",
        .arguments = "",
        .summary = "Prints the KV history hash for each endpoint in --endpoints",
        .details = "Members with the same history up to a revision print the same hash.",
        .run = ctl_endpoint_hashkv_run,
        .flags = FLAGS(CTL_FLAG_ENDPOINT_CLUSTER, CTL_FLAG_HASHKV_REV),
    },
    {
        .name = "member list",
        .arguments = "",
        .summary = "Lists all members in the cluster",
        .details =
            "The columns are ID, status, name, peer addresses, client addresses, is learner.",
        .run = ctl_member_list_run,
        .flags = FLAGS(CTL_FLAG_MEMBER_CONSISTENCY),
    },
    {
        .name = "move-leader",
        .arguments = "<transferee-member-id>",
        .summary = "Transfers leadership to another etcd cluster member.",
        .details = "The leader's endpoint has to be among --endpoints; the ID is hexadecimal.",
        .run = ctl_move_leader_run,
    },
    {
        .name = "version",
        .arguments = "",
        .summary = "Prints the version of holdfastctl",
        .run = ctl_version_run,
    },
    {
        .name = "help",
        .arguments = "[command]",
        .summary = "Prints all commands and global flags, or a command's help",
        .run = ctl_help_run,
    },
};

const size_t ctl_command_count = sizeof ctl_commands / sizeof ctl_commands[0];
