/* qmat_avx2_grid.c - AVX2 products: the types with grids.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The grids (iq_grids.c) are kept as bytes, an entry of IQ1 and IQ2 in 8 of them and one of IQ3 in
 * 4, with the offset added that makes weights unsigned: 32 weights are four loads (IQ3: eight) that
 * are put together. A mask of their signs (IQ1: delta's) then takes three operations, and two or
 * three apply it. Indices, signs and scales are decoded for the whole super-block at once. No PDEP
 * and no gathering: they are slow on some processors of this level. With one token these types are
 * bound by fetching entries, with many they are as fast as others of their `run`.
 */
#include "compute/qmat_avx2.h"

/* ---- a super-block's numbers ---- */

/* Masks of sub-block r's minus signs, from | signs of blocks 0 1 2 3 | of 4 5 6 7 |, a byte for 8
 * elements. */
INLINE __m256i minus_mask(__m256i signs, int r) {
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const long long first = 2 * r * 0x0101010101010101LL, second = first + 0x0101010101010101LL;
    __m256i m = _mm256_shuffle_epi8(signs, _mm256_setr_epi64x(first, second, first, second));
    return _mm256_cmpeq_epi8(_mm256_and_si256(m, bit), bit);
}

/* ---- grids of bytes, filled before the table of kernels is used ---- */

#define IQ2_OFFSET 43
#define IQ1_OFFSET 9
#define IQ3_XXS_OFFSET 62
#define IQ3_S_OFFSET 15
static uint64_t iq2_xxs[256], iq2_xs[512], iq2_s[1024], iq1[2048];
static uint32_t iq3_xxs[256], iq3_s[512];

static void fill_of_2(uint64_t *to, const uint16_t *grid, size_t n, const int8_t *values,
                      int offset) {
    for (size_t i = 0; i < n; i++) to[i] = spn_iq_entry_bytes(grid[i], 2, values, offset);
}

static void fill_of_3(uint32_t *to, const uint16_t *grid, size_t n, const int8_t *values,
                      int offset) {
    for (size_t i = 0; i < n; i++) to[i] = (uint32_t)spn_iq_entry_bytes(grid[i], 3, values, offset);
}

