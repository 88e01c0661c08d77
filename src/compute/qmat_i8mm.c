/* qmat_i8mm.c - quantised products of several tokens with SMMLA (contract (3)).
 * SPDX-License-Identifier: Apache-2.0
 *
 * SMMLA multiplies two rows of 8 bytes with two tokens of 8 bytes into four sums, so two rows and
 * two tokens stand interleaved by 8: four of them make the four S of a block of 32. These go to the
 * block's chain with a conversion, a multiply and a fused multiply-add, or they are multiplied by
 * the block's integer scale and added up over a group, which then has the three float operations.
 *
 * Vector operations for 2 rows, 2 tokens and 128 elements (512 products), SMMLA in brackets:
 *     blocks 28 (16)   Q4_K 30 (16)   Q6_K 27 (16)   Q2_K 38 (16)
 * where SDOT takes 44 to 57. Four rows share the tokens' loads, 12 loads for 8 SMMLA.
 *
 * Calls with one token are left to the functions of qmat_arm.h.
 */
#include "compute/qmat_arm.h"

/* A block of two rows. */
typedef struct pair_block {
    int8_t s[64], high[64];        /* [4 steps][2 rows][8]; high: WIDE */
    float d[4], n[4];              /* row 0, 0, 1, 1 */
    int32_t factor[2][4], m[2][4]; /* [half], as d; GROUPS: only the first */
} pair_block;

/* A block of two tokens. */
typedef struct token_block {
    int8_t q[64];        /* [4 steps][2 tokens][8] */
    float d[4], dsum[4]; /* token 0, 1, 0, 1; in groups: d that of the block's group */
    int32_t sum[2][4];   /* [half]; GROUPS: of the whole block, then 0 */
} token_block;

/* Half h of a block, of two rows or tokens. */
static ALWAYS_INLINE void zip_half(int8_t *to, size_t h, int8x16_t a, int8x16_t b) {
    int64x2_t x = vreinterpretq_s64_s8(a), y = vreinterpretq_s64_s8(b);
    vst1q_s8(to + 32 * h, vreinterpretq_s8_s64(vzip1q_s64(x, y)));
    vst1q_s8(to + 32 * h + 16, vreinterpretq_s8_s64(vzip2q_s64(x, y)));
}

static void unpack_pair(pair_block *to, const arm_type *type, const uint8_t *const rows[2],
                        size_t b, size_t n_blocks) {
    block_view v[2];
    for (size_t r = 0; r < 2; r++) load_block(&v[r], type, rows[r], b, n_blocks);
    for (size_t h = 0; h < 2; h++) {
        zip_half(to->s, h, v[0].s[h], v[1].s[h]);
        if (type->kind == PANEL_WIDE) zip_half(to->high, h, v[0].high[h], v[1].high[h]);
    }
    for (size_t i = 0; i < 4; i++) {
        const block_view *from = &v[i / 2];
        to->d[i] = from->d;
        to->n[i] = from->n;
        for (size_t h = 0; h < 2; h++) {
            to->factor[h][i] = from->factor[h];
            to->m[h][i] = from->m[h];
        }
    }
}

static void pack_tokens(token_block *blocks, panel_kind kind, const spn_act *act, const size_t t[2],
                        size_t n_blocks) {
    if (n_blocks % 4) memset(blocks + n_blocks, 0, (4 - n_blocks % 4) * sizeof(*blocks));
    for (size_t b = 0; b < n_blocks; b++) {
        token_block *to = &blocks[b];
        const int8_t *q0 = act->q + 32 * (t[0] * n_blocks + b);
        const int8_t *q1 = act->q + 32 * (t[1] * n_blocks + b);
        for (size_t h = 0; h < 2; h++)
            zip_half(to->q, h, vld1q_s8(q0 + 16 * h), vld1q_s8(q1 + 16 * h));
        for (size_t i = 0; i < 4; i++) {
            size_t at = t[i % 2] * n_blocks + b;
            int first = act->sum[2 * at], second = act->sum[2 * at + 1];
            to->d[i] = act->d[kind == PANEL_BLOCKS ? at : at / 4];
            to->dsum[i] = kind == PANEL_BLOCKS ? act->dsum[at] : 0.0f;
            to->sum[0][i] = kind == PANEL_GROUPS_16 ? first : first + second;
            to->sum[1][i] = kind == PANEL_GROUPS_16 ? second : 0;
        }
    }
}

/* acc + the sums of two rows and two tokens over some steps. */
static ALWAYS_INLINE int32x4_t pair_dot(int32x4_t acc, const int8_t *s, const int8_t *q,
                                        size_t n_steps) {
    SPN_UNROLL(4)
    for (size_t i = 0; i < n_steps; i++)
        acc = vmmlaq_s32(acc, vld1q_s8(s + 16 * i), vld1q_s8(q + 16 * i));
    return acc;
}

/* acc + a block's scaled sums. */
static ALWAYS_INLINE int32x4_t pair_sums(int32x4_t acc, panel_kind kind, const pair_block *w,
                                         const token_block *x) {
    const int32x4_t zero = vdupq_n_s32(0);
    if (kind == PANEL_GROUPS)
        return vmlaq_s32(acc, pair_dot(zero, w->s, x->q, 4), vld1q_s32(w->factor[0]));
    if (kind == PANEL_GROUPS_16) {
        acc = vmlaq_s32(acc, pair_dot(zero, w->s, x->q, 2), vld1q_s32(w->factor[0]));
        return vmlaq_s32(acc, pair_dot(zero, w->s + 32, x->q + 32, 2), vld1q_s32(w->factor[1]));
    }
    acc = pair_dot(acc, w->s, x->q, 4);
    return kind == PANEL_WIDE ? vmlaq_n_s32(acc, pair_dot(zero, w->high, x->q, 4), 64) : acc;
}

