/* vec_lanes.h - the vectors' kernels over 16 lanes; each level's vec_*.c includes it once.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every operation is the one that vec_ref.c and vec_math.h name, on 16 elements at a time, so the
 * bits are the same. These kernels read and write a few bytes an operation and sit in the first or
 * second cache: add, mul, scale and the sums are bound by loads (one register a cycle or two),
 * the activations by the polynomial of exp (about 14 operations for 16 elements) and one division.
 * rms_norm reads its row twice; layer_norm three times.
 */
#include "compute/kernels.h"

/* ---- functions of vec_math.h ---- */

static inline v16 v_exp(v16 x) {
    x = v_clamp(x, SPN_EXP_LOW, SPN_EXP_HIGH);
    v16 magic = v_set1(SPN_EXP_MAGIC), shifted = v_fma(x, v_set1(SPN_EXP_LOG2E), magic);
    v16 n = v_sub(shifted, magic);
    v16 r = v_fma(n, v_set1(-SPN_EXP_LN2_LOW), v_fma(n, v_set1(-SPN_EXP_LN2_HIGH), x));
    v16 p = v_fma(v_set1(SPN_EXP_C6), r, v_set1(SPN_EXP_C5));
    p = v_fma(p, r, v_set1(SPN_EXP_C4));
    p = v_fma(p, r, v_set1(SPN_EXP_C3));
    p = v_fma(p, r, v_set1(SPN_EXP_C2));
    p = v_fma(p, r, v_set1(1.0f));
    p = v_fma(p, r, v_set1(1.0f));
    return v_scale_pow2(p, n, shifted);
}

static inline v16 v_tanh(v16 x) {
    v16 size = v_abs(x), z = v_mul(x, x), one = v_set1(1.0f);
    v16 p = v_fma(v_set1(SPN_TANH_C11), z, v_set1(SPN_TANH_C9));
    p = v_fma(p, z, v_set1(SPN_TANH_C7));
    p = v_fma(p, z, v_set1(SPN_TANH_C5));
    p = v_fma(p, z, v_set1(SPN_TANH_C3));
    v16 low = v_fma(v_mul(x, z), p, x);
    v16 high = v_sub(one, v_div(v_set1(2.0f), v_add(v_exp(v_add(size, size)), one)));
    return v_select(v_less(size, v_set1(SPN_TANH_SPLIT)), low, v_with_sign(high, x));
}

static inline v16 v_silu(v16 x) { return v_div(x, v_add(v_set1(1.0f), v_exp(v_neg(x)))); }

static inline v16 v_sigmoid(v16 x) {
    v16 one = v_set1(1.0f);
    return v_div(one, v_add(one, v_exp(v_neg(x))));
}

static inline v16 v_gelu(v16 x) {
    v16 u = v_mul(x, v_fma(v_mul(x, x), v_set1(SPN_GELU_B), v_set1(SPN_GELU_A)));
    return v_div(x, v_add(v_set1(1.0f), v_exp(v_neg(u))));
}

#ifndef VEC_LANES_MATH_ONLY

/* ---- element by element ---- */

#define UNARY(name, expression)                                        \
    static void LANES_NAME(name)(float *y, const float *x, size_t n) { \
        size_t i = 0;                                                  \
        for (; i + 16 <= n; i += 16) {                                 \
            v16 a = v_load(x + i);                                     \
            v_store(y + i, expression);                                \
        }                                                              \
        if (i < n) {                                                   \
            v16 a = v_load_n(x + i, n - i);                            \
            v_store_n(y + i, expression, n - i);                       \
        }                                                              \
    }
UNARY(silu, v_silu(a))
UNARY(sigmoid, v_sigmoid(a))
UNARY(gelu, v_gelu(a))

#define BINARY(name, expression)                                                       \
    static void LANES_NAME(name)(float *y, const float *x, const float *z, size_t n) { \
        size_t i = 0;                                                                  \
        for (; i + 16 <= n; i += 16) {                                                 \
            v16 a = v_load(x + i), b = v_load(z + i);                                  \
            v_store(y + i, expression);                                                \
        }                                                                              \
        if (i < n) {                                                                   \
            v16 a = v_load_n(x + i, n - i), b = v_load_n(z + i, n - i);                \
            v_store_n(y + i, expression, n - i);                                       \
        }                                                                              \
    }
