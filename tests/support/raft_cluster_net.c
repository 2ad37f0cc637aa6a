/* What will happen later: messages on links, writes on disks, fetches from log stores. */
#include "tests/support/raft_cluster_net.h"

#include <stdlib.h>

#include "base/assert.h"

/* ---- the heap ---- */

static bool is_before(const struct cluster_event *a, const struct cluster_event *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void swap(struct cluster_event *a, struct cluster_event *b)
{
    struct cluster_event t = *a;
    *a = *b;
    *b = t;
}

void cluster_later(struct cluster *c, struct cluster_event event)
{
    if (c->event_count == c->event_capacity) {
        c->event_capacity = c->event_capacity == 0 ? 64 : 2 * c->event_capacity;
        c->events = realloc(c->events, c->event_capacity * sizeof c->events[0]);
        ASSERT(c->events);
    }
    event.order = ++c->order_last;
    size_t i = c->event_count++;
    c->events[i] = event;
    for (; i > 0 && is_before(&c->events[i], &c->events[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&c->events[i], &c->events[(i - 1) / 2]);
}

struct cluster_event cluster_pop(struct cluster *c)
{
    ASSERT(c->event_count > 0);
    struct cluster_event first = c->events[0];
    c->events[0] = c->events[--c->event_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < c->event_count && is_before(&c->events[child], &c->events[least]))
                least = child;
        if (least == i)
            return first;
        swap(&c->events[i], &c->events[least]);
        i = least;
    }
}

/* ---- messages ---- */

/* What the codec of a receiver does. */
static void decode_configs(struct raft_msg_append *append)
{
    struct raft_config_at *configs = calloc(append->entry_count, sizeof *configs);
    ASSERT(configs);
    append->config_count = 0;
    for (uint32_t i = 0; i < append->entry_count; i++)
        if (append->entries[i].type == RAFT_ENTRY_CONFIG)
            configs[append->config_count++] = (struct raft_config_at){
                .index = append->entries[i].pos.index,
                .config = cluster_config_of_entry(&append->entries[i]),
            };
    append->configs = configs;
}

static struct raft_msg copy_message(const struct raft_msg *msg)
{
    struct raft_msg copy = *msg;
    if (msg->type != RAFT_MSG_APPEND || msg->append.entry_count == 0)
        return copy;
    size_t count = msg->append.entry_count;
    struct raft_entry *entries = malloc(count * sizeof *entries);
    ASSERT(entries);
    for (size_t i = 0; i < count; i++) {
        entries[i] = msg->append.entries[i];
        block_ref(entries[i].block);
    }
    copy.append.entries = entries;
    decode_configs(&copy.append);
    return copy;
}

void cluster_message_done(struct raft_msg *msg)
{
    if (msg->type != RAFT_MSG_APPEND || msg->append.entry_count == 0)
        return;
    for (uint32_t i = 0; i < msg->append.entry_count; i++)
        block_unref(msg->append.entries[i].block);
    free((void *)msg->append.entries);
    free((void *)msg->append.configs);
}

bool cluster_happens(struct cluster *c, uint32_t permille)
{
    return permille > 0 && prng_below(&c->prng, 1000) < permille;
}

static uint64_t between(struct cluster *c, uint32_t min, uint32_t max)
{
    return min + (max > min ? prng_below(&c->prng, max - min + 1) : 0);
}

void cluster_send(struct cluster *c, const struct raft_msg *msg)
{
    uint32_t to = (uint32_t)msg->to - 1;
    if (c->cut[msg->from - 1][to] || cluster_happens(c, c->options.drop_permille))
        return;
    uint64_t late_ms = 0;
    if (cluster_happens(c, c->options.late_permille))
        late_ms = prng_below(&c->prng, c->options.late_max_ms);
    uint32_t copies = cluster_happens(c, c->options.duplicate_permille) ? 2 : 1;
    for (uint32_t i = 0; i < copies; i++)
        cluster_later(c, (struct cluster_event){
                             .due_ms = c->now_ms + late_ms +
                                       between(c, c->options.link_min_ms, c->options.link_max_ms),
                             .kind = CLUSTER_MESSAGE,
                             .node = to,
                             .msg = copy_message(msg),
                         });
}

/* ---- disks ---- */

static void write_free(struct cluster_write *w)
{
    for (uint32_t i = 0; i < w->entry_count; i++)
        block_unref(w->entries[i].block);
    free(w->entries);
    free(w);
}

void cluster_disk_truncate(struct cluster_disk *disk, uint64_t last)
{
    for (; disk->last > last; disk->last--)
        block_unref(disk->log[disk->last].block);
}

void cluster_disk_forget_past(struct cluster_disk *disk)
{
    for (uint64_t i = 0; i < disk->past_count; i++)
        block_unref(disk->past[i].block);
    free(disk->past);
    disk->past = NULL;
    disk->past_count = 0;
}

static void remember_past(struct cluster_disk *disk, uint64_t from)
{
    cluster_disk_forget_past(disk);
    disk->past_count = disk->last + 1 - from;
    disk->past = calloc(disk->past_count, sizeof disk->past[0]);
    ASSERT(disk->past);
    for (uint64_t i = 0; i < disk->past_count; i++) {
        disk->past[i] = disk->log[from + i];
        block_ref(disk->past[i].block);
    }
}

void cluster_disk_free(struct cluster_disk *disk)
{
    cluster_disk_forget_past(disk);
    cluster_disk_truncate(disk, 0);
    free(disk->log);
    free(disk->lost);
}

void cluster_disk_append(struct cluster_disk *disk, const struct raft_entry *entry)
{
    uint64_t index = entry->pos.index;
    ASSERT(index <= disk->last + 1 && index < CLUSTER_LOG_MAX);
    ASSERT(index > disk->flushed);
    if (index <= disk->last)
        remember_past(disk, index);
    cluster_disk_truncate(disk, index - 1);
    disk->log[index] = *entry;
    block_ref(entry->block);
    disk->last = index;
}

static void write_land(struct cluster_disk *disk, const struct cluster_write *w)
{
    ASSERT(w->hard.term >= disk->hard.term);
    disk->hard = w->hard;
    for (uint32_t i = 0; i < w->entry_count; i++)
        cluster_disk_append(disk, &w->entries[i]);
}

void cluster_write(struct cluster *c, struct cluster_node *n, const struct raft_ready *ready)
{
    struct cluster_write *w = calloc(1, sizeof *w);
    ASSERT(w);
    w->seq = ready->persist_seq;
    w->hard = ready->hard;
    if (ready->persist.first <= ready->persist.last) {
        w->entry_count = (uint32_t)(ready->persist.last - ready->persist.first + 1);
        w->entries = calloc(w->entry_count, sizeof w->entries[0]);
        ASSERT(w->entries);
    }
    for (uint32_t i = 0; i < w->entry_count; i++) {
        uint64_t index = ready->persist.first + i;
        w->entries[i] = *raft_entry_at(n->raft, index);
        block_ref(w->entries[i].block);
        cluster_check_entry(c, &w->entries[i], raft_term_at(n->raft, index - 1));
    }
    struct cluster_write **end = &n->writes;
    while (*end)
        end = &(*end)->next;
    *end = w;
    if (n->disk_busy_ms < c->now_ms)
        n->disk_busy_ms = c->now_ms;
    if (n->disk_busy_ms < n->stalled_until_ms)
        n->disk_busy_ms = n->stalled_until_ms;
    n->disk_busy_ms += between(c, c->options.disk_min_ms, c->options.disk_max_ms);
    cluster_later(c, (struct cluster_event){ .due_ms = n->disk_busy_ms,
                                             .kind = CLUSTER_DURABLE,
                                             .node = (uint32_t)n->id - 1,
                                             .life = n->life,
                                             .seq = w->seq });
}

uint64_t cluster_writes_land(struct cluster *c, struct cluster_node *n, uint64_t seq)
{
    uint64_t landed = 0;
    while (n->writes && (n->writes->seq <= seq || prng_below(&c->prng, 4) == 0)) {
        struct cluster_write *w = n->writes;
        n->writes = w->next;
        landed = w->seq;
        write_land(&n->disk, w);
        write_free(w);
    }
    return landed;
}

uint64_t cluster_writes_finish(struct cluster_node *n)
{
    uint64_t landed = 0;
    while (n->writes) {
        struct cluster_write *w = n->writes;
        n->writes = w->next;
        landed = w->seq;
        write_land(&n->disk, w);
        write_free(w);
    }
    return landed;
}

void cluster_writes_lose(struct cluster *c, struct cluster_node *n)
{
    bool lands = true;
    while (n->writes) {
        struct cluster_write *w = n->writes;
        n->writes = w->next;
        lands = lands && prng_below(&c->prng, 3) == 0;
        if (lands)
            write_land(&n->disk, w);
        write_free(w);
    }
}
