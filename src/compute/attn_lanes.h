/* attn_lanes.h - attention over 16 lanes (contract (6)); each level's attn_*.c includes it once.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Block of 64 positions by block, groups of up to ATTN_ROWS query rows take three steps. Elements
 * are converted as they are loaded; but where more than ATTN_DECODED_ROWS rows see a block of Q8_0
 * or Q4_0, its K tiles and V rows first become f32 in the scratch (the second cache holds them: 64
 * KiB for heads of 128). For halves that would not pay: 12 rows out of memory are 1.3 times as fast
 * without it, 32 rows 1.1, 64 rows 1.03.
 *
 * Scores: a tile's 16 positions are the lanes, so the contract's chain over e is a register's
 * chain; sums of R rows x W tiles stay in registers, a step over e loads W registers of K and R
 * single numbers for R x W fma. Softmax: four registers of scores a row. PV: the lanes are elements
 * of V; sums of R rows x 16 W elements stay in registers while j walks the block, W loads of V and
 * R of p for R x W fma.
 *
 * So with many rows (a prompt, grouped heads) the bound is the multipliers: 2 x 64 x 128 / 16 fma a
 * row and block, the exponentials some 80 operations beside 1024. With one row each byte of the
 * cache meets one fma: a load, a conversion (F16 one operation, Q8_0 and Q4_0 three) and the fma
 * for 16 elements, so a core could take 16 elements, which are 17 to 32 bytes, every 2 to 4 cycles:
 * at or above its share of memory.
 *
 * A block's K is four streams of one page each and its V one of rows, too short for the processor
 * to follow. So a step asks for what the next one reads, evenly while it computes: the scores for
 * this block's V, PV for the next block's K. From memory, a core of Zen 5, rows that see 4096
 * positions: one or two rows read the cache at 0.87 of a plain loop instead of 0.5, four at 0.83
 * instead of 0.4, and 64 rows are 1.13 times as fast.
 *
 * Rows that see different ends of a block are multiplied with V together where all of them see, and
 * one by one at the edges: what a row must not see is never touched, not even with p = 0.
 */
#define VEC_LANES_MATH_ONLY
#include "compute/vec_lanes.h"

#define TILES (SPN_KV_BLOCK / SPN_KV_TILE)

/* What one call works with; all of it lies in the scratch. */
typedef struct attn_work {
    const spn_attn_args *args;
    /* This block's K tiles and V rows, as they are in the cache or converted. */
    spn_type type_k, type_v;
    const uint8_t *k, *v;
    size_t k_tile, v_row;           /* bytes from one to the next */
    const uint8_t *next_k, *next_v; /* the cache's next block, NULL after the last */
    spn_ahead ahead;                /* what is read next from memory */
    float *k_panel;                 /* [TILES][dim_k][16] */
    float *v_panel;                 /* [64][wide_v] */
    float *p;                       /* [n_q][64]: scores, then probabilities */
    float *o;                       /* [n_q][wide_v] */
    float *m, *l;                   /* [n_q] */
    uint32_t *lo, *hi;              /* [n_q]: what row i sees of this block */
    uint32_t *active;               /* [n_q]: the rows that see something */
    size_t wide_v;                  /* dim_v in whole registers of lanes */
} attn_work;

/* ---- conversion of a block ---- */

static void convert_tile(spn_type type, float *y, const uint8_t *tile, size_t dim_k) {
    switch (type) {
    case SPN_TYPE_F32:
        memcpy(y, tile, 64 * dim_k);
        break;
    case SPN_TYPE_Q8_0:
        for (size_t g = 0; g < dim_k / 32; g++, tile += 34 * 16, y += 32 * 16) {
            v16 d = v_load_f16(tile);
            const int8_t *q = (const int8_t *)tile + 32;
            for (size_t e = 0; e < 32; e++) v_store(y + 16 * e, v_mul(d, v_load_i8(q + 16 * e)));
        }
        break;
    default: /* Q4_0 */
        for (size_t g = 0; g < dim_k / 32; g++, tile += 18 * 16) {
            v16 d = v_load_f16(tile);
            for (size_t word = 0; word < 4; word++) {
                w16 q = w_load(tile + 32 + 64 * word);
                SPN_UNROLL(8)
                for (int e = 0; e < 8; e++, y += 16) v_store(y, v_mul(d, w_nibble(q, e)));
            }
        }
    }
}

