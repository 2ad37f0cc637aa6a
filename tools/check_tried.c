#include "tools/check_tried.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"

enum { SLOTS_FIRST = 1024, KEPT_FIRST = 4096, HEAD_WORDS = 3 };

static bool bits_open(struct check_bits *b, size_t count)
{
    b->word_count = count / 64 + 1;
    b->words = calloc(b->word_count, sizeof *b->words);
    return b->words != NULL;
}

void check_bits_set(struct check_bits *b, size_t i)
{
    size_t word = i / 64;
    ASSERT(word < b->word_count);
    b->words[word] |= UINT64_C(1) << i % 64;
    if (word >= b->high)
        b->high = word + 1;
    while (b->low < b->high && b->words[b->low] == UINT64_MAX)
        b->low++;
}

void check_bits_clear(struct check_bits *b, size_t i)
{
    size_t word = i / 64;
    ASSERT(word < b->word_count);
    b->words[word] &= ~(UINT64_C(1) << i % 64);
    if (word < b->low)
        b->low = word;
    while (b->high > b->low && b->words[b->high - 1] == 0)
        b->high--;
}

bool check_tried_open(struct check_tried *t, size_t known_count, size_t unknown_count,
                      size_t bytes_max)
{
    *t = (struct check_tried){ .bytes_max = bytes_max, .slot_count = SLOTS_FIRST };
    t->slots = calloc(t->slot_count, sizeof *t->slots);
    if (t->slots && bits_open(&t->known, known_count) && bits_open(&t->unknown, unknown_count)) {
        t->scratch =
            malloc((HEAD_WORDS + t->known.word_count + t->unknown.word_count) * sizeof *t->scratch);
        if (t->scratch)
            return true;
    }
    check_tried_close(t);
    return false;
}

void check_tried_close(struct check_tried *t)
{
    free(t->known.words);
    free(t->unknown.words);
    free(t->scratch);
    free(t->kept);
    free(t->slots);
    *t = (struct check_tried){ 0 };
}

/* The configuration in t->scratch; its words. */
static size_t configuration(struct check_tried *t, uint64_t state)
{
    const struct check_bits *k = &t->known, *u = &t->unknown;
    size_t known = k->high - k->low, unknown = u->high;
    t->scratch[0] = state;
    t->scratch[1] = k->low;
    t->scratch[2] = known;
    if (known > 0)
        memcpy(t->scratch + HEAD_WORDS, k->words + k->low, known * sizeof *k->words);
    if (unknown > 0)
        memcpy(t->scratch + HEAD_WORDS + known, u->words, unknown * sizeof *u->words);
    return HEAD_WORDS + known + unknown;
}

static struct slice kept_at(const struct check_tried *t, size_t place)
{
    return slice_of(t->kept + place + 1, t->kept[place] * sizeof *t->kept);
}

static size_t slot_of(const size_t *slots, size_t slot_count, const struct check_tried *t,
                      struct slice bytes)
{
    size_t i = checksum(bytes, 0) & (slot_count - 1);
    while (slots[i] != 0 && !slice_equal(kept_at(t, slots[i] - 1), bytes))
        i = (i + 1) & (slot_count - 1);
    return i;
}

static bool slots_grow(struct check_tried *t)
{
    if (t->count * 2 < t->slot_count)
        return true;
    size_t slot_count = t->slot_count * 2;
    size_t *slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < t->slot_count; i++) {
        if (t->slots[i] != 0)
            slots[slot_of(slots, slot_count, t, kept_at(t, t->slots[i] - 1))] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->slot_count = slot_count;
    return true;
}

static bool kept_reserve(struct check_tried *t, size_t words)
{
    size_t capacity = t->kept_capacity > 0 ? t->kept_capacity : KEPT_FIRST;
    while (capacity < t->kept_words + words)
        capacity *= 2;
    if (capacity == t->kept_capacity)
        return true;
    uint64_t *kept = realloc(t->kept, capacity * sizeof *kept);
    if (!kept)
        return false;
    t->kept = kept;
    t->kept_capacity = capacity;
    return true;
}

enum check_tried_answer check_tried_add(struct check_tried *t, uint64_t state)
{
    size_t words = configuration(t, state);
    struct slice bytes = slice_of(t->scratch, words * sizeof *t->scratch);
    size_t slot = slot_of(t->slots, t->slot_count, t, bytes);
    if (t->slots[slot] != 0)
        return CHECK_TRIED_BEFORE;
    if ((t->kept_words + words + 1) * sizeof *t->kept + t->slot_count * sizeof *t->slots >
            t->bytes_max ||
        !kept_reserve(t, words + 1))
        return CHECK_TRIED_FULL;
    t->slots[slot] = t->kept_words + 1;
    t->kept[t->kept_words] = words;
    memcpy(t->kept + t->kept_words + 1, t->scratch, bytes.size);
    t->kept_words += words + 1;
    t->count++;
    return slots_grow(t) ? CHECK_TRIED_NEW : CHECK_TRIED_FULL;
}

bool check_tried_next_state(const struct check_tried *t, size_t *position, uint64_t *ret_state)
{
    if (*position >= t->kept_words)
        return false;
    *ret_state = t->kept[*position + 1];
    *position += t->kept[*position] + 1;
    return true;
}
