#include "tools/ctl_flags.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "tools/ctl_text.h"

enum { VARIABLE_BYTES_MAX = 64, NEAR_DISTANCE_MAX = 2 };

const struct ctl_flag ctl_flags[CTL_FLAG_COUNT] = {
#define X(id, name, letter, type, initial, help) { name, letter, CTL_TYPE_##type, initial, help },
    CTL_FLAGS(X)
#undef X
};

bool ctl_fail(struct ctl_error *ret_error, enum ctl_exit code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    IGNORE(vsnprintf(ret_error->text, sizeof ret_error->text, format, arguments) < 0,
           "a cut text still says enough");
    va_end(arguments);
    ret_error->code = code;
    return false;
}

bool ctl_command_takes(const struct ctl_command *command, enum ctl_flag_id id)
{
    if (id < CTL_GLOBAL_FLAG_COUNT)
        return true;
    if (command == NULL || command->flags == NULL)
        return false;
    for (const enum ctl_flag_id *own = command->flags; *own != CTL_FLAG_COUNT; own++) {
        if (*own == id)
            return true;
    }
    return false;
}

/* ---- one value ---- */

static bool value_refuse(enum ctl_flag_id id, const char *text, const char *why,
                         struct ctl_error *ret_error)
{
    const struct ctl_flag *f = &ctl_flags[id];
    char letter[8] = "";
    if (f->letter != 0)
        IGNORE(snprintf(letter, sizeof letter, "-%c, ", f->letter) < 0, "a letter always fits");
    return ctl_fail(ret_error, CTL_EXIT_ERROR, "invalid argument \"%s\" for \"%s--%s\" flag: %s",
                    text, letter, f->name, why);
}

static bool list_add(struct ctl_args *args, enum ctl_flag_id id, struct slice text,
                     struct ctl_error *ret_error)
{
    if (!args->values[id].given)
        args->endpoint_count = 0;
    while (text.size > 0) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        size_t size = comma == NULL ? text.size : (size_t)(comma - text.data);
        struct slice item = slice_of(text.data, size);
        while (item.size > 0 && isspace(item.data[0]))
            item = slice_of(item.data + 1, item.size - 1);
        while (item.size > 0 && isspace(item.data[item.size - 1]))
            item.size--;
        if (args->endpoint_count == CTL_ENDPOINT_COUNT_MAX)
            return value_refuse(id, "...", "too many endpoints", ret_error);
        args->endpoints[args->endpoint_count++] = item;
        size_t used = comma == NULL ? size : size + 1;
        text = slice_of(text.data + used, text.size - used);
    }
    return true;
}

static bool value_set(struct ctl_args *args, enum ctl_flag_id id, struct slice word,
                      struct ctl_error *ret_error)
{
    struct ctl_value *v = &args->values[id];
    const char *text = (const char *)word.data;
    const char *why = "";
    char reason[160];
    v->text = word;
    switch (ctl_flags[id].type) {
    case CTL_TYPE_BOOL:
        why = "invalid syntax";
        if (text_parse_bool(text, &v->is_true))
            return true;
        break;
    case CTL_TYPE_INT:
        if (text_parse_int(text, 0, &v->number, &why))
            return true;
        break;
    case CTL_TYPE_TEXT:
        return true;
    case CTL_TYPE_DURATION:
        if (text_parse_duration(text, &v->ms, &why))
            return true;
        IGNORE(snprintf(reason, sizeof reason, "time: %s \"%.64s\"", why, text) < 0, "for people");
        return value_refuse(id, text, reason, ret_error);
    case CTL_TYPE_LIST:
        return list_add(args, id, word, ret_error);
    }
    IGNORE(snprintf(reason, sizeof reason, "strconv.%s: parsing \"%.64s\": %s",
                    ctl_flags[id].type == CTL_TYPE_BOOL ? "ParseBool" : "ParseInt", text, why) < 0,
           "for people");
    return value_refuse(id, text, reason, ret_error);
}

/* ---- finding flags and commands ---- */

