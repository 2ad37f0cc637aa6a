/* Durable data that is damaged or gone, behind the node's back.
 *
 * The journal: bits, or whole blocks, as if a write had been lost or had gone elsewhere, below what
 * later writes say is durable. The store: a bit of a row; LMDB's own structure stays, and it has no
 * process at the time. All of it shows when it is read next.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "storage/journal_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/fault_internal.h"

enum { TREES = 5, ROW_BYTES_MAX = 1 << 20 };

/* ---- who may be hurt ---- */

static struct sim_host *host_of(const struct planned *p, uint64_t id)
{
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        struct sim_host *h = fault_host(p, i);
        if (h->is_used && h->member_id == id)
            return h;
    }
    return NULL;
}

/* It holds nothing that counts: damaged, gone, or blank and not told to vote yet. */
static bool is_hurt(const struct planned *p, uint64_t id)
{
    const struct sim_host *h = host_of(p, id);
    return !h || h->hurt != HURT_NOT || !h->had_voice;
}

static bool half_survives(const struct planned *p, const struct sim_host *more,
                          const struct raft_config *config, unsigned role)
{
    uint32_t voters = 0;
    uint32_t hurt = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        uint64_t id = config->members[i].id;
        if (!(config->members[i].roles & role))
            continue;
        voters++;
        hurt += is_hurt(p, id) || (more && more->member_id == id);
    }
    return voters == 0 || hurt <= (voters - 1) / 2;
}

static bool survives(const struct planned *p, const struct sim_host *more,
                     const struct raft_config *config)
{
    return half_survives(p, more, config, RAFT_VOTER) &&
           half_survives(p, more, config, RAFT_VOTER_OUTGOING);
}

bool fault_may_hurt(const struct planned *p, const struct sim_host *h,
                    const struct raft_config *next)
{
    if (next && !survives(p, h, next))
        return false;
    if (sim_check_config(p->nemesis->sim)->member_count == 0 ||
        !survives(p, h, sim_check_config(p->nemesis->sim)))
        return false;
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        const struct node *node = sim_host_node(fault_host(p, i));
        if (!node || node->closing_parts > 0)
            continue;
        struct raft_config config = raft_config_in_force(node->raft).config;
        if (!survives(p, h, &config))
            return false;
    }
    return true;
}

/* ---- the journal ---- */

/* Whether a later segment holds a whole write: one that was just taken holds none yet. */
static bool is_followed(const struct journal *j, const struct journal_segment *s)
{
    const struct list *next = s->link.next;
    return next != &j->live &&
           LIST_ENTRY(next, struct journal_segment, link)->end > JOURNAL_ALIGN_BYTES;
}

/* Where the segment's last write begins: it may take up most of the segment. */
static uint64_t last_write_at(const struct sim_host *h, const struct journal *j, const char *path,
                              uint64_t end)
{
    uint8_t page[JOURNAL_ALIGN_BYTES];
    struct journal_batch_header header;
    uint64_t at = JOURNAL_ALIGN_BYTES;
    for (uint64_t next = at; next < end;) {
        at = next;
        fake_disk_peek(h->disk, path, at, page, sizeof page);
        if (journal_batch_header_decode(slice_of(page, sizeof page), &j->owner, &header) !=
            JOURNAL_VERDICT_OK)
            break;
        next = at + journal_batch_bytes(header.payload_bytes);
    }
    return at;
}

/* In a segment that later ones follow, or before the last write of the only one: what was written
 * last cannot be told from a torn end, so nothing is promised for it. */
static bool journal_find(const struct sim_host *h, char path[64], uint64_t *ret_end)
{
    const struct node *node = sim_host_node(h);
    const struct journal *j = node && node->closing_parts == 0 ? node->journal : NULL;
    if (!j || list_is_empty(&j->live))
        return false;
    const struct journal_segment *s = LIST_ENTRY(j->live.next, struct journal_segment, link);
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    journal_segment_name(name, s->id);
    snprintf(path, 64, "data/journal/%s", name);
    *ret_end = is_followed(j, s) ? s->end : last_write_at(h, j, path, s->end);
    return *ret_end >= 2 * JOURNAL_ALIGN_BYTES;
}

static void rot(struct planned *p, struct sim_host *h, const char *path, uint64_t end)
{
    h->hurt = HURT_JOURNAL;
    for (uint64_t i = 0; i < p->fault->size; i++)
        fake_disk_flip(h->disk, path, prng_below(&p->chance, end),
                       (uint8_t)(1u << prng_below(&p->chance, 8)));
}

