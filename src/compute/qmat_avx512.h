/* qmat_avx512.h - what the two engines of the AVX-512 products with quantised weights share.
 * SPDX-License-Identifier: Apache-2.0
 *
 * qmat_avx512_blocks.h is the engine of the types with blocks of 32, qmat_avx512_groups.h that of
 * the types with super-blocks; a type adds a loader. Contract (3) of kernels.h is met in two ways,
 * which give the same bits:
 *
 * ROWS, for few tokens (generation reads each weight once, so memory is the limit). Four rows are
 * walked side by side in the file's own layout, a group of four blocks of 32 at a time. For one
 * token one or two rows, with four or two groups or super-blocks of each in the four places: plain
 * loads that are asked for ahead reach 0.99 to 1.01 of a plain loop's speed in one or two streams
 * and 0.93 to 0.95 in four, and four long rows do not fit the first cache. A loader turns a group
 * of a row into two registers of unsigned bytes
 *     a = | b0 0..15 | b1 0..15 | b2 0..15 | b3 0..15 |     one 128-bit lane a block
 *     b = | b0 16..31 | b1 16..31 | b2 16..31 | b3 16..31 |
 * so that two vpdpbusd leave each block's sum spread over its lane's four numbers. A tree of six
 * unpacks and three additions over four rows gives S as [4 blocks][4 rows], the shape in which the
 * group's scales are decoded too. The activations are brought into the order of a and b once a
 * call. Up to 8 tokens share one loading of the weights.
 *
 * PANELS, for more tokens (the multipliers are the limit; a type tells from how many on). 32 rows
 * are unpacked once, into the scratch, as [block][8 steps][32 rows][4 elements] unsigned bytes,
 * with their scales as [32 rows]: dwords are loaded as [dword][16 rows] and decoded there, where
 * all of a register belongs to one block; then tiles of 32 rows x 6 tokens walk the panel with the
 * sums in registers: per block 96 vpdpbusd and what scales take on the same two ports. Loads a
 * block: 16 registers of weights, 48 broadcasts, 2-4 of scales, of which a core has one (Zen 5) or
 * two (Zen 4) a vpdpbusd. A panel of k = 4096 (128 KiB) stays in the second-level cache, and so
 * does a tile's part of the activations, which come from the third level. Measured beside vpdpbusd
 * on Zen 5: a float or integer multiplication, a rotation or vpmultishiftqb costs as much as one; a
 * store of 64 bytes two; a byte or cross-lane shuffle or an insertion from memory a quarter;
 * conversions, additions, shifts, logic, unpacks, loads and broadcasts of 4 or 8 bytes nothing.
 * Unpacking itself waits for the two loads or one store a cycle, of which loads across a line take
 * two: nibbles of two blocks stay together in a panel where they can (Q4_K). Zen 4, whose registers
 * of 512 bits take two cycles everywhere, is alike, but conversions and additions cost a third of
 * one where they are many.
 *
 * vpdpbusd multiplies unsigned by signed: weights are made unsigned by an offset, and the sum is
 * right because it starts at -offset * (sum of the block's activations).
 */
#ifndef SPN_QMAT_AVX512_H
#define SPN_QMAT_AVX512_H

#include <immintrin.h>

#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
/* Sixteen indices that count up, for the bytes of one lane. */
#define LANE4(i) (i), (i) + 1, (i) + 2, (i) + 3
#define LANE16(i) LANE4(i), LANE4((i) + 4), LANE4((i) + 8), LANE4((i) + 12)
#define MAX_ROW_TOKENS 8 /* that share one loading of four rows */
/* What lies so many bytes further on is asked for: four streams of a few KiB each are too short for
 * the processor to see. */
#define FETCH_AHEAD 8192
#define LONG_ROW 1024 /* bytes: for one token, such rows of blocks go alone */
#define TILE_TOKENS 6
#define PANEL_ROWS 32
#define PANELS 2 /* at most, that a tile's tokens meet one after the other */
#define PANELS_BYTES ((size_t)384 * 1024) /* of their weights: well below a usual second cache */
#define FEW_TOKENS 24                     /* up to these, panels are short */
#define FEW_BLOCKS 16                     /* of 32, in a short panel; a multiple of 8 */

/* ---- loading ---- */

/* An unaligned load that the compiler may not repeat for each use: it crosses a line and costs
 * more than the register. */
INLINE __m512i load_once(const void *p) {
    __m512i x = _mm512_loadu_si512(p);
    __asm__("" : "+v"(x));
    return x;
}

/* A table of 16 signed values for nibbles, less an offset of -128, in each lane. */
INLINE __m512i value_table(const int8_t *values) {
    __m128i x = _mm_loadu_si128((const void *)values);
    return _mm512_broadcast_i32x4(_mm_xor_si128(x, _mm_set1_epi8((char)0x80)));
}

