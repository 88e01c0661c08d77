/* qmat_i8mm.c - quantised products of several tokens with SMMLA (contract (3)).
 * SPDX-License-Identifier: Apache-2.0
 *
 * SMMLA multiplies two rows of 8 bytes with two tokens of 8 bytes into four sums, so two rows and
 * two tokens stand interleaved by 8: four of them make the four S of a block, which go to the
 * block's chain with one conversion, one multiply and one fused multiply-add. For 2 rows x 2 tokens
 * and a block that is 4 SMMLA and 3 more operations for 128 products, where SDOT takes 8 and 2.2;
 * 4 rows share the tokens' loads, 12 loads for 8 SMMLA.
 *
 * Rows are unpacked by qmat_dotprod.c's loaders once a call; an odd token, an odd row and calls
 * with one token are left to that file.
 */
#include "compute/qmat_arm.h"

#define PAIR_ROWS 16

/* A block of two rows. */
typedef struct pair_block {
    int8_t s[64], high[64]; /* [4 steps][2 rows][8]; the second plane of a wide type */
    float d[4], n[4];       /* row 0, 0, 1, 1 */
    int32_t factor[2][4], m[2][4];
} pair_block;

/* A block of two tokens. */
typedef struct token_block {
    int8_t q[64];        /* [4 steps][2 tokens][8] */
    float d[4], dsum[4]; /* token 0, 1, 0, 1 */
    int32_t sum[2][4];
} token_block;

static ALWAYS_INLINE void put_half(int8_t *block, size_t row, size_t h, int8x16_t bytes) {
    vst1_s8(block + 32 * h + 8 * row, vget_low_s8(bytes));
    vst1_s8(block + 32 * h + 16 + 8 * row, vget_high_s8(bytes));
}

static void unpack_pair_view(pair_block *block, size_t r, block_loader load, const uint8_t *row,
                             size_t b) {
    block_view view = {.factor = {1, 1}};
    load(&view, row, b);
    put_half(block->s, r, 0, view.lo);
    put_half(block->s, r, 1, view.hi);
    for (size_t i = 2 * r; i < 2 * r + 2; i++) {
        block->d[i] = view.d;
        block->n[i] = view.n;
        for (size_t h = 0; h < 2; h++) {
            block->factor[h][i] = view.factor[h];
            block->m[h][i] = view.m[h];
        }
    }
}

static void unpack_pair_wide(pair_block *block, size_t r, spn_quant_decode_fn decode,
                             const uint8_t *row, size_t b) {
    spn_quant_unit unit;
    decode(&unit, row, b);
    block->d[2 * r] = block->d[2 * r + 1] = unit.d;
    for (size_t i = 0; i < 32; i++) {
        int high = (unit.s[i] + 32) >> 6;
        size_t at = i / 8 * 16 + 8 * r + i % 8;
        block->high[at] = (int8_t)high;
        block->s[at] = (int8_t)(unit.s[i] - 64 * high);
    }
}

static void pack_tokens(token_block *blocks, const spn_act *act, size_t t, size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++) {
        for (size_t i = 0; i < 2; i++) {
            size_t at = (t + i) * n_blocks + b;
            put_half(blocks[b].q, i, 0, vld1q_s8(act->q + 32 * at));
            put_half(blocks[b].q, i, 1, vld1q_s8(act->q + 32 * at + 16));
            for (size_t j = i; j < 4; j += 2) {
                blocks[b].d[j] = act->d[at];
                blocks[b].dsum[j] = act->dsum[at];
                blocks[b].sum[0][j] = act->sum[2 * at];
                blocks[b].sum[1][j] = act->sum[2 * at + 1];
            }
        }
    }
}

static ALWAYS_INLINE int32x4_t pair_sums(const int8_t *s, const int8_t *q, size_t begin,
                                         size_t end) {
    int32x4_t acc = vdupq_n_s32(0);
    for (size_t step = begin; step < end; step++)
        acc = vmmlaq_s32(acc, vld1q_s8(s + 16 * step), vld1q_s8(q + 16 * step));
    return acc;
}

static ALWAYS_INLINE float32x4_t pair_product(panel_kind kind, bool has_min, const pair_block *w,
                                              const token_block *x, float32x4_t acc) {
    int32x4_t sums;
    if (kind == PANEL_FACTORS) {
        sums = vmulq_s32(pair_sums(w->s, x->q, 0, 2), vld1q_s32(w->factor[0]));
        sums = vmlaq_s32(sums, pair_sums(w->s, x->q, 2, 4), vld1q_s32(w->factor[1]));
    } else {
        sums = pair_sums(w->s, x->q, 0, 4);
        if (kind == PANEL_WIDE) sums = vmlaq_n_s32(sums, pair_sums(w->high, x->q, 0, 4), 64);
    }
    float32x4_t d = vld1q_f32(x->d);
    acc = vfmaq_f32(acc, vcvtq_f32_s32(sums), vmulq_f32(vld1q_f32(w->d), d));
    if (!has_min) return acc;
    if (kind != PANEL_FACTORS) return vfmaq_f32(acc, vld1q_f32(w->n), vld1q_f32(x->dsum));
    int32x4_t mins = vmulq_s32(vld1q_s32(w->m[0]), vld1q_s32(x->sum[0]));
    mins = vmlaq_s32(mins, vld1q_s32(w->m[1]), vld1q_s32(x->sum[1]));
    return vfmaq_f32(acc, vld1q_f32(w->n), vmulq_f32(vcvtq_f32_s32(mins), d));
}

