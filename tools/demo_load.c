#include "tools/demo_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/slice.h"
#include "rpc.pb-c.h"
#include "tools/client.h"

enum {
    KEY_BYTES_MAX = 32,
    VALUE_BYTES_MAX = 64,
    /* Short, so that a write lost with its leader does not hide that others succeed again. */
    WRITE_TIMEOUT_MS = 400,
    READ_TIMEOUT_MS = 10000,
    PAGE_KEYS = 1000,
};

static const char key_first[] = "demo/";
static const char key_end[] = "demo0"; /* '0' follows '/' */

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void key_format(char *ret_key, uint32_t writer, uint32_t number)
{
    int made = snprintf(ret_key, KEY_BYTES_MAX, "demo/%" PRIu32 "/%08" PRIu32, writer, number);
    ASSERT(made > 0 && made < KEY_BYTES_MAX);
}

static void value_format(char *ret_value, uint32_t writer, uint32_t number)
{
    int made = snprintf(ret_value, VALUE_BYTES_MAX, "write %" PRIu32 " of writer %" PRIu32, number,
                        writer);
    ASSERT(made > 0 && made < VALUE_BYTES_MAX);
}

static ProtobufCBinaryData pb_of_text(const char *text)
{
    /* protobuf-c takes a pointer to what it will only read. */
    return (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)(uintptr_t)text };
}

/* ---- writing ---- */

static struct client *client_for(const struct demo_nodes *nodes, uint32_t first, uint32_t count,
                                 uint32_t timeout_ms)
{
    const char *endpoints[DEMO_NODE_COUNT];
    struct client *client = NULL;
    struct client_error error;
    for (uint32_t i = 0; i < count; i++)
        endpoints[i] = nodes->items[(first + i) % DEMO_NODE_COUNT].endpoint;
    const struct client_options options = { .endpoints = endpoints,
                                            .endpoint_count = count,
                                            .dial_timeout_ms = timeout_ms,
                                            .call_timeout_ms = timeout_ms,
                                            .receive_bytes_max = 16 << 20 };
    if (client_open(&client, &options, &error))
        return client;
    fprintf(stderr, "demo: %s\n", error.message);
    return NULL;
}

static bool write_one(struct client *client, uint32_t writer, uint32_t number)
{
    char key[KEY_BYTES_MAX];
    char value[VALUE_BYTES_MAX];
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct client_error error;
    key_format(key, writer, number);
    value_format(value, writer, number);
    request.key = pb_of_text(key);
    request.value = pb_of_text(value);
    if (!client_call(client, &client_kv_put, &request.base, &response, &error))
        return false;
    protobuf_c_message_free_unpacked(response, NULL);
    return true;
}

/* Counts one outcome; false when it is time to stop. */
static bool outcome_count(struct demo_load *load, bool acknowledged)
{
    pthread_mutex_lock(&load->lock);
    if (acknowledged) {
        uint64_t at_us = now_us();
        uint64_t gap_us = at_us - load->last_us;
        load->gap_us = gap_us > load->gap_us ? gap_us : load->gap_us;
        load->last_us = at_us;
        load->acknowledged_count++;
    } else {
        load->unknown_count++;
    }
    bool goes_on = !load->stops;
    pthread_mutex_unlock(&load->lock);
    return goes_on;
}

static void *writer_run(void *argument)
{
    struct demo_writer *w = argument;
    struct client *client =
        client_for(w->load->nodes, w->id % DEMO_NODE_COUNT, DEMO_NODE_COUNT, WRITE_TIMEOUT_MS);
    if (client == NULL)
        return NULL;
    for (uint32_t number = 0; number < DEMO_WRITE_COUNT_MAX; number++) {
        /* A failed write gets no second try: whether it happened is not known. The next key is
         * another one, so each acknowledgement stands for exactly one write. */
        bool acknowledged = write_one(client, w->id, number);
        w->acknowledged[number] = acknowledged;
        w->write_count = number + 1;
        if (!outcome_count(w->load, acknowledged))
            break;
    }
    client_close(client);
    return NULL;
}

bool demo_load_start(struct demo_load *load, const struct demo_nodes *nodes)
{
    *load = (struct demo_load){ .nodes = nodes, .last_us = now_us() };
    pthread_mutex_init(&load->lock, NULL);
    for (uint32_t i = 0; i < DEMO_WRITER_COUNT; i++) {
        struct demo_writer *w = &load->writers[i];
        *w = (struct demo_writer){ .load = load, .id = i };
        w->acknowledged = calloc(DEMO_WRITE_COUNT_MAX, 1);
        w->is_running =
            w->acknowledged != NULL && pthread_create(&w->thread, NULL, writer_run, w) == 0;
        if (!w->is_running) {
            fputs("demo: cannot start a writer\n", stderr);
            demo_load_stop(load);
            return false;
        }
    }
    return true;
}

uint64_t demo_load_acknowledged(struct demo_load *load)
{
    pthread_mutex_lock(&load->lock);
    uint64_t count = load->acknowledged_count;
    pthread_mutex_unlock(&load->lock);
    return count;
}

