/* URLs as etcd's flags take them. */
#include "rpc/addr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netdb.h>
#include <stdlib.h>

Test(addr, takes_what_etcd_takes)
{
    static const struct {
        const char *text;
        bool tls;
        const char *host;
        uint16_t port;
    } cases[] = {
        { "http://127.0.0.1:2379", false, "127.0.0.1", 2379 },
        { "https://127.0.0.1:2379", true, "127.0.0.1", 2379 },
        { "HTTP://node-1.example.com:65535", false, "node-1.example.com", 65535 },
        { "http://[::1]:2380", false, "::1", 2380 },
        { "https://[fe80::1%eth0]:1", true, "fe80::1%eth0", 1 },
        { "http://localhost:0", false, "localhost", 0 },
        { "http://my_service:02379", false, "my_service", 2379 },
        { "http://0.0.0.0:2379", false, "0.0.0.0", 2379 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct addr_url url;
        const char *why = "";
        cr_expect(addr_parse_url(slice_of_text(cases[i].text), &url, &why), "%s: %s", cases[i].text,
                  why);
        cr_expect_eq(url.tls, cases[i].tls);
        cr_expect_str_eq(url.host, cases[i].host);
        cr_expect_eq(url.port, cases[i].port);
    }
}

Test(addr, says_what_is_wrong)
{
    static const struct {
        const char *text;
        const char *why; /* a part of it */
    } cases[] = {
        { "", "http://" },
        { "127.0.0.1:2379", "http://" },
        { "ftp://host:1", "http://" },
        { "http:/host:1", "http://" },
        { "unix:///run/x.sock", "unix sockets" },
        { "unixs://localhost:1", "unix sockets" },
        { "http://host", "port" },
        { "http://host:", "port is empty" },
        { "http://host:x", "port" },
        { "http://host:+1", "port" },
        { "http://host:-1", "port" },
        { "http://host: 1", "port" },
        { "http://host:65536", "port" },
        { "http://host:99999999999999", "port" },
        { "http://", "port" },
        { "http://:2379", "no host" },
        { "http://host:1/", "path" },
        { "http://host:1/a", "path" },
        { "http://host/a:1", "path" },
        { "http://host:1?a", "query" },
        { "http://host:1#a", "fragment" },
        { "http://user:secret@host:1", "user" },
        { "http://::1:2379", "brackets" },
        { "http://[::1", "not closed" },
        { "http://[::1]", "port" },
        { "http://[::1]2379", "port" },
        { "http://[]:1", "no host" },
        { "http://[1.2.3.4]:1", "IPv6" },
        { "http://[::g]:1", "IPv6" },
        { "http://[::1%]:1", "IPv6" },
        { "http://[::1%a b]:1", "IPv6" },
        { "http://ho st:1", "neither" },
        { "http://1.2.3:1", "neither" },
        { "http://256.1.1.1:1", "neither" },
        { "http://h\xc3\xb6st:1", "neither" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct addr_url url = { .port = 7 };
        const char *why = "";
        cr_expect_not(addr_parse_url(slice_of_text(cases[i].text), &url, &why), "%s",
                      cases[i].text);
        cr_expect(strstr(why, cases[i].why), "%s: %s", cases[i].text, why);
        cr_expect_eq(url.port, 7, "untouched");
    }
}

Test(addr, bounds_the_host_and_sees_nul_bytes)
{
    char text[ADDR_HOST_BYTES_MAX + 32];
    struct addr_url url;
    const char *why = "";
    for (size_t size = ADDR_HOST_BYTES_MAX - 1; size <= ADDR_HOST_BYTES_MAX; size++) {
        memcpy(text, "http://", 7);
        memset(text + 7, 'a', size);
        memcpy(text + 7 + size, ":1", 3);
        cr_expect_eq(addr_parse_url(slice_of_text(text), &url, &why), size < ADDR_HOST_BYTES_MAX);
    }
    cr_expect_not(addr_parse_url(slice_of("http://a\0b:1", 12), &url, &why));
    cr_expect_not(addr_parse_url(slice_of("http://a:1\0", 11), &url, &why));
    cr_expect_not(addr_parse_url((struct slice){ 0 }, &url, &why));
}

/* A copy of exactly that size lets the sanitizers see a read past the end. */
Test(addr, any_cut_of_a_url_is_read_within_its_bounds)
{
    static const char *const texts[] = { "https://[fe80::1%eth0]:2379", "http://127.0.0.1:65535" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t size = 1; size <= strlen(texts[i]); size++) {
            uint8_t *copy = malloc(size);
            cr_assert(copy);
            memcpy(copy, texts[i], size);
            struct addr_url url;
            const char *why = NULL;
            bool good = addr_parse_url(slice_of(copy, size), &url, &why);
            cr_expect(good || why);
            free(copy);
        }
    }
}

Test(addr, resolves_and_formats_addresses)
{
    static const struct {
        const char *text;
        const char *formatted;
        int family;
    } cases[] = {
        { "http://127.0.0.1:2379", "127.0.0.1:2379", AF_INET },
        { "http://[0:0::1]:65535", "[::1]:65535", AF_INET6 },
        { "https://[2001:db8::5]:1", "[2001:db8::5]:1", AF_INET6 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct addr_url url;
        const char *why;
        cr_assert(addr_parse_url(slice_of_text(cases[i].text), &url, &why));
        struct io_addr addr;
        int err = addr_resolve(&url, &addr);
        cr_assert_eq(err, 0, "%s", gai_strerror(err));
        cr_expect_eq(addr.sa.ss_family, cases[i].family);
        cr_expect_eq(addr_port(&addr), url.port);
        char text[ADDR_TEXT_BYTES_MAX];
        cr_expect_str_eq(addr_format(&addr, text), cases[i].formatted);
    }
}

Test(addr, resolves_the_local_name)
{
    struct addr_url url = { .host = "localhost", .port = 5 };
    struct io_addr addr;
    cr_assert_eq(addr_resolve(&url, &addr), 0);
    cr_expect_eq(addr.sa.ss_family, AF_INET, "also where localhost is ::1 first");
    cr_expect_eq(addr_port(&addr), 5);
}

Test(addr, a_name_that_does_not_exist_is_an_error)
{
    struct addr_url url = { .host = "..", .port = 5 }; /* refused without asking a server */
    struct io_addr addr = { .sa_size = 9 };
    cr_expect_neq(addr_resolve(&url, &addr), 0);
    cr_expect_eq(addr.sa_size, 9, "untouched");
}

Test(addr, formats_what_it_does_not_know_too)
{
    struct io_addr none = { 0 };
    char text[ADDR_TEXT_BYTES_MAX];
    cr_expect_str_eq(addr_format(&none, text), "unknown address");
    cr_expect_eq(addr_port(&none), 0);
}