static void fill_grids(void) {
    static const int8_t of_iq2[4] = {8, 25, 43}, of_iq1[4] = {-8 + 1, 0 + 1, 8 + 1};
    static const int8_t of_iq3_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    static const int8_t of_iq3_s[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    fill_of_2(iq2_xxs, spn_iq2_xxs_grid, SPN_COUNT(iq2_xxs), of_iq2, IQ2_OFFSET);
    fill_of_2(iq2_xs, spn_iq2_xs_grid, SPN_COUNT(iq2_xs), of_iq2, IQ2_OFFSET);
    fill_of_2(iq2_s, spn_iq2_s_grid, SPN_COUNT(iq2_s), of_iq2, IQ2_OFFSET);
    fill_of_2(iq1, spn_iq1_s_grid, SPN_COUNT(iq1), of_iq1, IQ1_OFFSET);
    fill_of_3(iq3_xxs, spn_iq3_xxs_grid, SPN_COUNT(iq3_xxs), of_iq3_xxs, IQ3_XXS_OFFSET);
    fill_of_3(iq3_s, spn_iq3_s_grid, SPN_COUNT(iq3_s), of_iq3_s, IQ3_S_OFFSET);
}

INLINE __m128i two_entries(const uint64_t *grid, const uint16_t *at) {
    return _mm_set_epi64x((long long)grid[at[1]], (long long)grid[at[0]]);
}

INLINE __m128i four_entries(const uint32_t *grid, const uint16_t *at) {
    return _mm_setr_epi32((int)grid[at[0]], (int)grid[at[1]], (int)grid[at[2]], (int)grid[at[3]]);
}

/* w + offset or, where the sign is minus, offset - w. */
INLINE __m256i with_signs(__m256i x, __m256i minus, int offset) {
    const __m256i turned = _mm256_set1_epi8((char)(2 * offset + 1));
    return _mm256_add_epi8(_mm256_xor_si256(x, minus), _mm256_and_si256(minus, turned));
}

/* From 32 indices in order, two for a sub-block. */
INLINE void numbers_of_2(qmat_super *w, const uint64_t *grid, const uint16_t at[32],
                         __m256i signs) {
    UNROLL for (int r = 0; r < 8; r++) {
        __m256i x =
            _mm256_set_m128i(two_entries(grid, at + 16 + 2 * r), two_entries(grid, at + 2 * r));
        w->q[r] = with_signs(x, minus_mask(signs, r), IQ2_OFFSET);
    }
}

/* IQ1: entries with delta 1, which is -1 where the sign is minus. */
INLINE void numbers_of_iq1(qmat_super *w, const uint16_t at[32], __m256i signs) {
    UNROLL for (int r = 0; r < 8; r++) {
        __m256i x =
            _mm256_set_m128i(two_entries(iq1, at + 16 + 2 * r), two_entries(iq1, at + 2 * r));
        __m256i minus = minus_mask(signs, r);
        w->q[r] = _mm256_add_epi8(x, _mm256_add_epi8(minus, minus));
    }
}

/* From 64 indices in order, four for a sub-block. */
INLINE void numbers_of_3(qmat_super *w, const uint32_t *grid, const uint16_t at[64], __m256i signs,
                         int offset) {
    UNROLL for (int r = 0; r < 8; r++) {
        __m256i x =
            _mm256_set_m128i(four_entries(grid, at + 32 + 4 * r), four_entries(grid, at + 4 * r));
        w->q[r] = with_signs(x, minus_mask(signs, r), offset);
    }
}

/* ---- indices ---- */

INLINE __m256i widen(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}

/* Indices go through memory: gcc would take them out of the register one by one, two operations for
 * each where a load is one. */
INLINE void put_indices(uint16_t *at, __m256i x) {
    _mm256_storeu_si256((void *)at, x);
    __asm__("" : "+m"(*(uint16_t(*)[16])at));
}

/* n indices of 8 bits and, above them, `high` words in which each has its own place: multiplying
 * brings the bits up to `mask` (and one too far, where `down` is 1). */
INLINE void put_wide(uint16_t *at, const uint8_t *low, __m256i high, __m256i factor, int down,
                     int mask) {
    high = _mm256_srli_epi16(_mm256_mullo_epi16(high, factor), down);
    high = _mm256_and_si256(high, _mm256_set1_epi16((short)mask));
    put_indices(at, _mm256_or_si256(widen(low), high));
}

/* Words of 16 elements: byte `b` of p four times, then the next, ... */
INLINE __m256i four_times_each(const uint8_t *p) {
    const __m256i at =
        _mm256_setr_epi64x((long long)0xff00ff00ff00ff00u, (long long)0xff01ff01ff01ff01u,
                           (long long)0xff02ff02ff02ff02u, (long long)0xff03ff03ff03ff03u);
    return _mm256_shuffle_epi8(_mm256_set1_epi32((int)spn_load_u32(p)), at);
}

/* ---- signs ---- */

/* Bytes of 7 signs: the eighth is their parity. */
INLINE __m256i with_parity(__m256i x) {
    static const int8_t odd[16] = {0,    -128, -128, 0,    -128, 0,    0,    -128,
                                   -128, 0,    0,    -128, 0,    -128, -128, 0};
    __m256i folded = low_bits(_mm256_xor_si256(x, _mm256_srli_epi16(x, 4)), 15);
    return _mm256_or_si256(x, _mm256_shuffle_epi8(value_table(odd), folded));
}

/* Dwords with four times 7 signs and a scale of 4 bits above them. */
INLINE void take_aux(qmat_super *w, __m256i *signs, __m256i aux) {
    __m256i x =
        _mm256_or_si256(_mm256_and_si256(aux, _mm256_set1_epi32(0x3fff)),
                        _mm256_and_si256(_mm256_slli_epi32(aux, 2), _mm256_set1_epi32(0x3fff0000)));
    x = _mm256_or_si256(_mm256_and_si256(x, _mm256_set1_epi32(0x007f007f)),
                        _mm256_and_si256(_mm256_slli_epi32(x, 1), _mm256_set1_epi32(0x7f007f00)));
    *signs = with_parity(x);
    w->scales = twice_each(_mm256_or_si256(_mm256_srli_epi32(aux, 27), _mm256_set1_epi32(1)));
}

/* ---- scales: 2 ls + 1 ---- */

INLINE __m256i odd_of(__m256i ls) {
    return _mm256_add_epi16(_mm256_add_epi16(ls, ls), _mm256_set1_epi16(1));
}

/* Of 16 nibbles, the low one of a byte first. */
INLINE __m256i nibble_scales(const uint8_t *p) {
    __m128i x = _mm_loadl_epi64((const void *)p);
    x = _mm_unpacklo_epi8(x, _mm_srli_epi16(x, 4));
    return odd_of(_mm256_cvtepu8_epi16(_mm_and_si128(x, _mm_set1_epi8(15))));
}

/* ---- IQ2 ---- */

/* The first dword of each block, which is indices, or the second, of signs and a scale. */
INLINE __m256i iq2_xxs_dwords(const uint8_t *p, bool second) {
    __m256 low = _mm256_loadu_ps((const void *)(p + 2)),
           high = _mm256_loadu_ps((const void *)(p + 34));
    __m256 x = second ? _mm256_shuffle_ps(low, high, 0xdd) : _mm256_shuffle_ps(low, high, 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(x), 0xd8);
}

INLINE void places_iq2_xxs(uint16_t at[64], const uint8_t *p) {
    __m256i qs = iq2_xxs_dwords(p, false);
    put_indices(at, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(qs)));
    put_indices(at + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(qs, 1)));
}

