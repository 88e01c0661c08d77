/* check_vec.c - vectors' kernels against the reference. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "check.h"

#define FN(table, c, type) ((type)check_pointer((table), (c)->test->offset))

typedef void (*unary_fn)(float *y, const float *x, size_t n);
typedef void (*binary_fn)(float *y, const float *a, const float *b, size_t n);
typedef void (*scaled_fn)(float *y, const float *x, float factor, size_t n);
typedef float (*softmax_fn)(float *s, size_t n);
typedef void (*rms_fn)(float *y, const float *x, const float *w, size_t n, float eps);
typedef void (*layer_fn)(float *y, const float *x, const float *w, const float *b, size_t n,
                         float eps);
typedef float (*dot_fn)(const float *a, const float *b, size_t n);
typedef void (*rope_fn)(float *x, const float *cs, size_t n_rot);
typedef size_t (*argmax_fn)(const float *x, size_t n);
typedef void (*quantize_fn)(int8_t *q, float *d, float *dsum, int16_t *sum, const float *x,
                            size_t k);
typedef void (*quantize_groups_fn)(int8_t *q, float *d, int16_t *sum, const float *x, size_t k);

/* Short ones, odd tails, and now and then a long one. */
static size_t any_length(check *c) {
    return check_chance(c, 70) ? check_range(c, 1, 70) : check_range(c, 71, 2100);
}

static float *random_floats(check *c, size_t n) {
    float *x = check_take(c, n * sizeof(float));
    check_floats(c, x, n, check_fill_any(c));
    return x;
}

static float *copy_of(check *c, const float *x, size_t n) {
    float *y = check_take(c, n * sizeof(float));
    memcpy(y, x, n * sizeof(float));
    return y;
}

static void run_unary(check *c) {
    size_t n = any_length(c);
    float *x = random_floats(c, n), *ref = check_take(c, 4 * n), *got = check_take(c, 4 * n);
    FN(c->ref, c, unary_fn)(ref, x, n);
    FN(c->level, c, unary_fn)(got, x, n);
    check_same_floats(c, "y", ref, got, n);
    FN(c->level, c, unary_fn)(x, x, n);
    check_same_floats(c, "y in place", ref, x, n);
}

static void run_binary(check *c) {
    size_t n = any_length(c);
    float *a = random_floats(c, n), *b = random_floats(c, n);
    float *ref = check_take(c, 4 * n), *got = check_take(c, 4 * n);
    FN(c->ref, c, binary_fn)(ref, a, b, n);
    FN(c->level, c, binary_fn)(got, a, b, n);
    check_same_floats(c, "y", ref, got, n);
    FN(c->level, c, binary_fn)(a, a, b, n);
    check_same_floats(c, "y in place", ref, a, n);
}

/* `variant` 1: y is read too. */
static void run_scaled(check *c) {
    size_t n = any_length(c);
    float factor = check_uniform(c) * 30.0f, *x = random_floats(c, n), *y = random_floats(c, n);
    float *ref = copy_of(c, y, n), *got = copy_of(c, y, n);
    FN(c->ref, c, scaled_fn)(ref, x, factor, n);
    FN(c->level, c, scaled_fn)(got, x, factor, n);
    check_same_floats(c, "y", ref, got, n);
    if (c->test->variant == 1) return;
    FN(c->level, c, scaled_fn)(x, x, factor, n);
    check_same_floats(c, "y in place", ref, x, n);
}

static void run_add_product(check *c) {
    size_t n = any_length(c);
    float *a = random_floats(c, n), *b = random_floats(c, n), *y = random_floats(c, n);
    float *ref = copy_of(c, y, n), *got = copy_of(c, y, n);
    FN(c->ref, c, binary_fn)(ref, a, b, n);
    FN(c->level, c, binary_fn)(got, a, b, n);
    check_same_floats(c, "y", ref, got, n);
}

static void run_softmax(check *c) {
    size_t n = any_length(c);
    float *ref = random_floats(c, n), *got;
    for (size_t i = 0; i < n; i++)
        if (check_chance(c, 10)) ref[i] = -INFINITY;
    got = copy_of(c, ref, n);
    float sum_ref = FN(c->ref, c, softmax_fn)(ref, n), sum = FN(c->level, c, softmax_fn)(got, n);
    check_same_floats(c, "p", ref, got, n);
    check_same_floats(c, "sum", &sum_ref, &sum, 1);
}

