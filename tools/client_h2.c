#include "tools/client_h2.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"

enum {
    FRAME_HEADER_BYTES = 5, /* gRPC: compressed flag, big-endian length */
    WINDOW_BYTES = 8 << 20,
    READ_BYTES = 64 << 10,
    RESPONSE_BYTES_MIN = 4 << 10,
    AUTHORITY_BYTES_MAX = 320,
};

/* One call. It lives in the connection, since nghttp2's callbacks find it there. */
struct call {
    int32_t stream_id; /* 0: none */
    struct slice request;
    uint8_t frame_header[FRAME_HEADER_BYTES];
    size_t sent_bytes; /* of frame header and request */
    uint64_t receive_bytes_max;
    size_t received_bytes;
    int http_status;
    int grpc_status; /* -1: none came */
    bool too_large;
    bool no_memory;
    bool closed;
    uint32_t close_error; /* HTTP/2 error code */
    char grpc_message[CLIENT_ERROR_BYTES_MAX];
};

struct client_h2 {
    int fd;
    nghttp2_session *session;
    bool broken; /* no more calls */
    bool cannot_send;
    bool has_ended; /* the peer closed, or the socket failed */
    int socket_errno;
    int32_t goaway_last_stream; /* -1: no GOAWAY yet */
    const uint8_t *out;         /* nghttp2's, until its next call */
    size_t out_bytes;
    char authority[AUTHORITY_BYTES_MAX];
    uint8_t *response; /* received_bytes of the call, response_size allocated */
    size_t response_size;
    struct call call;
};

/* ---- nghttp2's callbacks ---- */

static ssize_t on_read_request(nghttp2_session *session, int32_t stream_id, uint8_t *buffer,
                               size_t size, uint32_t *data_flags, nghttp2_data_source *source,
                               void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)user_data;
    struct call *call = source->ptr;
    size_t total = FRAME_HEADER_BYTES + call->request.size;
    size_t filled = 0;
    while (filled < size && call->sent_bytes < total) {
        bool in_header = call->sent_bytes < FRAME_HEADER_BYTES;
        const uint8_t *from = in_header
                                  ? call->frame_header + call->sent_bytes
                                  : call->request.data + (call->sent_bytes - FRAME_HEADER_BYTES);
        size_t left = (in_header ? FRAME_HEADER_BYTES : total) - call->sent_bytes;
        size_t part = left < size - filled ? left : size - filled;
        memcpy(buffer + filled, from, part);
        call->sent_bytes += part;
        filled += part;
    }
    if (call->sent_bytes == total)
        *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)filled;
}

static int digits_value(struct slice text)
{
    int value = 0;
    if (text.size == 0 || text.size > 3)
        return -1;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)session;
    (void)flags;
    struct client_h2 *h2 = user_data;
    if (frame->hd.stream_id != h2->call.stream_id)
        return 0;
    struct slice key = slice_of(name, name_size);
    struct slice text = slice_of(value, value_size);
    if (slice_equal(key, slice_of_text(":status")))
        h2->call.http_status = digits_value(text);
    else if (slice_equal(key, slice_of_text("grpc-status")))
        h2->call.grpc_status = digits_value(text);
    else if (slice_equal(key, slice_of_text("grpc-message")))
        client_h2_message_decode(text, h2->call.grpc_message, sizeof h2->call.grpc_message);
    return 0;
}

