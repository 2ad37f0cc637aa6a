#include "tests/support/store_rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "storage/rev_tree.h"
#include "storage/store_internal.h"

void store_rig_init(struct store_rig *rig)
{
    *rig = (struct store_rig){ 0 };
    inline_io_init(&rig->io);
    /* Memory, where there is such a place: hundreds of commits a test, and no power to fail. */
    bool has_shm = access("/dev/shm", W_OK) == 0;
    int size = snprintf(rig->path, sizeof rig->path, "%s/holdfast-test-XXXXXX",
                        has_shm ? "/dev/shm" : "/tmp");
    ASSERT(size > 0 && (size_t)size + sizeof "/store" < sizeof rig->path);
    ASSERT(mkdtemp(rig->path) != NULL);
    memcpy(rig->path + size, "/store", sizeof "/store");
    rig->options = (struct store_options){
        .io = &rig->io.io,
        .path = rig->path,
        .map_bytes = 1 << 30,
        .dirty_bytes_max = 64 << 20,
        .readers_max = 8,
        .cluster_id = STORE_RIG_CLUSTER,
    };
}

enum store_err store_rig_open(struct store_rig *rig)
{
    ASSERT(rig->store == NULL);
    rig->options.path = rig->path;
    rig->options.io = &rig->io.io;
    return store_open(&rig->store, &rig->options, &rig->state, rig->detail, sizeof rig->detail);
}

void store_rig_close(struct store_rig *rig)
{
    store_close(rig->store);
    rig->store = NULL;
}

void store_rig_reopen(struct store_rig *rig)
{
    store_rig_close(rig);
    ASSERT(store_rig_open(rig) == STORE_OK);
}

static void dir_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        IGNORE(unlinkat(dirfd(dir), entry->d_name, 0) != 0, "directories stay for rmdir");
    if (dir != NULL)
        closedir(dir);
    IGNORE(rmdir(path) != 0, "leftovers of a test do no harm");
}

void store_rig_done(struct store_rig *rig)
{
    store_rig_close(rig);
    dir_remove(rig->path);
    rig->path[strlen(rig->path) - strlen("/store")] = '\0';
    dir_remove(rig->path);
}

struct store_flush store_rig_flush_of(const struct store_rig *rig, const struct memtable *memtable,
                                      const struct raft_entry *entries, size_t entry_count)
{
    struct store_flush flush = {
        .memtable = memtable,
        .entries = entries,
        .entry_count = entry_count,
        .state = *store_published(rig->store),
        .compact_rows_max = UINT64_MAX,
    };
    flush.log_begin = flush.state.applied;
    if (entry_count > 0)
        flush.state.applied = entries[entry_count - 1].pos;
    return flush;
}

static void on_flushed(struct store_flush *flush)
{
    bool *is_done = flush->owner;
    ASSERT(!*is_done);
    *is_done = true;
}

enum store_err store_rig_flush(struct store_rig *rig, struct store_flush *flush)
{
    bool is_done = false;
    flush->done = on_flushed;
    flush->owner = &is_done;
    store_flush_begin(rig->store, flush);
    ASSERT(is_done);
    return flush->err;
}

struct raft_entry store_rig_entry(struct raft_pos pos, uint32_t payload_bytes)
{
    struct entry_header header = {
        .type = RAFT_ENTRY_COMMAND,
        .pos = pos,
        .request_id = pos.index * 7,
        .payload_bytes = payload_bytes,
    };
    size_t size = entry_size_bytes(&header);
    struct block *block = block_new(size);
    ASSERT(block != NULL);
    uint8_t *payload = block->data + entry_payload_offset(&header);
    struct prng p = prng_seeded(pos.index * 1000 + pos.term);
    for (uint32_t i = 0; i < payload_bytes; i++)
        payload[i] = (uint8_t)prng_next(&p);
    entry_seal(block->data, &header);
    return (struct raft_entry){
        .pos = pos, .type = header.type, .bytes = slice_of(block->data, size), .block = block
    };
}

struct kv_record store_rig_record(struct slice key, struct slice value, struct kv_revision mod)
{
    struct kv_record record = {
        .key = key,
        .value = value,
        .mod = mod,
        .create_revision = mod.main,
        .version = 1,
        .value_bytes = (uint32_t)value.size,
    };
    record.sum = kv_record_sum(&record);
    return record;
}

struct kv_record store_rig_tombstone(struct slice key, struct kv_revision mod)
{
    struct kv_record record = { .key = key, .mod = mod, .tombstone = true };
    record.sum = kv_record_sum(&record);
    return record;
}

void store_rig_lose_record(struct store_rig *rig, int64_t revision)
{
    struct store_handles handles = store_handles(rig->store);
    MDB_txn *txn;
    ASSERT(mdb_txn_begin(handles.env, NULL, 0, &txn) == MDB_SUCCESS);
    ASSERT(rev_tree_remove(txn, handles.rev, (struct kv_revision){ .main = revision }) == STORE_OK);
    ASSERT(mdb_txn_commit(txn) == MDB_SUCCESS);
}
