/* The first membership, from the flags that etcd has for it. The rules and the wording of errors
 * are etcd's (client/pkg/types/urlsmap.go, server/config/config.go), so that scripts and people
 * find what they know. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/addr.h"
#include "server/membership.h"

/* Says why, and what kind of error it is. A text that is cut is cut visibly. */
static enum membership_err __attribute__((format(printf, 3, 4)))
refuse(char why[MEMBERSHIP_WHY_BYTES], enum membership_err err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(why, MEMBERSHIP_WHY_BYTES, format, arguments);
    va_end(arguments);
    if (size >= MEMBERSHIP_WHY_BYTES)
        memcpy(why + MEMBERSHIP_WHY_BYTES - 4, "...", 4);
    return err;
}

static struct slice trimmed(struct slice text)
{
    while (text.size > 0 && text.data[0] == ' ')
        text = slice_of(text.data + 1, text.size - 1);
    while (text.size > 0 && text.data[text.size - 1] == ' ')
        text.size--;
    return text;
}

/* Takes the part before the next comma off *rest. */
static struct slice part_next(struct slice *rest)
{
    const uint8_t *comma = rest->size > 0 ? memchr(rest->data, ',', rest->size) : NULL;
    size_t size = comma ? (size_t)(comma - rest->data) : rest->size;
    struct slice part = slice_of(rest->data, size);
    size_t skip = comma ? size + 1 : size;
    *rest = slice_of(rest->data + skip, rest->size - skip);
    return part;
}

