/* qmat_avx2_grid.c - AVX2 products: the types with grids.
 * SPDX-License-Identifier: Apache-2.0
 *
 * An entry of a grid (iq_grids.c) is 8 numbers of 2 bits or 4 of 3. For IQ1 and IQ2 a byte shuffle
 * gives each element the byte that holds its bits, a mask leaves them, folding the high nibble on
 * the low one leaves 0, v or 4 v for a place v in 0..2: one of 0 1 2 4 8. For IQ3, two shifts bring
 * the four places into a dword's bytes. Where the sign (IQ1: delta's) is minus, all bits of that
 * are turned over, so that 16 values in a table have sign and offset in them: 16 (IQ3: 14)
 * operations for 32 weights, besides fetching the entries. Indices, signs and scales are decoded
 * for the whole super-block at once. No PDEP and no gathering: they are slow on some processors of
 * this level. With one token these types are bound by fetching entries, with many they are as fast
 * as others of their `run`.
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

/* The weight of place x, in 0..15, or of 15 - x. */
INLINE __m256i signed_values(const int8_t *values, __m256i x, __m256i minus) {
    return _mm256_shuffle_epi8(value_table(values), low_bits(_mm256_xor_si256(x, minus), 15));
}

/* Eight entries, of two blocks. */
INLINE __m128i fetch_eight(const uint16_t *grid, const uint16_t *at) {
    return _mm_setr_epi16((short)grid[at[0]], (short)grid[at[1]], (short)grid[at[2]],
                          (short)grid[at[3]], (short)grid[at[4]], (short)grid[at[5]],
                          (short)grid[at[6]], (short)grid[at[7]]);
}

/* From 32 indices in order: entries of 2 bits, two for a sub-block. */
INLINE void numbers_of_2(qmat_super *w, const uint16_t *grid, const uint16_t at[32], __m256i signs,
                         const int8_t *values) {
    const __m256i bytes =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
    UNROLL for (int c = 0; c < 2; c++) {
        __m256i entries =
            _mm256_set_m128i(fetch_eight(grid, at + 16 + 8 * c), fetch_eight(grid, at + 8 * c));
        UNROLL for (int i = 0; i < 4; i++) {
            __m256i x = _mm256_shuffle_epi8(
                entries, _mm256_add_epi8(bytes, _mm256_set1_epi8((char)(4 * i))));
            x = _mm256_and_si256(x, _mm256_set1_epi32((int)0xc0300c03u));
            x = _mm256_or_si256(x, _mm256_srli_epi16(x, 4));
            w->q[4 * c + i] = signed_values(values, x, minus_mask(signs, 4 * c + i));
        }
    }
}

/* From 64 indices in order: entries of 3 bits, four for a sub-block. */
INLINE void numbers_of_3(qmat_super *w, const uint16_t *grid, const uint16_t at[64], __m256i signs,
                         const int8_t *values) {
    UNROLL for (int c = 0; c < 4; c++) {
        __m128i low = fetch_eight(grid, at + 8 * c), high = fetch_eight(grid, at + 32 + 8 * c);
        UNROLL for (int e = 0; e < 2; e++) {
            __m128i four = e ? _mm_unpackhi_epi64(low, high) : _mm_unpacklo_epi64(low, high);
            __m256i x = _mm256_cvtepu16_epi32(four);
            x = _mm256_or_si256(x, _mm256_slli_epi32(x, 10));
            x = _mm256_and_si256(x, _mm256_set1_epi32(0x003f003f));
            x = _mm256_or_si256(x, _mm256_slli_epi32(x, 5));
            x = low_bits(x, 7);
            w->q[2 * c + e] = signed_values(values, x, minus_mask(signs, 2 * c + e));
        }
    }
}

/* Plus the offset that makes them unsigned: the second half of a table, backwards, is the first's
 * negation (IQ1: with the other delta). Places 3, 5, 6 are no entry's. */
#define PLACES_OF_2(a, b, c, A, B, C) \
    { (a), (b), (c), 0, (b), 0, 0, (C), (c), 0, 0, (B), 0, (C), (B), (A) }
#define PLACES_OF_3(a, b, c, d, e, f, g, h, z)                                                     \
    {                                                                                              \
        (z) + (a), (z) + (b), (z) + (c), (z) + (d), (z) + (e), (z) + (f), (z) + (g), (z) + (h),    \
            (z) - (h), (z) - (g), (z) - (f), (z) - (e), (z) - (d), (z) - (c), (z) - (b), (z) - (a) \
    }
