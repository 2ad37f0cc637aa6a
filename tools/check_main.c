/* holdfast-check: is this history linearizable? EDN in Jepsen's form, from a file or "-". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/check_load.h"

enum exit_status { EXIT_HOLDS = 0, EXIT_VIOLATED = 1, EXIT_USAGE = 2, EXIT_UNDECIDED = 3 };

static const char usage[] =
    "usage: holdfast-check --model MODEL [--steps N] [--memory-mib N] FILE\n"
    "\n"
    "Judges a history of operations in EDN, as Jepsen writes it; FILE - is standard input.\n"
    "\n"
    "  cas-register  :read :write :delete :cas, nil at first, each key by itself\n"
    "  register      the same, with the :revision of each completion\n"
    "  counter       :read :add, 0 at first, each key by itself\n"
    "  txn           :txn of [:r k v] [:w k v] [:append k v], all keys at once\n"
    "\n"
    "Exit codes: 0 it is linearizable, 1 it is not, 2 usage or unreadable, 3 not decided\n"
    "within the budget.\n";

static const struct {
    const char *name;
    enum check_model_kind kind;
} models[] = {
    { "cas-register", CHECK_CAS_REGISTER },
    { "register", CHECK_REGISTER },
    { "counter", CHECK_COUNTER },
    { "txn", CHECK_TXN },
};

struct options {
    const char *file;
    const char *model;
    enum check_model_kind kind;
    struct check_wgl_budget budget;
};

static bool number_parse(const char *text, uint64_t *ret)
{
    char *end;
    if (!text || *text < '0' || *text > '9')
        return false;
    *ret = strtoull(text, &end, 10);
    return *end == '\0' && *ret > 0;
}

static bool option_take(struct options *o, const char *name, const char *value)
{
    uint64_t number;
    if (strcmp(name, "--model") == 0) {
        o->model = value;
        return value != NULL;
    }
    if (!number_parse(value, &number))
        return false;
    if (strcmp(name, "--steps") == 0)
        o->budget.steps_max = number;
    else if (strcmp(name, "--memory-mib") == 0 && number <= SIZE_MAX >> 20)
        o->budget.memory_bytes = (size_t)number << 20;
    else
        return false;
    return true;
}

static bool options_parse(struct options *o, int argc, char **argv)
{
    o->budget = check_wgl_budget_usual();
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            const char *name = argv[i];
            if (!option_take(o, name, argv[++i])) /* argv ends with NULL */
                return false;
        } else if (o->file) {
            return false;
        } else {
            o->file = argv[i];
        }
    }
    for (size_t i = 0; o->file && o->model && i < sizeof models / sizeof models[0]; i++) {
        o->kind = models[i].kind;
        if (strcmp(models[i].name, o->model) == 0)
            return true;
    }
    return false;
}

/* NULL: it cannot be read. */
static char *file_read(const char *name, size_t *ret_size)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    size_t size = 0, capacity = 1 << 16, got = 1;
    char *text = file ? malloc(capacity) : NULL;
    while (text && got > 0) {
        if (size == capacity) {
            char *grown = realloc(text, capacity *= 2);
            if (!grown)
                break;
            text = grown;
        }
        got = fread(text + size, 1, capacity - size, file);
        size += got;
    }
    bool is_read = text && got == 0 && !ferror(file);
    if (file && file != stdin)
        IGNORE(fclose(file) != 0, "nothing was written");
    if (!is_read) {
        free(text);
        return NULL;
    }
    *ret_size = size;
    return text;
}

static enum exit_status judge(const struct options *o, struct slice text)
{
    struct check_calls calls;
    char error[CHECK_LOAD_ERROR_BYTES] = "out of memory";
    static struct check_report report;
    if (!check_calls_open(&calls) || !check_load(&calls, o->kind, text, error)) {
        fprintf(stderr, "holdfast-check: %s: %s\n", o->file, error);
        check_calls_close(&calls);
        return EXIT_USAGE;
    }
    enum check_verdict verdict = check_calls_judge(&calls, o->kind, &o->budget, &report);
    size_t count = calls.count;
    check_calls_close(&calls);
    switch (verdict) {
    case CHECK_VALID:
        printf("%zu operations, linearizable as %s\n", count, o->model);
        return EXIT_HOLDS;
    case CHECK_INVALID:
        printf("%s as %s\n%s\n", report.rule, o->model, report.text);
        return EXIT_VIOLATED;
    case CHECK_UNKNOWN:
        break;
    }
    printf("not decided: %s\n", report.rule);
    return EXIT_UNDECIDED;
}

int main(int argc, char **argv)
{
    struct options o = { 0 };
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_HOLDS;
    }
    if (!options_parse(&o, argc, argv)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    size_t size = 0;
    char *text = file_read(o.file, &size);
    if (!text) {
        fprintf(stderr, "holdfast-check: %s: cannot be read\n", o.file);
        return EXIT_USAGE;
    }
    enum exit_status status = judge(&o, slice_of(text, size));
    free(text);
    return status;
}
