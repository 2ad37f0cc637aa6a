#include <criterion/criterion.h>
#include <stdio.h>

#include "tools/check_load.h"

static struct check_report report;

/* Each event as "process type f value", one a line. */
static enum check_verdict judge(enum check_model_kind kind, const char *const *events)
{
    char text[4096];
    size_t size = 0;
    for (; *events; events++) {
        char process[16], type[16], f[16], value[128], more[64] = "";
        int taken =
            sscanf(*events, "%15s %15s %15s %127[^;];%63[^\n]", process, type, f, value, more);
        cr_assert_geq(taken, 4, "%s", *events);
        size += (size_t)snprintf(text + size, sizeof text - size,
                                 "{:process %s, :type :%s, :f :%s, :value %s%s}\n", process, type,
                                 f, value, more);
        cr_assert_lt(size, sizeof text);
    }
    struct check_calls calls;
    char error[CHECK_LOAD_ERROR_BYTES];
    struct check_wgl_budget budget = check_wgl_budget_usual();
    cr_assert(check_calls_open(&calls));
    cr_assert(check_load(&calls, kind, slice_of(text, size), error), "%s", error);
    enum check_verdict verdict = check_calls_judge(&calls, kind, &budget, &report);
    check_calls_close(&calls);
    return verdict;
}

struct row {
    const char *rule;
    enum check_model_kind kind;
    enum check_verdict verdict;
    const char *events[16];
};

