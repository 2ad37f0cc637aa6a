#include <criterion/criterion.h>

#include "rpc/conn.h"
#include "rpc/grpc_codec.h"

static struct slice text(const char *t)
{
    return slice_of_text(t);
}

Test(grpc_codec, timeouts)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t ms;
    } rows[] = {
        { "1H", true, 3600000 },    { "2M", true, 120000 },
        { "3S", true, 3000 },       { "99999999H", true, 99999999ull * 3600000 },
        { "250m", true, 250 },      { "0m", true, 0 },
        { "1u", true, 1 },          { "1000u", true, 1 },
        { "1001u", true, 2 },       { "1n", true, 1 },
        { "99999999n", true, 100 }, { "100000000m", false, 0 },
        { "", false, 0 },           { "m", false, 0 },
        { "1", false, 0 },          { "1s", false, 0 },
        { "1h", false, 0 },         { "-1S", false, 0 },
        { "+1S", false, 0 },        { " 1S", false, 0 },
        { "1S ", false, 0 },        { "1.5S", false, 0 },
        { "0x1S", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 0;
        cr_assert_eq(grpc_timeout_parse(text(rows[i].text), &ms), rows[i].good, "%s", rows[i].text);
        cr_assert_eq(ms, rows[i].ms, "%s", rows[i].text);
    }
}

