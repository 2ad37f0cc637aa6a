/* etcd_fake.h: a small correct key-value store that speaks etcd's KV service, and can be told to
 * misbehave: for tests of clients and of the checkers of what they record.
 *
 * It serves on struct io in the test's own thread. Keys are "k000" to "k998"; every version of
 * each is kept. Answers take a moment, by the seed; one fake may have several addresses, as if it
 * were a cluster whose members always agree.
 *
 * Owner: open .. the `fn` of close; the test calls etcd_fake_flush at the end of each
 *        turn until then.
 */
#ifndef TESTS_SUPPORT_ETCD_FAKE_H
#define TESTS_SUPPORT_ETCD_FAKE_H

#include "base/io.h"

/* What a broken store does now and then. */
enum etcd_fake_bug {
    ETCD_FAKE_SOUND,
    ETCD_FAKE_STALE_READ,     /* a linearizable read of a while ago */
    ETCD_FAKE_STALE_VALUE,    /* the values of a while ago under a new revision */
    ETCD_FAKE_LOST_WRITE,     /* a put is answered but not made */
    ETCD_FAKE_APPLIED_TWICE,  /* a transaction is made again a while later */
    ETCD_FAKE_REFUSED_MADE,   /* refused as if there were no leader, and made */
    ETCD_FAKE_COMPARE_MISSED, /* a transaction does not look at its compares */
    ETCD_FAKE_HALF_TXN,       /* only its first step is made */
    ETCD_FAKE_BUGS
};

struct etcd_fake_options {
    struct io *io;
    uint64_t seed;
    enum etcd_fake_bug bug;
    uint32_t refuse_percent; /* "no leader", and not made */
    uint32_t forget_percent; /* "request timed out", and not made */
    uint32_t hide_percent;   /* "request timed out", and made */
};

struct etcd_fake;

/* Fails the test where it cannot. */
struct etcd_fake *etcd_fake_open(const struct etcd_fake_options *options);
struct io_addr etcd_fake_listen(struct etcd_fake *f);
void etcd_fake_flush(struct etcd_fake *f);
int64_t etcd_fake_revision(const struct etcd_fake *f);
uint64_t etcd_fake_bugs_shown(const struct etcd_fake *f);
void etcd_fake_close(struct etcd_fake *f, void (*fn)(void *owner), void *owner);

#endif