INLINE __m128i load_16(const uint8_t *p) { return _mm_loadu_si128((const void *)p); }
INLINE __m256i load_32(const uint8_t *p) { return _mm256_loadu_si256((const void *)p); }

INLINE __m512i two_halves(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

INLINE __m512i four_lanes(__m128i l0, __m128i l1, __m128i l2, __m128i l3) {
    return two_halves(_mm256_inserti128_si256(_mm256_castsi128_si256(l0), l1, 1),
                      _mm256_inserti128_si256(_mm256_castsi128_si256(l2), l3, 1));
}

/* 16 bytes at `at` of each row, a row a lane. */
INLINE __m512i load_lanes(const uint8_t *const p[4], size_t at) {
    return four_lanes(load_16(p[0] + at), load_16(p[1] + at), load_16(p[2] + at),
                      load_16(p[3] + at));
}

/* The 16 bytes at `p` in all lanes. */
INLINE __m512i load_4_times(const uint8_t *p) { return _mm512_broadcast_i32x4(load_16(p)); }

/* ---- rows ---- */

/* Sums the four numbers of each lane of four rows: [chain][row]. */
INLINE __m512i sum_lanes(__m512i s0, __m512i s1, __m512i s2, __m512i s3) {
    __m512i u = _mm512_add_epi32(_mm512_unpacklo_epi32(s0, s1), _mm512_unpackhi_epi32(s0, s1));
    __m512i v = _mm512_add_epi32(_mm512_unpacklo_epi32(s2, s3), _mm512_unpackhi_epi32(s2, s3));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(u, v), _mm512_unpackhi_epi64(u, v));
}

/* For one token, the four places of a step have `n_rows` rows (1, 2, 4) and, row after row, 4 /
 * n_rows groups of each: place i is of row i % n_rows and of group i / n_rows. */

/* From four numbers of each group, 32 bytes of which are `stride` further on: [number][place]. */
INLINE __m512i spread_numbers(const void *numbers, size_t stride, const int n_rows) {
    const __m512i number = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __mmask16 second = n_rows == 1 ? 0xaaaa : n_rows == 2 ? 0xcccc : 0;
    const __m512i index = _mm512_mask_add_epi32(number, second, number, _mm512_set1_epi32(16));
    const char *at = numbers;
    __m512i x[4];
    for (int g = 0; g < 4 / n_rows; g++)
        x[g] = _mm512_castsi128_si512(_mm_load_si128((const void *)(at + g * stride)));
    if (n_rows == 4) return _mm512_permutexvar_epi32(index, x[0]);
    if (n_rows == 2) return _mm512_permutex2var_epi32(x[0], index, x[1]);
    return _mm512_mask_blend_epi32(0xcccc, _mm512_permutex2var_epi32(x[0], index, x[1]),
                                   _mm512_permutex2var_epi32(x[2], index, x[3]));
}

/* The next group's places come first. */
INLINE __m512 next_places(__m512 x, const int n_rows) {
    return n_rows == 2 ? _mm512_permute_ps(x, 0xee) : _mm512_permute_ps(x, 0x39);
}

/* One token's activations of a group, in the order of a and b. With their numbers, which each
 * engine keeps beside them, they are small: for long rows they share the first cache with the
 * weights. */
typedef struct rows_act {
    int8_t a[64], b[64];
} rows_act;

/* From 128 activations as they lie in memory. */
INLINE void arrange_act(rows_act *out, __m512i q0, __m512i q1) {
    _mm512_store_si512(out->a, _mm512_shuffle_i64x2(q0, q1, 0x88));
    _mm512_store_si512(out->b, _mm512_shuffle_i64x2(q0, q1, 0xdd));
}

/* Which of the kernels for 1, 2, 4, 8 tokens takes the next of `left`. Measured: three tokens cost
 * less as four than as two and one, five less as eight than as four and one. */
INLINE size_t rows_width_log(size_t left) {
    return left >= 5 ? 3 : left >= 3 ? 2 : left == 2 ? 1 : 0;
}

/* Of the rows that there are. */
INLINE void store_4_rows(float *y, __m128 sum, size_t n_rows) {
    if (n_rows >= 4)
        _mm_storeu_ps(y, sum);
    else
        _mm_mask_storeu_ps(y, (__mmask8)((1u << n_rows) - 1), sum);
}

/* ---- loading by columns ---- */

#define COLUMN_ROWS 16

