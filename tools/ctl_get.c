#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "tools/ctl.h"

struct choice {
    const char *name;
    int value;
};

static const struct choice orders[] = {
    { "ASCEND", ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND },
    { "DESCEND", ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND },
    { "", ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE },
};

static const struct choice targets[] = {
    { "CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE },
    { "KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY },
    { "MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD },
    { "VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE },
    { "VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION },
    { "", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY },
};

static bool choice_find(const struct choice *choices, size_t count, const struct ctl_value *value,
                        const char *what, int *ret_value, struct ctl_error *ret_error)
{
    const char *text = (const char *)value->text.data;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(text, choices[i].name) == 0) {
            *ret_value = choices[i].value;
            return true;
        }
    }
    return ctl_fail(ret_error, CTL_EXIT_BAD_FEATURE, "bad sort %s %s", what, text);
}

static bool sort_parse(const struct ctl_value *values, Etcdserverpb__RangeRequest *request,
                       struct ctl_error *ret_error)
{
    int order = 0;
    int target = 0;
    if (!choice_find(orders, sizeof orders / sizeof orders[0], &values[CTL_FLAG_GET_ORDER], "order",
                     &order, ret_error) ||
        !choice_find(targets, sizeof targets / sizeof targets[0], &values[CTL_FLAG_GET_SORT_BY],
                     "target", &target, ret_error))
        return false;
    /* Ascending keys are the order they come in; asked for, a server would sort all of them. */
    if (target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
        order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND)
        order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    request->sort_order = (Etcdserverpb__RangeRequest__SortOrder)order;
    request->sort_target = (Etcdserverpb__RangeRequest__SortTarget)target;
    return true;
}

static int64_t positive(const struct ctl_value *value)
{
    return value->number > 0 ? value->number : 0;
}

static bool revisions_parse(const struct ctl_value *values, Etcdserverpb__RangeRequest *request,
                            struct ctl_error *ret_error)
{
    request->min_create_revision = positive(&values[CTL_FLAG_GET_MIN_CREATE]);
    request->max_create_revision = positive(&values[CTL_FLAG_GET_MAX_CREATE]);
    request->min_mod_revision = positive(&values[CTL_FLAG_GET_MIN_MOD]);
    request->max_mod_revision = positive(&values[CTL_FLAG_GET_MAX_MOD]);
    if (request->max_create_revision > 0 &&
        request->min_create_revision > request->max_create_revision)
        return ctl_fail(ret_error, CTL_EXIT_BAD_FEATURE,
                        "getMinCreateRev(=%" PRId64 ") > getMaxCreateRev(=%" PRId64 ")",
                        request->min_create_revision, request->max_create_revision);
    if (request->max_mod_revision > 0 && request->min_mod_revision > request->max_mod_revision)
        return ctl_fail(ret_error, CTL_EXIT_BAD_FEATURE,
                        "getMinModRev(=%" PRId64 ") > getMaxModRev(=%" PRId64 ")",
                        request->min_mod_revision, request->max_mod_revision);
    return true;
}

bool ctl_get_parse(const struct ctl_args *args, struct ctl_get_request *ret_get,
                   struct ctl_error *ret_error)
{
    const struct ctl_value *values = args->values;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    uint8_t *owned = NULL;
    bool serializable = false;
    if (args->argument_count == 0 || args->argument_count > 2)
        return ctl_fail(
            ret_error, CTL_EXIT_BAD_ARGS,
            "get command needs one argument as key and an optional argument as range_end");
    request.keys_only = values[CTL_FLAG_GET_KEYS_ONLY].is_true;
    request.count_only = values[CTL_FLAG_GET_COUNT_ONLY].is_true;
    if (request.keys_only && request.count_only)
        return ctl_fail(
            ret_error, CTL_EXIT_BAD_ARGS,
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    if (!ctl_consistency_parse(values[CTL_FLAG_GET_CONSISTENCY].text, &serializable, ret_error) ||
        !sort_parse(values, &request, ret_error) || !revisions_parse(values, &request, ret_error) ||
        !ctl_range_parse(args, values[CTL_FLAG_GET_PREFIX].is_true,
                         values[CTL_FLAG_GET_FROM_KEY].is_true, &request.key, &request.range_end,
                         &owned, ret_error))
        return false;
    request.serializable = serializable;
    request.limit = values[CTL_FLAG_GET_LIMIT].number;
    request.revision = positive(&values[CTL_FLAG_GET_REV]);
    ret_get->request = request;
    ret_get->range_end = owned;
    return true;
}

static bool formats_fit(const struct ctl *ctl, struct ctl_error *ret_error)
{
    const struct ctl_value *values = ctl->args.values;
    if (!ctl_format_check(ctl, ctl->printer->get != NULL, ret_error))
        return false;
    if (values[CTL_FLAG_GET_COUNT_ONLY].is_true && ctl->printer != &ctl_printer_fields)
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS,
                        "--count-only is only for `--write-out=fields`");
    if (values[CTL_FLAG_GET_VALUE_ONLY].is_true && ctl->printer != &ctl_printer_simple)
        return ctl_fail(ret_error, CTL_EXIT_BAD_ARGS,
                        "print-value-only is only for `--write-out=simple`");
    return true;
}

enum ctl_exit ctl_get_run(struct ctl *ctl)
{
    struct ctl_error error;
    struct ctl_get_request get = { 0 };
    ProtobufCMessage *response = NULL;
    bool ok = ctl_get_parse(&ctl->args, &get, &error) && formats_fit(ctl, &error) &&
              ctl_call(ctl, &client_kv_range, &get.request.base, &response, &error);
    free(get.range_end);
    if (!ok)
        return ctl_report(ctl, &error);
    ctl->out.values_only = ctl->args.values[CTL_FLAG_GET_VALUE_ONLY].is_true;
    ctl->printer->get(&ctl->out, (const Etcdserverpb__RangeResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return CTL_EXIT_SUCCESS;
}
