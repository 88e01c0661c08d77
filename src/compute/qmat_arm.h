/* qmat_arm.h - products with quantised weights on 64-bit ARM (contract (3)); qmat_neon.c,
 * qmat_dotprod.c and qmat_i8mm.c include it, compiled for their instructions.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Rows are unpacked into a panel in the scratch, one panel for all tokens of the call. A group is
 * four blocks of 32, the contract's four chains: step s = 0..7 of a group holds elements 4 s .. 4 s
 * + 3 of each of its blocks, 16 bytes, so that after 8 steps the four numbers of a register are the
 * four blocks' sums S, next to each other like the group's D, N and accumulators. The activations
 * are brought into the same order, a token at a time.
 *
 * Per row, token and group (128 products): 8 loads and 8 dot instructions (12 multiplies and 8
 * additions without SDOT), then a conversion, a multiply and a fused multiply-add. With one token a
 * weight costs its unpacking on top, a few operations for 16 of them.
 *
 * A type says its weights as one or two planes of bytes:
 *   one plane, S = sum s p;  a factor for each sub-block of 16, S = f0 sum s p + f1 sum s p;  or,
 * for a decoder that gives 13 bits, two planes, S = 64 sum high p + sum low p.
 */
#ifndef SPN_QMAT_ARM_H
#define SPN_QMAT_ARM_H

#include <arm_neon.h>

#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define PANEL_ROWS \
    16 /* that share a token's activations: 44 bytes an element in the second cache */

typedef enum panel_kind {
    PANEL_PLAIN,   /* one plane */
    PANEL_FACTORS, /* one plane, factors for sub-blocks */
    PANEL_WIDE     /* two planes */
} panel_kind;

/* One group of a row. */
typedef struct panel_group {
    int8_t s[128];        /* [8 steps][4 blocks][4] */
    int8_t high[128];     /* the second plane; else unused */
    float d[4], n[4];     /* [block] */
    int32_t factor[2][4]; /* [sub-block][block] */
    int32_t m[2][4];      /* [sub-block][block]: minima, of Q2_K */
} panel_group;

/* One group of a token. */
typedef struct act_group {
    int8_t q[128]; /* [8 steps][4 blocks][4] */
    float d[4], dsum[4];
    int32_t sum[2][4];
} act_group;

/* ---- products of bytes: two steps of a group at a time ---- */

#ifdef __ARM_FEATURE_DOTPROD

typedef int32x4_t dot_acc;

static inline dot_acc dot_zero(void) { return vdupq_n_s32(0); }

static inline dot_acc dot_add(dot_acc acc, int8x16_t a, int8x16_t x, int8x16_t b, int8x16_t y) {
    return vdotq_s32(vdotq_s32(acc, a, x), b, y);
}

static inline int32x4_t dot_sum(dot_acc acc) { return acc; }

#else

/* Two products of bytes fit 16 bits (2 * 128 * 127 = 32512 < 32768), so two steps are multiplied
 * into one register before it is added up: per 32 bytes four multiplies and two additions. */
typedef struct dot_acc {
    int32x4_t low, high; /* blocks 0 0 1 1 and 2 2 3 3 */
} dot_acc;

static inline dot_acc dot_zero(void) { return (dot_acc){vdupq_n_s32(0), vdupq_n_s32(0)}; }

static inline dot_acc dot_add(dot_acc acc, int8x16_t a, int8x16_t x, int8x16_t b, int8x16_t y) {
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(x)), high = vmull_high_s8(a, x);
    low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(y));
    high = vmlal_high_s8(high, b, y);
    return (dot_acc){vpadalq_s16(acc.low, low), vpadalq_s16(acc.high, high)};
}

static inline int32x4_t dot_sum(dot_acc acc) { return vpaddq_s32(acc.low, acc.high); }

#endif

/* ---- unpacking ---- */

/* Puts 16 bytes of a block at their places in a group: element 16 h + i. */
static ALWAYS_INLINE void put_16(int8_t *group, size_t block, size_t h, int8x16_t bytes) {
    int32x4_t fours = vreinterpretq_s32_s8(bytes);
    int32_t *at = (int32_t *)(void *)(group + 64 * h + 4 * block);
    vst1q_lane_s32(at, fours, 0);
    vst1q_lane_s32(at + 4, fours, 1);
    vst1q_lane_s32(at + 8, fours, 2);
    vst1q_lane_s32(at + 12, fours, 3);
}

