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

static bool awaits_repair(struct scene *s, uint32_t node)
{
    const struct node *n = sim_host_node(scene_host(s, node));
    return n && raft_awaits_repair(n->raft);
}

/* Whether its last two entries are in its journal alone: what the store has, too, may rot. */
static bool journal_is_needed(struct scene *s, uint32_t node)
{
    const struct node *n = sim_host_node(scene_host(s, node));
    return n && !n->flush.is_running &&
           store_published(n->store)->applied.index + 2 <= raft_last_pos(n->raft).index;
}

/* Writes on until it is so; in a world where each entry is flushed at once it never is. */
static bool write_past_flush(struct scene *s, uint32_t leader, uint32_t node)
{
    for (int i = 0; i < PUTS && !scene_has_failed(s) && !journal_is_needed(s, node); i++) {
        scene_put(s, leader, "key", "more");
        scene_run(s, 3 * SCENE_HEARTBEAT_MS);
    }
    return journal_is_needed(s, node);
}

/* A bit of the last batch but one. False: there is none, and the story ends. */
static bool rot_one(struct scene *s, uint32_t node)
{
    enum { PLACES_MAX = 512 };
    struct place places[PLACES_MAX];
    size_t count = batches_find(s, node, places, PLACES_MAX);
    const struct place *last = newest_but(places, count, UINT64_MAX);
    const struct place *one = last ? newest_but(places, count, last->number) : NULL;
    if (!scene_expect(s, one != NULL, "no two batches in the journal"))
        return false;
    fake_disk_flip(scene_host(s, node)->disk, one->path,
                   one->offset + prng_below(&s->chance, JOURNAL_ALIGN_BYTES),
                   (uint8_t)(1u << prng_below(&s->chance, 8)));
    return true;
}

/* A bit of an acknowledged entry turns while the member is down. It is no torn tail: later writes
 * knew it durable. As long as it is alone the member knows that it lacks something, over any number
 * of starts; then the others give it back, without an election. */
static void play_rot_below(struct scene *s)
{
    uint32_t leader = start_and_write(s);
    uint32_t hurt = scene_other(s, leader, leader);
    uint64_t term = scene_term(s);
    bool is_needed = write_past_flush(s, leader, hurt);
    if (scene_has_failed(s))
        return;
    sim_host_kill(scene_host(s, hurt));
    if (!rot_one(s, hurt))
        return;
    scene_isolate(s, hurt);
    for (int start = 1; start <= 3; start++) {
        scene_start_node(s, hurt);
        scene_run(s, 10 + prng_below(&s->chance, 3 * SCENE_HEARTBEAT_MS));
        if (!scene_expect(s, awaits_repair(s, hurt) == is_needed, "it passes for %s at start %d",
                          is_needed ? "whole" : "damaged", start))
            return;
        if (prng_below(&s->chance, 2) == 0)
            sim_host_kill(scene_host(s, hurt));
        else
            sim_host_cut_power(scene_host(s, hurt));
    }
    scene_join(s);
    scene_start_node(s, hurt);
    scene_wait_caught_up(s, hurt);
    scene_run(s, 10 * SCENE_HEARTBEAT_MS);
    scene_expect(s, !awaits_repair(s, hurt), "it is not repaired");
    expect_others_go_on(s, leader, term);
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
    { "rot-below", "bit rot in what was durable is found and repaired", play_rot_below, 0 },
    { "torn-tail", "a write that the power cut took in the midst is dropped", play_torn, 0 },
    { "lost-vote", "term and vote survive the loss of both their slots", play_lost_vote, 0 },
    { 0 },
};
