#include "server/reads.h"

#include "base/assert.h"

void reads_init(struct reads *set, struct io *io, size_t count_max, uint32_t timeout_ms)
{
    *set = (struct reads){
        .io = io, .count_max = count_max, .timeout_ms = timeout_ms, .next_context = 1
    };
    list_init(&set->gathered);
    list_init(&set->asked);
    list_init(&set->confirmed);
}

static void read_finish(struct read *read, enum etcd_error error)
{
    reads_cancel(read->set, read);
    read->done(read, error);
}

static void on_timeout(void *owner)
{
    struct read *read = owner;
    read->set->timed_out++;
    read_finish(read, read->set->leader_was_lost ? ETCD_E_TIMEOUT_LEADER : ETCD_E_TIMEOUT);
}

bool reads_add(struct reads *set, struct read *read)
{
    timer_init(&read->timer, on_timeout, read);
    if (set->count >= set->count_max ||
        !io_timer_set(set->io, &read->timer, io_now_ms(set->io) + set->timeout_ms)) {
        set->refused++;
        return false;
    }
    read->set = set;
    read->is_waiting = true;
    set->count++;
    list_push_back(&set->gathered, &read->link);
    return true;
}

void reads_cancel(struct reads *set, struct read *read)
{
    if (!read->is_waiting)
        return;
    read->is_waiting = false;
    set->count--;
    io_timer_cancel(set->io, &read->timer);
    list_remove(&read->link);
}

uint64_t reads_next_context(struct reads *set)
{
    uint64_t under_way = set->next_context - 1 - set->answered_context;
    if (list_is_empty(&set->gathered) || under_way >= READS_CONTEXTS_MAX)
        return 0;
    uint64_t context = set->next_context++;
    struct list *node;
    while ((node = list_pop_front(&set->gathered)) != NULL) {
        LIST_ENTRY(node, struct read, link)->context = context;
        list_push_back(&set->asked, node);
    }
    return context;
}

/* The first asked read if its context is at most this one. */
static struct read *asked_up_to(struct reads *set, uint64_t context)
{
    if (list_is_empty(&set->asked))
        return NULL;
    struct read *read = LIST_ENTRY(set->asked.next, struct read, link);
    return read->context <= context ? read : NULL;
}

static void context_answered(struct reads *set, uint64_t context)
{
    ASSERT(context < set->next_context);
    if (context > set->answered_context)
        set->answered_context = context;
}

void reads_on_confirmed(struct reads *set, uint64_t context, uint64_t index)
{
    context_answered(set, context);
    struct read *read;
    while ((read = asked_up_to(set, context)) != NULL) {
        list_remove(&read->link);
        read->index = index;
        /* A later answer may hold a lower index (a new leader's): keep the list in order. */
        struct list *before = set->confirmed.prev;
        while (before != &set->confirmed && LIST_ENTRY(before, struct read, link)->index > index)
            before = before->prev;
        list_push_back(before->next, &read->link);
    }
}

void reads_on_refused(struct reads *set, uint64_t context)
{
    context_answered(set, context);
    struct read *read;
    while ((read = asked_up_to(set, context)) != NULL) {
        list_remove(&read->link);
        list_push_back(&set->gathered, &read->link);
    }
}

void reads_on_applied(struct reads *set, uint64_t index)
{
    while (!list_is_empty(&set->confirmed)) {
        struct read *read = LIST_ENTRY(set->confirmed.next, struct read, link);
        if (read->index > index)
            return;
        read_finish(read, ETCD_OK);
    }
}

static void fail_list(struct list *head, enum etcd_error error)
{
    while (!list_is_empty(head))
        read_finish(LIST_ENTRY(head->next, struct read, link), error);
}

void reads_fail_all(struct reads *set, enum etcd_error error)
{
    fail_list(&set->gathered, error);
    fail_list(&set->asked, error);
    fail_list(&set->confirmed, error);
}
