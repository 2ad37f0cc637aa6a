/* writers: puts unique keys through real connections, remembers which were acknowledged, and checks
 * afterwards that a node has them, with the right value, written once.
 *
 *   writers ENDPOINT,... WRITERS VALUE_BYTES TIMEOUT_MS put|create
 *
 * Commands come on standard input, one a line; each is answered with one line of JSON:
 *   run               the writers begin
 *   wait N            until N more writes are acknowledged than when it was asked
 *   stop              the writers end
 *   verify ENDPOINT   reads everything from that node alone, after one read that a quorum confirms
 *   check ENDPOINT    the same without asking a quorum
 * `create` puts inside a transaction that compares create_revision with 0, so that a second
 * execution of the same request shows. Ends at the end of the input.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"
#include "rpc.pb-c.h"
#include "tools/client.h"

enum {
    WRITERS_MAX = 256,
    WRITES_MAX = 1 << 22, /* of one writer */
    ENDPOINTS_MAX = 8,
    KEY_BYTES_MAX = 32,
    VALUE_BYTES_MAX = 1 << 20,
    LINE_BYTES_MAX = 256,
    PAGE_KEYS = 5000,
    READ_TIMEOUT_MS = 60000,
    READ_BYTES_MAX = 256 << 20,
};

static const char key_first[] = "w/";
static const char key_end[] = "w0"; /* '0' follows '/' */

enum outcome { OUTCOME_UNKNOWN, OUTCOME_ACKNOWLEDGED, OUTCOME_DUPLICATE };

struct writer {
    uint32_t id;
    pthread_t thread;
    bool is_running;
    uint8_t *outcomes; /* enum outcome, by number of the write */
    uint32_t count;    /* begun */
    char *value;
};

struct load {
    const char *endpoints[ENDPOINTS_MAX];
    size_t endpoint_count;
    size_t writer_count;
    size_t value_bytes;
    uint32_t timeout_ms;
    bool creates;
    struct writer writers[WRITERS_MAX];
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t grew;
    bool stops;
    uint64_t acknowledged;
    uint64_t unknown;
    uint64_t duplicates;
    uint64_t last_ms;
    uint64_t gap_ms; /* the longest time without an acknowledgement since `run` or `wait` began */
    char error[CLIENT_ERROR_BYTES_MAX]; /* the last one */
};

static struct load load;

static ProtobufCBinaryData pb_of(const char *data, size_t size)
{
    /* protobuf-c takes a pointer to what it will only read. */
    return (ProtobufCBinaryData){ .len = size, .data = (uint8_t *)(uintptr_t)data };
}

static void key_format(char *ret_key, uint32_t writer, uint32_t number)
{
    int made = snprintf(ret_key, KEY_BYTES_MAX, "w/%04" PRIu32 "/%08" PRIu32, writer, number);
    ASSERT(made > 0 && made < KEY_BYTES_MAX);
}

/* Its beginning names the write; the rest is filler. */
static void value_format(char *ret_value, uint32_t writer, uint32_t number)
{
    memset(ret_value, 'v', load.value_bytes);
    char head[KEY_BYTES_MAX];
    key_format(head, writer, number);
    memcpy(ret_value, head, strlen(head));
}

static struct client *client_for(size_t first, const char *only, uint32_t timeout_ms)
{
    const char *endpoints[ENDPOINTS_MAX] = { only };
    size_t count = only ? 1 : load.endpoint_count;
    for (size_t i = 0; i < count && !only; i++)
        endpoints[i] = load.endpoints[(first + i) % count];
    struct client *client = NULL;
    struct client_error error;
    const struct client_options options = { .endpoints = endpoints,
                                            .endpoint_count = count,
                                            .dial_timeout_ms = timeout_ms,
                                            .call_timeout_ms = timeout_ms,
                                            .receive_bytes_max = READ_BYTES_MAX };
    if (client_open(&client, &options, &error))
        return client;
    fprintf(stderr, "writers: %s\n", error.message);
    return NULL;
}

