/* h2_client.h: a gRPC client for tests: nghttp2 on one socket, pumped by poll(2).
 *
 * Calls are begun and then waited for; nothing runs in the background. Every wait ends after
 * H2_CLIENT_WAIT_MS at the latest and then says false, which is for the test to assert on.
 * Owner: the caller. Thread: one at a time.
 */
#ifndef TESTS_SUPPORT_H2_CLIENT_H
#define TESTS_SUPPORT_H2_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "base/io.h"

enum { H2_CLIENT_WAIT_MS = 10 * 1000, H2_CLIENT_TEXT_BYTES = 1024 };

struct h2_client_options {
    uint32_t window_bytes; /* of each stream and of the connection; 0: 16 MiB */
};

/* What came back on one stream. */
struct h2_reply {
    int32_t id;
    bool closed;
    bool has_headers;
    uint32_t reset_code; /* NGHTTP2_NO_ERROR unless it was reset */
    int http_status;
    int grpc_status;                 /* -1: none came */
    char text[H2_CLIENT_TEXT_BYTES]; /* grpc-message, still percent-encoded */
    char content_type[64];
    char accept_encoding[64];
    size_t header_blocks; /* 1: trailers-only */
    uint8_t *body;        /* DATA, prefixes included */
    size_t body_size;
};

/* NULL fields are left out; method and content_type have the values of gRPC then. */
struct h2_request {
    const char *path;
    const char *method;
    const char *content_type;
    const char *timeout;
    const char *encoding;
    const char *extra_name;
    const char *extra_value;
};

struct h2_client;

/* NULL: no connection. options may be NULL. */
struct h2_client *h2_client_open(const struct io_addr *addr,
                                 const struct h2_client_options *options);
void h2_client_close(struct h2_client *c);

/* A plain connected socket, for bytes that are no HTTP/2; below 0: none. */
int h2_client_socket(const struct io_addr *addr);

/* Begins a call with these first bytes; end: no more will come. Below 0: refused by nghttp2. */
int32_t h2_client_call(struct h2_client *c, const struct h2_request *request, struct slice bytes,
                       bool end);
bool h2_client_data(struct h2_client *c, int32_t id, struct slice bytes, bool end);
bool h2_client_reset(struct h2_client *c, int32_t id, uint32_t code);
bool h2_client_ping(struct h2_client *c);
bool h2_client_settings(struct h2_client *c, const nghttp2_settings_entry *entries, size_t count);

/* What is queued leaves; nothing is read. */
bool h2_client_flush(struct h2_client *c);

/* Until the stream is closed; h2_client_forget frees the reply. NULL: never. */
const struct h2_reply *h2_client_wait(struct h2_client *c, int32_t id);
/* Until so many bytes of DATA have come on it. */
const struct h2_reply *h2_client_wait_body(struct h2_client *c, int32_t id, size_t bytes);
void h2_client_forget(struct h2_client *c, int32_t id);

/* Until the server has closed the connection. */
bool h2_client_wait_end(struct h2_client *c);
/* Until the server has answered so many pings since the beginning, and sent so many. */
bool h2_client_wait_pings(struct h2_client *c, size_t answered, size_t received);
/* Until both sides have acknowledged the other's SETTINGS. */
bool h2_client_wait_settings(struct h2_client *c);

/* The server's GOAWAY: its code, or -1; its debug data. */
int64_t h2_client_goaway(const struct h2_client *c, const char **ret_debug);
uint32_t h2_client_setting(const struct h2_client *c, nghttp2_settings_id id);
int h2_client_fd(const struct h2_client *c);

/* One message with its prefix, into `to` of GRPC prefix + message.size bytes; returns its size. */
size_t h2_message(uint8_t *to, uint8_t flags, struct slice message);

#endif
