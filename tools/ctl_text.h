/* ctl_text.h: the small notations of etcdctl's input and output, which are Go's.
 *
 * Everything prints to a stream; a stream's error is looked at once, at the end of the program.
 * Thread: any. Nothing is kept.
 */
#ifndef TOOLS_CTL_TEXT_H
#define TOOLS_CTL_TEXT_H

#include <stdio.h>

#include "base/slice.h"

enum { TEXT_DURATION_BYTES_MAX = 32, TEXT_SIZE_BYTES_MAX = 16, TEXT_WORD_BYTES_MAX = 64 };

void text_print(FILE *out, struct slice bytes);

/* "a\x01\n" with the quotes: what Go's %q prints. */
void text_print_quoted(FILE *out, struct slice bytes);

/* A JSON string as Go's encoding/json writes it: <, > and & escaped too, bad UTF-8 replaced. */
void text_print_json(FILE *out, struct slice bytes);

void text_print_base64(FILE *out, struct slice bytes);

/* \x61\x62, as etcdctl --hex prints keys and values. */
void text_print_hex(FILE *out, struct slice bytes);

/* Sizes in powers of a thousand with two digits: 20 kB, 1.5 GB. */
void text_format_bytes(char *ret_text, uint64_t bytes);

/* 2.215501ms, 1m0.5s: Go's time.Duration. */
void text_format_duration(char *ret_text, uint64_t ns);

/* Go's ParseDuration for what a timeout can be, rounded up to a millisecond. False: *ret_why
 * says what is wrong, and is never freed. */
bool text_parse_duration(const char *text, uint64_t *ret_ms, const char **ret_why);

/* strconv.ParseInt; base 0 takes 0x, 0o, 0b and 0 prefixes. */
bool text_parse_int(const char *text, int base, int64_t *ret_value, const char **ret_why);

bool text_parse_bool(const char *text, bool *ret_value);

/* The end of a Go string literal ("..." or `...`) at the start of `text`, decoded into
 * `ret_bytes`, which holds at least text.size bytes. 0: there is no well-formed literal. */
size_t text_unquote(struct slice text, uint8_t *ret_bytes, size_t *ret_size);

/* Insertions, deletions, replacements and swaps of neighbours between two short words. */
unsigned text_distance(const char *a, const char *b);

#endif
