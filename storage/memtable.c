/* An insert-only skip list (Pugh 1990), in the shape that LevelDB gave it: the only writer links
 * a finished node with a release store at each level, bottom up, and a reader that loads a link
 * with acquire sees the node whole. Nothing is unlinked, so readers need nothing else.
 *
 * A node lies in memory as
 *   links of the upper levels | link of level 0 | struct memtable_node | key | struct rest
 * so that one cache line mostly answers a comparison: the link that led here, the first bytes of
 * the key as a number, the revision, the key. Values are kept apart: that leaves nodes dense.
 *
 * Beside each link of an upper level stands the sum of the changes of the nodes from its own to
 * the one before that which it leads to (the spans of Pugh's "A Skip List Cookbook", 1990, §3.4,
 * as in Redis' sorted sets): so the sum of all nodes before a place is one search. On level 0 it
 * is the node's own change. Only the writer's thread looks at sums; those of a frozen table rest.
 *
 * Who wants one key, as each put does, finds it by its hash (storage/memtable_index.h).
 */
#include "storage/memtable.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/prng.h"
#include "storage/chunks.h"
#include "storage/memtable_index.h"

enum {
    HEIGHT_MAX = 12,  /* with a quarter of the nodes going one level up: 16 M nodes */
    MARK_NODES = 128, /* inserted from one mark to the next */
    VERSION_STEPS = 8 /* back from the newest of a key before it is searched for */
};

struct memtable_node {
    uint64_t prefix; /* the key's first 8 bytes as a number, zeros after its end */
    int64_t main;
    uint32_t key_bytes;
    int8_t change; /* of the number of live keys: 1, 0 or -1 */
    uint8_t key[];
};

/* What comparisons do not need; after the key, aligned. */
struct rest {
    _Atomic(struct memtable_node *) next_inserted;
    const uint8_t *value;
    int64_t create_revision;
    int64_t version;
    int64_t lease;
    uint64_t sum;
    uint32_t value_bytes;
    uint32_t sub;
    bool tombstone;
};

/* Where an insert goes on from, at one level. */
struct finger {
    struct memtable_node *node;
    int64_t sum; /* of all nodes before it */
};

/* The order of insertion, every MARK_NODES nodes. */
struct marks {
    const struct memtable_node **nodes;
    size_t count;
    size_t capacity;
};

struct memtable {
    struct memtable_node *head; /* before all: links alone */
    atomic_int height;          /* levels in use */
    struct memtable_index index;
    /* The writer's alone from here on. The node before the last inserted one's place, or that
     * one itself, at each level. */
    struct finger finger[HEIGHT_MAX];
    struct marks marks;
    int64_t sum;         /* of all changes */
    size_t change_count; /* of those that are not 0 */
    struct prng prng;
    struct chunks nodes;
    struct chunks values;
    _Atomic(struct memtable_node *) first_inserted;
    struct memtable_node *last_inserted;
    struct kv_revision last_mod;
    size_t count;
    uint32_t refs;
};

/* Where a search wants to go. */
struct target {
    uint64_t prefix;
    struct slice key;
    int64_t revision;
};

/* ---- nodes ---- */

