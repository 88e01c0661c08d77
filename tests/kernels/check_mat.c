/* check_mat.c - matrix products by weight type. SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

typedef struct product {
    spn_matmul_args args;
    size_t n_rows, row_begin, row_end;
    float *y[2];
    size_t n_y; /* floats in each y */
} product;

static bool is_float(spn_type type) { return check_block_len(type) == 1; }

/* Activations: floats for float weights; else random quants with sums that belong to them. */
static void take_float_acts(check *c, product *p, check_fill fill) {
    size_t ldx = p->args.k + check_range(c, 0, 5);
    size_t n = (p->args.n_tokens - 1) * ldx + p->args.k;
    float *x = check_take(c, 4 * n);
    check_floats(c, x, n, fill);
    p->args.act = (spn_act){.x = x, .ldx = ldx};
}

static void take_bf16_acts(check *c, product *p, check_fill fill) {
    size_t n = p->args.n_tokens * p->args.k;
    float *x = check_take(c, 4 * n);
    uint16_t *bf16 = check_take(c, 2 * n);
    check_floats(c, x, n, fill);
    c->ref->from_f32[SPN_TYPE_BF16](bf16, x, n);
    p->args.act = (spn_act){.bf16 = bf16};
}

static void take_quant_acts(check *c, product *p, check_fill fill) {
    bool in_groups = check_block_len(c->test->type) == 256;
    size_t n = p->args.n_tokens * p->args.k, n_d = n / (in_groups ? 128 : 32);
    int8_t *q = check_take(c, n);
    float *d = check_take(c, 4 * n_d), *dsum = in_groups ? NULL : check_take(c, 4 * n_d);
    int16_t *sum = check_take(c, 2 * (n / 16));
    unsigned pattern = (unsigned)check_range(c, 0, 9);
    check_floats(c, d, n_d, fill);
    for (size_t i = 0; i < n; i++)
        q[i] = pattern == 0   ? 127
               : pattern == 1 ? -127
               : pattern == 2 ? 0
                              : (int8_t)((int)check_range(c, 0, 254) - 127);
    for (size_t s = 0; s < n / 16; s++) {
        sum[s] = 0;
        for (size_t i = 0; i < 16; i++) sum[s] = (int16_t)(sum[s] + q[16 * s + i]);
    }
    for (size_t b = 0; !in_groups && b < n_d; b++)
        dsum[b] = d[b] * (float)(sum[2 * b] + sum[2 * b + 1]);
    p->args.act = (spn_act){.q = q, .d = d, .dsum = dsum, .sum = sum};
}

static void take_acts(check *c, product *p, check_fill floats, check_fill quants) {
    if (c->test->type == SPN_TYPE_BF16)
        take_bf16_acts(c, p, floats);
    else if (is_float(c->test->type))
        take_float_acts(c, p, floats);
    else
        take_quant_acts(c, p, quants);
}

static size_t any_k(check *c, spn_type type) {
    size_t block = check_block_len(type);
    if (block == 1) return check_chance(c, 80) ? check_range(c, 1, 140) : check_range(c, 141, 2600);
    if (block == 32)
        return 32 * (check_chance(c, 80) ? check_range(c, 1, 20) : check_range(c, 21, 64));
    return block * check_range(c, 1, 4);
}

static void setup(check *c, product *p) {
    spn_type type = c->test->type;
    check_fill fill = check_fill_any(c);
    p->args.k = any_k(c, type);
    p->n_rows = check_chance(c, 30) ? 32 * check_range(c, 1, 3) : check_range(c, 1, 70);
    p->args.n_tokens = check_chance(c, 40) ? check_range(c, 1, 4) : check_range(c, 1, 33);
    p->row_begin = check_chance(c, 50) ? 0 : check_range(c, 0, p->n_rows - 1);
    p->row_end = check_chance(c, 50) ? p->n_rows : check_range(c, p->row_begin, p->n_rows);
    size_t bytes = check_row_bytes(type, p->args.k);
    p->args.row_bytes = bytes + (check_chance(c, 30) ? check_range(c, 0, 7) : 0);
    size_t w_bytes = (p->n_rows - 1) * p->args.row_bytes + bytes;
    uint8_t *w = check_take(c, w_bytes);
    for (size_t r = 0; r < p->n_rows; r++)
        check_blocks(c, w + r * p->args.row_bytes, type, bytes, fill);
    p->args.w = w;
    take_acts(c, p, check_fill_any(c), fill == CHECK_FILL_PLAIN ? fill : CHECK_FILL_WIDE);
    p->args.ldy = p->n_rows + check_range(c, 0, 3);
    p->n_y = (p->args.n_tokens - 1) * p->args.ldy + p->n_rows;
    p->y[0] = check_take(c, 4 * p->n_y);
    p->y[1] = check_take(c, 4 * p->n_y);
}

