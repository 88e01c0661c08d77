/* qmat_arm.h - products with quantised weights on 64-bit ARM (contract (3)); qmat_neon.c,
 * qmat_dotprod.c and qmat_i8mm.c include it, compiled for their instructions.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Four rows go together, 128 elements at a time: four blocks of 32, which are the four chains of
 * types with such blocks, or one group of types with super-blocks. A row's 128 bytes lie in 8
 * steps; step i holds elements 4 i .. 4 i + 3 of each of the four blocks, 16 bytes, so that after 8
 * steps the four numbers of a register are the sums of the four blocks. A token's activations are
 * brought into the same order.
 *
 * Blocks: the register meets the blocks' D, N and d in the row's four chains.
 *
 * Groups: it is multiplied by the blocks' integer scales (two halves of 4 steps where a scale is
 * for 16 elements), the registers of four rows are added up into one, [row], and this meets the
 * group's D and d in one chain. M is made of the sums of q, for four rows at once.
 * Types whose decoder alone multiplies the scales in have 13 bits: two planes, S = 64 H + L.
 *
 * Vector operations for 4 rows, a token and 128 elements (512 products), loads aside; in brackets
 * the multiplications of bytes among them:
 *                        blocks    Q4_K      Q6_K      Q2_K
 *   SDOT                 44 (32)   49 (32)   46 (32)   57 (32)
 *   without              88 (64)   93 (64)  102 (64)  113 (64)
 * Without SDOT a product of two bytes takes 16 bits, where as many steps are added up as the type's
 * weights allow: at 8 steps 16 multiplications and 3 additions a row, at 2 steps 9 additions.
 *
 * With one token a group is unpacked, multiplied and forgotten; with more, panels of 16 rows are
 * unpacked into the scratch and meet every token there.
 */
#ifndef SPN_QMAT_ARM_H
#define SPN_QMAT_ARM_H

#include <arm_neon.h>

#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

#define PANEL_ROWS 16 /* 42 bytes an element of the row: in the second cache */

typedef enum panel_kind {
    PANEL_BLOCKS,    /* blocks of 32 */
    PANEL_GROUPS,    /* groups, with an integer scale for each 32 elements */
    PANEL_GROUPS_16, /* for each 16 */
    PANEL_WIDE       /* groups, s = 64 high + low */
} panel_kind;

/* One block of 32 of one row. */
typedef struct block_view {
    int8x16_t s[2], high[2]; /* elements 0-15 and 16-31; high: WIDE */
    float d, n;
    int factor[2], m[2]; /* of the halves; GROUPS: only the first counts */
} block_view;

typedef void (*block_loader)(block_view *view, const uint8_t *row, size_t b);

typedef struct arm_type {
    block_loader load;
    panel_kind kind;
    bool has_min;
    size_t run; /* 2, 4, 8: steps whose sums fit 16 bits, 127 |s| run <= 32767 */
} arm_type;

/* 128 elements of four rows. */
typedef struct panel_group {
    int8_t s[4][128];        /* [row][8 steps][4 blocks][4] */
    int8_t high[4][128];     /* WIDE */
    float d[16], n[16];      /* BLOCKS: [row][block]; else [row] */
    int32_t factor[4][2][4]; /* [row][half][block] */
    int16_t m[8][4];         /* GROUPS: [block][row]; GROUPS_16: [sub-block][row] */
} panel_group;

/* 128 elements of a token. */
typedef struct act_group {
    int8_t q[128];       /* [8 steps][4 blocks][4] */
    float d[4], dsum[4]; /* [block]; groups: d[0] alone */
    int16_t sum[8];      /* of the elements that share a minimum */
} act_group;

/* ---- products of bytes ---- */

/* The four blocks' sums over some steps. */
#ifdef __ARM_FEATURE_DOTPROD

static ALWAYS_INLINE int32x4_t dot(const int8_t *s, const int8_t *q, size_t n_steps, size_t run) {
    int32x4_t acc = vdupq_n_s32(0);
    (void)run;
    SPN_UNROLL(8)
    for (size_t i = 0; i < n_steps; i++)
        acc = vdotq_s32(acc, vld1q_s8(s + 16 * i), vld1q_s8(q + 16 * i));
    return acc;
}

#else

