/* check_revision.h: judges a history by the revisions that the store gave its writes.
 *
 * Every write has a revision of its own, and every answer says at which revision it was made: so
 * the order of all operations is known, and what is left is to see whether it is a lawful one.
 *   - one revision, one write; a revision is never seen before its write began, and no operation
 *     but a serializable read answers from before what had ended when it began (real time);
 *   - replayed in that order, each compare, count and read is that of the state at its revision;
 *   - an operation that failed has no effect, one of unknown outcome at most one;
 *   - what one life of one endpoint answers never falls back; a compacted past stays gone.
 * Where all outcomes are known this is strict serializability, in time linear in the history. A
 * write of unknown outcome shows by its value. Where none shows, a key may have one of several
 * states until it is read again: then the checker may accept too much, but never too little.
 *
 * Needs: all writers of the store in the history, and each written value unique.
 * Thread: any. Owner: nothing is kept.
 */
#ifndef TOOLS_CHECK_REVISION_H
#define TOOLS_CHECK_REVISION_H

#include "tools/check_history.h"
#include "tools/check_report.h"

/* At base_revision no key existed: 1 for a new cluster. */
enum check_verdict check_revision(const struct check_history *h, int64_t base_revision,
                                  struct check_report *ret_report);

#endif
