#include "tools/check_edn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { CHUNK_NODES = 1024 };

/* Nodes never move: a form's children point at each other. */
struct edn_chunk {
    struct edn_chunk *next;
    struct edn nodes[CHUNK_NODES];
};

void edn_open(struct edn_reader *r, struct slice source)
{
    *r = (struct edn_reader){ .source = source };
}

void edn_close(struct edn_reader *r)
{
    while (r->chunks) {
        struct edn_chunk *next = r->chunks->next;
        free(r->chunks);
        r->chunks = next;
    }
}

/* ---- errors ---- */

static void place_of(const struct edn_reader *r, size_t at, size_t *ret_line, size_t *ret_column)
{
    *ret_line = *ret_column = 1;
    for (size_t i = 0; i < at && i < r->source.size; i++) {
        if (r->source.data[i] == '\n') {
            ++*ret_line;
            *ret_column = 1;
        } else {
            ++*ret_column;
        }
    }
}

size_t edn_line(struct edn_reader *r, const struct edn *e)
{
    size_t at = (size_t)(e->text.data - r->source.data);
    if (at < r->line_at)
        r->line_at = r->line_count = 0;
    for (; r->line_at < at; r->line_at++)
        r->line_count += r->source.data[r->line_at] == '\n';
    return r->line_count + 1;
}

/* Always NULL. */
static struct edn *fail(struct edn_reader *r, size_t at, const char *what)
{
    size_t line, column;
    place_of(r, at, &line, &column);
    if (r->error[0] == '\0')
        IGNORE(snprintf(r->error, sizeof r->error, "%zu:%zu: %s", line, column, what) < 0,
               "a cut text still says where");
    return NULL;
}

static struct edn *node_new(struct edn_reader *r, enum edn_kind kind, size_t at)
{
    if (r->node_count == EDN_NODES_MAX)
        return fail(r, at, "the form is too large");
    if (r->node_count % CHUNK_NODES == 0) {
        struct edn_chunk *chunk = malloc(sizeof *chunk);
        if (!chunk)
            return fail(r, at, "out of memory");
        chunk->next = r->chunks;
        r->chunks = chunk;
    }
    struct edn *e = &r->chunks->nodes[r->node_count++ % CHUNK_NODES];
    *e = (struct edn){ .kind = kind, .text = slice_of(r->source.data + at, 0) };
    return e;
}

/* ---- tokens ---- */

static int peek(const struct edn_reader *r, size_t ahead)
{
    size_t at = r->at + ahead;
    return at < r->source.size ? r->source.data[at] : -1;
}

static bool is_space(int c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == ',' || c == '\f';
}

static bool is_end_of_token(int c)
{
    return c < 0 || is_space(c) || strchr("()[]{}\";", c) != NULL;
}

static void space_skip(struct edn_reader *r)
{
    for (;;) {
        int c = peek(r, 0);
        if (c == ';') {
            while (peek(r, 0) >= 0 && peek(r, 0) != '\n')
                r->at++;
        } else if (is_space(c)) {
            r->at++;
        } else {
            return;
        }
    }
}

static struct slice token_take(struct edn_reader *r)
{
    size_t from = r->at;
    while (!is_end_of_token(peek(r, 0)))
        r->at++;
    return slice_of(r->source.data + from, r->at - from);
}

static bool token_is(struct slice token, const char *text)
{
    return slice_equal(token, slice_of_text(text));
}

/* Digits with a sign and perhaps an N. False: another sort of number, or none. */
static bool integer_parse(struct slice token, int64_t *ret)
{
    size_t i = token.data[0] == '-' || token.data[0] == '+';
    size_t end = token.size - (token.data[token.size - 1] == 'N');
    uint64_t value = 0;
    if (i >= end)
        return false;
    for (; i < end; i++) {
        if (token.data[i] < '0' || token.data[i] > '9' ||
            __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(token.data[i] - '0'), &value))
            return false;
    }
    if (value > INT64_MAX)
        return false;
    *ret = token.data[0] == '-' ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool starts_number(struct slice token)
{
    size_t i = token.data[0] == '-' || token.data[0] == '+';
    return i < token.size && token.data[i] >= '0' && token.data[i] <= '9';
}

static struct edn *atom_read(struct edn_reader *r)
{
    size_t at = r->at;
    struct slice token = token_take(r);
    if (token.size == 0)
        return fail(r, at, "unexpected character");
    struct edn *e = node_new(r, EDN_SYMBOL, at);
    if (!e)
        return NULL;
    e->text = token;
    if (token_is(token, "nil")) {
        e->kind = EDN_NIL;
    } else if (token_is(token, "true") || token_is(token, "false")) {
        e->kind = EDN_BOOL;
        e->integer = token_is(token, "true");
    } else if (token.data[0] == ':') {
        e->kind = EDN_KEYWORD;
    } else if (starts_number(token)) {
        e->kind = integer_parse(token, &e->integer) ? EDN_INTEGER : EDN_OTHER_NUMBER;
    }
    return e;
}

