#include <stdlib.h>

#include "base/assert.h"
#include "tools/ctl.h"
#include "tools/ctl_text.h"

static const char needs[] = "put command needs 1 argument and input from stdin or 2 arguments";

bool ctl_put_parse(const struct ctl_args *args, struct ctl_put_request *ret_put,
                   struct ctl_error *ret_error)
{
    const struct ctl_value *values = args->values;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    const char *why = NULL;
    const char *lease = (const char *)values[CTL_FLAG_PUT_LEASE].text.data;
    if (args->argument_count == 0 || args->argument_count > 2)
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS, "%s", needs);
    request.ignore_value = values[CTL_FLAG_PUT_IGNORE_VALUE].is_true;
    request.ignore_lease = values[CTL_FLAG_PUT_IGNORE_LEASE].is_true;
    request.prev_kv = values[CTL_FLAG_PUT_PREV_KV].is_true;
    if (request.ignore_value && args->argument_count > 1)
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS,
                        "put command needs only 1 argument when 'ignore-value' is set");
    if (!text_parse_int(lease, 16, &request.lease, &why))
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS,
                        "bad lease ID (strconv.ParseInt: parsing \"%s\": %s), expecting ID in Hex",
                        lease, why);
    request.key = ctl_pb_of_slice(args->arguments[0]);
    if (args->argument_count > 1)
        request.value = ctl_pb_of_slice(args->arguments[1]);
    ret_put->request = request;
    ret_put->wants_input = args->argument_count == 1 && !request.ignore_value;
    return true;
}

enum ctl_exit ctl_put_run(struct ctl *ctl)
{
    struct ctl_error error;
    struct ctl_put_request put;
    uint8_t *input = NULL;
    ProtobufCMessage *response = NULL;
    bool ok = ctl_put_parse(&ctl->args, &put, &error) &&
              ctl_format_check(ctl, ctl->printer->put != NULL, &error);
    if (ok && put.wants_input) {
        size_t size = 0;
        ok = ctl_read_all(ctl->in, &input, &size) && size > 0;
        put.request.value = (ProtobufCBinaryData){ .len = size, .data = input };
        if (!ok)
            ctl_fail(&error, CTL_EXIT_BAD_ARGS, "%s", needs);
    }
    ok = ok && ctl_call(ctl, &client_kv_put, &put.request.base, &response, &error);
    free(input);
    if (!ok)
        return ctl_report(ctl, &error);
    ctl->printer->put(&ctl->out, (const Etcdserverpb__PutResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return CTL_EXIT_SUCCESS;
}
