/* What operators, clients and members say in other forms: memberships, formation records, flags
 * and configuration files, requests. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "proto/pb_arena.h"
#include "server/check.h"
#include "server/formation.h"
#include "server/options.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/request_maker.h"

enum { ARENA_BYTES = 1 << 20, ARGUMENTS_MAX = 16, TXN_OPS_MAX = 128 };

static char *text_of(struct slice bytes)
{
    char *text = malloc(bytes.size + 1);
    ASSERT(text != NULL);
    if (bytes.size > 0)
        memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return text;
}

static void add_kind(fuzz_seed_fn *add, void *owner, const char *name, uint8_t kind,
                     struct slice bytes)
{
    static struct fuzz_writer w;
    w.size = 0;
    fuzz_put_u8(&w, kind);
    fuzz_put(&w, bytes);
    add(owner, name, slice_of(w.bytes, w.size));
}

static void membership_three(struct membership *m)
{
    char why[MEMBERSHIP_WHY_BYTES];
    membership_init(m);
    ASSERT(membership_parse_initial(
               m, "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380", "t",
               why) == MEMBERSHIP_OK);
}

/* ---- memberships ---- */

/* Even: encoded; what is taken is encoded and taken again. Odd: --initial-cluster. */
static void membership_run(struct slice input)
{
    struct fuzz_reader r = { input };
    bool is_text = fuzz_u8(&r) % 2 != 0;
    struct membership m;
    struct membership again;
    membership_init(&m);
    membership_init(&again);
    char why[MEMBERSHIP_WHY_BYTES];
    char *text = text_of(r.left);
    enum membership_err err =
        is_text ? membership_parse_initial(&m, text, "t", why) : membership_decode(&m, r.left);
    if (err == MEMBERSHIP_OK) {
        struct arena arena;
        struct slice bytes;
        arena_init(&arena, ARENA_BYTES);
        ASSERT(membership_encode(&m, &arena, &bytes));
        ASSERT(membership_decode(&again, bytes) == MEMBERSHIP_OK);
        ASSERT(again.member_count == m.member_count);
        IGNORE(membership_cluster_id(&m) == 0, "of any members");
        arena_done(&arena);
    }
    free(text);
    membership_done(&again);
    membership_done(&m);
}

static void membership_seeds(fuzz_seed_fn *add, void *owner)
{
    struct membership m;
    struct arena arena;
    struct slice bytes;
    membership_three(&m);
    m.members[1].has_incarnation = true;
    arena_init(&arena, ARENA_BYTES);
    ASSERT(membership_encode(&m, &arena, &bytes));
    add_kind(add, owner, "encoded", 0, bytes);
    add_kind(add, owner, "text", 1, slice_of_text("n1=http://a:1,n2=http://[::1]:2,n1=http://b:3"));
    arena_done(&arena);
    membership_done(&m);
}

const struct fuzz_target fuzz_membership = { "membership", 30000, membership_run,
                                             membership_seeds };

/* ---- formation ---- */

static const uint8_t own_incarnation[MEMBERSHIP_INCARNATION_BYTES] = { 1 };

/* Even: the record in the data directory. Odd: announced by a member. */
static void formation_run(struct slice input)
{
    static struct formation f;
    struct fuzz_reader r = { input };
    bool is_announced = fuzz_u8(&r) % 2 != 0;
    struct membership m;
    membership_three(&m);
    struct formation_options options = { .own_id = m.members[0].id,
                                         .incarnation = own_incarnation,
                                         .initial = &m };
    if (!is_announced)
        options.saved = r.left;
    struct formation_effects effects;
    bool final = false;
    if (formation_open(&f, &options, &effects) == FORMATION_OK && is_announced) {
        IGNORE(formation_on_hello(&f, m.members[1].id, own_incarnation, formation_hello_hash(&f),
                                  &final, &effects) != NULL,
               "either is an answer");
        if (effects.save)
            formation_on_saved(&f, &effects);
        IGNORE(!formation_on_announce(&f, m.members[1].id, r.left, &effects), "likewise");
        if (effects.save)
            formation_on_saved(&f, &effects);
    }
    membership_done(&m);
}

static void formation_seeds(fuzz_seed_fn *add, void *owner)
{
    static struct formation f;
    struct membership m;
    struct formation_effects effects;
    bool final = false;
    membership_three(&m);
    struct formation_options options = { .own_id = m.members[1].id,
                                         .incarnation = own_incarnation,
                                         .initial = &m };
    ASSERT(formation_open(&f, &options, &effects) == FORMATION_OK);
    for (uint32_t i = 0; i < 3; i += 2) {
        ASSERT(formation_on_hello(&f, m.members[i].id, own_incarnation, formation_hello_hash(&f),
                                  &final, &effects) == NULL);
        if (effects.save) {
            add_kind(add, owner, "saved", 0, effects.save_bytes);
            formation_on_saved(&f, &effects);
        }
        if (effects.announce_all || effects.announce_to != 0)
            add_kind(add, owner, "announced", 1, effects.announce);
    }
    add_kind(add, owner, "short", 1, slice_of("\x08\x01", 2));
    membership_done(&m);
}

const struct fuzz_target fuzz_formation = { "formation", 20000, formation_run, formation_seeds };

/* ---- flags and files ---- */

/* Arguments by line; --config-file would read what it likes. */
static void flags_run(struct options *o, char *text, char detail[OPTIONS_DETAIL_BYTES])
{
    char *arguments[ARGUMENTS_MAX + 2] = { "holdfastd" };
    char *environment[] = { NULL };
    int count = 1;
    char *rest = text;
    char *line;
    while (count < ARGUMENTS_MAX && (line = strsep(&rest, "\n")) != NULL) {
        if (strstr(line, "config-file") == NULL)
            arguments[count++] = line;
    }
    IGNORE(!options_parse(o, count, arguments, environment, detail), "either is an answer");
}

