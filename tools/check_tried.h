/* check_tried.h: the configurations that a search has been in: which operations were placed, and
 * the state after them.
 *
 * Operations of known outcome and of unknown outcome are numbered apart, each from 0 in the order
 * of their invocation: so a configuration is a run of ones, a short mixed part and zeros, of which
 * only the mixed part is kept, and a few bits of the second sort.
 *
 * Owner: the search. Bounds: bytes_max.
 */
#ifndef TOOLS_CHECK_TRIED_H
#define TOOLS_CHECK_TRIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check_bits {
    uint64_t *words;
    size_t word_count;
    size_t low;  /* all words before are ones */
    size_t high; /* all words from here on are zero */
};

struct check_tried {
    struct check_bits known;
    struct check_bits unknown;
    uint64_t *scratch;
    uint64_t *kept; /* configurations: size in words, then the words */
    size_t kept_words;
    size_t kept_capacity;
    size_t *slots; /* 1 + place in kept; 0: empty */
    size_t slot_count;
    size_t count;
    size_t bytes_max;
};

enum check_tried_answer { CHECK_TRIED_NEW, CHECK_TRIED_BEFORE, CHECK_TRIED_FULL };

/* False: out of memory. */
bool check_tried_open(struct check_tried *t, size_t known_count, size_t unknown_count,
                      size_t bytes_max);
void check_tried_close(struct check_tried *t);

void check_bits_set(struct check_bits *b, size_t i);
void check_bits_clear(struct check_bits *b, size_t i);

/* Remembers what is set now together with this state. */
enum check_tried_answer check_tried_add(struct check_tried *t, uint64_t state);

/* States of what is kept: *position is 0 at first; false: no more. */
bool check_tried_next_state(const struct check_tried *t, size_t *position, uint64_t *ret_state);

#endif
