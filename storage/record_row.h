/* record_row.h: the numbers of a record as rows of the key tree and of the rev tree begin.
 *
 *   format 2:  format (1) | flags (1: tombstone, 2: lease) | number, value bytes,
 *              mod.main - create revision (modulo 2^64), version (varints) | lease (8, if any) |
 *              sum (8)
 *   format 1:  format (1) | flags (1: tombstone) | 2 zero | number (4) | value bytes (4) |
 *              create revision (8) | version (8) | lease (8) | sum (8)
 *   The number is the tree's own: sub in the key tree, the key's bytes in the rev tree.
 *
 * Format 2 is written, both are read: what was written before stays as it is until it is compacted
 * away. A record has one form in each format. Nothing here says that bytes are whole: each tree
 * has a checksum for that. Internal to storage/. Thread: any.
 */
#ifndef STORAGE_RECORD_ROW_H
#define STORAGE_RECORD_ROW_H

#include "storage/record.h"
#include "storage/store.h"

enum { RECORD_ROW_BYTES_MAX = 48 };

/* Returns how many bytes it wrote. */
size_t record_row_encode(const struct kv_record *record, uint32_t number,
                         uint8_t ret_bytes[RECORD_ROW_BYTES_MAX]);

/* From the beginning of `row`; *ret_size is where the tree's own part goes on. record->mod.main,
 * which rows have in their keys, is set before; key, value and sub are not touched.
 * STORE_E_VERSION at a format or flag that it does not know, STORE_E_CORRUPT; then the record is
 * in an unknown state. */
enum store_err record_row_decode(struct slice row, struct kv_record *record, uint32_t *ret_number,
                                 size_t *ret_size) __attribute__((warn_unused_result));

#endif
