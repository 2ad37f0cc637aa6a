#include "tests/sim/minimise.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/many.h"

static bool fails(const struct run_options *options, struct run_result *ret_result)
{
    return !many_run_one(options, true, ret_result);
}

static bool is_left_out(const struct run_options *o, uint32_t fault)
{
    for (uint32_t i = 0; i < o->left_out_count; i++) {
        if (o->left_out[i] == fault)
            return true;
    }
    return false;
}

/* Without the faults [first, first + count) too. False: there is nothing to take away. */
static bool without(const struct run_options *from, uint32_t first, uint32_t count,
                    struct run_options *ret_to)
{
    *ret_to = *from;
    for (uint32_t fault = first; fault < first + count; fault++) {
        if (!is_left_out(ret_to, fault) && ret_to->left_out_count < RUN_LEFT_OUT_MAX)
            ret_to->left_out[ret_to->left_out_count++] = fault;
    }
    return ret_to->left_out_count > from->left_out_count;
}

/* Large pieces first: most faults have nothing to do with it. */
static void fewer_faults(struct run_options *o, uint32_t fault_count)
{
    struct run_result result;
    for (uint32_t piece = fault_count; piece > 0; piece /= 2) {
        for (uint32_t first = 0; first < fault_count; first += piece) {
            uint32_t count = first + piece > fault_count ? fault_count - first : piece;
            struct run_options tried;
            if (without(o, first, count, &tried) && fails(&tried, &result))
                *o = tried;
        }
    }
    fprintf(stderr, "%u of %u faults are needed\n", fault_count - o->left_out_count, fault_count);
}

static void fewer_clients(struct run_options *o)
{
    struct run_result result;
    for (uint32_t less = o->client_count; less > 0; less /= 2) {
        struct run_options tried = *o;
        tried.client_count = o->client_count > less ? o->client_count - less : 0;
        if (tried.client_count < o->client_count && fails(&tried, &result))
            *o = tried;
    }
    fprintf(stderr, "%u clients are needed\n", o->client_count);
}

static void less_time(struct run_options *o)
{
    struct run_result result;
    for (uint32_t less = o->seconds / 2; less > 0; less /= 2) {
        struct run_options tried = *o;
        tried.seconds = o->seconds - less;
        if (tried.seconds < o->seconds && fails(&tried, &result))
            *o = tried;
    }
    fprintf(stderr, "%u seconds are needed\n", o->seconds);
}

bool minimise(const struct run_options *options)
{
    struct run_options o = *options;
    o.is_traced = false;
    o.prints_plan = false;
    struct run_result result;
    if (!fails(&o, &result))
        return false;
    less_time(&o);
    /* A run that crashed has not said how many faults it had. */
    struct sim_plan plan;
    run_plan(&o, &plan);
    fewer_faults(&o, plan.count);
    fewer_clients(&o);
    less_time(&o);
    many_print_command(&o, stdout);
    return true;
}
