/* qmat_avx512_grid.c - AVX-512 products: the types with grids, and the ternary ones.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A packed entry of a grid (iq_grids.c) becomes its 8 numbers with one PDEP, which spreads the
 * entry's places in the list of values over the bytes of a word, and one byte shuffle of that list;
 * a mask of 32 sign bits then negates a block's bytes. That is four look-ups, four PDEP and about a
 * dozen other operations for 32 weights, more than the product itself takes: with one token these
 * types are bound by their decoding, at 10 to 20 cycles a block; with many it costs little.
 */
#include <assert.h>

#include "compute/qmat_avx512.h"

#define TWO_BITS 0x0303030303030303u
#define THREE_BITS 0x0707070707070707u
#define FOUR_BITS 0x0f0f0f0f0f0f0f0fu

INLINE __m256i four_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return _mm256_setr_epi64x((long long)a, (long long)b, (long long)c, (long long)d);
}

INLINE __m256i negate_where(__m256i x, uint32_t signs) {
    return _mm256_mask_sub_epi8(x, signs, _mm256_setzero_si256(), x);
}

/* Four sign tables of 7 bits, whose eighth is their parity. */
INLINE uint32_t signs_of_28(uint32_t bits) {
    uint32_t x = _pdep_u32(bits, 0x7f7f7f7fu), parity = x ^ x >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return x | (parity & 0x01010101u) << 7;
}

/* The list of values in each 16 bytes, for a byte shuffle. */
INLINE __m256i values_of(const int8_t *values) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)values));
}

static const int8_t iq2_values[16] = {8, 25, 43};
static const int8_t iq3_xxs_values[16] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t iq3_s_values[16] = {1, 3, 5, 7, 9, 11, 13, 15};
/* 8 g + delta with delta 1, and with -1 four places on. */
static const int8_t iq1_values[16] = {-7, 1, 9, 0, -9, -1, 7};

/* ---- 32 weights of block b, as signed bytes ---- */

INLINE __m256i block_iq2_xxs(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 8 * b;
    const uint16_t *grid = spn_iq2_xxs_grid;
    __m256i x = four_words(_pdep_u64(grid[qs[0]], TWO_BITS), _pdep_u64(grid[qs[1]], TWO_BITS),
                           _pdep_u64(grid[qs[2]], TWO_BITS), _pdep_u64(grid[qs[3]], TWO_BITS));
    return negate_where(_mm256_shuffle_epi8(values_of(iq2_values), x),
                        signs_of_28(spn_load_u32(qs + 4)));
}

INLINE __m256i block_iq2_xs(const uint8_t *row, size_t b) {
    const uint16_t *grid = spn_iq2_xs_grid;
    uint64_t word[4];
    uint32_t signs = 0;
    for (size_t l = 0; l < 4; l++) {
        uint32_t q = spn_load_u16(row + 2 + 8 * b + 2 * l);
        word[l] = _pdep_u64(grid[q & 511], TWO_BITS);
        signs |= q >> 9 << 7 * l;
    }
    __m256i x = four_words(word[0], word[1], word[2], word[3]);
    return negate_where(_mm256_shuffle_epi8(values_of(iq2_values), x), signs_of_28(signs));
}

INLINE __m256i block_iq2_s(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 4 * b, *signs = row + 34 + 4 * b;
    const uint16_t *grid = spn_iq2_s_grid;
    uint32_t high = row[66 + b];
    uint64_t word[4];
    for (size_t l = 0; l < 4; l++)
        word[l] = _pdep_u64(grid[qs[l] | (high >> 2 * l & 3) << 8], TWO_BITS);
    __m256i x = four_words(word[0], word[1], word[2], word[3]);
    return negate_where(_mm256_shuffle_epi8(values_of(iq2_values), x), spn_load_u32(signs));
}

INLINE __m256i block_iq3_xxs(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 8 * b;
    const uint16_t *grid = spn_iq3_xxs_grid;
    uint64_t word[4];
    for (size_t l = 0; l < 4; l++)
        word[l] = _pdep_u64(grid[qs[2 * l]] | (uint32_t)grid[qs[2 * l + 1]] << 12, THREE_BITS);
    __m256i x = four_words(word[0], word[1], word[2], word[3]);
    return negate_where(_mm256_shuffle_epi8(values_of(iq3_xxs_values), x),
                        signs_of_28(spn_load_u32(row + 66 + 4 * b)));
}

