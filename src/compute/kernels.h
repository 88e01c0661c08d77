/* kernels.h - the table of kernels, and the arithmetic that every level must reproduce bit for bit.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A level (ref, avx2, avx512, neon, ...) is one file per kernel family: qmat_*.c multiplies
 * quantised matrices, fmat_*.c float ones, attn_*.c attends, delta_*.c is linear attention's rule,
 * vec_*.c does the rest.
 * spn_kernels_get fills a table with the reference and lets each level up to the one asked for
 * override entries. Tables are constant afterwards: share them freely.
 *
 * THE CONTRACT. A kernel's result is a function of its inputs alone: not of the number of rows or
 * tokens in the call, of alignment, or of the level. Every level gives the same bits, because the
 * order and the rounding of each floating-point operation is fixed below. `fma` is fused, rounded
 * once; everything else is IEEE single precision, round to nearest even. -ffp-contract=off holds
 * everywhere. (Which NaN a NaN is, is not fixed.)
 *
 * (1) Sum of n floats x_i ("lane sum"): 16 lanes, all +0 at the start; element i is added to lane
 *     i % 16, in ascending order of i; then lanes fold:
 *         for (h = 8; h; h /= 2) for (j = 0; j < h; j++) lane[j] = lane[j] + lane[j + h];
 *     the sum is lane[0]. A dot product is the same with lane = fma(a_i, b_i, lane). In a sum,
 *     elements past the end may be taken as zeros: lanes start at +0 and never become -0. In a dot
 *     product they may not: a product that underflows can leave -0, and adding +0 would change it.
 *
 * (2) Quantised activations. A row of k floats becomes blocks of n = 32 (for weights in blocks of
 *     32; k % 32 == 0) or groups of n = 128 (for weights in super-blocks of 256; k % 128 == 0): q
 *     (int8 in -127..127) and one d (f32) for n elements, and sums of q over each 16. amax = max
 *     |x_i| of the n.
 *       amax == 0:           d = 0, q = 0.
 *       amax not finite (or any x is NaN): d = NaN, q = 0.
 *       otherwise for j = 0..7:  m = 127 - j, id = m / amax, q_i = rint(x_i * id) (nearest even),
 *         d = amax / m, e_i = fma(-d, (float)q_i, x_i), error = dot (1) of e with itself;
 *       the candidate with the smallest error wins, the lowest j among equals. If amax is so small
 *       that 127 / amax is not finite, d = 0 and q = 0 (the n elements are flushed to zero).
 *     Eight candidates cost a few percent of a product and lower the rounding error by 6-9 %.
 *
 * (3) Product of a quantised weight row w with a quantised activation row, both k long. S and M
 *     are exact integers, sums over elements; D and N are f32 values that the format gives exactly
 *     (quant.h has the list by type).
 *     Types with blocks of 32, numbered b = 0, 1, ...: four chains acc[0..3] start at +0 and block
 *     b goes to chain l = b % 4, blocks ascending:
 *         acc[l] = fma((float)S, D * d_b, acc[l]);
 *         acc[l] = fma(N, (float)M * d_b, acc[l]);      only for the types with a minimum
 *     and the result is (acc[0] + acc[2]) + (acc[1] + acc[3]). |S| and |M| are below 2^24, so they
 *     are exact as floats. M is the plain sum of the block's activations: (float)M * d_b is
 *     spn_act.dsum. Four chains because a row-wise kernel finds 4 blocks side by side in its
 *     registers, and a tiled one may walk its panel chain by chain.
 *     Types with super-blocks of 256, in groups of 128 elements numbered g = 0, 1, ...: acc starts
 *     at +0, groups ascending:
 *         acc = fma((float)S, D * d_g, acc);
 *         acc = fma(N, (float)M * d_g, acc);            only for the types with a minimum
 *     All that happens inside a group is integer, so it may happen in any order. |S| < 2^27 is
 *     rounded by the conversion (to nearest even), |M| < 2^24 is exact.
 *
 * (4) Product with an F32 or F16 weight row: the dot product of (1) over the weights converted to
 *     f32 (exact) and the f32 activations, both filled up with zeros to a multiple of 16.
 *     With a BF16 weight row: the activations are bfloat16 too, rounded to nearest even, and rows
 *     are filled up with zeros to a multiple of 32. Lane l takes elements 32 i + 2 l + 1 and then
 *     32 i + 2 l, i ascending: lane = fma(w, x, lane). Lanes fold as in (1). In all this subnormal
 *     numbers are zeros, read or given, with their sign: as vdpbf16ps has it.
 *
 * (5) exp, tanh and what is built on them: vec_math.h, written with fma, the same on all levels.
 *
 * (6) Attention of one query row over the cached positions first <= j <= last, in blocks of 64
 *     positions that begin at multiples of 64, ascending. m, l and o[dim_v] start as -inf, 0, 0,
 * or, with a sink, as sink, 1, 0. For each block, over its visible positions only: s_j = chain over
 * e = 0, 1, ... dim_k - 1 of s = fma(q_e, k_je, s), from +0 s_j = softcap (tanh(s_j / cap) * cap),
 * where there is one m'  = max(m, s_j...);  c = exp(m - m');  p_j = exp(s_j - m') l   = fma(l, c,
 * lane sum (1) of the block's 64 p_j, invisible ones being 0) o_e = o_e * c, then o_e = fma(p_j,
 * v_je, o_e) for j ascending;  m = m' and out_e = o_e * (1 / l), or 0 where l is 0. (exp(-inf) = 0;
 * where m is -inf, c = 0.) Blocks lie at fixed places, so the result does not depend on how a
 * prompt was cut.
 *
 * (7) Gated delta rule of one head (arXiv:2412.06464), S [d][d] with a row for each number of the
 *     key. For each token, with chains over i = 0, 1, ... d - 1 from +0:
 *         S_ij = S_ij * decay;             u_j = fma(S_ij, k_i, u_j);
 *         e_j = beta * (v_j - u_j);
 *         S_ij = fma(e_j, k_i, S_ij);      o_j = fma(S_ij, q_i, o_j).
 */
