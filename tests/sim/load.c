#include "tests/sim/load.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc.pb-c.h"
#include "tests/sim/client.h"

enum { KEYS = 1000, REQUEST_BYTES = 512, CALLS_A_CLIENT = 16 };

struct caller {
    struct load *load;
    struct sim_client *client;
    struct sim_call call;
    struct timer timer;
    uint8_t request[REQUEST_BYTES];
    struct prng chance;
    bool is_busy;
};

struct load {
    struct sim *sim;
    struct io *io;
    struct caller *callers;
    struct sim_client **clients;
    uint32_t caller_count;
    uint32_t client_count;
    uint32_t think_ms;
    uint32_t closed;
    bool is_stopping;
    uint64_t ops;
};

static void begin(void *owner);

static void on_done(void *owner, struct sim_call *call)
{
    struct caller *c = owner;
    struct load *l = c->load;
    c->is_busy = false;
    if (call->outcome == SIM_ANSWERED && call->status == GRPC_OK)
        l->ops++;
    if (l->is_stopping)
        return;
    if (l->think_ms == 0 && call->outcome == SIM_ANSWERED)
        begin(c);
    else
        io_timer_set(l->io, &c->timer,
                     io_now_ms(l->io) + 1 + prng_below(&c->chance, 2 * l->think_ms + 100));
}

static void begin(void *owner)
{
    struct caller *c = owner;
    if (c->load->is_stopping)
        return;
    char key[32], value[64];
    snprintf(key, sizeof key, "key-%06lu", (unsigned long)prng_below(&c->chance, KEYS));
    snprintf(value, sizeof value, "value-%016lx", (unsigned long)prng_next(&c->chance));
    size_t size;
    if (prng_below(&c->chance, 2)) {
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = (ProtobufCBinaryData){ strlen(key), (uint8_t *)key };
        put.value = (ProtobufCBinaryData){ strlen(value), (uint8_t *)value };
        size = protobuf_c_message_pack(&put.base, c->request);
        c->call.path = "/etcdserverpb.KV/Put";
    } else {
        Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
        get.key = (ProtobufCBinaryData){ strlen(key), (uint8_t *)key };
        size = protobuf_c_message_pack(&get.base, c->request);
        c->call.path = "/etcdserverpb.KV/Range";
    }
    c->call.request = slice_of(c->request, size);
    c->call.timeout_ms = 5000;
    c->call.done = on_done;
    c->call.owner = c;
    c->is_busy = sim_client_call(c->client, &c->call);
    if (!c->is_busy)
        io_timer_set(c->load->io, &c->timer, io_now_ms(c->load->io) + 10);
}

struct load *load_open(struct sim *sim, uint32_t clients, uint32_t think_ms)
{
    struct load *l = calloc(1, sizeof *l);
    l->sim = sim;
    l->think_ms = think_ms;
    l->io = sim_host_io(&sim->hosts[sim->options.node_count]);
    l->caller_count = clients;
    l->client_count = (clients + CALLS_A_CLIENT - 1) / CALLS_A_CLIENT;
    l->callers = calloc(clients, sizeof *l->callers);
    l->clients = calloc(l->client_count, sizeof *l->clients);
    struct io_addr addrs[SIM_NODES_MAX];
    for (uint32_t i = 0; i < sim->options.node_count; i++)
        addrs[i] = sim->hosts[i].client_addr;
    for (uint32_t i = 0; i < l->client_count; i++)
        l->clients[i] = sim_client_open(&(struct sim_client_options){
            .io = l->io,
            .endpoints = addrs,
            .endpoint_count = sim->options.node_count,
            .endpoint_first = i % sim->options.node_count,
            .connect_timeout_ms = 1000,
            .pause_min_ms = 50,
            .pause_max_ms = 1000,
            .calls_max = CALLS_A_CLIENT,
            .response_bytes_max = 1 << 20,
        });
    for (uint32_t i = 0; i < clients; i++) {
        struct caller *c = &l->callers[i];
        c->load = l;
        c->client = l->clients[i / CALLS_A_CLIENT];
        c->chance = sim_chance(sim, SIM_CHANCE_RANDOM, 1000000, i);
        timer_init(&c->timer, begin, c);
        io_timer_set(l->io, &c->timer, io_now_ms(l->io) + 500 + prng_below(&c->chance, 100));
    }
    return l;
}

void load_stop(struct load *l)
{
    l->is_stopping = true;
}

bool load_is_drained(const struct load *l)
{
    for (uint32_t i = 0; i < l->caller_count; i++) {
        if (l->callers[i].is_busy)
            return false;
    }
    return true;
}

uint64_t load_ops(const struct load *l)
{
    return l->ops;
}

static void on_closed(void *owner)
{
    ((struct load *)owner)->closed++;
}

void load_close(struct load *l)
{
    l->is_stopping = true;
    for (uint32_t i = 0; i < l->client_count; i++)
        sim_client_close(l->clients[i], on_closed, l);
    for (int i = 0; i < 1000 && l->closed < l->client_count; i++)
        sim_run_until(l->sim, l->sim->now_us + 100000);
    for (uint32_t i = 0; i < l->caller_count; i++) {
        io_timer_cancel(l->io, &l->callers[i].timer);
        sim_call_done(&l->callers[i].call);
    }
    free(l->callers);
    free(l->clients);
    free(l);
}
