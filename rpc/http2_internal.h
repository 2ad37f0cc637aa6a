/* http2_internal.h: between http2.c (session, receiving) and http2_send.c (answers). */
#ifndef RPC_HTTP2_INTERNAL_H
#define RPC_HTTP2_INTERNAL_H

#include "rpc/http2.h"

/* nghttp2's callbacks of the sending side. */
void http2_send_register(nghttp2_session_callbacks *callbacks);

/* What waits on a stream that closes is not sent. */
void http2_stream_forget(struct http2_stream *s);

#endif