static void run_rms_norm(check *c) {
    size_t n = any_length(c);
    float *x = random_floats(c, n), *w = check_chance(c, 80) ? random_floats(c, n) : NULL;
    float *ref = check_take(c, 4 * n), *got = check_take(c, 4 * n);
    FN(c->ref, c, rms_fn)(ref, x, w, n, 1e-5f);
    FN(c->level, c, rms_fn)(got, x, w, n, 1e-5f);
    check_same_floats(c, "y", ref, got, n);
    FN(c->level, c, rms_fn)(x, x, w, n, 1e-5f);
    check_same_floats(c, "y in place", ref, x, n);
}

static void run_layer_norm(check *c) {
    size_t n = any_length(c);
    float *x = random_floats(c, n), *w = check_chance(c, 70) ? random_floats(c, n) : NULL;
    float *b = check_chance(c, 70) ? random_floats(c, n) : NULL;
    float *ref = check_take(c, 4 * n), *got = check_take(c, 4 * n);
    FN(c->ref, c, layer_fn)(ref, x, w, b, n, 1e-5f);
    FN(c->level, c, layer_fn)(got, x, w, b, n, 1e-5f);
    check_same_floats(c, "y", ref, got, n);
    FN(c->level, c, layer_fn)(x, x, w, b, n, 1e-5f);
    check_same_floats(c, "y in place", ref, x, n);
}

static void run_dot(check *c) {
    size_t n = any_length(c);
    float *a = random_floats(c, n), *b = random_floats(c, n);
    float ref = FN(c->ref, c, dot_fn)(a, b, n), got = FN(c->level, c, dot_fn)(a, b, n);
    check_same_floats(c, "dot", &ref, &got, 1);
}

static void run_rope(check *c) {
    size_t n = 2 * check_range(c, 1, 130);
    float *ref = random_floats(c, n), *got = copy_of(c, ref, n), *cs = random_floats(c, n);
    FN(c->ref, c, rope_fn)(ref, cs, n);
    FN(c->level, c, rope_fn)(got, cs, n);
    check_same_floats(c, "x", ref, got, n);
}

static void run_argmax(check *c) {
    size_t n = any_length(c);
    float *x = random_floats(c, n);
    if (check_chance(c, 50)) /* many equals */
        for (size_t i = 0; i < n; i++) x[i] = rintf(x[i]);
    size_t ref = FN(c->ref, c, argmax_fn)(x, n), got = FN(c->level, c, argmax_fn)(x, n);
    if (ref != got) check_fail(c, "argmax of %zu is %zu, not %zu", n, got, ref);
}

static void run_quantize(check *c) {
    size_t n_blocks = check_range(c, 1, 64), k = 32 * n_blocks;
    float *x = check_take(c, 4 * k);
    for (size_t b = 0; b < n_blocks; b++) check_floats(c, x + 32 * b, 32, check_fill_any(c));
    int8_t *q[2];
    float *d[2], *dsum[2];
    int16_t *sum[2];
    for (int i = 0; i < 2; i++) {
        q[i] = check_take(c, k);
        d[i] = check_take(c, 4 * n_blocks);
        dsum[i] = check_take(c, 4 * n_blocks);
        sum[i] = check_take(c, 4 * n_blocks);
        FN(i ? c->level : c->ref, c, quantize_fn)(q[i], d[i], dsum[i], sum[i], x, k);
    }
    check_same_bytes(c, "q", q[0], q[1], k);
    check_same_floats(c, "d", d[0], d[1], n_blocks);
    check_same_floats(c, "dsum", dsum[0], dsum[1], n_blocks);
    check_same_bytes(c, "sum", sum[0], sum[1], 4 * n_blocks);
}