static size_t round_up(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* Links stand before the node, level 0 next to it, each of the others with its sum behind it. */
static _Atomic(struct memtable_node *) *link_at(const struct memtable_node *node, int level)
{
    return (_Atomic(struct memtable_node *) *)node - 1 - 2 * level;
}

static int64_t *sum_at(const struct memtable_node *node, int level)
{
    return (int64_t *)(uintptr_t)node - 2 * level;
}

/* Of the nodes from this one to before the next of the level. */
static int64_t span_sum(const struct memtable_node *node, int level)
{
    return level == 0 ? node->change : *sum_at(node, level);
}

static struct memtable_node *link_load(const struct memtable_node *node, int level)
{
    return atomic_load_explicit(link_at(node, level), memory_order_acquire);
}

static struct rest *node_rest(const struct memtable_node *node)
{
    size_t offset = round_up(offsetof(struct memtable_node, key) + node->key_bytes);
    return (struct rest *)(void *)((uint8_t *)node + offset);
}

static uint64_t key_prefix(struct slice key)
{
    uint8_t padded[8] = { 0 };
    if (key.size >= sizeof padded)
        return get_be64(key.data);
    if (key.size > 0)
        memcpy(padded, key.data, key.size);
    return get_be64(padded);
}

static struct target target_of(struct slice key, int64_t revision)
{
    return (struct target){ .prefix = key_prefix(key), .key = key, .revision = revision };
}

/* By key, then the newest first. Equal prefixes say nothing about keys of up to 8 bytes: zeros
 * pad them. */
static bool node_is_before(const struct memtable_node *node, const struct target *t)
{
    if (node->prefix != t->prefix)
        return node->prefix < t->prefix;
    int order = slice_compare(slice_of(node->key, node->key_bytes), t->key);
    return order != 0 ? order < 0 : node->main > t->revision;
}

static struct memtable_node *node_alloc(struct memtable *m, size_t key_bytes, int height)
{
    size_t links_bytes = (2 * (size_t)height - 1) * sizeof(struct memtable_node *);
    size_t node_bytes = round_up(offsetof(struct memtable_node, key) + key_bytes);
    uint8_t *p = chunks_alloc(&m->nodes, links_bytes + node_bytes + sizeof(struct rest));
    if (!p)
        return NULL;
    struct memtable_node *node = (struct memtable_node *)(void *)(p + links_bytes);
    node->key_bytes = (uint32_t)key_bytes;
    node->change = 0;
    for (int level = 0; level < height; level++)
        atomic_init(link_at(node, level), NULL);
    for (int level = 1; level < height; level++)
        *sum_at(node, level) = 0;
    return node;
}

/* A key is made by the put that gives it version 1, and a deletion is of a key that lives. */
static int8_t change_of(const struct kv_record *record)
{
    if (record->tombstone)
        return -1;
    return record->version == 1;
}

static struct memtable_node *node_new(struct memtable *m, const struct kv_record *record,
                                      uint64_t prefix, int height)
{
    struct memtable_node *node = node_alloc(m, record->key.size, height);
    uint8_t *value = NULL;
    if (record->value.size > 0)
        value = chunks_alloc(&m->values, record->value.size);
    if (!node || (record->value.size > 0 && !value))
        return NULL;
    node->prefix = prefix;
    node->main = record->mod.main;
    node->change = change_of(record);
    if (record->key.size > 0)
        memcpy(node->key, record->key.data, record->key.size);
    if (value)
        memcpy(value, record->value.data, record->value.size);
    struct rest *rest = node_rest(node);
    *rest = (struct rest){ .value = value,
                           .create_revision = record->create_revision,
                           .version = record->version,
                           .lease = record->lease,
                           .sum = record->sum,
                           .value_bytes = (uint32_t)record->value.size,
                           .sub = record->mod.sub,
                           .tombstone = record->tombstone };
    return node;
}

/* ---- the table ---- */

struct memtable *memtable_new_pooled(struct chunk_pool *pool)
{
    struct memtable *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->refs = 1;
    chunks_init(&m->nodes, pool);
    chunks_init(&m->values, pool);
    m->prng = prng_seeded(1); /* heights are of no consequence to replicas, but runs repeat */
    atomic_init(&m->height, 1);
    m->head = node_alloc(m, 0, HEIGHT_MAX);
    if (!m->head || !memtable_index_init(&m->index, &m->nodes)) {
        memtable_unref(m);
        return NULL;
    }
    for (int level = 0; level < HEIGHT_MAX; level++)
        m->finger[level].node = m->head;
    return m;
}

struct memtable *memtable_new(void)
{
    return memtable_new_pooled(NULL);
}

struct memtable *memtable_ref(struct memtable *m)
{
    ASSERT(m->refs > 0);
    m->refs++;
    return m;
}

void memtable_unref(struct memtable *m)
{
    if (!m)
        return;
    ASSERT(m->refs > 0);
    if (--m->refs > 0)
        return;
    chunks_done(&m->nodes);
    chunks_done(&m->values);
    free(m->marks.nodes);
    free(m);
}

size_t memtable_bytes(const struct memtable *m)
{
    return sizeof *m + m->nodes.total_bytes + m->values.total_bytes +
           m->marks.capacity * sizeof(struct memtable_node *);
}

size_t memtable_count(const struct memtable *m)
{
    return m->count;
}

/* One step of a search: what the link leads to. Most steps end at a node that is too far, and the
 * search goes down: what it meets there is fetched while the two are compared. */
static struct memtable_node *link_try(const struct memtable_node *node, int level)
{
    if (level > 0)
        __builtin_prefetch(link_load(node, level - 1));
    return link_load(node, level);
}

/* The first node that is not before the target. */
static struct memtable_node *find(const struct memtable *m, const struct target *t)
{
    struct memtable_node *at = m->head;
    const struct memtable_node *too_far = NULL; /* known from the level above */
    int level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1;
    for (;;) {
        struct memtable_node *next = link_try(at, level);
        if (next && next != too_far && node_is_before(next, t)) {
            at = next;
            continue;
        }
        if (level == 0)
            return next;
        too_far = next;
        level--;
    }
}

/* The last node before the target at each level in use, and what the nodes before that one sum up
 * to. The writer's thread. */
static void fingers_find(const struct memtable *m, const struct target *t, struct finger *ret)
{
    struct finger at = { .node = m->head };
    const struct memtable_node *too_far = NULL;
    int level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1;
    while (level >= 0) {
        struct memtable_node *next = link_try(at.node, level);
        if (next && next != too_far && node_is_before(next, t)) {
            at.sum += span_sum(at.node, level);
            at.node = next;
            continue;
        }
        too_far = next;
        ret[level--] = at;
    }
}

/* Keys often come in order. When the target belongs right behind the last insert, the finger
 * holds at every level: no node of any level lies between that one and its successor. */
static bool finger_fits(const struct memtable *m, const struct target *t)
{
    const struct memtable_node *last = m->finger[0].node;
    if (last != m->head && !node_is_before(last, t))
        return false;
    const struct memtable_node *next = link_load(last, 0);
    return !next || !node_is_before(next, t);
}

/* One in four nodes of a level goes up to the next. */
static int height_draw(struct prng *p)
{
    uint64_t top = (uint64_t)1 << (2 * (HEIGHT_MAX - 1));
    return 1 + __builtin_ctzll(prng_next(p) | top) / 2;
}

static void height_raise(struct memtable *m, int height)
{
    int before = atomic_load_explicit(&m->height, memory_order_relaxed);
    if (height <= before)
        return;
    for (int level = before; level < height; level++)
        *sum_at(m->head, level) = m->sum; /* its empty link passes over all nodes */
    /* A reader that sees the old height finds everything all the same, one level lower; one that
     * sees the new one before the links finds the head's empty link. */
    atomic_store_explicit(&m->height, height, memory_order_relaxed);
}

/* The span that the node falls into is cut in two at its own levels, and changes at those above. */
static void sums_add(struct memtable *m, struct memtable_node *node, int height)
{
    int64_t before = m->finger[0].sum + m->finger[0].node->change;
    for (int level = 1; level < height; level++) {
        const struct finger *f = &m->finger[level];
        int64_t *whole = sum_at(f->node, level);
        int64_t left = before - f->sum;
        *sum_at(node, level) = *whole - left + node->change;
        *whole = left;
    }
    for (int level = 0; level < height; level++)
        m->finger[level].sum = before;
    if (node->change == 0)
        return;
    int in_use = atomic_load_explicit(&m->height, memory_order_relaxed);
    for (int level = height; level < in_use; level++)
        *sum_at(m->finger[level].node, level) += node->change;
    m->sum += node->change;
    m->change_count++;
}

static void link_in(struct memtable *m, struct memtable_node *node, int height)
{
    for (int level = 0; level < height; level++) {
        struct memtable_node *before = m->finger[level].node;
        atomic_store_explicit(link_at(node, level), link_load(before, level), memory_order_relaxed);
        atomic_store_explicit(link_at(before, level), node, memory_order_release);
        m->finger[level].node = node;
    }
    if (m->last_inserted)
        atomic_store_explicit(&node_rest(m->last_inserted)->next_inserted, node,
                              memory_order_release);
    else
        atomic_store_explicit(&m->first_inserted, node, memory_order_release);
    m->last_inserted = node;
}

static bool revision_is_after(struct kv_revision a, struct kv_revision b)
{
    return a.main > b.main || (a.main == b.main && a.sub > b.sub);
}

static bool marks_grow(struct marks *marks)
{
    size_t capacity = marks->capacity > 0 ? marks->capacity * 2 : 16;
    const struct memtable_node **grown =
        realloc(marks->nodes, capacity * sizeof(struct memtable_node *));
    if (!grown)
        return false;
    marks->nodes = grown;
    marks->capacity = capacity;
    return true;
}

bool memtable_insert(struct memtable *m, const struct kv_record *record)
{
    ASSERT(record->key.size <= UINT32_MAX);
    ASSERT(record->value.size <= UINT32_MAX);
    ASSERT(m->count == 0 || revision_is_after(record->mod, m->last_mod));
    bool is_mark = m->count % MARK_NODES == 0;
    if (is_mark && m->marks.count == m->marks.capacity && !marks_grow(&m->marks))
        return false;
    struct target t = target_of(record->key, record->mod.main);
    int height = height_draw(&m->prng);
    struct memtable_node *node = node_new(m, record, t.prefix, height);
    if (!node)
        return false;
    if (!finger_fits(m, &t))
        fingers_find(m, &t, m->finger);
    height_raise(m, height);
    sums_add(m, node, height);
    link_in(m, node, height);
    memtable_index_put(&m->index, node);
    if (is_mark)
        m->marks.nodes[m->marks.count++] = node;
    m->last_mod = record->mod;
    m->count++;
    return true;
}

/* ---- reading ---- */

void memtable_prefetch_get(const struct memtable *m, const struct slice *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memtable_index_prefetch(&m->index, keys[i]);
}

/* One of several searches. */
struct descent {
    struct target target;
    const struct memtable_node *at;
    const struct memtable_node *too_far;
    int level; /* -1: it has arrived */
};

static void descend(struct descent *d)
{
    const struct memtable_node *next = link_load(d->at, d->level);
    if (next && next != d->too_far && node_is_before(next, &d->target)) {
        d->at = next;
    } else {
        d->too_far = next;
        if (--d->level < 0)
            return;
    }
    __builtin_prefetch(link_load(d->at, d->level));
}

void memtable_prefetch(const struct memtable *m, const struct slice *keys, size_t count)
{
    ASSERT(count <= MEMTABLE_PREFETCH_MAX);
    memtable_prefetch_get(m, keys, count);
    struct descent descents[MEMTABLE_PREFETCH_MAX];
    for (size_t i = 0; i < count; i++)
        descents[i] = (struct descent){
            .target = target_of(keys[i], INT64_MAX),
            .at = m->head,
            .level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1,
        };
    for (size_t left = count; left > 0;) {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            if (descents[i].level >= 0)
                descend(&descents[i]);
            left += descents[i].level >= 0;
        }
    }
}

