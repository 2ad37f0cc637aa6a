#include "tests/fuzz/reseal.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/varint.h"
#include "storage/journal.h"
#include "storage/snapshot_format.h"
#include "tests/support/old_entry.h"

/* Where things are: proto/entry.h, storage/journal_format.h. */
enum {
    ENTRY_AT_FORMAT = 8,
    ENTRY_AT_HEADER_BYTES = 10,
    FRONT_BYTES = 12,
    ENTRY_AT_PAYLOAD_SUM = 12,
    ENTRY_AT_NUMBERS = 28,
    OLD_ENTRY_AT_PAYLOAD_BYTES = 12,
    OLD_ENTRY_AT_PAYLOAD_SUM = 32,
    PAGE_AT_MAGIC = 8,
    BATCH_AT_HEADER_SUM = 8,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_PREV_SUM = 96,
    BATCH_AT_PAYLOAD_BYTES = 104,
};

/* How many bytes come behind the header, which is as long as it says, and where their checksum is.
 * False: the header cannot be read, though it may be sealed. */
static bool payload_find(const uint8_t *bytes, size_t header_bytes, uint64_t *ret_bytes,
                         size_t *ret_sum_at)
{
    if (bytes[ENTRY_AT_FORMAT] == 1) {
        *ret_bytes = get_le32(bytes + OLD_ENTRY_AT_PAYLOAD_BYTES);
        *ret_sum_at = OLD_ENTRY_AT_PAYLOAD_SUM;
        return header_bytes >= OLD_ENTRY_HEADER_BYTES;
    }
    *ret_sum_at = ENTRY_AT_PAYLOAD_SUM;
    return bytes[ENTRY_AT_FORMAT] == ENTRY_FORMAT && header_bytes >= ENTRY_HEADER_BYTES_MIN &&
           varint_get(bytes + ENTRY_AT_NUMBERS, bytes + header_bytes, ret_bytes) != NULL;
}

void reseal_entries(uint8_t *bytes, size_t size)
{
    while (size >= FRONT_BYTES) {
        size_t header_bytes = get_le16(bytes + ENTRY_AT_HEADER_BYTES);
        uint64_t payload_bytes;
        size_t sum_at;
        if (header_bytes < FRONT_BYTES || header_bytes > size)
            return;
        bool is_whole = payload_find(bytes, header_bytes, &payload_bytes, &sum_at) &&
                        payload_bytes <= size - header_bytes;
        if (is_whole)
            put_le64(bytes + sum_at, checksum(slice_of(bytes + header_bytes, payload_bytes), 0));
        put_le64(bytes, checksum(slice_of(bytes + 8, header_bytes - 8), 0));
        if (!is_whole)
            return;
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