/* Makes room for `more` bytes of the response; the length is the peer's, the limit is ours. */
static bool response_reserve(struct client_h2 *h2, size_t more)
{
    size_t needed = h2->call.received_bytes + more;
    if (needed > h2->call.receive_bytes_max + FRAME_HEADER_BYTES) {
        h2->call.too_large = true;
        return false;
    }
    if (needed <= h2->response_size)
        return true;
    size_t size = h2->response_size == 0 ? RESPONSE_BYTES_MIN : h2->response_size;
    while (size < needed)
        size *= 2;
    uint8_t *response = realloc(h2->response, size);
    if (response == NULL) {
        h2->call.no_memory = true;
        return false;
    }
    h2->response = response;
    h2->response_size = size;
    return true;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)flags;
    struct client_h2 *h2 = user_data;
    if (stream_id != h2->call.stream_id || h2->call.too_large || h2->call.no_memory)
        return 0;
    if (!response_reserve(h2, size))
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
    memcpy(h2->response + h2->call.received_bytes, data, size);
    h2->call.received_bytes += size;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    struct client_h2 *h2 = user_data;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        h2->broken = true;
        h2->goaway_last_stream = frame->goaway.last_stream_id;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error,
                           void *user_data)
{
    (void)session;
    struct client_h2 *h2 = user_data;
    if (stream_id == h2->call.stream_id) {
        h2->call.closed = true;
        h2->call.close_error = error;
    }
    return 0;
}

/* ---- opening ---- */

static void error_set(struct client_error *error, enum grpc_status code, const char *text)
{
    error->code = code;
    IGNORE(snprintf(error->message, sizeof error->message, "%s", text) < 0,
           "a cut text still says enough");
}

static int wait_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = client_now_ms();
    if (now_ms >= deadline_ms)
        return 0;
    return deadline_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(deadline_ms - now_ms);
}

static bool socket_wait(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd poll_fd = { .fd = fd, .events = events };
        int ready = poll(&poll_fd, 1, wait_ms(deadline_ms));
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

/* A connected socket, or -1 with errno. */
static int socket_connect(const struct addrinfo *address, uint64_t deadline_ms)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int one = 1;
    IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0, "only costs latency");
    int failed = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (failed == EINPROGRESS) {
        socklen_t size = sizeof failed;
        if (!socket_wait(fd, POLLOUT, deadline_ms))
            failed = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0)
            failed = errno;
    }
    if (failed == 0)
        return fd;
    close(fd);
    errno = failed;
    return -1;
}

static int host_connect(const char *host, const char *port, uint64_t deadline_ms,
                        struct client_error *ret_error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *addresses = NULL;
    int resolved = getaddrinfo(host, port, &hints, &addresses);
    if (resolved != 0) {
        error_set(ret_error, GRPC_UNAVAILABLE, gai_strerror(resolved));
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket_connect(a, deadline_ms);
        if (fd < 0)
            error_set(ret_error, GRPC_UNAVAILABLE, strerror(errno));
    }
    freeaddrinfo(addresses);
    return fd;
}

static bool session_open(struct client_h2 *h2)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int err = nghttp2_session_client_new(&h2->session, callbacks, h2);
    nghttp2_session_callbacks_del(callbacks);
    if (err != 0)
        return false;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
    };
    return nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, 2) == 0 &&
           nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) ==
               0;
}