#define IQ2_OFFSET 43
#define IQ1_OFFSET 9
#define IQ3_XXS_OFFSET 62
#define IQ3_S_OFFSET 15
static const int8_t iq2_values[16] = PLACES_OF_2(IQ2_OFFSET + 8, IQ2_OFFSET + 25, IQ2_OFFSET + 43,
                                                 IQ2_OFFSET - 8, IQ2_OFFSET - 25, IQ2_OFFSET - 43);
static const int8_t iq1_values[16] = PLACES_OF_2(IQ1_OFFSET - 7, IQ1_OFFSET + 1, IQ1_OFFSET + 9,
                                                 IQ1_OFFSET - 9, IQ1_OFFSET - 1, IQ1_OFFSET + 7);
static const int8_t iq3_xxs_values[16] = PLACES_OF_3(4, 12, 20, 28, 36, 44, 52, 62, IQ3_XXS_OFFSET);
static const int8_t iq3_s_values[16] = PLACES_OF_3(1, 3, 5, 7, 9, 11, 13, 15, IQ3_S_OFFSET);

/* ---- indices ---- */

INLINE __m256i widen(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}

INLINE void put_indices(uint16_t *at, __m256i x) { _mm256_storeu_si256((void *)at, x); }

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

INLINE void load_iq2_xxs(qmat_super *w, const uint8_t *p) {
    __m256 low = _mm256_loadu_ps((const void *)(p + 2)),
           high = _mm256_loadu_ps((const void *)(p + 34));
    __m256i qs = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
    __m256i aux = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd)), signs;
    uint16_t at[32];
    qs = _mm256_permute4x64_epi64(qs, 0xd8);
    put_indices(at, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(qs)));
    put_indices(at + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(qs, 1)));
    take_aux(w, &signs, _mm256_permute4x64_epi64(aux, 0xd8));
    numbers_of_2(w, spn_iq2_xxs_grid, at, signs, iq2_values);
    w->d = spn_load_u16(p);
}

INLINE void load_iq2_xs(qmat_super *w, const uint8_t *p) {
    __m256i low = _mm256_loadu_si256((const void *)(p + 2));
    __m256i high = _mm256_loadu_si256((const void *)(p + 34)), index = _mm256_set1_epi16(511);
    uint16_t at[32];
    put_indices(at, _mm256_and_si256(low, index));
    put_indices(at + 16, _mm256_and_si256(high, index));
    __m256i signs = _mm256_packus_epi16(_mm256_srli_epi16(low, 9), _mm256_srli_epi16(high, 9));
    signs = with_parity(_mm256_permute4x64_epi64(signs, 0xd8));
    numbers_of_2(w, spn_iq2_xs_grid, at, signs, iq2_values);
    w->scales = nibble_scales(p + 66);
    w->d = spn_load_u16(p);
}

INLINE void load_iq2_s(qmat_super *w, const uint8_t *p) {
    const __m256i factor = _mm256_set1_epi64x(4LL << 48 | 16LL << 32 | 64LL << 16 | 256);
    uint16_t at[32];
    put_wide(at, p + 2, four_times_each(p + 66), factor, 0, 0x300);
    put_wide(at + 16, p + 18, four_times_each(p + 70), factor, 0, 0x300);
    numbers_of_2(w, spn_iq2_s_grid, at, _mm256_loadu_si256((const void *)(p + 34)), iq2_values);
    w->scales = nibble_scales(p + 74);
    w->d = spn_load_u16(p);
}

/* ---- IQ3 ---- */

INLINE void load_iq3_xxs(qmat_super *w, const uint8_t *p) {
    uint16_t at[64];
    __m256i signs;
    UNROLL for (int i = 0; i < 4; i++) put_indices(at + 16 * i, widen(p + 2 + 16 * i));
    take_aux(w, &signs, _mm256_loadu_si256((const void *)(p + 66)));
    numbers_of_3(w, spn_iq3_xxs_grid, at, signs, iq3_xxs_values);
    w->d = spn_load_u16(p);
}

