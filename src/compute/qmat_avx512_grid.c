/* qmat_avx512_grid.c - AVX-512 products: the types with grids, and the ternary ones.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A row of a grid (iq_grids.c) is a word of 8 numbers of 2 bits or 4 of 3, so that 64 rows are a
 * table of two registers, in which vpermi2w looks up 32 places at once; grids of 256 to 1024 rows
 * are 4 to 16 such tables, chosen by the places' higher bits. Words are spread to bytes by
 * vpmultishiftqb and become values by vpshufb: for 256 weights of 2 bits 4 to 16 look-ups, 3 to 15
 * blends and 16 moves. The grid of the IQ1 types has 2048 rows and is kept as bytes, a load for 8
 * weights. Signs are two masked subtractions for a row's 128; the eighth of each seven comes from a
 * byte permutation over a table of 128.
 */
#include <assert.h>

#include "compute/qmat_avx512_groups.h"

#define THREE_BITS 0x0707070707070707u
#define FOUR_BITS 0x0f0f0f0f0f0f0f0fu
#define OFFSET 128 /* makes all numbers of the grids unsigned; that of value_table */

/* ---- the grid of IQ1, as bytes plus OFFSET; filled before the table of kernels is used ---- */

static uint64_t iq1[2048];
/* The signs that 7 bits stand for: their parity is the eighth. */
static uint8_t signs_of_7[128] ALIGNED;

static void fill_grids(void) {
    static const int8_t values[4] = {-8, 0, 8}; /* to which delta comes, 1 or -1 */
    for (size_t i = 0; i < SPN_COUNT(iq1); i++)
        iq1[i] = spn_iq_entry_bytes(spn_iq1_s_grid[i], 2, values, OFFSET);
    for (unsigned i = 0; i < SPN_COUNT(signs_of_7); i++)
        signs_of_7[i] = (uint8_t)(i | (unsigned)(__builtin_popcount(i) & 1) << 7);
}

/* ---- look-ups ---- */

/* x, or y where bit `bit` of `at` is set. */
INLINE __m512i choose(__m512i at, short bit, __m512i x, __m512i y) {
    return _mm512_mask_blend_epi16(_mm512_test_epi16_mask(at, _mm512_set1_epi16(bit)), x, y);
}

/* The rows at the places `at` of a grid of so many rows. */
INLINE __m512i rows_of_64(const uint16_t *grid, __m512i at) {
    return _mm512_permutex2var_epi16(_mm512_loadu_si512(grid), at, _mm512_loadu_si512(grid + 32));
}
INLINE __m512i rows_of_128(const uint16_t *grid, __m512i at) {
    return choose(at, 64, rows_of_64(grid, at), rows_of_64(grid + 64, at));
}
INLINE __m512i rows_of_256(const uint16_t *grid, __m512i at) {
    return choose(at, 128, rows_of_128(grid, at), rows_of_128(grid + 128, at));
}
INLINE __m512i rows_of_512(const uint16_t *grid, __m512i at) {
    return choose(at, 256, rows_of_256(grid, at), rows_of_256(grid + 256, at));
}
INLINE __m512i rows_of_1024(const uint16_t *grid, __m512i at) {
    return choose(at, 512, rows_of_512(grid, at), rows_of_512(grid + 512, at));
}

static const int8_t iq2_values[16] = {8, 25, 43};
static const int8_t iq3_xxs_values[16] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t iq3_s_values[16] = {1, 3, 5, 7, 9, 11, 13, 15};

/* From each qword the 8 bits at each of `from`; what `mask` leaves of them is a place in `values`.
 */
INLINE __m512i spread(__m512i words, long long from, char mask, __m512i values) {
    __m512i bits = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(from), words);
    return _mm512_shuffle_epi8(values, _mm512_and_si512(bits, _mm512_set1_epi8(mask)));
}

/* The first halves of four lanes of 16 bytes, as places of eights (words) or pairs of fours
 * (dwords), which stand in this order for block after block; the second halves are 2 further on. */
INLINE __m512i first_places(int more) {
    const __m512i places = _mm512_cvtepu16_epi64(_mm_setr_epi16(0, 1, 4, 5, 8, 9, 12, 13));
    return _mm512_add_epi64(places, _mm512_set1_epi64(more));
}

/* Eight numbers of 2 bits from the word at each place; what lies above it is cut off. */
INLINE __m512i spread_eights(__m512i words, __m512i places, __m512i values) {
    return spread(_mm512_permutexvar_epi16(places, words), 0x0e0c0a0806040200, 3, values);
}

