/* etcdserverpb.Cluster: who the members are. */
#include "base/assert.h"
#include "server/services.h"

/* In its call's arena. */
struct list_call {
    struct read read;
    struct services *services;
    struct grpc_call *call;
};

static void url_list(const struct membership_urls *urls, char **texts)
{
    for (uint32_t i = 0; i < urls->count; i++)
        texts[i] = (char *)urls->urls[i];
}

/* One member as clients see it; NULL when the arena is full. */
static Etcdserverpb__Member *member_message(struct arena *arena,
                                            const struct membership_member *member)
{
    Etcdserverpb__Member *message = arena_alloc(arena, sizeof *message);
    char **peer = arena_alloc(arena, member->peer.count * sizeof(char *));
    char **client = arena_alloc(arena, member->client.count * sizeof(char *));
    if (!message || !peer || !client)
        return NULL;
    url_list(&member->peer, peer);
    url_list(&member->client, client);
    etcdserverpb__member__init(message);
    message->id = member->id;
    /* etcd's way to say "not started": it has published nothing yet. */
    message->name = member->client.count > 0 ? (char *)member->name : (char *)"";
    message->peerurls = peer;
    message->n_peerurls = member->peer.count;
    message->clienturls = client;
    message->n_clienturls = member->client.count;
    message->islearner = member->roles & RAFT_LEARNER;
    return message;
}

static void answer(struct services *s, struct grpc_call *call)
{
    const struct membership *membership = node_membership(s->options.node);
    Etcdserverpb__Member *members[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < membership->member_count; i++) {
        members[i] = member_message(grpc_call_arena(call), &membership->members[i]);
        if (!members[i]) {
            service_refuse(call, ETCD_E_RESPONSE_TOO_LARGE);
            return;
        }
    }
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    service_fill_header(s, &header);
    header.revision = 0; /* etcd's member lists carry none */
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.header = &header;
    response.members = members;
    response.n_members = membership->member_count;
    service_reply(call, &response.base);
}

static void on_confirmed(struct read *read, enum etcd_error error)
{
    struct list_call *l = LIST_ENTRY(read, struct list_call, read);
    if (error != ETCD_OK)
        service_refuse(l->call, error);
    else
        answer(l->services, l->call);
}

static void on_gone(void *owner, struct grpc_call *call)
{
    struct list_call *l = owner;
    ASSERT(l->call == call);
    node_cancel_read(l->services->options.node, &l->read);
}

void service_cluster_member_list(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    const Etcdserverpb__MemberListRequest *r =
        (const Etcdserverpb__MemberListRequest *)service_unpack(
            call, &etcdserverpb__member_list_request__descriptor, message);
    if (!r)
        return;
    if (!r->linearizable) {
        answer(s, call);
        return;
    }
    struct list_call *l = arena_zalloc(grpc_call_arena(call), sizeof *l);
    if (!l) {
        service_refuse(call, ETCD_E_REQUEST_TOO_LARGE);
        return;
    }
    l->services = s;
    l->call = call;
    l->read.done = on_confirmed;
    grpc_call_on_gone(call, on_gone, l);
    service_crowds(s, call);
    node_read(s->options.node, &l->read);
}