/* The panel's view of one block, filled by a loader. */
typedef struct block_view {
    int8x16_t lo, hi; /* s of elements 0-15 and 16-31 */
    float d, n;
    int factor[2], m[2];
} block_view;

typedef void (*block_loader)(block_view *view, const uint8_t *row, size_t b);

static ALWAYS_INLINE uint8x16_t low_nibbles(uint8x16_t x) { return vandq_u8(x, vdupq_n_u8(15)); }
static ALWAYS_INLINE int8x16_t minus(uint8x16_t x, int offset) {
    return vsubq_s8(vreinterpretq_s8_u8(x), vdupq_n_s8((int8_t)offset));
}

static ALWAYS_INLINE void view_nibbles(block_view *view, const uint8_t *qs, int offset) {
    uint8x16_t x = vld1q_u8(qs);
    view->lo = minus(low_nibbles(x), offset);
    view->hi = minus(vshrq_n_u8(x, 4), offset);
}

static ALWAYS_INLINE void view_table(block_view *view, const uint8_t *qs, const int8_t *values) {
    uint8x16_t x = vld1q_u8(qs);
    int8x16_t table = vld1q_s8(values);
    view->lo = vqtbl1q_s8(table, low_nibbles(x));
    view->hi = vqtbl1q_s8(table, vshrq_n_u8(x, 4));
}

/* 0x10 in each byte whose bit is set among 16. */
static ALWAYS_INLINE uint8x16_t fifth_bits(const uint8_t *bits) {
    const uint8x16_t mask = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t x = vcombine_u8(vdup_n_u8(bits[0]), vdup_n_u8(bits[1]));
    return vandq_u8(vtstq_u8(x, mask), vdupq_n_u8(16));
}

static ALWAYS_INLINE void view_fives(block_view *view, const uint8_t *qs, const uint8_t *qh,
                                     int offset) {
    uint8x16_t x = vld1q_u8(qs);
    view->lo = minus(vorrq_u8(low_nibbles(x), fifth_bits(qh)), offset);
    view->hi = minus(vorrq_u8(vshrq_n_u8(x, 4), fifth_bits(qh + 2)), offset);
}

/* `bits` bits from `shift` on, of 16 bytes. */
static ALWAYS_INLINE uint8x16_t bits_of(const uint8_t *x, size_t shift, unsigned bits) {
    uint8x16_t v = vshlq_u8(vld1q_u8(x), vdupq_n_s8((int8_t) - (int)shift));
    return vandq_u8(v, vdupq_n_u8((uint8_t)((1u << bits) - 1)));
}

static void load_q4_0(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q4_0 *block = (const spn_block_q4_0 *)row + b;
    view->d = spn_f32_of_f16(block->d);
    view_nibbles(view, block->qs, 8);
}

static void load_q4_1(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q4_1 *block = (const spn_block_q4_1 *)row + b;
    view->d = spn_f32_of_f16(block->d);
    view->n = spn_f32_of_f16(block->m);
    view_nibbles(view, block->qs, 0);
}

static void load_q5_0(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q5_0 *block = (const spn_block_q5_0 *)row + b;
    view->d = spn_f32_of_f16(block->d);
    view_fives(view, block->qs, block->qh, 16);
}

static void load_q5_1(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q5_1 *block = (const spn_block_q5_1 *)row + b;
    view->d = spn_f32_of_f16(block->d);
    view->n = spn_f32_of_f16(block->m);
    view_fives(view, block->qs, block->qh, 0);
}

static void load_q8_0(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q8_0 *block = (const spn_block_q8_0 *)row + b;
    view->d = spn_f32_of_f16(block->d);
    view->lo = vld1q_s8(block->qs);
    view->hi = vld1q_s8(block->qs + 16);
}

static void load_q2_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q2_k *block = (const spn_block_q2_k *)row + b / 8;
    b %= 8;
    const uint8_t *qs = block->qs + 32 * (b / 4);
    view->d = spn_f32_of_f16(block->d);
    view->n = -spn_f32_of_f16(block->dmin);
    view->lo = minus(bits_of(qs, 2 * (b % 4), 2), 0);
    view->hi = minus(bits_of(qs + 16, 2 * (b % 4), 2), 0);
    for (size_t h = 0; h < 2; h++) {
        view->factor[h] = block->scales[2 * b + h] & 15;
        view->m[h] = block->scales[2 * b + h] >> 4;
    }
}

