#include <criterion/criterion.h>
#include <stdlib.h>

#include "tools/ctl_print.h"

/* Golden texts, as etcdctl printed them for the same responses. */

static Etcdserverpb__ResponseHeader header;
static Mvccpb__KeyValue pair;
static Mvccpb__KeyValue *pairs[] = { &pair };

static void fixtures_init(void)
{
    header = (Etcdserverpb__ResponseHeader)ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.cluster_id = 0x2f27;
    header.member_id = UINT64_MAX;
    header.revision = 5;
    header.raft_term = 2;
    pair = (Mvccpb__KeyValue)MVCCPB__KEY_VALUE__INIT;
    pair.key = (ProtobufCBinaryData){ .len = 2, .data = (uint8_t *)"k\"" };
    pair.value = (ProtobufCBinaryData){ .len = 3, .data = (uint8_t *)"v\0\xff" };
    pair.create_revision = 3;
    pair.mod_revision = 4;
    pair.version = 2;
    pair.lease = 31;
}

struct sink {
    struct ctl_out out;
    char *text;
    size_t size;
    char *errors;
    size_t errors_size;
};

static void sink_open(struct sink *s)
{
    *s = (struct sink){ 0 };
    s->out.file = open_memstream(&s->text, &s->size);
    s->out.errors = open_memstream(&s->errors, &s->errors_size);
}

/* Compares with what was printed since the last time. */
static void sink_expect(struct sink *s, const char *expected, size_t size)
{
    fflush(s->out.file);
    cr_assert(slice_equal(slice_of(s->text, s->size), slice_of(expected, size)), "printed: %s",
              s->text);
    rewind(s->out.file);
}

#define EXPECT(s, expected) sink_expect(s, expected, sizeof(expected) - 1)

static void sink_close(struct sink *s)
{
    fclose(s->out.file);
    fclose(s->out.errors);
    free(s->text);
    free(s->errors);
}

Test(print, get)
{
    struct sink s;
    Etcdserverpb__RangeResponse r = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    fixtures_init();
    r.header = &header;
    r.kvs = pairs;
    r.n_kvs = 1;
    r.more = true;
    r.count = 9;
    sink_open(&s);
    ctl_printer_simple.get(&s.out, &r);
    EXPECT(&s, "k\"\nv\0\xff\n");
    s.out.values_only = true;
    ctl_printer_simple.get(&s.out, &r);
    EXPECT(&s, "v\0\xff\n");
    s.out = (struct ctl_out){ .file = s.out.file, .errors = s.out.errors, .hex = true };
    ctl_printer_simple.get(&s.out, &r);
    EXPECT(&s, "\\x6b\\x22\n\\x76\\x00\\xff\n");
    s.out.hex = false;
    ctl_printer_json.get(&s.out, &r);
    EXPECT(&s,
           "{\"header\":{\"cluster_id\":12071,\"member_id\":18446744073709551615,\"revision\":5,"
           "\"raft_term\":2},\"kvs\":[{\"key\":\"ayI=\",\"create_revision\":3,"
           "\"mod_revision\":4,\"version\":2,\"value\":\"dgD/\",\"lease\":31}],\"more\":true,"
           "\"count\":9}\n");
    ctl_printer_fields.get(&s.out, &r);
    EXPECT(&s, "\"ClusterID\" : 12071\n\"MemberID\" : 18446744073709551615\n\"Revision\" : 5\n"
               "\"RaftTerm\" : 2\n\"Key\" : \"k\\\"\"\n\"CreateRevision\" : 3\n"
               "\"ModRevision\" : 4\n\"Version\" : 2\n\"Value\" : \"v\\x00\\xff\"\n"
               "\"Lease\" : 31\n\"More\" : true\n\"Count\" : 9\n");
    cr_assert_null(ctl_printer_table.get);
    sink_close(&s);
}