BINARY(add, v_add(a, b))
BINARY(mul, v_mul(a, b))
BINARY(swiglu, v_mul(v_silu(a), b))
BINARY(geglu, v_mul(v_gelu(a), b))

#define SCALED(name, expression)                                                     \
    static void LANES_NAME(name)(float *y, const float *x, float factor, size_t n) { \
        v16 f = v_set1(factor);                                                      \
        size_t i = 0;                                                                \
        for (; i + 16 <= n; i += 16) {                                               \
            v16 a = v_load(x + i);                                                   \
            v_store(y + i, expression);                                              \
        }                                                                            \
        if (i < n) {                                                                 \
            v16 a = v_load_n(x + i, n - i);                                          \
            v_store_n(y + i, expression, n - i);                                     \
        }                                                                            \
    }
SCALED(scale, v_mul(a, f))
SCALED(softcap, v_mul(v_tanh(v_div(a, f)), f))

static void LANES_NAME(add_scaled)(float *y, const float *x, float factor, size_t n) {
    v16 f = v_set1(factor);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_fma(v_load(x + i), f, v_load(y + i)));
    if (i < n) v_store_n(y + i, v_fma(v_load_n(x + i, n - i), f, v_load_n(y + i, n - i)), n - i);
}

static void LANES_NAME(add_product)(float *y, const float *a, const float *b, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_fma(v_load(a + i), v_load(b + i), v_load(y + i)));
    if (i < n)
        v_store_n(y + i,
                  v_fma(v_load_n(a + i, n - i), v_load_n(b + i, n - i), v_load_n(y + i, n - i)),
                  n - i);
}

/* ---- sums: one register of lanes, so bound by the latency of an addition a register ---- */

static inline float lanes_sum(const float *x, size_t n) {
    v16 sum = v_zero();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v_add(sum, v_load(x + i));
    if (i < n) sum = v_add_n(sum, v_load_n(x + i, n - i), n - i);
    return v_fold(sum);
}

static float LANES_NAME(dot)(const float *a, const float *b, size_t n) {
    v16 sum = v_zero();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v_fma(v_load(a + i), v_load(b + i), sum);
    if (i < n) sum = v_fma_n(v_load_n(a + i, n - i), v_load_n(b + i, n - i), sum, n - i);
    return v_fold(sum);
}

static float LANES_NAME(softmax)(float *s, size_t n) {
    v16 low = v_set1(-INFINITY), top = low, sum = v_zero();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) top = v_max(top, v_load(s + i));
    if (i < n) top = v_select(m_range(0, n - i), v_max(top, v_load_n(s + i, n - i)), top);
    v16 max = v_set1(v_max_all(top));
    for (i = 0; i < n; i += 16) {
        size_t left = n - i < 16 ? n - i : 16;
        v16 x = v_load_n(s + i, left);
        v16 p = v_select(v_equal(x, low), v_zero(), v_exp(v_sub(x, max)));
        v_store_n(s + i, p, left);
        sum = v_add_n(sum, p, left);
    }
    return v_fold(sum);
}

static void LANES_NAME(rms_norm)(float *y, const float *x, const float *w, size_t n, float eps) {
    float r = 1.0f / sqrtf(LANES_NAME(dot)(x, x, n) / (float)n + eps);
    v16 factor = v_set1(r);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 v = v_mul(v_load(x + i), factor);
        v_store(y + i, w ? v_mul(v, v_load(w + i)) : v);
    }
    if (i == n) return;
    v16 v = v_mul(v_load_n(x + i, n - i), factor);
    v_store_n(y + i, w ? v_mul(v, v_load_n(w + i, n - i)) : v, n - i);
}

