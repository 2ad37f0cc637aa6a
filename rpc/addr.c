#include "rpc/addr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"

static bool take_prefix(struct slice *text, const char *prefix)
{
    size_t size = strlen(prefix);
    if (text->size < size || strncasecmp((const char *)text->data, prefix, size) != 0)
        return false;
    *text = slice_of(text->data + size, text->size - size);
    return true;
}

static const char *take_scheme(struct slice *text, bool *ret_tls)
{
    if (take_prefix(text, "http://")) {
        *ret_tls = false;
        return NULL;
    }
    if (take_prefix(text, "https://")) {
        *ret_tls = true;
        return NULL;
    }
    if (take_prefix(text, "unix://") || take_prefix(text, "unixs://"))
        return "unix sockets are not supported: use http:// or https:// with a port";
    return "the URL must begin with http:// or https://";
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_all_digits(const char *text)
{
    return text[strspn(text, "0123456789")] == '\0';
}

/* Digits and dots alone are meant as an IPv4 address, and "127.1" is no spelling that two
 * resolvers agree on. */
static bool host_name_is_good(const char *host)
{
    for (const char *c = host; *c; c++) {
        if (!is_alnum((uint8_t)*c) && *c != '.' && *c != '-' && *c != '_')
            return false;
    }
    struct in_addr ipv4;
    return host[strspn(host, "0123456789.")] != '\0' || inet_pton(AF_INET, host, &ipv4) == 1;
}

/* RFC 6874: a zone follows the address; getaddrinfo knows the interfaces. */
static bool host_ipv6_is_good(const char *host)
{
    char bare[INET6_ADDRSTRLEN];
    size_t size = strcspn(host, "%");
    if (size >= sizeof bare)
        return false;
    memcpy(bare, host, size);
    bare[size] = '\0';
    for (const char *c = host + size; *c; c++) {
        if (!is_alnum((uint8_t)*c) && !strchr("%.-_", *c))
            return false;
    }
    bool zone_is_empty = host[size] == '%' && host[size + 1] == '\0';
    struct in6_addr ipv6;
    return !zone_is_empty && inet_pton(AF_INET6, bare, &ipv6) == 1;
}

static bool keep_text(struct slice text, char *to, size_t to_bytes)
{
    if (text.size >= to_bytes || (text.size > 0 && memchr(text.data, '\0', text.size)))
        return false;
    if (text.size > 0)
        memcpy(to, text.data, text.size);
    to[text.size] = '\0';
    return true;
}

static const char *parse_host(struct slice host, bool in_brackets, struct addr_url *url)
{
    if (host.size == 0)
        return "the URL names no host";
    if (!keep_text(host, url->host, sizeof url->host))
        return "the host is too long or holds a NUL";
    if (in_brackets)
        return host_ipv6_is_good(url->host) ? NULL : "this is no IPv6 address in the brackets";
    if (strchr(url->host, ':'))
        return "an IPv6 address needs brackets: http://[::1]:2379";
    return host_name_is_good(url->host) ? NULL : "the host is neither a name nor an address";
}

static const char *parse_port(struct slice port, struct addr_url *url)
{
    char text[6];
    if (port.size == 0)
        return "the port is empty";
    if (!keep_text(port, text, sizeof text) || !is_all_digits(text))
        return "the port is no number up to 65535";
    uint32_t number = 0;
    for (const char *c = text; *c; c++)
        number = number * 10 + (uint32_t)(*c - '0');
    if (number > UINT16_MAX)
        return "the port is no number up to 65535";
    url->port = (uint16_t)number;
    return NULL;
}

static const char *parse_host_and_port(struct slice text, struct addr_url *url)
{
    bool in_brackets = text.size > 0 && text.data[0] == '[';
    struct slice host, port;
    if (in_brackets) {
        const uint8_t *end = memchr(text.data, ']', text.size);
        if (!end)
            return "the bracket of the IPv6 address is not closed";
        host = slice_of(text.data + 1, (size_t)(end - text.data) - 1);
        port = slice_of(end + 1, text.size - host.size - 2);
    } else {
        const uint8_t *colon = text.size > 0 ? memrchr(text.data, ':', text.size) : NULL;
        size_t host_size = colon ? (size_t)(colon - text.data) : text.size;
        host = slice_of(text.data, host_size);
        port = slice_of(text.data + host_size, text.size - host_size);
    }
    if (port.size == 0 || port.data[0] != ':')
        return "the URL must name a port: http://host:2379";
    const char *why = parse_host(host, in_brackets, url);
    return why ? why : parse_port(slice_of(port.data + 1, port.size - 1), url);
}

/* etcd: pkg/types/urls.go. The same shapes are taken and refused, but for unix sockets. */
static const char *parse(struct slice text, struct addr_url *url)
{
    const char *why = take_scheme(&text, &url->tls);
    if (why)
        return why;
    for (size_t i = 0; i < text.size; i++) {
        if (memchr("/?#", text.data[i], 3))
            return "the URL must not go on after the port: no path, query or fragment";
        if (text.data[i] == '@')
            return "the URL must not name a user";
    }
    return parse_host_and_port(text, url);
}

bool addr_parse_url(struct slice text, struct addr_url *ret_url, const char **ret_why)
{
    struct addr_url url = { 0 };
    const char *why = parse(text, &url);
    if (why) {
        *ret_why = why;
        return false;
    }
    *ret_url = url;
    return true;
}

/* The first IPv4 address, else the first IPv6 one, as Go's net.Listen picks for etcd: where
 * localhost is ::1 and 127.0.0.1, clients dial the latter. */
static const struct addrinfo *preferred(const struct addrinfo *found)
{
    const struct addrinfo *ipv6 = NULL;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        if (a->ai_family == AF_INET)
            return a;
        if (a->ai_family == AF_INET6 && !ipv6)
            ipv6 = a;
    }
    return ipv6;
}

int addr_resolve(const struct addr_url *url, struct io_addr *ret_addr)
{
    char port[8];
    snprintf(port, sizeof port, "%u", url->port);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    int err = getaddrinfo(url->host, port, &hints, &found);
    if (err != 0)
        return err;
    const struct addrinfo *a = preferred(found);
    if (a) {
        ASSERT(a->ai_addrlen <= sizeof ret_addr->sa);
        *ret_addr = (struct io_addr){ .sa_size = a->ai_addrlen };
        memcpy(&ret_addr->sa, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(found);
    return a ? 0 : EAI_FAMILY;
}

uint16_t addr_port(const struct io_addr *addr)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    if (addr->sa.ss_family == AF_INET) {
        memcpy(&ipv4, &addr->sa, sizeof ipv4);
        return ntohs(ipv4.sin_port);
    }
    if (addr->sa.ss_family == AF_INET6) {
        memcpy(&ipv6, &addr->sa, sizeof ipv6);
        return ntohs(ipv6.sin6_port);
    }
    return 0;
}

char *addr_format(const struct io_addr *addr, char text[ADDR_TEXT_BYTES_MAX])
{
    char host[NI_MAXHOST];
    if (getnameinfo((const struct sockaddr *)&addr->sa, addr->sa_size, host, sizeof host, NULL, 0,
                    NI_NUMERICHOST) != 0) {
        snprintf(text, ADDR_TEXT_BYTES_MAX, "unknown address");
        return text;
    }
    bool is_ipv6 = addr->sa.ss_family == AF_INET6;
    snprintf(text, ADDR_TEXT_BYTES_MAX, is_ipv6 ? "[%.255s]:%u" : "%.255s:%u", host,
             addr_port(addr));
    return text;
}
