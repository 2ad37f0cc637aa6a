#include "tools/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { INPUT_BYTES_MIN = 4096 };

static const int64_t RECEIVE_BYTES_MAX = INT32_MAX; /* etcdctl's default */

_Static_assert((int)CTL_ENDPOINT_COUNT_MAX <= (int)CLIENT_ENDPOINT_COUNT_MAX,
               "every endpoint that parses fits a client");

enum ctl_exit ctl_report(const struct ctl *ctl, const struct ctl_error *error)
{
    fflush(ctl->out.file);
    fprintf(ctl->out.errors, "Error: %s\n", error->text);
    return error->code;
}

static const char *status_name(enum grpc_status status)
{
    switch (status) {
    case GRPC_OK:
        return "OK";
    case GRPC_CANCELLED:
        return "Canceled";
    case GRPC_UNKNOWN:
        return "Unknown";
    case GRPC_INVALID_ARGUMENT:
        return "InvalidArgument";
    case GRPC_DEADLINE_EXCEEDED:
        return "DeadlineExceeded";
    case GRPC_NOT_FOUND:
        return "NotFound";
    case GRPC_ALREADY_EXISTS:
        return "AlreadyExists";
    case GRPC_PERMISSION_DENIED:
        return "PermissionDenied";
    case GRPC_RESOURCE_EXHAUSTED:
        return "ResourceExhausted";
    case GRPC_FAILED_PRECONDITION:
        return "FailedPrecondition";
    case GRPC_ABORTED:
        return "Aborted";
    case GRPC_OUT_OF_RANGE:
        return "OutOfRange";
    case GRPC_UNIMPLEMENTED:
        return "Unimplemented";
    case GRPC_INTERNAL:
        return "Internal";
    case GRPC_UNAVAILABLE:
        return "Unavailable";
    case GRPC_DATA_LOSS:
        return "DataLoss";
    case GRPC_UNAUTHENTICATED:
        return "Unauthenticated";
    }
    return "Unknown";
}

void ctl_error_of_call(const struct client_error *error, struct ctl_error *ret_error)
{
    static const char ours[] = "etcdserver: ";
    bool is_known =
        strncmp(error->message, ours, strlen(ours)) == 0 || error->code == GRPC_DEADLINE_EXCEEDED;
    if (is_known)
        ctl_fail(ret_error, CTL_EXIT_ERROR, "%s", error->message);
    else
        ctl_fail(ret_error, CTL_EXIT_ERROR, "rpc error: code = %s desc = %s",
                 status_name(error->code), error->message);
}

static uint32_t timeout_ms(const struct ctl *ctl, enum ctl_flag_id id)
{
    uint64_t ms = ctl->args.values[id].ms;
    ASSERT(ms <= INT32_MAX);
    return ms == 0 ? 1 : (uint32_t)ms;
}

bool ctl_client_open(const struct ctl *ctl, const struct slice *endpoints, size_t count,
                     struct client **ret_client, struct ctl_error *ret_error)
{
    char texts[CTL_ENDPOINT_COUNT_MAX][CLIENT_ENDPOINT_BYTES_MAX + 1];
    const char *pointers[CTL_ENDPOINT_COUNT_MAX];
    ASSERT(count <= CTL_ENDPOINT_COUNT_MAX);
    for (size_t i = 0; i < count; i++) {
        if (endpoints[i].size > CLIENT_ENDPOINT_BYTES_MAX)
            return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS, "endpoint is too long: %.64s...",
                            (const char *)endpoints[i].data);
        memcpy(texts[i], endpoints[i].data, endpoints[i].size);
        texts[i][endpoints[i].size] = '\0';
        pointers[i] = texts[i];
    }
    int64_t receive_bytes = ctl->args.values[CTL_FLAG_MAX_RECV_BYTES].number;
    const struct client_options options = {
        .endpoints = pointers,
        .endpoint_count = count,
        .dial_timeout_ms = timeout_ms(ctl, CTL_FLAG_DIAL_TIMEOUT),
        .call_timeout_ms = timeout_ms(ctl, CTL_FLAG_COMMAND_TIMEOUT),
        .receive_bytes_max =
            (uint64_t)(receive_bytes > 0 && receive_bytes < RECEIVE_BYTES_MAX ? receive_bytes
                                                                              : RECEIVE_BYTES_MAX),
        .trace = ctl->args.values[CTL_FLAG_DEBUG].is_true,
    };
    struct client_error error;
    if (client_open(ret_client, &options, &error))
        return true;
    return ctl_fail(ret_error, CTL_EXIT_BAD_CONNECTION, "%s", error.message);
}

