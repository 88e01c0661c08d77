/* qmat_avx2_grid.c - AVX2 products: the types with grids, and the ternary ones.
 * SPDX-License-Identifier: Apache-2.0
 *
 * An entry of a grid (iq_grids.c) is 8 numbers of 2 bits or 4 of 3. For IQ1 and IQ2 a byte shuffle
 * gives each element the byte that holds its bits, a mask leaves them, folding the high nibble on
 * the low one leaves 0, v or 4 v for a place v in 0..2, and a second shuffle turns that into the
 * number. For IQ3, shifts by 5, 10 and 15 bring the four places into a word's bytes. No PDEP: it
 * is slow on some processors of this level. With one token these types are bound by this decoding
 * (some 20 operations for 32 weights), with many they are as fast as others with signed bytes.
 */
#include <assert.h>

#include "compute/qmat_avx2.h"

/* Numbers of four entries of 2 bits; `values` at 0, 1 and 4, 2 and 8. */
INLINE __m256i numbers_of_2(const uint16_t entry[4], const int8_t *values) {
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4,
                                           4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    long long four = (long long)(entry[0] | (uint64_t)entry[1] << 16 | (uint64_t)entry[2] << 32 |
                                 (uint64_t)entry[3] << 48);
    __m256i x = _mm256_shuffle_epi8(_mm256_set1_epi64x(four), bytes);
    x = _mm256_and_si256(x, _mm256_set1_epi32((int)0xc0300c03u));
    x = _mm256_or_si256(x, _mm256_srli_epi16(x, 4));
    return _mm256_shuffle_epi8(value_table(values), _mm256_and_si256(x, _mm256_set1_epi8(15)));
}

/* Numbers of eight entries of 3 bits. */
INLINE __m256i numbers_of_3(const uint16_t entry[8], const int8_t *values) {
    __m256i e = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)entry));
    __m256i x = _mm256_and_si256(e, _mm256_set1_epi32(7));
    x = _mm256_or_si256(x, _mm256_and_si256(_mm256_slli_epi32(e, 5), _mm256_set1_epi32(7 << 8)));
    x = _mm256_or_si256(x, _mm256_and_si256(_mm256_slli_epi32(e, 10), _mm256_set1_epi32(7 << 16)));
    x = _mm256_or_si256(x, _mm256_and_si256(_mm256_slli_epi32(e, 15), _mm256_set1_epi32(7 << 24)));
    return _mm256_shuffle_epi8(value_table(values), x);
}

INLINE __m256i negate_where(__m256i x, uint32_t signs) {
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i m = _mm256_shuffle_epi8(_mm256_set1_epi32((int)signs), bytes);
    m = _mm256_cmpeq_epi8(_mm256_and_si256(m, bit), bit);
    return _mm256_sub_epi8(_mm256_xor_si256(x, m), m);
}

/* Four sign tables of 7 bits, whose eighth is their parity. */
INLINE uint32_t signs_of_28(uint32_t b) {
    uint32_t x = (b & 0x7f) | (b << 1 & 0x7f00) | (b << 2 & 0x7f0000) | (b << 3 & 0x7f000000);
    uint32_t parity = x ^ x >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return x | (parity & 0x01010101u) << 7;
}

static const int8_t iq2_values[16] = {8, 25, 43, 0, 25, 0, 0, 0, 43};
static const int8_t iq1_values[16] = {-8, 0, 8, 0, 0, 0, 0, 0, 8};
static const int8_t iq3_xxs_values[16] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t iq3_s_values[16] = {1, 3, 5, 7, 9, 11, 13, 15};

/* ---- 32 weights of block b ---- */

INLINE __m256i block_iq2_xxs(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 8 * b;
    const uint16_t *grid = spn_iq2_xxs_grid;
    uint16_t entry[4] = {grid[qs[0]], grid[qs[1]], grid[qs[2]], grid[qs[3]]};
    return negate_where(numbers_of_2(entry, iq2_values), signs_of_28(spn_load_u32(qs + 4)));
}