const struct memtable_node *memtable_seek(const struct memtable *m, struct slice key,
                                          int64_t revision)
{
    struct target t = target_of(key, revision);
    return find(m, &t);
}

static const struct memtable_node *get_by_search(const struct memtable *m, struct slice key,
                                                 int64_t revision)
{
    const struct memtable_node *node = memtable_seek(m, key, revision);
    return node && slice_equal(memtable_key(node), key) ? node : NULL;
}

const struct memtable_node *memtable_get(const struct memtable *m, struct slice key,
                                         int64_t revision)
{
    const struct memtable_node *node;
    if (!memtable_index_get(&m->index, key, &node))
        return get_by_search(m, key, revision);
    for (int step = 0; node && node->main > revision; step++) {
        if (step == VERSION_STEPS)
            return get_by_search(m, key, revision);
        node = link_load(node, 0);
        if (node && !slice_equal(memtable_key(node), key))
            return NULL;
    }
    return node;
}

const struct memtable_node *memtable_next(const struct memtable_node *node)
{
    return link_load(node, 0);
}

struct slice memtable_key(const struct memtable_node *node)
{
    return slice_of(node->key, node->key_bytes);
}

int64_t memtable_revision(const struct memtable_node *node)
{
    return node->main;
}

int memtable_change(const struct memtable_node *node)
{
    return node->change;
}