static struct edn *string_read(struct edn_reader *r)
{
    size_t at = r->at++;
    while (peek(r, 0) != '"') {
        if (peek(r, 0) < 0)
            return fail(r, at, "the string does not end");
        r->at += peek(r, 0) == '\\' && peek(r, 1) >= 0 ? 2 : 1;
    }
    r->at++;
    struct edn *e = node_new(r, EDN_STRING, at);
    if (e)
        e->text = slice_of(r->source.data + at, r->at - at);
    return e;
}

static struct edn *character_read(struct edn_reader *r)
{
    size_t at = r->at;
    r->at += peek(r, 1) >= 0 ? 2 : 1; /* the character may be a delimiter */
    IGNORE(token_take(r).size == 0, "most have one letter");
    struct edn *e = node_new(r, EDN_CHARACTER, at);
    if (e)
        e->text = slice_of(r->source.data + at, r->at - at);
    return e;
}

/* ---- forms ---- */

static struct edn *form_read(struct edn_reader *r);

/* Comments and #_ forms. False: an error. */
static bool nothing_skip(struct edn_reader *r)
{
    space_skip(r);
    while (peek(r, 0) == '#' && peek(r, 1) == '_') {
        r->at += 2;
        if (!form_read(r))
            return false;
        space_skip(r);
    }
    return true;
}

static struct edn *row_read(struct edn_reader *r, enum edn_kind kind, size_t opening, int end)
{
    size_t at = r->at;
    struct edn *e = node_new(r, kind, at);
    if (!e)
        return NULL;
    r->at += opening;
    const struct edn **link = &e->first;
    while (nothing_skip(r) && peek(r, 0) != end) {
        if (peek(r, 0) < 0)
            return fail(r, at, "the form does not end");
        struct edn *child = form_read(r);
        if (!child)
            return NULL;
        *link = child;
        link = &child->next;
        e->count++;
    }
    if (r->error[0] != '\0')
        return NULL;
    r->at++;
    e->text.size = r->at - at;
    if (kind == EDN_MAP && e->count % 2 != 0)
        return fail(r, at, "a key without a value");
    return e;
}

static struct edn *tagged_read(struct edn_reader *r)
{
    if (peek(r, 1) == '{')
        return row_read(r, EDN_SET, 2, '}');
    r->at++;
    if (token_take(r).size == 0)
        return fail(r, r->at - 1, "a tag has a name");
    return form_read(r);
}

static struct edn *form_dispatch(struct edn_reader *r)
{
    switch (peek(r, 0)) {
    case -1:
        return fail(r, r->at, "the text ends too early");
    case '(':
        return row_read(r, EDN_LIST, 1, ')');
    case '[':
        return row_read(r, EDN_VECTOR, 1, ']');
    case '{':
        return row_read(r, EDN_MAP, 1, '}');
    case '"':
        return string_read(r);
    case '\\':
        return character_read(r);
    case '#':
        return tagged_read(r);
    default:
        return atom_read(r);
    }
}

static struct edn *form_read(struct edn_reader *r)
{
    if (r->depth == EDN_DEPTH_MAX)
        return fail(r, r->at, "nested too deep");
    r->depth++;
    struct edn *e = nothing_skip(r) ? form_dispatch(r) : NULL;
    r->depth--;
    return e;
}

const struct edn *edn_next(struct edn_reader *r)
{
    if (r->error[0] != '\0')
        return NULL;
    edn_close(r);
    r->node_count = 0;
    if (!nothing_skip(r))
        return NULL;
    if (!r->began && (peek(r, 0) == '[' || peek(r, 0) == '(')) {
        r->is_enclosed = true;
        r->at++;
        if (!nothing_skip(r))
            return NULL;
    }
    r->began = true;
    if (r->is_enclosed && (peek(r, 0) == ']' || peek(r, 0) == ')')) {
        r->is_enclosed = false;
        r->at++;
        space_skip(r);
    }
    if (peek(r, 0) >= 0)
        return form_read(r);
    if (r->is_enclosed)
        fail(r, r->at, "the history does not end");
    return NULL;
}

/* ---- looking at them ---- */

bool edn_is_keyword(const struct edn *e, const char *text)
{
    return e && e->kind == EDN_KEYWORD &&
           token_is(slice_of(e->text.data + 1, e->text.size - 1), text);
}

const struct edn *edn_get(const struct edn *map, const char *keyword)
{
    if (map->kind != EDN_MAP)
        return NULL;
    for (const struct edn *key = map->first; key; key = key->next->next) {
        if (edn_is_keyword(key, keyword))
            return key->next;
    }
    return NULL;
}

const struct edn *edn_child(const struct edn *e, uint32_t i)
{
    const struct edn *child = e ? e->first : NULL;
    while (child && i-- > 0)
        child = child->next;
    return child;
}

bool edn_is_row(const struct edn *e)
{
    return e && (e->kind == EDN_LIST || e->kind == EDN_VECTOR || e->kind == EDN_SET);
}
