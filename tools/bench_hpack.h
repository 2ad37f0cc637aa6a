/* bench_hpack.h: the header block of a request. */
#ifndef TOOLS_BENCH_HPACK_H
#define TOOLS_BENCH_HPACK_H

#include "tools/bench_session.h"

enum { BENCH_PATH_BYTES_MAX = 256, BENCH_BLOCK_BYTES_MAX = 1024 };

/* path: at most BENCH_PATH_BYTES_MAX, static. Returns the block's size; the session remembers what
 * the server's table has then. */
size_t bench_hpack_request(struct bench_session *s, struct slice path, struct slice authority,
                           uint8_t to[BENCH_BLOCK_BYTES_MAX]);

#endif