#ifndef SPN_KERNELS_H
#define SPN_KERNELS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"
#include "spn/platform.h"

#define SPN_ACT_BLOCK 32
#define SPN_ACT_GROUP 128

/* The forms in which products want their activations, as a set. */
typedef enum spn_act_form {
    SPN_ACT_FORM_BLOCKS = 1, /* of 32 */
    SPN_ACT_FORM_GROUPS = 2, /* of 128 */
    SPN_ACT_FORM_BF16 = 4    /* rounded to bfloat16 */
} spn_act_form;
#define SPN_ACT_SCALED_FORMS 2 /* the first ones */
/* What weights of a type want; 0: floats. */
unsigned spn_act_form_of(spn_type type);
/* The elements that share a scale, in blocks and groups. */
static inline size_t spn_act_form_len(unsigned form) {
    return form == SPN_ACT_FORM_GROUPS ? SPN_ACT_GROUP : SPN_ACT_BLOCK;
}

/* The activations of a product. F32 and F16 weights read `x`, BF16 ones `bf16`, quantised ones the
 * rest, in the form that their type wants: n is 32 or 128. */
typedef struct spn_act {
    const float *x;       /* [n_tokens][ldx], the first k of each row */
    size_t ldx;           /* in floats */
    const int8_t *q;      /* [n_tokens][k] */
    const float *d;       /* [n_tokens][k / n] */
    const float *dsum;    /* blocks only: [n_tokens][k / 32]: d * (float)(sum of the block's q) */
    const int16_t *sum;   /* [n_tokens][k / 16]: sum of 16 q */
    const uint16_t *bf16; /* [n_tokens][k] */
} spn_act;

/* y[t * ldy + r] = w[r] . act[t] for rows r in [row_begin, row_end) and all tokens. */
typedef struct spn_matmul_args {
    const uint8_t *w; /* [n_rows] rows, row_bytes apart, of k elements of one type */
    size_t row_bytes; /* any alignment */
    size_t k;
    spn_act act;
    size_t n_tokens;
    float *y;
    size_t ldy;          /* in floats */
    const uint8_t *next; /* what is read after these rows; NULL: what lies behind them */
    void *scratch;       /* 64-byte aligned, this call's own, spn_kernels.matmul_scratch(k) bytes */
} spn_matmul_args;

typedef void (*spn_matmul_fn)(const spn_matmul_args *args, size_t row_begin, size_t row_end);

/* Where the n rows from r on begin, for kernels that take n at a time; past `end` the last again.
 */
static inline void spn_rows_from(const uint8_t **rows, size_t n, const uint8_t *w, size_t row_bytes,
                                 size_t r, size_t end) {
    for (size_t i = 0; i < n; i++) rows[i] = w + (r + i < end ? r + i : end - 1) * row_bytes;
}