/* A row of V, zeros up to whole registers. */
static void convert_v(spn_type type, float *y, const uint8_t *row, size_t dim_v) {
    size_t i = 0;
    switch (type) {
    case SPN_TYPE_F32:
        for (; i < dim_v; i += 16)
            v_store(y + i, v_load_n((const float *)(const void *)(row + 4 * i),
                                    dim_v - i < 16 ? dim_v - i : 16));
        break;
    case SPN_TYPE_F16:
        for (; i + 16 <= dim_v; i += 16) v_store(y + i, v_load_f16(row + 2 * i));
        if (i < dim_v) v_store(y + i, v_load_f16_n(row + 2 * i, dim_v - i));
        break;
    case SPN_TYPE_BF16:
        for (; i + 16 <= dim_v; i += 16) v_store(y + i, v_load_bf16(row + 2 * i));
        if (i < dim_v) v_store(y + i, v_load_bf16_n(row + 2 * i, dim_v - i));
        break;
    case SPN_TYPE_Q8_0:
        for (; i < dim_v; i += 32, row += sizeof(spn_block_q8_0)) {
            const spn_block_q8_0 *block = (const spn_block_q8_0 *)row;
            v16 d = v_set1_f16(block);
            v_store(y + i, v_mul(d, v_load_i8(block->qs)));
            v_store(y + i + 16, v_mul(d, v_load_i8(block->qs + 16)));
        }
        break;
    default: /* Q4_0 */
        for (; i < dim_v; i += 32, row += sizeof(spn_block_q4_0)) {
            const spn_block_q4_0 *block = (const spn_block_q4_0 *)row;
            v16 low, high;
            v_load_q4(block->qs, v_set1_f16(block), &low, &high);
            v_store(y + i, low);
            v_store(y + i + 16, high);
        }
    }
}

static size_t tile_bytes(spn_type type, size_t dim_k) {
    switch (type) {
    case SPN_TYPE_F32:
        return 64 * dim_k;
    case SPN_TYPE_Q8_0:
        return dim_k / 32 * 34 * 16;
    case SPN_TYPE_Q4_0:
        return dim_k / 32 * 18 * 16;
    default:
        return 32 * dim_k;
    }
}

static ALWAYS_INLINE bool is_blocked(spn_type type) {
    return type == SPN_TYPE_Q8_0 || type == SPN_TYPE_Q4_0;
}

/* Whether the elements of a cache are loaded as they lie for `n` rows. */
static bool is_loaded(const void *start, size_t stride, spn_type type, size_t n) {
    if (is_blocked(type)) return n <= ATTN_DECODED_ROWS;
    return type != SPN_TYPE_F32 || ((uintptr_t)start % 4 == 0 && stride % 4 == 0);
}

/* Points `work` at positions lo..hi of a block, which n rows see. `last`: no other follows. */
static void take_block(attn_work *work, uint32_t block, bool last, size_t lo, size_t hi, size_t n) {
    const spn_attn_args *args = work->args;
    size_t tile_floats = 16 * args->dim_k, at = (size_t)block * SPN_KV_BLOCK % args->ring;
    size_t next = (at + SPN_KV_BLOCK) % args->ring;
    work->type_k = args->type_k;
    work->k_tile = tile_bytes(args->type_k, args->dim_k);
    work->k = args->k + at / SPN_KV_TILE * work->k_tile;
    work->type_v = args->type_v;
    work->v_row = args->v_stride;
    work->v = args->v + at * args->v_stride;
    work->next_k = last ? NULL : args->k + next / SPN_KV_TILE * work->k_tile;
    work->next_v = last ? NULL : args->v + next * args->v_stride;
    if (!is_loaded(work->k, 0, args->type_k, n)) {
        for (size_t t = lo / 16; t <= (hi - 1) / 16; t++)
            convert_tile(args->type_k, work->k_panel + t * tile_floats, work->k + t * work->k_tile,
                         args->dim_k);
        work->k = (const uint8_t *)work->k_panel;
        work->k_tile = 4 * tile_floats;
        work->type_k = SPN_TYPE_F32;
    }
    if (args->dim_v % 16 != 0 || !is_loaded(work->v, work->v_row, args->type_v, n)) {
        for (size_t j = lo; j < hi; j++)
            convert_v(args->type_v, work->v_panel + j * work->wide_v, work->v + j * work->v_row,
                      args->dim_v);
        work->v = (const uint8_t *)work->v_panel;
        work->v_row = 4 * work->wide_v;
        work->type_v = SPN_TYPE_F32;
    }
}

