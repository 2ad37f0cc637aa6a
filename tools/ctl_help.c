#include <string.h>

#include "tools/ctl.h"

enum { NAME_COLUMN_BYTES = 38 };

static void print_flag(FILE *out, enum ctl_flag_id id)
{
    static const char *const kinds[] = { [CTL_TYPE_BOOL] = "",
                                         [CTL_TYPE_INT] = " <number>",
                                         [CTL_TYPE_TEXT] = " <text>",
                                         [CTL_TYPE_DURATION] = " <duration>",
                                         [CTL_TYPE_LIST] = " <list>" };
    const struct ctl_flag *f = &ctl_flags[id];
    int made = f->letter == 0 ? fprintf(out, "      --%s%s", f->name, kinds[f->type])
                              : fprintf(out, "  -%c, --%s%s", f->letter, f->name, kinds[f->type]);
    fprintf(out, "%*s%s", made < NAME_COLUMN_BYTES ? NAME_COLUMN_BYTES - made : 1, "", f->help);
    if (f->initial[0] != '\0' && strcmp(f->initial, "false") != 0 && strcmp(f->initial, "0") != 0)
        fprintf(out, " (default %s)", f->initial);
    fputc('\n', out);
}

static void print_global_flags(FILE *out)
{
    fputs("\nGLOBAL FLAGS:\n", out);
    for (enum ctl_flag_id id = 0; id < CTL_GLOBAL_FLAG_COUNT; id++)
        print_flag(out, id);
    fputs("\nEach has a twin in the environment, HOLDFASTCTL_ENDPOINTS or ETCDCTL_ENDPOINTS for\n"
          "--endpoints; the flag wins. A duration is 500ms, 5s or 1m30s.\n",
          out);
}

static void print_command(FILE *out, const struct ctl_command *command)
{
    fprintf(out, "NAME:\n  %s - %s\n\nUSAGE:\n  holdfastctl %s", command->name, command->summary,
            command->name);
    fprintf(out, "%s%s [flags]\n", command->arguments[0] == '\0' ? "" : " ", command->arguments);
    if (command->details != NULL) {
        fputs("\nDESCRIPTION:\n", out);
        for (const char *line = command->details; *line != '\0';) {
            int size = (int)strcspn(line, "\n");
            fprintf(out, size == 0 ? "%.*s\n" : "  %.*s\n", size, line);
            line += size + (line[size] == '\n');
        }
    }
    if (command->flags != NULL) {
        fputs("\nFLAGS:\n", out);
        for (const enum ctl_flag_id *id = command->flags; *id != CTL_FLAG_COUNT; id++)
            print_flag(out, *id);
    }
    print_global_flags(out);
}

static void print_command_lines(FILE *out, struct slice group)
{
    fputs("\nCOMMANDS:\n", out);
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *name = ctl_commands[i].name;
        if (group.size > 0 &&
            (strncmp(name, (const char *)group.data, group.size) != 0 || name[group.size] != ' '))
            continue;
        fprintf(out, "  %-18s%s\n", name, ctl_commands[i].summary);
    }
}

static void print_all(FILE *out)
{
    fputs("NAME:\n  holdfastctl - a command line client for Holdfast and etcd v3\n\n"
          "USAGE:\n  holdfastctl [flags] <command> [arguments]\n",
          out);
    print_command_lines(out, slice_of(NULL, 0));
    print_global_flags(out);
    fputs("\n`holdfastctl help <command>` tells more about a command.\n", out);
}

enum ctl_exit ctl_help_run(struct ctl *ctl)
{
    FILE *out = ctl->out.file;
    const struct ctl_args *args = &ctl->args;
    struct ctl_error error;
    struct ctl_args asked = { 0 };
    struct slice group = args->group;
    const struct ctl_command *command = args->command;
    if (command != NULL && command->run == ctl_help_run) {
        if (!ctl_parse(&asked, args->arguments, args->argument_count, &error))
            return ctl_report(ctl, &error);
        command = asked.command;
        group = asked.group;
    }
    if (command != NULL) {
        print_command(out, command);
    } else if (group.size > 0) {
        fprintf(out, "USAGE:\n  holdfastctl %s <command> [flags]\n", (const char *)group.data);
        print_command_lines(out, group);
    } else {
        print_all(out);
    }
    return CTL_EXIT_SUCCESS;
}

enum ctl_exit ctl_version_run(struct ctl *ctl)
{
    fprintf(ctl->out.file, "holdfastctl version: %s\nAPI version: 3.7\n", HOLDFAST_VERSION);
    return CTL_EXIT_SUCCESS;
}
