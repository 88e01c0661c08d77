/* check_rows.c - rows to and from f32. SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

typedef void (*to_fn)(float *y, const void *row, size_t k);
typedef void (*from_fn)(void *row, const float *x, size_t k);

static size_t any_row(check *c) {
    size_t block = check_block_len(c->test->type);
    return block == 1 ? check_range(c, 1, 300) : block * check_range(c, 1, 2048 / block);
}

static void run_to(check *c) {
    size_t k = any_row(c), bytes = check_row_bytes(c->test->type, k);
    uint8_t *row = check_take(c, bytes);
    float *ref = check_take(c, 4 * k), *got = check_take(c, 4 * k);
    check_blocks(c, row, c->test->type, bytes, check_fill_any(c));
    ((to_fn)check_pointer(c->ref, c->test->offset))(ref, row, k);
    ((to_fn)check_pointer(c->level, c->test->offset))(got, row, k);
    check_same_floats(c, "y", ref, got, k);
}

static void run_from(check *c) {
    size_t k = any_row(c), bytes = check_row_bytes(c->test->type, k);
    uint8_t *ref = check_take(c, bytes), *got = check_take(c, bytes);
    float *x = check_take(c, 4 * k), *y = check_take(c, 4 * k), *z = check_take(c, 4 * k);
    check_fill fill = check_fill_any(c);
    check_floats(c, x, k, fill);
    ((from_fn)check_pointer(c->ref, c->test->offset))(ref, x, k);
    ((from_fn)check_pointer(c->level, c->test->offset))(got, x, k);
    spn_row_to_f32(c->test->type, y, ref, k);
    spn_row_to_f32(c->test->type, z, got, k);
    check_same_floats(c, "the row's values", y, z, k);
    if (fill != CHECK_FILL_ODD) check_same_bytes(c, "row", ref, got, bytes);
}

enum { BENCH_K = 4096 };

typedef struct row_bench {
    check *c;
    float *x;
    void *row;
} row_bench;

static void call_row(void *arg) {
    row_bench *r = arg;
    check_fn fn = check_pointer(r->c->level, r->c->test->offset);
    if (r->c->test->run == run_to)
        ((to_fn)fn)(r->x, r->row, BENCH_K);
    else
        ((from_fn)fn)(r->row, r->x, BENCH_K);
}

static void bench_row(check *c) {
    size_t bytes = check_row_bytes(c->test->type, BENCH_K);
    row_bench r = {c, check_take_aligned(c, 4 * BENCH_K), check_take_aligned(c, bytes)};
    check_floats(c, r.x, BENCH_K, CHECK_FILL_PLAIN);
    check_blocks(c, r.row, c->test->type, bytes, CHECK_FILL_PLAIN);
    check_report(c, "4096", check_time(call_row, &r), BENCH_K, (double)bytes, BENCH_K);
}

const check_case *check_row_cases(void) {
    static const check_case cases[] = {
#define TO(NAME)                                                                          \
    {"to_f32_" #NAME, offsetof(spn_kernels, to_f32) + SPN_TYPE_##NAME * sizeof(check_fn), \
     SPN_TYPE_##NAME, 0,                                                                  \
     run_to,          bench_row},
#define FROM(NAME)                                                                            \
    {"from_f32_" #NAME, offsetof(spn_kernels, from_f32) + SPN_TYPE_##NAME * sizeof(check_fn), \
     SPN_TYPE_##NAME,   0,                                                                    \
     run_from,          bench_row},
        SPN_ROW_TYPES(TO) SPN_KV_TYPES(FROM){"", 0, SPN_TYPE_F32, 0, NULL, NULL},
    };
    return cases;
}
