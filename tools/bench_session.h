/* bench_session.h: between bench_conn.c (the socket) and bench_session.c (nghttp2's session). */
#ifndef TOOLS_BENCH_SESSION_H
#define TOOLS_BENCH_SESSION_H

#include "tools/bench_conn.h"

bool bench_session_open(struct bench_conn *c);
bool bench_session_submit(struct bench_conn *c, struct bench_call *call, struct slice path);
void bench_session_reset(struct bench_conn *c, struct bench_call *call);

/* Room at the end of what waits to be sent. NULL: out of memory. */
uint8_t *bench_conn_out_room(struct bench_conn *c, size_t size);

#endif