bool client_h2_open(struct client_h2 **ret_h2, const char *host, const char *port,
                    uint64_t deadline_ms, struct client_error *ret_error)
{
    struct client_h2 *h2 = calloc(1, sizeof *h2);
    if (h2 == NULL) {
        error_set(ret_error, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    h2->goaway_last_stream = -1;
    const char *shape = strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s";
    int size = snprintf(h2->authority, sizeof h2->authority, shape, host, port);
    h2->fd = -1;
    if (size < 0 || (size_t)size >= sizeof h2->authority)
        error_set(ret_error, GRPC_INVALID_ARGUMENT, "the host's name is too long");
    else
        h2->fd = host_connect(host, port, deadline_ms, ret_error);
    if (h2->fd >= 0 && !session_open(h2)) {
        error_set(ret_error, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        close(h2->fd);
        h2->fd = -1;
    }
    if (h2->fd < 0) {
        client_h2_close(h2);
        return false;
    }
    *ret_h2 = h2;
    return true;
}

void client_h2_close(struct client_h2 *h2)
{
    if (h2 == NULL)
        return;
    nghttp2_session_del(h2->session);
    if (h2->fd >= 0)
        close(h2->fd);
    free(h2->response);
    free(h2);
}

/* ---- moving bytes ---- */

static void h2_fail(struct client_h2 *h2, int socket_errno)
{
    h2->broken = true;
    h2->has_ended = true;
    h2->socket_errno = socket_errno;
}

/* Writes what nghttp2 has until it has no more or the socket takes no more. */
static void h2_send(struct client_h2 *h2)
{
    while (!h2->has_ended && !h2->cannot_send) {
        if (h2->out_bytes == 0) {
            ssize_t made = nghttp2_session_mem_send(h2->session, &h2->out);
            if (made < 0)
                h2_fail(h2, EPROTO);
            if (made <= 0)
                return;
            h2->out_bytes = (size_t)made;
        }
        ssize_t sent = send(h2->fd, h2->out, h2->out_bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            /* Not the end yet: the server may have answered before it closed. */
            h2->broken = true;
            h2->cannot_send = true;
            h2->out_bytes = 0;
        }
        if (sent < 0)
            return;
        h2->out += sent;
        h2->out_bytes -= (size_t)sent;
    }
}

/* Reads what has arrived. mem_recv leaves the bytes that mem_send returned alone, so some may
 * still wait for the socket meanwhile. */
static void h2_receive(struct client_h2 *h2)
{
    uint8_t buffer[READ_BYTES];
    while (!h2->has_ended) {
        ssize_t got = recv(h2->fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            if (errno != EAGAIN)
                h2_fail(h2, errno);
            return;
        }
        if (got == 0) {
            h2_fail(h2, 0);
            return;
        }
        if (nghttp2_session_mem_recv(h2->session, buffer, (size_t)got) < 0) {
            h2_send(h2); /* the GOAWAY that says what was wrong */
            h2_fail(h2, EPROTO);
        }
        if (h2->call.closed)
            return;
    }
}

bool client_h2_is_usable(struct client_h2 *h2)
{
    h2_receive(h2);
    h2_send(h2);
    return !h2->broken && nghttp2_session_want_read(h2->session);
}

/* ---- a call ---- */

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME,
    };
}

/* The deadline as gRPC spells it: at most eight digits and a unit. */
static void timeout_encode(uint64_t deadline_ms, char *ret_text, size_t size)
{
    uint64_t now_ms = client_now_ms();
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 1;
    bool fits = left_ms <= 99999999;
    uint64_t number = fits ? left_ms : left_ms / 1000;
    if (number > 99999999)
        number = 99999999;
    IGNORE(snprintf(ret_text, size, "%llu%c", (unsigned long long)number, fits ? 'm' : 'S') < 0,
           "eight digits and a letter always fit");
}

static bool call_submit(struct client_h2 *h2, const char *path, uint64_t deadline_ms)
{
    char timeout[24];
    timeout_encode(deadline_ms, timeout, sizeof timeout);
    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", path),
        header(":authority", h2->authority),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("user-agent", "holdfast/" HOLDFAST_VERSION),
        header("grpc-timeout", timeout),
    };
    nghttp2_data_provider body = { .source.ptr = &h2->call, .read_callback = on_read_request };
    int32_t id = nghttp2_submit_request(h2->session, NULL, headers,
                                        sizeof headers / sizeof headers[0], &body, NULL);
    if (id < 0)
        return false;
    h2->call.stream_id = id;
    return true;
}

static enum grpc_status status_of_http(int http_status)
{
    switch (http_status) { /* gRPC: http-grpc-status-mapping */
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default: /* a number from outside, not an enum of ours */
        return GRPC_UNKNOWN;
    }
}

/* The one message of a unary response. */
static void call_take_message(struct client_h2 *h2, struct client_h2_result *result)
{
    size_t size = h2->call.received_bytes;
    if (size < FRAME_HEADER_BYTES) {
        error_set(&result->error, GRPC_INTERNAL, "the server answered OK without a message");
    } else if (h2->response[0] != 0) {
        error_set(&result->error, GRPC_INTERNAL, "the server's message is compressed, unasked");
    } else if (get_be32(h2->response + 1) != size - FRAME_HEADER_BYTES) {
        error_set(&result->error, GRPC_INTERNAL, "the server's message has a wrong length");
    } else {
        result->error.code = GRPC_OK;
        result->message = slice_of(h2->response + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES);
    }
}

