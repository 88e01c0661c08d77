/* check_attn.c - attention by cache types. SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

static const spn_type kv_types[] = {SPN_TYPE_F32, SPN_TYPE_F16, SPN_TYPE_BF16, SPN_TYPE_Q8_0,
                                    SPN_TYPE_Q4_0};

static bool is_quant(spn_type type) { return type == SPN_TYPE_Q8_0 || type == SPN_TYPE_Q4_0; }

typedef struct attention {
    spn_attn_args args;
    uint32_t *first, *last;
    float *out[2];
    size_t n_out;
} attention;

/* K and V of the cached positions; slots that nothing was written to hold what a fresh cache may
 * hold, NaNs included. */
static void fill_cache(check *c, attention *a, uint32_t begin, uint32_t end, check_fill fill) {
    spn_attn_args *args = &a->args;
    uint32_t ring = args->ring;
    size_t k_bytes = check_row_bytes(args->type_k, args->dim_k) * ring;
    size_t v_row = check_row_bytes(args->type_v, args->dim_v);
    args->v_stride = v_row + (check_chance(c, 50) ? check_range(c, 0, 9) : 0);
    uint8_t *k = check_take(c, k_bytes), *v = check_take(c, (ring - 1) * args->v_stride + v_row);
    memset(k, 0xff, k_bytes);
    memset(v, 0xff, (ring - 1) * args->v_stride + v_row);
    float *row = check_take(c, 4 * (args->dim_k > args->dim_v ? args->dim_k : args->dim_v));
    uint8_t *rounded = check_take(c, check_row_bytes(args->type_k, args->dim_k));
    for (uint32_t p = end > begin + ring ? end - ring : begin; p < end; p++) {
        check_floats(c, row, args->dim_k, fill);
        spn_row_from_f32(args->type_k, rounded, row, args->dim_k);
        spn_k_tile_store(k, args->type_k, p % ring, rounded, args->dim_k);
        check_floats(c, row, args->dim_v, fill);
        spn_row_from_f32(args->type_v, v + p % ring * args->v_stride, row, args->dim_v);
    }
    args->k = k;
    args->v = v;
}

/* Rows as a batch of tokens has them, each seeing up to its own position; or any ranges. */
static void choose_ranges(check *c, attention *a, uint32_t begin, uint32_t end) {
    uint32_t group = (uint32_t)check_range(c, 1, 4), n = end - begin;
    bool causal = check_chance(c, 60);
    for (uint32_t i = 0; i < a->args.n_q; i++) {
        if (causal) {
            uint32_t back = (uint32_t)(a->args.n_q - 1 - i) / group;
            a->first[i] = begin;
            a->last[i] = end - 1 > begin + back ? end - 1 - back : begin;
        } else {
            a->first[i] = begin + (uint32_t)check_range(c, 0, n - 1);
            a->last[i] = begin + (uint32_t)check_range(c, 0, n - 1); /* may be before first */
        }
    }
    if (check_chance(c, 5)) a->first[0] = 1, a->last[0] = 0;
}

static void setup(check *c, attention *a, check_fill fill) {
    spn_attn_args *args = &a->args;
    args->type_k = kv_types[check_range(c, 0, 4)];
    args->type_v = kv_types[check_range(c, 0, 4)];
    args->dim_k = is_quant(args->type_k) ? 32 * check_range(c, 1, 5) : 4 * check_range(c, 1, 34);
    args->dim_v = is_quant(args->type_v) ? 32 * check_range(c, 1, 5) : check_range(c, 1, 130);
    args->n_q = check_chance(c, 60) ? check_range(c, 1, 9) : check_range(c, 1, 66);
    args->ring = SPN_KV_BLOCK * (uint32_t)check_range(c, 1, 4);
    uint32_t n = (uint32_t)check_range(c, 1, args->ring);
    uint32_t begin = check_chance(c, 50) ? 0 : (uint32_t)check_range(c, 0, 1000);
    fill_cache(c, a, begin, begin + n, fill);
    a->first = check_take(c, 4 * args->n_q);
    a->last = check_take(c, 4 * args->n_q);
    choose_ranges(c, a, begin, begin + n);
    args->first = a->first;
    args->last = a->last;
    args->ldq = args->dim_k + check_range(c, 0, 5);
    float *q = check_take(c, 4 * ((args->n_q - 1) * args->ldq + args->dim_k));
    check_floats(c, q, (args->n_q - 1) * args->ldq + args->dim_k, fill);
    args->q = q;
    args->softcap = check_chance(c, 25) ? 5.0f : 0.0f;
    if (check_chance(c, 25)) {
        float *sink = check_take(c, 4 * args->n_q);
        check_floats(c, sink, args->n_q, CHECK_FILL_PLAIN);
        args->sink = sink;
    }
    args->ldo = args->dim_v + check_range(c, 0, 5);
    a->n_out = (args->n_q - 1) * args->ldo + args->dim_v;
    a->out[0] = check_take(c, 4 * a->n_out);
    a->out[1] = check_take(c, 4 * a->n_out);
}

