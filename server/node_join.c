/* Which disk is an added member's (I7a): the leader has the first that says Hello recorded in the
 * log, and whoever has applied that tells the member, which has no voice before (formation.h).
 */
#include "base/assert.h"
#include "base/log.h"
#include "command.pb-c.h"
#include "proto/pb_arena.h"
#include "server/node_internal.h"

enum { RECORD_BYTES_MAX = 4 << 10 };

static const struct membership_member *member_without_disk(const struct node *node, uint64_t id)
{
    const struct membership_member *member = membership_by_id(&node->membership, id);
    return member && !member->has_incarnation ? member : NULL;
}

/* Kept until its member is applied, since the link may come first; the oldest makes room. */
void node_join_on_hello(struct node *node, const struct peer_hello *hello)
{
    struct node_join *j = &node->join;
    const struct membership_member *member = membership_by_id(&node->membership, hello->member_id);
    if (member && member->has_incarnation)
        return;
    uint32_t i = 0;
    while (i < j->met_count && j->met[i].member != hello->member_id)
        i++;
    if (i == NODE_LINKS_MAX) {
        i--;
        memmove(&j->met[0], &j->met[1], i * sizeof j->met[0]);
    } else if (i == j->met_count) {
        j->met_count++;
    }
    j->met[i].member = hello->member_id;
    memcpy(j->met[i].incarnation, hello->incarnation, sizeof j->met[i].incarnation);
}

static void on_recorded(struct request *request)
{
    struct node *node = LIST_ENTRY(request, struct node, join.request);
    node->join.is_recording = false;
    arena_done(&node->join.arena); /* not applied: in a later turn, while we lead */
}

static void record_begin(struct node *node, struct node_met *met)
{
    struct node_join *j = &node->join;
    Holdfastpb__MemberAttributes attributes = HOLDFASTPB__MEMBER_ATTRIBUTES__INIT;
    attributes.member_id = met->member;
    attributes.incarnation =
        (ProtobufCBinaryData){ MEMBERSHIP_INCARNATION_BYTES, met->incarnation };
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_MEMBER_ATTRIBUTES;
    command.member_attributes = &attributes;
    arena_init(&j->arena, RECORD_BYTES_MAX);
    j->request = (struct request){ .done = on_recorded };
    j->request.reply.arena = &j->arena;
    j->is_recording = true;
    if (pb_arena_pack(&j->arena, &command.base, &j->request.command))
        node_submit(node, &j->request);
    else
        on_recorded(&j->request);
}

void node_join_advance(struct node *node)
{
    struct node_join *j = &node->join;
    if (node->status.role != RAFT_LEADER || !node->has_voice || j->is_recording)
        return;
    for (uint32_t i = 0; i < j->met_count; i++) {
        if (!member_without_disk(node, j->met[i].member))
            continue;
        record_begin(node, &j->met[i]);
        return;
    }
}

void node_join_on_applied(struct node *node)
{
    struct formation_effects effects;
    formation_on_members(&node->formation, &node->membership,
                         machine_state(node->machine)->applied.index, &effects);
    node_formation_carry_out(node, &effects);
}
