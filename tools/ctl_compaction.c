#include <inttypes.h>

#include "tools/ctl.h"
#include "tools/ctl_text.h"

enum ctl_exit ctl_compaction_run(struct ctl *ctl)
{
    struct ctl_error error = { 0 };
    ProtobufCMessage *response = NULL;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    const char *text = (const char *)ctl->args.arguments[0].data;
    const char *why = NULL;
    bool ok = false;
    if (ctl->args.argument_count != 1)
        ctl_fail(&error, CTL_EXIT_BAD_ARGS, "compaction command needs 1 argument");
    else if (!text_parse_int(text, 10, &request.revision, &why))
        ctl_fail(&error, CTL_EXIT_ERROR, "strconv.ParseInt: parsing \"%s\": %s", text, why);
    else
        ok = true;
    request.physical = ctl->args.values[CTL_FLAG_COMPACT_PHYSICAL].is_true;
    if (!ok || !ctl_call(ctl, &client_kv_compact, &request.base, &response, &error))
        return ctl_report(ctl, &error);
    protobuf_c_message_free_unpacked(response, NULL);
    fprintf(ctl->out.file, "compacted revision %" PRId64 "\n", request.revision);
    return CTL_EXIT_SUCCESS;
}