/* The rows that have at least n_bytes, for a kernel that takes `step` at a time. */
static inline size_t spn_rows_of(size_t row_bytes, size_t n_bytes, size_t step) {
    return (n_bytes + step * row_bytes - 1) / (step * row_bytes) * step;
}

/* What a kernel that is at row r of those before `end` asks for: what lies n rows further on or,
 * past the last of them, as far from args->next. */
static inline const uint8_t *spn_rows_ahead(const uint8_t *w, size_t row_bytes, size_t r,
                                            size_t end, size_t n, const uint8_t *next) {
    return next != NULL && r + n >= end ? next + (r + n - end) * row_bytes
                                        : w + (r + n) * row_bytes;
}

/* The K cache of one KV head is a row of tiles of 16 positions, so that scores of 16 positions
 * stand in one register. A tile of dim_k elements, by type:
 *   F32 F16 BF16  elements [dim_k][16]: element e of position i at e * 16 + i
 *   Q8_0          for each 32 elements: f16 d [16], then int8 [32][16]; value d_i * q
 *   Q4_0          for each 32 elements: f16 d [16], then words of 32 bits [4][16]: nibble j, from
 *                 the lowest, of word (w, i) is element 8 w + j, q - 8 as four bits with a sign;
 *                 value d_i * (q - 8)
 * A tile takes as many bytes as 16 rows of the type. The V cache of one KV head is rows
 * [position][dim_v] of the type as a GGUF file has them. */
#define SPN_KV_TILE 16
#define SPN_KV_BLOCK 64

typedef struct spn_attn_args {
    size_t n_q;          /* query rows, all on one KV head: heads of a group, tokens of a batch */
    const float *q;      /* [n_q][ldq], scaled */
    size_t ldq;          /* in floats */
    size_t dim_k, dim_v; /* dim_k % 4 == 0; % 32 for the quantised types */
    spn_type type_k, type_v;      /* F32 F16 BF16 Q8_0 Q4_0 */
    const uint8_t *k;             /* tiles */
    const uint8_t *v;             /* rows */
    size_t v_stride;              /* bytes from one position's V to the next */
    uint32_t ring;                /* position p lives at p % ring; a multiple of 64 */
    const uint32_t *first, *last; /* [n_q]: row i sees first[i] <= j <= last[i], or nothing where
                                     first[i] > last[i] */
    float softcap;                /* 0: none */
    const float *sink;            /* [n_q], or NULL */
    float *out;                   /* [n_q][ldo] */
    size_t ldo;
    void *scratch; /* 64-byte aligned, this call's own, spn_attn_scratch(n_q, dim_k, dim_v) */
} spn_attn_args;
typedef void (*spn_attn_fn)(const spn_attn_args *args);
size_t spn_attn_scratch(size_t n_q, size_t dim_k, size_t dim_v);

/* Puts a row of the type into the tiles at slot `at` (position % ring). */
void spn_k_tile_store(uint8_t *tiles, spn_type type, size_t at, const void *row, size_t dim_k);
/* And out again, as f32. */
void spn_k_tile_load(float *x, const uint8_t *tiles, spn_type type, size_t at, size_t dim_k);

typedef struct spn_delta_args {
    size_t n_tokens;    /* at least 1 */
    size_t d;           /* at least 1 */
    const float *q, *k; /* [n_tokens][d] */
    const float *v;     /* [n_tokens][ldv] */
    size_t ldv;         /* in floats */
    const float *decay; /* [n_tokens] */
    const float *beta;  /* [n_tokens] */
    float *state;       /* S [d][d], moved on */
    float *o;           /* [n_tokens][d] */
} spn_delta_args;