Test(grpc_codec, percent_encoding)
{
    static const struct {
        struct slice text;
        const char *encoded;
        size_t room;
    } rows[] = {
        { { (const uint8_t *)"", 0 }, "", 8 },
        { { (const uint8_t *)"plain text ~", 12 }, "plain text ~", 32 },
        { { (const uint8_t *)"100%", 4 }, "100%25", 32 },
        { { (const uint8_t *)"a\nb\0c\x7f", 6 }, "a%0Ab%00c%7F", 32 },
        { { (const uint8_t *)"\xc3\xa9", 2 }, "%C3%A9", 32 },
        { { (const uint8_t *)"abc", 3 }, "ab", 2 },
        { { (const uint8_t *)"ab\n", 3 }, "ab", 4 }, /* no half of a %XX */
        { { (const uint8_t *)"a", 1 }, "", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t to[64];
        size_t size = grpc_percent_encode(rows[i].text, to, rows[i].room);
        cr_assert(slice_equal(slice_of(to, size), text(rows[i].encoded)), "row %zu: %.*s", i,
                  (int)size, (const char *)to);
    }
}

Test(grpc_codec, content_types)
{
    static const struct {
        const char *value;
        bool ours;
    } rows[] = {
        { "application/grpc", true },
        { "application/grpc+proto", true },
        { "application/grpc;charset=utf-8", true },
        { "application/grpc+proto;x=y", true },
        { "application/grpc+json", false },
        { "application/grpc+protobuf", false },
        { "application/grpc-web", false },
        { "application/json", false },
        { "application/grp", false },
        { "", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(grpc_content_type_is_ours(text(rows[i].value)), rows[i].ours, "%s",
                     rows[i].value);
}

Test(grpc_codec, paths)
{
    static const struct {
        const char *path;
        bool good;
        const char *service;
        const char *method;
    } rows[] = {
        { "/etcdserverpb.KV/Put", true, "etcdserverpb.KV", "Put" },
        { "/a/b/c", true, "a/b", "c" },
        { "//", true, "", "" },
        { "/a/", true, "a", "" },
        { "/a", false, "", "" },
        { "/", false, "", "" },
        { "", false, "", "" },
        { "a/b", false, "", "" },
        { "*", false, "", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice service = { 0 };
        struct slice method = { 0 };
        cr_assert_eq(grpc_path_split(text(rows[i].path), &service, &method), rows[i].good, "%s",
                     rows[i].path);
        cr_assert(slice_equal(service, text(rows[i].service)), "%s", rows[i].path);
        cr_assert(slice_equal(method, text(rows[i].method)), "%s", rows[i].path);
    }
}

Test(grpc_codec, prefixes_in_every_split)
{
    static const uint8_t bytes[] = { 1, 0x01, 0x02, 0x03, 0x04, 'x' };
    for (size_t cut = 0; cut <= 5; cut++) {
        struct grpc_prefix p = { 0 };
        struct slice first = slice_of(bytes, cut);
        cr_assert_eq(grpc_prefix_take(&p, &first), cut == 5);
        cr_assert_eq(first.size, 0);
        struct slice rest = slice_of(bytes + cut, sizeof bytes - cut);
        cr_assert(grpc_prefix_take(&p, &rest));
        cr_assert_eq(rest.size, 1, "the message's first byte stays");
        cr_assert_eq(rest.data[0], 'x');
        cr_assert_eq(grpc_prefix_flags(&p), 1);
        cr_assert_eq(grpc_prefix_message_bytes(&p), 0x01020304);
    }
}

Test(grpc_codec, prefix_golden_bytes)
{
    uint8_t to[GRPC_PREFIX_BYTES];
    grpc_prefix_put(to, 0xa1b2c3d4);
    cr_assert_arr_eq(to, "\x00\xa1\xb2\xc3\xd4", sizeof to);
}

Test(grpc_codec, trailers_golden_bytes)
{
    uint8_t to[GRPC_TRAILER_BYTES_MAX];
    size_t size = grpc_trailer_encode(0, text(""), to);
    static const char ok[] = "\x00\x0bgrpc-status\x01"
                             "0";
    cr_assert(slice_equal(slice_of(to, size), slice_of(ok, sizeof ok - 1)));

    size = grpc_trailer_encode(14, text("gone"), to);
    static const char bad[] = "\x00\x0bgrpc-status\x02"
                              "14\x00\x0cgrpc-message\x04gone";
    cr_assert(slice_equal(slice_of(to, size), slice_of(bad, sizeof bad - 1)));
}

/* RFC 7541 §5.1: a length of 127 and more goes on in groups of seven bits. */
Test(grpc_codec, trailers_with_long_texts)
{
    static const struct {
        size_t length;
        struct slice encoded;
    } rows[] = {
        { 126, { (const uint8_t *)"\x7e", 1 } },
        { 127, { (const uint8_t *)"\x7f\x00", 2 } },
        { 254, { (const uint8_t *)"\x7f\x7f", 2 } },
        { 255, { (const uint8_t *)"\x7f\x80\x01", 3 } },
        { GRPC_STATUS_TEXT_BYTES_MAX, { (const uint8_t *)"\x7f\x81\x1f", 3 } },
    };
    static uint8_t message[GRPC_STATUS_TEXT_BYTES_MAX];
    memset(message, 'm', sizeof message);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t to[GRPC_TRAILER_BYTES_MAX];
        size_t size = grpc_trailer_encode(2, slice_of(message, rows[i].length), to);
        size_t before = 1 + 1 + 11 + 1 + 1 + 1 + 1 + 12;
        cr_assert_eq(size, before + rows[i].encoded.size + rows[i].length, "%zu", rows[i].length);
        cr_assert(slice_equal(slice_of(to + before, rows[i].encoded.size), rows[i].encoded), "%zu",
                  rows[i].length);
    }
}

Test(grpc_codec, protocols_by_their_first_bytes)
{
    static const struct {
        const char *first;
        enum conn_protocol protocol;
    } rows[] = {
        { "", CONN_UNDECIDED },
        { "P", CONN_UNDECIDED },
        { "PR", CONN_UNDECIDED },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", CONN_UNDECIDED },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CONN_HTTP2 },
        { "PRI * HTTP/1.1\r\n", CONN_FOREIGN },
        { "PO", CONN_UNDECIDED },
        { "POST", CONN_UNDECIDED },
        { "POST /v3/kv/put", CONN_HTTP1 },
        { "GET /health HTTP/1.1", CONN_HTTP1 },
        { "HEAD ", CONN_HTTP1 },
        { "OPTIONS ", CONN_HTTP1 },
        { "GETS ", CONN_FOREIGN },
        { "get ", CONN_FOREIGN },
        { "\x16\x03\x01", CONN_FOREIGN }, /* TLS */
        { "SSH-2.0", CONN_FOREIGN },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(conn_protocol_detect(text(rows[i].first)), rows[i].protocol, "%s",
                     rows[i].first);
    struct slice nul = slice_of("\0\0\0", 3);
    cr_assert_eq(conn_protocol_detect(nul), CONN_FOREIGN);
}