static enum ctl_flag_id flag_by_name(const struct ctl_command *command, bool any, struct slice name)
{
    for (enum ctl_flag_id id = 0; id < CTL_FLAG_COUNT; id++) {
        if ((any || ctl_command_takes(command, id)) &&
            slice_equal(name, slice_of_text(ctl_flags[id].name)))
            return id;
    }
    return CTL_FLAG_COUNT;
}

static enum ctl_flag_id flag_by_letter(const struct ctl_command *command, bool any, uint8_t letter)
{
    for (enum ctl_flag_id id = 0; id < CTL_FLAG_COUNT; id++) {
        if ((any || ctl_command_takes(command, id)) && letter != 0 &&
            letter == (uint8_t)ctl_flags[id].letter)
            return id;
    }
    return CTL_FLAG_COUNT;
}

static bool flag_unknown(const struct ctl_command *command, struct slice name,
                         struct ctl_error *ret_error)
{
    const char *nearest = NULL;
    unsigned best = NEAR_DISTANCE_MAX + 1;
    char word[TEXT_WORD_BYTES_MAX + 1];
    size_t size = name.size < TEXT_WORD_BYTES_MAX ? name.size : TEXT_WORD_BYTES_MAX;
    memcpy(word, name.data, size);
    word[size] = '\0';
    for (enum ctl_flag_id id = 0; id < CTL_FLAG_COUNT; id++) {
        unsigned distance = text_distance(word, ctl_flags[id].name);
        if (distance < best && ctl_command_takes(command, id)) {
            best = distance;
            nearest = ctl_flags[id].name;
        }
    }
    if (nearest == NULL)
        return ctl_fail(ret_error, CTL_EXIT_ERROR, "unknown flag: --%s", word);
    return ctl_fail(ret_error, CTL_EXIT_ERROR, "unknown flag: --%s (did you mean --%s?)", word,
                    nearest);
}

/* How many of the words name this command: all of its own, each maybe cut short. */
static size_t command_match(const struct ctl_command *command, const struct slice *words,
                            size_t word_count, bool *ret_exact)
{
    const char *at = command->name;
    *ret_exact = true;
    for (size_t matched = 0;; matched++) {
        size_t size = strcspn(at, " ");
        if (matched == word_count || words[matched].size > size || words[matched].size == 0 ||
            memcmp(at, words[matched].data, words[matched].size) != 0)
            return 0;
        *ret_exact = *ret_exact && words[matched].size == size;
        if (at[size] == '\0')
            return matched + 1;
        at += size + 1;
    }
}

static bool command_is_group(struct slice word)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *name = ctl_commands[i].name;
        size_t size = strcspn(name, " ");
        if (name[size] == ' ' && slice_equal(word, slice_of(name, size)))
            return true;
    }
    return false;
}

static bool command_unknown(const struct slice *words, size_t word_count,
                            struct ctl_error *ret_error)
{
    const char *nearest = NULL;
    unsigned best = NEAR_DISTANCE_MAX + 1;
    bool in_group = word_count > 1 && command_is_group(words[0]);
    char typed[2 * TEXT_WORD_BYTES_MAX];
    int made = in_group ? snprintf(typed, sizeof typed, "%.40s %.40s", words[0].data, words[1].data)
                        : snprintf(typed, sizeof typed, "%.80s", words[0].data);
    ASSERT(made >= 0 && (size_t)made < sizeof typed);
    for (size_t i = 0; i < ctl_command_count; i++) {
        unsigned distance = text_distance(typed, ctl_commands[i].name);
        if (distance < best) {
            best = distance;
            nearest = ctl_commands[i].name;
        }
    }
    if (nearest == NULL)
        return ctl_fail(ret_error, CTL_EXIT_ERROR, "unknown command \"%s\" for \"holdfastctl\"",
                        typed);
    return ctl_fail(ret_error, CTL_EXIT_ERROR,
                    "unknown command \"%s\" for \"holdfastctl\" (did you mean \"%s\"?)", typed,
                    nearest);
}

