/* http2_pool.h: memory for nghttp2, which allocates and frees a handful of small blocks a stream.
 *
 * Owner:  whoever made it; every session made with it is gone before http2_pool_free.
 * Thread: one.
 * Bounds: what it keeps for reuse, 4 MiB.
 */
#ifndef RPC_HTTP2_POOL_H
#define RPC_HTTP2_POOL_H

#include <nghttp2/nghttp2.h>

struct http2_pool;

struct http2_pool *http2_pool_new(void); /* NULL: out of memory */
void http2_pool_free(struct http2_pool *p);
nghttp2_mem http2_pool_mem(struct http2_pool *p);

#endif
