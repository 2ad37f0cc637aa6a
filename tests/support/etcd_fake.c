#include "tests/support/etcd_fake.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"
#include "proto/pb_arena.h"
#include "rpc.pb-c.h"
#include "rpc/grpc.h"
#include "tests/support/loop_fixture.h"

enum { KEYS_MAX = 999, KEY_BYTES = 4, DELAY_MS = 3, STALE_REVISIONS = 6, BUG_ONE_IN = 50 };

struct version {
    int64_t mod, create, version; /* version 0: deleted */
    struct slice value;           /* its own memory */
};

struct key {
    struct version *versions;
    size_t count;
};

struct etcd_fake {
    struct etcd_fake_options options;
    struct grpc_server *server;
    struct prng chance;
    int64_t revision, compacted;
    struct key keys[KEYS_MAX];
    uint64_t bugs_shown;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* One call: its effect at the timer, its answer at the next. */
struct held {
    struct etcd_fake *fake;
    struct grpc_call *call;
    struct timer timer;
    const ProtobufCMessage *request;
    ProtobufCMessage *response;
    enum grpc_status status;
    const char *text;
    bool is_made;
};

/* ---- the store ---- */

static const struct version absent;

static uint32_t key_number(ProtobufCBinaryData key)
{
    cr_assert(key.len == KEY_BYTES && key.data[0] == 'k');
    uint32_t number = 0;
    for (int i = 1; i < KEY_BYTES; i++)
        number = number * 10 + (uint32_t)(key.data[i] - '0');
    cr_assert_leq(number, KEYS_MAX);
    return number;
}

static uint32_t end_number(ProtobufCBinaryData key, ProtobufCBinaryData end)
{
    return end.len == 0 ? key_number(key) + 1 : key_number(end);
}

static const struct version *version_at(const struct etcd_fake *f, uint32_t key, int64_t revision)
{
    const struct key *k = &f->keys[key];
    for (size_t i = k->count; i > 0; i--) {
        if (k->versions[i - 1].mod <= revision)
            return &k->versions[i - 1];
    }
    return &absent;
}

static void version_add(struct etcd_fake *f, uint32_t key, const struct version *v)
{
    struct key *k = &f->keys[key];
    k->versions = realloc(k->versions, (k->count + 1) * sizeof *k->versions);
    cr_assert(k->versions);
    k->versions[k->count++] = *v;
}

static void store_put(struct etcd_fake *f, const Etcdserverpb__PutRequest *put, int64_t revision)
{
    uint32_t key = key_number(put->key);
    const struct version *old = version_at(f, key, revision);
    uint8_t *value = malloc(put->value.len + 1);
    cr_assert(value);
    if (put->value.len > 0)
        memcpy(value, put->value.data, put->value.len);
    struct version v = { .mod = revision,
                         .create = old->version > 0 ? old->create : revision,
                         .version = old->version + 1,
                         .value = slice_of(value, put->value.len) };
    version_add(f, key, &v);
}

static int64_t store_delete(struct etcd_fake *f, const Etcdserverpb__DeleteRangeRequest *del,
                            int64_t revision)
{
    int64_t deleted = 0;
    for (uint32_t k = key_number(del->key); k < end_number(del->key, del->range_end); k++) {
        if (version_at(f, k, revision)->version > 0) {
            version_add(f, k, &(struct version){ .mod = revision });
            deleted++;
        }
    }
    return deleted;
}

static bool compare_holds(const struct etcd_fake *f, const Etcdserverpb__Compare *c)
{
    const struct version *v = version_at(f, key_number(c->key), f->revision);
    cr_assert_eq(c->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    if (c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE)
        return v->version > 0 && slice_equal(v->value, slice_of(c->value.data, c->value.len));
    cr_assert_eq(c->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
    return (v->version > 0 ? v->mod : 0) == c->mod_revision;
}

/* ---- answers, in the call's arena ---- */

static void *make(struct held *h, size_t size)
{
    void *made = arena_zalloc(grpc_call_arena(h->call), size);
    cr_assert(made);
    return made;
}

static Etcdserverpb__ResponseHeader *header(struct held *h, int64_t revision)
{
    Etcdserverpb__ResponseHeader *made = make(h, sizeof *made);
    etcdserverpb__response_header__init(made);
    made->revision = revision;
    return made;
}

static Mvccpb__KeyValue *key_value(struct held *h, uint32_t key, const struct version *v)
{
    Mvccpb__KeyValue *kv = make(h, sizeof *kv);
    mvccpb__key_value__init(kv);
    kv->key = (ProtobufCBinaryData){ .len = KEY_BYTES, .data = make(h, KEY_BYTES) };
    kv->key.data[0] = 'k';
    kv->key.data[1] = (uint8_t)('0' + key / 100);
    kv->key.data[2] = (uint8_t)('0' + key / 10 % 10);
    kv->key.data[3] = (uint8_t)('0' + key % 10);
    kv->create_revision = v->create;
    kv->mod_revision = v->mod;
    kv->version = v->version;
    kv->value.len = v->value.size;
    kv->value.data = (uint8_t *)(uintptr_t)v->value.data;
    return kv;
}

static Etcdserverpb__RangeResponse *range(struct held *h, const Etcdserverpb__RangeRequest *r,
                                          int64_t revision)
{
    struct etcd_fake *f = h->fake;
    Etcdserverpb__RangeResponse *made = make(h, sizeof *made);
    etcdserverpb__range_response__init(made);
    uint32_t first = key_number(r->key), end = end_number(r->key, r->range_end);
    made->kvs = make(h, (end - first) * sizeof(Mvccpb__KeyValue *));
    made->header = header(h, f->revision);
    int64_t at = r->revision > 0 ? r->revision : revision;
    for (uint32_t k = first; k < end; k++) {
        const struct version *v = version_at(f, k, at);
        if (v->version == 0)
            continue;
        made->count++;
        if (r->limit == 0 || made->count <= r->limit)
            made->kvs[made->n_kvs++] = key_value(h, k, v);
    }
    made->more = made->count > (int64_t)made->n_kvs;
    return made;
}

/* ---- methods ---- */

/* Every now and then, when it has this bug. */
static bool shows_bug(struct etcd_fake *f, enum etcd_fake_bug bug)
{
    bool shows = f->options.bug == bug && prng_below(&f->chance, BUG_ONE_IN) == 0;
    f->bugs_shown += shows;
    return shows;
}

static int64_t a_while_ago(const struct etcd_fake *f)
{
    return f->revision > STALE_REVISIONS ? f->revision - STALE_REVISIONS : 1;
}

static void range_make(struct held *h, const Etcdserverpb__RangeRequest *r)
{
    struct etcd_fake *f = h->fake;
    if (r->revision > 0 && r->revision < f->compacted) {
        h->status = GRPC_OUT_OF_RANGE;
        h->text = "etcdserver: mvcc: required revision has been compacted";
        return;
    }
    Etcdserverpb__RangeResponse *made;
    if (!r->serializable && r->revision == 0 && shows_bug(f, ETCD_FAKE_STALE_READ)) {
        made = range(h, r, a_while_ago(f));
        made->header->revision = a_while_ago(f);
    } else if (r->revision == 0 && shows_bug(f, ETCD_FAKE_STALE_VALUE)) {
        made = range(h, r, a_while_ago(f));
    } else {
        made = range(h, r, f->revision);
    }
    h->response = &made->base;
}

static void put_make(struct held *h, const Etcdserverpb__PutRequest *r)
{
    struct etcd_fake *f = h->fake;
    Etcdserverpb__PutResponse *made = make(h, sizeof *made);
    etcdserverpb__put_response__init(made);
    if (!shows_bug(f, ETCD_FAKE_LOST_WRITE))
        store_put(f, r, ++f->revision);
    made->header = header(h, f->revision);
    h->response = &made->base;
}

static void delete_make(struct held *h, const Etcdserverpb__DeleteRangeRequest *r)
{
    struct etcd_fake *f = h->fake;
    Etcdserverpb__DeleteRangeResponse *made = make(h, sizeof *made);
    etcdserverpb__delete_range_response__init(made);
    made->deleted = store_delete(f, r, f->revision + 1);
    f->revision += made->deleted > 0;
    made->header = header(h, f->revision);
    h->response = &made->base;
}

static Etcdserverpb__ResponseOp *step_make(struct held *h, const Etcdserverpb__RequestOp *op,
                                           int64_t revision, bool *wrote)
{
    Etcdserverpb__ResponseOp *made = make(h, sizeof *made);
    etcdserverpb__response_op__init(made);
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
        made->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        made->response_range = range(h, op->request_range, revision);
    } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        made->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        made->response_put = make(h, sizeof *made->response_put);
        etcdserverpb__put_response__init(made->response_put);
        store_put(h->fake, op->request_put, revision);
        *wrote = true;
    } else {
        made->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        made->response_delete_range = make(h, sizeof *made->response_delete_range);
        etcdserverpb__delete_range_response__init(made->response_delete_range);
        int64_t deleted = store_delete(h->fake, op->request_delete_range, revision);
        made->response_delete_range->deleted = deleted;
        *wrote = *wrote || deleted > 0;
    }
    return made;
}

static void txn_make(struct held *h, const Etcdserverpb__TxnRequest *r)
{
    struct etcd_fake *f = h->fake;
    Etcdserverpb__TxnResponse *made = make(h, sizeof *made);
    etcdserverpb__txn_response__init(made);
    made->succeeded = true;
    for (size_t i = 0; i < r->n_compare; i++)
        made->succeeded = made->succeeded && compare_holds(f, r->compare[i]);
    if (!made->succeeded)
        made->succeeded = shows_bug(f, ETCD_FAKE_COMPARE_MISSED);
    size_t count = made->succeeded ? r->n_success : r->n_failure;
    Etcdserverpb__RequestOp **ops = made->succeeded ? r->success : r->failure;
    bool wrote = false;
    bool is_half = count > 1 && shows_bug(f, ETCD_FAKE_HALF_TXN);
    made->responses = make(h, (count + 1) * sizeof(Etcdserverpb__ResponseOp *));
    for (size_t i = 0; i < count; i++) {
        bool is_put = ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        /* Half: what it says of the lost step is as of the made one. */
        const Etcdserverpb__RequestOp *op = is_half && is_put ? ops[0] : ops[i];
        made->responses[made->n_responses++] = step_make(h, op, f->revision + 1, &wrote);
    }
    f->revision += wrote;
    made->header = header(h, f->revision);
    h->response = &made->base;
}

static void compact_make(struct held *h, const Etcdserverpb__CompactionRequest *r)
{
    struct etcd_fake *f = h->fake;
    Etcdserverpb__CompactionResponse *made = make(h, sizeof *made);
    etcdserverpb__compaction_response__init(made);
    if (r->revision <= f->compacted) {
        h->status = GRPC_OUT_OF_RANGE;
        h->text = "etcdserver: mvcc: required revision has been compacted";
        return;
    }
    f->compacted = r->revision;
    made->header = header(h, f->revision);
    h->response = &made->base;
}

static void request_make(struct held *h)
{
    const ProtobufCMessage *m = h->request;
    if (m->descriptor == &etcdserverpb__range_request__descriptor)
        range_make(h, (const void *)m);
    else if (m->descriptor == &etcdserverpb__put_request__descriptor)
        put_make(h, (const void *)m);
    else if (m->descriptor == &etcdserverpb__delete_range_request__descriptor)
        delete_make(h, (const void *)m);
    else if (m->descriptor == &etcdserverpb__txn_request__descriptor)
        txn_make(h, (const void *)m);
    else
        compact_make(h, (const void *)m);
}

static void unhappy(struct held *h, enum grpc_status status, const char *text)
{
    h->status = status;
    h->text = text;
}

/* Its effect, or none. */
static void held_make(struct held *h)
{
    struct etcd_fake *f = h->fake;
    uint64_t luck = prng_below(&f->chance, 100);
    bool is_write = h->request->descriptor != &etcdserverpb__range_request__descriptor &&
                    h->request->descriptor != &etcdserverpb__compaction_request__descriptor;
    if (is_write && shows_bug(f, ETCD_FAKE_REFUSED_MADE)) {
        request_make(h);
        unhappy(h, GRPC_UNAVAILABLE, "etcdserver: no leader");
    } else if (luck < f->options.refuse_percent) {
        unhappy(h, GRPC_UNAVAILABLE, "etcdserver: no leader");
    } else if (luck < f->options.refuse_percent + f->options.forget_percent) {
        unhappy(h, GRPC_UNAVAILABLE, "etcdserver: request timed out");
    } else {
        request_make(h);
        if (h->status == GRPC_OK && is_write && shows_bug(f, ETCD_FAKE_APPLIED_TWICE)) {
            ProtobufCMessage *first = h->response;
            request_make(h);
            h->response = first;
        }
        if (luck >= 100 - f->options.hide_percent)
            unhappy(h, GRPC_UNAVAILABLE, "etcdserver: request timed out");
    }
}

static void held_answer(struct held *h)
{
    if (h->status != GRPC_OK) {
        grpc_call_finish(h->call, h->status, h->text);
        return;
    }
    uint8_t *to = grpc_call_send(h->call, protobuf_c_message_get_packed_size(h->response));
    cr_assert(to);
    protobuf_c_message_pack(h->response, to);
    grpc_call_finish(h->call, GRPC_OK, NULL);
}

static void held_wait(struct held *h)
{
    struct io *io = h->fake->options.io;
    uint64_t delay_ms = prng_below(&h->fake->chance, DELAY_MS);
    cr_assert(io_timer_set(io, &h->timer, io_now_ms(io) + delay_ms));
}

static void on_held_timer(void *owner)
{
    struct held *h = owner;
    if (h->is_made) {
        held_answer(h);
        return;
    }
    h->is_made = true;
    held_make(h);
    held_wait(h);
}

static void on_held_gone(void *owner, struct grpc_call *call)
{
    (void)call;
    struct held *h = owner;
    io_timer_cancel(h->fake->options.io, &h->timer);
}

static void hold(struct etcd_fake *f, struct grpc_call *call, struct slice message,
                 const ProtobufCMessageDescriptor *descriptor)
{
    struct arena *arena = grpc_call_arena(call);
    struct slice kept;
    struct held *h = arena_zalloc(arena, sizeof *h);
    cr_assert(h && arena_copy(arena, message, &kept));
    h->fake = f;
    h->call = call;
    h->request = pb_arena_unpack(arena, descriptor, kept);
    cr_assert(h->request);
    timer_init(&h->timer, on_held_timer, h);
    grpc_call_on_gone(call, on_held_gone, h);
    held_wait(h);
}

#define METHOD(name, message_type)                                                       \
    static void on_##name(void *owner, struct grpc_call *call, struct slice message)     \
    {                                                                                    \
        hold(owner, call, message, &etcdserverpb__##message_type##_request__descriptor); \
    }

METHOD(compact, compaction)
METHOD(delete_range, delete_range)
METHOD(put, put)
METHOD(range, range)
METHOD(txn, txn)

static const struct grpc_method methods[] = {
    { "/etcdserverpb.KV/Compact", false, on_compact, NULL },
    { "/etcdserverpb.KV/DeleteRange", false, on_delete_range, NULL },
    { "/etcdserverpb.KV/Put", false, on_put, NULL },
    { "/etcdserverpb.KV/Range", false, on_range, NULL },
    { "/etcdserverpb.KV/Txn", false, on_txn, NULL },
};

/* ---- for the tests ---- */

struct etcd_fake *etcd_fake_open(const struct etcd_fake_options *options)
{
    struct etcd_fake *f = calloc(1, sizeof *f);
    cr_assert(f);
    f->options = *options;
    f->chance = prng_seeded(options->seed);
    f->revision = 1;
    const struct grpc_options grpc = {
        .io = options->io,
        .methods = methods,
        .method_count = sizeof methods / sizeof methods[0],
        .owner = f,
        .connection_count_max = 1000,
        .stream_count_max = 1000,
        .message_bytes_max = 4 << 20,
        .request_bytes_max = 64 << 20,
        .response_bytes_max = 1u << 30,
        .connection_out_bytes_max = 64 << 20,
        .write_stall_ms = 10 * 1000,
        .keepalive_min_ms = 5 * 1000,
        .keepalive_timeout_ms = 20 * 1000,
    };
    enum grpc_err err = grpc_server_open(&f->server, &grpc);
    cr_assert_eq(err, GRPC_SERVER_OK, "%s", grpc_server_strerror(err));
    return f;
}

struct io_addr etcd_fake_listen(struct etcd_fake *f)
{
    struct io_addr any = loop_fixture_loopback(), bound;
    cr_assert_eq(grpc_server_listen(f->server, &any, &bound), 0);
    return bound;
}

void etcd_fake_flush(struct etcd_fake *f)
{
    grpc_server_flush(f->server);
}

int64_t etcd_fake_revision(const struct etcd_fake *f)
{
    return f->revision;
}

uint64_t etcd_fake_bugs_shown(const struct etcd_fake *f)
{
    return f->bugs_shown;
}

static void on_server_closed(void *owner)
{
    struct etcd_fake *f = owner;
    void (*fn)(void *) = f->closed;
    void *fn_owner = f->closed_owner;
    for (uint32_t k = 0; k < KEYS_MAX; k++) {
        for (size_t i = 0; i < f->keys[k].count; i++)
            free((void *)(uintptr_t)f->keys[k].versions[i].value.data);
        free(f->keys[k].versions);
    }
    free(f);
    fn(fn_owner);
}

void etcd_fake_close(struct etcd_fake *f, void (*fn)(void *owner), void *owner)
{
    f->closed = fn;
    f->closed_owner = owner;
    grpc_server_close(f->server, 0, on_server_closed, f);
}
