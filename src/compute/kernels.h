/* kernels.h - the table of kernels, and the arithmetic that every level must reproduce bit for bit.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A level (ref, avx2, avx512, neon, ...) is one file per kernel family: qmat_*.c multiplies
 * quantised matrices, fmat_*.c float ones, vec_*.c does the rest. spn_kernels_get fills a table
 * with the reference and lets each level up to the one asked for override entries. Tables are
 * constant afterwards: share them freely.
 *
 * THE CONTRACT. A kernel's result is a function of its inputs alone: not of the number of rows or
 * tokens in the call, of alignment, or of the level. Every level gives the same bits, because the
 * order and the rounding of each floating-point operation is fixed below. `fma` is fused, rounded
 * once; everything else is IEEE single precision, round to nearest even. -ffp-contract=off holds
 * everywhere.
 *
 * (1) Sum of n floats x_i ("lane sum"): 16 lanes, all 0 at the start; element i is added to lane
 *     i % 16, in ascending order of i; then lanes fold:
 *         for (h = 8; h; h /= 2) for (j = 0; j < h; j++) lane[j] = lane[j] + lane[j + h];
 *     the sum is lane[0]. A dot product is the same with lane = fma(a_i, b_i, lane). Elements past
 *     the end may be taken as zeros (adding +0 changes no lane: lanes start at +0, never become
 * -0).
 *
 * (2) Quantised activations. A row of k floats (k % 32 == 0) becomes blocks of 32: q (int8 in
 *     -127..127), d (f32), sum = q_0 + ... + q_31 (int32). amax = max |x_i|.
 *       amax == 0:           d = 0, q = 0.
 *       amax not finite (or any x is NaN): d = NaN, q = 0.
 *       otherwise for j = 0..7:  n = 127 - j, id = n / amax, q_i = rint(x_i * id) (nearest even),
 *         d = amax / n, e_i = fma(-d, (float)q_i, x_i), error = dot (1) of e with itself;
 *       the candidate with the smallest error wins, the lowest j among equals. If amax is so small
 *       that 127 / amax is not finite, d = 0 and q = 0 (the block is flushed to zero).
 *     Eight candidates cost a few percent of a product and lower the rounding error by 6-9 %.
 *
 * (3) Product of a quantised weight row w with a quantised activation row, both k long, in blocks
 *     of 32 elements numbered b = 0, 1, ...:  four chains acc[0..3] start at +0 and block b goes to
 *     chain l = b % 4, blocks ascending:
 *         acc[l] = fma((float)S, D * d_b, acc[l]);
 *         acc[l] = fma((float)M, N * d_b, acc[l]);      only for the types with a minimum
 *     and the result is (acc[0] + acc[2]) + (acc[1] + acc[3]). S and M are exact integers, D and N
 *     are f32 values that the format gives exactly (quant.h has the list by type). S fits 24 bits
 *     plus sign for every type, so (float)S is exact; so does M.
 *
 * (4) Product with an F32, F16 or BF16 weight row: the dot product of (1) over the weights
 * converted to f32 (exact) and the f32 activations.
 *
 * (5) exp, and what is built on it: spn_exp of vec_math.h, written with fma, the same on all
 * levels.
 */
#ifndef SPN_KERNELS_H
#define SPN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"
#include "spn/platform.h"

#define SPN_ACT_BLOCK 32

/* The activations of a product. Float weights read `x`, quantised ones read q, d and sum. */
typedef struct spn_act {
    const float *x;     /* [n_tokens][ldx], the first k of each row */
    size_t ldx;         /* in floats */
    const int8_t *q;    /* [n_tokens][k] */
    const float *d;     /* [n_tokens][k / 32] */
    const int32_t *sum; /* [n_tokens][k / 32] */
} spn_act;

/* y[t * ldy + r] = w[r] . act[t] for rows r in [row_begin, row_end) and all tokens. */
typedef struct spn_matmul_args {
    const uint8_t *w; /* [n_rows] rows, row_bytes apart, of k elements of one type */
    size_t row_bytes; /* any alignment */
    size_t k;
    spn_act act;
    size_t n_tokens;
    float *y;
    size_t ldy;    /* in floats */
    void *scratch; /* 64-byte aligned, this call's own, spn_kernels.matmul_scratch(k) bytes */
} spn_matmul_args;

typedef void (*spn_matmul_fn)(const spn_matmul_args *args, size_t row_begin, size_t row_end);

/* Scores and mixing of attention, for nq query rows that share one K/V head. `kv` rows are
 * kv_stride bytes apart, of head_dim elements.
 *   qk: s[i * lds + j] = dot (1) of q[i * ldq ...] and K row j,   j < n_pos
 *   pv: o[i * ldo + e] = fma(p[i * ldp + j], V row j [e], o[...])  for j = 0, 1, ... n_pos - 1 */