typedef struct spn_kernels {
    spn_cpu_level level;

    /* Products by weight type; NULL: not supported. Row ranges that start at a multiple of 32 and
     * are a multiple of 32 long are the fast ones for many tokens. */
    spn_matmul_fn matmul[SPN_TYPE_LIMIT];
    size_t (*matmul_scratch)(size_t k);

    /* One row of k elements to f32 (exact decoding of the format), and from f32 (for the types a KV
     * cache can have: F32 F16 BF16 Q8_0 Q4_0; round to nearest even); NULL: not supported. */
    void (*to_f32[SPN_TYPE_LIMIT])(float *y, const void *row, size_t k);
    void (*from_f32[SPN_TYPE_LIMIT])(void *row, const float *x, size_t k);

    /* (2) for one row, in blocks or in groups. */
    void (*quantize)(int8_t *q, float *d, float *dsum, int16_t *sum, const float *x, size_t k);
    void (*quantize_groups)(int8_t *q, float *d, int16_t *sum, const float *x, size_t k);

    spn_attn_fn attend;                        /* (6) */
    void (*delta)(const spn_delta_args *args); /* (7) */
    /* In place over n scores: s_j = exp(s_j - max), 0 where s_j is -inf; returns the lane sum of
     * them. All -inf: all 0, returns 0. */
    float (*softmax)(float *s, size_t n);

    /* y_i = x_i * r * w_i (w NULL: x_i * r), as (x_i * r) * w_i, with
     * r = 1 / sqrt(dot(x, x) / n + eps). y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* m = lane sum / n; c_i = x_i - m; r = 1 / sqrt(dot(c, c) / n + eps); y_i = fma(c_i * r, w_i,
     * b_i) (w or b NULL: 1 or 0, then without that operation). y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n,
                       float eps);
    float (*dot)(const float *a, const float *b, size_t n); /* (1) */

    void (*add)(float *y, const float *a, const float *b, size_t n); /* a + b; y may be a */
    void (*mul)(float *y, const float *a, const float *b, size_t n); /* a * b */
    void (*scale)(float *y, const float *x, float factor, size_t n); /* x * factor */
    void (*add_scaled)(float *y, const float *x, float factor,
                       size_t n); /* y = fma(x, factor, y) */
    /* y = fma(a, b, y) */
    void (*add_product)(float *y, const float *a, const float *b, size_t n);
    void (*softcap)(float *y, const float *x, float cap, size_t n); /* tanh(x / cap) * cap */
    void (*silu)(float *y, const float *x, size_t n);               /* x / (1 + exp(-x)) */
    void (*gelu)(float *y, const float *x, size_t n);               /* the tanh form */
    void (*sigmoid)(float *y, const float *x, size_t n);            /* 1 / (1 + exp(-x)) */
    void (*swiglu)(float *y, const float *gate, const float *up, size_t n); /* silu(gate) * up */
    void (*geglu)(float *y, const float *gate, const float *up, size_t n);  /* gelu(gate) * up */

    /* Rotates the first n_rot of x by pairs; cs holds cos, sin for pair i at [2i], [2i + 1].
     * Interleaved pairs are (2i, 2i+1), half-split pairs (i, i + n_rot/2). For a pair (a, b):
     * (fma(a, c, -(b * s)), fma(a, s, b * c)). */
    void (*rope_interleaved)(float *x, const float *cs, size_t n_rot);
    void (*rope_split)(float *x, const float *cs, size_t n_rot);

    size_t (*argmax)(const float *x, size_t n); /* the lowest index among equals; NaN never wins */

    /* Loops that do nothing but reach a limit of the processor; see roofline.h. read: some function
     * of the bytes; int8, f32: the operations that n_rounds took. */
    uint64_t (*roof_read)(const uint8_t *data, size_t n_bytes);
    double (*roof_int8)(uint64_t n_rounds);
    double (*roof_f32)(uint64_t n_rounds);
} spn_kernels;

/* What a kernel will read from memory soon is asked for, in the order in which memory has it. Into
 * the first cache where that is large, else into the second. Measured: Zen 5 (48 KiB) reads weights
 * 1.02 to 1.1 times as fast for one token and 1.1 to 1.3 times for twelve when they go to the
 * first, Zen 4 (32 KiB) at 0.6 of its speed. Set before a table is given out. */
extern atomic_bool spn_fetch_near;
static inline bool spn_fetches_near(void) {
    return atomic_load_explicit(&spn_fetch_near, memory_order_relaxed);
}
/* For functions that only prefetch: gcc takes them for functions without effects and drops calls
 * of them that it does not inline. */
#define SPN_PREFETCHES static inline __attribute__((always_inline))

/* Loops that live on it have `near` as a constant: a branch in them cost Q6_K 12 %. */
SPN_PREFETCHES void spn_fetch(const uint8_t *from, size_t n, const bool near) {
    if (near)
        for (size_t at = 0; at < n; at += 64) __builtin_prefetch(from + at, 0, 3);
    else
        for (size_t at = 0; at < n; at += 64) __builtin_prefetch(from + at, 0, 2);
}

/* The same for what this pass reads once: the caches' room is left to others (activations, the KV
 * cache), which makes generation 1.03 to 1.05 times as fast on Zen 5. */
SPN_PREFETCHES void spn_fetch_once(const uint8_t *from, size_t n, const bool near) {
    if (near)
        for (size_t at = 0; at < n; at += 64) __builtin_prefetch(from + at, 0, 0);
    else
        spn_fetch(from, n, near);
}