/* Within each lane: dword j of x[i] becomes dword i of out[j]. */
INLINE void transpose_lanes(__m512i out[4], const __m512i x[4]) {
    __m512i low0 = _mm512_unpacklo_epi32(x[0], x[1]), high0 = _mm512_unpackhi_epi32(x[0], x[1]);
    __m512i low1 = _mm512_unpacklo_epi32(x[2], x[3]), high1 = _mm512_unpackhi_epi32(x[2], x[3]);
    out[0] = _mm512_unpacklo_epi64(low0, low1);
    out[1] = _mm512_unpackhi_epi64(low0, low1);
    out[2] = _mm512_unpacklo_epi64(high0, high1);
    out[3] = _mm512_unpackhi_epi64(high0, high1);
}

/* out[j][r]: dword j of the 16 bytes at `at` of row r. */
INLINE void load_4_dwords(__m512i out[4], const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    __m512i x[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *const four[4] = {rows[i], rows[4 + i], rows[8 + i], rows[12 + i]};
        x[i] = load_lanes(four, at);
    }
    transpose_lanes(out, x);
}

/* The same of 32 bytes. */
INLINE void load_8_dwords(__m512i out[8], const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    __m512i x[4], y[4], u[4], v[4];
    for (int i = 0; i < 4; i++) {
        x[i] = two_halves(load_32(rows[i] + at), load_32(rows[4 + i] + at));
        y[i] = two_halves(load_32(rows[8 + i] + at), load_32(rows[12 + i] + at));
    }
    transpose_lanes(u, x);
    transpose_lanes(v, y);
    for (int j = 0; j < 4; j++) {
        out[j] = _mm512_shuffle_i64x2(u[j], v[j], 0x88);
        out[4 + j] = _mm512_shuffle_i64x2(u[j], v[j], 0xdd);
    }
}

/* The words at `at` of 8 rows. */
INLINE __m128i load_8_words(const uint8_t *const rows[8], size_t at) {
    __m128i x[8];
    for (int i = 0; i < 8; i++) x[i] = _mm_loadu_si32(rows[i] + at);
    for (int i = 0; i < 8; i += 2) x[i] = _mm_unpacklo_epi16(x[i], x[i + 1]);
    for (int i = 0; i < 8; i += 4) x[i] = _mm_unpacklo_epi32(x[i], x[i + 2]);
    return _mm_unpacklo_epi64(x[0], x[4]);
}

/* The f16 numbers at `at` of 16 rows to d. */
INLINE void put_f16(float *d, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    for (size_t i = 0; i < COLUMN_ROWS; i += 8)
        _mm256_store_ps(d + i, _mm256_cvtph_ps(load_8_words(rows + i, at)));
}

/* The f16 numbers in the low, or high, halves of dwords. */
INLINE __m512 low_f16(__m512i x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
INLINE __m512 high_f16(__m512i x) { return low_f16(_mm512_srli_epi32(x, 16)); }

/* x where `mask` has ones, y elsewhere. */
INLINE __m512i select_bits(__m512i mask, __m512i x, __m512i y) {
    return _mm512_ternarylogic_epi32(mask, x, y, 0xca);
}

/* ---- panels ---- */

/* 16 registers of 16 dwords: z[i][j] becomes z[j][i]. */
INLINE void transpose_16x16(__m512i *z) {
    __m512i u[16]; /* u[4 a + j]: in lane l, dword 4 l + j of rows 4 a .. */
    for (int a = 0; a < 16; a += 4) transpose_lanes(u + a, z + a);
    for (int j = 0; j < 4; j++) {
        __m512i lo = _mm512_shuffle_i32x4(u[j], u[4 + j], 0x88);       /* lanes 0 2 of rows 0-7 */
        __m512i hi = _mm512_shuffle_i32x4(u[j], u[4 + j], 0xdd);       /* lanes 1 3 */
        __m512i lo2 = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0x88); /* of rows 8-15 */
        __m512i hi2 = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0xdd);
        z[j] = _mm512_shuffle_i32x4(lo, lo2, 0x88);
        z[8 + j] = _mm512_shuffle_i32x4(lo, lo2, 0xdd);
        z[4 + j] = _mm512_shuffle_i32x4(hi, hi2, 0x88);
        z[12 + j] = _mm512_shuffle_i32x4(hi, hi2, 0xdd);
    }
}

/* 32 rows, or a part of their length, unpacked. How its parts stand, each engine tells; what one
 * has no use for is NULL. */
typedef struct qmat_panel {
    size_t n_blocks, n_groups; /* n_groups = ceil(n_blocks / 4) */
    uint8_t *q;
    float *d, *n; /* D and N */
    int32_t *s, *minima;
} qmat_panel;

/* Unpacks as many blocks of the rows as the panel has, from block `first` on: a multiple of 8. */
typedef void (*panel_unpack_fn)(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],
                                size_t first);

