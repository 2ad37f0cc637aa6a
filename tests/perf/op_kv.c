/* The key space: memtable, reads of one key, pages and counts as a Range does them, flushes. */
#include <stdlib.h>

#include "proto/range_response.h"
#include "server/range.h"
#include "tests/perf/keys.h"
#include "tests/perf/operations.h"

enum { KEYS = 10000, PAGE_KEYS = 100, ARENA_BYTES = 64 << 20, LOG_ENTRIES = 1000 };

static struct perf_keys keys;
static struct arena arena;
static uint32_t *numbers;
static uint32_t at; /* how many of them were used */

/* ---- the memtable alone ---- */

static struct memtable *memtable;
static struct kv_record record;
static int64_t revision;

static void memtable_open_of(uint32_t count)
{
    struct prng chance = prng_seeded(1);
    numbers = perf_shuffled(&chance, count);
    memtable = memtable_new();
    ASSERT(memtable);
}

static void random_open(void)
{
    memtable_open_of(2 * KEYS);
}

static void record_prepare(uint32_t number)
{
    revision++;
    record =
        store_rig_record(perf_key(number), perf_value(), (struct kv_revision){ .main = revision });
}

static void random_prepare(void)
{
    record_prepare(numbers[at++]);
}

static void sequential_prepare(void)
{
    record_prepare(at++);
}

static void insert(void)
{
    bool inserted = memtable_insert(memtable, &record);
    ASSERT(inserted);
}

static void memtable_close(void)
{
    memtable_unref(memtable);
    free(numbers);
}

/* ---- reads ---- */

static Etcdserverpb__RangeRequest request;
static int64_t expected_count;
static uint8_t reply[PAGE_KEYS * 2 * PERF_VALUE_BYTES];
static char start[PERF_KEY_BYTES], end[PERF_KEY_BYTES];

static void reads_open(uint32_t in_store)
{
    perf_keys_open(&keys, in_store);
    arena_init(&arena, ARENA_BYTES);
    numbers = perf_shuffled(&keys.chance, KEYS);
    for (uint32_t i = 0; i < KEYS - in_store; i++)
        perf_keys_put(&keys, numbers[i]);
}

static void memtable_reads_open(void)
{
    reads_open(0);
}

static void store_reads_open(void)
{
    reads_open(KEYS);
}

static void reads_close(void)
{
    perf_keys_close(&keys);
    arena_done(&arena);
    free(numbers);
}

static void request_of(uint32_t first, uint32_t after)
{
    memcpy(start, perf_key(first).data, sizeof start);
    memcpy(end, perf_key(after).data, sizeof end);
    etcdserverpb__range_request__init(&request);
    request.key = (ProtobufCBinaryData){ sizeof start, (uint8_t *)start };
    if (after > first + 1)
        request.range_end = (ProtobufCBinaryData){ sizeof end, (uint8_t *)end };
    expected_count = after - first;
}

static void get_prepare(void)
{
    uint32_t number = numbers[at++ % KEYS];
    request_of(number, number + 1);
}

static void range_prepare(void)
{
    uint32_t first = (uint32_t)prng_below(&keys.chance, KEYS - PAGE_KEYS);
    request_of(first, first + PAGE_KEYS);
}

/* The answer's count is of all of them. */
static void page_prepare(void)
{
    request_of(0, KEYS);
    request.limit = PAGE_KEYS;
}

static void count_prepare(void)
{
    request_of(0, KEYS);
    request.count_only = true;
}

/* As read_now in server/service_read.c. */
static void read_once(void)
{
    struct kv_view *view;
    enum kv_err err = kv_view_open(keys.kv, &view);
    ASSERT(err == KV_OK);
    struct range_context context = { .view = view,
                                     .arena = &arena,
                                     .revision = keys.revision,
                                     .compact_revision = 0,
                                     .steps_max = UINT64_MAX };
    Etcdserverpb__RangeResponse *response;
    enum etcd_error error;
    enum range_outcome outcome = range_execute(&context, &request, &response, &error, &err);
    ASSERT(outcome == RANGE_DONE && response->count == expected_count);
    size_t size = range_response_size(response);
    ASSERT(size <= sizeof reply);
    range_response_pack(response, reply);
    arena_reset(&arena);
    kv_view_close(view);
}