/* Rows i and i + 1 from the words that stand for their 16 eights each. */
INLINE void put_eights(groups_group *w, int i, __m512i words, __m512i values) {
    w->a[i] = spread_eights(words, first_places(0), values);
    w->b[i] = spread_eights(words, first_places(2), values);
    w->a[i + 1] = spread_eights(words, first_places(16), values);
    w->b[i + 1] = spread_eights(words, first_places(18), values);
}

/* Four numbers of 3 bits from each of the two words of the dword at each place. */
INLINE __m512i spread_fours(__m512i words, __m512i places, __m512i values) {
    return spread(_mm512_permutexvar_epi32(places, words), 0x1916131009060300, 7, values);
}

/* Row i from the words that stand for its 32 fours. */
INLINE void put_fours(groups_group *w, int i, __m512i words, __m512i values) {
    w->a[i] = spread_fours(words, first_places(0), values);
    w->b[i] = spread_fours(words, first_places(2), values);
}

/* Row i's weights from the places of its 16 eights in the grid of IQ1. */
INLINE __m128i two_of_iq1(const uint16_t *at) {
    return _mm_set_epi64x((long long)iq1[at[1]], (long long)iq1[at[0]]);
}
INLINE void look_up_iq1(groups_group *w, int i, const uint16_t at[16]) {
    w->a[i] =
        four_lanes(two_of_iq1(at), two_of_iq1(at + 4), two_of_iq1(at + 8), two_of_iq1(at + 12));
    w->b[i] = four_lanes(two_of_iq1(at + 2), two_of_iq1(at + 6), two_of_iq1(at + 10),
                         two_of_iq1(at + 14));
}

/* 16 places: the bytes at `p`, and high bits that are in place already. */
INLINE __m256i places_16(const uint8_t *p, __m256i high) {
    return _mm256_or_si256(_mm256_cvtepu8_epi16(load_16(p)), high);
}

/* Four of each of the four words, or bytes, of x: turned right by 0, step, 2 step, 3 step bits. */
INLINE __m256i spread_words(uint64_t x, int step) {
    const __m256i at = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4, 5, 4, 5,
                                        4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
    const long long counts =
        ((long long)(3 * step) << 48) + ((long long)(2 * step) << 32) + ((long long)step << 16);
    __m256i words = _mm256_shuffle_epi8(_mm256_set1_epi64x((long long)x), at);
    return _mm256_srlv_epi16(words, _mm256_set1_epi64x(counts));
}

/* ---- signs ---- */

/* Of four rows, a row a lane: byte 4 c + l is for eight l of block c. */
INLINE void apply_signs(groups_group *w, __m512i signs) {
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const __m512i twice = _mm512_set1_epi8((char)(2 * OFFSET));
    uint64_t masks[8];
    _mm512_storeu_si512(masks, _mm512_shuffle_epi8(signs, order));
    for (int i = 0; i < 4; i++) {
        w->a[i] = _mm512_mask_sub_epi8(w->a[i], masks[2 * i], twice, w->a[i]);
        w->b[i] = _mm512_mask_sub_epi8(w->b[i], masks[2 * i + 1], twice, w->b[i]);
    }
}

/* The same from 7 bits each, a byte each whose highest bit does not count. */
INLINE void apply_signs_of_7(groups_group *w, __m512i bits) {
    __m512i low = _mm512_load_si512(signs_of_7), high = _mm512_load_si512(signs_of_7 + 64);
    apply_signs(w, _mm512_permutex2var_epi8(low, bits, high));
}

/* And from dwords of four times 7 bits. */
INLINE void apply_signs_of_28(groups_group *w, __m512i words) {
    const __m512i from = _mm512_set1_epi64(0x352e2720150e0700);
    apply_signs_of_7(w, _mm512_multishift_epi64_epi8(from, words));
}

/* ---- scales: 2 ls + 1 of a group's four blocks, [chain][row], or of its eight sub-blocks ---- */

INLINE __m512i odd_of(__m512i ls) {
    return _mm512_or_si512(_mm512_slli_epi32(ls, 1), _mm512_set1_epi32(1));
}

/* The second dwords of the group's four pairs, a row a lane: 4 times 7 bits of signs and a scale.
 */
INLINE __m512i signs_iq2_xxs(const uint8_t *const p[4], size_t half) {
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    const size_t at = 2 + 32 * half;
    return _mm512_permutex2var_epi32(two_halves(load_32(p[0] + at), load_32(p[1] + at)), odd,
                                     two_halves(load_32(p[2] + at), load_32(p[3] + at)));
}

