/* Formation under crashes, wipes, lost connections and messages that arrive long after their
 * sender is gone, in any order between connections; and members that the log adds, whose disks it
 * records first come, first served. What the links guarantee (formation.h, "needs
 * of the caller") is modelled as rpc/peer.h does it; all else is left to the seed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "server/formation.h"

enum {
    MEMBERS_MAX = 5,
    CONNS_MAX = 64,
    QUEUE_MAX = 8,
    CHAOS_STEPS = 800,
    CALM_STEPS = 20000,
    SLOW_ONE_IN = 32,
    RUNS = 2000,
};

enum item_type { ITEM_HELLO, ITEM_REFUSAL, ITEM_ANNOUNCE };

struct item {
    enum item_type type;
    bool is_final;
    uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES];
    uint8_t hash[MEMBERSHIP_HASH_BYTES];
    size_t hash_bytes;
    uint8_t bytes[FORMATION_BYTES_MAX];
    size_t size;
};

struct queue {
    uint32_t count;
    struct item items[QUEUE_MAX];
};

/* One dialled connection between two processes. */
struct conn {
    bool used;
    bool slow;     /* what is sent takes long, and outlives its sender */
    bool up;       /* the dialler has seen the answer */
    bool accepted; /* the acceptor has seen the Hello */
    uint32_t dialler, acceptor;
    uint64_t dialler_process, acceptor_process;
    struct queue to_acceptor, to_dialler;
};

struct node {
    bool alive;
    bool fatal; /* the process ended itself; another start comes only in chaos */
    uint64_t process;
    uint32_t applied; /* of the log */
    bool met[MEMBERS_MAX];
    uint8_t met_incarnations[MEMBERS_MAX][MEMBERSHIP_INCARNATION_BYTES];
    struct formation formation;
    bool saving;
    bool saving_formed;
    uint8_t saving_bytes[FORMATION_BYTES_MAX];
    size_t saving_size;
    /* The disk. */
    uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES];
    bool formed;
    uint8_t saved[FORMATION_BYTES_MAX];
    size_t saved_size;
};

struct world {
    uint64_t seed;
    struct prng prng;
    uint64_t next;
    uint32_t count;
    uint32_t joiners; /* the last ones of them: added by the log */
    struct membership initial;
    struct membership nobody;
    /* The log, all of it committed: entry k records a disk for a joiner. */
    uint32_t log_count;
    struct {
        uint32_t joiner;
        uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES];
    } log[MEMBERS_MAX];
    struct node nodes[MEMBERS_MAX];
    struct conn conns[CONNS_MAX];
};

/* Over all runs: that the interesting things happen at all. */
struct coverage {
    uint32_t fatal;       /* members that were told that they are wiped */
    uint32_t formed_runs; /* runs in which some formed amid the chaos */
};

static uint64_t below(struct world *w, uint64_t bound)
{
    return prng_below(&w->prng, bound);
}

static void conn_close(struct conn *c)
{
    c->used = false;
}

static void item_push(struct queue *q, const struct item *item)
{
    if (q->count < QUEUE_MAX)
        q->items[q->count++] = *item;
}

static struct item item_pop(struct queue *q)
{
    struct item item = q->items[0];
    q->count--;
    memmove(q->items, q->items + 1, q->count * sizeof q->items[0]);
    return item;
}

static struct item hello_of(const struct node *n)
{
    struct item item = { .type = ITEM_HELLO };
    memcpy(item.incarnation, n->incarnation, sizeof item.incarnation);
    struct slice hash = formation_hello_hash(&n->formation);
    item.hash_bytes = hash.size;
    memcpy(item.hash, hash.data, hash.size);
    return item;
}

static void announce(struct world *w, uint32_t from, uint32_t to, struct slice bytes)
{
    for (size_t i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &w->conns[i];
        if (!c->used || !c->up || c->dialler != from || c->acceptor != to ||
            c->dialler_process != w->nodes[from].process)
            continue;
        struct item item = { .type = ITEM_ANNOUNCE, .size = bytes.size };
        memcpy(item.bytes, bytes.data, bytes.size);
        item_push(&c->to_acceptor, &item);
    }
}