static void load_q3_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q3_k *block = (const spn_block_q3_k *)row + b / 8;
    b %= 8;
    const uint8_t *qs = block->qs + 32 * (b / 4), *hm = block->hmask;
    uint8x16_t lo = vorrq_u8(bits_of(qs, 2 * (b % 4), 2), vshlq_n_u8(bits_of(hm, b, 1), 2));
    uint8x16_t hi =
        vorrq_u8(bits_of(qs + 16, 2 * (b % 4), 2), vshlq_n_u8(bits_of(hm + 16, b, 1), 2));
    view->d = spn_f32_of_f16(block->d);
    view->lo = minus(lo, 4);
    view->hi = minus(hi, 4);
    for (size_t s = 2 * b; s < 2 * b + 2; s++) {
        int low = s < 8 ? block->scales[s] & 15 : block->scales[s - 8] >> 4;
        view->factor[s % 2] = (low | (block->scales[8 + s % 4] >> 2 * (s / 4) & 3) << 4) - 32;
    }
}

static void load_q4_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q4_k *block = (const spn_block_q4_k *)row + b / 8;
    uint8_t sc, m;
    b %= 8;
    spn_scale_min_k4(block->scales, b, &sc, &m);
    const uint8_t *qs = block->qs + 32 * (b / 2);
    view->d = spn_f32_of_f16(block->d) * (float)sc;
    view->n = -(spn_f32_of_f16(block->dmin) * (float)m);
    view->lo = minus(bits_of(qs, 4 * (b % 2), 4), 0);
    view->hi = minus(bits_of(qs + 16, 4 * (b % 2), 4), 0);
}

static void load_q5_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q5_k *block = (const spn_block_q5_k *)row + b / 8;
    uint8_t sc, m;
    b %= 8;
    spn_scale_min_k4(block->scales, b, &sc, &m);
    const uint8_t *qs = block->qs + 32 * (b / 2), *qh = block->qh;
    view->d = spn_f32_of_f16(block->d) * (float)sc;
    view->n = -(spn_f32_of_f16(block->dmin) * (float)m);
    view->lo = minus(vorrq_u8(bits_of(qs, 4 * (b % 2), 4), vshlq_n_u8(bits_of(qh, b, 1), 4)), 0);
    view->hi =
        minus(vorrq_u8(bits_of(qs + 16, 4 * (b % 2), 4), vshlq_n_u8(bits_of(qh + 16, b, 1), 4)), 0);
}

static void load_q6_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q6_k *block = (const spn_block_q6_k *)row + b / 8;
    b %= 8;
    size_t j = b % 4, nibble = 4 * (j >> 1);
    const uint8_t *ql = block->ql + 64 * (b / 4) + 32 * (j & 1), *qh = block->qh + 32 * (b / 4);
    view->d = spn_f32_of_f16(block->d);
    view->lo = minus(vorrq_u8(bits_of(ql, nibble, 4), vshlq_n_u8(bits_of(qh, 2 * j, 2), 4)), 32);
    view->hi =
        minus(vorrq_u8(bits_of(ql + 16, nibble, 4), vshlq_n_u8(bits_of(qh + 16, 2 * j, 2), 4)), 32);
    view->factor[0] = block->scales[2 * b];
    view->factor[1] = block->scales[2 * b + 1];
}

static void load_iq4_nl(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_iq4_nl *block = (const spn_block_iq4_nl *)row + b;
    view->d = spn_f32_of_f16(block->d);
    view_table(view, block->qs, spn_iq4_values);
}

static void load_iq4_xs(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_iq4_xs *block = (const spn_block_iq4_xs *)row + b / 8;
    b %= 8;
    int ls = (block->scales_l[b / 2] >> 4 * (b % 2) & 15) | (block->scales_h >> 2 * b & 3) << 4;
    view->d = spn_f32_of_f16(block->d) * (float)(ls - 32);
    view_table(view, block->qs + 16 * b, spn_iq4_values);
}

static void load_mxfp4(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_mxfp4 *block = (const spn_block_mxfp4 *)row + b;
    uint32_t bits = block->e < 2 ? 0x200000u << block->e : (uint32_t)(block->e - 1) << 23;
    view->d = spn_f32_of_bits(bits);
    view_table(view, block->qs, spn_mxfp4_values);
}