void demo_load_watch(struct demo_load *load)
{
    pthread_mutex_lock(&load->lock);
    load->gap_us = 0;
    pthread_mutex_unlock(&load->lock);
}

uint64_t demo_load_gap_ms(struct demo_load *load)
{
    pthread_mutex_lock(&load->lock);
    uint64_t gap_ms = (load->gap_us + 999) / 1000;
    pthread_mutex_unlock(&load->lock);
    return gap_ms;
}

void demo_load_stop(struct demo_load *load)
{
    pthread_mutex_lock(&load->lock);
    load->stops = true;
    pthread_mutex_unlock(&load->lock);
    for (size_t i = 0; i < DEMO_WRITER_COUNT; i++) {
        if (load->writers[i].is_running)
            pthread_join(load->writers[i].thread, NULL);
        load->writers[i].is_running = false;
    }
}

void demo_load_done(struct demo_load *load)
{
    for (size_t i = 0; i < DEMO_WRITER_COUNT; i++)
        free(load->writers[i].acknowledged);
    pthread_mutex_destroy(&load->lock);
}

/* ---- checking ---- */

/* Which writes a node has, in the shape of the writers' own record. */
struct demo_found {
    uint8_t *present[DEMO_WRITER_COUNT];
    uint64_t count;
};

static void found_note(struct demo_found *found, const struct demo_load *load,
                       const Mvccpb__KeyValue *kv)
{
    char key[KEY_BYTES_MAX];
    char value[VALUE_BYTES_MAX];
    uint32_t writer = 0;
    uint32_t number = 0;
    found->count++;
    if (kv->key.len >= sizeof key)
        return;
    memcpy(key, kv->key.data, kv->key.len);
    key[kv->key.len] = '\0';
    if (sscanf(key, "demo/%" SCNu32 "/%" SCNu32, &writer, &number) != 2 ||
        writer >= DEMO_WRITER_COUNT || number >= load->writers[writer].write_count)
        return;
    value_format(value, writer, number);
    found->present[writer][number] =
        slice_equal(slice_of(kv->value.data, kv->value.len), slice_of_text(value));
}

/* All pages of the writers' keys; each begins after the last key of the one before. */
static bool found_read(struct demo_found *found, const struct demo_load *load,
                       struct client *client, int64_t revision)
{
    char from[KEY_BYTES_MAX + 1];
    memcpy(from, key_first, sizeof key_first);
    size_t from_size = sizeof key_first - 1;
    for (bool more = true; more;) {
        Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
        ProtobufCMessage *response = NULL;
        struct client_error error;
        request.key = (ProtobufCBinaryData){ .len = from_size, .data = (uint8_t *)from };
        request.range_end = pb_of_text(key_end);
        request.limit = PAGE_KEYS;
        request.revision = revision;
        request.serializable = true; /* this node's own state, nobody else asked */
        if (!client_call(client, &client_kv_range, &request.base, &response, &error)) {
            fprintf(stderr, "demo: reading from %s: %s\n", client_endpoint(client), error.message);
            return false;
        }
        const Etcdserverpb__RangeResponse *page = (const Etcdserverpb__RangeResponse *)response;
        for (size_t i = 0; i < page->n_kvs; i++)
            found_note(found, load, page->kvs[i]);
        more = page->more && page->n_kvs > 0 && page->kvs[page->n_kvs - 1]->key.len < KEY_BYTES_MAX;
        if (more) {
            const ProtobufCBinaryData last = page->kvs[page->n_kvs - 1]->key;
            memcpy(from, last.data, last.len);
            from[last.len] = '\0';
            from_size = last.len + 1;
        }
        protobuf_c_message_free_unpacked(response, NULL);
    }
    return true;
}

static uint64_t found_missing(const struct demo_found *found, const struct demo_load *load)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < DEMO_WRITER_COUNT; i++) {
        for (uint32_t number = 0; number < load->writers[i].write_count; number++)
            missing += load->writers[i].acknowledged[number] && !found->present[i][number];
    }
    return missing;
}

bool demo_load_verify(const struct demo_load *load, const struct demo_node *node, int64_t revision,
                      uint64_t *ret_present, uint64_t *ret_missing)
{
    struct demo_found found = { 0 };
    uint32_t index = (uint32_t)(node - load->nodes->items);
    struct client *client = client_for(load->nodes, index, 1, READ_TIMEOUT_MS);
    bool ok = client != NULL;
    for (size_t i = 0; i < DEMO_WRITER_COUNT; i++) {
        found.present[i] = calloc(load->writers[i].write_count + 1, 1);
        ok = ok && found.present[i] != NULL;
    }
    ok = ok && found_read(&found, load, client, revision);
    if (ok) {
        *ret_present = found.count;
        *ret_missing = found_missing(&found, load);
    }
    for (size_t i = 0; i < DEMO_WRITER_COUNT; i++)
        free(found.present[i]);
    client_close(client);
    return ok;
}
