#include "tools/ctl.h"

enum ctl_exit ctl_member_list_run(struct ctl *ctl)
{
    struct ctl_error error;
    ProtobufCMessage *response = NULL;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    bool serializable = false;
    struct slice consistency = ctl->args.values[CTL_FLAG_MEMBER_CONSISTENCY].text;
    bool ok = ctl_consistency_parse(consistency, &serializable, &error);
    request.linearizable = !serializable;
    if (!ok || !ctl_call(ctl, &client_cluster_member_list, &request.base, &response, &error))
        return ctl_report(ctl, &error);
    ctl->printer->member_list(&ctl->out, (const Etcdserverpb__MemberListResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return CTL_EXIT_SUCCESS;
}