static enum membership_err text_keep(struct arena *a, struct slice text, const char **ret_text)
{
    char *copy = arena_alloc(a, text.size + 1);
    if (!copy)
        return MEMBERSHIP_E_NOMEM;
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    *ret_text = copy;
    return MEMBERSHIP_OK;
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void urls_sort(struct membership_urls *urls)
{
    qsort(urls->urls, urls->count, sizeof urls->urls[0], text_order);
}

static enum membership_err url_push(struct membership_urls *urls, struct slice text,
                                    struct arena *a, char why[MEMBERSHIP_WHY_BYTES])
{
    text = trimmed(text);
    int size = text.size < MEMBERSHIP_URL_BYTES_MAX ? (int)text.size : MEMBERSHIP_URL_BYTES_MAX;
    struct addr_url parsed;
    const char *wrong = "it is too long";
    if (text.size > MEMBERSHIP_URL_BYTES_MAX || !addr_parse_url(text, &parsed, &wrong))
        return refuse(why, MEMBERSHIP_E_TEXT, "invalid URL %.*s: %s", size, (const char *)text.data,
                      wrong);
    if (urls->count == MEMBERSHIP_URLS_MAX)
        return refuse(why, MEMBERSHIP_E_BOUNDS, "more than %d URLs for one member",
                      (int)MEMBERSHIP_URLS_MAX);
    enum membership_err err = text_keep(a, text, &urls->urls[urls->count]);
    if (err == MEMBERSHIP_OK)
        urls->count++;
    return err;
}

/* Members as they are read, before they have ids. */
struct draft {
    struct arena texts;
    uint32_t count;
    struct membership_member members[RAFT_MEMBERS_MAX];
};

static enum membership_err draft_member(struct draft *d, struct slice name,
                                        struct membership_member **ret_member,
                                        char why[MEMBERSHIP_WHY_BYTES])
{
    for (uint32_t i = 0; i < d->count; i++) {
        if (slice_equal(slice_of_text(d->members[i].name), name)) {
            *ret_member = &d->members[i];
            return MEMBERSHIP_OK;
        }
    }
    if (name.size == 0)
        return refuse(why, MEMBERSHIP_E_TEXT, "a member without a name in the initial cluster");
    if (name.size > MEMBERSHIP_NAME_BYTES_MAX)
        return refuse(why, MEMBERSHIP_E_BOUNDS, "the name %.*s... is longer than %d bytes", 32,
                      (const char *)name.data, (int)MEMBERSHIP_NAME_BYTES_MAX);
    if (d->count == RAFT_MEMBERS_MAX)
        return refuse(why, MEMBERSHIP_E_BOUNDS, "more than %d members in the initial cluster",
                      (int)RAFT_MEMBERS_MAX);
    struct membership_member *member = &d->members[d->count];
    *member = (struct membership_member){ .roles = RAFT_VOTER };
    enum membership_err err = text_keep(&d->texts, name, &member->name);
    if (err != MEMBERSHIP_OK)
        return err;
    d->count++;
    *ret_member = member;
    return MEMBERSHIP_OK;
}

/* "name=url" */
static enum membership_err draft_pair(struct draft *d, struct slice pair,
                                      char why[MEMBERSHIP_WHY_BYTES])
{
    const uint8_t *equals = memchr(pair.data, '=', pair.size);
    size_t name_size = equals ? (size_t)(equals - pair.data) : pair.size;
    struct slice url = { 0 };
    if (equals)
        url = slice_of(equals + 1, pair.size - name_size - 1);
    if (trimmed(url).size == 0)
        return refuse(
            why, MEMBERSHIP_E_TEXT, "empty URL given for \"%.*s\"",
            (int)(name_size < MEMBERSHIP_NAME_BYTES_MAX ? name_size : MEMBERSHIP_NAME_BYTES_MAX),
            (const char *)pair.data);
    struct membership_member *member = NULL;
    struct slice name = trimmed(slice_of(pair.data, name_size));
    enum membership_err err = draft_member(d, name, &member, why);
    return err == MEMBERSHIP_OK ? url_push(&member->peer, url, &d->texts, why) : err;
}

static enum membership_err draft_read(struct draft *d, const char *text,
                                      char why[MEMBERSHIP_WHY_BYTES])
{
    struct slice rest = slice_of_text(text);
    while (rest.size > 0) {
        struct slice pair = trimmed(part_next(&rest));
        if (pair.size == 0)
            continue;
        enum membership_err err = draft_pair(d, pair, why);
        if (err != MEMBERSHIP_OK)
            return err;
    }
    if (d->count == 0)
        return refuse(why, MEMBERSHIP_E_TEXT, "initial cluster unset");
    return MEMBERSHIP_OK;
}

static bool url_is_elsewhere(const struct draft *d, uint32_t member_i, uint32_t url_i)
{
    const char *url = d->members[member_i].peer.urls[url_i];
    for (uint32_t i = 0; i <= member_i; i++) {
        uint32_t count = i == member_i ? url_i : d->members[i].peer.count;
        for (uint32_t k = 0; k < count; k++) {
            if (strcmp(d->members[i].peer.urls[k], url) == 0)
                return true;
        }
    }
    return false;
}

/* Two members behind one URL are a typing error that would give them one id or one voice. */
static enum membership_err draft_check(const struct draft *d, const char *text,
                                       char why[MEMBERSHIP_WHY_BYTES])
{
    for (uint32_t i = 0; i < d->count; i++) {
        for (uint32_t k = 0; k < d->members[i].peer.count; k++) {
            if (url_is_elsewhere(d, i, k))
                return refuse(why, MEMBERSHIP_E_TEXT, "initial cluster %s has duplicate url", text);
        }
    }
    return MEMBERSHIP_OK;
}

static enum membership_err draft_settle(struct draft *d, struct membership *made, const char *token,
                                        char why[MEMBERSHIP_WHY_BYTES])
{
    for (uint32_t i = 0; i < d->count; i++) {
        struct membership_member *member = &d->members[i];
        urls_sort(&member->peer);
        member->id = membership_member_id(&member->peer, token, 0);
        if (membership_by_id(made, member->id))
            return refuse(why, MEMBERSHIP_E_TEXT, "member exists with identical ID %llx",
                          (unsigned long long)member->id);
        enum membership_err err = membership_put(made, member);
        if (err != MEMBERSHIP_OK)
            return err;
    }
    return MEMBERSHIP_OK;
}

enum membership_err membership_parse_initial(struct membership *m, const char *text,
                                             const char *token, char why[MEMBERSHIP_WHY_BYTES])
{
    struct draft d = { 0 };
    struct membership made;
    arena_init(&d.texts, m->texts.bytes_max);
    membership_init(&made);
    why[0] = '\0';
    enum membership_err err = draft_read(&d, text, why);
    if (err == MEMBERSHIP_OK)
        err = draft_check(&d, text, why);
    if (err == MEMBERSHIP_OK)
        err = draft_settle(&d, &made, token, why);
    if (err == MEMBERSHIP_OK) {
        membership_done(m);
        *m = made;
        membership_init(&made);
    } else if (why[0] == '\0') {
        err = refuse(why, err, "%s", membership_strerror(err));
    }
    membership_done(&made);
    arena_done(&d.texts);
    return err;
}

/* ---- do the flags agree about ourselves? ---- */

static bool url_resolves(const char *text, bool *ret_tls, char ret_addr[ADDR_TEXT_BYTES_MAX])
{
    struct addr_url url;
    struct io_addr addr;
    const char *wrong = NULL;
    if (!addr_parse_url(slice_of_text(text), &url, &wrong) || addr_resolve(&url, &addr) != 0)
        return false;
    *ret_tls = url.tls;
    addr_format(&addr, ret_addr);
    return true;
}

/* As etcd does, a name and its address count as the same. */
static bool url_is_same(const char *a, const char *b)
{
    if (strcmp(a, b) == 0)
        return true;
    bool a_tls = false;
    bool b_tls = false;
    char a_addr[ADDR_TEXT_BYTES_MAX];
    char b_addr[ADDR_TEXT_BYTES_MAX];
    return url_resolves(a, &a_tls, a_addr) && url_resolves(b, &b_tls, b_addr) && a_tls == b_tls &&
           strcmp(a_addr, b_addr) == 0;
}

/* The first of `urls` that has no equal in `in`; NULL: all have. */
static const char *url_missing(const struct membership_urls *urls, const struct membership_urls *in)
{
    for (uint32_t i = 0; i < urls->count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < in->count && !found; k++)
            found = strcmp(urls->urls[i], in->urls[k]) == 0;
        for (uint32_t k = 0; k < in->count && !found; k++)
            found = url_is_same(urls->urls[i], in->urls[k]);
        if (!found)
            return urls->urls[i];
    }
    return NULL;
}

