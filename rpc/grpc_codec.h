/* grpc_codec.h: the small formats of gRPC over HTTP/2, bytes in and bytes out.
 *
 * Sources: the gRPC project's PROTOCOL-HTTP2 text; RFC 7541 for the header fields.
 * Pure: no allocation, no clock; any bytes are fine as input (I9). Thread: any.
 */
#ifndef RPC_GRPC_CODEC_H
#define RPC_GRPC_CODEC_H

#include "base/slice.h"

enum {
    GRPC_PREFIX_BYTES = 5,             /* one byte of flags, four of length */
    GRPC_STATUS_TEXT_BYTES_MAX = 4096, /* percent-encoded; a longer text is cut */
    GRPC_TRAILER_BYTES_MAX = GRPC_STATUS_TEXT_BYTES_MAX + 64,
};

/* "grpc-timeout": one to eight digits and a unit of H M S m u n. In milliseconds, rounded up, so
 * that a positive timeout never becomes none. False: malformed. */
bool grpc_timeout_parse(struct slice text, uint64_t *ret_ms);

/* "grpc-message": printable ASCII but '%' stands for itself, any other byte becomes %XX. What
 * does not fit whole into `room` is left out. Returns the size. */
size_t grpc_percent_encode(struct slice text, uint8_t *to, size_t room);

/* "application/grpc", alone or with "+proto" or parameters. */
bool grpc_content_type_is_ours(struct slice value);

/* "/package.Service/Method". False: not of that form. */
bool grpc_path_split(struct slice path, struct slice *ret_service, struct slice *ret_method);

void grpc_prefix_put(uint8_t to[GRPC_PREFIX_BYTES], uint32_t message_bytes);

/* A prefix that arrives in pieces. */
struct grpc_prefix {
    uint8_t bytes[GRPC_PREFIX_BYTES];
    uint8_t count;
};

/* Takes what is missing from the front of *bytes. True: complete. */
bool grpc_prefix_take(struct grpc_prefix *p, struct slice *bytes);
uint8_t grpc_prefix_flags(const struct grpc_prefix *p);
uint32_t grpc_prefix_message_bytes(const struct grpc_prefix *p);

/* The header block of a call's trailers: grpc-status and, unless it is empty, grpc-message, which
 * is percent-encoded already and at most GRPC_STATUS_TEXT_BYTES_MAX. Literals without indexing
 * (RFC 7541 §6.2.2): they neither use nor change the connection's compression state, so the
 * block may be written at any moment. Returns the size. */
size_t grpc_trailer_encode(uint32_t status, struct slice message,
                           uint8_t to[GRPC_TRAILER_BYTES_MAX]);

#endif