Test(print, what_is_zero_is_left_out_of_json)
{
    struct sink s;
    Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__DeleteRangeResponse del = ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT;
    sink_open(&s);
    ctl_printer_json.get(&s.out, &range);
    EXPECT(&s, "{}\n");
    ctl_printer_json.del(&s.out, &del);
    EXPECT(&s, "{}\n");
    ctl_printer_simple.del(&s.out, &del);
    EXPECT(&s, "0\n");
    ctl_printer_json.endpoint_status(&s.out, NULL, 0);
    EXPECT(&s, "[]\n");
    sink_close(&s);
}

Test(print, put_and_del_with_previous)
{
    struct sink s;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    Etcdserverpb__DeleteRangeResponse del = ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT;
    fixtures_init();
    put.prev_kv = &pair;
    del.deleted = 1;
    del.prev_kvs = pairs;
    del.n_prev_kvs = 1;
    sink_open(&s);
    ctl_printer_simple.put(&s.out, &put);
    EXPECT(&s, "OK\nk\"\nv\0\xff\n");
    ctl_printer_simple.del(&s.out, &del);
    EXPECT(&s, "1\nk\"\nv\0\xff\n");
    ctl_printer_json.put(&s.out, &put);
    EXPECT(&s, "{\"prev_kv\":{\"key\":\"ayI=\",\"create_revision\":3,\"mod_revision\":4,"
               "\"version\":2,\"value\":\"dgD/\",\"lease\":31}}\n");
    s.out.hex = true;
    ctl_printer_fields.del(&s.out, &del);
    EXPECT(&s, "\"ClusterID\" : 0\n\"MemberID\" : 0\n\"Revision\" : 0\n\"RaftTerm\" : 0\n"
               "\"Deleted\" : 1\n\"PrevKey\" : \"k\\\"\"\n\"PrevCreateRevision\" : 3\n"
               "\"PrevModRevision\" : 4\n\"PrevVersion\" : 2\n\"PrevValue\" : \"v\\x00\\xff\"\n"
               "\"PrevLease\" : 000000000000001f\n");
    sink_close(&s);
}

Test(print, txn)
{
    struct sink s;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseOp ops[] = { ETCDSERVERPB__RESPONSE_OP__INIT,
                                       ETCDSERVERPB__RESPONSE_OP__INIT };
    Etcdserverpb__ResponseOp *pointers[] = { &ops[0], &ops[1] };
    Etcdserverpb__TxnResponse r = ETCDSERVERPB__TXN_RESPONSE__INIT;
    fixtures_init();
    ops[0].response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    ops[0].response_put = &put;
    ops[1].response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    ops[1].response_range = &range;
    range.kvs = pairs;
    range.n_kvs = 1;
    r.succeeded = true;
    r.responses = pointers;
    r.n_responses = 2;
    sink_open(&s);
    ctl_printer_simple.txn(&s.out, &r);
    EXPECT(&s, "SUCCESS\n\nOK\n\nk\"\nv\0\xff\n");
    r.n_responses = 1;
    ctl_printer_json.txn(&s.out, &r);
    EXPECT(&s, "{\"succeeded\":true,\"responses\":[{\"Response\":{\"ResponsePut\":{}}}]}\n");
    r.n_responses = 0;
    r.succeeded = false;
    ctl_printer_simple.txn(&s.out, &r);
    EXPECT(&s, "FAILURE\n");
    sink_close(&s);
}

