/* ctl_print.h: responses in etcdctl's output formats, one printer a format.
 *
 * The reference is etcdctl 3.4 to 3.6: names, order and layout are what scripts parse. Where its
 * releases differ, the columns are 3.4's and the JSON names 3.5's and later.
 *
 * Thread: any. The stream keeps its error until the program's end.
 */
#ifndef TOOLS_CTL_PRINT_H
#define TOOLS_CTL_PRINT_H

#include <stdio.h>

#include "base/slice.h"
#include "rpc.pb-c.h"

struct ctl_out {
    FILE *file;
    FILE *errors; /* where a simple unhealthy line goes */
    bool hex;
    bool values_only; /* simple format: no keys */
};

/* What one endpoint answered. Views; the response may be NULL where health alone is asked. */
struct ctl_endpoint_result {
    const char *endpoint;
    const ProtobufCMessage *response; /* StatusResponse or HashKVResponse */
    const char *error;                /* "": none */
    uint64_t took_ns;
};

/* A NULL member: this format has no form for that response. */
struct ctl_printer {
    const char *name;
    void (*put)(const struct ctl_out *out, const Etcdserverpb__PutResponse *r);
    void (*get)(const struct ctl_out *out, const Etcdserverpb__RangeResponse *r);
    void (*del)(const struct ctl_out *out, const Etcdserverpb__DeleteRangeResponse *r);
    void (*txn)(const struct ctl_out *out, const Etcdserverpb__TxnResponse *r);
    void (*member_list)(const struct ctl_out *out, const Etcdserverpb__MemberListResponse *r);
    void (*endpoint_health)(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                            size_t count);
    void (*endpoint_status)(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                            size_t count);
    void (*endpoint_hashkv)(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                            size_t count);
};

extern const struct ctl_printer ctl_printer_simple;
extern const struct ctl_printer ctl_printer_json;
extern const struct ctl_printer ctl_printer_fields;
extern const struct ctl_printer ctl_printer_table;

static inline struct slice slice_of_pb(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

#endif
