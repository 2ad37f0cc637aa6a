#include "tests/support/snapshot_rig.h"

#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/store_switch.h"

const char *snapshot_rig_dir(const struct store_rig *rig)
{
    static char path[STORE_RIG_PATH_BYTES];
    size_t size = strlen(rig->path) - strlen("/store");
    memcpy(path, rig->path, size);
    path[size] = '\0';
    return path;
}

bool snapshot_rig_has(const struct store_rig *rig, const char *name)
{
    char path[2 * STORE_RIG_PATH_BYTES];
    int size = snprintf(path, sizeof path, "%s/%s", snapshot_rig_dir(rig), name);
    ASSERT(size > 0 && (size_t)size < sizeof path);
    return access(path, F_OK) == 0;
}

void snapshot_rig_clear(const struct store_rig *rig)
{
    ASSERT(store_discard(snapshot_rig_dir(rig)) == STORE_OK);
    ASSERT(store_lost_remove(snapshot_rig_dir(rig)) == STORE_OK);
}

struct snapshot_source *snapshot_rig_source(struct store_rig *rig, uint32_t row_bytes_max)
{
    const struct snapshot_source_options options = {
        .id = SNAPSHOT_RIG_ID,
        .row_bytes_max = row_bytes_max,
        .hold_until_ms = SNAPSHOT_RIG_HOLD_MS,
    };
    struct snapshot_source *source = NULL;
    ASSERT(snapshot_source_open(&source, rig->store, &options) == SNAPSHOT_OK);
    return source;
}

struct snapshot_sink *snapshot_rig_sink(struct store_rig *rig, uint64_t batch_bytes)
{
    const struct snapshot_sink_options options = {
        .io = &rig->io.io,
        .data_dir = snapshot_rig_dir(rig),
        .id = SNAPSHOT_RIG_ID,
        .cluster_id = rig->options.cluster_id,
        .map_bytes = rig->options.map_bytes,
        .dirty_bytes_max = rig->options.dirty_bytes_max,
        .batch_bytes = batch_bytes,
    };
    struct snapshot_sink *sink = NULL;
    ASSERT(snapshot_sink_open(&sink, &options) == SNAPSHOT_OK);
    return sink;
}

static void on_read(struct snapshot_read *read)
{
    *(bool *)read->owner = true;
}

struct snapshot_read snapshot_rig_read(struct snapshot_source *source, uint64_t seq)
{
    bool is_done = false;
    struct snapshot_read read = { .seq = seq, .done = on_read, .owner = &is_done };
    snapshot_source_read(source, &read);
    ASSERT(is_done);
    return read;
}

static void on_added(struct snapshot_add *add)
{
    *(bool *)add->owner = true;
}

struct snapshot_add snapshot_rig_add(struct snapshot_sink *sink, struct slice chunk)
{
    bool is_done = false;
    struct snapshot_add add = { .chunk = chunk, .done = on_added, .owner = &is_done };
    snapshot_sink_add(sink, &add);
    ASSERT(is_done);
    return add;
}

static void on_ended(void *owner)
{
    *(bool *)owner = true;
}

void snapshot_rig_end(struct snapshot_sink *sink, bool keep)
{
    bool is_done = false;
    snapshot_sink_end(sink, keep, on_ended, &is_done);
    ASSERT(is_done);
}

void snapshot_rig_copy(struct snapshot_source *source, struct snapshot_sink *sink)
{
    for (uint64_t seq = 0;; seq++) {
        struct snapshot_read read = snapshot_rig_read(source, seq);
        ASSERT(read.err == SNAPSHOT_OK);
        struct snapshot_add add = snapshot_rig_add(sink, read.chunk);
        ASSERT(add.err == SNAPSHOT_OK);
        ASSERT(add.next_seq == seq + 1);
        ASSERT(add.complete == read.last);
        ASSERT(snapshot_source_ack(source, add.next_seq));
        block_unref(read.block);
        if (read.last)
            break;
    }
    snapshot_source_close(source);
    snapshot_rig_end(sink, true);
}