static void run_quantize_groups(check *c) {
    size_t n_groups = check_range(c, 1, 20), k = 128 * n_groups;
    float *x = check_take(c, 4 * k);
    check_fill fill = check_fill_any(c);
    for (size_t b = 0; b < k / 32; b++) { /* groups of one kind of number, and mixed ones */
        if (b % 4 == 0 || check_chance(c, 20)) fill = check_fill_any(c);
        check_floats(c, x + 32 * b, 32, fill);
    }
    int8_t *q[2];
    float *d[2];
    int16_t *sum[2];
    for (int i = 0; i < 2; i++) {
        q[i] = check_take(c, k);
        d[i] = check_take(c, 4 * n_groups);
        sum[i] = check_take(c, k / 8);
        FN(i ? c->level : c->ref, c, quantize_groups_fn)(q[i], d[i], sum[i], x, k);
    }
    check_same_bytes(c, "q", q[0], q[1], k);
    check_same_floats(c, "d", d[0], d[1], n_groups);
    check_same_bytes(c, "sum", sum[0], sum[1], k / 8);
}

/* ---- bench: 4096 elements that stay in the first cache ---- */

enum { BENCH_N = 4096 };

typedef struct vec_bench {
    check *c;
    float *x, *y, *w, *b;
    int8_t *q;
    int16_t *sum;
} vec_bench;

static void call_kernel(void *arg) {
    vec_bench *v = arg;
    check_fn fn = check_pointer(v->c->level, v->c->test->offset);
    void (*run)(check *) = v->c->test->run;
    if (run == run_unary) ((unary_fn)fn)(v->y, v->x, BENCH_N);
    if (run == run_binary || run == run_add_product) ((binary_fn)fn)(v->y, v->x, v->w, BENCH_N);
    if (run == run_scaled) ((scaled_fn)fn)(v->y, v->x, 0.99f, BENCH_N);
    if (run == run_softmax) ((softmax_fn)fn)(v->y, BENCH_N);
    if (run == run_rms_norm) ((rms_fn)fn)(v->y, v->x, v->w, BENCH_N, 1e-5f);
    if (run == run_layer_norm) ((layer_fn)fn)(v->y, v->x, v->w, v->b, BENCH_N, 1e-5f);
    if (run == run_dot) v->y[0] = ((dot_fn)fn)(v->x, v->w, BENCH_N);
    if (run == run_rope) ((rope_fn)fn)(v->y, v->x, BENCH_N);
    if (run == run_argmax) v->y[0] = (float)((argmax_fn)fn)(v->x, BENCH_N);
    if (run == run_quantize) ((quantize_fn)fn)(v->q, v->y, v->b, v->sum, v->x, BENCH_N);
    if (run == run_quantize_groups) ((quantize_groups_fn)fn)(v->q, v->y, v->sum, v->x, BENCH_N);
}

static void bench_vec(check *c) {
    vec_bench v = {.c = c};
    float **arrays[] = {&v.x, &v.y, &v.w, &v.b};
    for (size_t i = 0; i < SPN_COUNT(arrays); i++) {
        *arrays[i] = check_take_aligned(c, 4 * BENCH_N);
        check_floats(c, *arrays[i], BENCH_N, CHECK_FILL_PLAIN);
    }
    v.q = check_take_aligned(c, BENCH_N);
    v.sum = check_take_aligned(c, BENCH_N);
    check_report(c, "4096", check_time(call_kernel, &v), BENCH_N, 4.0 * BENCH_N, BENCH_N);
}

#define CASE(name, run, variant) \
    { #name, offsetof(spn_kernels, name), SPN_TYPE_F32, variant, run, bench_vec }

const check_case *check_vec_cases(void) {
    static const check_case cases[] = {
        CASE(add, run_binary, 0),
        CASE(mul, run_binary, 0),
        CASE(swiglu, run_binary, 0),
        CASE(geglu, run_binary, 0),
        CASE(scale, run_scaled, 0),
        CASE(add_scaled, run_scaled, 1),
        CASE(add_product, run_add_product, 0),
        CASE(softcap, run_scaled, 0),
        CASE(silu, run_unary, 0),
        CASE(gelu, run_unary, 0),
        CASE(sigmoid, run_unary, 0),
        CASE(softmax, run_softmax, 0),
        CASE(rms_norm, run_rms_norm, 0),
        CASE(dot, run_dot, 0),
        CASE(layer_norm, run_layer_norm, 0),
        CASE(argmax, run_argmax, 0),
        CASE(rope_interleaved, run_rope, 0),
        CASE(rope_split, run_rope, 0),
        CASE(quantize, run_quantize, 0),
        CASE(quantize_groups, run_quantize_groups, 0),
        {"", 0, SPN_TYPE_F32, 0, NULL, NULL},
    };
    return cases;
}