static ALWAYS_INLINE int32x4_t dot(const int8_t *s, const int8_t *q, size_t n_steps, size_t run) {
    int32x4_t low = vdupq_n_s32(0), high = low; /* blocks 0 0 1 1 and 2 2 3 3 */
    SPN_UNROLL(4)
    for (size_t i = 0; i < n_steps; i += run) {
        int16x8_t l = vdupq_n_s16(0), h = l;
        SPN_UNROLL(8)
        for (size_t j = 16 * i; j < 16 * (i + run); j += 16) {
            int8x16_t a = vld1q_s8(s + j), x = vld1q_s8(q + j);
            l = vmlal_s8(l, vget_low_s8(a), vget_low_s8(x));
            h = vmlal_high_s8(h, a, x);
        }
        low = vpadalq_s16(low, l);
        high = vpadalq_s16(high, h);
    }
    return vpaddq_s32(low, high);
}

#endif

/* ---- the types' blocks ---- */

static ALWAYS_INLINE float of_half(uint16_t bits) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}
static ALWAYS_INLINE uint8x16_t low_nibbles(uint8x16_t x) { return vandq_u8(x, vdupq_n_u8(15)); }
static ALWAYS_INLINE int8x16_t minus(uint8x16_t x, int offset) {
    return vsubq_s8(vreinterpretq_s8_u8(x), vdupq_n_s8((int8_t)offset));
}

static ALWAYS_INLINE void view_nibbles(block_view *view, const uint8_t *qs, int offset) {
    uint8x16_t x = vld1q_u8(qs);
    view->s[0] = minus(low_nibbles(x), offset);
    view->s[1] = minus(vshrq_n_u8(x, 4), offset);
}

static ALWAYS_INLINE void view_table(block_view *view, const uint8_t *qs, const int8_t *values) {
    uint8x16_t x = vld1q_u8(qs);
    int8x16_t table = vld1q_s8(values);
    view->s[0] = vqtbl1q_s8(table, low_nibbles(x));
    view->s[1] = vqtbl1q_s8(table, vshrq_n_u8(x, 4));
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
    view->s[0] = minus(vorrq_u8(low_nibbles(x), fifth_bits(qh)), offset);
    view->s[1] = minus(vorrq_u8(vshrq_n_u8(x, 4), fifth_bits(qh + 2)), offset);
}

/* `bits` bits from `shift` on, of 16 bytes. */
static ALWAYS_INLINE uint8x16_t bits_of(const uint8_t *x, size_t shift, unsigned bits) {
    uint8x16_t v = vshlq_u8(vld1q_u8(x), vdupq_n_s8((int8_t) - (int)shift));
    return vandq_u8(v, vdupq_n_u8((uint8_t)((1u << bits) - 1)));
}

static void load_q4_0(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q4_0 *block = (const spn_block_q4_0 *)row + b;
    view->d = of_half(block->d);
    view_nibbles(view, block->qs, 8);
}

static void load_q4_1(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q4_1 *block = (const spn_block_q4_1 *)row + b;
    view->d = of_half(block->d);
    view->n = of_half(block->m);
    view_nibbles(view, block->qs, 0);
}

static void load_q5_0(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q5_0 *block = (const spn_block_q5_0 *)row + b;
    view->d = of_half(block->d);
    view_fives(view, block->qs, block->qh, 16);
}

static void load_q5_1(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q5_1 *block = (const spn_block_q5_1 *)row + b;
    view->d = of_half(block->d);
    view->n = of_half(block->m);
    view_fives(view, block->qs, block->qh, 0);
}

static void load_q8_0(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q8_0 *block = (const spn_block_q8_0 *)row + b;
    view->d = of_half(block->d);
    view->s[0] = vld1q_s8(block->qs);
    view->s[1] = vld1q_s8(block->qs + 16);
}

static void load_q2_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q2_k *block = (const spn_block_q2_k *)row + b / 8;
    b %= 8;
    const uint8_t *qs = block->qs + 32 * (b / 4);
    view->d = of_half(block->d);
    view->n = -of_half(block->dmin);
    view->s[0] = minus(bits_of(qs, 2 * (b % 4), 2), 0);
    view->s[1] = minus(bits_of(qs + 16, 2 * (b % 4), 2), 0);
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
    view->d = of_half(block->d);
    view->s[0] = minus(lo, 4);
    view->s[1] = minus(hi, 4);
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
    view->d = of_half(block->d);
    view->n = -of_half(block->dmin);
    view->factor[0] = sc;
    view->m[0] = m;
    view->s[0] = minus(bits_of(qs, 4 * (b % 2), 4), 0);
    view->s[1] = minus(bits_of(qs + 16, 4 * (b % 2), 4), 0);
}

