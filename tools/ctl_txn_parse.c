#include "tools/ctl_txn_parse.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tools/ctl.h"
#include "tools/ctl_text.h"

/* printf's %.*s for a slice of a line. */
#define LINE(line) (int)((line).size < 512 ? (line).size : 512), (const char *)(line).data

static bool out_of_room(struct ctl_error *ret_error)
{
    return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "the transaction is too large");
}

void ctl_txn_init(struct ctl_txn *txn)
{
    *txn = (struct ctl_txn){ 0 };
    arena_init(&txn->arena, CTL_TXN_BYTES_MAX);
}

void ctl_txn_done(struct ctl_txn *txn)
{
    free(txn->compares);
    free(txn->success.items);
    free(txn->failure.items);
    arena_done(&txn->arena);
}

/* Room for one more pointer. */
static bool pointers_reserve(void **items, size_t count, size_t *room)
{
    if (count < *room)
        return true;
    size_t wanted = *room == 0 ? 16 : *room * 2;
    void *grown = realloc(*items, wanted * sizeof(void *));
    if (grown == NULL)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

static struct slice skip_space(struct slice text)
{
    while (text.size > 0 && isspace(text.data[0]))
        text = slice_of(text.data + 1, text.size - 1);
    return text;
}

/* ---- words ---- */

/* A word of `size` bytes with a NUL behind it, as the flag parser wants them. */
static bool word_copy(struct arena *arena, struct slice bytes, struct slice *ret_word)
{
    uint8_t *copy = arena_alloc(arena, bytes.size + 1);
    if (copy == NULL)
        return false;
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = '\0';
    *ret_word = slice_of(copy, bytes.size);
    return true;
}

/* The closing quote of a word that begins with one: bytes up to and with it, or 0. */
static size_t quoted_size(struct slice text)
{
    uint8_t quote = text.data[0];
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == quote)
            return i + 1;
        if (quote == '"' && text.data[i] == '\\')
            i++;
    }
    return 0;
}

static bool word_unquote(struct arena *arena, struct slice literal, struct slice *ret_word,
                         struct ctl_error *ret_error)
{
    uint8_t *bytes = arena_alloc(arena, literal.size + 1);
    size_t size = 0;
    if (bytes == NULL)
        return out_of_room(ret_error);
    if (text_unquote(literal, bytes, &size) == 0)
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "bad escape in %.*s", LINE(literal));
    bytes[size] = '\0';
    *ret_word = slice_of(bytes, size);
    return true;
}

/* One word at the start of the text; *ret_used says how much of it that was. */
static bool word_take(struct arena *arena, struct slice text, struct slice *ret_word,
                      size_t *ret_used, struct ctl_error *ret_error)
{
    uint8_t first = text.data[0];
    size_t size = 0;
    if (first != '"' && first != '\'') {
        while (size < text.size && !isspace(text.data[size]))
            size++;
        *ret_used = size;
        return word_copy(arena, slice_of(text.data, size), ret_word) || out_of_room(ret_error);
    }
    size = quoted_size(text);
    *ret_used = size;
    if (size == 0)
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "a quote is not closed: %.*s",
                        LINE(text));
    if (first == '"')
        return word_unquote(arena, slice_of(text.data, size), ret_word, ret_error);
    return word_copy(arena, slice_of(text.data + 1, size - 2), ret_word) || out_of_room(ret_error);
}

bool ctl_txn_split(struct arena *arena, struct slice line, struct slice *ret_words,
                   size_t *ret_count, struct ctl_error *ret_error)
{
    *ret_count = 0;
    for (struct slice rest = skip_space(line); rest.size > 0; rest = skip_space(rest)) {
        size_t used = 0;
        if (*ret_count == CTL_TXN_WORD_COUNT_MAX)
            return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "too many words: %.*s", LINE(line));
        if (!word_take(arena, rest, &ret_words[*ret_count], &used, ret_error))
            return false;
        *ret_count += 1;
        rest = slice_of(rest.data + used, rest.size - used);
    }
    return true;
}

/* ---- compares ---- */