/* One block from a loader into its group. */
static void unpack_view(panel_group *group, size_t c, block_loader load, const uint8_t *row,
                        size_t b) {
    block_view view = {.factor = {1, 1}};
    load(&view, row, b);
    put_16(group->s, c, 0, view.lo);
    put_16(group->s, c, 1, view.hi);
    group->d[c] = view.d;
    group->n[c] = view.n;
    for (size_t h = 0; h < 2; h++) {
        group->factor[h][c] = view.factor[h];
        group->m[h][c] = view.m[h];
    }
}

/* One block of a type without a loader: s = 64 high + low, with low in -32..31. */
static void unpack_wide(panel_group *group, size_t c, spn_quant_decode_fn decode,
                        const uint8_t *row, size_t b) {
    spn_quant_unit unit;
    decode(&unit, row, b);
    group->d[c] = unit.d;
    for (size_t i = 0; i < 32; i++) {
        int high = (unit.s[i] + 32) >> 6;
        size_t at = i / 4 * 16 + 4 * c + i % 4;
        group->high[at] = (int8_t)high;
        group->s[at] = (int8_t)(unit.s[i] - 64 * high);
    }
}

/* Blocks past the row's end stay zero. */
static void unpack_row(panel_group *groups, spn_type type, block_loader load, const uint8_t *row,
                       size_t n_blocks) {
    spn_quant_decode_fn decode = spn_quant_decoder(type);
    if (n_blocks % 4) memset(&groups[n_blocks / 4], 0, sizeof(*groups));
    for (size_t b = 0; b < n_blocks; b++) {
        if (load)
            unpack_view(&groups[b / 4], b % 4, load, row, b);
        else
            unpack_wide(&groups[b / 4], b % 4, decode, row, b);
    }
}

static void pack_token(act_group *groups, const spn_act *act, size_t t, size_t k) {
    size_t n_blocks = k / 32;
    if (n_blocks % 4) memset(&groups[n_blocks / 4], 0, sizeof(*groups));
    for (size_t b = 0; b < n_blocks; b++) {
        act_group *group = &groups[b / 4];
        size_t c = b % 4, at = t * n_blocks + b;
        put_16(group->q, c, 0, vld1q_s8(act->q + 32 * at));
        put_16(group->q, c, 1, vld1q_s8(act->q + 32 * at + 16));
        group->d[c] = act->d[at];
        group->dsum[c] = act->dsum[at];
        group->sum[0][c] = act->sum[2 * at];
        group->sum[1][c] = act->sum[2 * at + 1];
    }
}

/* ---- products ---- */

/* The four blocks' sums over steps begin..begin + 3, and over all eight. */
static ALWAYS_INLINE int32x4_t half_sums(const int8_t *s, const int8_t *q, size_t h) {
    dot_acc acc = dot_zero();
    for (size_t step = 4 * h; step < 4 * h + 4; step += 2)
        acc = dot_add(acc, vld1q_s8(s + 16 * step), vld1q_s8(q + 16 * step),
                      vld1q_s8(s + 16 * step + 16), vld1q_s8(q + 16 * step + 16));
    return dot_sum(acc);
}

static ALWAYS_INLINE int32x4_t full_sums(const int8_t *s, const int8_t *q) {
    dot_acc acc = dot_zero();
    for (size_t step = 0; step < 8; step += 2)
        acc = dot_add(acc, vld1q_s8(s + 16 * step), vld1q_s8(q + 16 * step),
                      vld1q_s8(s + 16 * step + 16), vld1q_s8(q + 16 * step + 16));
    return dot_sum(acc);
}

static ALWAYS_INLINE int32x4_t group_sums(panel_kind kind, const panel_group *w,
                                          const act_group *x) {
    if (kind == PANEL_FACTORS) {
        int32x4_t a = vmulq_s32(half_sums(w->s, x->q, 0), vld1q_s32(w->factor[0]));
        return vmlaq_s32(a, half_sums(w->s, x->q, 1), vld1q_s32(w->factor[1]));
    }
    if (kind == PANEL_WIDE) return vmlaq_n_s32(full_sums(w->s, x->q), full_sums(w->high, x->q), 64);
    return full_sums(w->s, x->q);
}