static inline v16 layer_norm_16(v16 c, float r, const float *w, const float *b, size_t n) {
    v16 v = v_mul(c, v_set1(r));
    if (w && b) return v_fma(v, v_load_n(w, n), v_load_n(b, n));
    if (w) return v_mul(v, v_load_n(w, n));
    return b ? v_add(v, v_load_n(b, n)) : v;
}

static void LANES_NAME(layer_norm)(float *y, const float *x, const float *w, const float *b,
                                   size_t n, float eps) {
    v16 mean = v_set1(lanes_sum(x, n) / (float)n), sum = v_zero();
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i < 16 ? n - i : 16;
        v16 c = v_sub(v_load_n(x + i, left), mean);
        sum = v_fma_n(c, c, sum, left);
    }
    float r = 1.0f / sqrtf(v_fold(sum) / (float)n + eps);
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i < 16 ? n - i : 16;
        v16 c = v_sub(v_load_n(x + i, left), mean);
        v_store_n(y + i, layer_norm_16(c, r, w ? w + i : NULL, b ? b + i : NULL, left), left);
    }
}

/* Two passes: the greatest value by lanes, then where it first stands. */
static size_t LANES_NAME(argmax)(const float *x, size_t n) {
    v16 top = v_set1(-INFINITY);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) top = v_max(top, v_load(x + i));
    if (i < n) top = v_select(m_range(0, n - i), v_max(top, v_load_n(x + i, n - i)), top);
    v16 max = v_set1(v_max_all(top));
    for (i = 0; i < n; i += 16) {
        size_t left = n - i < 16 ? n - i : 16;
        unsigned found = m_bits(v_equal(v_load_n(x + i, left), max)) & ((1u << left) - 1);
        if (found) return i + (size_t)__builtin_ctz(found);
    }
    return 0; /* nothing but NaNs */
}

/* ---- rotation ---- */

static void rotate_tail(float *a, float *b, const float *cs) {
    float x = *a, y = *b, c = cs[0], s = cs[1];
    *a = fmaf(x, c, -(y * s));
    *b = fmaf(x, s, y * c);
}

static inline void rotate_16(v16 *a, v16 *b, const float *cs) {
    v16 c, s, x = *a, y = *b;
    v_unzip(cs, &c, &s);
    *a = v_fma(x, c, v_neg(v_mul(y, s)));
    *b = v_fma(x, s, v_mul(y, c));
}

static void LANES_NAME(rope_interleaved)(float *x, const float *cs, size_t n_rot) {
    size_t i = 0;
    for (; i + 32 <= n_rot; i += 32) {
        v16 a, b;
        v_unzip(x + i, &a, &b);
        rotate_16(&a, &b, cs + i);
        v_zip(x + i, a, b);
    }
    for (; i < n_rot; i += 2) rotate_tail(x + i, x + i + 1, cs + i);
}

static void LANES_NAME(rope_split)(float *x, const float *cs, size_t n_rot) {
    size_t half = n_rot / 2, i = 0;
    for (; i + 16 <= half; i += 16) {
        v16 a = v_load(x + i), b = v_load(x + half + i);
        rotate_16(&a, &b, cs + 2 * i);
        v_store(x + i, a);
        v_store(x + half + i, b);
    }
    for (; i < half; i++) rotate_tail(x + i, x + half + i, cs + 2 * i);
}

/* ---- quantised activations: contract (2) ----
 * Per block of 32: 16 divisions in two registers give the eight candidates' 1 / d and d; each
 * candidate costs 2 registers x (multiply, round, subtract, square); the eight error sums are
 * folded together. About 100 operations for 32 elements: some 3 cycles an element, where a product
 * with a few thousand rows spends 50 and more on it. */

/* The scales to choose from, and what each steps by; without any, `flat` is the scale: NaN or 0. */
typedef struct candidates {
    float id[8], d[8];
    float flat;
    bool any;
} candidates;