/* A dead process: what it has sent may still arrive, what is sent to it does not. */
static void node_kill(struct world *w, uint32_t i)
{
    w->nodes[i].alive = false;
    w->nodes[i].saving = false;
    for (size_t k = 0; k < CONNS_MAX; k++) {
        struct conn *c = &w->conns[k];
        if (c->used && c->acceptor == i)
            conn_close(c);
        else if (c->used && c->dialler == i)
            c->to_dialler.count = 0;
    }
}

static void effects_run(struct world *w, uint32_t i, const struct formation_effects *e)
{
    struct node *n = &w->nodes[i];
    if (e->save) {
        cr_assert_not(n->saving, "seed %lu: two saves at once", w->seed);
        n->saving = true;
        n->saving_formed = e->save_formed;
        n->saving_size = e->save_bytes.size;
        memcpy(n->saving_bytes, e->save_bytes.data, e->save_bytes.size);
    }
    if (e->announce_all) {
        for (uint32_t to = 0; to < w->count; to++)
            announce(w, i, to, e->announce);
    }
    if (e->announce_to != 0)
        announce(w, i, (uint32_t)e->announce_to - 1, e->announce);
    if (e->formed_now)
        cr_assert(n->formed, "seed %lu: a voice before it is durable", w->seed);
    if (e->fatal) {
        cr_assert_not(n->formed, "seed %lu: a formed member gives up", w->seed);
        n->fatal = true;
        node_kill(w, i);
    }
}

/* What a node that has formed applies: the members, and the disks that the log has given so far. */
static void step_apply(struct world *w, uint32_t i)
{
    struct node *n = &w->nodes[i];
    if (!n->alive || !n->formed || n->applied == w->log_count)
        return;
    n->applied++;
    struct membership m;
    membership_init(&m);
    for (uint32_t k = 0; k < w->count; k++) {
        struct membership_member member = { .id = k + 1, .name = "n", .roles = RAFT_VOTER };
        for (uint32_t e = 0; e < n->applied; e++) {
            if (w->log[e].joiner != k)
                continue;
            member.has_incarnation = true;
            memcpy(member.incarnation, w->log[e].incarnation, sizeof member.incarnation);
        }
        /* Initial ones are in the membership with what this one has formed with. */
        const struct formation_record *r = &n->formation.durable;
        for (uint32_t d = 0; d < r->count && k < w->count - w->joiners; d++) {
            if (r->disks[d].member != k + 1)
                continue;
            member.has_incarnation = true;
            memcpy(member.incarnation, r->disks[d].incarnation, sizeof member.incarnation);
        }
        cr_assert_eq(membership_put(&m, &member), MEMBERSHIP_OK);
    }
    struct formation_effects e;
    formation_on_members(&n->formation, &m, n->applied, &e);
    membership_done(&m);
    effects_run(w, i, &e);
}

/* Node i proposes the disk of a joiner that it has met, perhaps long ago: the first one counts. */
static void step_propose(struct world *w, uint32_t i, uint32_t joiner)
{
    struct node *n = &w->nodes[i];
    if (joiner < w->count - w->joiners || !n->alive || !n->formed || !n->met[joiner])
        return;
    for (uint32_t e = 0; e < w->log_count; e++) {
        if (w->log[e].joiner == joiner)
            return;
    }
    w->log[w->log_count].joiner = joiner;
    memcpy(w->log[w->log_count].incarnation, n->met_incarnations[joiner],
           MEMBERSHIP_INCARNATION_BYTES);
    w->log_count++;
}