INLINE __m512i scales_iq2_xxs(const uint8_t *const p[4], size_t half) {
    return odd_of(rows_last(_mm512_srli_epi32(signs_iq2_xxs(p, half), 28)));
}

INLINE __m512i scales_iq3_xxs(const uint8_t *const p[4], size_t half) {
    return odd_of(rows_last(_mm512_srli_epi32(load_lanes(p, 66 + 16 * half), 28)));
}

/* Four rows' words at `at`, in each lane. */
INLINE __m512i four_words(const uint8_t *const p[4], size_t at) {
    return _mm512_broadcast_i32x4(_mm_setr_epi32(spn_load_u16(p[0] + at), spn_load_u16(p[1] + at),
                                                 spn_load_u16(p[2] + at), spn_load_u16(p[3] + at)));
}

INLINE __m512i scales_iq3_s(const uint8_t *const p[4], size_t half) {
    const __m512i down = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    __m512i ls = _mm512_srlv_epi32(four_words(p, 106 + 2 * half), down);
    return odd_of(_mm512_and_si512(ls, _mm512_set1_epi32(15)));
}

INLINE __m512i scales_iq1_s(const uint8_t *const p[4], size_t half) {
    long long qh[4];
    for (int i = 0; i < 4; i++) memcpy(&qh[i], p[i] + 34 + 8 * half, sizeof(qh[i]));
    __m512i x = _mm512_cvtepu16_epi32(_mm256_setr_epi64x(qh[0], qh[1], qh[2], qh[3]));
    return odd_of(rows_last(_mm512_and_si512(_mm512_srli_epi32(x, 12), _mm512_set1_epi32(7))));
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

/* ---- weights of a group ---- */

INLINE void weights_iq2_xxs(groups_group *w, const uint8_t *const p[4], size_t half) {
    /* Of each 8 bytes, the first 4 are places, as words. */
    const __m512i places = _mm512_cvtepu8_epi16(
        _mm256_setr_epi8(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27, 32, 33, 34, 35,
                         40, 41, 42, 43, 48, 49, 50, 51, 56, 57, 58, 59));
    size_t at = 2 + 32 * half;
    for (int i = 0; i < 4; i += 2) {
        __m512i raw = two_halves(load_32(p[i] + at), load_32(p[i + 1] + at));
        raw = _mm512_maskz_permutexvar_epi8(0x5555555555555555, places, raw);
        put_eights(w, i, rows_of_256(spn_iq2_xxs_grid, raw), value_table(iq2_values));
    }
    apply_signs_of_28(w, signs_iq2_xxs(p, half));
}

INLINE void weights_iq2_xs(groups_group *w, const uint8_t *const p[4], size_t half) {
    __m256i signs[2];
    for (int i = 0; i < 4; i += 2) {
        size_t at = 2 + 32 * half;
        __m512i q = two_halves(load_32(p[i] + at), load_32(p[i + 1] + at));
        __m512i places = _mm512_and_si512(q, _mm512_set1_epi16(511));
        put_eights(w, i, rows_of_512(spn_iq2_xs_grid, places), value_table(iq2_values));
        signs[i / 2] = _mm512_cvtepi16_epi8(_mm512_srli_epi16(q, 9));
    }
    apply_signs_of_7(w, two_halves(signs[0], signs[1]));
}

INLINE void weights_iq2_s(groups_group *w, const uint8_t *const p[4], size_t half) {
    __m256i places[4];
    for (int i = 0; i < 4; i++) {
        uint64_t high = _pdep_u64(spn_load_u32(p[i] + 66 + 4 * half), 0x00ff00ff00ff00ffu);
        __m256i bits = _mm256_and_si256(spread_words(high, 2), _mm256_set1_epi16(3));
        places[i] = places_16(p[i] + 2 + 16 * half, _mm256_slli_epi16(bits, 8));
    }
    for (int i = 0; i < 4; i += 2)
        put_eights(w, i, rows_of_1024(spn_iq2_s_grid, two_halves(places[i], places[i + 1])),
                   value_table(iq2_values));
    apply_signs(w, load_lanes(p, 34 + 16 * half));
}

INLINE void weights_iq3_xxs(groups_group *w, const uint8_t *const p[4], size_t half) {
    for (int i = 0; i < 4; i++) {
        __m512i places = _mm512_cvtepu8_epi16(load_32(p[i] + 2 + 32 * half));
        put_fours(w, i, rows_of_256(spn_iq3_xxs_grid, places), value_table(iq3_xxs_values));
    }
    apply_signs_of_28(w, load_lanes(p, 66 + 16 * half));
}

INLINE void weights_iq3_s(groups_group *w, const uint8_t *const p[4], size_t half) {
    for (int i = 0; i < 4; i++) {
        __m512i places = _mm512_cvtepu8_epi16(load_32(p[i] + 2 + 32 * half));
        __mmask32 high = spn_load_u32(p[i] + 66 + 4 * half);
        places = _mm512_mask_add_epi16(places, high, places, _mm512_set1_epi16(256));
        put_fours(w, i, rows_of_512(spn_iq3_s_grid, places), value_table(iq3_s_values));
    }
    apply_signs(w, load_lanes(p, 74 + 16 * half));
}

INLINE void weights_iq1_s(groups_group *w, const uint8_t *const p[4], size_t half) {
    for (int i = 0; i < 4; i++) {
        uint64_t qh;
        memcpy(&qh, p[i] + 34 + 8 * half, sizeof(qh));
        __m256i bits = _mm256_and_si256(spread_words(qh, 3), _mm256_set1_epi16(7));
        uint16_t at[16];
        _mm256_storeu_si256((void *)at,
                            places_16(p[i] + 2 + 16 * half, _mm256_slli_epi16(bits, 8)));
        look_up_iq1(w, i, at);
        __mmask16 minus = _mm256_movepi16_mask(spread_words(qh, 0)); /* a dword of the lane each */
        __m512i delta = _mm512_mask_blend_epi32(minus, _mm512_set1_epi8(1), _mm512_set1_epi8(-1));
        w->a[i] = _mm512_add_epi8(w->a[i], delta);
        w->b[i] = _mm512_add_epi8(w->b[i], delta);
    }
}

INLINE void weights_iq1_m(groups_group *w, const uint8_t *const p[4], size_t half) {
    const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
    for (int i = 0; i < 4; i++) {
        uint64_t qh;
        memcpy(&qh, p[i] + 32 + 8 * half, sizeof(qh));
        __m256i bits = spread_words(qh, 4);
        __m256i high = _mm256_slli_epi16(_mm256_and_si256(bits, _mm256_set1_epi16(7)), 8);
        uint16_t at[16];
        _mm256_storeu_si256((void *)at, places_16(p[i] + 16 * half, high));
        look_up_iq1(w, i, at);
        /* Bit 4 c + l is for eight l of block c. */
        uint32_t down = _mm256_test_epi16_mask(bits, _mm256_set1_epi16(8));
        __mmask8 in_a = (__mmask8)_pext_u32(down, 0x3333), in_b = (__mmask8)_pext_u32(down, 0xcccc);
        w->a[i] = _mm512_add_epi8(w->a[i], _mm512_mask_blend_epi64(in_a, plus, minus));
        w->b[i] = _mm512_add_epi8(w->b[i], _mm512_mask_blend_epi64(in_b, plus, minus));
    }
}

/* The bytes of TQ1_0 that block b's numbers stand in, and their powers of 3: two of 16 each. */
static const uint8_t tq1_0_at[8][2] = {{0, 16}, {0, 16},  {0, 16},  {0, 16},
                                       {0, 16}, {32, 32}, {32, 32}, {32, 48}};
static const uint8_t tq1_0_power[8][2] = {{1, 1},   {3, 3}, {9, 9},  {27, 27},
                                          {81, 81}, {1, 3}, {9, 27}, {81, 0}};

/* 0, 1, 2 as they are stored; the offset is 1. */
INLINE __m256i block_tq1_0(const uint8_t *row, size_t b) {
    assert(b < 8);
    __m128i lo = load_16(row + tq1_0_at[b][0]);
    __m128i hi =
        b < 7 ? load_16(row + tq1_0_at[b][1]) : _mm_set1_epi32((int)spn_load_u32(row + 48));
    __m512i x = _mm512_cvtepu8_epi16(_mm256_set_m128i(hi, lo));
    /* The last block's second half has powers 1, 3, 9, 27 in turn, four bytes each. */
    const __m256i last = _mm256_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27);
    __m256i second = b < 7 ? _mm256_set1_epi16(tq1_0_power[b][1]) : last;
    __m512i power = two_halves(_mm256_set1_epi16(tq1_0_power[b][0]), second);
    x = _mm512_and_si512(_mm512_mullo_epi16(x, power), _mm512_set1_epi16(255));
    x = _mm512_srli_epi16(_mm512_mullo_epi16(x, _mm512_set1_epi16(3)), 8);
    return _mm512_cvtepi16_epi8(x);
}

