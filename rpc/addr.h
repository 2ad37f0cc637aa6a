/* addr.h: etcd's URLs and where they point: http://host:port, https://host:port.
 *
 * Thread: any. addr_parse_url resolves nothing; addr_resolve blocks: before the loop or in a job.
 */
#ifndef RPC_ADDR_H
#define RPC_ADDR_H

#include "base/io.h"

enum { ADDR_HOST_BYTES_MAX = 256, ADDR_TEXT_BYTES_MAX = 300 };

struct addr_url {
    bool tls;                       /* https */
    char host[ADDR_HOST_BYTES_MAX]; /* without the brackets of an IPv6 address */
    uint16_t port;
};

/* False when it is no such URL; *ret_why then says what is wrong, in static text. */
bool addr_parse_url(struct slice text, struct addr_url *ret_url, const char **ret_why);

/* host is a name or an address; of what the system resolves it to the first IPv4
 * address, else the first IPv6 one, as Go does for etcd. 0, or an EAI_ code for
 * gai_strerror. */
int addr_resolve(const struct addr_url *url, struct io_addr *ret_addr);

/* "127.0.0.1:2379", "[::1]:2379". Returns text. */
char *addr_format(const struct io_addr *addr, char text[ADDR_TEXT_BYTES_MAX]);

uint16_t addr_port(const struct io_addr *addr);

#endif