static void load_q5_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q5_k *block = (const spn_block_q5_k *)row + b / 8;
    uint8_t sc, m;
    b %= 8;
    spn_scale_min_k4(block->scales, b, &sc, &m);
    const uint8_t *qs = block->qs + 32 * (b / 2), *qh = block->qh;
    view->d = of_half(block->d);
    view->n = -of_half(block->dmin);
    view->factor[0] = sc;
    view->m[0] = m;
    view->s[0] = minus(vorrq_u8(bits_of(qs, 4 * (b % 2), 4), vshlq_n_u8(bits_of(qh, b, 1), 4)), 0);
    view->s[1] =
        minus(vorrq_u8(bits_of(qs + 16, 4 * (b % 2), 4), vshlq_n_u8(bits_of(qh + 16, b, 1), 4)), 0);
}

static void load_q6_k(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_q6_k *block = (const spn_block_q6_k *)row + b / 8;
    b %= 8;
    size_t j = b % 4, nibble = 4 * (j >> 1);
    const uint8_t *ql = block->ql + 64 * (b / 4) + 32 * (j & 1), *qh = block->qh + 32 * (b / 4);
    view->d = of_half(block->d);
    view->s[0] = minus(vorrq_u8(bits_of(ql, nibble, 4), vshlq_n_u8(bits_of(qh, 2 * j, 2), 4)), 32);
    view->s[1] =
        minus(vorrq_u8(bits_of(ql + 16, nibble, 4), vshlq_n_u8(bits_of(qh + 16, 2 * j, 2), 4)), 32);
    view->factor[0] = block->scales[2 * b];
    view->factor[1] = block->scales[2 * b + 1];
}

static void load_iq4_nl(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_iq4_nl *block = (const spn_block_iq4_nl *)row + b;
    view->d = of_half(block->d);
    view_table(view, block->qs, spn_iq4_values);
}

static void load_iq4_xs(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_iq4_xs *block = (const spn_block_iq4_xs *)row + b / 8;
    b %= 8;
    int ls = (block->scales_l[b / 2] >> 4 * (b % 2) & 15) | (block->scales_h >> 2 * b & 3) << 4;
    view->d = of_half(block->d);
    view->factor[0] = ls - 32;
    view_table(view, block->qs + 16 * b, spn_iq4_values);
}

static void load_mxfp4(block_view *view, const uint8_t *row, size_t b) {
    const spn_block_mxfp4 *block = (const spn_block_mxfp4 *)row + b;
    uint32_t bits = block->e < 2 ? 0x200000u << block->e : (uint32_t)(block->e - 1) << 23;
    view->d = spn_f32_of_bits(bits);
    view_table(view, block->qs, spn_mxfp4_values);
}

/* s of 8 elements in two planes, low in -32..31 and high in -64..64. */
static ALWAYS_INLINE int8x8_t split(const int16_t *s, int8x8_t *high) {
    int16x8_t x = vld1q_s16(s), h = vrshrq_n_s16(x, 6);
    *high = vmovn_s16(h);
    return vmovn_s16(vsubq_s16(x, vshlq_n_s16(h, 6)));
}

/* Without a loader of its own. */
static void load_unit(block_view *view, spn_type type, const uint8_t *row, size_t b) {
    spn_quant_unit unit;
    spn_quant_decoder(type)(&unit, row, b);
    view->d = unit.d;
    view->factor[0] = 1;
    for (size_t h = 0; h < 2; h++) {
        int8x8_t high[2];
        int8x8_t first = split(unit.s + 16 * h, high),
                 second = split(unit.s + 16 * h + 8, high + 1);
        view->s[h] = vcombine_s8(first, second);
        view->high[h] = vcombine_s8(high[0], high[1]);
    }
}

#define LOAD_UNIT(NAME, name)                                                 \
    static void load_##name(block_view *view, const uint8_t *row, size_t b) { \
        load_unit(view, SPN_TYPE_##NAME, row, b);                             \
    }
LOAD_UNIT(IQ2_XXS, iq2_xxs)
LOAD_UNIT(IQ2_XS, iq2_xs)
LOAD_UNIT(IQ2_S, iq2_s)
LOAD_UNIT(IQ3_XXS, iq3_xxs)
LOAD_UNIT(IQ3_S, iq3_s)
LOAD_UNIT(IQ1_S, iq1_s)
LOAD_UNIT(IQ1_M, iq1_m)
LOAD_UNIT(TQ1_0, tq1_0)
LOAD_UNIT(TQ2_0, tq2_0)