INLINE __m256i block_iq2_xs(const uint8_t *row, size_t b) {
    uint16_t entry[4];
    uint32_t signs = 0;
    for (size_t l = 0; l < 4; l++) {
        uint32_t q = spn_load_u16(row + 2 + 8 * b + 2 * l);
        entry[l] = spn_iq2_xs_grid[q & 511];
        signs |= q >> 9 << 7 * l;
    }
    return negate_where(numbers_of_2(entry, iq2_values), signs_of_28(signs));
}

INLINE __m256i block_iq2_s(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 4 * b;
    uint32_t high = row[66 + b];
    uint16_t entry[4];
    for (size_t l = 0; l < 4; l++) entry[l] = spn_iq2_s_grid[qs[l] | (high >> 2 * l & 3) << 8];
    return negate_where(numbers_of_2(entry, iq2_values), spn_load_u32(row + 34 + 4 * b));
}

INLINE __m256i block_iq3_xxs(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 8 * b;
    uint16_t entry[8];
    for (size_t i = 0; i < 8; i++) entry[i] = spn_iq3_xxs_grid[qs[i]];
    return negate_where(numbers_of_3(entry, iq3_xxs_values),
                        signs_of_28(spn_load_u32(row + 66 + 4 * b)));
}

INLINE __m256i block_iq3_s(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 8 * b;
    uint32_t high = row[66 + b];
    uint16_t entry[8];
    for (size_t i = 0; i < 8; i++) entry[i] = spn_iq3_s_grid[qs[i] | (high >> i & 1) << 8];
    return negate_where(numbers_of_3(entry, iq3_s_values), spn_load_u32(row + 74 + 4 * b));
}

INLINE __m256i block_iq1_s(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 2 + 4 * b;
    uint32_t qh = spn_load_u16(row + 34 + 2 * b);
    uint16_t entry[4];
    for (size_t l = 0; l < 4; l++) entry[l] = spn_iq1_s_grid[qs[l] | (qh >> 3 * l & 7) << 8];
    return _mm256_add_epi8(numbers_of_2(entry, iq1_values),
                           _mm256_set1_epi8((char)(qh & 0x8000 ? -1 : 1)));
}

INLINE __m256i block_iq1_m(const uint8_t *row, size_t b) {
    const uint8_t *qs = row + 4 * b;
    uint32_t qh = spn_load_u16(row + 32 + 2 * b), signs = 0; /* a nibble a group */
    uint16_t entry[4];
    for (size_t l = 0; l < 4; l++) {
        uint32_t high = qh >> 4 * l & 15;
        entry[l] = spn_iq1_s_grid[qs[l] | (high & 7) << 8];
        signs |= (high >> 3) * 255u << 8 * l;
    }
    return _mm256_add_epi8(numbers_of_2(entry, iq1_values),
                           negate_where(_mm256_set1_epi8(1), signs));
}

/* The bytes of TQ1_0 that block b's numbers stand in, and their powers of 3: two of 16 each. */
static const uint8_t tq1_0_at[8][2] = {{0, 16}, {0, 16},  {0, 16},  {0, 16},
                                       {0, 16}, {32, 32}, {32, 32}, {32, 48}};
static const uint8_t tq1_0_power[8][2] = {{1, 1},   {3, 3}, {9, 9},  {27, 27},
                                          {81, 81}, {1, 3}, {9, 27}, {81, 0}};

/* 16 numbers, as words: the whole part of 3 (byte * power mod 256) / 256. */
INLINE __m256i ternary_16(__m128i bytes, __m256i power) {
    __m256i x = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(bytes), power);
    x = _mm256_and_si256(x, _mm256_set1_epi16(255));
    return _mm256_srli_epi16(_mm256_mullo_epi16(x, _mm256_set1_epi16(3)), 8);
}

