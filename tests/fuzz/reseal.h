/* reseal.h: checksums made right again, whatever they cover. In place. */
#ifndef TESTS_FUZZ_RESEAL_H
#define TESTS_FUZZ_RESEAL_H

#include "storage/journal_format.h"

/* One log entry after the other, as far as lengths make sense. */
void reseal_entries(uint8_t *bytes, size_t size);

/* Every page and batch that begins at a multiple of JOURNAL_ALIGN_BYTES with a known magic; a
 * batch keeps its fields, chained to the one before. */
void reseal_journal(uint8_t *bytes, size_t size, const struct journal_owner *owner);

/* What is as a whole a snapshot's chunk, by its magic: it keeps its chain. */
void reseal_chunk(uint8_t *bytes, size_t size);

/* A checksum of all that follows, in the first 8 bytes. */
void reseal_front(uint8_t *bytes, size_t size);

#endif