/* What was there before stands there still (nothing, in a new segment), or another block does. */
static void lose_write(struct planned *p, struct sim_host *h, const char *path, uint64_t end)
{
    uint8_t block[JOURNAL_ALIGN_BYTES] = { 0 };
    uint64_t blocks = end / JOURNAL_ALIGN_BYTES;
    h->hurt = HURT_JOURNAL;
    for (uint64_t i = 0; i < p->fault->size; i++) {
        uint64_t to = prng_below(&p->chance, blocks) * JOURNAL_ALIGN_BYTES;
        uint64_t from = prng_below(&p->chance, blocks) * JOURNAL_ALIGN_BYTES;
        if (prng_below(&p->chance, 2) == 0)
            fake_disk_peek(h->disk, path, from, block, sizeof block);
        fake_disk_poke(h->disk, path, to, slice_of(block, sizeof block));
    }
}

static void lose_vote(struct planned *p, struct sim_host *h)
{
    static const char path[] = "data/journal/hard";
    int64_t size = fake_disk_path_size(h->disk, path);
    for (int64_t slot = 0; slot + 64 <= size; slot += JOURNAL_ALIGN_BYTES)
        fake_disk_flip(h->disk, path, (uint64_t)slot + prng_below(&p->chance, 64), 0xff);
    h->hurt = HURT_VOTE;
}

/* ---- the store ---- */

/* The nth row, with one bit of its value changed. */
static int row_flip(MDB_txn *txn, MDB_dbi dbi, uint64_t nth, struct prng *chance)
{
    static uint8_t bytes[ROW_BYTES_MAX];
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; rc == MDB_SUCCESS && nth > 0; nth--)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    if (rc == MDB_SUCCESS && (value.mv_size == 0 || value.mv_size > sizeof bytes))
        rc = MDB_NOTFOUND;
    if (rc == MDB_SUCCESS) {
        memcpy(bytes, value.mv_data, value.mv_size);
        bytes[prng_below(chance, value.mv_size)] ^= (uint8_t)(1u << prng_below(chance, 8));
        value.mv_data = bytes;
        rc = mdb_cursor_put(cursor, &key, &value, MDB_CURRENT);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int row_flip_in(MDB_env *env, const char *tree, struct prng *chance)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;
    int rc = mdb_txn_begin(env, NULL, 0, &txn);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = mdb_dbi_open(txn, tree, 0, &dbi);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(txn, dbi, &stat);
    if (rc == MDB_SUCCESS)
        rc = stat.ms_entries == 0 ? MDB_NOTFOUND
                                  : row_flip(txn, dbi, prng_below(chance, stat.ms_entries), chance);
    if (rc == MDB_SUCCESS)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static void damage_row(struct planned *p, struct sim_host *h)
{
    static const char *const trees[TREES] = { "rev", "key", "log", "meta", "count" };
    const char *tree = trees[p->fault->size % TREES];
    MDB_env *env;
    int rc = mdb_env_create(&env);
    ASSERT(rc == MDB_SUCCESS);
    if (mdb_env_set_mapsize(env, (size_t)1 << 30) == MDB_SUCCESS &&
        mdb_env_set_maxdbs(env, TREES) == MDB_SUCCESS &&
        mdb_env_open(env, h->store_path, MDB_NOTLS | MDB_NOSYNC, 0600) == MDB_SUCCESS &&
        row_flip_in(env, tree, &p->chance) == MDB_SUCCESS) {
        h->hurt = HURT_STORE;
        sim_trace_line(h->sim, "%s has a damaged row in its tree \"%s\"", h->name, tree);
    }
    mdb_env_close(env);
}

/* ---- all ---- */

void fault_damage(struct planned *p, struct sim_host *h)
{
    char path[64];
    uint64_t end = 0;
    if (h->hurt != HURT_NOT || !fault_may_hurt(p, h, NULL))
        return;
    bool is_there = journal_find(h, path, &end);
    bool is_killed = h->proc != NULL;
    sim_host_kill(h);
    if (h->proc)
        return; /* it is just ending by itself */
    if (p->fault->kind == FAULT_ROT && is_there && is_killed)
        rot(p, h, path, end);
    if (p->fault->kind == FAULT_LOST_WRITE && is_there && is_killed)
        lose_write(p, h, path, end);
    if (p->fault->kind == FAULT_ROW)
        damage_row(p, h);
    if (p->fault->kind == FAULT_LOSE_VOTE)
        lose_vote(p, h);
    if (p->fault->kind == FAULT_WIPE) {
        h->hurt = HURT_BLANK;
        sim_host_wipe(h);
    }
}