struct compare_target {
    const char *names[2];
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__TargetUnionCase union_case;
    int base; /* of the number; 0: not a number */
};

static const struct compare_target targets[] = {
    { { "ver", "version" },
      ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
      ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
      10 },
    { { "c", "create" },
      ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
      ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
      10 },
    { { "m", "mod" },
      ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
      ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
      10 },
    { { "val", "value" },
      ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
      ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
      0 },
    { { "lease", "lease" },
      ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
      ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
      16 },
};

static const struct {
    const char *text;
    Etcdserverpb__Compare__CompareResult result;
} relations[] = {
    { "=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL },
    { "!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL },
    { ">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER },
    { "<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS },
};

static const struct compare_target *target_find(struct slice name)
{
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (slice_equal(name, slice_of_text(targets[i].names[0])) ||
            slice_equal(name, slice_of_text(targets[i].names[1])))
            return &targets[i];
    }
    return NULL;
}

/* target("key") relation "value" */
struct compare_parts {
    struct slice target;
    struct slice key;
    struct slice relation;
    struct slice value;
};

/* A string literal at the start of *text, which moves past it. */
static bool literal_take(struct arena *arena, struct slice *text, struct slice *ret_bytes)
{
    uint8_t *bytes = arena_alloc(arena, text->size + 1);
    size_t size = 0;
    size_t used = bytes == NULL ? 0 : text_unquote(*text, bytes, &size);
    if (used == 0)
        return false;
    bytes[size] = '\0';
    *ret_bytes = slice_of(bytes, size);
    *text = slice_of(text->data + used, text->size - used);
    return true;
}

static bool compare_split(struct arena *arena, struct slice line, struct compare_parts *ret_parts)
{
    const uint8_t *paren = memchr(line.data, '(', line.size);
    if (paren == NULL)
        return false;
    ret_parts->target = slice_of(line.data, (size_t)(paren - line.data));
    struct slice rest = slice_of(paren + 1, line.size - ret_parts->target.size - 1);
    rest = skip_space(rest);
    if (!literal_take(arena, &rest, &ret_parts->key) || rest.size == 0 || rest.data[0] != ')')
        return false;
    rest = skip_space(slice_of(rest.data + 1, rest.size - 1));
    size_t size = 0;
    while (size < rest.size && !isspace(rest.data[size]))
        size++;
    ret_parts->relation = slice_of(rest.data, size);
    rest = skip_space(slice_of(rest.data + size, rest.size - size));
    return literal_take(arena, &rest, &ret_parts->value) && skip_space(rest).size == 0;
}

static bool compare_set_value(Etcdserverpb__Compare *compare, const struct compare_target *target,
                              struct slice value)
{
    const char *why = NULL;
    int64_t number = 0;
    compare->target = target->target;
    compare->target_union_case = target->union_case;
    if (target->base == 0) {
        compare->value = ctl_pb_of_slice(value);
        return true;
    }
    if (strlen((const char *)value.data) != value.size ||
        !text_parse_int((const char *)value.data, target->base, &number, &why))
        return false;
    /* The numbers of the union share their place. */
    compare->version = number;
    return true;
}

bool ctl_txn_add_compare(struct ctl_txn *txn, struct slice line, struct ctl_error *ret_error)
{
    struct compare_parts parts;
    if (!compare_split(&txn->arena, line, &parts))
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "malformed comparison: %.*s",
                        LINE(line));
    const struct compare_target *target = target_find(parts.target);
    if (target == NULL)
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT,
                        "malformed comparison: %.*s (unknown target %.*s)", LINE(line),
                        LINE(parts.target));
    Etcdserverpb__Compare *compare = arena_alloc(&txn->arena, sizeof *compare);
    void *pointers = txn->compares;
    if (compare == NULL || !pointers_reserve(&pointers, txn->compare_count, &txn->compare_room))
        return out_of_room(ret_error);
    txn->compares = pointers;
    etcdserverpb__compare__init(compare);
    compare->key = ctl_pb_of_slice(parts.key);
    bool known = false;
    for (size_t i = 0; i < sizeof relations / sizeof relations[0] && !known; i++) {
        known = slice_equal(parts.relation, slice_of_text(relations[i].text));
        compare->result = relations[i].result;
    }
    if (!known)
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT,
                        "malformed comparison: %.*s (unknown operator %.*s)", LINE(line),
                        LINE(parts.relation));
    if (!compare_set_value(compare, target, parts.value))
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "invalid txn compare request: %.*s",
                        LINE(line));
    txn->compares[txn->compare_count++] = compare;
    return true;
}