static const struct row rows[] = {
    { "nothing happened", CHECK_CAS_REGISTER, CHECK_VALID, { NULL } },
    { "nil at first",
      CHECK_CAS_REGISTER,
      CHECK_VALID,
      { "0 invoke read nil", "0 ok read nil", NULL } },
    { "stale read",
      CHECK_CAS_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "0 ok write 1", "0 invoke write 2", "0 ok write 2", "1 invoke read nil",
        "1 ok read 1", NULL } },
    { "a read beside the write may see either",
      CHECK_CAS_REGISTER,
      CHECK_VALID,
      { "0 invoke write 1", "1 invoke read nil", "1 ok read nil", "1 invoke read nil",
        "1 ok read 1", "0 ok write 1", NULL } },
    { "but not the new one first",
      CHECK_CAS_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "1 invoke read nil", "1 ok read 1", "1 invoke read nil",
        "1 ok read nil", "0 ok write 1", NULL } },
    { "both of two compares held",
      CHECK_CAS_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "0 ok write 1", "0 invoke cas [1 2]", "1 invoke cas [1 3]",
        "0 ok cas [1 2]", "1 ok cas [1 3]", NULL } },
    { "dirty read of a failed write",
      CHECK_CAS_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "0 fail write 1", "1 invoke read nil", "1 ok read 1", NULL } },
    { "an unknown write may show",
      CHECK_CAS_REGISTER,
      CHECK_VALID,
      { "0 invoke write 1", "0 info write 1", "1 invoke read nil", "1 ok read nil",
        "1 invoke read nil", "1 ok read 1", NULL } },
    { "but only once",
      CHECK_CAS_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "0 info write 1", "1 invoke read nil", "1 ok read 1",
        "1 invoke write 2", "1 ok write 2", "1 invoke read nil", "1 ok read 1", NULL } },
    { "keys are apart",
      CHECK_CAS_REGISTER,
      CHECK_VALID,
      { "0 invoke write [7 1]", "0 ok write [7 1]", "1 invoke read [8 nil]", "1 ok read [8 nil]",
        "1 invoke cas [7 [1 2]]", "1 ok cas [7 [1 2]]", "0 invoke read [7 nil]", "0 ok read [7 2]",
        NULL } },
    { "and one of them is enough to fail",
      CHECK_CAS_REGISTER,
      CHECK_INVALID,
      { "0 invoke write [7 1]", "0 ok write [7 1]", "1 invoke write [8 1]", "1 ok write [8 1]",
        "1 invoke read [8 nil]", "1 ok read [8 nil]", NULL } },
    { "revisions order what overlaps",
      CHECK_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "1 invoke write 2", "0 ok write 1;, :revision 3",
        "1 ok write 2;, :revision 2", "0 invoke read nil", "0 ok read 2;, :revision 3", NULL } },
    { "which the plain register cannot know",
      CHECK_CAS_REGISTER,
      CHECK_VALID,
      { "0 invoke write 1", "1 invoke write 2", "0 ok write 1;, :revision 3",
        "1 ok write 2;, :revision 2", "0 invoke read nil", "0 ok read 2;, :revision 3", NULL } },
    { "time travel: an answer of an older revision",
      CHECK_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "0 ok write 1;, :revision 3", "0 invoke read nil",
        "0 ok read 1;, :revision 2", NULL } },
    { "a revision is used once",
      CHECK_REGISTER,
      CHECK_INVALID,
      { "0 invoke write 1", "0 ok write 1;, :revision 3", "0 invoke write 2",
        "0 ok write 2;, :revision 3", NULL } },
    { "a counter counts",
      CHECK_COUNTER,
      CHECK_VALID,
      { "0 invoke add 2", "1 invoke add 3", "2 invoke read nil", "2 ok read 3", "0 ok add 2",
        "1 ok add 3", "0 invoke read nil", "0 ok read 5", NULL } },
    { "a lost addition",
      CHECK_COUNTER,
      CHECK_INVALID,
      { "0 invoke add 2", "1 invoke add 3", "0 ok add 2", "1 ok add 3", "0 invoke read nil",
        "0 ok read 3", NULL } },
    { "an unknown addition, once at most",
      CHECK_COUNTER,
      CHECK_INVALID,
      { "0 invoke add 2", "0 info add 2", "1 invoke read nil", "1 ok read 4", NULL } },
    { "lists grow",
      CHECK_TXN,
      CHECK_VALID,
      { "0 invoke txn [[:append x 1] [:r y nil]]", "0 ok txn [[:append x 1] [:r y nil]]",
        "1 invoke txn [[:append x 2] [:r x nil]]", "1 ok txn [[:append x 2] [:r x [1 2]]]",
        NULL } },
    { "a duplicated append",
      CHECK_TXN,
      CHECK_INVALID,
      { "0 invoke txn [[:append x 1]]", "0 ok txn [[:append x 1]]", "1 invoke txn [[:r x nil]]",
        "1 ok txn [[:r x [1 1]]]", NULL } },
    { "a lost append",
      CHECK_TXN,
      CHECK_INVALID,
      { "0 invoke txn [[:append x 1]]", "0 ok txn [[:append x 1]]", "1 invoke txn [[:append x 2]]",
        "1 ok txn [[:append x 2]]", "1 invoke txn [[:r x nil]]", "1 ok txn [[:r x [2]]]", NULL } },
    { "half a transaction is seen",
      CHECK_TXN,
      CHECK_INVALID,
      { "0 invoke txn [[:w x 1] [:w y 1]]", "1 invoke txn [[:r x nil] [:r y nil]]",
        "1 ok txn [[:r x 1] [:r y nil]]", "0 ok txn [[:w x 1] [:w y 1]]", NULL } },
    { "write skew is no order",
      CHECK_TXN,
      CHECK_INVALID,
      { "0 invoke txn [[:r x nil] [:w y 1]]", "1 invoke txn [[:r y nil] [:w x 1]]",
        "0 ok txn [[:r x nil] [:w y 1]]", "1 ok txn [[:r y nil] [:w x 1]]", NULL } },
    { "single operations beside transactions",
      CHECK_TXN,
      CHECK_VALID,
      { "0 invoke write [x 1]", "0 ok write [x 1]", "0 invoke cas [x [1 2]]", "0 ok cas [x [1 2]]",
        "1 invoke txn [[:r x nil]]", "1 ok txn [[:r x 2]]", "1 invoke read [x nil]",
        "1 ok read [x 2]", NULL } },
    { "what promises no order is left out",
      CHECK_TXN,
      CHECK_VALID,
      { "0 invoke write [x 1]", "0 ok write [x 1]", "1 invoke read [x nil];, :serializable true",
        "1 ok read [x 9];, :serializable true", "1 invoke read [x nil];, :at-revision 3",
        "1 ok read [x 8];, :at-revision 3", "1 invoke compact 3", "1 ok compact 3",
        ":nemesis info start nil", NULL } },
};

Test(check_load, verdicts)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum check_verdict verdict = judge(rows[i].kind, rows[i].events);
        cr_assert_eq(verdict, rows[i].verdict, "%s: %s", rows[i].rule, report.text);
    }
}

Test(check_load, the_shortest_window_is_shown)
{
    static const char *const events[] = {
        "0 invoke write 1",
        "0 ok write 1",
        "0 invoke write 2",
        "0 ok write 2",
        "0 invoke read nil",
        "0 ok read 2",
        "0 invoke write 3",
        "0 ok write 3",
        "1 invoke read nil",
        "1 ok read 1",
        NULL,
    };
    cr_assert_eq(judge(CHECK_CAS_REGISTER, events), CHECK_INVALID);
    cr_assert_str_eq(report.text, "no place for: at 9 process 1 8..9 read 1\n"
                                  "the shortest run that fails has 2 operations:\n"
                                  "  at 7 process 0 6..7 write 3\n"
                                  "  at 9 process 1 8..9 read 1");
}

