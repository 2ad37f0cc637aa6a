/* put_latency: one client, one put of 256 bytes in flight, to one endpoint.
 *
 *   put_latency ENDPOINT [ROUNDS]
 *
 * Prints the median and the 99th percentile in microseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rpc.pb-c.h"
#include "tools/client.h"

enum { VALUE_BYTES = 256, ROUNDS_DEFAULT = 2000, WARM_UP_ROUNDS = 100 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bool put_once(struct client *client, double *ret_us)
{
    static uint8_t value[VALUE_BYTES];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){ 7, (uint8_t *)"latency" };
    put.value = (ProtobufCBinaryData){ VALUE_BYTES, value };
    ProtobufCMessage *response;
    struct client_error error;
    double start = now_us();
    if (!client_call(client, &client_kv_put, &put.base, &response, &error)) {
        fprintf(stderr, "put_latency: %s\n", error.message);
        return false;
    }
    *ret_us = now_us() - start;
    protobuf_c_message_free_unpacked(response, NULL);
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: put_latency ENDPOINT [ROUNDS]\n");
        return 2;
    }
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    struct client_options options = {
        .endpoints = (const char *const[]){ argv[1] },
        .endpoint_count = 1,
        .dial_timeout_ms = 2000,
        .call_timeout_ms = 10000,
        .receive_bytes_max = 1 << 20,
    };
    struct client *client;
    struct client_error error;
    if (rounds < 1 || !client_open(&client, &options, &error))
        return 2;
    double *us = calloc((size_t)rounds, sizeof *us);
    bool ok = us != NULL;
    double unused;
    for (int i = 0; ok && i < WARM_UP_ROUNDS; i++)
        ok = put_once(client, &unused);
    for (long i = 0; ok && i < rounds; i++)
        ok = put_once(client, &us[i]);
    if (ok) {
        qsort(us, (size_t)rounds, sizeof *us, compare);
        printf("put median %.0f us, p99 %.0f us\n", us[rounds / 2], us[rounds * 99 / 100]);
    }
    free(us);
    client_close(client);
    return ok ? 0 : 1;
}
