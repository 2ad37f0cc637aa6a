/* Disks that lose or change what they had, and members that must say so (I7, I7a). */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "server/node_internal.h"
#include "storage/journal_format.h"
#include "tests/sim/scenario.h"

enum { SEGMENTS_MAX = 16, PUTS = 30 };

/* A few writes, all of them in the journal alone. */
static uint32_t start_and_write(struct scene *s)
{
    scene_start(s);
    uint32_t leader = scene_leader(s);
    for (int i = 0; i < PUTS; i++)
        scene_put(s, leader, "key", "value");
    scene_run(s, 3 * SCENE_HEARTBEAT_MS);
    return leader;
}

static void expect_others_go_on(struct scene *s, uint32_t leader, uint64_t term)
{
    scene_put(s, leader, "key", "goes on");
    scene_expect(s, scene_term(s) == term && scene_leader(s) == leader, "there was an election");
}

/* ---- a blank disk ---- */

/* A member that comes back without its log would vote against what it had acknowledged. It does
 * not take part under its old name (I7a), and the others go on. */
static void play_wiped(struct scene *s)
{
    uint32_t leader = start_and_write(s);
    uint32_t lost = scene_other(s, leader, leader);
    uint64_t term = scene_term(s);
    if (scene_has_failed(s))
        return;
    sim_host_kill(scene_host(s, lost));
    sim_host_wipe(scene_host(s, lost));
    scene_host(s, lost)->excused_code = EXIT_CODE_BLANK_DISK;
    scene_start_node(s, lost);
    scene_run(s, 2);
    scene_wait_exit(s, lost, EXIT_CODE_BLANK_DISK);
    expect_others_go_on(s, leader, term);
}

/* ---- bit rot ---- */

struct place {
    char path[64];
    uint64_t offset;
    uint64_t number;
    uint64_t prev_index; /* of the entry before its first */
};

/* The batches of a member's journal by number; returns how many, up to max. */
static size_t batches_find(struct scene *s, uint32_t node, struct place *places, size_t max)
{
    struct fake_disk *disk = scene_host(s, node)->disk;
    size_t count = 0;
    for (unsigned id = 0; id < SEGMENTS_MAX; id++) {
        char path[64];
        snprintf(path, sizeof path, "data/journal/%08u.seg", id);
        int64_t size = fake_disk_path_size(disk, path);
        for (int64_t at = JOURNAL_ALIGN_BYTES; at < size; at += JOURNAL_ALIGN_BYTES) {
            uint8_t header[JOURNAL_BATCH_HEADER_BYTES];
            fake_disk_peek(disk, path, (uint64_t)at, header, sizeof header);
            if (memcmp(header + 16, "HFJBATCH", 8) != 0 || count == max)
                continue;
            struct place *p = &places[count++];
            snprintf(p->path, sizeof p->path, "%s", path);
            p->offset = (uint64_t)at;
            p->number = get_le64(header + 32);
            p->prev_index = get_le64(header + 80);
        }
    }
    return count;
}

static const struct place *newest_but(const struct place *places, size_t count, uint64_t but)
{
    const struct place *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (places[i].number < but && (!found || places[i].number > found->number))
            found = &places[i];
    }
    return found;
}

/* Kills it at a moment when a few entries are in its journal alone. Returns how far the store has
 * the log; UINT64_MAX: this seed's limits let it flush each entry at once, and there is nothing to
 * tell. */
static uint64_t kill_with_tail(struct scene *s, uint32_t node, uint32_t leader)
{
    for (int i = 0; i < 200 && !scene_has_failed(s); i++) {
        const struct node *n = sim_host_node(scene_host(s, node));
        uint64_t flushed = store_published(n->store)->applied.index;
        bool is_quiet = !n->flush.is_running && !n->persist.is_writing;
        if (is_quiet && raft_last_pos(n->raft).index >= flushed + 3) {
            sim_host_kill(scene_host(s, node));
            return flushed;
        }
        scene_put(s, leader, "key", "value");
    }
    return UINT64_MAX;
}

/* A bit of an acknowledged entry turns; later writes knew it durable, so it is no torn tail. */
static bool rot(struct scene *s, uint32_t node, uint64_t flushed)
{
    enum { PLACES_MAX = 512 };
    struct place places[PLACES_MAX];
    size_t count = batches_find(s, node, places, PLACES_MAX);
    const struct place *last = newest_but(places, count, UINT64_MAX);
    const struct place *one = last ? newest_but(places, count, last->number) : NULL;
    if (!scene_expect(s, one && one->prev_index >= flushed, "no two batches after the store's"))
        return false;
    scene_host(s, node)->hurt = HURT_JOURNAL;
    fake_disk_flip(scene_host(s, node)->disk, one->path,
                   one->offset + prng_below(&s->chance, JOURNAL_ALIGN_BYTES),
                   (uint8_t)(1u << prng_below(&s->chance, 8)));
    return true;
}

static bool awaits_repair(struct scene *s, uint32_t node)
{
    const struct node *n = sim_host_node(scene_host(s, node));
    return n && raft_awaits_repair(n->raft);
}

/* Alone it knows that it lacks something, over any number of starts. */
static bool stays_silent(struct scene *s, uint32_t node)
{
    scene_isolate(s, node);
    for (int start = 1; start <= 3; start++) {
        scene_start_node(s, node);
        scene_run(s, 10 + prng_below(&s->chance, 3 * SCENE_HEARTBEAT_MS));
        if (!scene_expect(s, awaits_repair(s, node), "it passes for whole at start %d", start))
            return false;
        if (prng_below(&s->chance, 2) == 0)
            sim_host_kill(scene_host(s, node));
        else
            sim_host_cut_power(scene_host(s, node));
    }
    scene_join(s);
    return true;
}

