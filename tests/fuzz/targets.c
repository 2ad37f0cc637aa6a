#include "tests/fuzz/fuzz.h"

#include "base/assert.h"

const struct fuzz_target *const fuzz_targets[] = {
    &fuzz_peer,     &fuzz_raft,       &fuzz_entry,       &fuzz_journal_page,   &fuzz_journal,
    &fuzz_identity, &fuzz_store_meta, &fuzz_repair_mark, &fuzz_snapshot_chunk, &fuzz_snapshot,
    &fuzz_config,   &fuzz_membership, &fuzz_formation,   &fuzz_options,        &fuzz_request,
    &fuzz_http2,    &fuzz_row,
};
const size_t fuzz_target_count = sizeof fuzz_targets / sizeof fuzz_targets[0];

const struct fuzz_target *fuzz_target_find(const char *name)
{
    for (size_t i = 0; i < fuzz_target_count; i++)
        if (strcmp(fuzz_targets[i]->name, name) == 0)
            return fuzz_targets[i];
    return NULL;
}

void fuzz_put_u8(struct fuzz_writer *w, unsigned value)
{
    ASSERT(w->size < sizeof w->bytes);
    w->bytes[w->size++] = (uint8_t)value;
}

void fuzz_put_u16(struct fuzz_writer *w, size_t value)
{
    ASSERT(value <= UINT16_MAX);
    fuzz_put_u8(w, value & 0xff);
    fuzz_put_u8(w, (unsigned)(value >> 8));
}

void fuzz_put(struct fuzz_writer *w, struct slice bytes)
{
    ASSERT(bytes.size <= sizeof w->bytes - w->size);
    if (bytes.size > 0)
        memcpy(w->bytes + w->size, bytes.data, bytes.size);
    w->size += bytes.size;
}
