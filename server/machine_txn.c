/* Transactions, in etcd's three steps (etcd: server/etcdserver/txn/txn.go): first all compares, of
 * nested transactions too, against the state before; then every check that could refuse; only
 * then the operations, which cannot fail any more. So a refused transaction changes nothing, and
 * it is refused on every replica alike.
 */
#include "base/assert.h"
#include "server/machine_internal.h"

/* The branch each transaction takes, in the order in which they are met. */
struct txn_path {
    bool *taken;
    size_t count;
    size_t capacity;
};

/* Where a transaction runs: in the log (write) or over a reader's view alone. */
struct txn_run {
    struct range_context range;
    struct machine_write *write; /* NULL: read-only */
    struct txn_path path;
    size_t path_next;
    bool wants_reply;
    enum etcd_error error;
    enum kv_err kv_err;
    bool is_too_long; /* range.steps_max is spent: only where nothing is written */
};

static Etcdserverpb__RequestOp **branch_ops(const Etcdserverpb__TxnRequest *r, bool taken,
                                            size_t *ret_count)
{
    *ret_count = taken ? r->n_success : r->n_failure;
    return taken ? r->success : r->failure;
}

/* ---- step 1: compares ---- */

static bool compare_result_holds(Etcdserverpb__Compare__CompareResult result, int order)
{
    switch (result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case _ETCDSERVERPB__COMPARE__COMPARE_RESULT_IS_INT_SIZE:
        break;
    }
    return true; /* etcd lets an unknown comparison pass */
}

static int number_order(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* The operand counts only when it is the target's own; otherwise it is zero or empty, as etcd's
 * getters make it. */
static int64_t compare_operand(const Etcdserverpb__Compare *c)
{
    switch (c->target_union_case) {
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION:
        return c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION ? c->version : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION:
        return c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE ? c->create_revision : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION:
        return c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD ? c->mod_revision : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE:
        return c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE ? c->lease : 0;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE:
    case ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET:
    case _ETCDSERVERPB__COMPARE__TARGET_UNION__CASE_IS_INT_SIZE:
        break;
    }
    return 0;
}

static int compare_record(const Etcdserverpb__Compare *c, const struct kv_record *record)
{
    struct slice value = { 0 };
    switch (c->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return number_order(record->version, compare_operand(c));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return number_order(record->create_revision, compare_operand(c));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return number_order(record->mod.main, compare_operand(c));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return number_order(record->lease, compare_operand(c));
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        if (c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE)
            value = slice_of_pb(c->value);
        return slice_compare(record->value, value);
    case _ETCDSERVERPB__COMPARE__COMPARE_TARGET_IS_INT_SIZE:
        break;
    }
    return 0;
}

static bool compare_is_on_value(const Etcdserverpb__Compare *c)
{
    return c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
}

/* An absent key has version, revisions and lease 0, and no value that could compare. */
static bool compare_absent(const Etcdserverpb__Compare *c)
{
    struct kv_record absent = { 0 };
    return !compare_is_on_value(c) && compare_result_holds(c->result, compare_record(c, &absent));
}

/* False: the reader has no steps left. */
static bool step_take(struct txn_run *run)
{
    run->is_too_long = run->range.steps_max == 0;
    if (run->is_too_long)
        return false;
    run->range.steps_max--;
    return true;
}

static enum kv_err compare_point(struct txn_run *run, const Etcdserverpb__Compare *c,
                                 bool *ret_holds)
{
    struct kv_record record;
    bool found;
    if (!step_take(run))
        return KV_OK;
    enum kv_err err = kv_view_get(run->range.view, slice_of_pb(c->key), run->range.revision,
                                  compare_is_on_value(c), run->range.arena, &record, &found);
    if (err == KV_OK)
        *ret_holds =
            found ? compare_result_holds(c->result, compare_record(c, &record)) : compare_absent(c);
    return err;
}

/* values: reset for each record, or comparing a large range would gather all its values, and on
 * every member at once. */
static enum kv_err compare_walk(struct txn_run *run, const Etcdserverpb__Compare *c,
                                struct kv_cursor *cursor, struct arena *values, bool *ret_holds)
{
    for (bool any = false; step_take(run); any = true) {
        struct kv_record record;
        bool found;
        enum kv_err err = kv_cursor_next(cursor, &record, &found);
        if (err != KV_OK)
            return err;
        if (!found) {
            *ret_holds = any || compare_absent(c);
            return KV_OK;
        }
        arena_reset(values);
        if (compare_is_on_value(c))
            err = kv_cursor_value(cursor, values, &record);
        if (err != KV_OK)
            return err;
        if (!compare_result_holds(c->result, compare_record(c, &record))) {
            *ret_holds = false;
            return KV_OK;
        }
    }
    return KV_OK;
}

static enum kv_err compare_range(struct txn_run *run, const Etcdserverpb__Compare *c,
                                 bool *ret_holds)
{
    struct key_range keys = key_range_of(c->key, c->range_end);
    if (key_range_is_empty(&keys)) {
        *ret_holds = compare_absent(c);
        return KV_OK;
    }
    struct kv_range range = {
        .start = keys.start,
        .end = keys.is_open ? (struct slice){ 0 } : keys.end,
        .end_is_open = keys.is_open,
        .revision = run->range.revision,
    };
    struct kv_cursor *cursor;
    enum kv_err err = kv_cursor_open(run->range.view, &range, run->range.arena, &cursor);
    if (err != KV_OK)
        return err;
    struct arena values;
    arena_init(&values, run->range.arena->bytes_max);
    err = compare_walk(run, c, cursor, &values, ret_holds);
    arena_done(&values);
    kv_cursor_close(cursor);
    return err;
}

static bool path_add(struct txn_run *run, bool taken)
{
    struct txn_path *p = &run->path;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 16;
        bool *grown = arena_alloc(run->range.arena, capacity * sizeof *grown);
        if (!grown)
            return false;
        if (p->count > 0)
            memcpy(grown, p->taken, p->count * sizeof *grown);
        p->taken = grown;
        p->capacity = capacity;
    }
    p->taken[p->count++] = taken;
    return true;
}

