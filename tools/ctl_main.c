/* holdfastctl: parse, choose the format, run one command, and see whether its output got out. */
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "tools/ctl.h"

enum { WORD_COUNT_MAX = 1024 };

static const struct ctl_printer *const printers[] = {
    &ctl_printer_simple,
    &ctl_printer_json,
    &ctl_printer_fields,
    &ctl_printer_table,
};

static bool printer_choose(struct ctl *ctl, struct ctl_error *ret_error)
{
    struct slice wanted = ctl->args.values[CTL_FLAG_WRITE_OUT].text;
    for (size_t i = 0; i < sizeof printers / sizeof printers[0]; i++) {
        if (slice_equal(wanted, slice_of_text(printers[i]->name))) {
            ctl->printer = printers[i];
            return true;
        }
    }
    return ctl_fail(ret_error, CTL_EXIT_BAD_FEATURE,
                    "unsupported output format (simple, json, fields or table, not %.64s)",
                    (const char *)wanted.data);
}

static void debug_print(const struct ctl *ctl)
{
    for (enum ctl_flag_id id = 0; id < CTL_GLOBAL_FLAG_COUNT; id++) {
        char name[64];
        ctl_flag_variable(id, name, sizeof name);
        fprintf(stderr, "HOLDFASTCTL_%s=%s\n", name, (const char *)ctl->args.values[id].text.data);
    }
}

static bool args_parse(struct ctl *ctl, const struct slice *words, size_t count,
                       struct ctl_error *ret_error)
{
    const char *unknown = NULL;
    if (!ctl_parse(&ctl->args, words, count, ret_error) ||
        !ctl_parse_environment(&ctl->args, environ, &unknown, ret_error))
        return false;
    if (unknown != NULL)
        fprintf(stderr, "Warning: unrecognized environment variable %.*s\n",
                (int)strcspn(unknown, "="), unknown);
    return true;
}

static enum ctl_exit run(struct ctl *ctl, const struct slice *words, size_t count)
{
    struct ctl_error error;
    if (!args_parse(ctl, words, count, &error)) {
        enum ctl_exit code = ctl_report(ctl, &error);
        fprintf(stderr, "Run 'holdfastctl help%s%s' for usage.\n",
                ctl->args.command == NULL ? "" : " ",
                ctl->args.command == NULL ? "" : ctl->args.command->name);
        return code;
    }
    if (ctl->args.command == NULL || ctl->args.values[CTL_FLAG_HELP].is_true)
        return ctl_help_run(ctl);
    if (!printer_choose(ctl, &error))
        return ctl_report(ctl, &error);
    ctl->out.hex = ctl->args.values[CTL_FLAG_HEX].is_true;
    if (ctl->args.values[CTL_FLAG_DEBUG].is_true)
        debug_print(ctl);
    return ctl->args.command->run(ctl);
}

int main(int argc, char **argv)
{
    static struct ctl ctl;
    static struct slice words[WORD_COUNT_MAX];
    size_t count = 0;
    ctl = (struct ctl){ .out = { .file = stdout, .errors = stderr }, .in = stdin };
    for (int i = 1; i < argc; i++) {
        if (count == WORD_COUNT_MAX) {
            fputs("Error: too many arguments\n", stderr);
            return CTL_EXIT_BAD_ARGS;
        }
        words[count++] = slice_of_text(argv[i]);
    }
    enum ctl_exit code = run(&ctl, words, count);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("Error: could not write all output\n", stderr);
        code = code == CTL_EXIT_SUCCESS ? CTL_EXIT_IO : code;
    }
    return (int)code;
}
