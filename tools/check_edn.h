/* check_edn.h: EDN as Jepsen writes histories, one top-level form at a time.
 *
 * nil, booleans, numbers (N and M suffixes too), strings, characters, keywords, symbols, lists,
 * vectors, sets, maps, comments, #_ and tags, which are skipped: the value stands for itself. A
 * history may be a row of forms or one list or vector of them; both read the same.
 *
 * Owner:  the text is the caller's and outlives the reader; a form is valid until the next read.
 * Bounds: depth EDN_DEPTH_MAX, EDN_NODES_MAX nodes a form.
 * Errors: line, column and a text; after one nothing more can be read.
 */
#ifndef TOOLS_CHECK_EDN_H
#define TOOLS_CHECK_EDN_H

#include "base/slice.h"

enum { EDN_DEPTH_MAX = 64, EDN_NODES_MAX = 1 << 20, EDN_ERROR_BYTES = 160 };

enum edn_kind {
    EDN_NIL,
    EDN_BOOL,
    EDN_INTEGER,
    EDN_OTHER_NUMBER, /* a fraction, a float, or past 64 bits: text alone */
    EDN_STRING,
    EDN_CHARACTER,
    EDN_KEYWORD,
    EDN_SYMBOL,
    EDN_LIST,
    EDN_VECTOR,
    EDN_SET,
    EDN_MAP, /* key, value, key, value */
};

struct edn {
    enum edn_kind kind;
    int64_t integer;   /* or the truth of a boolean */
    struct slice text; /* of the whole form in the source */
    const struct edn *first;
    const struct edn *next;
    uint32_t count; /* of children */
};

struct edn_reader {
    struct slice source;
    size_t at;
    uint32_t depth;
    bool is_enclosed; /* in a list or vector of all forms */
    bool began;
    struct edn_chunk *chunks; /* the newest first */
    size_t node_count;
    size_t line_at, line_count;  /* of edn_line */
    char error[EDN_ERROR_BYTES]; /* "": none */
};

void edn_open(struct edn_reader *r, struct slice source);
void edn_close(struct edn_reader *r);

/* NULL: the end, or an error. */
const struct edn *edn_next(struct edn_reader *r);

/* The value of a keyword in a map, or NULL. */
const struct edn *edn_get(const struct edn *map, const char *keyword);

bool edn_is_keyword(const struct edn *e, const char *text);   /* NULL is none */
const struct edn *edn_child(const struct edn *e, uint32_t i); /* NULL: none such */

/* List, vector or set. */
bool edn_is_row(const struct edn *e);

/* The line it begins in, from 1; cheap where it comes after the one asked for before. */
size_t edn_line(struct edn_reader *r, const struct edn *e);

#endif