/* 0, 1, 2 as they are stored; the offset is 1. */
INLINE __m256i block_tq1_0(const uint8_t *row, size_t b) {
    assert(b < 8);
    /* The last block's second half has powers 1, 3, 9, 27 in turn, four bytes each. */
    const __m256i last = _mm256_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27);
    __m128i lo = _mm_loadu_si128((const void *)(row + tq1_0_at[b][0]));
    __m128i hi = b < 7 ? _mm_loadu_si128((const void *)(row + tq1_0_at[b][1]))
                       : _mm_set1_epi32((int)spn_load_u32(row + 48));
    __m256i second = b < 7 ? _mm256_set1_epi16(tq1_0_power[b][1]) : last;
    __m256i x = _mm256_packus_epi16(ternary_16(lo, _mm256_set1_epi16(tq1_0_power[b][0])),
                                    ternary_16(hi, second));
    return _mm256_permute4x64_epi64(x, 0xd8);
}

INLINE __m256i block_tq2_0(const uint8_t *row, size_t b) {
    __m256i x = _mm256_loadu_si256((const void *)(row + 32 * (b / 4)));
    x = _mm256_srl_epi16(x, _mm_cvtsi32_si128((int)(2 * (b % 4))));
    return _mm256_and_si256(x, _mm256_set1_epi8(3));
}

/* ---- scales: 2 ls + 1 of block b, or of its two sub-blocks ---- */

INLINE int odd_of(uint32_t ls) { return (int)(2 * ls + 1); }

INLINE int scale_iq2_xxs(const uint8_t *row, size_t b) {
    return odd_of(spn_load_u32(row + 6 + 8 * b) >> 28);
}
INLINE int scale_iq3_xxs(const uint8_t *row, size_t b) {
    return odd_of(spn_load_u32(row + 66 + 4 * b) >> 28);
}
INLINE int scale_iq3_s(const uint8_t *row, size_t b) {
    return odd_of((uint32_t)row[106 + b / 2] >> 4 * (b % 2) & 15);
}
INLINE int scale_iq1_s(const uint8_t *row, size_t b) {
    return odd_of((uint32_t)spn_load_u16(row + 34 + 2 * b) >> 12 & 7);
}
INLINE int scale_one(const uint8_t *row, size_t b) {
    (void)row;
    (void)b;
    return 1;
}

INLINE int sub_scale_iq2_xs(const uint8_t *row, size_t b, int h) {
    return odd_of((uint32_t)row[66 + b] >> 4 * h & 15);
}
INLINE int sub_scale_iq2_s(const uint8_t *row, size_t b, int h) {
    return odd_of((uint32_t)row[74 + b] >> 4 * h & 15);
}
INLINE int sub_scale_iq1_m(const uint8_t *row, size_t b, int h) {
    return odd_of((uint32_t)spn_load_u16(row + 48 + 2 * (b / 2)) >> (6 * (b % 2) + 3 * (size_t)h) &
                  7);
}

INLINE uint16_t d_iq1_m(const uint8_t *row) {
    const uint8_t *s = row + 48;
    return (uint16_t)(s[1] >> 4 | (s[3] & 0xf0) | (s[5] & 0xf0) << 4 | (s[7] & 0xf0) << 8);
}

/* ---- pairs ---- */

/* The four rows' half-precision numbers, times `factor`, for both chains. */
INLINE __m256 row_scales(uint16_t d0, uint16_t d1, uint16_t d2, uint16_t d3, float factor) {
    __m128 d = _mm_cvtph_ps(_mm_setr_epi16((short)d0, (short)d1, (short)d2, (short)d3, 0, 0, 0, 0));
    return _mm256_mul_ps(_mm256_set_m128(d, d), _mm256_set1_ps(factor));
}

INLINE void put_pair(qmat_pair *w, int i, __m256i first, __m256i second) {
    w->a[i] = _mm256_permute2x128_si256(first, second, 0x20);
    w->b[i] = _mm256_permute2x128_si256(first, second, 0x31);
}

#define DECODE(name, bytes)                                      \
    INLINE __m256i decode_##name(const uint8_t *row, size_t b) { \
        return block_##name(row + b / 8 * (bytes), b % 8);       \
    }