/* RFC 9113 §8.7: a refused stream and one past GOAWAY's last were not processed. */
static bool call_was_refused(const struct client_h2 *h2)
{
    return h2->call.close_error == NGHTTP2_REFUSED_STREAM ||
           (h2->goaway_last_stream >= 0 && h2->call.stream_id > h2->goaway_last_stream);
}

static void call_finish_closed(struct client_h2 *h2, struct client_h2_result *result)
{
    const struct call *call = &h2->call;
    if (call->too_large) {
        error_set(&result->error, GRPC_RESOURCE_EXHAUSTED,
                  "the response is larger than this client accepts");
    } else if (call->no_memory) {
        error_set(&result->error, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    } else if (call->grpc_status == GRPC_OK) {
        call_take_message(h2, result);
    } else if (call->grpc_status > 0) {
        result->from_server = true;
        error_set(&result->error,
                  call->grpc_status <= GRPC_UNAUTHENTICATED ? (enum grpc_status)call->grpc_status
                                                            : GRPC_UNKNOWN,
                  call->grpc_message);
    } else if (call->http_status > 0 && call->http_status != 200) {
        error_set(&result->error, status_of_http(call->http_status),
                  "the endpoint answered, but not as a gRPC server");
    } else {
        error_set(&result->error, GRPC_UNAVAILABLE, "the server ended the stream early");
        result->reached_server = !call_was_refused(h2);
    }
}

static void call_finish_lost(struct client_h2 *h2, struct client_h2_result *result)
{
    result->reached_server = result->reached_server && !call_was_refused(h2);
    const char *why = h2->socket_errno == 0 ? "closed by the server" : strerror(h2->socket_errno);
    result->error.code = GRPC_UNAVAILABLE;
    IGNORE(snprintf(result->error.message, sizeof result->error.message,
                    "the connection was lost before the answer (%s)", why) < 0,
           "a cut text still says enough");
}

void client_h2_call(struct client_h2 *h2, const char *path, struct slice request,
                    uint64_t receive_bytes_max, uint64_t deadline_ms,
                    struct client_h2_result *ret_result)
{
    *ret_result = (struct client_h2_result){ .reached_server = true };
    h2->call = (struct call){ .request = request,
                              .receive_bytes_max = receive_bytes_max,
                              .grpc_status = -1 };
    if (request.size > UINT32_MAX) {
        error_set(&ret_result->error, GRPC_RESOURCE_EXHAUSTED, "the request is too large");
        return;
    }
    put_be32(h2->call.frame_header + 1, (uint32_t)request.size);
    if (!call_submit(h2, path, deadline_ms)) {
        h2->broken = true;
        ret_result->reached_server = false;
        error_set(&ret_result->error, GRPC_UNAVAILABLE, "no stream could be opened");
        return;
    }
    h2_send(h2);
    while (!h2->call.closed && !h2->has_ended) {
        bool wants_out =
            !h2->cannot_send && (h2->out_bytes > 0 || nghttp2_session_want_write(h2->session));
        if (!socket_wait(h2->fd, (short)(wants_out ? POLLIN | POLLOUT : POLLIN), deadline_ms))
            break;
        h2_receive(h2);
        h2_send(h2);
    }
    if (h2->call.closed) {
        call_finish_closed(h2, ret_result);
    } else if (h2->has_ended) {
        call_finish_lost(h2, ret_result);
    } else {
        h2->broken = true; /* closing cancels the stream too */
        error_set(&ret_result->error, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    }
    h2->call.stream_id = 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void client_h2_message_decode(struct slice text, char *ret_text, size_t size)
{
    ASSERT(size > 0);
    size_t made = 0;
    for (size_t i = 0; i < text.size && made + 1 < size; i++) {
        uint8_t c = text.data[i];
        if (c == '%' && text.size - i > 2) {
            int high = hex_digit(text.data[i + 1]);
            int low = hex_digit(text.data[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (uint8_t)(high * 16 + low);
                i += 2;
            }
        }
        ret_text[made++] = (char)c;
    }
    ret_text[made] = '\0';
}
