#include "tools/bench_endpoints.h"

#include <netdb.h>
#include <stdio.h>

#include "base/assert.h"
#include "rpc/addr.h"

static bool fail(char *why, struct slice word, const char *reason)
{
    IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "endpoint \"%.*s\": %s", (int)word.size,
                    (const char *)word.data, reason) < 0,
           "a cut text still says enough");
    return false;
}

static bool resolve(struct slice word, struct bench_endpoint *endpoint, char *why)
{
    static const char scheme[] = "http://";
    enum { SCHEME_BYTES = sizeof scheme - 1 };
    char url_text[ADDR_TEXT_BYTES_MAX];
    struct addr_url url;
    const char *reason;
    bool has_scheme = word.size >= SCHEME_BYTES && memcmp(word.data, scheme, SCHEME_BYTES) == 0;
    int size = snprintf(url_text, sizeof url_text, "%s%.*s", has_scheme ? "" : scheme,
                        (int)word.size, (const char *)word.data);
    if (size < 0 || (size_t)size >= sizeof url_text)
        return fail(why, word, "too long");
    if (!addr_parse_url(slice_of(url_text, (size_t)size), &url, &reason))
        return fail(why, word, reason);
    if (url.tls)
        return fail(why, word, "there is no TLS here");
    int error = addr_resolve(&url, &endpoint->addr);
    if (error != 0)
        return fail(why, word, gai_strerror(error));
    bool is_v6 = strchr(url.host, ':') != NULL;
    size = snprintf(endpoint->authority, sizeof endpoint->authority, is_v6 ? "[%s]:%u" : "%s:%u",
                    url.host, url.port);
    ASSERT(size > 0 && (size_t)size < sizeof endpoint->authority);
    return true;
}

size_t bench_endpoints_resolve(const char *text, struct bench_endpoint endpoints[],
                               char why[BENCH_ERROR_BYTES_MAX])
{
    size_t count = 0;
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, ",");
        struct slice word = slice_of(at, size);
        if (count == BENCH_ENDPOINTS_MAX)
            return (size_t)fail(why, word, "one too many");
        if (!resolve(word, &endpoints[count], why))
            return 0;
        count++;
        at += size + (at[size] == ',');
    }
    if (count == 0)
        return (size_t)fail(why, slice_of_text(text), "none is there");
    return count;
}