INLINE void load_iq2_xxs(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    __m256i signs;
    take_aux(w, &signs, iq2_xxs_dwords(p, true));
    numbers_of_2(w, iq2_xxs, at, signs);
    w->d = spn_load_u16(p);
}

INLINE void places_iq2_xs(uint16_t at[64], const uint8_t *p) {
    for (int i = 0; i < 2; i++) {
        __m256i words = _mm256_loadu_si256((const void *)(p + 2 + 32 * i));
        put_indices(at + 16 * i, _mm256_and_si256(words, _mm256_set1_epi16(511)));
    }
}

INLINE void load_iq2_xs(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    __m256i low = _mm256_loadu_si256((const void *)(p + 2));
    __m256i high = _mm256_loadu_si256((const void *)(p + 34));
    __m256i signs = _mm256_packus_epi16(_mm256_srli_epi16(low, 9), _mm256_srli_epi16(high, 9));
    signs = with_parity(_mm256_permute4x64_epi64(signs, 0xd8));
    numbers_of_2(w, iq2_xs, at, signs);
    w->scales = nibble_scales(p + 66);
    w->d = spn_load_u16(p);
}

INLINE void places_iq2_s(uint16_t at[64], const uint8_t *p) {
    const __m256i factor = _mm256_set1_epi64x(4LL << 48 | 16LL << 32 | 64LL << 16 | 256);
    put_wide(at, p + 2, four_times_each(p + 66), factor, 0, 0x300);
    put_wide(at + 16, p + 18, four_times_each(p + 70), factor, 0, 0x300);
}

INLINE void load_iq2_s(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    numbers_of_2(w, iq2_s, at, _mm256_loadu_si256((const void *)(p + 34)));
    w->scales = nibble_scales(p + 74);
    w->d = spn_load_u16(p);
}

/* ---- IQ3 ---- */

INLINE void places_iq3_xxs(uint16_t at[64], const uint8_t *p) {
    UNROLL for (int i = 0; i < 4; i++) put_indices(at + 16 * i, widen(p + 2 + 16 * i));
}

INLINE void load_iq3_xxs(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    __m256i signs;
    take_aux(w, &signs, _mm256_loadu_si256((const void *)(p + 66)));
    numbers_of_3(w, iq3_xxs, at, signs, IQ3_XXS_OFFSET);
    w->d = spn_load_u16(p);
}

INLINE void places_iq3_s(uint16_t at[64], const uint8_t *p) {
    const __m256i factor =
        _mm256_setr_epi16(256, 128, 64, 32, 16, 8, 4, 2, 256, 128, 64, 32, 16, 8, 4, 2);
    UNROLL for (int i = 0; i < 4; i++) {
        __m256i high =
            _mm256_set_m128i(_mm_set1_epi16(p[66 + 2 * i + 1]), _mm_set1_epi16(p[66 + 2 * i]));
        put_wide(at + 16 * i, p + 2 + 16 * i, high, factor, 0, 0x100);
    }
}