/* ---- asking ahead ---- */

/* Nothing where `at` is NULL. */
static void ask_for(attn_work *work, const uint8_t *at, size_t n_bytes, size_t n_steps) {
    work->ahead = at != NULL ? spn_ahead_of(at, n_bytes, n_steps) : (spn_ahead){0};
}

/* ---- scores ---- */

/* Where the 32 elements from `base` on (all of them, for a float type) lie in a tile. */
static ALWAYS_INLINE const uint8_t *k_group(spn_type type, const uint8_t *tile, size_t base) {
    if (type == SPN_TYPE_Q8_0) return tile + base / 32 * 34 * 16;
    if (type == SPN_TYPE_Q4_0) return tile + base / 32 * 18 * 16;
    return tile;
}

/* Element e of 16 positions; in a blocked type, of the group with scales d; Q4_0: nibble e % 8 of
 * `words`. */
static ALWAYS_INLINE v16 k_column(spn_type type, const uint8_t *group, size_t e, v16 d,
                                  const w16 *words) {
    switch (type) {
    case SPN_TYPE_F16:
        return v_load_f16(group + 32 * e);
    case SPN_TYPE_BF16:
        return v_load_bf16(group + 32 * e);
    case SPN_TYPE_Q8_0:
        return v_mul(d, v_load_i8((const int8_t *)group + 32 + 16 * e));
    case SPN_TYPE_Q4_0:
        return v_mul(d, w_nibble(*words, (int)(e % 8)));
    default:
        return v_load((const float *)(const void *)(group + 64 * e));
    }
}

/* Type, rows and wide are constants where this is inlined. */
static ALWAYS_INLINE void scores(spn_type type, attn_work *work, const float *const *q,
                                 float *const *s, size_t first_tile, size_t rows, size_t wide) {
    const size_t dim_k = work->args->dim_k, step = is_blocked(type) ? 32 : dim_k;
    const size_t a_load = type == SPN_TYPE_Q4_0 ? 8 : 1;
    const uint8_t *tile = work->k + first_tile * work->k_tile;
    spn_ahead ahead = work->ahead;
    v16 sum[ATTN_ROWS][4], d[4], column[4];
    w16 words[4];
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(4)
        for (size_t t = 0; t < wide; t++) sum[r][t] = v_zero();
    }
    for (size_t base = 0; base < dim_k; base += step) {
        const uint8_t *group = k_group(type, tile, base);
        SPN_UNROLL(4)
        for (size_t t = 0; t < wide; t++)
            d[t] = is_blocked(type) ? v_load_f16(group + t * work->k_tile) : v_zero();
        for (size_t first = 0; first < step; first += a_load) {
            SPN_UNROLL(4)
            for (size_t t = 0; t < wide; t++)
                if (a_load == 8) words[t] = w_load(group + t * work->k_tile + 32 + 8 * first);
            SPN_UNROLL(8)
            for (size_t e = first; e < first + a_load; e++) {
                spn_fetch_step(&ahead);
                SPN_UNROLL(4)
                for (size_t t = 0; t < wide; t++)
                    column[t] = k_column(type, group + t * work->k_tile, e, d[t], &words[t]);
                SPN_UNROLL(8)
                for (size_t r = 0; r < rows; r++) {
                    v16 element = v_set1(q[r][base + e]);
                    SPN_UNROLL(4)
                    for (size_t t = 0; t < wide; t++)
                        sum[r][t] = v_fma(element, column[t], sum[r][t]);
                }
            }
        }
    }
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(4)
        for (size_t t = 0; t < wide; t++) v_store(s[r] + 16 * (first_tile + t), sum[r][t]);
    }
    work->ahead.at = ahead.at;
}

/* Tiles begin..end of the block. */
static ALWAYS_INLINE void scores_tiles(spn_type type, attn_work *work, const float *const *q,
                                       float *const *s, size_t rows, size_t begin, size_t end) {
    size_t t = begin;
    for (; ATTN_WIDE(rows) > 1 && t + ATTN_WIDE(rows) <= end; t += ATTN_WIDE(rows))
        scores(type, work, q, s, t, rows, ATTN_WIDE(rows));
    for (; t < end; t++) scores(type, work, q, s, t, rows, 1);
}

