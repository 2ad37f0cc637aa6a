#include <inttypes.h>

#include "tools/ctl_print.h"
#include "tools/ctl_text.h"

/* Go's encoding/json leaves out what is zero, so every field here does unless it is said to be
 * always there. A comma goes before each field but an object's first. */
struct json {
    FILE *file;
    bool has_field;
};

static struct json json_begin(FILE *file)
{
    fputc('{', file);
    return (struct json){ .file = file };
}

static void json_end(struct json *j)
{
    fputc('}', j->file);
}

static void json_name(struct json *j, const char *name)
{
    fprintf(j->file, "%s\"%s\":", j->has_field ? "," : "", name);
    j->has_field = true;
}

static void json_u64(struct json *j, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    json_name(j, name);
    fprintf(j->file, "%" PRIu64, value);
}

static void json_i64(struct json *j, const char *name, int64_t value)
{
    if (value == 0)
        return;
    json_name(j, name);
    fprintf(j->file, "%" PRId64, value);
}

static void json_true(struct json *j, const char *name, bool value)
{
    if (!value)
        return;
    json_name(j, name);
    fputs("true", j->file);
}

static void json_text(struct json *j, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    json_name(j, name);
    text_print_json(j->file, slice_of_text(value));
}

static void json_texts(struct json *j, const char *name, char *const *values, size_t count)
{
    if (count == 0)
        return;
    json_name(j, name);
    for (size_t i = 0; i < count; i++) {
        fputc(i == 0 ? '[' : ',', j->file);
        text_print_json(j->file, slice_of_text(values[i]));
    }
    fputc(']', j->file);
}

static void json_bytes(struct json *j, const char *name, ProtobufCBinaryData bytes)
{
    if (bytes.len == 0)
        return;
    json_name(j, name);
    fputc('"', j->file);
    text_print_base64(j->file, slice_of_pb(bytes));
    fputc('"', j->file);
}

/* An id as --hex wants it: a string, and always there. */
static void json_hex_id(struct json *j, const char *name, uint64_t id)
{
    json_name(j, name);
    fprintf(j->file, "\"%" PRIx64 "\"", id);
}

static void json_header(struct json *outer, const Etcdserverpb__ResponseHeader *h, bool hex)
{
    if (h == NULL)
        return;
    json_name(outer, "header");
    struct json j = json_begin(outer->file);
    if (hex) {
        json_hex_id(&j, "cluster_id", h->cluster_id);
        json_hex_id(&j, "member_id", h->member_id);
    } else {
        json_u64(&j, "cluster_id", h->cluster_id);
        json_u64(&j, "member_id", h->member_id);
    }
    json_i64(&j, "revision", h->revision);
    json_u64(&j, "raft_term", h->raft_term);
    json_end(&j);
}

static void json_kv(FILE *file, const Mvccpb__KeyValue *kv)
{
    struct json j = json_begin(file);
    json_bytes(&j, "key", kv->key);
    json_i64(&j, "create_revision", kv->create_revision);
    json_i64(&j, "mod_revision", kv->mod_revision);
    json_i64(&j, "version", kv->version);
    json_bytes(&j, "value", kv->value);
    json_i64(&j, "lease", kv->lease);
    json_end(&j);
}

static void json_kvs(struct json *j, const char *name, Mvccpb__KeyValue *const *kvs, size_t count)
{
    if (count == 0)
        return;
    json_name(j, name);
    for (size_t i = 0; i < count; i++) {
        fputc(i == 0 ? '[' : ',', j->file);
        json_kv(j->file, kvs[i]);
    }
    fputc(']', j->file);
}

static void json_put(FILE *file, const Etcdserverpb__PutResponse *r)
{
    struct json j = json_begin(file);
    json_header(&j, r->header, false);
    if (r->prev_kv != NULL) {
        json_name(&j, "prev_kv");
        json_kv(file, r->prev_kv);
    }
    json_end(&j);
}

static void json_get(FILE *file, const Etcdserverpb__RangeResponse *r)
{
    struct json j = json_begin(file);
    json_header(&j, r->header, false);
    json_kvs(&j, "kvs", r->kvs, r->n_kvs);
    json_true(&j, "more", r->more);
    json_i64(&j, "count", r->count);
    json_end(&j);
}

static void json_del(FILE *file, const Etcdserverpb__DeleteRangeResponse *r)
{
    struct json j = json_begin(file);
    json_header(&j, r->header, false);
    json_i64(&j, "deleted", r->deleted);
    json_kvs(&j, "prev_kvs", r->prev_kvs, r->n_prev_kvs);
    json_end(&j);
}

static void json_txn(FILE *file, const Etcdserverpb__TxnResponse *r);

/* {"Response":{"ResponsePut":{...}}}: Go's names of the union and of its field. */
static void json_response_op(FILE *file, const Etcdserverpb__ResponseOp *op)
{
    struct json outer = json_begin(file);
    json_name(&outer, "Response");
    struct json j = json_begin(file);
    if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) {
        json_name(&j, "ResponseRange");
        json_get(file, op->response_range);
    } else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT) {
        json_name(&j, "ResponsePut");
        json_put(file, op->response_put);
    } else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE) {
        json_name(&j, "ResponseDeleteRange");
        json_del(file, op->response_delete_range);
    } else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN) {
        json_name(&j, "ResponseTxn");
        json_txn(file, op->response_txn);
    }
    json_end(&j);
    json_end(&outer);
}