/* The lines of 32 rows' outputs that a tile will write, before it is multiplied: those stores would
 * wait for memory one after the other. */
SPN_PREFETCHES void spn_fetch_output(const float *y, size_t ldy, size_t n_tokens) {
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t i = 0; i < 32; i += 16) __builtin_prefetch(y + t * ldy + i, 0, 3);
}

/* Loads before this stay before what is asked for behind it: where gcc had turned them about, Q6_K
 * out of memory came at 0.7 of its speed. */
static inline void spn_keep_loads_first(void) { __asm__ volatile("" ::: "memory"); }

/* Bytes that are asked for in steps while others are computed with: a burst would fill the queue in
 * which other loads stand too. */
typedef struct spn_ahead {
    const uint8_t *at, *end;
    size_t step; /* bytes, of whole lines */
    bool near;
} spn_ahead;

/* n_steps: at least 1. */
static inline spn_ahead spn_ahead_of(const uint8_t *from, size_t n_bytes, size_t n_steps) {
    size_t n_lines = (n_bytes + 64 * n_steps - 1) / (64 * n_steps);
    return (spn_ahead){from, from + n_bytes, 64 * n_lines, spn_fetches_near()};
}

/* The n_rows rows from r on. */
static inline spn_ahead spn_ahead_of_rows(const spn_matmul_args *args, size_t r, size_t n_rows,
                                          size_t n_steps) {
    return spn_ahead_of(args->w + r * args->row_bytes, n_rows * args->row_bytes, n_steps);
}

SPN_PREFETCHES void spn_fetch_step(spn_ahead *ahead) {
    if (ahead->at >= ahead->end) return;
    spn_fetch(ahead->at, ahead->step, ahead->near);
    ahead->at += ahead->step;
}

/* Scratch that products with float weights need for rows of k: sums and a panel (fmat_lanes.h),
 * which has a tile's rows, filled up to 16 elements, if they are long. */
#define SPN_FMAT_MAX_ROWS 4 /* of a tile, at any level */
#define SPN_FMAT_SUMS_BYTES ((size_t)24 * 1024)
#define SPN_FMAT_PANEL_BYTES ((size_t)640 * 1024)
static inline size_t spn_fmat_padded(size_t k) { return (k + 15) / 16 * 16; }
static inline size_t spn_fmat_scratch(size_t k) {
    const size_t tile = SPN_FMAT_MAX_ROWS * sizeof(float) * spn_fmat_padded(k);
    return SPN_FMAT_SUMS_BYTES + spn_max_size(SPN_FMAT_PANEL_BYTES, tile);
}

/* The constant table of a level; DEFAULT is the best available. NULL when the processor or this
 * build does not have the level. Any thread. */
const spn_kernels *spn_kernels_get(spn_cpu_level level);

/* What each level's files add to a table (internal to compute; only those that are built exist). */
void spn_qmat_init_ref(spn_kernels *table);
void spn_fmat_init_ref(spn_kernels *table);
void spn_attn_init_ref(spn_kernels *table);
void spn_delta_init_ref(spn_kernels *table);
void spn_vec_init_ref(spn_kernels *table);
void spn_roof_init_ref(spn_kernels *table);
void spn_roof_init_avx2(spn_kernels *table);
void spn_roof_init_avx512(spn_kernels *table);
void spn_qmat_init_avx2(spn_kernels *table);
void spn_fmat_init_avx2(spn_kernels *table);
void spn_attn_init_avx2(spn_kernels *table);
void spn_delta_init_avx2(spn_kernels *table);
void spn_vec_init_avx2(spn_kernels *table);
void spn_qmat_init_avx512(spn_kernels *table);
void spn_fmat_init_avx512(spn_kernels *table);
void spn_fmat_init_avx512bf16(spn_kernels *table);
void spn_attn_init_avx512(spn_kernels *table);
void spn_delta_init_avx512(spn_kernels *table);
void spn_vec_init_avx512(spn_kernels *table);
void spn_qmat_init_neon(spn_kernels *table);
void spn_fmat_init_neon(spn_kernels *table);
void spn_attn_init_neon(spn_kernels *table);
void spn_delta_init_neon(spn_kernels *table);
void spn_vec_init_neon(spn_kernels *table);
void spn_qmat_init_dotprod(spn_kernels *table);
void spn_qmat_init_i8mm(spn_kernels *table);

#endif
