#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tools/ctl.h"
#include "tools/ctl_txn_parse.h"

/* The next line without the space around it; an empty one ends its section. */
static bool line_read(FILE *in, char **buffer, size_t *room, struct slice *ret_line,
                      struct ctl_error *ret_error)
{
    ssize_t got = getline(buffer, room, in);
    if (got <= 0 || (*buffer)[got - 1] != '\n')
        return ctl_fail(ret_error, CTL_EXIT_INVALID_INPUT,
                        "EOF (each of the three parts ends with an empty line)");
    struct slice line = slice_of(*buffer, (size_t)got);
    while (line.size > 0 && isspace(line.data[line.size - 1]))
        line.size--;
    while (line.size > 0 && isspace(line.data[0]))
        line = slice_of(line.data + 1, line.size - 1);
    *ret_line = line;
    return true;
}

static void prompt(const struct ctl *ctl, const char *text)
{
    if (!ctl->args.values[CTL_FLAG_TXN_INTERACTIVE].is_true)
        return;
    fprintf(ctl->out.file, "%s\n", text);
    fflush(ctl->out.file);
}

/* One section; `ops` NULL: the compares. */
static bool section_read(const struct ctl *ctl, struct ctl_txn *txn, struct ctl_txn_ops *ops,
                         char **buffer, size_t *room, struct ctl_error *ret_error)
{
    for (;;) {
        struct slice line;
        if (!line_read(ctl->in, buffer, room, &line, ret_error))
            return false;
        if (line.size == 0)
            return true;
        if (ops == NULL ? !ctl_txn_add_compare(txn, line, ret_error)
                        : !ctl_txn_add_op(txn, ops, line, ret_error))
            return false;
    }
}

static bool txn_read(const struct ctl *ctl, struct ctl_txn *txn, struct ctl_error *ret_error)
{
    char *buffer = NULL;
    size_t room = 0;
    prompt(ctl, "compares:");
    bool ok = section_read(ctl, txn, NULL, &buffer, &room, ret_error);
    if (ok) {
        prompt(ctl, "success requests (get, put, del):");
        ok = section_read(ctl, txn, &txn->success, &buffer, &room, ret_error);
    }
    if (ok) {
        prompt(ctl, "failure requests (get, put, del):");
        ok = section_read(ctl, txn, &txn->failure, &buffer, &room, ret_error);
    }
    free(buffer);
    return ok;
}

enum ctl_exit ctl_txn_run(struct ctl *ctl)
{
    struct ctl_error error;
    struct ctl_txn txn;
    ProtobufCMessage *response = NULL;
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    if (ctl->args.argument_count != 0) {
        ctl_fail(&error, CTL_EXIT_BAD_ARGS, "txn command does not accept argument");
        return ctl_report(ctl, &error);
    }
    ctl_txn_init(&txn);
    bool ok =
        ctl_format_check(ctl, ctl->printer->txn != NULL, &error) && txn_read(ctl, &txn, &error);
    request.compare = txn.compares;
    request.n_compare = txn.compare_count;
    request.success = txn.success.items;
    request.n_success = txn.success.count;
    request.failure = txn.failure.items;
    request.n_failure = txn.failure.count;
    ok = ok && ctl_call(ctl, &client_kv_txn, &request.base, &response, &error);
    ctl_txn_done(&txn);
    if (!ok)
        return ctl_report(ctl, &error);
    ctl->printer->txn(&ctl->out, (const Etcdserverpb__TxnResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return CTL_EXIT_SUCCESS;
}