/* ---- writing ---- */

static enum outcome put_one(struct client *client, Etcdserverpb__PutRequest *put,
                            struct client_error *ret_error)
{
    ProtobufCMessage *response = NULL;
    if (!client_call(client, &client_kv_put, &put->base, &response, ret_error))
        return OUTCOME_UNKNOWN;
    protobuf_c_message_free_unpacked(response, NULL);
    return OUTCOME_ACKNOWLEDGED;
}

static enum outcome create_one(struct client *client, Etcdserverpb__PutRequest *put,
                               struct client_error *ret_error)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare.key = put->key;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = put;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = 1;
    txn.compare = (Etcdserverpb__Compare *[]){ &compare };
    txn.n_success = 1;
    txn.success = (Etcdserverpb__RequestOp *[]){ &op };
    ProtobufCMessage *response = NULL;
    if (!client_call(client, &client_kv_txn, &txn.base, &response, ret_error))
        return OUTCOME_UNKNOWN;
    bool created = ((const Etcdserverpb__TxnResponse *)response)->succeeded;
    protobuf_c_message_free_unpacked(response, NULL);
    /* Nobody else writes this key: it was there because this very request ran before. */
    return created ? OUTCOME_ACKNOWLEDGED : OUTCOME_DUPLICATE;
}

/* Counts one outcome; false when it is time to stop. */
static bool outcome_count(enum outcome outcome, const struct client_error *error)
{
    pthread_mutex_lock(&load.lock);
    if (outcome == OUTCOME_UNKNOWN) {
        load.unknown++;
        memcpy(load.error, error->message, sizeof load.error);
    } else {
        uint64_t now_ms = client_now_ms();
        uint64_t gap_ms = now_ms - load.last_ms;
        load.gap_ms = gap_ms > load.gap_ms ? gap_ms : load.gap_ms;
        load.last_ms = now_ms;
        load.duplicates += outcome == OUTCOME_DUPLICATE;
        load.acknowledged++;
        pthread_cond_broadcast(&load.grew);
    }
    bool goes_on = !load.stops;
    pthread_mutex_unlock(&load.lock);
    return goes_on;
}

static void *writer_run(void *argument)
{
    struct writer *w = argument;
    struct client *client = client_for(w->id, NULL, load.timeout_ms);
    if (!client)
        return NULL;
    bool goes_on = true;
    while (goes_on && w->count < WRITES_MAX) {
        char key[KEY_BYTES_MAX];
        struct client_error error;
        uint32_t number = w->count++;
        key_format(key, w->id, number);
        value_format(w->value, w->id, number);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = pb_of(key, strlen(key));
        put.value = pb_of(w->value, load.value_bytes);
        /* A failed write gets no second try: whether it happened is not known. */
        enum outcome outcome =
            load.creates ? create_one(client, &put, &error) : put_one(client, &put, &error);
        w->outcomes[number] = (uint8_t)outcome;
        goes_on = outcome_count(outcome, &error);
    }
    client_close(client);
    return NULL;
}

static void load_run(void)
{
    load.stops = false;
    load.last_ms = client_now_ms();
    load.gap_ms = 0;
    for (size_t i = 0; i < load.writer_count; i++) {
        struct writer *w = &load.writers[i];
        ASSERT(!w->is_running);
        ASSERT(pthread_create(&w->thread, NULL, writer_run, w) == 0);
        w->is_running = true;
    }
    puts("{\"running\": true}");
}

static void counts_print(void)
{
    /* The texts are the server's or the client's own: no quotes of others inside. */
    for (char *c = load.error; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            *c = '\'';
    }
    printf("{\"acknowledged\": %" PRIu64 ", \"unknown\": %" PRIu64 ", \"duplicates\": %" PRIu64
           ", \"gap_ms\": %" PRIu64 ", \"error\": \"%s\"}\n",
           load.acknowledged, load.unknown, load.duplicates, load.gap_ms, load.error);
}