static void node_start(struct world *w, uint32_t i)
{
    struct node *n = &w->nodes[i];
    n->applied = (uint32_t)below(w, n->applied + 1); /* what was not flushed is replayed */
    memset(n->met, 0, sizeof n->met);
    n->alive = true;
    n->fatal = false;
    n->process = ++w->next;
    struct formation_options options = {
        .own_id = i + 1,
        .incarnation = n->incarnation,
        .initial = i < w->count - w->joiners ? &w->initial : &w->nobody,
        .joins = i >= w->count - w->joiners,
        .saved = slice_of(n->saved, n->saved_size),
    };
    struct formation_effects e;
    cr_assert_eq(formation_open(&n->formation, &options, &e), FORMATION_OK);
    effects_run(w, i, &e);
}

static void node_wipe(struct world *w, uint32_t i)
{
    struct node *n = &w->nodes[i];
    n->formed = false;
    n->applied = 0;
    n->saved_size = 0;
    put_le64(n->incarnation, ++w->next);
}

static void save_land(struct node *n)
{
    n->formed = n->saving_formed;
    n->saved_size = n->saving_size;
    memcpy(n->saved, n->saving_bytes, n->saving_size);
}

static void step_saved(struct world *w, uint32_t i)
{
    struct node *n = &w->nodes[i];
    if (!n->alive || !n->saving)
        return;
    n->saving = false;
    save_land(n);
    struct formation_effects e;
    formation_on_saved(&n->formation, &e);
    effects_run(w, i, &e);
}

static void step_dial(struct world *w, uint32_t from, uint32_t to)
{
    struct node *n = &w->nodes[from];
    if (from == to || !n->alive || !w->nodes[to].alive)
        return;
    struct conn *free_slot = NULL;
    for (size_t i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &w->conns[i];
        if (!c->used)
            free_slot = c;
        else if (c->dialler_process == n->process && c->acceptor == to)
            return;
    }
    if (!free_slot)
        return;
    *free_slot = (struct conn){ .used = true,
                                .slow = below(w, 3) == 0,
                                .dialler = from,
                                .acceptor = to,
                                .dialler_process = n->process,
                                .acceptor_process = w->nodes[to].process };
    struct item hello = hello_of(n);
    item_push(&free_slot->to_acceptor, &hello);
}

/* `member`, as process, has shown itself to node i: connections with its older ones are closed,
 * and so is an older one that it dialled. */
static void links_renew(struct world *w, uint32_t i, uint32_t member, uint64_t process,
                        const struct conn *fresh)
{
    for (size_t k = 0; k < CONNS_MAX; k++) {
        struct conn *c = &w->conns[k];
        if (!c->used || c == fresh)
            continue;
        bool is_in = c->acceptor == i && c->dialler == member && c->accepted;
        bool is_out = c->dialler == i && c->acceptor == member && c->up;
        bool replaced = is_in && fresh->acceptor == i;
        if (replaced || (is_in && c->dialler_process != process) ||
            (is_out && c->acceptor_process != process))
            conn_close(c);
    }
}

static void deliver_to_acceptor(struct world *w, struct conn *c)
{
    struct item item = item_pop(&c->to_acceptor);
    struct node *n = &w->nodes[c->acceptor];
    struct formation_effects e;
    if (item.type == ITEM_ANNOUNCE) {
        cr_assert(formation_on_announce(&n->formation, c->dialler + 1,
                                        slice_of(item.bytes, item.size), &e));
        effects_run(w, c->acceptor, &e);
        return;
    }
    uint32_t acceptor = c->acceptor;
    if (item.type == ITEM_REFUSAL) {
        uint32_t dialler = c->dialler;
        conn_close(c);
        formation_on_refused(&n->formation, dialler + 1, item.is_final, &e);
        effects_run(w, acceptor, &e);
        return;
    }
    bool is_final = false;
    const char *why = formation_on_hello(&n->formation, c->dialler + 1, item.incarnation,
                                         slice_of(item.hash, item.hash_bytes), &is_final, &e);
    struct item answer = hello_of(n);
    if (why) {
        answer.type = ITEM_REFUSAL;
        answer.is_final = is_final;
    } else {
        c->accepted = true;
        n->met[c->dialler] = true;
        memcpy(n->met_incarnations[c->dialler], item.incarnation, sizeof item.incarnation);
        links_renew(w, c->acceptor, c->dialler, c->dialler_process, c);
    }
    item_push(&c->to_dialler, &answer);
    effects_run(w, acceptor, &e);
}