/* Of the n registers at x. */
static inline candidates candidates_of(const float *x, const int n) {
    v16 most = v_zero(), odd = v_zero();
    for (int i = 0; i < n; i++) {
        v16 v = v_load(x + 16 * i);
        most = v_max(most, v_abs(v));
        odd = v_add(odd, v_sub(v, v));
    }
    float amax = v_max_all(most);
    bool nan = m_any(v_is_nan(odd));
    candidates c = {.flat = nan ? NAN : 0.0f, .any = !nan && 127.0f / amax <= 0x1.fffffep127f};
    candidates_8(c.id, c.d, amax);
    return c;
}

/* The one with the least error over the n registers at x. */
static inline int best_candidate(const candidates *c, const float *x, const int n) {
    v16 errors[8];
    for (int j = 0; j < 8; j++) {
        v16 scale = v_set1(c->id[j]), step = v_set1(c->d[j]);
        errors[j] = v_zero();
        for (int i = 0; i < n; i++) {
            v16 v = v_load(x + 16 * i), e = v_fnma(step, v_round(v_mul(v, scale)), v);
            errors[j] = v_fma(e, e, errors[j]);
        }
    }
    return v_least_fold(errors);
}

static inline void finish_block(int8_t *q, int16_t *sum, const float *x, float id) {
    for (int h = 0; h < 2; h++) {
        v16 whole = v_round(v_mul(v_load(x + 16 * h), v_set1(id)));
        sum[h] = (int16_t)v_store_i8(q + 16 * h, whole);
    }
}

/* Some runs that share a scale at once, each of n_regs registers, in three passes: a run's steps
 * hang on each other, and the processor can only fill the waiting with other runs' steps where
 * those are near. */
#define RUNS_AT_ONCE 8

static ALWAYS_INLINE void quantize_runs(int8_t *q, float *d, int16_t *sum, const float *x, size_t n,
                                        const int n_regs) {
    const size_t len = 16 * (size_t)n_regs;
    candidates c[RUNS_AT_ONCE];
    int best[RUNS_AT_ONCE] = {0};
    for (size_t i = 0; i < n; i++) c[i] = candidates_of(x + len * i, n_regs);
    for (size_t i = 0; i < n; i++)
        if (c[i].any) best[i] = best_candidate(&c[i], x + len * i, n_regs);
    for (size_t i = 0; i < n; i++, q += len, sum += n_regs, x += len) {
        d[i] = c[i].any ? c[i].d[best[i]] : c[i].flat;
        if (c[i].any) {
            for (size_t b = 0; b < len / 32; b++)
                finish_block(q + 32 * b, sum + 2 * b, x + 32 * b, c[i].id[best[i]]);
        } else {
            memset(q, 0, len);
            memset(sum, 0, len / 16 * sizeof(*sum));
        }
    }
}

static void LANES_NAME(quantize_groups)(int8_t *q, float *d, int16_t *sum, const float *x,
                                        size_t k) {
    const size_t n = SPN_ACT_GROUP;
    for (size_t g = 0; g < k / n; g += RUNS_AT_ONCE)
        quantize_runs(q + n * g, d + g, sum + n / 16 * g, x + n * g,
                      spn_min_size(k / n - g, RUNS_AT_ONCE), SPN_ACT_GROUP / 16);
}

static void LANES_NAME(quantize)(int8_t *q, float *d, float *dsum, int16_t *sum, const float *x,
                                 size_t k) {
    const size_t n = SPN_ACT_BLOCK;
    for (size_t b = 0; b < k / n; b += RUNS_AT_ONCE)
        quantize_runs(q + n * b, d + b, sum + n / 16 * b, x + n * b,
                      spn_min_size(k / n - b, RUNS_AT_ONCE), SPN_ACT_BLOCK / 16);
    for (size_t b = 0; b < k / n; b++) dsum[b] = d[b] * (float)(sum[2 * b] + sum[2 * b + 1]);
}

/* ---- rows ---- */

static void LANES_NAME(to_f32_f16)(float *y, const void *row, size_t k) {
    const uint8_t *h = row;
    size_t i = 0;
    for (; i + 16 <= k; i += 16) v_store(y + i, v_load_f16(h + 2 * i));
    if (i < k) v_store_n(y + i, v_load_f16_n(h + 2 * i, k - i), k - i);
}

