/* entry.h: the envelope around every log entry. One encoding: the same bytes stand in the journal,
 * in append messages and in the log store, whatever format they were made in.
 *
 * Format 2, which is written:
 *   offset size
 *        0    8  checksum of the header from byte 8 to header_bytes
 *        8    1  format version, 2
 *        9    1  type, enum raft_entry_type
 *       10    2  header_bytes: all before the payload
 *       12    8  checksum of the payload
 *       20    8  request id: who waits for the result; 0: nobody. A large random number, which a
 *                varint would make longer
 *       28    -  as varints (base/varint.h), each in its one form: payload_bytes; index; term; the
 *                leader's wall clock in Unix ms, for point-in-time recovery, never read by apply;
 *                the auth revision that the request was checked at
 *        -    -  user name (at most ENTRY_USER_BYTES_MAX bytes), then the payload
 *   A put that nobody logged in for has 42 bytes before its payload.
 *
 * Format 1, which is read:
 *        0   12  as in format 2; format version 1; header_bytes is 64 + the user name's length
 *       12    4  payload_bytes
 *       16    8  index
 *       24    8  term
 *       32    8  checksum of the payload
 *       40    8  request id
 *       48    8  wall clock
 *       56    8  auth revision
 *       64    -  user name, then the payload
 *
 * Little-endian. The first 12 bytes are for all formats to come: so a newer one is told from
 * damage. The header can be kept and verified without the payload (witnesses, repair).
 * Thread: any; no state.
 */
#ifndef PROTO_ENTRY_H
#define PROTO_ENTRY_H

#include "raft/types.h"

enum {
    ENTRY_FORMAT = 2,
    ENTRY_USER_BYTES_MAX = 1024,
    ENTRY_PAYLOAD_BYTES_MAX = 1 << 30,
    /* Of any format; the longest has five varints and a user name of full length. */
    ENTRY_HEADER_BYTES_MIN = 33,
    ENTRY_HEADER_BYTES_MAX = 73 + ENTRY_USER_BYTES_MAX,
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

/* Of the whole entry as entry_seal makes it: header, user, payload. All numbers of the header
 * count: they are set before. */
size_t entry_size_bytes(const struct entry_header *header);

/* Where the payload goes in a buffer of entry_size_bytes; likewise. */
size_t entry_payload_offset(const struct entry_header *header);

/* Writes the header in front of a payload that already stands at entry_payload_offset, and its
 * checksums. ASSERTs the bounds above: the caller checked its input. */
void entry_seal(uint8_t *buffer, const struct entry_header *header);

/* The payload of an entry that was decoded before, without looking at the rest again. */
struct slice entry_payload(struct slice entry);

/* The first entry in `in`, which may hold more: verified whole, header and payload.
 * On success *ret_size is the entry's length and *ret_payload views it. A number that is longer
 * than it need be, or that does not end within the header, is ENTRY_E_BOUNDS too. */
enum entry_err entry_decode(struct slice in, struct entry_header *ret_header,
                            struct slice *ret_payload, size_t *ret_size)
    __attribute__((warn_unused_result));

#endif