Test(check_load, budget_is_kept)
{
    struct check_calls calls;
    char text[1 << 15], error[CHECK_LOAD_ERROR_BYTES];
    size_t size = 0;
    for (int i = 0; i < 60; i++) /* all at once, and what is read at the end nobody wrote */
        size += (size_t)snprintf(text + size, sizeof text - size,
                                 "{:type :invoke :f :write :value %d :process %d}\n", i, i);
    size += (size_t)snprintf(text + size, sizeof text - size,
                             "{:type :invoke :f :read :process 99}"
                             "{:type :ok :f :read :value 77 :process 99}\n");
    static const struct check_wgl_budget budgets[] = {
        { .steps_max = 1000, .memory_bytes = 64 << 20 },
        { .steps_max = UINT64_MAX, .memory_bytes = 1 << 16 },
    };
    for (size_t i = 0; i < 2; i++) {
        cr_assert(check_calls_open(&calls));
        cr_assert(check_load(&calls, CHECK_CAS_REGISTER, slice_of(text, size), error), "%s", error);
        cr_assert_eq(check_calls_judge(&calls, CHECK_CAS_REGISTER, &budgets[i], &report),
                     CHECK_UNKNOWN);
        cr_assert_str_eq(report.rule, "budget exceeded");
        check_calls_close(&calls);
    }
}

Test(check_load, errors_say_where)
{
    static const struct {
        enum check_model_kind kind;
        const char *text;
        const char *error;
    } bad[] = {
        { CHECK_CAS_REGISTER, "1 2", "line 1: an operation is a map" },
        { CHECK_CAS_REGISTER, "\n{:process 0 :f :read}",
          "line 2: the :type is :invoke, :ok, :fail or :info" },
        { CHECK_CAS_REGISTER, "{:process 0 :type :ok :f :read :value 1}",
          "line 1: a completion of nothing that was invoked" },
        { CHECK_CAS_REGISTER,
          "{:process 0 :type :invoke :f :read}\n{:process 0 :type :invoke :f :read}",
          "line 2: the process has not completed what it invoked before" },
        { CHECK_CAS_REGISTER, "{:process 0 :type :invoke :f :add :value 1}",
          "line 1: an :f that this model does not know" },
        { CHECK_CAS_REGISTER, "{:process 0 :type :invoke :f :jump :value 1}",
          "line 1: an :f that this model does not know" },
        { CHECK_CAS_REGISTER, "{:process 0 :type :invoke :f :cas :value 1}",
          "line 1: the value of a :cas is [old new]" },
        { CHECK_CAS_REGISTER, "{:process 0 :type :invoke :f :cas}",
          "line 1: the value of a :cas is [old new]" },
        { CHECK_CAS_REGISTER, "{:process 0 :type :invoke :value 1}",
          "line 1: an operation has a keyword :f" },
        { CHECK_COUNTER, "{:process 0 :type :invoke :f :add :value :x}",
          "line 1: a counter has whole numbers" },
        { CHECK_COUNTER, "{:process 0 :type :invoke :f :add}",
          "line 1: a counter has whole numbers" },
        { CHECK_TXN, "{:process 0 :type :invoke :f :txn}", "line 1: a :txn has a :value" },
        { CHECK_TXN, "{:process 0 :type :invoke :f :txn :value 1}",
          "line 1: the value of a :txn is a row of steps" },
        { CHECK_TXN, "{:process 0 :type :invoke :f :txn :value [[:r 1]]}",
          "line 1: a step of a transaction is [f key value]" },
        { CHECK_TXN, "{:process 0 :type :invoke :f :txn :value [[:x 1 2]]}",
          "line 1: a step of a transaction is :r, :w or :append" },
        { CHECK_TXN, "{:process 0 :type :invoke :f :read}",
          "line 1: an :f that this model does not know" },
        { CHECK_TXN, "{:process 0 :type :invoke", "line 1:1: the form does not end" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct check_calls calls;
        char error[CHECK_LOAD_ERROR_BYTES];
        cr_assert(check_calls_open(&calls));
        cr_assert_not(check_load(&calls, bad[i].kind, slice_of_text(bad[i].text), error), "%s",
                      bad[i].text);
        cr_assert_str_eq(error, bad[i].error, "%s", bad[i].text);
        check_calls_close(&calls);
    }
}