static void deliver_to_dialler(struct world *w, struct conn *c)
{
    struct item item = item_pop(&c->to_dialler);
    uint32_t i = c->dialler;
    uint32_t other = c->acceptor;
    struct node *n = &w->nodes[i];
    if (!n->alive || n->process != c->dialler_process)
        return;
    struct formation_effects e;
    if (item.type == ITEM_REFUSAL) {
        conn_close(c);
        formation_on_refused(&n->formation, other + 1, item.is_final, &e);
        effects_run(w, i, &e);
        return;
    }
    bool is_final = false;
    if (formation_on_hello(&n->formation, other + 1, item.incarnation,
                           slice_of(item.hash, item.hash_bytes), &is_final, &e)) {
        struct item refusal = { .type = ITEM_REFUSAL, .is_final = is_final };
        item_push(&c->to_acceptor, &refusal);
        effects_run(w, i, &e);
        return;
    }
    c->up = true;
    links_renew(w, i, other, c->acceptor_process, c);
    effects_run(w, i, &e);
    if (!n->alive)
        return;
    formation_on_link_up(&n->formation, other + 1, &e);
    effects_run(w, i, &e);
}

/* NULL when there is none. */
static struct conn *conn_pick(struct world *w)
{
    struct conn *used[CONNS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < CONNS_MAX; i++) {
        if (w->conns[i].used)
            used[count++] = &w->conns[i];
    }
    return count > 0 ? used[below(w, count)] : NULL;
}

static void step_deliver(struct world *w)
{
    struct conn *c = conn_pick(w);
    if (!c || (c->slow && below(w, SLOW_ONE_IN) > 0))
        return;
    bool dialler_gone =
        !w->nodes[c->dialler].alive || w->nodes[c->dialler].process != c->dialler_process;
    if (c->to_acceptor.count > 0 && (c->to_dialler.count == 0 || below(w, 2) == 0))
        deliver_to_acceptor(w, c);
    else if (c->to_dialler.count > 0 && !dialler_gone)
        deliver_to_dialler(w, c);
    else if (dialler_gone)
        conn_close(c); /* the acceptor reads the end of the stream */
}

static void step_chaos(struct world *w, uint32_t wiped_from)
{
    uint32_t i = (uint32_t)below(w, w->count);
    struct node *n = &w->nodes[i];
    switch (below(w, 8)) {
    case 0:
    case 1:
        conn_close(&w->conns[below(w, CONNS_MAX)]);
        break;
    case 2:
        if (!n->alive)
            break;
        if (n->saving && below(w, 2) == 0)
            save_land(n);
        node_kill(w, i);
        break;
    case 3:
    case 4:
        if (!n->alive && i >= wiped_from)
            node_wipe(w, i);
        break;
    default:
        if (!n->alive)
            node_start(w, i);
        break;
    }
}

static void step_quiet(struct world *w)
{
    uint32_t i = (uint32_t)below(w, w->count);
    switch (below(w, 5)) {
    case 0:
        step_saved(w, i);
        break;
    case 4:
        step_apply(w, i);
        step_propose(w, (uint32_t)below(w, w->count), (uint32_t)below(w, w->count));
        break;
    case 1:
        step_dial(w, i, (uint32_t)below(w, w->count));
        break;
    default:
        step_deliver(w);
        break;
    }
}

/* No two living disks have formed with different sets; a joiner that has formed is the disk that
 * the log names. */
