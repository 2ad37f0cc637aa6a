/* grpc.health.v1.Health: serving while a leader is known. */
#include "health.pb-c.h"
#include "server/services.h"

void service_health_check(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    const Grpc__Health__V1__HealthCheckRequest *r =
        (const Grpc__Health__V1__HealthCheckRequest *)service_unpack(
            call, &grpc__health__v1__health_check_request__descriptor, message);
    if (!r)
        return;
    if (r->service[0] != '\0') {
        service_refuse(call, ETCD_E_UNKNOWN_SERVICE);
        return;
    }
    struct node_status status = node_status(s->options.node);
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status.is_serving && status.raft.leader != 0
                          ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                          : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
    service_reply(call, &response.base);
}