/* Sets args->command from the first positional words; *ret_used says how many it took. */
static bool command_find(struct ctl_args *args, const struct slice *words, size_t word_count,
                         size_t *ret_used, struct ctl_error *ret_error)
{
    size_t candidates = 0;
    *ret_used = 0;
    if (word_count == 0)
        return true;
    for (size_t i = 0; i < ctl_command_count; i++) {
        bool exact = false;
        size_t used = command_match(&ctl_commands[i], words, word_count, &exact);
        if (used == 0)
            continue;
        candidates = exact ? 1 : candidates + 1;
        args->command = &ctl_commands[i];
        *ret_used = used;
        if (exact)
            break;
    }
    if (candidates == 1)
        return true;
    args->command = NULL;
    if (candidates == 0 && word_count == 1 && command_is_group(words[0])) {
        args->group = words[0];
        return true;
    }
    return command_unknown(words, word_count, ret_error);
}

/* ---- the command line ---- */

struct parser {
    struct ctl_args *args;
    const struct slice *words;
    size_t word_count;
    size_t at;
    bool looks_only; /* the first pass: no values are set, every flag of any command passes */
    struct slice positionals[CTL_ARGUMENT_COUNT_MAX];
    size_t positional_count;
    struct ctl_error *error;
};

static bool parser_value(struct parser *p, enum ctl_flag_id id, struct slice inlined)
{
    if (inlined.data == NULL && ctl_flags[id].type != CTL_TYPE_BOOL) {
        if (p->at == p->word_count)
            return ctl_fail(p->error, CTL_EXIT_ERROR, "flag needs an argument: --%s",
                            ctl_flags[id].name);
        inlined = p->words[p->at++];
    }
    if (p->looks_only)
        return true;
    if (inlined.data == NULL)
        inlined = slice_of_text("true");
    if (!value_set(p->args, id, inlined, p->error))
        return false;
    p->args->values[id].given = true;
    return true;
}

static bool parser_long(struct parser *p, struct slice word)
{
    const uint8_t *equals = memchr(word.data, '=', word.size);
    struct slice name = slice_of(word.data, equals ? (size_t)(equals - word.data) : word.size);
    struct slice value = { 0 };
    if (equals != NULL)
        value = slice_of(equals + 1, word.size - name.size - 1);
    enum ctl_flag_id id = flag_by_name(p->args->command, p->looks_only, name);
    if (id != CTL_FLAG_COUNT)
        return parser_value(p, id, value);
    return p->looks_only || flag_unknown(p->args->command, name, p->error);
}

/* -w json, -wjson, -w=json, -i, -iwjson. */
static bool parser_letters(struct parser *p, struct slice letters)
{
    for (size_t i = 0; i < letters.size; i++) {
        enum ctl_flag_id id = flag_by_letter(p->args->command, p->looks_only, letters.data[i]);
        if (id == CTL_FLAG_COUNT) {
            if (p->looks_only)
                return true;
            return ctl_fail(p->error, CTL_EXIT_ERROR, "unknown shorthand flag: '%c' in -%s",
                            letters.data[i], (const char *)letters.data);
        }
        struct slice rest = slice_of(letters.data + i + 1, letters.size - i - 1);
        bool has_equals = rest.size > 0 && rest.data[0] == '=';
        bool ends = has_equals || ctl_flags[id].type != CTL_TYPE_BOOL;
        if (has_equals)
            rest = slice_of(rest.data + 1, rest.size - 1);
        else if (rest.size == 0 || !ends)
            rest.data = NULL;
        if (!parser_value(p, id, rest))
            return false;
        if (ends)
            return true;
    }
    return true;
}

static bool parser_positional(struct parser *p, struct slice word)
{
    if (p->positional_count == CTL_ARGUMENT_COUNT_MAX)
        return ctl_fail(p->error, CTL_EXIT_BAD_ARGS, "too many arguments");
    p->positionals[p->positional_count++] = word;
    return true;
}

static bool parser_run(struct parser *p)
{
    bool flags_end = false;
    while (p->at < p->word_count) {
        struct slice word = p->words[p->at++];
        bool ok = true;
        if (flags_end || word.size < 2 || word.data[0] != '-')
            ok = parser_positional(p, word);
        else if (word.data[1] != '-')
            ok = parser_letters(p, slice_of(word.data + 1, word.size - 1));
        else if (word.size > 2)
            ok = parser_long(p, slice_of(word.data + 2, word.size - 2));
        else
            flags_end = true;
        if (!ok)
            return false;
    }
    return true;
}