static enum membership_err own_compare(const struct membership_member *own,
                                       const struct membership_urls *advertised,
                                       const char *advertise_peer_urls,
                                       char why[MEMBERSHIP_WHY_BYTES])
{
    const char *missing = url_missing(&own->peer, advertised);
    if (missing)
        return refuse(why, MEMBERSHIP_E_MISMATCH,
                      "--initial-cluster has %s=%s but missing from "
                      "--initial-advertise-peer-urls=%s",
                      own->name, missing, advertise_peer_urls);
    missing = url_missing(advertised, &own->peer);
    if (missing)
        return refuse(why, MEMBERSHIP_E_MISMATCH,
                      "--initial-advertise-peer-urls has %s but missing from "
                      "--initial-cluster=%s=%s",
                      missing, own->name, own->peer.urls[0]);
    return MEMBERSHIP_OK;
}

enum membership_err membership_check_own(const struct membership *m, const char *name,
                                         const char *advertise_peer_urls,
                                         char why[MEMBERSHIP_WHY_BYTES])
{
    why[0] = '\0';
    const struct membership_member *own = membership_by_name(m, name);
    if (!own)
        return refuse(why, MEMBERSHIP_E_MISMATCH,
                      "couldn't find local name \"%s\" in the initial cluster configuration", name);
    struct arena a;
    arena_init(&a, m->texts.bytes_max);
    struct membership_urls advertised = { 0 };
    struct slice rest = slice_of_text(advertise_peer_urls);
    enum membership_err err = MEMBERSHIP_OK;
    while (rest.size > 0 && err == MEMBERSHIP_OK)
        err = url_push(&advertised, part_next(&rest), &a, why);
    if (err == MEMBERSHIP_OK)
        err = own_compare(own, &advertised, advertise_peer_urls, why);
    else if (why[0] == '\0')
        err = refuse(why, err, "%s", membership_strerror(err));
    arena_done(&a);
    return err;
}
