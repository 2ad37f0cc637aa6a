/* Damage of what was durable (I7): a mark, another start, and the others give it back. */
#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"

void node_fail_damaged(struct node *node, const char *what, const char *why)
{
    node_fail(node, EXIT_CODE_CORRUPT, what, why);
}