/* ---- flushes ---- */

static struct store_flush flush;
static bool has_frozen;
static struct raft_entry entries[LOG_ENTRIES];
static uint64_t last_index;

static void flush_open(void)
{
    perf_keys_open(&keys, 2 * KEYS);
    has_frozen = false;
}

static void flush_prepare(void)
{
    if (has_frozen)
        kv_flushed(keys.kv);
    numbers = perf_shuffled(&keys.chance, 2 * KEYS);
    for (uint32_t i = 0; i < KEYS; i++)
        perf_keys_put(&keys, numbers[i]);
    free(numbers);
    flush = perf_keys_freeze(&keys);
    has_frozen = true;
}

static void flush_once(void)
{
    enum store_err err = store_rig_flush(&keys.store, &flush);
    ASSERT(err == STORE_OK);
}

static void flush_close(void)
{
    kv_flushed(keys.kv);
    perf_keys_close(&keys);
}

static void log_entries_drop(void)
{
    for (uint32_t i = 0; i < LOG_ENTRIES; i++)
        block_unref(entries[i].block);
}

static void log_open(void)
{
    perf_keys_open(&keys, 0);
}

static void log_prepare(void)
{
    if (last_index > 0)
        log_entries_drop();
    for (uint32_t i = 0; i < LOG_ENTRIES; i++)
        entries[i] = store_rig_entry((struct raft_pos){ 1, ++last_index },
                                     PERF_VALUE_BYTES + PERF_KEY_BYTES + 8);
    flush = store_rig_flush_of(&keys.store, NULL, entries, LOG_ENTRIES);
}

static void log_close(void)
{
    log_entries_drop();
    perf_keys_close(&keys);
}

const struct perf_operation perf_kv_operations[] = {
    { .name = "memtable-insert-random",
      .rounds = 10000,
      .counts_as = 1,
      .open = random_open,
      .prepare = random_prepare,
      .round = insert,
      .close = memtable_close },
    { .name = "memtable-insert-sequential",
      .rounds = 10000,
      .counts_as = 1,
      .open = random_open,
      .prepare = sequential_prepare,
      .round = insert,
      .close = memtable_close },
    { .name = "get-from-memtable",
      .rounds = 1000,
      .counts_as = 1,
      .open = memtable_reads_open,
      .prepare = get_prepare,
      .round = read_once,
      .close = reads_close },
    { .name = "get-from-store",
      .rounds = 1000,
      .counts_as = 1,
      .open = store_reads_open,
      .prepare = get_prepare,
      .round = read_once,
      .close = reads_close },
    { .name = "range-of-100-from-store",
      .rounds = 40,
      .counts_as = 1,
      .open = store_reads_open,
      .prepare = range_prepare,
      .round = read_once,
      .close = reads_close },
    { .name = "page-of-100-in-10000",
      .rounds = 4,
      .counts_as = 1,
      .open = store_reads_open,
      .prepare = page_prepare,
      .round = read_once,
      .close = reads_close },
    { .name = "count-of-10000",
      .rounds = 4,
      .counts_as = 1,
      .open = store_reads_open,
      .prepare = count_prepare,
      .round = read_once,
      .close = reads_close },
    { .name = "flush-of-10000-records",
      .rounds = 2,
      .counts_as = KEYS,
      .open = flush_open,
      .prepare = flush_prepare,
      .round = flush_once,
      .close = flush_close },
    { .name = "flush-of-1000-log-entries",
      .rounds = 8,
      .counts_as = LOG_ENTRIES,
      .open = log_open,
      .prepare = log_prepare,
      .round = flush_once,
      .close = log_close },
    { 0 },
};
