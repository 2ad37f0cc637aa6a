#include <inttypes.h>

#include "tools/ctl_print.h"
#include "tools/ctl_text.h"

static void field_u64(const struct ctl_out *out, const char *name, uint64_t value)
{
    fprintf(out->file, "\"%s\" : %" PRIu64 "\n", name, value);
}

static void field_i64(const struct ctl_out *out, const char *name, int64_t value)
{
    fprintf(out->file, "\"%s\" : %" PRId64 "\n", name, value);
}

static void field_id(const struct ctl_out *out, const char *name, uint64_t id)
{
    fprintf(out->file, out->hex ? "\"%s\" : %" PRIx64 "\n" : "\"%s\" : %" PRIu64 "\n", name, id);
}

static void field_bool(const struct ctl_out *out, const char *name, bool value)
{
    fprintf(out->file, "\"%s\" : %s\n", name, value ? "true" : "false");
}

static void field_quoted(const struct ctl_out *out, const char *prefix, const char *name,
                         struct slice bytes)
{
    fprintf(out->file, "\"%s%s\" : ", prefix, name);
    text_print_quoted(out->file, bytes);
    fputc('\n', out->file);
}

static void print_header(const struct ctl_out *out, const Etcdserverpb__ResponseHeader *h)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    h = h == NULL ? &none : h;
    field_id(out, "ClusterID", h->cluster_id);
    field_id(out, "MemberID", h->member_id);
    field_i64(out, "Revision", h->revision);
    field_u64(out, "RaftTerm", h->raft_term);
}

static void print_kv(const struct ctl_out *out, const char *prefix, const Mvccpb__KeyValue *kv)
{
    field_quoted(out, prefix, "Key", slice_of_pb(kv->key));
    fprintf(out->file, "\"%sCreateRevision\" : %" PRId64 "\n", prefix, kv->create_revision);
    fprintf(out->file, "\"%sModRevision\" : %" PRId64 "\n", prefix, kv->mod_revision);
    fprintf(out->file, "\"%sVersion\" : %" PRId64 "\n", prefix, kv->version);
    field_quoted(out, prefix, "Value", slice_of_pb(kv->value));
    fprintf(out->file, "\"%sLease\" : ", prefix);
    fprintf(out->file, out->hex ? "%016" PRIx64 "\n" : "%" PRId64 "\n", kv->lease);
}

static void print_put(const struct ctl_out *out, const Etcdserverpb__PutResponse *r)
{
    print_header(out, r->header);
    if (r->prev_kv != NULL)
        print_kv(out, "Prev", r->prev_kv);
}

static void print_get(const struct ctl_out *out, const Etcdserverpb__RangeResponse *r)
{
    print_header(out, r->header);
    for (size_t i = 0; i < r->n_kvs; i++)
        print_kv(out, "", r->kvs[i]);
    field_bool(out, "More", r->more);
    field_i64(out, "Count", r->count);
}

static void print_del(const struct ctl_out *out, const Etcdserverpb__DeleteRangeResponse *r)
{
    print_header(out, r->header);
    field_i64(out, "Deleted", r->deleted);
    for (size_t i = 0; i < r->n_prev_kvs; i++)
        print_kv(out, "Prev", r->prev_kvs[i]);
}

static void print_txn(const struct ctl_out *out, const Etcdserverpb__TxnResponse *r)
{
    print_header(out, r->header);
    field_bool(out, "Succeeded", r->succeeded);
    for (size_t i = 0; i < r->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = r->responses[i];
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

static void print_member_list(const struct ctl_out *out, const Etcdserverpb__MemberListResponse *r)
{
    print_header(out, r->header);
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        field_id(out, "ID", m->id);
        field_quoted(out, "", "Name", slice_of_text(m->name));
        for (size_t url = 0; url < m->n_peerurls; url++)
            field_quoted(out, "", "PeerURL", slice_of_text(m->peerurls[url]));
        for (size_t url = 0; url < m->n_clienturls; url++)
            field_quoted(out, "", "ClientURL", slice_of_text(m->clienturls[url]));
        field_bool(out, "IsLearner", m->islearner);
        fputc('\n', out->file);
    }
}

static void print_health(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char took[TEXT_DURATION_BYTES_MAX];
        text_format_duration(took, results[i].took_ns);
        field_quoted(out, "", "Endpoint", slice_of_text(results[i].endpoint));
        field_bool(out, "Health", results[i].error[0] == '\0');
        fprintf(out->file, "\"Took\" : %s\n", took);
        fprintf(out->file, "\"Error\" : %s\n\n", results[i].error);
    }
}

/* What etcd 3.6 added to Status, when the server says it. */
static void print_status_additions(const struct ctl_out *out, const Etcdserverpb__StatusResponse *s)
{
    if (s->storageversion[0] == '\0')
        return;
    field_quoted(out, "", "StorageVersion", slice_of_text(s->storageversion));
    field_i64(out, "DBSizeInUse", s->dbsizeinuse);
    field_i64(out, "DBSizeQuota", s->dbsizequota);
}

static void print_status(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__StatusResponse *s =
            (const Etcdserverpb__StatusResponse *)results[i].response;
        print_header(out, s->header);
        field_quoted(out, "", "Version", slice_of_text(s->version));
        field_i64(out, "DBSize", s->dbsize);
        print_status_additions(out, s);
        field_id(out, "Leader", s->leader);
        field_bool(out, "IsLearner", s->islearner);
        field_u64(out, "RaftIndex", s->raftindex);
        field_u64(out, "RaftTerm", s->raftterm);
        field_u64(out, "RaftAppliedIndex", s->raftappliedindex);
        fputs("\"Errors\" : [", out->file);
        for (size_t e = 0; e < s->n_errors; e++)
            fprintf(out->file, "%s%s", e == 0 ? "" : " ", s->errors[e]);
        fputs("]\n", out->file);
        field_quoted(out, "", "Endpoint", slice_of_text(results[i].endpoint));
        fputc('\n', out->file);
    }
}

static void print_hashkv(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__HashKVResponse *h =
            (const Etcdserverpb__HashKVResponse *)results[i].response;
        print_header(out, h->header);
        field_quoted(out, "", "Endpoint", slice_of_text(results[i].endpoint));
        field_u64(out, "Hash", h->hash);
        fputc('\n', out->file);
    }
}

const struct ctl_printer ctl_printer_fields = {
    .name = "fields",
    .put = print_put,
    .get = print_get,
    .del = print_del,
    .txn = print_txn,
    .member_list = print_member_list,
    .endpoint_health = print_health,
    .endpoint_status = print_status,
    .endpoint_hashkv = print_hashkv,
};