/* Two rows and two tokens: y of row 0 and 1, for each token. */
static ALWAYS_INLINE void pair_matmul(panel_kind kind, bool has_min, const pair_block *w,
                                      const token_block *x, size_t n_blocks, float *y0, float *y1) {
    float32x4_t acc[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t b = 0;
    for (; b + 4 <= n_blocks; b += 4) {
        SPN_UNROLL(4)
        for (size_t c = 0; c < 4; c++)
            acc[c] = pair_product(kind, has_min, w + b + c, x + b + c, acc[c]);
    }
    for (size_t c = 0; b < n_blocks; b++, c++)
        acc[c] = pair_product(kind, has_min, w + b, x + b, acc[c]);
    float32x4_t sum = vaddq_f32(vaddq_f32(acc[0], acc[2]), vaddq_f32(acc[1], acc[3]));
    y0[0] = vgetq_lane_f32(sum, 0);
    y1[0] = vgetq_lane_f32(sum, 1);
    y0[1] = vgetq_lane_f32(sum, 2);
    y1[1] = vgetq_lane_f32(sum, 3);
}

static ALWAYS_INLINE void matmul_pairs(spn_type type, panel_kind kind, bool has_min,
                                       block_loader load, const spn_matmul_args *args, size_t begin,
                                       size_t end) {
    size_t n_blocks = args->k / 32;
    spn_quant_decode_fn decode = spn_quant_decoder(type);
    token_block *x = args->scratch;
    pair_block *panel = (pair_block *)(void *)(x + n_blocks);
    for (size_t row = begin; row < end; row += PAIR_ROWS) {
        size_t n_rows = end - row < PAIR_ROWS ? end - row : PAIR_ROWS;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *w = args->w + (row + r) * args->row_bytes;
            for (size_t b = 0; b < n_blocks; b++) {
                pair_block *block = panel + r / 2 * n_blocks + b;
                if (load)
                    unpack_pair_view(block, r % 2, load, w, b);
                else
                    unpack_pair_wide(block, r % 2, decode, w, b);
            }
        }
        for (size_t t = 0; t < args->n_tokens; t += 2) {
            float *y = args->y + t * args->ldy + row;
            pack_tokens(x, &args->act, t, n_blocks);
            for (size_t r = 0; r < n_rows; r += 2)
                pair_matmul(kind, has_min, panel + r / 2 * n_blocks, x, n_blocks, y + r,
                            y + args->ldy + r);
        }
    }
}

/* Rows and tokens in pairs here, what is left over one by one. */
static ALWAYS_INLINE void matmul_even(spn_type type, panel_kind kind, bool has_min,
                                      block_loader load, const spn_matmul_args *args, size_t begin,
                                      size_t end) {
    spn_matmul_args part = *args;
    size_t n_tokens = args->n_tokens, n_blocks = args->k / 32;
    size_t even_end = begin + (end - begin) / 2 * 2;
    part.n_tokens = n_tokens / 2 * 2;
    if (part.n_tokens > 0) {
        matmul_pairs(type, kind, has_min, load, &part, begin, even_end);
        if (even_end < end) matmul_rows(type, kind, has_min, load, &part, even_end, end);
    }
    if (n_tokens % 2 == 0) return;
    size_t last = n_tokens - 1;
    part.n_tokens = 1;
    part.y += last * args->ldy;
    part.act.q += last * args->k;
    part.act.d += last * n_blocks;
    part.act.dsum += last * n_blocks;
    part.act.sum += last * 2 * n_blocks;
    matmul_rows(type, kind, has_min, load, &part, begin, end);
}

#define EVEN_LOADED(NAME, name, kind, has_min)                                       \
    static void even_##NAME(const spn_matmul_args *args, size_t begin, size_t end) { \
        matmul_even(SPN_TYPE_##NAME, kind, has_min, load_##name, args, begin, end);  \
    }
#define EVEN_WIDE(NAME)                                                              \
    static void even_##NAME(const spn_matmul_args *args, size_t begin, size_t end) { \
        matmul_even(SPN_TYPE_##NAME, PANEL_WIDE, false, NULL, args, begin, end);     \
    }
ARM_LOADED_TYPES(EVEN_LOADED)
ARM_WIDE_TYPES(EVEN_WIDE)

void spn_qmat_init_i8mm(spn_kernels *table) {
#define SET_EVEN(NAME, name, kind, has_min) table->matmul[SPN_TYPE_##NAME] = even_##NAME;
#define SET_EVEN_WIDE(NAME) table->matmul[SPN_TYPE_##NAME] = even_##NAME;
    ARM_LOADED_TYPES(SET_EVEN)
    ARM_WIDE_TYPES(SET_EVEN_WIDE)
}