INLINE __m256i block_iq3_s(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 8 * b;
    const uint16_t *grid = spn_iq3_s_grid;
    uint32_t high = row[66 + b];
    uint64_t word[4];
    for (size_t l = 0; l < 4; l++) {
        uint32_t first = grid[qs[2 * l] | (high >> 2 * l & 1) << 8];
        uint32_t second = grid[qs[2 * l + 1] | (high >> (2 * l + 1) & 1) << 8];
        word[l] = _pdep_u64(first | second << 12, THREE_BITS);
    }
    __m256i x = four_words(word[0], word[1], word[2], word[3]);
    return negate_where(_mm256_shuffle_epi8(values_of(iq3_s_values), x),
                        spn_load_u32(row + 74 + 4 * b));
}

INLINE __m256i block_iq1_s(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 4 * b;
    uint32_t qh = spn_load_u16(row + 34 + 2 * b);
    uint64_t word[4];
    for (size_t l = 0; l < 4; l++)
        word[l] = _pdep_u64(spn_iq1_s_grid[qs[l] | (qh >> 3 * l & 7) << 8], TWO_BITS);
    __m256i x = four_words(word[0], word[1], word[2], word[3]);
    x = _mm256_or_si256(x, _mm256_set1_epi8((char)(qh >> 15 << 2)));
    return _mm256_shuffle_epi8(values_of(iq1_values), x);
}

INLINE __m256i block_iq1_m(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 4 * b;
    uint32_t qh = spn_load_u16(row + 32 + 2 * b); /* a nibble a group */
    uint64_t word[4];
    for (size_t l = 0; l < 4; l++) {
        uint32_t high = qh >> 4 * l & 15;
        uint64_t minus = (high >> 3) * 0x0404040404040404u;
        word[l] = _pdep_u64(spn_iq1_s_grid[qs[l] | (high & 7) << 8], TWO_BITS) | minus;
    }
    __m256i x = four_words(word[0], word[1], word[2], word[3]);
    return _mm256_shuffle_epi8(values_of(iq1_values), x);
}

/* The bytes of TQ1_0 that block b's numbers stand in, and their powers of 3: two of 16 each. */
static const uint8_t tq1_0_at[8][2] = {{0, 16}, {0, 16},  {0, 16},  {0, 16},
                                       {0, 16}, {32, 32}, {32, 32}, {32, 48}};
static const uint8_t tq1_0_power[8][2] = {{1, 1},   {3, 3}, {9, 9},  {27, 27},
                                          {81, 81}, {1, 3}, {9, 27}, {81, 0}};

/* 0, 1, 2 as they are stored; the offset is 1. */
INLINE __m256i block_tq1_0(const uint8_t *row, size_t b) {
    assert(b < 8);
    __m128i lo = _mm_loadu_si128((const void *)(row + tq1_0_at[b][0]));
    __m128i hi = b < 7 ? _mm_loadu_si128((const void *)(row + tq1_0_at[b][1]))
                       : _mm_set1_epi32((int)spn_load_u32(row + 48));
    __m512i x = _mm512_cvtepu8_epi16(_mm256_set_m128i(hi, lo));
    /* The last block's second half has powers 1, 3, 9, 27 in turn, four bytes each. */
    const __m256i last = _mm256_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27);
    __m256i second = b < 7 ? _mm256_set1_epi16(tq1_0_power[b][1]) : last;
    __m512i power =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi16(tq1_0_power[b][0])), second, 1);
    x = _mm512_and_si512(_mm512_mullo_epi16(x, power), _mm512_set1_epi16(255));
    x = _mm512_srli_epi16(_mm512_mullo_epi16(x, _mm512_set1_epi16(3)), 8);
    return _mm512_cvtepi16_epi8(x);
}

INLINE __m256i block_tq2_0(const uint8_t *row, size_t b) {
    __m256i x = _mm256_loadu_si256((const void *)(row + 32 * (b / 4)));
    x = _mm256_srl_epi16(x, _mm_cvtsi32_si128((int)(2 * (b % 4))));
    return _mm256_and_si256(x, _mm256_set1_epi8(3));
}

/* ---- scales: 2 ls + 1 of a group's four blocks, or of its eight sub-blocks ---- */

INLINE __m128i odd_of(__m128i ls) {
    return _mm_add_epi32(_mm_add_epi32(ls, ls), _mm_set1_epi32(1));
}

INLINE __m128i scales_iq2_xxs(const uint8_t *row, int half) {
    __m256i x = _mm256_loadu_si256((const void *)(row + 2 + 32 * half));
    const __m256i odd = _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7);
    __m128i aux = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(x, odd));
    return odd_of(_mm_srli_epi32(aux, 28));
}

