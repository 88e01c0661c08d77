/* check_delta.c - the gated delta rule. SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

/* Random inputs in `args`, all but the two that are written. */
static void setup(check *c, spn_delta_args *args, size_t d, size_t n_tokens, check_fill fill) {
    *args = (spn_delta_args){.n_tokens = n_tokens, .d = d, .ldv = d + check_range(c, 0, 5)};
    size_t n_v = (n_tokens - 1) * args->ldv + d;
    float *q = check_take(c, 4 * n_tokens * d), *k = check_take(c, 4 * n_tokens * d);
    float *v = check_take(c, 4 * n_v);
    float *decay = check_take(c, 4 * n_tokens), *beta = check_take(c, 4 * n_tokens);
    check_floats(c, q, n_tokens * d, fill);
    check_floats(c, k, n_tokens * d, fill);
    check_floats(c, v, n_v, fill);
    check_floats(c, decay, n_tokens, CHECK_FILL_PLAIN);
    check_floats(c, beta, n_tokens, CHECK_FILL_PLAIN);
    args->q = q;
    args->k = k;
    args->v = v;
    args->decay = decay;
    args->beta = beta;
}

static void run_delta(check *c) {
    size_t d = check_chance(c, 50) ? check_range(c, 1, 40) : 4 * check_range(c, 1, 36);
    size_t n_tokens = check_range(c, 1, 6);
    spn_delta_args args;
    setup(c, &args, d, n_tokens, check_fill_any(c));
    float *state[2], *o[2];
    for (int i = 0; i < 2; i++) {
        state[i] = check_take(c, 4 * d * d);
        o[i] = check_take(c, 4 * n_tokens * d);
    }
    check_floats(c, state[0], d * d, CHECK_FILL_PLAIN);
    memcpy(state[1], state[0], 4 * d * d);
    for (int i = 0; i < 2; i++) {
        args.state = state[i];
        args.o = o[i];
        (i ? c->level : c->ref)->delta(&args);
    }
    check_same_floats(c, "state", state[0], state[1], d * d);
    check_same_floats(c, "o", o[0], o[1], n_tokens * d);
}

/* ---- bench: a head of 128 ---- */

typedef struct delta_bench {
    const spn_kernels *level;
    spn_delta_args args;
} delta_bench;

static void call_delta(void *arg) {
    delta_bench *bench = arg;
    bench->level->delta(&bench->args);
}

static void bench_delta(check *c) {
    static const size_t tokens[] = {1, 16};
    enum { D = 128 };
    for (size_t i = 0; i < SPN_COUNT(tokens); i++) {
        delta_bench bench = {.level = c->level};
        setup(c, &bench.args, D, tokens[i], CHECK_FILL_PLAIN);
        bench.args.state = check_take_aligned(c, 4 * D * D);
        bench.args.o = check_take_aligned(c, 4 * tokens[i] * D);
        check_floats(c, bench.args.state, (size_t)D * D, CHECK_FILL_PLAIN);
        char shape[32];
        snprintf(shape, sizeof shape, "128x128 %zu", tokens[i]);
        double macs = 3.0 * D * D * (double)tokens[i];
        check_report(c, shape, check_time(call_delta, &bench), macs / 32, 4.0 * D * D, macs);
        check_release(c);
    }
}

const check_case *check_delta_cases(void) {
    static const check_case cases[] = {
        {"delta", offsetof(spn_kernels, delta), SPN_TYPE_F32, 0, run_delta, bench_delta},
        {"", 0, SPN_TYPE_F32, 0, NULL, NULL},
    };
    return cases;
}
