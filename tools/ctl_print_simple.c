#include <inttypes.h>

#include "tools/ctl_print.h"
#include "tools/ctl_rows.h"
#include "tools/ctl_text.h"

static void print_bytes_line(const struct ctl_out *out, ProtobufCBinaryData bytes)
{
    if (out->hex)
        text_print_hex(out->file, slice_of_pb(bytes));
    else
        text_print(out->file, slice_of_pb(bytes));
    fputc('\n', out->file);
}

static void print_kv(const struct ctl_out *out, const Mvccpb__KeyValue *kv)
{
    if (!out->values_only)
        print_bytes_line(out, kv->key);
    print_bytes_line(out, kv->value);
}

static void print_put(const struct ctl_out *out, const Etcdserverpb__PutResponse *r)
{
    fputs("OK\n", out->file);
    if (r->prev_kv != NULL)
        print_kv(out, r->prev_kv);
}

static void print_get(const struct ctl_out *out, const Etcdserverpb__RangeResponse *r)
{
    for (size_t i = 0; i < r->n_kvs; i++)
        print_kv(out, r->kvs[i]);
}

static void print_del(const struct ctl_out *out, const Etcdserverpb__DeleteRangeResponse *r)
{
    fprintf(out->file, "%" PRId64 "\n", r->deleted);
    for (size_t i = 0; i < r->n_prev_kvs; i++)
        print_kv(out, r->prev_kvs[i]);
}

static void print_txn(const struct ctl_out *out, const Etcdserverpb__TxnResponse *r)
{
    fputs(r->succeeded ? "SUCCESS\n" : "FAILURE\n", out->file);
    for (size_t i = 0; i < r->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = r->responses[i];
        fputc('\n', out->file);
        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            print_get(out, op->response_range);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
            print_put(out, op->response_put);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
            print_del(out, op->response_delete_range);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            print_txn(out, op->response_txn);
    }
}

static void print_rows(const struct ctl_out *out, struct ctl_rows rows)
{
    for (size_t row = 0; row < rows.row_count; row++) {
        for (size_t column = 0; column < rows.column_count; column++)
            fprintf(out->file, "%s%s", column == 0 ? "" : ", ", ctl_rows_cell(&rows, row, column));
        fputc('\n', out->file);
    }
    ctl_rows_done(&rows);
}

static void print_member_list(const struct ctl_out *out, const Etcdserverpb__MemberListResponse *r)
{
    print_rows(out, ctl_rows_of_members(r));
}

static void print_health(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char took[TEXT_DURATION_BYTES_MAX];
        text_format_duration(took, results[i].took_ns);
        if (results[i].error[0] == '\0')
            fprintf(out->file, "%s is healthy: successfully committed proposal: took = %s\n",
                    results[i].endpoint, took);
        else
            fprintf(out->errors, "%s is unhealthy: failed to commit proposal: %s\n",
                    results[i].endpoint, results[i].error);
    }
}

static void print_status(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    print_rows(out, ctl_rows_of_status(results, count));
}

static void print_hashkv(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    print_rows(out, ctl_rows_of_hashes(results, count));
}

const struct ctl_printer ctl_printer_simple = {
    .name = "simple",
    .put = print_put,
    .get = print_get,
    .del = print_del,
    .txn = print_txn,
    .member_list = print_member_list,
    .endpoint_health = print_health,
    .endpoint_status = print_status,
    .endpoint_hashkv = print_hashkv,
};
