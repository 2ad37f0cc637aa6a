/* client_h2.h: one HTTP/2 connection (nghttp2 over a non-blocking socket) and one call on it.
 *
 * Owner:    the client. The request's bytes are borrowed until client_h2_call returns; the
 *           response's bytes belong to the connection until its next call.
 * Thread:   the client's. Every function returns by the deadline it is given.
 * Bounds:   a response past receive_bytes_max ends the call.
 * Errors:   a status and text as in client.h, and whether the request can have been seen.
 */
#ifndef TOOLS_CLIENT_H2_H
#define TOOLS_CLIENT_H2_H

#include "base/slice.h"
#include "tools/client.h"

struct client_h2;

struct client_h2_result {
    struct client_error error;
    struct slice message; /* of GRPC_OK */
    bool reached_server;  /* something of the request may have been acted on */
    bool from_server;     /* the status is the server's own answer */
};

/* Resolves host and port and connects. False: ret_error->message says why. */
bool client_h2_open(struct client_h2 **ret_h2, const char *host, const char *port,
                    uint64_t deadline_ms, struct client_error *ret_error)
    __attribute__((warn_unused_result));

void client_h2_close(struct client_h2 *h2); /* NULL is fine */

/* Handles what came in since the last call. False: this connection takes no more calls. */
bool client_h2_is_usable(struct client_h2 *h2);

void client_h2_call(struct client_h2 *h2, const char *path, struct slice request,
                    uint64_t receive_bytes_max, uint64_t deadline_ms,
                    struct client_h2_result *ret_result);

/* gRPC's percent-encoding of grpc-message, undone; bad escapes stay as they are. */
void client_h2_message_decode(struct slice text, char *ret_text, size_t size);

#endif
