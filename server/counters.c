#include "server/counters.h"

#include "base/log.h"

static void log_node(const struct node *node)
{
    struct node_counters c = node_counters(node);
    LOG_INFOF("counters of the node", log_number("proposals_committed", c.proposals_committed),
              log_number("proposals_failed", c.proposals_failed),
              log_number("leader_changes", c.leader_changes),
              log_number("requests_refused", c.requests_refused),
              log_number("requests_timed_out", c.requests_timed_out),
              log_number("forwards_refused", c.forwards_refused),
              log_number("raft_refused", c.raft_refused), log_number("flushes", c.flushes),
              log_number("configs_applied", c.configs_applied),
              log_number("transfers", c.transfers),
              log_number("removed_refused", c.removed_refused),
              log_number("repairs_started", c.repairs_started),
              log_number("repairs_finished", c.repairs_finished),
              log_number("snapshots_sent", c.snapshots_sent),
              log_number("snapshots_received", c.snapshots_received),
              log_number("snapshots_failed", c.snapshots_failed),
              log_number("journal_writes", c.journal_writes),
              log_number("journal_written_bytes", c.journal_written_bytes));
    struct peer_counters p = c.peers;
    LOG_INFOF(
        "counters of the peer links", log_number("frames_sent", p.frames_sent),
        log_number("frames_received", p.frames_received), log_number("sent_bytes", p.sent_bytes),
        log_number("received_bytes", p.received_bytes),
        log_number("frames_dropped", p.frames_dropped), log_number("frames_bad", p.frames_bad),
        log_number("hellos_refused", p.hellos_refused), log_number("connects", p.connects),
        log_number("dials_failed", p.dials_failed),
        log_number("accepts_refused", p.accepts_refused),
        log_number("connections_silent", p.connections_silent));
}

static void log_grpc(const struct grpc_counters *c)
{
    LOG_INFOF(
        "counters of the client connections",
        log_number("connections_accepted", c->connections_accepted),
        log_number("connections_open", c->connections_open),
        log_number("connections_refused", c->connections_refused),
        log_number("connections_broken", c->connections_broken),
        log_number("connections_stalled", c->connections_stalled),
        log_number("connections_silent", c->connections_silent),
        log_number("connections_pinging", c->connections_pinging),
        log_number("connections_held", c->connections_held),
        log_number("calls_busy", c->calls_busy), log_number("calls_started", c->calls_started),
        log_number("calls_open", c->calls_open), log_number("calls_too_large", c->calls_too_large),
        log_number("calls_refused", c->calls_refused),
        log_number("responses_refused", c->responses_refused),
        log_number("calls_gone", c->calls_gone), log_number("received_bytes", c->received_bytes),
        log_number("sent_bytes", c->sent_bytes));
}

static void log_loop(const struct loop_counters *c)
{
    LOG_INFOF("counters of the loop", log_number("turns", c->turns),
              log_number("completions", c->completions),
              log_number("completions_late", c->completions_late),
              log_number("operations_refused", c->operations_refused),
              log_number("timers_refused", c->timers_refused),
              log_number("recv_without_buffer", c->recv_without_buffer),
              log_number("accept_rests", c->accept_rests),
              log_number("jobs_started", c->jobs_started));
}

void counters_log(const struct node *node, const struct services *services,
                  const struct grpc_server *grpc, const struct loop *loop)
{
    log_node(node);
    log_grpc(grpc_server_counters(grpc));
    log_loop(loop_counters(loop));
    LOG_INFOF("counters of the services", log_number("jobs_running", services->jobs_running),
              log_number("jobs_refused", services->jobs_refused),
              log_number("views_refused", services->views_refused));
}