struct kv_record memtable_record(const struct memtable_node *node)
{
    const struct rest *rest = node_rest(node);
    return (struct kv_record){ .key = slice_of(node->key, node->key_bytes),
                               .value = slice_of(rest->value, rest->value_bytes),
                               .mod = { .main = node->main, .sub = rest->sub },
                               .create_revision = rest->create_revision,
                               .version = rest->version,
                               .lease = rest->lease,
                               .tombstone = rest->tombstone,
                               .value_bytes = rest->value_bytes,
                               .sum = rest->sum };
}

const struct memtable_node *memtable_next_inserted(const struct memtable *m,
                                                   const struct memtable_node *node)
{
    return atomic_load_explicit(node ? &node_rest(node)->next_inserted : &m->first_inserted,
                                memory_order_acquire);
}

const struct memtable_node *memtable_seek_inserted(const struct memtable *m, int64_t revision)
{
    /* The last mark that is not too new: the first mark of all otherwise. */
    size_t low = 0;
    size_t high = m->marks.count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (m->marks.nodes[middle]->main <= revision)
            low = middle;
        else
            high = middle;
    }
    const struct memtable_node *node = m->marks.count > 0 ? m->marks.nodes[low] : NULL;
    while (node && node->main <= revision)
        node = memtable_next_inserted(m, node);
    return node;
}

/* ---- live keys ---- */

/* Of all nodes of keys before `key`. */
static int64_t sum_before(const struct memtable *m, struct slice key)
{
    struct target t = target_of(key, INT64_MAX);
    struct finger before[HEIGHT_MAX];
    fingers_find(m, &t, before);
    return before[0].sum + before[0].node->change;
}

int64_t memtable_live_change(const struct memtable *m, const struct key_interval *keys)
{
    if (m->change_count == 0)
        return 0;
    int64_t end = keys->end_is_open ? m->sum : sum_before(m, keys->end);
    return end - (keys->start.size > 0 ? sum_before(m, keys->start) : 0);
}

size_t memtable_change_count(const struct memtable *m)
{
    return m->change_count;
}

int64_t memtable_newest(const struct memtable *m)
{
    return m->last_mod.main;
}
