/* entry.h: the envelope around every log entry, version 1. One encoding: the same bytes stand in
 * the journal, in append messages and in the log store.
 *
 *   offset size
 *        0    8  checksum of the header from byte 8 to header_bytes
 *        8    1  format version, 1
 *        9    1  type, enum raft_entry_type
 *       10    2  header_bytes: 64 + the user name's length
 *       12    4  payload_bytes
 *       16    8  index
 *       24    8  term
 *       32    8  checksum of the payload
 *       40    8  request id: who waits for the result; 0: nobody
 *       48    8  the leader's wall clock, Unix ms: for point-in-time recovery, never read by apply
 *       56    8  auth revision that the request was checked at
 *       64    -  user name (at most ENTRY_USER_BYTES_MAX bytes), then the payload
 *
 * Little-endian. The header can be kept and verified without the payload (witnesses, repair).
 * Thread: any; no state.
 */
#ifndef PROTO_ENTRY_H
#define PROTO_ENTRY_H

#include "raft/types.h"

enum {
    ENTRY_FORMAT = 1,
    ENTRY_HEADER_BYTES = 64,
    ENTRY_USER_BYTES_MAX = 1024,
    ENTRY_PAYLOAD_BYTES_MAX = 1 << 30,
};

struct entry_header {
    enum raft_entry_type type;
    struct raft_pos pos;
    uint64_t request_id;
    uint64_t wall_ms;
    uint64_t auth_revision;
    struct slice user; /* a view into the encoded bytes after decode */
    uint32_t payload_bytes;
};

#define ENTRY_ERRORS(X)                                                                 \
    X(ENTRY_OK, "ok")                                                                   \
    X(ENTRY_E_TRUNCATED, "log entry ends too early")                                    \
    X(ENTRY_E_VERSION, "log entry of an unknown format version; is this node too old?") \
    X(ENTRY_E_TYPE, "log entry of an unknown type; is this node too old?")              \
    X(ENTRY_E_CHECKSUM, "log entry fails its checksum")                                 \
    X(ENTRY_E_BOUNDS, "log entry with a length out of bounds")

#define ENTRY_ENUM_ENTRY(name, text) name,
enum entry_err { ENTRY_ERRORS(ENTRY_ENUM_ENTRY) };
#undef ENTRY_ENUM_ENTRY

const char *entry_strerror(enum entry_err err);

/* Of the whole entry: header, user, payload. */
size_t entry_size_bytes(const struct entry_header *header);

/* Where the payload goes in a buffer of entry_size_bytes. */
size_t entry_payload_offset(const struct entry_header *header);

/* Writes the header in front of a payload that already stands at entry_payload_offset, and its
 * checksums. ASSERTs the bounds above: the caller checked its input. */
void entry_seal(uint8_t *buffer, const struct entry_header *header);

/* The payload of an entry that was decoded before, without looking at the rest again. */
struct slice entry_payload(struct slice entry);

/* The first entry in `in`, which may hold more: verified whole, header and payload.
 * On success *ret_size is the entry's length and *ret_payload views it. */
enum entry_err entry_decode(struct slice in, struct entry_header *ret_header,
                            struct slice *ret_payload, size_t *ret_size)
    __attribute__((warn_unused_result));

#endif