static void json_txn(FILE *file, const Etcdserverpb__TxnResponse *r)
{
    struct json j = json_begin(file);
    json_header(&j, r->header, false);
    json_true(&j, "succeeded", r->succeeded);
    for (size_t i = 0; i < r->n_responses; i++) {
        if (i == 0)
            json_name(&j, "responses");
        fputc(i == 0 ? '[' : ',', file);
        json_response_op(file, r->responses[i]);
    }
    if (r->n_responses > 0)
        fputc(']', file);
    json_end(&j);
}

static void json_member(FILE *file, const Etcdserverpb__Member *m, bool hex)
{
    struct json j = json_begin(file);
    if (hex)
        json_hex_id(&j, "ID", m->id);
    else
        json_u64(&j, "ID", m->id);
    json_text(&j, "name", m->name);
    json_texts(&j, "peerURLs", m->peerurls, m->n_peerurls);
    json_texts(&j, "clientURLs", m->clienturls, m->n_clienturls);
    json_true(&j, "isLearner", m->islearner);
    json_end(&j);
}

/* ---- the printer ---- */

static void print_put(const struct ctl_out *out, const Etcdserverpb__PutResponse *r)
{
    json_put(out->file, r);
    fputc('\n', out->file);
}

static void print_get(const struct ctl_out *out, const Etcdserverpb__RangeResponse *r)
{
    json_get(out->file, r);
    fputc('\n', out->file);
}

static void print_del(const struct ctl_out *out, const Etcdserverpb__DeleteRangeResponse *r)
{
    json_del(out->file, r);
    fputc('\n', out->file);
}

static void print_txn(const struct ctl_out *out, const Etcdserverpb__TxnResponse *r)
{
    json_txn(out->file, r);
    fputc('\n', out->file);
}

static void print_member_list(const struct ctl_out *out, const Etcdserverpb__MemberListResponse *r)
{
    struct json j = json_begin(out->file);
    json_header(&j, r->header, out->hex);
    for (size_t i = 0; i < r->n_members; i++) {
        if (i == 0)
            json_name(&j, "members");
        fputc(i == 0 ? '[' : ',', out->file);
        json_member(out->file, r->members[i], out->hex);
    }
    if (r->n_members > 0)
        fputc(']', out->file);
    json_end(&j);
    fputc('\n', out->file);
}

static void print_health(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    fputc('[', out->file);
    for (size_t i = 0; i < count; i++) {
        char took[TEXT_DURATION_BYTES_MAX];
        text_format_duration(took, results[i].took_ns);
        if (i > 0)
            fputc(',', out->file);
        struct json j = json_begin(out->file);
        json_name(&j, "endpoint");
        text_print_json(out->file, slice_of_text(results[i].endpoint));
        json_name(&j, "health");
        fputs(results[i].error[0] == '\0' ? "true" : "false", out->file);
        json_name(&j, "took");
        text_print_json(out->file, slice_of_text(took));
        json_text(&j, "error", results[i].error);
        json_end(&j);
    }
    fputs("]\n", out->file);
}

static void json_status(FILE *file, const Etcdserverpb__StatusResponse *s)
{
    struct json j = json_begin(file);
    json_header(&j, s->header, false);
    json_text(&j, "version", s->version);
    json_i64(&j, "dbSize", s->dbsize);
    json_u64(&j, "leader", s->leader);
    json_u64(&j, "raftIndex", s->raftindex);
    json_u64(&j, "raftTerm", s->raftterm);
    json_u64(&j, "raftAppliedIndex", s->raftappliedindex);
    json_texts(&j, "errors", s->errors, s->n_errors);
    json_i64(&j, "dbSizeInUse", s->dbsizeinuse);
    json_true(&j, "isLearner", s->islearner);
    json_text(&j, "storageVersion", s->storageversion);
    json_i64(&j, "dbSizeQuota", s->dbsizequota);
    json_end(&j);
}

static void json_hash_kv(FILE *file, const Etcdserverpb__HashKVResponse *h)
{
    struct json j = json_begin(file);
    json_header(&j, h->header, false);
    json_u64(&j, "hash", h->hash);
    json_i64(&j, "compact_revision", h->compact_revision);
    json_i64(&j, "hash_revision", h->hash_revision);
    json_end(&j);
}

static void print_status(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    fputc('[', out->file);
    for (size_t i = 0; i < count; i++) {
        fputs(i == 0 ? "{\"Endpoint\":" : ",{\"Endpoint\":", out->file);
        text_print_json(out->file, slice_of_text(results[i].endpoint));
        fputs(",\"Status\":", out->file);
        json_status(out->file, (const Etcdserverpb__StatusResponse *)results[i].response);
        fputc('}', out->file);
    }
    fputs("]\n", out->file);
}

static void print_hashkv(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    fputc('[', out->file);
    for (size_t i = 0; i < count; i++) {
        fputs(i == 0 ? "{\"Endpoint\":" : ",{\"Endpoint\":", out->file);
        text_print_json(out->file, slice_of_text(results[i].endpoint));
        fputs(",\"HashKV\":", out->file);
        json_hash_kv(out->file, (const Etcdserverpb__HashKVResponse *)results[i].response);
        fputc('}', out->file);
    }
    fputs("]\n", out->file);
}

const struct ctl_printer ctl_printer_json = {
    .name = "json",
    .put = print_put,
    .get = print_get,
    .del = print_del,
    .txn = print_txn,
    .member_list = print_member_list,
    .endpoint_health = print_health,
    .endpoint_status = print_status,
    .endpoint_hashkv = print_hashkv,
};