INLINE __m128i scales_iq3_xxs(const uint8_t *row, int half) {
    return odd_of(_mm_srli_epi32(_mm_loadu_si128((const void *)(row + 66 + 16 * half)), 28));
}

INLINE __m128i scales_iq3_s(const uint8_t *row, int half) {
    uint32_t four = _pdep_u32(spn_load_u16(row + 106 + 2 * half), (uint32_t)FOUR_BITS);
    return odd_of(_mm_cvtepu8_epi32(_mm_cvtsi32_si128((int)four)));
}

INLINE __m128i scales_iq1_s(const uint8_t *row, int half) {
    __m128i qh = _mm_cvtepu16_epi32(_mm_loadl_epi64((const void *)(row + 34 + 8 * half)));
    return odd_of(_mm_and_si128(_mm_srli_epi32(qh, 12), _mm_set1_epi32(7)));
}

INLINE __m128i scales_one(const uint8_t *row, int half) {
    (void)row;
    (void)half;
    return _mm_set1_epi32(1);
}

INLINE uint64_t sub_scales_iq2_xs(const uint8_t *row, int half) {
    return _pdep_u64(spn_load_u32(row + 66 + 4 * half), FOUR_BITS);
}

INLINE uint64_t sub_scales_iq2_s(const uint8_t *row, int half) {
    return _pdep_u64(spn_load_u32(row + 74 + 4 * half), FOUR_BITS);
}

INLINE uint64_t sub_scales_iq1_m(const uint8_t *row, int half) {
    uint32_t two = spn_load_u32(row + 48 + 4 * half);
    return _pdep_u64((two & 0xfff) | (two >> 16 & 0xfff) << 12, THREE_BITS);
}

INLINE uint16_t d_iq1_m(const uint8_t *row) {
    uint64_t x;
    memcpy(&x, row + 48, sizeof(x));
    return (uint16_t)_pext_u64(x, 0xf000f000f000f000u);
}

/* ---- groups ---- */

/* The four rows' half-precision numbers, times `factor`, in each lane. */
INLINE __m512 row_scales(uint16_t d0, uint16_t d1, uint16_t d2, uint16_t d3, float factor) {
    __m128i h = _mm_setr_epi16((short)d0, (short)d1, (short)d2, (short)d3, 0, 0, 0, 0);
    __m512 d = _mm512_broadcast_f32x4(_mm_cvtph_ps(h));
    return _mm512_mul_ps(d, _mm512_set1_ps(factor));
}

/* [row][chain] to [chain][row]. */
INLINE __m512i chains_first(__m128i r0, __m128i r1, __m128i r2, __m128i r3) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i x = _mm512_castsi128_si512(r0);
    x = _mm512_inserti32x4(_mm512_inserti32x4(x, r1, 1), r2, 2);
    return _mm512_permutexvar_epi32(order, _mm512_inserti32x4(x, r3, 3));
}

INLINE __m512i two_blocks(__m256i first, __m256i second, uint8_t offset) {
    __m512i x = _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
    return _mm512_add_epi8(x, _mm512_set1_epi8((char)offset));
}

/* A group's four blocks, in the order of qmat_group. */
#define LOAD_BLOCKS(name, w, i, row, first, offset)                                               \
    do {                                                                                          \
        __m512i x = two_blocks(block_##name(row, first), block_##name(row, (first) + 1), offset); \
        __m512i y =                                                                               \
            two_blocks(block_##name(row, (first) + 2), block_##name(row, (first) + 3), offset);   \
        (w)->a[i] = _mm512_shuffle_i64x2(x, y, 0x88);                                             \
        (w)->b[i] = _mm512_shuffle_i64x2(x, y, 0xdd);                                             \
    } while (0)

/* Types with a scale a block. */
#define LOAD_PLAIN(name, d_at, scales, factor, offset)                                           \
    INLINE void load_##name(qmat_group *w, const uint8_t *const p[4], int half) {                \
        for (int i = 0; i < 4; i++) LOAD_BLOCKS(name, w, i, p[i], 4 * (size_t)half, offset);     \
        __m512 d = row_scales(spn_load_u16(p[0] + (d_at)), spn_load_u16(p[1] + (d_at)),          \
                              spn_load_u16(p[2] + (d_at)), spn_load_u16(p[3] + (d_at)), factor); \
        __m512i s = chains_first(scales(p[0], half), scales(p[1], half), scales(p[2], half),     \
                                 scales(p[3], half));                                            \
        w->d = _mm512_mul_ps(d, _mm512_cvtepi32_ps(s));                                          \
    }

/* Types with a scale for each 16. */
#define LOAD_SUB(name, d_of)                                                            \
    INLINE void load_##name(qmat_group *w, const uint8_t *const p[4], int half) {       \
        long long ls[4];                                                                \
        for (int i = 0; i < 4; i++) {                                                   \
            LOAD_BLOCKS(name, w, i, p[i], 4 * (size_t)half, 64);                        \
            ls[i] = (long long)sub_scales_##name(p[i], half);                           \
        }                                                                               \
        __m512i scales = _mm512_setr_epi64(ls[0], 0, ls[1], 0, ls[2], 0, ls[3], 0);     \
        scales = _mm512_add_epi8(_mm512_add_epi8(scales, scales), _mm512_set1_epi8(1)); \
        spread_scales(w, scales, 0);                                                    \
        w->d = row_scales(d_of(p[0]), d_of(p[1]), d_of(p[2]), d_of(p[3]), 0.125f);      \
    }

