#include "tools/check_describe.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

enum { VALUE_BYTES_MAX = 40 };

struct text {
    char *to;
    size_t room;
    size_t size;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(t->to + t->size, t->room - t->size, format, arguments);
    va_end(arguments);
    if (size < 0)
        return;
    t->size += (size_t)size;
    if (t->size >= t->room)
        t->size = t->room - 1;
}

static void add_value(struct text *t, const struct check_history *h, uint32_t value)
{
    struct slice bytes = check_history_bytes(h, value);
    if (bytes.size > VALUE_BYTES_MAX) /* the end of a list is what is new in it */
        add(t, "...%.*s", VALUE_BYTES_MAX,
            (const char *)bytes.data + (bytes.size - VALUE_BYTES_MAX));
    else if (bytes.size > 0)
        add(t, "%.*s", (int)bytes.size, (const char *)bytes.data);
}

static void add_compares(struct text *t, const struct check_history *h, const struct check_op *op)
{
    static const char *const targets[] = { "value", "mod", "create", "version" };
    static const char *const relations[] = { "=", ">", "<", "!=" };
    for (uint32_t i = 0; i < op->compares.count; i++) {
        const struct check_compare *c = &h->compares[op->compares.first + i];
        add(t, " if %s(%" PRIu32 ") %s ", targets[c->target], c->key, relations[c->relation]);
        if (c->target == CHECK_VALUE)
            add_value(t, h, (uint32_t)c->operand);
        else
            add(t, "%" PRId64, c->operand);
    }
    if (op->compares.count > 0)
        add(t, op->end == CHECK_OK ? op->succeeded ? " true" : " false" : " ?");
}

static void add_step(struct text *t, const struct check_history *h, const struct check_step *s,
                     bool is_answered)
{
    static const char *const kinds[] = { "get", "put", "delete" };
    add(t, "; %s %" PRIu32, kinds[s->kind], s->key);
    if (s->key_end > s->key + 1)
        add(t, "..%" PRIu32, s->key_end - 1);
    if (s->limit > 0)
        add(t, " limit %" PRIu32, s->limit);
    if (s->kind == CHECK_PUT) {
        add(t, " = ");
        add_value(t, h, s->value);
    } else if (is_answered) {
        add(t, " -> %" PRId64 "%s", s->count, s->more ? " more" : "");
    }
    for (uint32_t i = 0; is_answered && i < s->seen_count; i++) {
        const struct check_seen *seen = &h->seen[s->seen_first + i];
        add(t, " [%" PRIu32 ": ", seen->key);
        add_value(t, h, seen->value);
        add(t, " mod %" PRId64 " create %" PRId64 " version %" PRId64 "]", seen->mod_revision,
            seen->create_revision, seen->version);
    }
}

void check_describe(const struct check_history *h, uint32_t i, char *to, size_t room)
{
    ASSERT(i < h->op_count);
    ASSERT(room > 0);
    static const char *const ends[] = { "open", "ok", "fail", "info" };
    const struct check_op *op = &h->ops[i];
    struct text t = { .to = to, .room = room };
    to[0] = '\0';
    add(&t, "op %" PRIu32 " process %" PRIu32 " endpoint %" PRIu32 " %" PRIu64 "..", i, op->process,
        op->endpoint, op->invoke_i);
    if (op->end != CHECK_OPEN)
        add(&t, "%" PRIu64, op->end_i);
    add(&t, " %s %s%s", op->f, ends[op->end], op->serializable ? " serializable" : "");
    if (op->revision > 0)
        add(&t, " revision %" PRId64, op->revision);
    if (op->at_revision > 0)
        add(&t, " at %" PRId64, op->at_revision);
    if (op->compacts > 0)
        add(&t, " compacts %" PRId64, op->compacts);
    add_compares(&t, h, op);
    for (int branch = 1; branch >= 0; branch--) {
        bool is_taken = op->end == CHECK_OK && op->succeeded == (branch == 1);
        if (op->end == CHECK_OK && !is_taken)
            continue;
        struct check_part part = op->branches[branch];
        for (uint32_t n = 0; n < part.count; n++)
            add_step(&t, h, &h->steps[part.first + n], is_taken);
    }
}
