#include "storage/journal_format.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

enum {
    PAGE_AT_SUM = 0,
    PAGE_AT_MAGIC = 8,
    PAGE_AT_FORMAT = 16,
    PAGE_AT_CLUSTER = 24,
    PAGE_AT_INCARNATION = 32,
    PAGE_AT_NUMBER = 48,
    PAGE_AT_A = 56,
    PAGE_AT_B = 64,
};

enum {
    BATCH_AT_SUM = 0,
    BATCH_AT_HEADER_SUM = 8,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_FORMAT = 24,
    BATCH_AT_ENTRY_COUNT = 28,
    BATCH_AT_NUMBER = 32,
    BATCH_AT_GENERATION = 40,
    BATCH_AT_TERM = 48,
    BATCH_AT_VOTE = 56,
    BATCH_AT_COMMIT = 64,
    BATCH_AT_PREV_TERM = 72,
    BATCH_AT_PREV_INDEX = 80,
    BATCH_AT_KNOWN_DURABLE = 88,
    BATCH_AT_PREV_SUM = 96,
    BATCH_AT_PAYLOAD_BYTES = 104,
    BATCH_AT_RESET = 108,
    BATCH_AT_RESET_TERM = 112,
    BATCH_AT_RESET_INDEX = 120,
};

enum { MAGIC_BYTES = 8 };

static const char page_magics[][MAGIC_BYTES + 1] = {
    [JOURNAL_PAGE_SEGMENT] = "HFJ-SEG",
    [JOURNAL_PAGE_HARD] = "HFJ-HARD",
    [JOURNAL_PAGE_MARK] = "HFJ-MARK",
};
static const char batch_magic[MAGIC_BYTES + 1] = "HFJBATCH";

struct journal_owner journal_owner_of(uint64_t cluster_id, const uint8_t *incarnation)
{
    struct journal_owner owner = { .cluster_id = cluster_id };
    memcpy(owner.incarnation, incarnation, INCARNATION_BYTES);
    owner.seed = checksum(slice_of(owner.incarnation, INCARNATION_BYTES), cluster_id);
    return owner;
}

bool journal_is_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static uint64_t page_sum(const uint8_t *page)
{
    return checksum(slice_of(page + PAGE_AT_MAGIC, JOURNAL_ALIGN_BYTES - PAGE_AT_MAGIC), 0);
}

void journal_page_encode(uint8_t *to, enum journal_page_kind kind,
                         const struct journal_owner *owner, const struct journal_page *page)
{
    memset(to, 0, JOURNAL_ALIGN_BYTES);
    memcpy(to + PAGE_AT_MAGIC, page_magics[kind], MAGIC_BYTES);
    put_le32(to + PAGE_AT_FORMAT, JOURNAL_PAGE_FORMAT);
    put_le64(to + PAGE_AT_CLUSTER, owner->cluster_id);
    memcpy(to + PAGE_AT_INCARNATION, owner->incarnation, INCARNATION_BYTES);
    put_le64(to + PAGE_AT_NUMBER, page->number);
    put_le64(to + PAGE_AT_A, page->a);
    put_le64(to + PAGE_AT_B, page->b);
    put_le64(to + PAGE_AT_SUM, page_sum(to));
}

enum journal_verdict journal_page_decode(const uint8_t *in, enum journal_page_kind kind,
                                         const struct journal_owner *owner,
                                         struct journal_page *ret_page)
{
    if (journal_is_zero(in, JOURNAL_ALIGN_BYTES))
        return JOURNAL_VERDICT_BLANK;
    if (memcmp(in + PAGE_AT_MAGIC, page_magics[kind], MAGIC_BYTES) != 0 ||
        get_le64(in + PAGE_AT_SUM) != page_sum(in))
        return JOURNAL_VERDICT_BAD;
    if (get_le32(in + PAGE_AT_FORMAT) != JOURNAL_PAGE_FORMAT)
        return JOURNAL_VERDICT_VERSION;
    if (get_le64(in + PAGE_AT_CLUSTER) != owner->cluster_id ||
        memcmp(in + PAGE_AT_INCARNATION, owner->incarnation, INCARNATION_BYTES) != 0)
        return JOURNAL_VERDICT_FOREIGN;
    *ret_page = (struct journal_page){
        .number = get_le64(in + PAGE_AT_NUMBER),
        .a = get_le64(in + PAGE_AT_A),
        .b = get_le64(in + PAGE_AT_B),
    };
    return JOURNAL_VERDICT_OK;
}

uint64_t journal_batch_bytes(uint64_t payload_bytes)
{
    uint64_t bytes = JOURNAL_BATCH_HEADER_BYTES + payload_bytes;
    return (bytes + JOURNAL_ALIGN_BYTES - 1) / JOURNAL_ALIGN_BYTES * JOURNAL_ALIGN_BYTES;
}

static uint64_t batch_header_sum(const uint8_t *batch, uint64_t seed)
{
    return checksum(slice_of(batch + BATCH_AT_MAGIC, JOURNAL_BATCH_HEADER_BYTES - BATCH_AT_MAGIC),
                    seed);
}

static uint64_t batch_sum(const uint8_t *batch, uint64_t size, uint64_t seed)
{
    return checksum(slice_of(batch + BATCH_AT_HEADER_SUM, size - BATCH_AT_HEADER_SUM), seed);
}

