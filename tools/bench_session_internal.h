/* bench_session_internal.h: between bench_session.c (sending) and bench_receive.c. */
#ifndef TOOLS_BENCH_SESSION_INTERNAL_H
#define TOOLS_BENCH_SESSION_INTERNAL_H

#include "tools/bench_conn.h"
#include "tools/bench_session.h"

struct bench_control {
    uint8_t type;
    uint8_t flags;
    uint32_t id;
    struct slice payload;
};

/* False: out of memory. */
bool bench_session_control(struct bench_session *s, const struct bench_control *frame);
bool bench_session_word(struct bench_session *s, uint8_t type, uint32_t id, uint32_t word);

void bench_frame_head(uint8_t *to, size_t size, uint8_t type, uint8_t flags, uint32_t id);

/* NULL: none in flight has that stream. */
struct bench_call *bench_session_call(struct bench_session *s, uint32_t id);

/* The call is no longer in flight. */
void bench_session_forget(struct bench_session *s, struct bench_call *call);

#endif