static void load_wait(uint64_t more)
{
    pthread_mutex_lock(&load.lock);
    uint64_t wanted = load.acknowledged + more;
    load.gap_ms = 0;
    while (load.acknowledged < wanted)
        pthread_cond_wait(&load.grew, &load.lock);
    counts_print();
    pthread_mutex_unlock(&load.lock);
}

static void load_stop(void)
{
    pthread_mutex_lock(&load.lock);
    load.stops = true;
    pthread_mutex_unlock(&load.lock);
    for (size_t i = 0; i < load.writer_count; i++) {
        if (load.writers[i].is_running)
            pthread_join(load.writers[i].thread, NULL);
        load.writers[i].is_running = false;
    }
    counts_print();
}

/* ---- checking ---- */

struct found {
    uint8_t *present[WRITERS_MAX];
    uint64_t count;
    uint64_t strange; /* a key nobody wrote, or another value */
    uint64_t again;   /* written more than once */
    int64_t revision;
};

static void found_note(struct found *found, const Mvccpb__KeyValue *kv)
{
    char key[KEY_BYTES_MAX] = "";
    uint32_t writer = 0;
    uint32_t number = 0;
    found->count++;
    found->again += kv->version != 1;
    if (kv->key.len < sizeof key)
        memcpy(key, kv->key.data, kv->key.len);
    bool is_ours = sscanf(key, "w/%" SCNu32 "/%" SCNu32, &writer, &number) == 2 &&
                   writer < load.writer_count && number < load.writers[writer].count;
    if (is_ours) {
        char *wanted = load.writers[writer].value;
        value_format(wanted, writer, number);
        is_ours = slice_equal(slice_of(kv->value.data, kv->value.len),
                              slice_of((const uint8_t *)wanted, load.value_bytes));
        found->present[writer][number] = is_ours;
    }
    found->strange += !is_ours;
}

static Etcdserverpb__RangeResponse *range(struct client *client, const char *from, size_t from_size,
                                          bool serializable, int64_t revision, int64_t limit)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct client_error error;
    request.key = pb_of(from, from_size);
    request.range_end = pb_of(key_end, sizeof key_end - 1);
    request.limit = limit;
    request.revision = revision;
    request.serializable = serializable;
    if (client_call(client, &client_kv_range, &request.base, &response, &error))
        return (Etcdserverpb__RangeResponse *)response;
    fprintf(stderr, "writers: reading from %s: %s\n", client_endpoint(client), error.message);
    return NULL;
}

/* All pages of the writers' keys; each begins after the last key of the one before. */
static bool found_read(struct found *found, struct client *client)
{
    char from[KEY_BYTES_MAX + 1];
    memcpy(from, key_first, sizeof key_first);
    size_t from_size = sizeof key_first - 1;
    int64_t page_keys = load.value_bytes > 4096 ? 50 : PAGE_KEYS;
    for (bool more = true; more;) {
        Etcdserverpb__RangeResponse *page =
            range(client, from, from_size, true, found->revision, page_keys);
        if (!page)
            return false;
        if (found->revision == 0)
            found->revision = page->header->revision;
        for (size_t i = 0; i < page->n_kvs; i++)
            found_note(found, page->kvs[i]);
        more = page->more && page->n_kvs > 0 && page->kvs[page->n_kvs - 1]->key.len < KEY_BYTES_MAX;
        if (more) {
            const ProtobufCBinaryData last = page->kvs[page->n_kvs - 1]->key;
            memcpy(from, last.data, last.len);
            from[last.len] = '\0';
            from_size = last.len + 1;
        }
        protobuf_c_message_free_unpacked(&page->base, NULL);
    }
    return true;
}