INLINE void load_iq3_s(qmat_super *w, const uint8_t *p) {
    const __m256i factor =
        _mm256_setr_epi16(256, 128, 64, 32, 16, 8, 4, 2, 256, 128, 64, 32, 16, 8, 4, 2);
    uint16_t at[64];
    UNROLL for (int i = 0; i < 4; i++) {
        __m256i high =
            _mm256_set_m128i(_mm_set1_epi16(p[66 + 2 * i + 1]), _mm_set1_epi16(p[66 + 2 * i]));
        put_wide(at + 16 * i, p + 2 + 16 * i, high, factor, 0, 0x100);
    }
    numbers_of_3(w, spn_iq3_s_grid, at, _mm256_loadu_si256((const void *)(p + 74)), iq3_s_values);
    __m256i ls = _mm256_srlv_epi32(_mm256_set1_epi32((int)spn_load_u32(p + 106)),
                                   _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    w->scales = odd_of(twice_each(_mm256_and_si256(ls, _mm256_set1_epi32(15))));
    w->d = spn_load_u16(p);
}

/* ---- IQ1: delta is the sign ---- */

INLINE void load_iq1_s(qmat_super *w, const uint8_t *p) {
    const __m256i factor = _mm256_set1_epi64x(1LL << 48 | 8LL << 32 | 64LL << 16 | 512);
    const __m256i first = _mm256_setr_epi64x(0x0100010001000100, 0x0302030203020302,
                                             0x0504050405040504, 0x0706070607060706);
    __m128i qh = _mm_loadu_si128((const void *)(p + 34));
    __m256i both = _mm256_broadcastsi128_si256(qh);
    uint16_t at[32];
    put_wide(at, p + 2, _mm256_shuffle_epi8(both, first), factor, 1, 0x700);
    put_wide(at + 16, p + 18,
             _mm256_shuffle_epi8(both, _mm256_add_epi8(first, _mm256_set1_epi8(8))), factor, 1,
             0x700);
    numbers_of_2(w, spn_iq1_s_grid, at, _mm256_srai_epi32(_mm256_cvtepi16_epi32(qh), 31),
                 iq1_values);
    __m256i ls = _mm256_srli_epi32(_mm256_cvtepu16_epi32(qh), 12);
    w->scales = odd_of(twice_each(_mm256_and_si256(ls, _mm256_set1_epi32(7))));
    w->d = spn_load_u16(p);
}

/* A nibble of qh a group of 8 elements; d is the scales' top nibbles. */
INLINE void load_iq1_m(qmat_super *w, const uint8_t *p) {
    __m128i qh = _mm_loadu_si128((const void *)(p + 32)), up = _mm_srli_epi16(qh, 4);
    __m256i nibbles =
        low_bits(_mm256_set_m128i(_mm_unpackhi_epi8(qh, up), _mm_unpacklo_epi8(qh, up)), 15);
    const __m256i factor = _mm256_set1_epi16(256);
    uint16_t at[32];
    put_wide(at, p, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(nibbles)), factor, 0, 0x700);
    put_wide(at + 16, p + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(nibbles, 1)), factor, 0,
             0x700);
    numbers_of_2(w, spn_iq1_s_grid, at, _mm256_cmpgt_epi8(nibbles, _mm256_set1_epi8(7)),
                 iq1_values);
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

QMAT_SUPERS(iq2_xxs, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 66, .run = 2, .offset = IQ2_OFFSET,
            .factor = 0.125f)
QMAT_SUPERS(iq2_xs, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 74, .run = 2, .offset = IQ2_OFFSET,
            .factor = 0.125f)
QMAT_SUPERS(iq2_s, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 82, .run = 2, .offset = IQ2_OFFSET,
            .factor = 0.125f)
QMAT_SUPERS(iq3_xxs, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 98, .run = 2,
            .offset = IQ3_XXS_OFFSET, .factor = 0.25f)
QMAT_SUPERS(iq3_s, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 110, .run = 8, .offset = IQ3_S_OFFSET,
            .wide_scales = true)
QMAT_SUPERS(iq1_s, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 50, .run = 8, .offset = IQ1_OFFSET,
            .wide_scales = true, .factor = 0.125f)
QMAT_SUPERS(iq1_m, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 56, .run = 4, .offset = IQ1_OFFSET,
            .factor = 0.125f)

void spn_qmat_init_avx2_grid(spn_kernels *table) {
    table->matmul[SPN_TYPE_IQ2_XXS] = matmul_iq2_xxs;
    table->matmul[SPN_TYPE_IQ2_XS] = matmul_iq2_xs;
    table->matmul[SPN_TYPE_IQ2_S] = matmul_iq2_s;
    table->matmul[SPN_TYPE_IQ3_XXS] = matmul_iq3_xxs;
    table->matmul[SPN_TYPE_IQ3_S] = matmul_iq3_s;
    table->matmul[SPN_TYPE_IQ1_S] = matmul_iq1_s;
    table->matmul[SPN_TYPE_IQ1_M] = matmul_iq1_m;
}
