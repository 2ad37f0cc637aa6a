#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/demo.h"

static const uint16_t usual_ports[DEMO_NODE_COUNT] = { 2379, 22379, 32379 };

static void introduce(const struct demo_nodes *nodes, const struct demo_node *leader)
{
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        const struct demo_node *node = &nodes->items[i];
        demo_say(DEMO_PLAIN, "%s  http://%s  log: %s", node->name, node->endpoint, node->log_path);
        if (node->client_port != usual_ports[i])
            demo_say(DEMO_BOLD, "    port %u was taken", usual_ports[i]);
    }
    demo_say(DEMO_GOOD, "%s leads. Try:", leader->name);
    printf("\n    export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=%s,%s,%s\n", nodes->items[0].endpoint,
           nodes->items[1].endpoint, nodes->items[2].endpoint);
    /* This program's neighbour in the build directory. */
    size_t size = strlen(nodes->server);
    static const char daemon[] = "holdfastd";
    bool is_ours =
        size >= strlen(daemon) && strcmp(nodes->server + size - strlen(daemon), daemon) == 0;
    const char *ctl = is_ours ? "build/holdfastctl" : "etcdctl";
    printf("    %s put greeting hello && %s get greeting\n    %s endpoint status -w table\n\n"
           "Ctrl-C stops all three.\n",
           ctl, ctl, ctl);
    fflush(stdout);
}

int demo_cluster_run(struct demo_nodes *nodes)
{
    uint64_t term = 0;
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        if (!demo_node_start(nodes, &nodes->items[i]))
            return EXIT_FAILURE;
    }
    struct demo_node *leader = demo_wait_ready(nodes, &term);
    if (leader == NULL)
        return demo_is_interrupted() ? EXIT_SUCCESS : EXIT_FAILURE;
    introduce(nodes, leader);
    while (!demo_is_interrupted()) {
        for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
            struct demo_node *node = &nodes->items[i];
            /* Somebody may have killed it to see what happens; the others go on. */
            if (node->pid != 0 && !demo_node_is_alive(node))
                demo_say(DEMO_BAD, "%s is gone; the others go on", node->name);
        }
        demo_wait_signal();
    }
    demo_say(DEMO_PLAIN, "stopping");
    return EXIT_SUCCESS;
}
