/* Streams between two hosts without disks: what TCP promises, and how it fails. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/sim/host.h"

enum { SERVER = 1, CLIENT = 2, MS = 1000, BYTES = 300000 };

struct end {
    struct io *io;
    int fd;
    int32_t connected; /* or why not; 1: nothing yet */
    int32_t sent;      /* 1: nothing yet */
    uint8_t *got;
    size_t got_bytes;
    bool is_over;
    int32_t over;
};

static struct sim *sim;
static struct end server, client;
static char scratch[] = "/tmp/holdfast-net-XXXXXX";

static void on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct end *e = owner;
    if (bytes.size == 0) {
        e->is_over = true;
        e->over = result;
        return;
    }
    cr_assert_leq(e->got_bytes + bytes.size, BYTES);
    memcpy(e->got + e->got_bytes, bytes.data, bytes.size);
    e->got_bytes += bytes.size;
}

static void on_sent(void *owner, int32_t result)
{
    ((struct end *)owner)->sent = result;
}

static void begin_recv(struct end *e)
{
    cr_assert_eq(e->io->ops->recv(e->io, e->fd, on_recv, e, NULL), 0);
}

static void on_accept(void *owner, int fd)
{
    struct end *e = owner;
    if (fd < 0)
        return;
    e->fd = fd;
    begin_recv(e);
}

static void on_connected(void *owner, int32_t result)
{
    struct end *e = owner;
    e->connected = result;
    if (result < 0)
        return;
    e->fd = result;
    begin_recv(e);
}

static void end_init(struct end *e, uint32_t host)
{
    *e = (struct end){ .io = sim_host_io(&sim->hosts[host]), .fd = -1, .connected = 1, .sent = 1 };
    e->got = malloc(BYTES);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(scratch));
    sim = sim_new(&(struct sim_options){
        .seed = 1, .node_count = 1, .client_host_count = 2, .scratch = scratch });
    end_init(&server, SERVER);
    end_init(&client, CLIENT);
}

static void teardown(void)
{
    sim_free(sim);
    free(server.got);
    free(client.got);
    rmdir(scratch);
}

TestSuite(net, .init = setup, .fini = teardown);

static void pass(uint64_t ms)
{
    sim_run_until(sim, sim->now_us + ms * MS);
}

static void begin_connect(void)
{
    const struct io_addr *addr = &sim->hosts[SERVER].client_addr;
    cr_assert_eq(client.io->ops->connect(client.io, addr, on_connected, &client, NULL), 0);
}

static void listen_and_connect(void)
{
    const struct io_addr *addr = &sim->hosts[SERVER].client_addr;
    int fd = server.io->ops->listen(server.io, addr, NULL);
    cr_assert_geq(fd, 0);
    cr_assert_eq(server.io->ops->accept(server.io, fd, on_accept, &server, NULL), 0);
    begin_connect();
    pass(10);
    cr_assert_geq(client.connected, 0);
    cr_assert_geq(server.fd, 0);
}

static void begin_send(struct end *e, struct slice bytes)
{
    cr_assert_eq(e->io->ops->send(e->io, e->fd, bytes, on_sent, e, NULL), 0);
}

Test(net, bytes_come_whole_and_in_order)
{
    listen_and_connect();
    static uint8_t bytes[BYTES];
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    begin_send(&client, slice_of(bytes, BYTES));
    pass(100);
    cr_assert_eq(client.sent, BYTES);
    cr_assert_eq(server.got_bytes, BYTES);
    cr_assert_arr_eq(server.got, bytes, BYTES);
}

Test(net, a_host_without_a_listener_refuses)
{
    begin_connect();
    pass(10);
    cr_assert_eq(client.connected, -ECONNREFUSED);
}

Test(net, a_host_without_power_says_nothing)
{
    sim->hosts[SERVER].has_power = false;
    begin_connect();
    pass(10000);
    cr_assert_eq(client.connected, 1, "no answer at all");
    pass(200000);
    cr_assert_eq(client.connected, -ETIMEDOUT);
}

Test(net, a_close_is_the_end_of_the_stream_behind_all_bytes)
{
    listen_and_connect();
    begin_send(&client, slice_of_text("bye"));
    client.io->ops->shutdown(client.io, client.fd);
    pass(20);
    cr_assert_eq(server.got_bytes, 3);
    cr_assert(server.is_over && server.over == 0);
}

Test(net, a_partition_holds_bytes_back_until_it_ends)
{
    listen_and_connect();
    sim_net_link(&sim->net, CLIENT, SERVER)->blocked = 1;
    begin_send(&client, slice_of_text("later"));
    pass(3000);
    cr_assert_eq(server.got_bytes, 0);
    sim_net_link(&sim->net, CLIENT, SERVER)->blocked = 0;
    pass(7000);
    cr_assert_eq(server.got_bytes, 5);
}

Test(net, one_way_may_be_cut_alone)
{
    listen_and_connect();
    sim_net_link(&sim->net, SERVER, CLIENT)->blocked = 1;
    begin_send(&client, slice_of_text("there"));
    begin_send(&server, slice_of_text("back"));
    pass(1000);
    cr_assert_eq(server.got_bytes, 5);
    cr_assert_eq(client.got_bytes, 0);
}

Test(net, a_reset_is_seen_by_both)
{
    listen_and_connect();
    sim_net_reset(&sim->net, CLIENT, SERVER);
    pass(10);
    cr_assert(client.is_over && client.over == -ECONNRESET);
    cr_assert(server.is_over && server.over == -ECONNRESET);
}

Test(net, a_process_that_is_gone_ends_its_connections_a_host_without_power_does_not)
{
    listen_and_connect();
    sim_net_proc_gone(sim->hosts[SERVER].proc, false);
    pass(1000);
    cr_assert_not(client.is_over);
    begin_send(&client, slice_of_text("anybody?"));
    pass(1000);
    cr_assert(client.is_over && client.over == -ECONNRESET, "the host is back, and knows it not");
}

Test(net, a_kernel_says_goodbye_for_its_process)
{
    listen_and_connect();
    sim_net_proc_gone(sim->hosts[SERVER].proc, true);
    pass(1000);
    cr_assert(client.is_over && client.over == 0);
    begin_connect();
    pass(10);
    cr_assert_eq(client.connected, -ECONNREFUSED);
}
