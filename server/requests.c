#include "server/requests.h"

#include "base/assert.h"

void requests_init(struct requests *set, struct io *io, size_t count_max, uint32_t timeout_ms)
{
    *set = (struct requests){ .io = io, .timeout_ms = timeout_ms };
    map_init(&set->by_id, count_max);
    list_init(&set->queued);
    list_init(&set->sent);
    /* Random, so that no two processes' requests meet in one log; 0 means "nobody waits". */
    set->next_id = io->ops->random(io);
    if (set->next_id == 0)
        set->next_id = 1;
}

void requests_done(struct requests *set)
{
    ASSERT(set->by_id.count == 0);
    map_done(&set->by_id);
}

static void request_remove(struct requests *set, struct request *request)
{
    ASSERT(request->state != REQUEST_IDLE);
    io_timer_cancel(set->io, &request->timer);
    list_remove(&request->link);
    ASSERT(map_remove(&set->by_id, request->id) == request);
    request->state = REQUEST_IDLE;
}

static void on_timeout(void *owner)
{
    struct request *request = owner;
    struct requests *set = request->set;
    set->timed_out++;
    request->reply.error = set->leader_was_lost ? ETCD_E_TIMEOUT_LEADER : ETCD_E_TIMEOUT;
    requests_finish(set, request);
}

bool requests_add(struct requests *set, struct request *request)
{
    request->id = set->next_id;
    request->set = set;
    timer_init(&request->timer, on_timeout, request);
    if (!map_put(&set->by_id, request->id, request)) {
        set->refused++;
        return false;
    }
    if (!io_timer_set(set->io, &request->timer, io_now_ms(set->io) + set->timeout_ms)) {
        map_remove(&set->by_id, request->id);
        set->refused++;
        return false;
    }
    set->next_id += set->next_id == UINT64_MAX ? 2 : 1; /* past 0 */
    request->state = REQUEST_QUEUED;
    list_push_back(&set->queued, &request->link);
    return true;
}

struct request *requests_queued(const struct requests *set)
{
    if (list_is_empty(&set->queued))
        return NULL;
    return LIST_ENTRY(set->queued.next, struct request, link);
}

void requests_sent(struct requests *set, struct request *request, uint64_t term)
{
    ASSERT(request->state == REQUEST_QUEUED);
    list_remove(&request->link);
    list_push_back(&set->sent, &request->link);
    request->state = REQUEST_SENT;
    request->term = term;
    request->loss = set->losses;
}

static void request_requeue(struct requests *set, struct request *request)
{
    list_remove(&request->link);
    /* list_push_back before the first is the head: it waited longest. */
    list_push_back(set->queued.next, &request->link);
    request->state = REQUEST_QUEUED;
}

void requests_on_refused(struct requests *set, uint64_t id, uint64_t term)
{
    struct request *request = map_get(&set->by_id, id);
    if (request && request->state == REQUEST_SENT && request->term == term)
        request_requeue(set, request);
}

struct request *requests_find(const struct requests *set, uint64_t id)
{
    return id == 0 ? NULL : map_get(&set->by_id, id);
}

void requests_finish(struct requests *set, struct request *request)
{
    request_remove(set, request);
    request->done(request);
}

void requests_on_term_applied(struct requests *set, uint64_t term)
{
    /* Sent in ascending terms, so the lost ones are in front; last first keeps their order. */
    struct list *node = set->sent.next;
    while (node != &set->sent && LIST_ENTRY(node, struct request, link)->term < term)
        node = node->next;
    for (node = node->prev; node != &set->sent;) {
        struct list *before = node->prev;
        request_requeue(set, LIST_ENTRY(node, struct request, link));
        node = before;
    }
}

bool requests_on_link_lost(struct requests *set, uint64_t term)
{
    set->losses++;
    return !list_is_empty(&set->sent) &&
           LIST_ENTRY(set->sent.prev, struct request, link)->term == term;
}

void requests_on_reach(struct requests *set, uint64_t term, uint64_t losses, uint64_t index)
{
    if (losses != set->losses)
        return; /* lost again since it was asked: it is asked again */
    set->reach.is_set = true;
    set->reach.loss = losses;
    set->reach.term = term;
    set->reach.index = index;
}

void requests_on_applied(struct requests *set, uint64_t index)
{
    if (!set->reach.is_set || index < set->reach.index)
        return;
    set->reach.is_set = false;
    /* Last first keeps their order. */
    for (struct list *node = set->sent.prev; node != &set->sent;) {
        struct request *request = LIST_ENTRY(node, struct request, link);
        node = node->prev;
        if (request->term == set->reach.term && request->loss < set->reach.loss)
            request_requeue(set, request);
    }
}

void requests_on_skipped(struct requests *set, uint64_t term)
{
    /* Off the list first: what `done` sends goes to its end. */
    struct list skipped;
    list_init(&skipped);
    while (!list_is_empty(&set->sent)) {
        struct request *request = LIST_ENTRY(set->sent.next, struct request, link);
        if (request->term > term)
            break; /* sent in ascending terms */
        list_remove(&request->link);
        list_push_back(&skipped, &request->link);
    }
    while (!list_is_empty(&skipped)) {
        struct request *request = LIST_ENTRY(skipped.next, struct request, link);
        request->reply.error = set->leader_was_lost ? ETCD_E_TIMEOUT_LEADER : ETCD_E_TIMEOUT;
        requests_finish(set, request);
    }
}

void requests_cancel(struct requests *set, struct request *request)
{
    if (request->state != REQUEST_IDLE)
        request_remove(set, request);
}

static void fail_list(struct requests *set, struct list *head, enum etcd_error error)
{
    while (!list_is_empty(head)) {
        struct request *request = LIST_ENTRY(head->next, struct request, link);
        request->reply.error = error;
        requests_finish(set, request);
    }
}

void requests_fail_all(struct requests *set, enum etcd_error error)
{
    fail_list(set, &set->queued, error);
    fail_list(set, &set->sent, error);
}