bool ctl_call(const struct ctl *ctl, const struct client_method *method,
              const ProtobufCMessage *request, ProtobufCMessage **ret_response,
              struct ctl_error *ret_error)
{
    struct client *client = NULL;
    struct client_error error;
    if (!ctl_client_open(ctl, ctl->args.endpoints, ctl->args.endpoint_count, &client, ret_error))
        return false;
    bool ok = client_call(client, method, request, ret_response, &error);
    client_close(client);
    if (!ok)
        ctl_error_of_call(&error, ret_error);
    return ok;
}

bool ctl_format_check(const struct ctl *ctl, bool has_form, struct ctl_error *ret_error)
{
    return has_form || ctl_fail(ret_error, CTL_EXIT_BAD_FEATURE,
                                "%s not supported as output format", ctl->printer->name);
}

bool ctl_read_all(FILE *in, uint8_t **ret_bytes, size_t *ret_size)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    size_t room = 0;
    for (;;) {
        if (size == room) {
            room = room == 0 ? INPUT_BYTES_MIN : room * 2;
            uint8_t *grown = room > 2 * (size_t)CTL_INPUT_BYTES_MAX ? NULL : realloc(bytes, room);
            if (grown == NULL)
                break;
            bytes = grown;
        }
        size_t got = fread(bytes + size, 1, room - size, in);
        size += got;
        if (got > 0)
            continue;
        if (ferror(in) || size > CTL_INPUT_BYTES_MAX)
            break;
        *ret_bytes = bytes;
        *ret_size = size;
        return true;
    }
    free(bytes);
    return false;
}

bool ctl_consistency_parse(struct slice text, bool *ret_serializable, struct ctl_error *ret_error)
{
    *ret_serializable = slice_equal(text, slice_of_text("s"));
    if (*ret_serializable || slice_equal(text, slice_of_text("l")))
        return true;
    return ctl_fail(ret_error, CTL_EXIT_BAD_FEATURE, "unknown consistency flag \"%s\"",
                    (const char *)text.data);
}

/* The first key after all that begin with `prefix`; "\0", no end, when there is none. */
static bool prefix_end(struct slice prefix, uint8_t **ret_owned, ProtobufCBinaryData *ret_end)
{
    size_t size = prefix.size;
    uint8_t *end = malloc(size + 1);
    if (end == NULL)
        return false;
    memcpy(end, prefix.data, size);
    while (size > 0 && end[size - 1] == 0xff)
        size--;
    if (size > 0)
        end[size - 1]++;
    else
        end[size++] = '\0';
    *ret_owned = end;
    *ret_end = (ProtobufCBinaryData){ .len = size, .data = end };
    return true;
}

bool ctl_range_parse(const struct ctl_args *args, bool prefix, bool from_key,
                     ProtobufCBinaryData *ret_key, ProtobufCBinaryData *ret_range_end,
                     uint8_t **ret_owned, struct ctl_error *ret_error)
{
    static const uint8_t lowest[1] = { 0 };
    const struct slice no_end = slice_of(lowest, 1);
    *ret_owned = NULL;
    if (prefix && from_key)
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS,
                        "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    if (args->argument_count > 1 && (prefix || from_key))
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS,
                        "too many arguments, only accept one argument when `--prefix` or "
                        "`--from-key` is set");
    struct slice key = args->arguments[0];
    if (args->argument_count > 1) {
        *ret_range_end = ctl_pb_of_slice(args->arguments[1]);
    } else if (from_key || (prefix && key.size == 0)) {
        key = key.size == 0 ? no_end : key;
        *ret_range_end = ctl_pb_of_slice(no_end);
    } else if (prefix && !prefix_end(key, ret_owned, ret_range_end)) {
        return ctl_fail(ret_error, CTL_EXIT_ERROR, "out of memory");
    }
    *ret_key = ctl_pb_of_slice(key);
    return true;
}
