#include "tools/check_judge.h"

#include "tools/check_keys.h"
#include "tools/check_revision.h"

static bool has_unknown(const struct check_history *h)
{
    for (size_t i = 0; i < h->op_count; i++) {
        if (h->ops[i].end == CHECK_INFO || h->ops[i].end == CHECK_OPEN)
            return true;
    }
    return false;
}

enum check_verdict check_judge(const struct check_history *h, int64_t base_revision,
                               const struct check_wgl_budget *budget,
                               struct check_report *ret_report)
{
    struct check_calls calls;
    enum check_verdict verdict = check_revision(h, base_revision, ret_report);
    if (verdict != CHECK_VALID || !has_unknown(h))
        return verdict;
    bool is_loaded = check_calls_open(&calls) && check_keys_load(&calls, h);
    if (is_loaded)
        verdict = check_calls_judge(&calls, CHECK_REGISTER, budget, ret_report);
    check_calls_close(&calls);
    if (is_loaded)
        return verdict;
    *ret_report = (struct check_report){ .verdict = CHECK_UNKNOWN,
                                         .rule = "not cut into keys",
                                         .op = UINT32_MAX };
    return CHECK_UNKNOWN;
}