Test(print, members)
{
    struct sink s;
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT;
    Etcdserverpb__Member *members[] = { &member };
    Etcdserverpb__MemberListResponse r = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    char *peers[] = { (char[]){ "http://p:1" } };
    char *clients[] = { (char[]){ "http://c:1" }, (char[]){ "http://c:2" } };
    fixtures_init();
    header.revision = 0;
    member.id = 0xabc;
    member.name = (char[]){ "n1" };
    member.peerurls = peers;
    member.n_peerurls = 1;
    member.clienturls = clients;
    member.n_clienturls = 2;
    r.header = &header;
    r.members = members;
    r.n_members = 1;
    sink_open(&s);
    ctl_printer_simple.member_list(&s.out, &r);
    EXPECT(&s, "abc, started, n1, http://p:1, http://c:1,http://c:2, false\n");
    ctl_printer_table.member_list(&s.out, &r);
    EXPECT(&s, "+-----+---------+------+------------+-----------------------+------------+\n"
               "| ID  | STATUS  | NAME | PEER ADDRS |     CLIENT ADDRS      | IS LEARNER |\n"
               "+-----+---------+------+------------+-----------------------+------------+\n"
               "| abc | started |   n1 | http://p:1 | http://c:1,http://c:2 |      false |\n"
               "+-----+---------+------+------------+-----------------------+------------+\n");
    s.out.hex = true;
    ctl_printer_json.member_list(&s.out, &r);
    EXPECT(&s, "{\"header\":{\"cluster_id\":\"2f27\",\"member_id\":\"ffffffffffffffff\","
               "\"raft_term\":2},\"members\":[{\"ID\":\"abc\",\"name\":\"n1\","
               "\"peerURLs\":[\"http://p:1\"],\"clientURLs\":[\"http://c:1\",\"http://c:2\"]}]}\n");
    sink_close(&s);
}

Test(print, status)
{
    struct sink s;
    Etcdserverpb__StatusResponse status = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    fixtures_init();
    status.header = &header;
    status.version = (char[]){ "3.7.0" };
    status.dbsize = 20480;
    status.leader = UINT64_MAX;
    status.raftindex = 11;
    status.raftterm = 2;
    status.raftappliedindex = 10;
    status.storageversion = (char[]){ "3.7" };
    status.dbsizeinuse = 16384;
    status.dbsizequota = 7;
    const struct ctl_endpoint_result result = { .endpoint = "c:1",
                                                .response = &status.base,
                                                .error = "" };
    sink_open(&s);
    ctl_printer_simple.endpoint_status(&s.out, &result, 1);
    EXPECT(&s, "c:1, ffffffffffffffff, 3.7.0, 20 kB, true, false, 2, 11, 10, \n");
    ctl_printer_json.endpoint_status(&s.out, &result, 1);
    EXPECT(&s, "[{\"Endpoint\":\"c:1\",\"Status\":{\"header\":{\"cluster_id\":12071,"
               "\"member_id\":18446744073709551615,\"revision\":5,\"raft_term\":2},"
               "\"version\":\"3.7.0\",\"dbSize\":20480,\"leader\":18446744073709551615,"
               "\"raftIndex\":11,\"raftTerm\":2,\"raftAppliedIndex\":10,\"dbSizeInUse\":16384,"
               "\"storageVersion\":\"3.7\",\"dbSizeQuota\":7}}]\n");
    sink_close(&s);
}

Test(print, health)
{
    struct sink s;
    const struct ctl_endpoint_result results[] = {
        { .endpoint = "c:1", .error = "", .took_ns = 1500000 },
        { .endpoint = "c:2", .error = "no", .took_ns = 0 },
    };
    sink_open(&s);
    ctl_printer_simple.endpoint_health(&s.out, results, 2);
    EXPECT(&s, "c:1 is healthy: successfully committed proposal: took = 1.5ms\n");
    fflush(s.out.errors);
    cr_assert_str_eq(s.errors, "c:2 is unhealthy: failed to commit proposal: no\n");
    ctl_printer_json.endpoint_health(&s.out, results, 2);
    EXPECT(&s, "[{\"endpoint\":\"c:1\",\"health\":true,\"took\":\"1.5ms\"},"
               "{\"endpoint\":\"c:2\",\"health\":false,\"took\":\"0s\",\"error\":\"no\"}]\n");
    sink_close(&s);
}
