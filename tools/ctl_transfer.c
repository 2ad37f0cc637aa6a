#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "tools/ctl.h"

static bool id_parse(struct ctl *ctl, uint64_t *ret_id, struct ctl_error *ret_error)
{
    if (ctl->args.argument_count != 1)
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS, "move-leader command needs 1 argument");
    const char *text = (const char *)ctl->args.arguments[0].data;
    char *end = NULL;
    errno = 0;
    *ret_id = strtoull(text, &end, 16);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || *text == '+')
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS, "bad member ID \"%.64s\"", text);
    return true;
}

/* A client of the endpoint, if that is the leader; else NULL, which is no error. */
static struct client *leader_client(struct ctl *ctl, size_t i, uint64_t *ret_leader)
{
    struct client *client = NULL;
    struct ctl_error error;
    struct client_error why;
    ProtobufCMessage *response = NULL;
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    if (!ctl_client_open(ctl, &ctl->args.endpoints[i], 1, &client, &error))
        return NULL;
    bool leads = false;
    if (client_call(client, &client_maintenance_status, &request.base, &response, &why)) {
        const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)response;
        leads = status->leader != 0 && status->header->member_id == status->leader;
        *ret_leader = status->leader;
        protobuf_c_message_free_unpacked(response, NULL);
    }
    if (leads)
        return client;
    client_close(client);
    return NULL;
}

/* Only the leader itself hands over, so it is looked for among the endpoints, as etcdctl does. */
enum ctl_exit ctl_move_leader_run(struct ctl *ctl)
{
    struct ctl_error error = { 0 };
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    uint64_t leader = 0;
    if (!id_parse(ctl, &request.targetid, &error))
        return ctl_report(ctl, &error);
    struct client *client = NULL;
    for (size_t i = 0; i < ctl->args.endpoint_count && !client; i++)
        client = leader_client(ctl, i, &leader);
    if (!client) {
        ctl_fail(&error, CTL_EXIT_BAD_ARGS, "no leader endpoint given among --endpoints");
        return ctl_report(ctl, &error);
    }
    struct client_error why;
    ProtobufCMessage *response = NULL;
    bool ok = client_call(client, &client_maintenance_move_leader, &request.base, &response, &why);
    if (!ok)
        ctl_error_of_call(&why, &error);
    client_close(client);
    if (!ok)
        return ctl_report(ctl, &error);
    protobuf_c_message_free_unpacked(response, NULL);
    fprintf(ctl->out.file, "Leadership transferred from %" PRIx64 " to %" PRIx64 "\n", leader,
            request.targetid);
    return CTL_EXIT_SUCCESS;
}
