#include "tests/fuzz/reseal.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "proto/entry.h"
#include "storage/journal.h"
#include "storage/snapshot_format.h"

/* Where things are: proto/entry.h, storage/journal_format.h. */
enum {
    ENTRY_AT_HEADER_BYTES = 10,
    ENTRY_AT_PAYLOAD_BYTES = 12,
    ENTRY_AT_PAYLOAD_SUM = 32,
    PAGE_AT_MAGIC = 8,
    BATCH_AT_HEADER_SUM = 8,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_PREV_SUM = 96,
    BATCH_AT_PAYLOAD_BYTES = 104,
};

void reseal_entries(uint8_t *bytes, size_t size)
{
    while (size >= ENTRY_HEADER_BYTES) {
        uint32_t header_bytes = get_le16(bytes + ENTRY_AT_HEADER_BYTES);
        uint32_t payload_bytes = get_le32(bytes + ENTRY_AT_PAYLOAD_BYTES);
        if (header_bytes < ENTRY_HEADER_BYTES || header_bytes > size ||
            payload_bytes > size - header_bytes)
            return;
        put_le64(bytes + ENTRY_AT_PAYLOAD_SUM,
                 checksum(slice_of(bytes + header_bytes, payload_bytes), 0));
        put_le64(bytes, checksum(slice_of(bytes + 8, header_bytes - 8), 0));
        bytes += header_bytes + payload_bytes;
        size -= header_bytes + payload_bytes;
    }
}

void reseal_front(uint8_t *bytes, size_t size)
{
    if (size >= 8)
        put_le64(bytes, checksum(slice_of(bytes + 8, size - 8), 0));
}

void reseal_chunk(uint8_t *bytes, size_t size)
{
    if (size >= SNAPSHOT_HEADER_BYTES && memcmp(bytes + PAGE_AT_MAGIC, "HFSNAPCH", 8) == 0)
        reseal_front(bytes, size);
}

static void batch_reseal(uint8_t *batch, size_t left, const struct journal_owner *owner,
                         uint64_t *prev_sum)
{
    uint64_t size = journal_batch_bytes(get_le32(batch + BATCH_AT_PAYLOAD_BYTES));
    if (*prev_sum != 0)
        put_le64(batch + BATCH_AT_PREV_SUM, *prev_sum);
    uint64_t payload_bytes = get_le32(batch + BATCH_AT_PAYLOAD_BYTES);
    if (size <= left)
        reseal_entries(batch + JOURNAL_BATCH_HEADER_BYTES, payload_bytes);
    put_le64(batch + BATCH_AT_HEADER_SUM,
             checksum(slice_of(batch + BATCH_AT_MAGIC, JOURNAL_BATCH_HEADER_BYTES - BATCH_AT_MAGIC),
                      owner->seed));
    if (size > left)
        return;
    *prev_sum =
        checksum(slice_of(batch + BATCH_AT_HEADER_SUM, size - BATCH_AT_HEADER_SUM), owner->seed);
    put_le64(batch, *prev_sum);
}

void reseal_journal(uint8_t *bytes, size_t size, const struct journal_owner *owner)
{
    uint64_t prev_sum = 0;
    for (size_t at = 0; at + JOURNAL_ALIGN_BYTES <= size; at += JOURNAL_ALIGN_BYTES) {
        uint8_t *page = bytes + at;
        if (memcmp(page + BATCH_AT_MAGIC, "HFJBATCH", 8) == 0)
            batch_reseal(page, size - at, owner, &prev_sum);
        else if (memcmp(page + PAGE_AT_MAGIC, "HFJ-", 4) == 0)
            reseal_front(page, JOURNAL_ALIGN_BYTES);
    }
}