/* ---- softmax of a block, for a group of rows ---- */

/* What a row must not see becomes -inf; returns the greatest score. */
static float mask_scores(attn_work *work, size_t row) {
    const spn_attn_args *args = work->args;
    const size_t lo = work->lo[row], hi = work->hi[row];
    const bool plain = lo == 0 && hi == SPN_KV_BLOCK && args->softcap == 0.0f;
    float *s = work->p + row * SPN_KV_BLOCK;
    v16 low = v_set1(-INFINITY), top = low;
    for (size_t t = 0; t < TILES; t++) {
        v16 score = v_load(s + 16 * t);
        if (!plain) {
            size_t begin = lo > 16 * t ? lo - 16 * t : 0, end = hi > 16 * t ? hi - 16 * t : 0;
            if (args->softcap != 0.0f) {
                v16 cap = v_set1(args->softcap);
                score = v_mul(v_tanh(v_div(score, cap)), cap);
            }
            score = v_select(m_range(begin < 16 ? begin : 16, end < 16 ? end : 16), score, low);
            v_store(s + 16 * t, score);
        }
        top = v_max(top, score);
    }
    return v_max_all(top);
}

/* Scores become probabilities; returns their lanes' sums. */
static v16 exp_scores(float *p, float m) {
    v16 low = v_set1(-INFINITY), max = v_set1(m), sum = v_zero();
    for (size_t t = 0; t < TILES; t++) {
        v16 s = v_load(p + 16 * t);
        v16 e = v_select(v_equal(s, low), v_zero(), v_exp(v_sub(s, max)));
        v_store(p + 16 * t, e);
        sum = v_add(sum, e);
    }
    return sum;
}

/* Of up to ATTN_ROWS rows; c[i]: the factor of what row i has summed so far. Step by step for all
 * of them, as each step waits for its own results. */
static void softmax_rows(attn_work *work, const uint32_t *rows, size_t n, float c[16]) {
    float before[16] = {0}, m[16] = {0}, lanes[ATTN_ROWS][16], sum[ATTN_ROWS];
    size_t folded = 0;
    for (size_t i = 0; i < n; i++) {
        before[i] = work->m[rows[i]];
        m[i] = spn_vm_max(before[i], mask_scores(work, rows[i]));
    }
    v16 old = v_load(before), factor = v_exp(v_sub(old, v_load(m)));
    v_store(c, v_select(v_equal(old, v_set1(-INFINITY)), v_zero(), factor));
    for (size_t i = 0; i < n; i++)
        v_store(lanes[i], exp_scores(work->p + rows[i] * SPN_KV_BLOCK, m[i]));
    for (; folded + 4 <= n; folded += 4) v_fold_4(sum + folded, lanes[folded], 16);
    for (; folded < n; folded++) sum[folded] = v_fold(v_load(lanes[folded]));
    for (size_t i = 0; i < n; i++) {
        work->m[rows[i]] = m[i];
        work->l[rows[i]] = fmaf(work->l[rows[i]], c[i], sum[i]);
    }
}

/* ---- PV ---- */

/* 16 x wide elements of a row's piece, which begins at a multiple of 16 x wide. `half`: it is 16
 * wide and the second half of a block of 32. */
static ALWAYS_INLINE void v_pieces(spn_type type, v16 value[4], const uint8_t *row, size_t wide,
                                   bool half) {
    v16 both[2];
    SPN_UNROLL(4)
    for (size_t d = 0; d < wide; d++) {
        const uint8_t *block = row + d / 2 * (type == SPN_TYPE_Q8_0 ? 34 : 18);
        const size_t h = (half + d) % 2;
        switch (type) {
        case SPN_TYPE_F16:
            value[d] = v_load_f16(row + 32 * d);
            break;
        case SPN_TYPE_BF16:
            value[d] = v_load_bf16(row + 32 * d);
            break;
        case SPN_TYPE_Q8_0:
            value[d] = v_mul(v_set1_f16(block), v_load_i8((const int8_t *)block + 2 + 16 * h));
            break;
        case SPN_TYPE_Q4_0:
            if (d % 2 == 0) v_load_q4(block + 2, v_set1_f16(block), &both[0], &both[1]);
            value[d] = both[h];
            break;
        default:
            value[d] = v_load((const float *)(const void *)(row + 64 * d));
            break;
        }
    }
}