static void args_init(struct ctl_args *args)
{
    struct ctl_error error;
    *args = (struct ctl_args){ 0 };
    for (enum ctl_flag_id id = 0; id < CTL_FLAG_COUNT; id++) {
        bool ok = value_set(args, id, slice_of_text(ctl_flags[id].initial), &error);
        ASSERT(ok);
    }
}

bool ctl_parse(struct ctl_args *ret_args, const struct slice *words, size_t word_count,
               struct ctl_error *ret_error)
{
    struct parser p = { .args = ret_args,
                        .words = words,
                        .word_count = word_count,
                        .looks_only = true,
                        .error = ret_error };
    args_init(ret_args);
    /* Flags may stand before the command that gives them meaning, so the words are read twice. */
    size_t used = 0;
    if (!parser_run(&p) ||
        !command_find(ret_args, p.positionals, p.positional_count, &used, ret_error))
        return false;
    p.at = 0;
    p.positional_count = 0;
    p.looks_only = false;
    if (!parser_run(&p))
        return false;
    for (size_t i = used; i < p.positional_count; i++)
        ret_args->arguments[ret_args->argument_count++] = p.positionals[i];
    return true;
}

/* ---- the environment ---- */

void ctl_flag_variable(enum ctl_flag_id id, char *ret_name, size_t size)
{
    const char *name = ctl_flags[id].name;
    ASSERT(strlen(name) < size);
    for (; *name != '\0'; name++)
        *ret_name++ = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
    *ret_name = '\0';
}

/* The value of "PREFIX_NAME=value" among the variables, or NULL. */
static const char *variable_find(char *const *environment, const char *prefix, const char *name)
{
    size_t prefix_size = strlen(prefix);
    size_t name_size = strlen(name);
    for (; *environment != NULL; environment++) {
        const char *at = *environment;
        if (strncmp(at, prefix, prefix_size) == 0 &&
            strncmp(at + prefix_size, name, name_size) == 0 && at[prefix_size + name_size] == '=')
            return at + prefix_size + name_size + 1;
    }
    return NULL;
}

static bool variable_is_known(const char *name)
{
    char known[VARIABLE_BYTES_MAX];
    size_t size = strcspn(name, "=");
    if (size == strlen("API") && strncmp(name, "API", size) == 0)
        return true; /* ETCDCTL_API chose between etcdctl's two protocols */
    for (enum ctl_flag_id id = 0; id < CTL_GLOBAL_FLAG_COUNT; id++) {
        ctl_flag_variable(id, known, sizeof known);
        if (strlen(known) == size && strncmp(name, known, size) == 0)
            return true;
    }
    return false;
}

bool ctl_parse_environment(struct ctl_args *args, char *const *environment,
                           const char **ret_unknown, struct ctl_error *ret_error)
{
    static const char *const prefixes[] = { "HOLDFASTCTL_", "ETCDCTL_" };
    *ret_unknown = NULL;
    for (enum ctl_flag_id id = 0; id < CTL_GLOBAL_FLAG_COUNT; id++) {
        char name[VARIABLE_BYTES_MAX];
        ctl_flag_variable(id, name, sizeof name);
        for (size_t i = 0; i < 2 && !args->values[id].given; i++) {
            const char *value = variable_find(environment, prefixes[i], name);
            if (value == NULL || *value == '\0')
                continue;
            if (!value_set(args, id, slice_of_text(value), ret_error))
                return false;
            args->values[id].given = true;
        }
    }
    for (; *environment != NULL && *ret_unknown == NULL; environment++) {
        for (size_t i = 0; i < 2; i++) {
            size_t size = strlen(prefixes[i]);
            if (strncmp(*environment, prefixes[i], size) == 0 &&
                !variable_is_known(*environment + size))
                *ret_unknown = *environment;
        }
    }
    return true;
}
