#include "base/log_limit.h"

#include "base/checksum.h"

bool log_limit_passes(struct log_limit *limit, struct slice text, uint64_t now_ms)
{
    uint64_t sum = checksum(text, 0);
    bool is_same = limit->count > 0 && sum == limit->text_sum;
    if (is_same && now_ms - limit->told_ms < LOG_LIMIT_MS)
        return false;
    if (limit->count == 0 || now_ms - limit->minute_ms >= LOG_LIMIT_MS) {
        limit->minute_ms = now_ms;
        limit->count = 0;
    }
    if (limit->count == LOG_LIMIT_PER_MINUTE)
        return false;
    limit->count++;
    limit->text_sum = sum;
    limit->told_ms = now_ms;
    return true;
}