/* Types with a scale a block. */
#define LOAD_PLAIN(name, d_at, scale, factor)                                                     \
    INLINE void load_##name(qmat_pair *w, const uint8_t *const p[4], int j) {                     \
        const size_t b = 2 * (size_t)j, c = b + 1;                                                \
        for (int i = 0; i < 4; i++) put_pair(w, i, block_##name(p[i], b), block_##name(p[i], c)); \
        __m256 d = row_scales(spn_load_u16(p[0] + (d_at)), spn_load_u16(p[1] + (d_at)),           \
                              spn_load_u16(p[2] + (d_at)), spn_load_u16(p[3] + (d_at)), factor);  \
        __m256i s =                                                                               \
            _mm256_setr_epi32(scale(p[0], b), scale(p[1], b), scale(p[2], b), scale(p[3], b),     \
                              scale(p[0], c), scale(p[1], c), scale(p[2], c), scale(p[3], c));    \
        w->d = _mm256_mul_ps(d, _mm256_cvtepi32_ps(s));                                           \
    }

INLINE __m256i two_scales(int first, int second) {
    return _mm256_setr_m128i(_mm_set1_epi16((short)first), _mm_set1_epi16((short)second));
}

/* Types with a scale for each 16. */
#define LOAD_SUB(name, d_of)                                                                   \
    INLINE void load_##name(qmat_pair *w, const uint8_t *const p[4], int j) {                  \
        const size_t b = 2 * (size_t)j, c = b + 1;                                             \
        for (int i = 0; i < 4; i++) {                                                          \
            put_pair(w, i, block_##name(p[i], b), block_##name(p[i], c));                      \
            w->sa[i] = two_scales(sub_scale_##name(p[i], b, 0), sub_scale_##name(p[i], c, 0)); \
            w->sb[i] = two_scales(sub_scale_##name(p[i], b, 1), sub_scale_##name(p[i], c, 1)); \
        }                                                                                      \
        w->d = row_scales(d_of(p[0]), d_of(p[1]), d_of(p[2]), d_of(p[3]), 0.125f);             \
        w->pairs = _mm256_setzero_si256();                                                     \
    }

LOAD_PLAIN(iq2_xxs, 0, scale_iq2_xxs, 0.125f)
LOAD_PLAIN(iq3_xxs, 0, scale_iq3_xxs, 0.25f)
LOAD_PLAIN(iq3_s, 0, scale_iq3_s, 1.0f)
LOAD_PLAIN(iq1_s, 0, scale_iq1_s, 0.125f)
LOAD_PLAIN(tq1_0, 52, scale_one, 1.0f)
LOAD_PLAIN(tq2_0, 64, scale_one, 1.0f)
LOAD_SUB(iq2_xs, spn_load_u16)
LOAD_SUB(iq2_s, spn_load_u16)
LOAD_SUB(iq1_m, d_iq1_m)
DECODE(iq2_xxs, 66)
DECODE(iq3_xxs, 98)
DECODE(iq3_s, 110)
DECODE(iq1_s, 50)
DECODE(tq1_0, 54)
DECODE(tq2_0, 66)
DECODE(iq2_xs, 74)
DECODE(iq2_s, 82)
DECODE(iq1_m, 56)
QMAT_TYPE(iq2_xxs, 0, 1, QMAT_SIGNED, .unit_bytes = 66)
QMAT_TYPE(iq3_xxs, 0, 1, QMAT_SIGNED, .unit_bytes = 98)
QMAT_TYPE(iq3_s, 0, 1, QMAT_SIGNED, .unit_bytes = 110)
QMAT_TYPE(iq1_s, 0, 1, QMAT_SIGNED, .unit_bytes = 50)
QMAT_TYPE(tq1_0, 1, 8, QMAT_PLAIN, .unit_bytes = 54)
QMAT_TYPE(tq2_0, 1, 8, QMAT_PLAIN, .unit_bytes = 66)
QMAT_TYPE(iq2_xs, 0, 1, QMAT_SUB_SIGNED, .unit_bytes = 74)
QMAT_TYPE(iq2_s, 0, 1, QMAT_SUB_SIGNED, .unit_bytes = 82)
QMAT_TYPE(iq1_m, 0, 1, QMAT_SUB_SIGNED, .unit_bytes = 56)

void spn_qmat_init_avx2_grid(spn_kernels *table) {
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