/* 0, 1, 2 as they are stored. */
INLINE void weights_tq1_0(groups_group *w, const uint8_t *const p[4], size_t half) {
    for (int i = 0; i < 4; i++) {
        __m256i x[4];
        for (size_t b = 0; b < 4; b++) x[b] = block_tq1_0(p[i], 4 * half + b);
        __m512i low = two_halves(x[0], x[1]), high = two_halves(x[2], x[3]);
        w->a[i] = _mm512_shuffle_i64x2(low, high, 0x88);
        w->b[i] = _mm512_shuffle_i64x2(low, high, 0xdd);
    }
}

INLINE void weights_tq2_0(groups_group *w, const uint8_t *const p[4], size_t half) {
    const __m512i two = _mm512_set1_epi8(3), down = _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6);
    for (int i = 0; i < 4; i++) {
        __m512i a = load_4_times(p[i] + 32 * half);
        __m512i b = load_4_times(p[i] + 32 * half + 16);
        w->a[i] = _mm512_and_si512(_mm512_srlv_epi64(a, down), two);
        w->b[i] = _mm512_and_si512(_mm512_srlv_epi64(b, down), two);
    }
}

/* ---- types ---- */

/* Types with a scale a block of 32. */
#define LOAD_32(name, d_at, scales, factor)                                                  \
    INLINE void load_##name(groups_group *w, const uint8_t *const p[4], int half) {          \
        weights_##name(w, p, (size_t)half);                                                  \
        w->d = row_scales(spn_load_u16(p[0] + (d_at)), spn_load_u16(p[1] + (d_at)),          \
                          spn_load_u16(p[2] + (d_at)), spn_load_u16(p[3] + (d_at)), factor); \
        w->s = scales(p, (size_t)half);                                                      \
    }