/* ---- requests ---- */

/* Moves what a request owns on the heap into the arena. */
static bool range_end_keep(struct arena *arena, uint8_t *owned, ProtobufCBinaryData *range_end)
{
    struct slice copy = { 0 };
    if (owned == NULL)
        return true;
    bool ok = arena_copy(arena, slice_of(range_end->data, range_end->len), &copy);
    free(owned);
    *range_end = ctl_pb_of_slice(copy);
    return ok;
}

static bool op_put(struct arena *arena, const struct ctl_args *args, Etcdserverpb__RequestOp *op,
                   struct ctl_error *ret_error)
{
    struct ctl_put_request *put = arena_alloc(arena, sizeof *put);
    if (put == NULL)
        return out_of_room(ret_error);
    if (!ctl_put_parse(args, put, ret_error))
        return false;
    if (put->wants_input)
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "put needs a key and a value");
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = &put->request;
    return true;
}

static bool op_get(struct arena *arena, const struct ctl_args *args, Etcdserverpb__RequestOp *op,
                   struct ctl_error *ret_error)
{
    struct ctl_get_request *get = arena_alloc(arena, sizeof *get);
    if (get == NULL)
        return out_of_room(ret_error);
    if (!ctl_get_parse(args, get, ret_error))
        return false;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = &get->request;
    return range_end_keep(arena, get->range_end, &get->request.range_end) || out_of_room(ret_error);
}

static bool op_del(struct arena *arena, const struct ctl_args *args, Etcdserverpb__RequestOp *op,
                   struct ctl_error *ret_error)
{
    struct ctl_del_request *del = arena_alloc(arena, sizeof *del);
    if (del == NULL)
        return out_of_room(ret_error);
    if (!ctl_del_parse(args, del, ret_error))
        return false;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = &del->request;
    return range_end_keep(arena, del->range_end, &del->request.range_end) || out_of_room(ret_error);
}

static bool op_parse(struct ctl_txn *txn, struct slice line, Etcdserverpb__RequestOp *op,
                     struct ctl_error *ret_error)
{
    struct slice words[CTL_TXN_WORD_COUNT_MAX];
    size_t count = 0;
    /* Its values are views of words in the arena, so the requests outlive it. */
    struct ctl_args args;
    if (!ctl_txn_split(&txn->arena, line, words, &count, ret_error) ||
        !ctl_parse(&args, words, count, ret_error))
        return false;
    if (count < 2)
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "a request has a verb and a key");
    if (args.command != NULL && args.command->run == ctl_put_run)
        return op_put(&txn->arena, &args, op, ret_error);
    if (args.command != NULL && args.command->run == ctl_get_run)
        return op_get(&txn->arena, &args, op, ret_error);
    if (args.command != NULL && args.command->run == ctl_del_run)
        return op_del(&txn->arena, &args, op, ret_error);
    return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "a request is get, put or del");
}

bool ctl_txn_add_op(struct ctl_txn *txn, struct ctl_txn_ops *ops, struct slice line,
                    struct ctl_error *ret_error)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&txn->arena, sizeof *op);
    void *pointers = ops->items;
    struct ctl_error why;
    if (op == NULL || !pointers_reserve(&pointers, ops->count, &ops->room))
        return out_of_room(ret_error);
    ops->items = pointers;
    etcdserverpb__request_op__init(op);
    if (!op_parse(txn, line, op, &why))
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT, "invalid txn request: %.*s (%.1024s)",
                        LINE(line), why.text);
    ops->items[ops->count++] = op;
    return true;
}