static void check_safety(const struct world *w)
{
    const struct node *first = NULL;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct node *n = &w->nodes[i];
        if (!n->formed)
            continue;
        if (first && w->joiners == 0)
            cr_assert(slice_equal(slice_of(first->saved, first->saved_size),
                                  slice_of(n->saved, n->saved_size)),
                      "seed %lu: two sets", w->seed);
        first = n;
        bool is_logged = i < w->count - w->joiners;
        for (uint32_t e = 0; e < w->log_count && !is_logged; e++)
            is_logged = w->log[e].joiner == i &&
                        memcmp(w->log[e].incarnation, n->incarnation, sizeof n->incarnation) == 0;
        cr_assert(is_logged, "seed %lu: a disk that the log does not name votes", w->seed);
        /* A voter is the very disk that the set names. */
        bool named = memmem(n->saved, n->saved_size, n->incarnation, sizeof n->incarnation);
        cr_assert(named, "seed %lu: a wiped disk votes", w->seed);
    }
}

static bool is_finished(const struct world *w)
{
    bool formed = false;
    for (uint32_t i = 0; i < w->count; i++) {
        formed = formed || w->nodes[i].formed;
        if (!w->nodes[i].fatal && !w->nodes[i].formed)
            return false;
    }
    return formed;
}

static void run(uint64_t seed, uint32_t count, uint32_t joiners, bool wipes, struct coverage *cover)
{
    struct world *w = calloc(1, sizeof *w);
    w->seed = seed;
    w->prng = prng_seeded(seed);
    w->count = count;
    w->joiners = joiners;
    membership_init(&w->initial);
    membership_init(&w->nobody);
    for (uint32_t i = 0; i < count; i++) {
        struct membership_member m = { .id = i + 1, .name = "n", .roles = RAFT_VOTER };
        if (i < count - joiners)
            cr_assert_eq(membership_put(&w->initial, &m), MEMBERSHIP_OK);
        node_wipe(w, i);
    }
    uint32_t wiped_from = joiners > 0 ? count - joiners : 0;
    if (!wipes)
        wiped_from = count;
    uint64_t chaos_one_in = 4 + below(w, 200);
    for (int step = 0; step < CHAOS_STEPS; step++) {
        if (step % 4 == 0 && below(w, chaos_one_in) < 4)
            step_chaos(w, wiped_from);
        else
            step_quiet(w);
        check_safety(w);
    }
    bool formed_early = false;
    for (uint32_t i = 0; i < count; i++) {
        formed_early = formed_early || w->nodes[i].formed;
        if (!w->nodes[i].alive)
            node_start(w, i);
    }
    int steps = 0;
    while (!is_finished(w) && steps++ < CALM_STEPS) {
        step_quiet(w);
        check_safety(w);
    }
    cr_assert(is_finished(w), "seed %lu, %u members: no progress", seed, count);
    for (uint32_t i = 0; i < count; i++)
        cover->fatal += w->nodes[i].fatal;
    cover->formed_runs += formed_early;
    membership_done(&w->initial);
    free(w);
}

Test(formation_sim, one_set_whatever_happens)
{
    struct coverage cover = { 0 };
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed, 2 + (uint32_t)(seed % 4), 0, true, &cover);
    cr_assert_gt(cover.fatal, 40, "%u wiped members were told so", cover.fatal);
    cr_assert_gt(cover.formed_runs, 100, "%u runs formed early", cover.formed_runs);
    cr_assert_lt(cover.formed_runs, RUNS - 100, "%u runs formed early", cover.formed_runs);
}

Test(formation_sim, nobody_gives_up_when_nobody_is_wiped)
{
    struct coverage cover = { 0 };
    for (uint64_t seed = 1; seed <= RUNS / 4; seed++)
        run(seed, 3, 0, false, &cover);
    cr_assert_eq(cover.fatal, 0);
}

/* Disks of added members are wiped at any time; those of initial members that have formed are not,
 * since with them the log would be gone. */
Test(formation_sim, added_members_have_one_disk_each)
{
    struct coverage cover = { 0 };
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed, 4 + (uint32_t)(seed % 2), 1 + (uint32_t)(seed / 2 % 2), true, &cover);
    cr_assert_gt(cover.fatal, 8, "%u wiped members were told so", cover.fatal);
    cr_assert_gt(cover.formed_runs, 100, "%u runs formed early", cover.formed_runs);
}