uint64_t journal_batch_seal(uint8_t *to, const struct journal_owner *owner,
                            const struct journal_batch_header *header)
{
    uint64_t used = JOURNAL_BATCH_HEADER_BYTES + (uint64_t)header->payload_bytes;
    uint64_t size = journal_batch_bytes(header->payload_bytes);
    memset(to, 0, JOURNAL_BATCH_HEADER_BYTES);
    memset(to + used, 0, size - used);
    memcpy(to + BATCH_AT_MAGIC, batch_magic, MAGIC_BYTES);
    put_le32(to + BATCH_AT_FORMAT, JOURNAL_BATCH_FORMAT);
    put_le32(to + BATCH_AT_ENTRY_COUNT, header->entry_count);
    put_le64(to + BATCH_AT_NUMBER, header->number);
    put_le64(to + BATCH_AT_GENERATION, header->generation);
    put_le64(to + BATCH_AT_TERM, header->hard.term);
    put_le64(to + BATCH_AT_VOTE, header->hard.vote);
    put_le64(to + BATCH_AT_COMMIT, header->hard.commit);
    put_le64(to + BATCH_AT_PREV_TERM, header->prev.term);
    put_le64(to + BATCH_AT_PREV_INDEX, header->prev.index);
    put_le64(to + BATCH_AT_KNOWN_DURABLE, header->known_durable);
    put_le64(to + BATCH_AT_PREV_SUM, header->prev_sum);
    put_le32(to + BATCH_AT_PAYLOAD_BYTES, header->payload_bytes);
    put_le32(to + BATCH_AT_RESET, header->reset);
    put_le64(to + BATCH_AT_RESET_TERM, header->reset_pos.term);
    put_le64(to + BATCH_AT_RESET_INDEX, header->reset_pos.index);
    put_le64(to + BATCH_AT_HEADER_SUM, batch_header_sum(to, owner->seed));
    uint64_t sum = batch_sum(to, size, owner->seed);
    put_le64(to + BATCH_AT_SUM, sum);
    return sum;
}

/* A format, or a kind of reset, that came later. */
static bool batch_is_newer(const uint8_t *from)
{
    uint32_t format = get_le32(from + BATCH_AT_FORMAT);
    return format < JOURNAL_BATCH_FORMAT_OLDEST || format > JOURNAL_BATCH_FORMAT ||
           get_le32(from + BATCH_AT_RESET) > JOURNAL_RESET_KEEP;
}

enum journal_verdict journal_batch_header_decode(struct slice in, const struct journal_owner *owner,
                                                 struct journal_batch_header *ret_header)
{
    ASSERT(in.size >= JOURNAL_BATCH_HEADER_BYTES);
    const uint8_t *from = in.data;
    if (memcmp(from + BATCH_AT_MAGIC, batch_magic, MAGIC_BYTES) != 0)
        return journal_is_zero(from, JOURNAL_BATCH_HEADER_BYTES) ? JOURNAL_VERDICT_BLANK
                                                                 : JOURNAL_VERDICT_BAD;
    if (get_le64(from + BATCH_AT_HEADER_SUM) != batch_header_sum(from, owner->seed))
        return JOURNAL_VERDICT_BAD;
    if (batch_is_newer(from))
        return JOURNAL_VERDICT_VERSION;
    *ret_header = (struct journal_batch_header){
        .number = get_le64(from + BATCH_AT_NUMBER),
        .generation = get_le64(from + BATCH_AT_GENERATION),
        .hard = { .term = get_le64(from + BATCH_AT_TERM),
                  .vote = get_le64(from + BATCH_AT_VOTE),
                  .commit = get_le64(from + BATCH_AT_COMMIT) },
        .prev = { .term = get_le64(from + BATCH_AT_PREV_TERM),
                  .index = get_le64(from + BATCH_AT_PREV_INDEX) },
        .known_durable = get_le64(from + BATCH_AT_KNOWN_DURABLE),
        .prev_sum = get_le64(from + BATCH_AT_PREV_SUM),
        .entry_count = get_le32(from + BATCH_AT_ENTRY_COUNT),
        .payload_bytes = get_le32(from + BATCH_AT_PAYLOAD_BYTES),
        .reset = (enum journal_reset)get_le32(from + BATCH_AT_RESET),
        .reset_pos = { .term = get_le64(from + BATCH_AT_RESET_TERM),
                       .index = get_le64(from + BATCH_AT_RESET_INDEX) },
    };
    return JOURNAL_VERDICT_OK;
}

enum journal_verdict journal_batch_verify(struct slice in, const struct journal_owner *owner,
                                          const struct journal_batch_header *header,
                                          uint64_t *ret_sum)
{
    uint64_t size = journal_batch_bytes(header->payload_bytes);
    if (size > in.size)
        return JOURNAL_VERDICT_BAD;
    uint64_t sum = batch_sum(in.data, size, owner->seed);
    if (get_le64(in.data + BATCH_AT_SUM) != sum)
        return JOURNAL_VERDICT_BAD;
    *ret_sum = sum;
    return JOURNAL_VERDICT_OK;
}

bool journal_batch_resembles(const uint8_t *in, uint64_t number, uint64_t generation,
                             uint64_t prev_sum)
{
    if (prev_sum != 0 && get_le64(in + BATCH_AT_PREV_SUM) == prev_sum)
        return true;
    return get_le64(in + BATCH_AT_NUMBER) == number &&
           get_le64(in + BATCH_AT_GENERATION) == generation;
}
