/* bench_endpoints.h: --endpoints, resolved. Blocks on name servers: before a run. */
#ifndef TOOLS_BENCH_ENDPOINTS_H
#define TOOLS_BENCH_ENDPOINTS_H

#include "tools/bench_conn.h"
#include "tools/bench_flags.h"

/* Returns how many; 0: why says what is wrong. */
size_t bench_endpoints_resolve(const char *text, struct bench_endpoint endpoints[],
                               char why[BENCH_ERROR_BYTES_MAX]);

#endif
