/* counters.h: what the daemon has done and refused, as log lines: on SIGUSR1 and at the end.
 *
 * Every cap of the node has its counter here (I8). Thread: the loop's.
 */
#ifndef SERVER_COUNTERS_H
#define SERVER_COUNTERS_H

#include "rpc/loop.h"
#include "server/node.h"
#include "server/services.h"

void counters_log(const struct node *node, const struct services *services,
                  const struct grpc_server *grpc, const struct loop *loop);

#endif