static ALWAYS_INLINE size_t piece_bytes(spn_type type, size_t element) {
    switch (type) {
    case SPN_TYPE_F16:
    case SPN_TYPE_BF16:
        return 2 * element;
    case SPN_TYPE_Q8_0:
        return element / 32 * 34;
    case SPN_TYPE_Q4_0:
        return element / 32 * 18;
    default:
        return 4 * element;
    }
}

/* Elements from `first` on, 16 x wide of them. */
static ALWAYS_INLINE void pv(spn_type type, attn_work *work, float *const *o, const float *const *p,
                             size_t first, size_t rows, size_t wide, size_t begin, size_t end) {
    const bool half = first % 32 != 0;
    const uint8_t *row = work->v + piece_bytes(type, first) + begin * work->v_row;
    spn_ahead ahead = work->ahead;
    v16 sum[ATTN_ROWS][4];
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(4)
        for (size_t d = 0; d < wide; d++) sum[r][d] = v_load(o[r] + first + 16 * d);
    }
    for (size_t j = begin; j < end; j++, row += work->v_row) {
        v16 value[4];
        spn_fetch_step(&ahead);
        v_pieces(type, value, row, wide, half);
        SPN_UNROLL(8)
        for (size_t r = 0; r < rows; r++) {
            v16 weight = v_set1(p[r][j]);
            SPN_UNROLL(4)
            for (size_t d = 0; d < wide; d++) sum[r][d] = v_fma(weight, value[d], sum[r][d]);
        }
    }
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(4)
        for (size_t d = 0; d < wide; d++) v_store(o[r] + first + 16 * d, sum[r][d]);
    }
    work->ahead.at = ahead.at;
}

static ALWAYS_INLINE void pv_elements(spn_type type, attn_work *work, float *const *o,
                                      const float *const *p, size_t rows, size_t begin,
                                      size_t end) {
    size_t i = 0, step = 16 * ATTN_WIDE(rows);
    for (; step > 16 && i + step <= work->wide_v; i += step)
        pv(type, work, o, p, i, rows, ATTN_WIDE(rows), begin, end);
    for (; i < work->wide_v; i += 16) pv(type, work, o, p, i, rows, 1, begin, end);
}

/* ---- both with the type and the number of rows as constants ---- */

#define WITH_ROWS(rows, call) \
    switch (rows) {           \
    case 1:                   \
        call(1);              \
        break;                \
    case 2:                   \
        call(2);              \
        break;                \
    case 3:                   \
        call(3);              \
        break;                \
    case 4:                   \
        call(4);              \
        break;                \
    case 5:                   \
        call(5);              \
        break;                \
    default:                  \
        call(6);              \
        break;                \
    }

