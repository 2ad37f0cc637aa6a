/* demo.h: the two things holdfast-demo does, and how it talks.
 *
 * Thread: the main one.
 * Errors: an exit code; what went wrong has been printed.
 */
#ifndef TOOLS_DEMO_H
#define TOOLS_DEMO_H

#include <stdbool.h>

#include "tools/demo_node.h"

/* Three nodes, kill -9 of the leader and of a follower under load, and the check. 0: all held. */
int demo_story_run(struct demo_nodes *nodes);

/* Three nodes until Ctrl-C. */
int demo_cluster_run(struct demo_nodes *nodes);

/* Ctrl-C or SIGTERM came. */
bool demo_is_interrupted(void);

/* A pause between two looks at something that changes; shorter when a signal comes. */
void demo_poll_pause(void);

/* Until Ctrl-C, SIGTERM or the end of a node, or for a second. */
void demo_wait_signal(void);

enum demo_mood { DEMO_PLAIN, DEMO_BOLD, DEMO_GOOD, DEMO_BAD };

/* One line of the story with the time since the start; colours on a terminal only. */
void demo_say(enum demo_mood mood, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Waits until every node answers and one of them leads. */
struct demo_node *demo_wait_ready(struct demo_nodes *nodes, uint64_t *ret_term);

#endif