/* A tile's tokens, from where the panel begins. */
typedef struct tile_acts {
    const int8_t *q;       /* [token], k apart */
    const float *d, *dsum; /* [token], n_d apart */
    size_t k, n_d;
    const int32_t *start; /* [token][n_start], what the engine's sums start at */
    size_t n_start;
} tile_acts;

/* Adds a panel's products to a tile's sums: [chain][TILE_TOKENS][PANEL_ROWS]. */
typedef void (*tile_fn)(const qmat_panel *panel, const tile_acts *acts, spn_ahead *fetch,
                        float *sums);
#define MAX_CHAINS 4

/* What the engines' ways through panels differ in. */
typedef struct panels_plan {
    size_t n_chains;    /* 1 or MAX_CHAINS */
    size_t group;       /* elements that one scale of an activation is for */
    size_t block_bytes; /* that a panel takes for each block of 32, up to a multiple of four */
    void (*lay_out)(qmat_panel *panel, size_t n_blocks, uint8_t *at);
    panel_unpack_fn unpack;
    const tile_fn *tiles; /* of 1 to TILE_TOKENS tokens */
    /* Fills a token's starts from its sums; returns how many there are: at most two a block. */
    size_t (*fill_start)(int32_t *start, const int16_t *sum, size_t n_blocks, const void *type);
    const void *type;
} panels_plan;

void spn_panels_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const panels_plan *plan);
size_t spn_panels_scratch_avx512(size_t k, const panels_plan *plan);

#define AT(token, stride) ((size_t)(token) * (stride))

/* How a panel has weights: a byte each, or nibbles, of which a block has the low or the high ones.
 */
typedef enum panel_weights { PANEL_BYTES, PANEL_LOW, PANEL_HIGH } panel_weights;

INLINE __m512i weights_of(__m512i x, const panel_weights which) {
    if (which == PANEL_HIGH) x = _mm512_srli_epi16(x, 4);
    return which == PANEL_BYTES ? x : _mm512_and_si512(x, _mm512_set1_epi8(15));
}

/* Adds the products of a step with n tokens, k apart, to s[token][half]. */
INLINE void tile_step(__m512i (*s)[2], const __m512i w[2], const panel_weights which,
                      const int8_t *q, size_t k, const int n) {
    const __m512i w0 = weights_of(w[0], which), w1 = weights_of(w[1], which);
    SPN_UNROLL(6)
    for (int t = 0; t < n; t++) {
        int32_t four;
        memcpy(&four, q + AT(t, k), 4);
        __m512i x = _mm512_set1_epi32(four);
        s[t][0] = _mm512_dpbusd_epi32(s[t][0], w0, x);
        s[t][1] = _mm512_dpbusd_epi32(s[t][1], w1, x);
    }
}

/* The same of so many steps. */
INLINE void tile_steps(__m512i (*s)[2], const uint8_t *w, const panel_weights which,
                       const tile_acts *acts, size_t at, spn_ahead *fetch, const int n,
                       const int n_steps) {
    SPN_UNROLL(8)
    for (int j = 0; j < n_steps; j++) {
        const __m512i both[2] = {_mm512_load_si512(w + 128 * j),
                                 _mm512_load_si512(w + 128 * j + 64)};
        if (j % 4 == 0) spn_fetch_step(fetch);
        tile_step(s, both, which, acts->q + at + 4 * j, acts->k, n);
    }
}

/* A tile's sums of one chain, in registers and back. */
INLINE void load_sums(__m512 (*acc)[2], const float *sums, const int n) {
    for (int t = 0; t < n; t++)
        for (int h = 0; h < 2; h++) acc[t][h] = _mm512_load_ps(sums + PANEL_ROWS * t + 16 * h);
}
INLINE void store_sums(float *sums, __m512 (*acc)[2], const int n) {
    for (int t = 0; t < n; t++)
        for (int h = 0; h < 2; h++) _mm512_store_ps(sums + PANEL_ROWS * t + 16 * h, acc[t][h]);
}

/* Tokens of the next tile when `left` are left: the last tiles share out what six would leave. */
INLINE size_t tile_tokens(size_t left) {
    return left >= TILE_TOKENS + 3 || left == TILE_TOKENS ? TILE_TOKENS
           : left > TILE_TOKENS                           ? (left + 1) / 2
                                                          : left;
}

/* ---- each file's part ---- */

/* Scratch of the engines for rows of k. */
size_t spn_qmat_scratch_blocks_avx512(size_t k);
size_t spn_qmat_scratch_groups_avx512(size_t k);

void spn_qmat_init_avx512_b32(spn_kernels *table);
void spn_qmat_init_avx512_k(spn_kernels *table);
void spn_qmat_init_avx512_iq(spn_kernels *table);
void spn_qmat_init_avx512_grid(spn_kernels *table);

#endif