#define DECODE(name, bytes, offset)                                            \
    INLINE __m512i decode_##name(const uint8_t *row, size_t u, size_t n) {     \
        const uint8_t *p = row + u / 4 * (bytes);                              \
        size_t b = u % 4 * 2;                                                  \
        (void)n;                                                               \
        return two_blocks(block_##name(p, b), block_##name(p, b + 1), offset); \
    }

#define SPEC_PLAIN(bytes) .kind = QMAT_PLAIN, .unit_bytes = (bytes)
#define SPEC_SUB(bytes) \
    .kind = QMAT_SUB, .unit_bytes = (bytes), .panel_scales = true, .offset_shift = 6

#define TYPE(name, kind_of, bytes, by)                                  \
    DECODE(name, bytes, (by) == 1 ? 0 : (by))                           \
    QMAT_ROWS_ALL(name, SPEC_##kind_of(bytes))                          \
    QMAT_UNPACK(name, SPEC_##kind_of(bytes))                            \
    static const qmat_type type_##name = {.kind = QMAT_##kind_of,       \
                                          .panel_kind = QMAT_##kind_of, \
                                          .offset = (by),               \
                                          .panel_offset = (by),         \
                                          QMAT_FUNCTIONS(name)};        \
    QMAT_MATMUL(name)

LOAD_PLAIN(iq2_xxs, 0, scales_iq2_xxs, 0.125f, 128)
LOAD_PLAIN(iq3_xxs, 0, scales_iq3_xxs, 0.25f, 128)
LOAD_PLAIN(iq3_s, 0, scales_iq3_s, 1.0f, 128)
LOAD_PLAIN(iq1_s, 0, scales_iq1_s, 0.125f, 128)
LOAD_PLAIN(tq1_0, 52, scales_one, 1.0f, 0)
LOAD_PLAIN(tq2_0, 64, scales_one, 1.0f, 0)
LOAD_SUB(iq2_xs, spn_load_u16)
LOAD_SUB(iq2_s, spn_load_u16)
LOAD_SUB(iq1_m, d_iq1_m)
TYPE(iq2_xxs, PLAIN, 66, 128)
TYPE(iq3_xxs, PLAIN, 98, 128)
TYPE(iq3_s, PLAIN, 110, 128)
TYPE(iq1_s, PLAIN, 50, 128)
TYPE(tq1_0, PLAIN, 54, 1)
TYPE(tq2_0, PLAIN, 66, 1)
TYPE(iq2_xs, SUB, 74, 64)
TYPE(iq2_s, SUB, 82, 64)
TYPE(iq1_m, SUB, 56, 64)

void spn_qmat_init_avx512_grid(spn_kernels *table) {
    table->matmul[SPN_TYPE_IQ2_XXS] = matmul_iq2_xxs;
    table->matmul[SPN_TYPE_IQ2_XS] = matmul_iq2_xs;
    table->matmul[SPN_TYPE_IQ2_S] = matmul_iq2_s;
    table->matmul[SPN_TYPE_IQ3_XXS] = matmul_iq3_xxs;
    table->matmul[SPN_TYPE_IQ3_S] = matmul_iq3_s;
    table->matmul[SPN_TYPE_IQ1_S] = matmul_iq1_s;
    table->matmul[SPN_TYPE_IQ1_M] = matmul_iq1_m;
    table->matmul[SPN_TYPE_TQ1_0] = matmul_tq1_0;
    table->matmul[SPN_TYPE_TQ2_0] = matmul_tq2_0;
}