/* The member notices at its start, has no voice until it has all it ever acknowledged from the
 * leader, and then goes on by itself (I7), without an election. */
static void play_rot_below(struct scene *s)
{
    uint32_t leader = start_and_write(s);
    uint32_t hurt = scene_other(s, leader, leader);
    uint64_t term = scene_term(s);
    if (scene_has_failed(s))
        return;
    uint64_t flushed = kill_with_tail(s, hurt, leader);
    if (flushed == UINT64_MAX || !rot(s, hurt, flushed) || !stays_silent(s, hurt))
        return;
    scene_start_node(s, hurt);
    scene_heal(s);
    expect_others_go_on(s, leader, term);
    scene_run(s, 3 * SCENE_HEARTBEAT_MS);
    if (scene_has_failed(s))
        return;
    scene_expect(s, node_counters(sim_host_node(scene_host(s, hurt))).repairs_finished == 1,
                 "%s goes on unrepaired", scene_host(s, hurt)->name);
    sim_host_kill(scene_host(s, leader)); /* now its vote counts again */
    scene_put(s, scene_leader_but(s, leader), "key", "with the repaired one");
}

/* While the mark of a repair is being removed a row of the store turns out to be damaged: that is
 * marked, too, and repaired. */
static void play_damage_again(struct scene *s)
{
    uint32_t leader = start_and_write(s);
    uint32_t hurt = scene_other(s, leader, leader);
    if (scene_has_failed(s))
        return;
    uint64_t flushed = kill_with_tail(s, hurt, leader);
    if (flushed == UINT64_MAX || !rot(s, hurt, flushed))
        return;
    scene_start_node(s, hurt);
    struct sim_host *h = scene_host(s, hurt);
    struct node *n = NULL;
    for (int i = 0; i < 200000 && !scene_has_failed(s); i++) {
        n = sim_host_node(h);
        if (n && n->repair_is_saving && node_counters(n).repairs_finished == 1)
            break;
        scene_run_us(s, 10);
    }
    if (!scene_expect(s, n && n->repair_is_saving, "its mark is never removed"))
        return;
    uint32_t lives = h->lives;
    h->hurt = HURT_STORE;
    h->was_repairing = false;
    struct sim_proc *before = sim_proc_enter(h->proc);
    node_fail_store(n, n->kv, KV_E_CORRUPT);
    sim_proc_enter(before);
    sim_proc_wake(h->proc, s->sim->now_us);
    scene_run(s, 10 * SCENE_HEARTBEAT_MS);
    scene_heal(s);
    scene_wait_caught_up(s, hurt);
    if (!scene_has_failed(s) && scene_expect(s, h->lives > lives, "%s has not begun anew", h->name))
        scene_expect(s, node_counters(sim_host_node(h)).repairs_finished == 1,
                     "%s goes on unrepaired", h->name);
}

/* With nobody to repair it from: it says so and stops. */
static void play_rot_alone(struct scene *s)
{
    start_and_write(s);
    if (scene_has_failed(s))
        return;
    uint64_t flushed = kill_with_tail(s, 0, 0);
    if (flushed == UINT64_MAX || !rot(s, 0, flushed))
        return;
    scene_host(s, 0)->excused_code = EXIT_CODE_CORRUPT;
    scene_start_node(s, 0);
    scene_run(s, 2);
    scene_wait_exit(s, 0, EXIT_CODE_CORRUPT);
}

/* The power goes while a write is under way: what is there of it is a torn tail, never
 * acknowledged. It is dropped, and the member goes on. */
static void play_torn(struct scene *s)
{
    scene_start(s);
    scene_load(s);
    for (int round = 0; round < 5; round++) {
        uint32_t node = (uint32_t)prng_below(&s->chance, s->sim->options.node_count);
        scene_run_us(s, 100000 + prng_below(&s->chance, 300000));
        for (int i = 0; i < 100000 && !scene_has_failed(s); i++) {
            const struct node *n = sim_host_node(scene_host(s, node));
            if (n && n->persist.is_writing)
                break;
            scene_run_us(s, 10);
        }
        if (scene_has_failed(s))
            return;
        sim_host_cut_power(scene_host(s, node));
        scene_heal(s);
    }
    scene_load_end(s);
}

/* Both records of term and vote are damaged. Each batch repeats them, so nothing is lost: the
 * member knows whom it voted for and goes on. */
static void play_lost_vote(struct scene *s)
{
    uint32_t leader = start_and_write(s);
    uint32_t hurt = scene_other(s, leader, leader);
    uint64_t term = scene_term(s);
    if (scene_has_failed(s))
        return;
    sim_host_kill(scene_host(s, hurt));
    for (uint64_t slot = 0; slot < 2; slot++)
        fake_disk_flip(scene_host(s, hurt)->disk, "data/journal/hard",
                       slot * JOURNAL_ALIGN_BYTES + prng_below(&s->chance, JOURNAL_ALIGN_BYTES),
                       (uint8_t)(1u << prng_below(&s->chance, 8)));
    scene_start_node(s, hurt);
    scene_wait_serving(s, hurt);
    scene_heal(s);
    expect_others_go_on(s, leader, term);
}

const struct scenario scenarios_of_disks[] = {
    { "wiped-disk", "a blank disk under an old name does not vote", play_wiped, 0 },
    { "rot-below", "bit rot in what was durable is repaired from the leader", play_rot_below, 0 },
    { "damage-again", "so is what shows while the mark before is removed", play_damage_again, 0 },
    { "rot-alone", "or told, where there is none", play_rot_alone, 1 },
    { "torn-tail", "a write that the power cut took in the midst is dropped", play_torn, 0 },
    { "lost-vote", "term and vote survive the loss of both their slots", play_lost_vote, 0 },
    { 0 },
};