static void file_run(struct options *o, struct slice bytes, char detail[OPTIONS_DETAIL_BYTES])
{
    int fd = memfd_create("options", MFD_CLOEXEC);
    ASSERT(fd >= 0 &&
           (bytes.size == 0 || write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size));
    char argument[64];
    ASSERT(snprintf(argument, sizeof argument, "--config-file=/proc/self/fd/%d", fd) > 0);
    char *arguments[] = { "holdfastd", argument, NULL };
    char *environment[] = { NULL };
    IGNORE(!options_parse(o, 2, arguments, environment, detail), "either is an answer");
    close(fd);
}

/* Even: a configuration file. Odd: a command line. */
static void options_run(struct slice input)
{
    static struct options o;
    struct fuzz_reader r = { input };
    char detail[OPTIONS_DETAIL_BYTES] = "";
    if (fuzz_u8(&r) % 2 == 0) {
        file_run(&o, r.left, detail);
    } else {
        char *text = text_of(r.left);
        flags_run(&o, text, detail);
        free(text);
    }
    options_done(&o);
}

static void options_seeds(fuzz_seed_fn *add, void *owner)
{
    add_kind(add, owner, "file", 0,
             slice_of_text("---\n# c\nname: n1\nelection-timeout: 2000 # x\npre-vote: false\n"
                           "data-dir: '/x #y'\nlog-level: \"warn\"\r\n"
                           "listen-peer-urls: http://127.0.0.1:1,http://[::1]:2\n"));
    add_kind(add, owner, "flags", 1,
             slice_of_text("--name=n1\n--data-dir\nd\n--heartbeat-interval=100\n--pre-vote=false\n"
                           "--initial-cluster=n1=http://127.0.0.1:2380\n"
                           "--grpc-keepalive-min-time=5s\n--max-request-bytes=1000"));
}

const struct fuzz_target fuzz_options = { "options", 10000, options_run, options_seeds };

/* ---- requests ---- */

static const ProtobufCMessageDescriptor *const kinds[] = {
    &etcdserverpb__range_request__descriptor,
    &etcdserverpb__put_request__descriptor,
    &etcdserverpb__delete_range_request__descriptor,
    &etcdserverpb__txn_request__descriptor,
    &holdfastpb__command__descriptor,
};
enum { KIND_RANGE, KIND_PUT, KIND_DELETE, KIND_TXN, KIND_COMMAND, KINDS };

static void request_check(uint8_t kind, const ProtobufCMessage *message, struct arena *scratch)
{
    const Etcdserverpb__TxnRequest *txn = (const Etcdserverpb__TxnRequest *)message;
    switch (kind) {
    case KIND_RANGE:
        IGNORE(check_range((const Etcdserverpb__RangeRequest *)message) != ETCD_OK, "any");
        return;
    case KIND_PUT:
        IGNORE(check_put((const Etcdserverpb__PutRequest *)message) != ETCD_OK, "any");
        return;
    case KIND_DELETE:
        IGNORE(check_delete_range((const Etcdserverpb__DeleteRangeRequest *)message) != ETCD_OK,
               "any");
        return;
    case KIND_TXN:
        if (check_txn(txn, TXN_OPS_MAX, scratch) == ETCD_OK && txn_is_serializable(txn))
            ASSERT(txn_is_read_only(txn));
        return;
    default:
        IGNORE(check_command((const Holdfastpb__Command *)message, scratch) != ETCD_OK, "any");
        return;
    }
}

/* Which request, then its bytes. */
static void request_run(struct slice input)
{
    struct fuzz_reader r = { input };
    uint8_t kind = fuzz_u8(&r) % KINDS;
    struct arena arena;
    struct arena scratch;
    arena_init(&arena, ARENA_BYTES);
    arena_init(&scratch, ARENA_BYTES);
    const ProtobufCMessage *message = pb_arena_unpack(&arena, kinds[kind], r.left);
    if (message)
        request_check(kind, message, &scratch);
    arena_done(&scratch);
    arena_done(&arena);
}

static void add_request(fuzz_seed_fn *add, void *owner, const char *name, uint8_t kind,
                        const ProtobufCMessage *message, struct arena *arena)
{
    struct slice bytes;
    ASSERT(pb_arena_pack(arena, message, &bytes));
    add_kind(add, owner, name, kind, bytes);
}

static void request_seeds(fuzz_seed_fn *add, void *owner)
{
    struct arena a;
    arena_init(&a, ARENA_BYTES);
    make_txn *inner = make_txn_empty(&a);
    make_txn *txn = make_txn_empty(&a);
    make_then(&a, inner, make_op_delete(&a, "x", "z"));
    make_if(&a, txn, "k", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
            ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    make_then(&a, txn, make_op_put(&a, "k", "v"));
    make_then(&a, txn, make_op_txn(&a, inner));
    make_else(&a, txn, make_op_range(&a, "k", MAKE_OPEN));
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
    command.txn = txn;
    add_request(add, owner, "range", KIND_RANGE, &make_range(&a, "a", "b")->base, &a);
    add_request(add, owner, "put", KIND_PUT, &make_put(&a, "a", "b")->base, &a);
    add_request(add, owner, "delete", KIND_DELETE, &make_delete(&a, "a", MAKE_OPEN)->base, &a);
    add_request(add, owner, "txn", KIND_TXN, &txn->base, &a);
    add_request(add, owner, "command", KIND_COMMAND, &command.base, &a);
    arena_done(&a);
}

const struct fuzz_target fuzz_request = { "request", 40000, request_run, request_seeds };
