#include "tools/bench_hpack.h"

#include "base/assert.h"

/* RFC 7541 §6: how a field begins. */
enum {
    INDEXED = 0x80,
    LITERAL_INDEXED = 0x40, /* and put into the table */
    LITERAL = 0x00,
};

/* RFC 7541, appendix A. */
enum {
    STATIC_AUTHORITY = 1,
    STATIC_METHOD_POST = 3,
    STATIC_PATH = 4,
    STATIC_SCHEME_HTTP = 6,
    STATIC_CONTENT_TYPE = 31,
    STATIC_COUNT = 61,
};

enum { COMMON_COUNT = 3 }; /* authority, te, content-type: inserted together */

/* RFC 7541 §5.1: an integer whose first byte has `bits` bits for it. */
static uint8_t *put_integer(uint8_t *to, uint8_t first, unsigned bits, size_t value)
{
    size_t most = (1u << bits) - 1;
    if (value < most) {
        *to++ = (uint8_t)(first | value);
        return to;
    }
    *to++ = (uint8_t)(first | most);
    for (value -= most; value >= 0x80; value >>= 7)
        *to++ = (uint8_t)(value | 0x80);
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_string(uint8_t *to, struct slice text)
{
    to = put_integer(to, 0, 7, text.size);
    memcpy(to, text.data, text.size);
    return to + text.size;
}

/* The newest entry has the lowest index. */
static uint8_t *put_inserted(const struct bench_session *s, uint8_t *to, uint32_t number)
{
    return put_integer(to, INDEXED, 7, STATIC_COUNT + s->inserted - number);
}

static uint8_t *put_path(struct bench_session *s, uint8_t *to, struct slice path)
{
    for (size_t i = 0; i < s->path_count; i++) {
        if (slice_equal(s->paths[i].value, path))
            return put_inserted(s, to, s->paths[i].number);
    }
    bool is_kept = s->path_count < BENCH_PATHS_MAX;
    if (is_kept)
        s->paths[s->path_count++] = (struct bench_indexed){ path, s->inserted++ };
    to = is_kept ? put_integer(to, LITERAL_INDEXED, 6, STATIC_PATH)
                 : put_integer(to, LITERAL, 4, STATIC_PATH);
    return put_string(to, path);
}

static uint8_t *put_common(struct bench_session *s, uint8_t *to, struct slice authority)
{
    if (s->common_number > 0) {
        for (uint32_t i = 0; i < COMMON_COUNT; i++)
            to = put_inserted(s, to, s->common_number - 1 + i);
        return to;
    }
    to = put_integer(to, LITERAL_INDEXED, 6, STATIC_AUTHORITY);
    to = put_string(to, authority);
    to = put_integer(to, LITERAL_INDEXED, 6, 0);
    to = put_string(to, slice_of_text("te"));
    to = put_string(to, slice_of_text("trailers"));
    to = put_integer(to, LITERAL_INDEXED, 6, STATIC_CONTENT_TYPE);
    to = put_string(to, slice_of_text("application/grpc"));
    s->common_number = s->inserted + 1;
    s->inserted += COMMON_COUNT;
    return to;
}

size_t bench_hpack_request(struct bench_session *s, struct slice path, struct slice authority,
                           uint8_t to[BENCH_BLOCK_BYTES_MAX])
{
    ASSERT(path.size <= BENCH_PATH_BYTES_MAX);
    uint8_t *at = to;
    *at++ = INDEXED | STATIC_METHOD_POST;
    *at++ = INDEXED | STATIC_SCHEME_HTTP;
    at = put_path(s, at, path);
    at = put_common(s, at, authority);
    return (size_t)(at - to);
}