static ALWAYS_INLINE float32x4_t pair_fma(float32x4_t acc, int32x4_t sums, const pair_block *w,
                                          const token_block *x) {
    return vfmaq_f32(acc, vcvtq_f32_s32(sums), vmulq_f32(vld1q_f32(w->d), vld1q_f32(x->d)));
}

/* Four blocks of two pairs of rows; acc[pair] has four chains. */
static ALWAYS_INLINE void add_pair_blocks(float32x4_t acc[2][4], const arm_type *type,
                                          const pair_block *const w[2], const token_block *x) {
    SPN_UNROLL(8)
    for (size_t i = 0; i < 8; i++) {
        size_t c = i / 2, p = i % 2;
        int32x4_t sums = pair_sums(vdupq_n_s32(0), type->kind, w[p] + c, x + c);
        acc[p][c] = pair_fma(acc[p][c], sums, w[p] + c, x + c);
        if (type->has_min)
            acc[p][c] = vfmaq_f32(acc[p][c], vld1q_f32(w[p][c].n), vld1q_f32(x[c].dsum));
    }
}

/* A group; acc[pair][0] is the one chain. */
static ALWAYS_INLINE void add_pair_group(float32x4_t acc[2][4], const arm_type *type,
                                         const pair_block *const w[2], const token_block *x) {
    const int32x4_t zero = vdupq_n_s32(0);
    int32x4_t sums[2] = {zero, zero}, mins[2] = {zero, zero};
    SPN_UNROLL(8)
    for (size_t i = 0; i < 8; i++) {
        size_t c = i / 2, p = i % 2;
        sums[p] = pair_sums(sums[p], type->kind, w[p] + c, x + c);
        if (!type->has_min) continue;
        mins[p] = vmlaq_s32(mins[p], vld1q_s32(w[p][c].m[0]), vld1q_s32(x[c].sum[0]));
        if (type->kind == PANEL_GROUPS_16)
            mins[p] = vmlaq_s32(mins[p], vld1q_s32(w[p][c].m[1]), vld1q_s32(x[c].sum[1]));
    }
    SPN_UNROLL(2)
    for (size_t p = 0; p < 2; p++) {
        acc[p][0] = pair_fma(acc[p][0], sums[p], w[p], x);
        float32x4_t min = vmulq_f32(vcvtq_f32_s32(mins[p]), vld1q_f32(x->d));
        if (type->has_min) acc[p][0] = vfmaq_f32(acc[p][0], vld1q_f32(w[p]->n), min);
    }
}

/* Two pairs of rows and two tokens; n_blocks, of each pair too, rounded up to whole fours. */
static ALWAYS_INLINE void pairs_product(float32x4_t y[2], const arm_type *type, const pair_block *w,
                                        const token_block *x, size_t n_blocks) {
    float32x4_t acc[2][4];
    for (size_t i = 0; i < 8; i++) acc[i % 2][i / 2] = vdupq_n_f32(0.0f);
    for (size_t b = 0; b < n_blocks; b += 4) {
        const pair_block *const at[2] = {w + b, w + n_blocks + b};
        (type->kind == PANEL_BLOCKS ? add_pair_blocks : add_pair_group)(acc, type, at, x + b);
    }
    for (size_t p = 0; p < 2; p++)
        y[p] = type->kind != PANEL_BLOCKS
                   ? acc[p][0]
                   : vaddq_f32(vaddq_f32(acc[p][0], acc[p][2]), vaddq_f32(acc[p][1], acc[p][3]));
}

/* A last token without another is multiplied twice, rows past the end are the last row. */
static ALWAYS_INLINE void matmul_pairs(const arm_type *type, const spn_matmul_args *args,
                                       size_t begin, size_t end) {
    size_t n_blocks = args->k / 32, n_padded = (n_blocks + 3) / 4 * 4, n_tokens = args->n_tokens;
    token_block *x = args->scratch;
    pair_block *panel = (pair_block *)(void *)(x + n_padded);
    for (size_t row = begin; row < end; row += PANEL_ROWS) {
        size_t n_rows = end - row < PANEL_ROWS ? end - row : PANEL_ROWS;
        for (size_t r = 0; r < (n_rows + 3) / 4 * 4; r += 2) {
            const uint8_t *rows[2] = {row_at(args, row + r, end), row_at(args, row + r + 1, end)};
            for (size_t b = 0; b < n_padded; b++)
                unpack_pair(panel + r / 2 * n_padded + b, type, rows, b, n_blocks);
        }
        for (size_t t = 0; t < n_tokens; t += 2) {
            const size_t tokens[2] = {t, t + 1 < n_tokens ? t + 1 : t};
            pack_tokens(x, type->kind, &args->act, tokens, n_blocks);
            for (size_t r = 0; r < n_rows; r += 4) {
                float *y = args->y + t * args->ldy + row + r;
                float32x4_t out[2];
                pairs_product(out, type, panel + r / 2 * n_padded, x, n_padded);
                store_rows(y, vuzp1q_f32(out[0], out[1]), n_rows - r);
                if (t + 1 < n_tokens)
                    store_rows(y + args->ldy, vuzp2q_f32(out[0], out[1]), n_rows - r);
            }
        }
    }
}

static ALWAYS_INLINE void matmul_either(const arm_type *type, const spn_matmul_args *args,
                                        size_t begin, size_t end) {
    if (args->n_tokens == 1)
        matmul_rows(type, args, begin, end);
    else
        matmul_pairs(type, args, begin, end);
}

#define MATMUL(...) ARM_MATMUL(matmul_either, __VA_ARGS__)
ARM_TYPES(MATMUL)

void spn_qmat_init_i8mm(spn_kernels *table) { ARM_TYPES(ARM_SET) }
