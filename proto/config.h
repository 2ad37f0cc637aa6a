/* config.h: what a RAFT_ENTRY_CONFIG says to the core, which decodes nothing itself.
 *
 * Thread: any; no state. Bounds: RAFT_MEMBERS_MAX members, CONFIG_SCRATCH_BYTES_MAX while it
 * decodes.
 */
#ifndef PROTO_CONFIG_H
#define PROTO_CONFIG_H

#include "raft/types.h"

enum { CONFIG_SCRATCH_BYTES_MAX = 1 << 19 };

/* From an entry's payload, an encoded holdfastpb.Membership. False, and *ret_config untouched:
 * malformed, more members than there may be, ids not ascending, unknown roles, or no voter. */
bool config_of_payload(struct slice payload, struct raft_config *ret_config)
    __attribute__((warn_unused_result));

/* The same from the whole entry (proto/entry.h). */
bool config_of_entry(struct slice bytes, struct raft_config *ret_config)
    __attribute__((warn_unused_result));

#endif