// clang-format off
/* X(NAME, name, kind, has a minimum, run) */
#define ARM_TYPES(X)                           \
    X(Q4_0, q4_0, PANEL_BLOCKS, false, 8)      \
    X(Q4_1, q4_1, PANEL_BLOCKS, true, 8)       \
    X(Q5_0, q5_0, PANEL_BLOCKS, false, 8)      \
    X(Q5_1, q5_1, PANEL_BLOCKS, true, 8)       \
    X(Q8_0, q8_0, PANEL_BLOCKS, false, 2)      \
    X(IQ4_NL, iq4_nl, PANEL_BLOCKS, false, 2)  \
    X(MXFP4, mxfp4, PANEL_BLOCKS, false, 8)    \
    X(Q2_K, q2_k, PANEL_GROUPS_16, true, 4)    \
    X(Q3_K, q3_k, PANEL_GROUPS_16, false, 4)   \
    X(Q4_K, q4_k, PANEL_GROUPS, true, 8)       \
    X(Q5_K, q5_k, PANEL_GROUPS, true, 8)       \
    X(Q6_K, q6_k, PANEL_GROUPS_16, false, 4)   \
    X(IQ4_XS, iq4_xs, PANEL_GROUPS, false, 2)  \
    X(TQ1_0, tq1_0, PANEL_GROUPS, false, 8)    \
    X(TQ2_0, tq2_0, PANEL_GROUPS, false, 8)    \
    X(IQ2_XXS, iq2_xxs, PANEL_WIDE, false, 4)  \
    X(IQ2_XS, iq2_xs, PANEL_WIDE, false, 4)    \
    X(IQ2_S, iq2_s, PANEL_WIDE, false, 4)      \
    X(IQ3_XXS, iq3_xxs, PANEL_WIDE, false, 4)  \
    X(IQ3_S, iq3_s, PANEL_WIDE, false, 4)      \
    X(IQ1_S, iq1_s, PANEL_WIDE, false, 4)      \
    X(IQ1_M, iq1_m, PANEL_WIDE, false, 4)
// clang-format on

/* ---- unpacking ---- */

/* Half h of four blocks at their places among 128 elements. */
static ALWAYS_INLINE void put_half(int8_t *to, size_t h, int8x16_t a, int8x16_t b, int8x16_t c,
                                   int8x16_t d) {
    int32x4x4_t fours = {{vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b), vreinterpretq_s32_s8(c),
                          vreinterpretq_s32_s8(d)}};
    vst4q_s32((int32_t *)(void *)(to + 64 * h), fours);
}

/* Block b of a row. Past its end there are zeros with D = N = -0: what they add to a chain is -0,
 * which changes none, be it 0 or -0. */
static void load_block(block_view *view, const arm_type *type, const uint8_t *row, size_t b,
                       size_t n_blocks) {
    *view = (block_view){.d = -0.0f, .n = -0.0f};
    if (b < n_blocks) type->load(view, row, b);
}

static void put_block_scales(panel_group *to, size_t r, const block_view v[4]) {
    for (size_t c = 0; c < 4; c++) {
        to->d[4 * r + c] = v[c].d;
        to->n[4 * r + c] = v[c].n;
    }
}

static void put_group_scales(panel_group *to, size_t r, bool by_16, const block_view v[4]) {
    to->d[r] = v[0].d;
    to->n[r] = v[0].n;
    for (size_t c = 0; c < 4; c++)
        for (size_t h = 0; h < 2; h++) {
            to->factor[r][h][c] = v[c].factor[h];
            if (by_16)
                to->m[2 * c + h][r] = (int16_t)v[c].m[h];
            else if (h == 0)
                to->m[c][r] = (int16_t)v[c].m[0];
        }
}

/* Group g of row r of four. */
static void unpack_group(panel_group *to, size_t r, const arm_type *type, const uint8_t *row,
                         size_t g, size_t n_blocks) {
    block_view v[4];
    for (size_t c = 0; c < 4; c++) load_block(&v[c], type, row, 4 * g + c, n_blocks);
    for (size_t h = 0; h < 2; h++) {
        put_half(to->s[r], h, v[0].s[h], v[1].s[h], v[2].s[h], v[3].s[h]);
        if (type->kind == PANEL_WIDE)
            put_half(to->high[r], h, v[0].high[h], v[1].high[h], v[2].high[h], v[3].high[h]);
    }
    if (type->kind == PANEL_BLOCKS)
        put_block_scales(to, r, v);
    else
        put_group_scales(to, r, type->kind == PANEL_GROUPS_16, v);
}

