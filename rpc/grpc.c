#include <stdlib.h>

#include "base/assert.h"
#include "rpc/grpc_internal.h"

struct arena *grpc_call_arena(struct grpc_call *call)
{
    return &call->arena;
}

const struct grpc_metadata *grpc_call_metadata(const struct grpc_call *call)
{
    return &call->metadata;
}

uint64_t grpc_call_deadline_ms(const struct grpc_call *call)
{
    return call->deadline_ms;
}

void grpc_call_on_gone(struct grpc_call *call, void (*fn)(void *owner, struct grpc_call *call),
                       void *owner)
{
    call->gone_fn = fn;
    call->gone_owner = owner;
}

size_t grpc_call_waiting_bytes(const struct grpc_call *call)
{
    return http2_stream_waiting_bytes(&call->stream);
}

enum { SMALL_RESPONSE_BYTES = 64 << 10 };

/* Clients that do not read their answers shall not fill memory, nor stop small answers. */
static bool admits_response(struct grpc_server *server, size_t size)
{
    if (size > UINT32_MAX)
        return false;
    if (size <= SMALL_RESPONSE_BYTES ||
        server->http2.waiting_bytes + size <= server->options.response_bytes_max)
        return true;
    server->counters.responses_refused++;
    return false;
}

bool grpc_call_is_congested(const struct grpc_call *call)
{
    return http2_is_full(call->stream.session);
}

_Static_assert((int)GRPC_BLOCK_BYTES_BEFORE == (int)GRPC_PREFIX_BYTES, "room for the prefix");

bool grpc_call_send_block(struct grpc_call *call, uint8_t *block, size_t size)
{
    if (!admits_response(call->server, size)) {
        free(block);
        return false;
    }
    grpc_prefix_put(block, (uint32_t)size);
    return http2_stream_give(&call->stream, block, GRPC_PREFIX_BYTES + size);
}

uint8_t *grpc_call_send(struct grpc_call *call, size_t size)
{
    if (!admits_response(call->server, size))
        return NULL;
    uint8_t *room = http2_stream_room(&call->stream, GRPC_PREFIX_BYTES + size);
    if (!room)
        return NULL;
    grpc_prefix_put(room, (uint32_t)size);
    return room + GRPC_PREFIX_BYTES;
}

/* Nothing of the call but what waits to be sent is needed from here. */
static void call_release(struct grpc_call *call)
{
    io_timer_cancel(call->server->options.io, &call->timer);
    call->gone_fn = NULL;
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text)
{
    call_release(call);
    http2_stream_finish(&call->stream, (uint32_t)status, slice_of_text(text ? text : ""));
}

void grpc_call_hold(struct grpc_call *call)
{
    conn_hold(call->stream.session->conn);
}

void grpc_call_finish_busy(struct grpc_call *call, const char *text)
{
    call->server->counters.calls_busy++;
    grpc_call_hold(call);
    grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, text);
}

void grpc_call_lose(struct grpc_call *call)
{
    void (*fn)(void *owner, struct grpc_call *call) = call->gone_fn;
    call->server->counters.calls_gone++;
    call_release(call);
    if (fn)
        fn(call->gone_owner, call);
}

void grpc_call_reject(struct grpc_call *call, const struct http2_refusal *refusal)
{
    if (call->gone_fn)
        grpc_call_lose(call);
    call_release(call);
    if (call->stream.answered)
        http2_stream_finish(&call->stream, refusal->status, refusal->text);
    else
        http2_stream_refuse(&call->stream, refusal);
}

void grpc_call_on_deadline(void *owner)
{
    struct grpc_call *call = owner;
    grpc_call_lose(call);
    http2_stream_finish(&call->stream, GRPC_DEADLINE_EXCEEDED,
                        slice_of_text("context deadline exceeded"));
}

void grpc_call_free(struct grpc_call *call)
{
    http2_stream_done(&call->stream);
    arena_done(&call->arena);
    free(call->in.data);
    free(call);
}