static enum kv_err find_path(struct txn_run *run, const Etcdserverpb__TxnRequest *r)
{
    bool taken = true;
    for (size_t i = 0; i < r->n_compare && taken; i++) {
        const Etcdserverpb__Compare *c = r->compare[i];
        enum kv_err err =
            c->range_end.len == 0 ? compare_point(run, c, &taken) : compare_range(run, c, &taken);
        if (err != KV_OK || run->is_too_long)
            return err;
    }
    if (!path_add(run, taken))
        return KV_E_NOMEM;
    size_t count;
    Etcdserverpb__RequestOp **ops = branch_ops(r, taken, &count);
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            continue;
        enum kv_err err = find_path(run, ops[i]->request_txn);
        if (err != KV_OK)
            return err;
    }
    return KV_OK;
}

/* ---- step 2: what could refuse it ---- */

static bool path_step(struct txn_run *run)
{
    ASSERT(run->path_next < run->path.count);
    return run->path.taken[run->path_next++];
}

static enum etcd_error check_range_revision(const struct txn_run *run, int64_t revision)
{
    if (revision == 0)
        return ETCD_OK;
    if (revision > run->range.revision)
        return ETCD_E_FUTURE_REVISION;
    int64_t first = machine_compact_revision_shown(run->range.compact_revision);
    return revision < first ? ETCD_E_COMPACTED : ETCD_OK;
}

static enum machine_err check_ops(struct txn_run *run, const Etcdserverpb__TxnRequest *r)
{
    size_t count;
    Etcdserverpb__RequestOp **ops = branch_ops(r, path_step(run), &count);
    for (size_t i = 0; i < count && run->error == ETCD_OK; i++) {
        enum machine_err err = MACHINE_OK;
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            run->error = check_range_revision(run, ops[i]->request_range->revision);
        else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            err = machine_check_put(run->write, ops[i]->request_put, &run->error);
        else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            err = check_ops(run, ops[i]->request_txn);
        if (err != MACHINE_OK)
            return err;
    }
    return MACHINE_OK;
}

/* ---- step 3: the operations ---- */

/* A reply that does not fit is given up; the operations go on all the same. */
static void reply_give_up(struct txn_run *run)
{
    run->wants_reply = false;
}

static enum machine_err run_range(struct txn_run *run, const Etcdserverpb__RangeRequest *r,
                                  Etcdserverpb__ResponseOp *op)
{
    if (!run->wants_reply)
        return MACHINE_OK;
    if (run->write)
        run->range.revision = machine_write_revision(run->write);
    enum etcd_error error;
    enum range_outcome outcome =
        range_execute(&run->range, r, &op->response_range, &error, &run->kv_err);
    op->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    switch (outcome) {
    case RANGE_DONE:
        break;
    case RANGE_TOO_LONG:
        run->is_too_long = true;
        reply_give_up(run);
        break;
    case RANGE_TOO_LARGE:
        reply_give_up(run);
        break;
    case RANGE_REFUSED:
        /* Step 2 let its revision pass, and a negative one means the newest. */
        reply_give_up(run);
        break;
    case RANGE_FAILED:
        return machine_err_of_kv(run->kv_err);
    }
    return MACHINE_OK;
}

static enum machine_err run_put(struct txn_run *run, const Etcdserverpb__PutRequest *r,
                                Etcdserverpb__ResponseOp *op)
{
    bool replies = run->wants_reply;
    if (replies)
        op->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    enum machine_err err =
        machine_put(run->write, r, run->range.arena, replies ? &op->response_put : NULL);
    if (replies && err == MACHINE_OK && !op->response_put)
        reply_give_up(run);
    return err;
}

static enum machine_err run_delete(struct txn_run *run, const Etcdserverpb__DeleteRangeRequest *r,
                                   Etcdserverpb__ResponseOp *op)
{
    bool replies = run->wants_reply;
    if (replies)
        op->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
    struct machine_delete whole = { 0 };
    enum machine_err err = machine_delete_range(run->write, r, UINT64_MAX, &whole, run->range.arena,
                                                replies ? &op->response_delete_range : NULL);
    if (replies && err == MACHINE_OK && !op->response_delete_range)
        reply_give_up(run);
    return err;
}