static void found_print(const struct found *found)
{
    uint64_t missing = 0;
    uint64_t extra = 0;
    for (size_t i = 0; i < load.writer_count; i++) {
        for (uint32_t number = 0; number < load.writers[i].count; number++) {
            bool acknowledged = load.writers[i].outcomes[number] != OUTCOME_UNKNOWN;
            missing += acknowledged && !found->present[i][number];
            extra += !acknowledged && found->present[i][number];
        }
    }
    printf("{\"present\": %" PRIu64 ", \"missing\": %" PRIu64 ", \"strange\": %" PRIu64
           ", \"again\": %" PRIu64 ", \"unacknowledged\": %" PRIu64 ", \"revision\": %" PRId64
           "}\n",
           found->count, missing, found->strange, found->again, extra, found->revision);
}

static void load_verify(const char *endpoint, bool asks_quorum)
{
    struct found found = { 0 };
    struct client *client = client_for(0, endpoint, READ_TIMEOUT_MS);
    bool ok = client != NULL;
    for (size_t i = 0; i < load.writer_count; i++) {
        found.present[i] = calloc(load.writers[i].count + 1, 1);
        ASSERT(found.present[i]);
    }
    if (ok && asks_quorum) {
        Etcdserverpb__RangeResponse *confirmed =
            range(client, key_first, sizeof key_first - 1, false, 0, 1);
        ok = confirmed != NULL;
        if (ok) {
            found.revision = confirmed->header->revision;
            protobuf_c_message_free_unpacked(&confirmed->base, NULL);
        }
    }
    ok = ok && found_read(&found, client);
    if (ok)
        found_print(&found);
    else
        puts("{\"failed\": true}");
    for (size_t i = 0; i < load.writer_count; i++)
        free(found.present[i]);
    client_close(client);
}

/* ---- commands ---- */

static bool command(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "run") == 0)
        load_run();
    else if (strncmp(line, "wait ", 5) == 0)
        load_wait(strtoull(line + 5, NULL, 10));
    else if (strcmp(line, "stop") == 0)
        load_stop();
    else if (strncmp(line, "verify ", 7) == 0)
        load_verify(line + 7, true);
    else if (strncmp(line, "check ", 6) == 0)
        load_verify(line + 6, false);
    else
        return false;
    fflush(stdout);
    return true;
}

static bool load_open(char **argv)
{
    for (char *at = strtok(argv[1], ","); at && load.endpoint_count < ENDPOINTS_MAX;
         at = strtok(NULL, ","))
        load.endpoints[load.endpoint_count++] = at;
    load.writer_count = strtoull(argv[2], NULL, 10);
    load.value_bytes = strtoull(argv[3], NULL, 10);
    load.timeout_ms = (uint32_t)strtoul(argv[4], NULL, 10);
    load.creates = strcmp(argv[5], "create") == 0;
    pthread_mutex_init(&load.lock, NULL);
    pthread_cond_init(&load.grew, NULL);
    if (load.endpoint_count == 0 || load.writer_count == 0 || load.writer_count > WRITERS_MAX ||
        load.value_bytes < KEY_BYTES_MAX || load.value_bytes > VALUE_BYTES_MAX ||
        load.timeout_ms == 0)
        return false;
    for (size_t i = 0; i < load.writer_count; i++) {
        struct writer *w = &load.writers[i];
        w->id = (uint32_t)i;
        w->outcomes = calloc(WRITES_MAX, 1); /* untouched pages cost nothing */
        w->value = malloc(load.value_bytes);
        if (!w->outcomes || !w->value)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 6 || !load_open(argv)) {
        fputs("usage: writers ENDPOINT,... WRITERS VALUE_BYTES TIMEOUT_MS put|create\n", stderr);
        return 2;
    }
    char line[LINE_BYTES_MAX];
    while (fgets(line, sizeof line, stdin)) {
        if (!command(line)) {
            fprintf(stderr, "writers: unknown command: %s\n", line);
            return 2;
        }
    }
    return 0;
}