typedef struct spn_attn_args {
    const uint8_t *kv;
    size_t kv_stride;
    size_t n_pos;
    size_t head_dim;
    const float *a; /* q [nq][lda] or p [nq][lda] */
    size_t lda;
    float *out; /* s [nq][ldo] or o [nq][ldo] */
    size_t ldo;
    size_t nq;
} spn_attn_args;
typedef void (*spn_attn_fn)(const spn_attn_args *args);

typedef struct spn_kernels {
    spn_cpu_level level;

    /* Products by weight type; NULL: not supported. Row ranges that start at a multiple of 16 and
     * are at least 64 rows long are the fast ones for many tokens. */
    spn_matmul_fn matmul[SPN_TYPE_LIMIT];
    size_t (*matmul_scratch)(size_t k);

    /* One row of k elements to f32 (exact decoding of the format), and from f32 (for the types a KV
     * cache can have: F32 F16 BF16 Q8_0 Q4_0; round to nearest even); NULL: not supported. */
    void (*to_f32[SPN_TYPE_LIMIT])(float *y, const void *row, size_t k);
    void (*from_f32[SPN_TYPE_LIMIT])(void *row, const float *x, size_t k);

    /* (2) for one row. */
    void (*quantize)(int8_t *q, float *d, int32_t *sum, const float *x, size_t k);

    /* By K or V type; F32, F16 and BF16 only. */
    spn_attn_fn qk[SPN_TYPE_LIMIT];
    spn_attn_fn pv[SPN_TYPE_LIMIT];
    /* In place over one row of n scores: *max = the largest; s_j = exp(s_j - *max), 0 where s_j is
     * -inf; returns the lane sum of them. All -inf: *max = -inf, all 0, returns 0. */
    float (*softmax)(float *s, size_t n, float *max);

    /* y_i = x_i * r * w_i (w NULL: x_i * r), as (x_i * r) * w_i, with
     * r = 1 / sqrt(dot(x, x) / n + eps). y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* m = lane sum / n; c_i = x_i - m; r = 1 / sqrt(dot(c, c) / n + eps); y_i = fma(c_i * r, w_i,
     * b_i) (w or b NULL: 1 or 0, then without that operation). y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n,
                       float eps);

    void (*add)(float *y, const float *a, const float *b, size_t n);      /* a + b; y may be a */
    void (*mul)(float *y, const float *a, const float *b, size_t n);      /* a * b */
    void (*scale)(float *y, const float *x, float factor, size_t n);      /* x * factor */
    void (*add_scaled)(float *y, const float *x, float factor, size_t n); /* fma(x, factor, y) */
    void (*softcap)(float *y, const float *x, float cap, size_t n);       /* tanh(x / cap) * cap */
    void (*silu)(float *y, const float *x, size_t n);                     /* x / (1 + exp(-x)) */
    void (*gelu)(float *y, const float *x, size_t n);                     /* the tanh form */
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*swiglu)(float *y, const float *gate, const float *up, size_t n); /* silu(gate) * up */
    void (*geglu)(float *y, const float *gate, const float *up, size_t n);  /* gelu(gate) * up */

    /* Rotates the first n_rot of x by pairs; cs holds cos, sin for pair i at [2i], [2i + 1].
     * Interleaved pairs are (2i, 2i+1), half-split pairs (i, i + n_rot/2). For a pair (a, b):
     * (fma(a, c, -(b * s)), fma(a, s, b * c)). */
    void (*rope_interleaved)(float *x, const float *cs, size_t n_rot);
    void (*rope_split)(float *x, const float *cs, size_t n_rot);

    size_t (*argmax)(const float *x, size_t n); /* the lowest index among equals; NaN never wins */
} spn_kernels;

/* The constant table of a level; DEFAULT is the best available. NULL when the processor or this
 * build does not have the level. Any thread. */
const spn_kernels *spn_kernels_get(spn_cpu_level level);

/* What each level's files add to a table (internal to compute; only those that are built exist). */
void spn_qmat_init_ref(spn_kernels *table);
void spn_fmat_init_ref(spn_kernels *table);
void spn_vec_init_ref(spn_kernels *table);
void spn_qmat_init_avx2(spn_kernels *table);
void spn_fmat_init_avx2(spn_kernels *table);
void spn_vec_init_avx2(spn_kernels *table);
void spn_qmat_init_avx512(spn_kernels *table);
void spn_fmat_init_avx512(spn_kernels *table);
void spn_vec_init_avx512(spn_kernels *table);
void spn_qmat_init_neon(spn_kernels *table);
void spn_fmat_init_neon(spn_kernels *table);
void spn_vec_init_neon(spn_kernels *table);
void spn_qmat_init_dotprod(spn_kernels *table);
void spn_qmat_init_i8mm(spn_kernels *table);

#endif
