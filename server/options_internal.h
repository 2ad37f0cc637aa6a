/* options_internal.h: the table of flags, shared by options*.c alone. */
#ifndef SERVER_OPTIONS_INTERNAL_H
#define SERVER_OPTIONS_INTERNAL_H

#include <stddef.h>

#include "server/options.h"

enum options_kind {
    OPTIONS_TEXT,
    OPTIONS_URLS,
    OPTIONS_NUMBER,   /* of `unit` */
    OPTIONS_DURATION, /* Go's: 5s, 2h, 100ms */
    OPTIONS_BOOL,
    OPTIONS_IGNORED, /* no meaning here: a warning */
    OPTIONS_REFUSED, /* would change what the operator relies on, and is not there yet */
};

struct options_flag {
    const char *name;
    enum options_kind kind;
    size_t offset; /* in struct options */
    const char *initial;
    const char *help; /* of _IGNORED and _REFUSED: why */
    uint64_t min;
    uint64_t max;
};

extern const struct options_flag options_flags[];
extern const size_t options_flag_count;

/* NULL when there is none. */
const struct options_flag *options_flag_find(const char *name, size_t name_bytes);

/* The known name with the fewest edits to get there. */
const char *options_flag_nearest(const char *name, size_t name_bytes);

/* Parses and checks one value. */
bool options_set(struct options *o, const struct options_flag *flag, const char *value,
                 const char *origin, char *detail);

/* A flat YAML mapping, flag names as keys (etcd's configuration file). */
bool options_read_file(struct options *o, const char *path, char *detail);

#endif