#define KERNELS(name)                                                                           \
    static void scores_##name(attn_work *work, const float *const *q, float *const *s,          \
                              size_t rows, size_t begin, size_t end) {                          \
        WITH_ROWS(rows, SCORES_##name)                                                          \
    }                                                                                           \
    static void pv_##name(attn_work *work, float *const *o, const float *const *p, size_t rows, \
                          size_t begin, size_t end) {                                           \
        WITH_ROWS(rows, PV_##name)                                                              \
    }
#define SCORES_f32(n) scores_tiles(SPN_TYPE_F32, work, q, s, n, begin, end)
#define PV_f32(n) pv_elements(SPN_TYPE_F32, work, o, p, n, begin, end)
#define SCORES_f16(n) scores_tiles(SPN_TYPE_F16, work, q, s, n, begin, end)
#define PV_f16(n) pv_elements(SPN_TYPE_F16, work, o, p, n, begin, end)
#define SCORES_bf16(n) scores_tiles(SPN_TYPE_BF16, work, q, s, n, begin, end)
#define PV_bf16(n) pv_elements(SPN_TYPE_BF16, work, o, p, n, begin, end)
#define SCORES_q8_0(n) scores_tiles(SPN_TYPE_Q8_0, work, q, s, n, begin, end)
#define PV_q8_0(n) pv_elements(SPN_TYPE_Q8_0, work, o, p, n, begin, end)
#define SCORES_q4_0(n) scores_tiles(SPN_TYPE_Q4_0, work, q, s, n, begin, end)
#define PV_q4_0(n) pv_elements(SPN_TYPE_Q4_0, work, o, p, n, begin, end)
KERNELS(f32)
KERNELS(f16)
KERNELS(bf16)
KERNELS(q8_0)
KERNELS(q4_0)

static void group_scores(attn_work *work, const float *const *q, float *const *s, size_t rows,
                         size_t begin, size_t end) {
    switch (work->type_k) {
    case SPN_TYPE_F16:
        scores_f16(work, q, s, rows, begin, end);
        break;
    case SPN_TYPE_BF16:
        scores_bf16(work, q, s, rows, begin, end);
        break;
    case SPN_TYPE_Q8_0:
        scores_q8_0(work, q, s, rows, begin, end);
        break;
    case SPN_TYPE_Q4_0:
        scores_q4_0(work, q, s, rows, begin, end);
        break;
    default:
        scores_f32(work, q, s, rows, begin, end);
        break;
    }
}

static void group_pv(attn_work *work, float *const *o, const float *const *p, size_t rows,
                     size_t begin, size_t end) {
    switch (work->type_v) {
    case SPN_TYPE_F16:
        pv_f16(work, o, p, rows, begin, end);
        break;
    case SPN_TYPE_BF16:
        pv_bf16(work, o, p, rows, begin, end);
        break;
    case SPN_TYPE_Q8_0:
        pv_q8_0(work, o, p, rows, begin, end);
        break;
    case SPN_TYPE_Q4_0:
        pv_q4_0(work, o, p, rows, begin, end);
        break;
    default:
        pv_f32(work, o, p, rows, begin, end);
        break;
    }
}

/* ---- a group of rows ---- */

static void scale_row(float *o, float c, size_t n) {
    v16 factor = v_set1(c);
    if (c == 1.0f) return;
    for (size_t i = 0; i < n; i += 16) v_store(o + i, v_mul(v_load(o + i), factor));
}

/* What is multiplied straight from the cache is asked for a step before: V with the scores, the
 * next K with V. What is converted, a block before. */
static void ask_with_scores(attn_work *work, size_t wide) {
    const spn_attn_args *args = work->args;
    size_t n_steps = args->dim_k * TILES / wide;
    if (work->v == (const uint8_t *)work->v_panel)
        ask_for(work, work->next_k, TILES * tile_bytes(args->type_k, args->dim_k), n_steps);
    else
        ask_for(work, work->v, SPN_KV_BLOCK * args->v_stride, n_steps);
}

static void ask_with_v(attn_work *work, size_t wide) {
    const spn_attn_args *args = work->args;
    size_t n_steps = SPN_KV_BLOCK * ((work->wide_v / 16 + wide - 1) / wide);
    if (work->v == (const uint8_t *)work->v_panel)
        ask_for(work, work->next_v, SPN_KV_BLOCK * args->v_stride, n_steps);
    else
        ask_for(work, work->next_k, TILES * tile_bytes(args->type_k, args->dim_k), n_steps);
}

/* `asks`: the first group of a block, which asks ahead for all. */
static void attend_group(attn_work *work, const uint32_t *rows, size_t n, bool asks) {
    const spn_attn_args *args = work->args;
    const float *q[ATTN_ROWS], *p[ATTN_ROWS];
    float *s[ATTN_ROWS], *o[ATTN_ROWS], c[16];
    size_t lo = SPN_KV_BLOCK, hi = 0, begin = 0, end = SPN_KV_BLOCK; /* union, intersection */
    for (size_t r = 0; r < n; r++) {
        size_t i = rows[r];
        q[r] = args->q + i * args->ldq;
        p[r] = s[r] = work->p + i * SPN_KV_BLOCK;
        o[r] = work->o + i * work->wide_v;
        lo = work->lo[i] < lo ? work->lo[i] : lo;
        hi = work->hi[i] > hi ? work->hi[i] : hi;
        begin = work->lo[i] > begin ? work->lo[i] : begin;
        end = work->hi[i] < end ? work->hi[i] : end;
    }
    if (asks) ask_with_scores(work, ATTN_WIDE(n));
    group_scores(work, q, s, n, lo / 16, (hi + 15) / 16);
    softmax_rows(work, rows, n, c);
    for (size_t r = 0; r < n; r++) scale_row(o[r], c[r], work->wide_v);
    if (begin >= end) begin = end = hi; /* nothing in common */
    if (asks) ask_with_v(work, ATTN_WIDE(n));
    for (size_t r = 0; r < n; r++) {
        size_t own_lo = work->lo[rows[r]], own_hi = work->hi[rows[r]];
        size_t stop = own_hi < begin ? own_hi : begin;
        if (own_lo < stop) group_pv(work, &o[r], &p[r], 1, own_lo, stop);
    }
    if (begin < end) group_pv(work, o, p, n, begin, end);
    for (size_t r = 0; r < n; r++) {
        size_t own_hi = work->hi[rows[r]];
        if (end < own_hi) group_pv(work, &o[r], &p[r], 1, end, own_hi);
    }
}

/* ---- the call ---- */

static attn_work start_work(const spn_attn_args *args) {
    size_t wide_v = (args->dim_v + 15) / 16 * 16, n = args->n_q;
    float *at = args->scratch;
    attn_work work = {.args = args, .wide_v = wide_v};
    work.k_panel = at, at += SPN_KV_BLOCK * args->dim_k;
    work.v_panel = at, at += SPN_KV_BLOCK * wide_v;
    work.p = at, at += SPN_KV_BLOCK * n;
    work.o = at, at += wide_v * n;
    work.m = at, at += n;
    work.l = at, at += n;
    work.lo = (uint32_t *)(void *)at, at += n;
    work.hi = (uint32_t *)(void *)at, at += n;
    work.active = (uint32_t *)(void *)at;
    memset(work.p, 0, SPN_KV_BLOCK * n * sizeof(float));
    memset(work.o, 0, wide_v * n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        work.m[i] = args->sink ? args->sink[i] : -INFINITY;
        work.l[i] = args->sink ? 1.0f : 0.0f;
    }
    return work;
}

/* Who sees what of the block: returns the number of such rows, and the union's ends. */
static size_t look_at_block(attn_work *work, uint32_t block, size_t *lo, size_t *hi) {
    const spn_attn_args *args = work->args;
    uint64_t start = (uint64_t)block * SPN_KV_BLOCK;
    size_t n = 0;
    *lo = SPN_KV_BLOCK, *hi = 0;
    for (uint32_t i = 0; i < args->n_q; i++) {
        uint64_t first = args->first[i], end = (uint64_t)args->last[i] + 1;
        if (first < start) first = start;
        if (end > start + SPN_KV_BLOCK) end = start + SPN_KV_BLOCK;
        if (first >= end) continue;
        work->lo[i] = (uint32_t)(first - start);
        work->hi[i] = (uint32_t)(end - start);
        *lo = work->lo[i] < *lo ? work->lo[i] : *lo;
        *hi = work->hi[i] > *hi ? work->hi[i] : *hi;
        work->active[n++] = i;
    }
    return n;
}

static void finish_row(const attn_work *work, size_t i) {
    const spn_attn_args *args = work->args;
    float l = work->l[i], *out = args->out + i * args->ldo, *o = work->o + i * work->wide_v;
    v16 factor = v_set1(1.0f / l);
    for (size_t e = 0; e < args->dim_v; e += 16) {
        v16 y = l == 0.0f ? v_zero() : v_mul(v_load(o + e), factor);
        v_store_n(out + e, y, args->dim_v - e < 16 ? args->dim_v - e : 16);
    }
}

static void LANES_NAME(attend)(const spn_attn_args *args) {
    attn_work work = start_work(args);
    uint32_t first = UINT32_MAX, last = 0;
    for (size_t i = 0; i < args->n_q; i++) {
        if (args->first[i] > args->last[i]) continue;
        first = args->first[i] < first ? args->first[i] : first;
        last = args->last[i] > last ? args->last[i] : last;
    }
    for (uint32_t block = first / SPN_KV_BLOCK; first <= last && block <= last / SPN_KV_BLOCK;
         block++) {
        size_t lo, hi, n = look_at_block(&work, block, &lo, &hi);
        if (n == 0) continue;
        take_block(&work, block, block == last / SPN_KV_BLOCK, lo, hi, n);
        /* Groups of about one size: 8 rows go as 4 and 4, not as 6 and 2. */
        size_t n_groups = (n + ATTN_ROWS - 1) / ATTN_ROWS, size = (n + n_groups - 1) / n_groups;
        for (size_t r = 0; r < n; r += size)
            attend_group(&work, work.active + r, n - r < size ? n - r : size, r == 0);
    }
    for (size_t i = 0; i < args->n_q; i++) finish_row(&work, i);
}

void LANES_NAME(spn_attn_init)(spn_kernels *table) { table->attend = LANES_NAME(attend); }
