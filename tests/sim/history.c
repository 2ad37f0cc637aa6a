#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>

struct writer {
    const struct check_history *history;
    const uint8_t *classes;
    FILE *to;
    uint64_t index;
    const char *gap; /* before the next step */
};

/* ---- values ---- */

/* An account's or a counter's "90@17", a list's "1 2 3", a register's "17....". */
static void value_write(const struct writer *w, uint32_t key, uint32_t value)
{
    struct slice bytes = check_history_bytes(w->history, value);
    const char *text = (const char *)bytes.data;
    int size = (int)bytes.size;
    if (value == 0) {
        fputs("nil", w->to);
        return;
    }
    switch ((enum history_class)w->classes[key]) {
    case HISTORY_LIST:
        fprintf(w->to, "[%.*s]", size, text);
        return;
    case HISTORY_COUNTER:
    case HISTORY_ACCOUNT:
        fprintf(w->to, "\"%.*s\"", size, text);
        return;
    case HISTORY_REGISTER:
        while (size > 0 && text[size - 1] == '.')
            size--;
        fprintf(w->to, "%.*s", size, text);
        return;
    }
}

/* The last element of a list is the one that was appended. */
static void element_write(const struct writer *w, uint32_t value)
{
    struct slice bytes = check_history_bytes(w->history, value);
    size_t from = bytes.size;
    while (from > 0 && bytes.data[from - 1] != ' ')
        from--;
    fprintf(w->to, "%.*s", (int)(bytes.size - from), (const char *)bytes.data + from);
}

/* ---- steps ---- */

static void step_begin(struct writer *w, const char *f, uint32_t key)
{
    fprintf(w->to, "%s[%s %" PRIu32 " ", w->gap, f, key);
    w->gap = " ";
}

static void read_write(struct writer *w, const struct check_step *s, bool is_answered)
{
    const struct check_seen *seen = w->history->seen + s->seen_first;
    uint32_t i = 0;
    for (uint32_t k = s->key; k < s->key_end; k++) {
        bool is_seen = is_answered && i < s->seen_count && seen[i].key == k;
        if (is_answered && !is_seen && i == s->seen_count && s->more)
            return; /* the limit cut off the rest */
        step_begin(w, ":r", k);
        value_write(w, k, is_seen ? seen[i++].value : 0);
        fputc(']', w->to);
    }
}

static void step_write(struct writer *w, const struct check_step *s, bool is_answered)
{
    if (s->kind == CHECK_GET) {
        read_write(w, s, is_answered);
    } else if (s->kind == CHECK_DELETE) {
        for (uint32_t k = s->key; k < s->key_end; k++) {
            step_begin(w, ":w", k);
            fputs("nil]", w->to);
        }
    } else if (w->classes[s->key] == HISTORY_LIST) {
        step_begin(w, ":append", s->key);
        element_write(w, s->value);
        fputc(']', w->to);
    } else {
        step_begin(w, ":w", s->key);
        value_write(w, s->key, s->value);
        fputc(']', w->to);
    }
}

/* ---- operations ---- */

/* One step on one register: written as that, not as a transaction. NULL: it is more. */
static const struct check_step *single_step(const struct writer *w, const struct check_op *op)
{
    if (op->branches[1].count != 1)
        return NULL;
    const struct check_step *s = &w->history->steps[op->branches[1].first];
    bool is_cas = op->compares.count == 1 && s->kind == CHECK_PUT &&
                  w->history->compares[op->compares.first].target == CHECK_VALUE;
    bool is_single = s->key_end == s->key + 1 && w->classes[s->key] == HISTORY_REGISTER;
    return is_single && (is_cas || op->compares.count == 0) ? s : NULL;
}

static void single_write(const struct writer *w, const struct check_op *op,
                         const struct check_step *s, bool is_answered)
{
    bool is_cas = op->compares.count > 0;
    fprintf(w->to, ":f :%s, :value [%" PRIu32 " ",
            is_cas                 ? "cas"
            : s->kind == CHECK_GET ? "read"
                                   : "write",
            s->key);
    if (is_cas) {
        fputc('[', w->to);
        value_write(w, s->key, (uint32_t)w->history->compares[op->compares.first].operand);
        fputc(' ', w->to);
    }
    if (s->kind == CHECK_PUT)
        value_write(w, s->key, s->value);
    else if (s->kind == CHECK_GET && is_answered && s->seen_count == 1)
        value_write(w, s->key, w->history->seen[s->seen_first].value);
    else
        fputs("nil", w->to);
    fputs(is_cas ? "]]" : "]", w->to);
}

static void value_of_op_write(struct writer *w, const struct check_op *op, bool is_answered)
{
    const struct check_step *single = single_step(w, op);
    if (op->compacts > 0) {
        fprintf(w->to, ":f :compact, :value %" PRId64, op->compacts);
        return;
    }
    if (single) {
        single_write(w, op, single, is_answered);
        return;
    }
    fputs(":f :txn, :value [", w->to);
    w->gap = "";
    struct check_part part = op->branches[1];
    for (uint32_t n = 0; n < part.count; n++)
        step_write(w, &w->history->steps[part.first + n], is_answered);
    fputc(']', w->to);
}

static void event_write(struct writer *w, const struct check_op *op, const char *type,
                        uint64_t time_ns, bool is_end)
{
    bool is_answered = is_end && op->end == CHECK_OK && op->succeeded;
    fprintf(w->to, "{:type :%s, ", type);
    value_of_op_write(w, op, is_answered);
    fprintf(w->to, ", :process %" PRIu32 ", :time %" PRIu64 ", :index %" PRIu64, op->process,
            time_ns, w->index++);
    if (op->serializable)
        fputs(", :serializable true", w->to);
    if (op->at_revision > 0)
        fprintf(w->to, ", :at-revision %" PRId64, op->at_revision);
    if (is_end)
        fprintf(w->to, ", :node %" PRIu32, op->endpoint);
    if (is_end && op->end == CHECK_OK)
        fprintf(w->to, ", :revision %" PRId64, op->revision);
    fputs("}\n", w->to);
}

/* A compare that did not hold is a :fail, as Jepsen's clients have it. */
static const char *end_type(const struct check_op *op)
{
    switch (op->end) {
    case CHECK_OK:
        return op->succeeded ? "ok" : "fail";
    case CHECK_FAIL:
        return "fail";
    case CHECK_INFO:
    case CHECK_OPEN:
        break;
    }
    return "info";
}

bool history_write_edn(const struct check_history *h, const uint8_t *classes, FILE *to)
{
    struct writer w = { .history = h, .classes = classes, .to = to };
    uint32_t *events = malloc((h->next_i + 1) * sizeof *events);
    if (!events)
        return false;
    for (uint32_t i = 0; i < h->op_count; i++) {
        events[h->ops[i].invoke_i] = i;
        if (h->ops[i].end != CHECK_OPEN)
            events[h->ops[i].end_i] = i;
    }
    for (uint64_t e = 0; e < h->next_i; e++) {
        const struct check_op *op = &h->ops[events[e]];
        bool is_end = op->end_i == e;
        event_write(&w, op, is_end ? end_type(op) : "invoke", is_end ? op->end_ns : op->invoke_ns,
                    is_end);
    }
    free(events);
    return fflush(to) == 0 && !ferror(to);
}