/* Row r, or the last one for what is past it. */
static ALWAYS_INLINE const uint8_t *row_at(const spn_matmul_args *args, size_t r, size_t end) {
    return args->w + (r < end ? r : end - 1) * args->row_bytes;
}

/* Group g of rows r..r + 3. */
static void unpack_four(panel_group *to, const arm_type *type, const spn_matmul_args *args,
                        size_t r, size_t end, size_t g) {
    for (size_t i = 0; i < 4; i++)
        unpack_group(to, i, type, row_at(args, r + i, end), g, args->k / 32);
}

static void pack_token(act_group *groups, panel_kind kind, const spn_act *act, size_t t,
                       size_t n_blocks) {
    const int8_t *q = act->q + 32 * n_blocks * t;
    for (size_t g = 0; 4 * g < n_blocks; g++) {
        act_group *to = &groups[g];
        int8x16_t v[2][4];
        size_t n = n_blocks - 4 * g < 4 ? n_blocks - 4 * g : 4, at = t * n_blocks + 4 * g;
        for (size_t c = 0; c < 4; c++)
            for (size_t h = 0; h < 2; h++)
                v[h][c] = c < n ? vld1q_s8(q + 128 * g + 32 * c + 16 * h) : vdupq_n_s8(0);
        for (size_t h = 0; h < 2; h++) put_half(to->q, h, v[h][0], v[h][1], v[h][2], v[h][3]);
        if (kind == PANEL_BLOCKS) {
            for (size_t c = 0; c < 4; c++) {
                to->d[c] = c < n ? act->d[at + c] : 0.0f;
                to->dsum[c] = c < n ? act->dsum[at + c] : 0.0f;
            }
        } else {
            int16x8_t sum = vld1q_s16(act->sum + 2 * at);
            to->d[0] = act->d[at / 4];
            vst1q_s16(to->sum, kind == PANEL_GROUPS_16 ? sum : vpaddq_s16(sum, sum));
        }
    }
}

/* ---- products ---- */

/* The sums of row r's four blocks, scaled. */
static ALWAYS_INLINE int32x4_t row_sums(const arm_type *type, const panel_group *w, size_t r,
                                        const act_group *x) {
    const int8_t *s = w->s[r], *q = x->q;
    if (type->kind == PANEL_GROUPS)
        return vmulq_s32(dot(s, q, 8, type->run), vld1q_s32(w->factor[r][0]));
    if (type->kind == PANEL_GROUPS_16) {
        int32x4_t first = vmulq_s32(dot(s, q, 4, type->run), vld1q_s32(w->factor[r][0]));
        return vmlaq_s32(first, dot(s + 64, q + 64, 4, type->run), vld1q_s32(w->factor[r][1]));
    }
    if (type->kind == PANEL_WIDE)
        return vmlaq_n_s32(dot(s, q, 8, 8), dot(w->high[r], q, 8, type->run), 64);
    return dot(s, q, 8, type->run);
}

/* BLOCKS: acc[row] has the row's four chains. */
static ALWAYS_INLINE void add_blocks(float32x4_t acc[4], const arm_type *type, const panel_group *w,
                                     const act_group *x) {
    float32x4_t d = vld1q_f32(x->d);
    SPN_UNROLL(4)
    for (size_t r = 0; r < 4; r++) {
        float32x4_t sums = vcvtq_f32_s32(row_sums(type, w, r, x));
        acc[r] = vfmaq_f32(acc[r], sums, vmulq_f32(vld1q_f32(w->d + 4 * r), d));
        if (type->has_min) acc[r] = vfmaq_f32(acc[r], vld1q_f32(w->n + 4 * r), vld1q_f32(x->dsum));
    }
}