INLINE void load_iq3_s(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    numbers_of_3(w, iq3_s, at, _mm256_loadu_si256((const void *)(p + 74)), IQ3_S_OFFSET);
    __m256i ls = _mm256_srlv_epi32(_mm256_set1_epi32((int)spn_load_u32(p + 106)),
                                   _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    w->scales = odd_of(twice_each(_mm256_and_si256(ls, _mm256_set1_epi32(15))));
    w->d = spn_load_u16(p);
}

/* ---- IQ1: delta is the sign ---- */

INLINE void places_iq1_s(uint16_t at[64], const uint8_t *p) {
    const __m256i factor = _mm256_set1_epi64x(1LL << 48 | 8LL << 32 | 64LL << 16 | 512);
    const __m256i first = _mm256_setr_epi64x(0x0100010001000100, 0x0302030203020302,
                                             0x0504050405040504, 0x0706070607060706);
    const __m256i second = _mm256_add_epi8(first, _mm256_set1_epi8(8));
    __m256i qh = load_twice(p + 34);
    put_wide(at, p + 2, _mm256_shuffle_epi8(qh, first), factor, 1, 0x700);
    put_wide(at + 16, p + 18, _mm256_shuffle_epi8(qh, second), factor, 1, 0x700);
}

INLINE void load_iq1_s(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    __m128i qh = _mm_loadu_si128((const void *)(p + 34));
    numbers_of_iq1(w, at, _mm256_srai_epi32(_mm256_cvtepi16_epi32(qh), 31));
    __m256i ls = _mm256_srli_epi32(_mm256_cvtepu16_epi32(qh), 12);
    w->scales = odd_of(twice_each(_mm256_and_si256(ls, _mm256_set1_epi32(7))));
    w->d = spn_load_u16(p);
}

/* A nibble of qh a group of 8 elements. */
INLINE __m256i iq1_m_nibbles(const uint8_t *p) {
    __m128i qh = _mm_loadu_si128((const void *)(p + 32)), up = _mm_srli_epi16(qh, 4);
    return low_bits(_mm256_set_m128i(_mm_unpackhi_epi8(qh, up), _mm_unpacklo_epi8(qh, up)), 15);
}

INLINE void places_iq1_m(uint16_t at[64], const uint8_t *p) {
    const __m256i nibbles = iq1_m_nibbles(p), factor = _mm256_set1_epi16(256);
    put_wide(at, p, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(nibbles)), factor, 0, 0x700);
    put_wide(at + 16, p + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(nibbles, 1)), factor, 0,
             0x700);
}

/* d is the scales' top nibbles. */
INLINE void load_iq1_m(qmat_super *w, const uint8_t *p, const uint16_t at[64]) {
    numbers_of_iq1(w, at, _mm256_cmpgt_epi8(iq1_m_nibbles(p), _mm256_set1_epi8(7)));
    /* Three bits of each word in turn come to its top. */
    const __m256i word = _mm256_setr_epi64x(0x0100010001000100, 0x0302030203020302,
                                            0x0504050405040504, 0x0706070607060706);
    __m256i s = _mm256_broadcastsi128_si256(_mm_loadl_epi64((const void *)(p + 48)));
    s = _mm256_mullo_epi16(_mm256_shuffle_epi8(s, word),
                           _mm256_set1_epi64x(16LL << 48 | 128LL << 32 | 1024LL << 16 | 8192));
    w->scales = odd_of(_mm256_srli_epi16(s, 13));
    const uint8_t *d = p + 48;
    w->d = (uint16_t)(d[1] >> 4 | (d[3] & 0xf0) | (d[5] & 0xf0) << 4 | (d[7] & 0xf0) << 8);
}

QMAT_GRIDS(iq2_xxs, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 66, .run = 2, .offset = IQ2_OFFSET,
           .factor = 0.125f)
QMAT_GRIDS(iq2_xs, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 74, .run = 2, .offset = IQ2_OFFSET,
           .factor = 0.125f)
QMAT_GRIDS(iq2_s, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 82, .run = 2, .offset = IQ2_OFFSET,
           .factor = 0.125f)
QMAT_GRIDS(iq3_xxs, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 98, .run = 2,
           .offset = IQ3_XXS_OFFSET, .factor = 0.25f)
QMAT_GRIDS(iq3_s, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 110, .run = 8, .offset = IQ3_S_OFFSET,
           .wide_scales = true)
QMAT_GRIDS(iq1_s, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 50, .run = 8, .offset = IQ1_OFFSET,
           .wide_scales = true, .factor = 0.125f)
QMAT_GRIDS(iq1_m, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 56, .run = 4, .offset = IQ1_OFFSET,
           .factor = 0.125f)

void spn_qmat_init_avx2_grid(spn_kernels *table) {
    fill_grids();
    table->matmul[SPN_TYPE_IQ2_XXS] = matmul_iq2_xxs;
    table->matmul[SPN_TYPE_IQ2_XS] = matmul_iq2_xs;
    table->matmul[SPN_TYPE_IQ2_S] = matmul_iq2_s;
    table->matmul[SPN_TYPE_IQ3_XXS] = matmul_iq3_xxs;
    table->matmul[SPN_TYPE_IQ3_S] = matmul_iq3_s;
    table->matmul[SPN_TYPE_IQ1_S] = matmul_iq1_s;
    table->matmul[SPN_TYPE_IQ1_M] = matmul_iq1_m;
}