static Etcdserverpb__TxnResponse *txn_response(struct arena *arena, bool succeeded, size_t count)
{
    Etcdserverpb__TxnResponse *response = arena_alloc(arena, sizeof *response);
    Etcdserverpb__ResponseOp **list =
        arena_alloc(arena, count * sizeof(Etcdserverpb__ResponseOp *));
    Etcdserverpb__ResponseOp *ops = arena_alloc(arena, count * sizeof *ops);
    if (!response || !list || !ops)
        return NULL;
    etcdserverpb__txn_response__init(response);
    for (size_t i = 0; i < count; i++) {
        etcdserverpb__response_op__init(&ops[i]);
        list[i] = &ops[i];
    }
    response->header = range_header(arena, 0);
    response->succeeded = succeeded;
    response->responses = list;
    response->n_responses = count;
    return response->header ? response : NULL;
}

static enum machine_err run_txn(struct txn_run *run, const Etcdserverpb__TxnRequest *r,
                                Etcdserverpb__TxnResponse **ret_response);

static enum machine_err run_op(struct txn_run *run, const Etcdserverpb__RequestOp *request,
                               Etcdserverpb__ResponseOp *op)
{
    switch (request->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return run_range(run, request->request_range, op);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return run_put(run, request->request_put, op);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return run_delete(run, request->request_delete_range, op);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        if (run->wants_reply)
            op->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
        return run_txn(run, request->request_txn, &op->response_txn);
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    return MACHINE_OK;
}

static enum machine_err run_txn(struct txn_run *run, const Etcdserverpb__TxnRequest *r,
                                Etcdserverpb__TxnResponse **ret_response)
{
    bool taken = path_step(run);
    size_t count;
    Etcdserverpb__RequestOp **ops = branch_ops(r, taken, &count);
    Etcdserverpb__TxnResponse *response = NULL;
    if (run->wants_reply) {
        response = txn_response(run->range.arena, taken, count);
        if (!response)
            reply_give_up(run);
    }
    for (size_t i = 0; i < count; i++) {
        Etcdserverpb__ResponseOp unwanted = ETCDSERVERPB__RESPONSE_OP__INIT;
        bool replies = run->wants_reply && response;
        enum machine_err err = run_op(run, ops[i], replies ? response->responses[i] : &unwanted);
        if (err != MACHINE_OK)
            return err;
    }
    *ret_response = run->wants_reply ? response : NULL;
    return MACHINE_OK;
}

enum machine_err machine_txn(struct machine_write *w, const Etcdserverpb__TxnRequest *r,
                             struct arena *arena, Etcdserverpb__TxnResponse **ret_response,
                             enum etcd_error *ret_error)
{
    struct machine *m = w->m;
    struct txn_run run = {
        .range = { .view = m->view,
                   .arena = &m->scratch,
                   .revision = machine_write_revision(w),
                   .compact_revision = m->state.compact_revision,
                   .steps_max = UINT64_MAX,
                   .on_loop = true },
        .write = w,
        .wants_reply = ret_response != NULL,
    };
    enum machine_err err = machine_err_of_kv(find_path(&run, r));
    if (err == MACHINE_OK)
        err = check_ops(&run, r);
    *ret_error = run.error;
    if (err != MACHINE_OK || run.error != ETCD_OK)
        return err;
    run.path_next = 0;
    run.range.arena = arena;
    Etcdserverpb__TxnResponse *response = NULL;
    err = run_txn(&run, r, &response);
    if (response)
        response->header->revision = machine_write_revision(w);
    if (ret_response)
        *ret_response = response;
    return err;
}

enum range_outcome machine_read_txn(struct range_context *context,
                                    const Etcdserverpb__TxnRequest *request,
                                    Etcdserverpb__TxnResponse **ret_response,
                                    enum etcd_error *ret_error, enum kv_err *ret_kv_err)
{
    struct txn_run run = { .range = *context, .wants_reply = true };
    *ret_kv_err = find_path(&run, request);
    if (*ret_kv_err != KV_OK)
        return *ret_kv_err == KV_E_NOMEM ? RANGE_TOO_LARGE : RANGE_FAILED;
    if (run.is_too_long)
        return RANGE_TOO_LONG;
    enum machine_err err = check_ops(&run, request);
    ASSERT(err == MACHINE_OK); /* it has ranges alone, whose check reads nothing */
    *ret_error = run.error;
    if (run.error != ETCD_OK)
        return RANGE_REFUSED;
    run.path_next = 0;
    err = run_txn(&run, request, ret_response);
    *ret_kv_err = run.kv_err;
    if (err != MACHINE_OK)
        return RANGE_FAILED;
    if (!*ret_response)
        return run.is_too_long ? RANGE_TOO_LONG : RANGE_TOO_LARGE;
    (*ret_response)->header->revision = context->revision;
    return RANGE_DONE;
}