/* Else acc[0] has the four rows' chains. |M| <= 63 * 127 * 128 < 2^20. */
static ALWAYS_INLINE void add_group(float32x4_t acc[4], const arm_type *type, const panel_group *w,
                                    const act_group *x) {
    int32x4_t s01 = vpaddq_s32(row_sums(type, w, 0, x), row_sums(type, w, 1, x));
    int32x4_t s23 = vpaddq_s32(row_sums(type, w, 2, x), row_sums(type, w, 3, x));
    float32x4_t sums = vcvtq_f32_s32(vpaddq_s32(s01, s23));
    acc[0] = vfmaq_f32(acc[0], sums, vmulq_n_f32(vld1q_f32(w->d), x->d[0]));
    if (!type->has_min) return;
    const size_t n_minima = type->kind == PANEL_GROUPS_16 ? 8 : 4;
    int32x4_t mins = vmull_n_s16(vld1_s16(w->m[0]), x->sum[0]);
    SPN_UNROLL(8)
    for (size_t i = 1; i < n_minima; i++) mins = vmlal_n_s16(mins, vld1_s16(w->m[i]), x->sum[i]);
    acc[0] = vfmaq_f32(acc[0], vld1q_f32(w->n), vmulq_n_f32(vcvtq_f32_s32(mins), x->d[0]));
}

/* (chain 0 + chain 2), (chain 1 + chain 3). */
static ALWAYS_INLINE float32x2_t fold(float32x4_t chains) {
    return vadd_f32(vget_low_f32(chains), vget_high_f32(chains));
}

/* y of n rows. */
static ALWAYS_INLINE void store_rows(float *y, float32x4_t rows, size_t n) {
    float out[4];
    vst1q_f32(out, rows);
    memcpy(y, out, (n < 4 ? n : 4) * sizeof(*y));
}

/* Rows r..r + 3 of token t: `w` has all their groups, or room for one of them. */
static ALWAYS_INLINE void four_rows(const arm_type *type, const spn_matmul_args *args, size_t r,
                                    size_t end, size_t t, panel_group *w, bool is_unpacked,
                                    const act_group *x) {
    size_t n_groups = (args->k / 32 + 3) / 4;
    float32x4_t acc[4];
    for (size_t i = 0; i < 4; i++) acc[i] = vdupq_n_f32(0.0f);
    for (size_t g = 0; g < n_groups; g++) {
        if (!is_unpacked) unpack_four(w, type, args, r, end, g);
        (type->kind == PANEL_BLOCKS ? add_blocks : add_group)(acc, type, w, x + g);
        if (is_unpacked) w++;
    }
    if (type->kind == PANEL_BLOCKS)
        acc[0] = vpaddq_f32(vcombine_f32(fold(acc[0]), fold(acc[1])),
                            vcombine_f32(fold(acc[2]), fold(acc[3])));
    store_rows(args->y + t * args->ldy + r, acc[0], end - r);
}

static ALWAYS_INLINE void matmul_rows(const arm_type *type, const spn_matmul_args *args,
                                      size_t begin, size_t end) {
    size_t n_blocks = args->k / 32, n_groups = (n_blocks + 3) / 4;
    act_group *x = args->scratch;
    panel_group *panel = (panel_group *)(void *)(x + n_groups);
    if (args->n_tokens == 1) {
        pack_token(x, type->kind, &args->act, 0, n_blocks);
        for (size_t r = begin; r < end; r += 4) four_rows(type, args, r, end, 0, panel, false, x);
        return;
    }
    for (size_t row = begin; row < end; row += PANEL_ROWS) {
        size_t n_fours = ((end - row < PANEL_ROWS ? end - row : PANEL_ROWS) + 3) / 4;
        for (size_t i = 0; i < n_fours; i++)
            for (size_t g = 0; g < n_groups; g++)
                unpack_four(panel + i * n_groups + g, type, args, row + 4 * i, end, g);
        for (size_t t = 0; t < args->n_tokens; t++) {
            pack_token(x, type->kind, &args->act, t, n_blocks);
            for (size_t i = 0; i < n_fours; i++)
                four_rows(type, args, row + 4 * i, end, t, panel + i * n_groups, true, x);
        }
    }
}

/* A level's functions, by X of ARM_TYPES. The kinds are constants where all is inlined. */
#define ARM_MATMUL(matmul, NAME, name, ...)                                            \
    static void matmul_##NAME(const spn_matmul_args *args, size_t begin, size_t end) { \
        static const arm_type type = {load_##name, __VA_ARGS__};                       \
        matmul(&type, args, begin, end);                                               \
    }
#define ARM_MATMUL_ROWS(...) ARM_MATMUL(matmul_rows, __VA_ARGS__)
#define ARM_SET(NAME, ...) table->matmul[SPN_TYPE_##NAME] = matmul_##NAME;

#endif
