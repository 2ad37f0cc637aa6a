/* check.h: what must hold of all nodes together, whatever happened: looked at after each turn.
 *
 * The world keeps the log of everything that any node ever applied. Against it: one leader a term
 * (Raft figure 3, election safety); what is applied at an index is the same entry everywhere and
 * leaves the same state (log matching, state machine safety, I5); a new leader has all of it
 * (leader completeness), so nothing acknowledged is lost; commit and applied indexes and the
 * revision only grow within a life; what a member has promised others outlives it
 * (check_promise.h); and whose word was counted (check_quorum.c).
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "raft/types.h"
#include "tests/sim/sim.h"

struct sim_check *sim_check_new(struct sim *sim);
void sim_check_free(struct sim_check *check);

/* The members, as the newest applied entry has them; none: nothing was seen yet. */
const struct raft_config *sim_check_config(const struct sim *sim);
bool sim_check_is_member(const struct sim *sim, uint64_t id);
bool sim_check_was_removed(const struct sim *sim, uint64_t id);

void sim_check_on_start(struct sim_host *h);
void sim_check_turn(struct sim_host *h);
void sim_check_on_end(struct sim_host *h);

/* All that is up are at one index, with one leader. */
bool sim_check_has_converged(const struct sim *sim);

/* Damage of a store that nobody has come across: somebody reads all of it now. */
void sim_check_find_damage(struct sim *sim);

/* After that: every record of each store and its memtables, old revisions too, is the same. */
void sim_check_stores(struct sim *sim);

/* Entries that somebody has applied. */
uint64_t sim_check_applied(const struct sim *sim);

#endif
