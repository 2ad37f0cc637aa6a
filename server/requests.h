/* requests.h: writes on their way: who waits on this node for which entry of the log.
 *
 * A request is queued until the node can propose or forward it, then sent in some term, and ends
 * when its entry is applied here. When an entry of a later term is applied and the request's was
 * not, it never will be: entries of its term could only stand before (log matching, Raft §5.3),
 * and a leader takes a forwarded request in the term that it was forwarded in alone. So it goes
 * back to the queue and is sent again: applied once, whatever happens to leaders.
 *
 * The link to a leader that stays may be lost, and what was under way with it. So requests remember
 * after how many losses they were sent. The leader is asked how far its log goes once a new link is
 * up, on which nothing of before can arrive any more: what was sent before the loss and is not
 * applied up to there never will be.
 *
 * Owner:    whoever waits embeds the request and keeps it, its command and the reply's arena until
 *           `done` ran or requests_cancel returned.
 * Thread:   the loop's. Bounds: count_max waiting (requests_add says false), each for timeout_ms.
 */
#ifndef SERVER_REQUESTS_H
#define SERVER_REQUESTS_H

#include "base/io.h"
#include "base/map.h"
#include "server/machine.h"

enum request_state { REQUEST_IDLE, REQUEST_QUEUED, REQUEST_SENT };

struct request {
    struct slice command; /* an encoded holdfastpb.Command */
    struct machine_reply reply;
    /* Exactly once, unless cancelled; reply.error says how it went. May free the request. */
    void (*done)(struct request *request);
    /* Internal. */
    enum request_state state;
    uint64_t id;   /* in the entry's envelope */
    uint64_t term; /* that it was sent in */
    uint64_t loss; /* requests.losses then */
    struct timer timer;
    struct list link;
    struct requests *set;
};

struct requests {
    struct io *io;
    struct map by_id;
    struct list queued;
    struct list sent;
    uint64_t next_id;
    uint32_t timeout_ms;
    uint64_t losses; /* of the link to a leader */
    struct {
        bool is_set;
        uint64_t loss;
        uint64_t term;
        uint64_t index;
    } reach;              /* what a leader has answered */
    bool leader_was_lost; /* since the oldest of them began: chooses the time-out's text */
    uint64_t refused;     /* at count_max */
    uint64_t timed_out;
};

void requests_init(struct requests *set, struct io *io, size_t count_max, uint32_t timeout_ms);
void requests_done(struct requests *set); /* none waits */

/* Fill command, reply.arena and done before. False at the cap or without memory: not added. */
bool requests_add(struct requests *set, struct request *request);

/* The first of the queue, which stays there; NULL when empty. */
struct request *requests_queued(const struct requests *set);

void requests_sent(struct requests *set, struct request *request, uint64_t term);

/* A leader would not take it in that term: to the head of the queue. A refusal that comes late is
 * of an earlier try, and the next one may be in the log already: it changes nothing. */
void requests_on_refused(struct requests *set, uint64_t id, uint64_t term);

/* The one that waits for this entry; NULL: nobody here. */
struct request *requests_find(const struct requests *set, uint64_t id);

/* Takes it off the set and tells whoever waits; reply.error is set. */
void requests_finish(struct requests *set, struct request *request);

/* An entry of this term was applied: whatever was sent in an earlier one is lost, and queued. */
void requests_on_term_applied(struct requests *set, uint64_t term);

/* The link to the leader is down. True: something is under way that was sent to it. */
bool requests_on_link_lost(struct requests *set, uint64_t term);

/* The leader of the term says how far its log goes; it was asked after so many losses. */
void requests_on_reach(struct requests *set, uint64_t term, uint64_t losses, uint64_t index);

/* All entries up to the index were applied here. */
void requests_on_applied(struct requests *set, uint64_t index);

/* Entries of terms up to this one were applied unseen: of what was sent in them nobody knows what
 * became, so it ends as if its time was over. */
void requests_on_skipped(struct requests *set, uint64_t term);

/* Nobody waits any more; `done` will not run. What was sent may still be applied. */
void requests_cancel(struct requests *set, struct request *request);

/* Ends all of them with the error. */
void requests_fail_all(struct requests *set, enum etcd_error error);

#endif