static void run_mat(check *c) {
    product p = {0};
    setup(c, &p);
    p.args.y = p.y[0];
    p.args.scratch = check_take_aligned(c, c->ref->matmul_scratch(p.args.k));
    c->ref->matmul[c->test->type](&p.args, p.row_begin, p.row_end);
    p.args.y = p.y[1];
    p.args.scratch = check_take_aligned(c, c->level->matmul_scratch(p.args.k));
    c->level->matmul[c->test->type](&p.args, p.row_begin, p.row_end);
    /* Both began with the same poison, so what lies between rows must still be equal. */
    check_same_floats(c, "y", p.y[0], p.y[1], p.n_y);
}

/* ---- bench ---- */

static void call_mat(void *arg) {
    product *p = arg;
    spn_matmul_fn fn;
    memcpy(&fn, &p->y[0], sizeof(fn)); /* y[0] is not used for output here */
    for (size_t r = p->row_begin; r < p->row_end; r += 64)
        fn(&p->args, r, r + 64 < p->row_end ? r + 64 : p->row_end);
}

/* Weights of `mib` MiB (a matrix out of memory, or one that stays in the cache). */
static void bench_shape(check *c, size_t n_tokens, double mib) {
    spn_type type = c->test->type;
    bool is_ref = c->level == c->ref;
    product p = {.args = {.k = 4096, .n_tokens = n_tokens}};
    p.args.row_bytes = check_row_bytes(type, p.args.k);
    p.n_rows = (size_t)(mib * 0x1p20) / p.args.row_bytes / 64 * 64;
    if (is_ref) p.n_rows = 64;
    p.row_end = p.n_rows;
    uint8_t *w = check_take_aligned(c, p.n_rows * p.args.row_bytes);
    check_blocks(c, w, type, 64 * p.args.row_bytes, CHECK_FILL_PLAIN);
    for (size_t r = 64; r < p.n_rows; r++)
        memcpy(w + r * p.args.row_bytes, w + r % 64 * p.args.row_bytes, p.args.row_bytes);
    p.args.w = w;
    take_acts(c, &p, CHECK_FILL_PLAIN, CHECK_FILL_PLAIN);
    p.args.ldy = p.n_rows;
    p.args.y = check_take_aligned(c, 4 * p.n_rows * n_tokens);
    p.args.scratch = check_take_aligned(c, c->level->matmul_scratch(p.args.k));
    memcpy(&p.y[0], &c->level->matmul[type], sizeof(c->level->matmul[type]));
    char shape[48];
    snprintf(shape, sizeof(shape), "%zux4096x%zu", p.n_rows, n_tokens);
    double macs = (double)p.n_rows * 4096.0 * (double)n_tokens;
    check_report(c, shape, check_time(call_mat, &p), macs / 32,
                 (double)(p.n_rows * p.args.row_bytes), macs);
}

static void bench_mat(check *c) {
    static const size_t tokens[] = {1, 2, 4, 8, 32, 256};
    bool is_ref = c->level == c->ref;
    for (size_t i = 0; i < SPN_COUNT(tokens) && !(is_ref && i > 0); i++) {
        check run = *c;
        bench_shape(&run, tokens[i], tokens[i] <= 8 ? 96.0 : 2.0);
        check_release(&run);
    }
}

const check_case *check_mat_cases(void) {
    static const check_case cases[] = {
#define MAT(NAME)                                                                         \
    {"matmul_" #NAME, offsetof(spn_kernels, matmul) + SPN_TYPE_##NAME * sizeof(check_fn), \
     SPN_TYPE_##NAME, 0,                                                                  \
     run_mat,         bench_mat},
        SPN_ROW_TYPES(MAT){"", 0, SPN_TYPE_F32, 0, NULL, NULL},
    };
    return cases;
}