static void run_attend(check *c) {
    attention a = {0};
    setup(c, &a, check_fill_any(c));
    size_t scratch = spn_attn_scratch(a.args.n_q, a.args.dim_k, a.args.dim_v);
    a.args.scratch = check_take_aligned(c, scratch);
    a.args.out = a.out[0];
    c->ref->attend(&a.args);
    a.args.scratch = check_take_aligned(c, scratch);
    a.args.out = a.out[1];
    c->level->attend(&a.args);
    check_same_floats(c, "out", a.out[0], a.out[1], a.n_out);
}

/* ---- bench: a head size of 128 over a context of 4096 ---- */

static void call_attend(void *arg) {
    attention *a = arg;
    spn_attn_fn fn;
    memcpy(&fn, &a->out[0], sizeof(fn)); /* out[0] is not used for output here */
    fn(&a->args);
}

static void bench_one(check *c, spn_type type, size_t n_q) {
    enum { DIM = 128 };
    const uint32_t ring = c->level == c->ref ? 256 : 4096;
    attention a = {.args = {.n_q = n_q,
                            .ldq = DIM,
                            .dim_k = DIM,
                            .dim_v = DIM,
                            .type_k = type,
                            .type_v = type,
                            .ring = ring,
                            .ldo = DIM}};
    fill_cache(c, &a, 0, ring, CHECK_FILL_PLAIN);
    a.first = check_take(c, 4 * n_q);
    a.last = check_take(c, 4 * n_q);
    for (size_t i = 0; i < n_q; i++) a.first[i] = 0, a.last[i] = ring - 1;
    float *q = check_take_aligned(c, 4 * n_q * DIM);
    check_floats(c, q, n_q * DIM, CHECK_FILL_PLAIN);
    a.args.q = q;
    a.args.first = a.first;
    a.args.last = a.last;
    a.args.out = check_take_aligned(c, 4 * n_q * DIM);
    a.args.scratch = check_take_aligned(c, spn_attn_scratch(n_q, DIM, DIM));
    memcpy(&a.out[0], &c->level->attend, sizeof(c->level->attend));
    char shape[48];
    snprintf(shape, sizeof(shape), "%s %zux128x%u", check_type_name(type), n_q, ring);
    double macs = 2.0 * DIM * (double)n_q * (double)ring;
    check_report(c, shape, check_time(call_attend, &a), macs / 32,
                 2.0 * (double)(check_row_bytes(type, DIM) * ring), macs);
}

static void bench_attend(check *c) {
    static const size_t rows[] = {1, 2, 4, 8, 32, 64};
    for (size_t t = 0; t < SPN_COUNT(kv_types); t++) {
        for (size_t i = 0; i < SPN_COUNT(rows) && !(c->level == c->ref && i > 0); i++) {
            bench_one(c, kv_types[t], rows[i]);
            check_release(c);
        }
    }
}

const check_case *check_attn_cases(void) {
    static const check_case cases[] = {
        {"attend", offsetof(spn_kernels, attend), SPN_TYPE_F32, 0, run_attend, bench_attend},
        {"", 0, SPN_TYPE_F32, 0, NULL, NULL},
    };
    return cases;
}