static void LANES_NAME(to_f32_bf16)(float *y, const void *row, size_t k) {
    const uint8_t *h = row;
    size_t i = 0;
    for (; i + 16 <= k; i += 16) v_store(y + i, v_load_bf16(h + 2 * i));
    if (i < k) v_store_n(y + i, v_load_bf16_n(h + 2 * i, k - i), k - i);
}

static void LANES_NAME(from_f32_f16)(void *row, const float *x, size_t k) {
    uint8_t *h = row;
    size_t i = 0;
    for (; i + 16 <= k; i += 16) v_store_f16(h + 2 * i, v_load(x + i));
    if (i == k) return;
    uint16_t part[16];
    v_store_f16(part, v_load_n(x + i, k - i));
    memcpy(h + 2 * i, part, 2 * (k - i));
}

static void LANES_NAME(from_f32_bf16)(void *row, const float *x, size_t k) {
    uint8_t *h = row;
    size_t i = 0;
    for (; i + 16 <= k; i += 16) v_store_bf16(h + 2 * i, v_load(x + i));
    if (i == k) return;
    uint16_t part[16];
    v_store_bf16(part, v_load_n(x + i, k - i));
    memcpy(h + 2 * i, part, 2 * (k - i));
}

/* Rows of a Q8_0 cache, as quant.c rounds them. */
static void LANES_NAME(from_f32_q8_0)(void *row, const float *x, size_t k) {
    spn_block_q8_0 *block = row;
    for (size_t b = 0; b < k / 32; b++) {
        v16 lo = v_load(x + 32 * b), hi = v_load(x + 32 * b + 16);
        float d = v_max_all(v_max(v_abs(lo), v_abs(hi))) / 127.0f, id = 1.0f / d;
        bool plain = !m_any(v_is_nan(v_add(v_sub(lo, lo), v_sub(hi, hi)))) && id <= 0x1.fffffep127f;
        if (plain) {
            v_store_i8(block[b].qs, v_round(v_mul(lo, v_set1(id))));
            v_store_i8(block[b].qs + 16, v_round(v_mul(hi, v_set1(id))));
            block[b].d = spn_f16_of_f32(d);
        } else {
            spn_row_from_f32(SPN_TYPE_Q8_0, block + b, x + 32 * b, 32);
        }
    }
}

void LANES_NAME(spn_vec_init)(spn_kernels *table) {
    table->to_f32[SPN_TYPE_F16] = LANES_NAME(to_f32_f16);
    table->to_f32[SPN_TYPE_BF16] = LANES_NAME(to_f32_bf16);
    table->from_f32[SPN_TYPE_F16] = LANES_NAME(from_f32_f16);
    table->from_f32[SPN_TYPE_BF16] = LANES_NAME(from_f32_bf16);
    table->from_f32[SPN_TYPE_Q8_0] = LANES_NAME(from_f32_q8_0);
    table->quantize = LANES_NAME(quantize);
    table->quantize_groups = LANES_NAME(quantize_groups);
    table->softmax = LANES_NAME(softmax);
    table->rms_norm = LANES_NAME(rms_norm);
    table->layer_norm = LANES_NAME(layer_norm);
    table->dot = LANES_NAME(dot);
    table->add = LANES_NAME(add);
    table->mul = LANES_NAME(mul);
    table->scale = LANES_NAME(scale);
    table->add_scaled = LANES_NAME(add_scaled);
    table->add_product = LANES_NAME(add_product);
    table->softcap = LANES_NAME(softcap);
    table->silu = LANES_NAME(silu);
    table->gelu = LANES_NAME(gelu);
    table->sigmoid = LANES_NAME(sigmoid);
    table->swiglu = LANES_NAME(swiglu);
    table->geglu = LANES_NAME(geglu);
    table->rope_interleaved = LANES_NAME(rope_interleaved);
    table->rope_split = LANES_NAME(rope_split);
    table->argmax = LANES_NAME(argmax);
}

#endif
