/* history_maker.h: histories of a correct store with concurrent clients, for tests of checkers.
 *
 * The store is a few keys in memory; an operation takes effect at one moment between its
 * invocation and its completion. Some fail, some have an unknown outcome, with an effect or
 * without, perhaps long after. What is made is lawful; tests then break it.
 */
#ifndef TESTS_SUPPORT_HISTORY_MAKER_H
#define TESTS_SUPPORT_HISTORY_MAKER_H

#include "base/prng.h"
#include "tools/check_history.h"

enum { HISTORY_KEYS = 4, HISTORY_PROCESSES_MAX = 16 };

struct history_options {
    uint32_t process_count;
    uint32_t op_count;
    uint32_t info_percent; /* of writes */
    uint32_t fail_percent;
    bool single_keys; /* no ranges and no transactions over several keys */
};

/* The caller closes it. */
struct check_history history_make(uint64_t seed, const struct history_options *options);

/* By hand: process, then what happens at the store, then the answer. */
struct history_maker;

struct history_maker *history_maker_new(void);
void history_maker_free(struct history_maker *m); /* and its history */
struct check_history *history_maker_history(struct history_maker *m);

/* A put of this text, a get, a delete, a put if the mod revision is as given. Their number. */
size_t history_maker_put(struct history_maker *m, uint32_t process, uint32_t key, const char *text);
size_t history_maker_get(struct history_maker *m, uint32_t process, uint32_t key);
size_t history_maker_delete(struct history_maker *m, uint32_t process, uint32_t key);
size_t history_maker_cas(struct history_maker *m, uint32_t process, uint32_t key, int64_t mod,
                         const char *text);

/* It takes effect now, and what it is to be answered is kept for its end. */
void history_maker_effect(struct history_maker *m, size_t op);
void history_maker_end(struct history_maker *m, size_t op, enum check_end end);
/* Both, well. */
void history_maker_finish(struct history_maker *m, size_t op);

#endif