/* Types with a scale for each 16. */
#define LOAD_16(name, d_of)                                                             \
    INLINE void load_##name(groups_group *w, const uint8_t *const p[4], int half) {     \
        long long ls[4];                                                                \
        weights_##name(w, p, (size_t)half);                                             \
        for (int i = 0; i < 4; i++) ls[i] = (long long)sub_scales_##name(p[i], half);   \
        __m512i scales = _mm512_setr_epi64(ls[0], 0, ls[1], 0, ls[2], 0, ls[3], 0);     \
        scales = _mm512_add_epi8(_mm512_add_epi8(scales, scales), _mm512_set1_epi8(1)); \
        spread_scales(w, scales, 0);                                                    \
        w->d = row_scales(d_of(p[0]), d_of(p[1]), d_of(p[2]), d_of(p[3]), 0.125f);      \
    }

/* Ternary types have none. */
#define LOAD_NONE(name, d_at)                                                              \
    INLINE void load_##name(groups_group *w, const uint8_t *const p[4], int half) {        \
        weights_##name(w, p, (size_t)half);                                                \
        w->d = row_scales(spn_load_u16(p[0] + (d_at)), spn_load_u16(p[1] + (d_at)),        \
                          spn_load_u16(p[2] + (d_at)), spn_load_u16(p[3] + (d_at)), 1.0f); \
    }

#define TYPE(name, len, size, by)                                                          \
    GROUPS_LOADED_TYPE(name, .bytes = (size), .scale = GROUPS_SCALE_##len, .offset = (by), \
                       .panel_offset = (by), .four_rows = true)

LOAD_32(iq2_xxs, 0, scales_iq2_xxs, 0.125f)
LOAD_32(iq3_xxs, 0, scales_iq3_xxs, 0.25f)
LOAD_32(iq3_s, 0, scales_iq3_s, 1.0f)
LOAD_32(iq1_s, 0, scales_iq1_s, 0.125f)
LOAD_NONE(tq1_0, 52)
LOAD_NONE(tq2_0, 64)
LOAD_16(iq2_xs, spn_load_u16)
LOAD_16(iq2_s, spn_load_u16)
LOAD_16(iq1_m, d_iq1_m)
TYPE(iq2_xxs, 32, 66, OFFSET)
TYPE(iq3_xxs, 32, 98, OFFSET)
TYPE(iq3_s, 32, 110, OFFSET)
TYPE(iq1_s, 32, 50, OFFSET)
TYPE(tq1_0, NONE, 54, 1)
TYPE(tq2_0, NONE, 66, 1)
TYPE(iq2_xs, 16, 74, OFFSET)
TYPE(iq2_s, 16, 82, OFFSET)
TYPE(iq1_m, 16, 56, OFFSET)

void spn_qmat_init_avx512_grid(spn_kernels *table) {
    fill_grids();
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