/* One group's two fused multiply-adds of four chains. */
static ALWAYS_INLINE float32x4_t group_product(panel_kind kind, bool has_min, const panel_group *w,
                                               const act_group *x, float32x4_t acc) {
    float32x4_t d = vld1q_f32(x->d), sums = vcvtq_f32_s32(group_sums(kind, w, x));
    acc = vfmaq_f32(acc, sums, vmulq_f32(vld1q_f32(w->d), d));
    if (!has_min) return acc;
    if (kind != PANEL_FACTORS) return vfmaq_f32(acc, vld1q_f32(w->n), vld1q_f32(x->dsum));
    int32x4_t mins = vmulq_s32(vld1q_s32(w->m[0]), vld1q_s32(x->sum[0]));
    mins = vmlaq_s32(mins, vld1q_s32(w->m[1]), vld1q_s32(x->sum[1]));
    return vfmaq_f32(acc, vld1q_f32(w->n), vmulq_f32(vcvtq_f32_s32(mins), d));
}

/* Chains that a last, partial group lacks keep what they have, whatever a product of zeros is. */
static ALWAYS_INLINE float32x4_t keep_missing(float32x4_t now, float32x4_t before, size_t n) {
    const uint32x4_t index = {0, 1, 2, 3};
    return vbslq_f32(vcltq_u32(index, vdupq_n_u32((uint32_t)n)), now, before);
}

static ALWAYS_INLINE float row_product(panel_kind kind, bool has_min, const panel_group *w,
                                       const act_group *x, size_t n_blocks) {
    float32x4_t acc = vdupq_n_f32(0.0f);
    size_t g = 0;
    for (; g < n_blocks / 4; g++) acc = group_product(kind, has_min, w + g, x + g, acc);
    if (n_blocks % 4)
        acc = keep_missing(group_product(kind, has_min, w + g, x + g, acc), acc, n_blocks % 4);
    float32x2_t pair = vadd_f32(vget_low_f32(acc), vget_high_f32(acc));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
}

static ALWAYS_INLINE void matmul_rows(spn_type type, panel_kind kind, bool has_min,
                                      block_loader load, const spn_matmul_args *args, size_t begin,
                                      size_t end) {
    size_t n_blocks = args->k / 32, n_groups = (n_blocks + 3) / 4;
    act_group *x = args->scratch;
    panel_group *panel = (panel_group *)(void *)(x + n_groups);
    for (size_t row = begin; row < end; row += PANEL_ROWS) {
        size_t n_rows = end - row < PANEL_ROWS ? end - row : PANEL_ROWS;
        for (size_t r = 0; r < n_rows; r++)
            unpack_row(panel + r * n_groups, type, load, args->w + (row + r) * args->row_bytes,
                       n_blocks);
        for (size_t t = 0; t < args->n_tokens; t++) {
            /* One token's activations stay from panel to panel. */
            if (args->n_tokens > 1 || row == begin) pack_token(x, &args->act, t, args->k);
            for (size_t r = 0; r < n_rows; r++)
                args->y[t * args->ldy + row + r] =
                    row_product(kind, has_min, panel + r * n_groups, x, n_blocks);
        }
    }
}

/* ---- the types ---- */

/* X(NAME, name, kind, has a minimum) */
#define ARM_LOADED_TYPES(X)               \
    X(Q4_0, q4_0, PANEL_PLAIN, false)     \
    X(Q4_1, q4_1, PANEL_PLAIN, true)      \
    X(Q5_0, q5_0, PANEL_PLAIN, false)     \
    X(Q5_1, q5_1, PANEL_PLAIN, true)      \
    X(Q8_0, q8_0, PANEL_PLAIN, false)     \
    X(Q2_K, q2_k, PANEL_FACTORS, true)    \
    X(Q3_K, q3_k, PANEL_FACTORS, false)   \
    X(Q4_K, q4_k, PANEL_PLAIN, true)      \
    X(Q5_K, q5_k, PANEL_PLAIN, true)      \
    X(Q6_K, q6_k, PANEL_FACTORS, false)   \
    X(IQ4_NL, iq4_nl, PANEL_PLAIN, false) \
    X(IQ4_XS, iq4_xs, PANEL_PLAIN, false) \
    X(MXFP4, mxfp4, PANEL_PLAIN, false)

#define ARM_WIDE_TYPES(X) \
    X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) X(IQ1_S) X(IQ1_M) X(TQ1_0) X(TQ2_0)

#endif
