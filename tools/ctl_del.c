#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "tools/ctl.h"
#include "tools/ctl_text.h"

enum { SECOND_THOUGHT_MS = 2000 };

bool ctl_del_parse(const struct ctl_args *args, struct ctl_del_request *ret_del,
                   struct ctl_error *ret_error)
{
    const struct ctl_value *values = args->values;
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    uint8_t *owned = NULL;
    if (args->argument_count == 0 || args->argument_count > 2)
        return ctl_fail(
            ret_error, CTL_EXIT_BAD_ARGS,
            "del command needs one argument as key and an optional argument as range_end");
    if (!ctl_range_parse(args, values[CTL_FLAG_DEL_PREFIX].is_true,
                         values[CTL_FLAG_DEL_FROM_KEY].is_true, &request.key, &request.range_end,
                         &owned, ret_error))
        return false;
    request.prev_kv = values[CTL_FLAG_DEL_PREV_KV].is_true;
    ret_del->request = request;
    ret_del->range_end = owned;
    return true;
}

/* A second argument may be a slip of a hand that meant two keys. A script gets no pause. */
static void range_warn(const struct ctl *ctl)
{
    const struct ctl_args *args = &ctl->args;
    if (args->argument_count < 2 || args->values[CTL_FLAG_DEL_RANGE].is_true ||
        !isatty(fileno(ctl->out.errors)) || !isatty(fileno(ctl->in)))
        return;
    fputs("Warning: Keys between ", ctl->out.errors);
    text_print_quoted(ctl->out.errors, args->arguments[0]);
    fputs(" and ", ctl->out.errors);
    text_print_quoted(ctl->out.errors, args->arguments[1]);
    fputs(" will be deleted. Please interrupt the command within next 2 seconds to cancel. "
          "You can provide `--range` flag to avoid the delay.\n",
          ctl->out.errors);
    IGNORE(poll(NULL, 0, SECOND_THOUGHT_MS) < 0, "an interrupt ends the program");
}

enum ctl_exit ctl_del_run(struct ctl *ctl)
{
    struct ctl_error error;
    struct ctl_del_request del = { 0 };
    ProtobufCMessage *response = NULL;
    bool ok = ctl_del_parse(&ctl->args, &del, &error) &&
              ctl_format_check(ctl, ctl->printer->del != NULL, &error);
    if (ok) {
        range_warn(ctl);
        ok = ctl_call(ctl, &client_kv_delete_range, &del.request.base, &response, &error);
    }
    free(del.range_end);
    if (!ok)
        return ctl_report(ctl, &error);
    ctl->printer->del(&ctl->out, (const Etcdserverpb__DeleteRangeResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return CTL_EXIT_SUCCESS;
}
