/* qmat_avx2_k.c - AVX2 products: super-blocks of 256 with plain bits: the K types, IQ4_XS, TQ.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sub-blocks r = 2 j + e of a super-block's two groups stand side by side (qmat_avx2.h): j is the
 * group's block of 32, e the half of it.
 */
#include "compute/qmat_avx2.h"

/* ---- common ---- */

/* Bits from `from` on come to be bits from `to` on. */
INLINE __m256i move_bits(__m256i x, int from, int to) {
    return from > to ? _mm256_srli_epi16(x, from - to) : _mm256_slli_epi16(x, to - from);
}

/* The 16 bytes at p for both groups, for the second one from bit 4 on. */
INLINE __m256i load_nibbles(const uint8_t *p) {
    return _mm256_srlv_epi32(load_twice(p), _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
}

/* q[r]: two bits of bytes that four blocks share; 32 bytes a group. */
INLINE void load_twos(qmat_super *w, const uint8_t *qs) {
    UNROLL for (int e = 0; e < 2; e++) {
        __m256i raw = load_two(qs + 16 * e, qs + 32 + 16 * e);
        UNROLL for (int j = 0; j < 4; j++) {
            w->q[2 * j + e] = low_bits(move_bits(raw, 2 * j, 0), 3);
        }
    }
}

/* q[r]: nibbles; the low ones of 32 bytes are a block, the high ones the next. */
INLINE void load_fours(qmat_super *w, const uint8_t *qs) {
    UNROLL for (int i = 0; i < 4; i++) {
        __m256i raw = load_two(qs + 16 * i, qs + 64 + 16 * i);
        w->q[i / 2 * 4 + i % 2] = low_bits(raw, 15);
        w->q[i / 2 * 4 + i % 2 + 2] = low_bits(_mm256_srli_epi16(raw, 4), 15);
    }
}

/* q[r] |= 1 << to where bit j (second group: 4 + j) of 32 bytes is set. */
INLINE void add_bits(qmat_super *w, const uint8_t *bits, int to) {
    UNROLL for (int e = 0; e < 2; e++) {
        __m256i raw = load_nibbles(bits + 16 * e);
        UNROLL for (int j = 0; j < 4; j++) {
            w->q[2 * j + e] =
                _mm256_or_si256(w->q[2 * j + e], low_bits(move_bits(raw, j, to), 1 << to));
        }
    }
}

/* ---- Q4_K, Q5_K ---- */

/* In both lanes: | sc 0-3 | m 0-3 | sc 4-7 | m 4-7 | from | d dmin | scales 12 |. */
INLINE __m256i decode_k4_scales(__m256i head) {
    const __m256i low_mask =
        _mm256_broadcastsi128_si256(_mm_setr_epi32(0x3f3f3f3f, 0x3f3f3f3f, 0x0f0f0f0f, 0x0f0f0f0f));
    const __m256i high_mask =
        _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0, 0x30303030, 0x30303030));
    const __m256i shift = _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4);
    __m256i low = _mm256_srlv_epi32(_mm256_shuffle_epi32(head, 0xf9), shift);
    __m256i high = _mm256_srli_epi32(_mm256_shuffle_epi32(head, 0x99), 2);
    return _mm256_or_si256(_mm256_and_si256(low, low_mask), _mm256_and_si256(high, high_mask));
}

INLINE void load_k4_scales(qmat_super *w, const uint8_t *p) {
    const __m256i at = _mm256_setr_epi16(
        (short)0xff00, (short)0xff00, (short)0xff01, (short)0xff01, (short)0xff02, (short)0xff02,
        (short)0xff03, (short)0xff03, (short)0xff08, (short)0xff08, (short)0xff09, (short)0xff09,
        (short)0xff0a, (short)0xff0a, (short)0xff0b, (short)0xff0b);
    __m256i both = decode_k4_scales(load_twice(p));
    w->scales = _mm256_shuffle_epi8(both, at);
    w->minima = _mm256_shuffle_epi8(both, _mm256_add_epi8(at, _mm256_set1_epi16(4)));
    w->d = spn_load_u16(p);
    w->n = spn_load_u16(p + 2);
}

INLINE void load_q4_k(qmat_super *w, const uint8_t *p) {
    load_fours(w, p + 16);
    load_k4_scales(w, p);
}
QMAT_SUPERS(q4_k, .kind = QMAT_GROUP_MIN, .unit_bytes = 144, .run = 8, .wide_scales = true)

INLINE void load_q5_k(qmat_super *w, const uint8_t *p) {
    load_fours(w, p + 48);
    add_bits(w, p + 16, 4);
    load_k4_scales(w, p);
}
QMAT_SUPERS(q5_k, .kind = QMAT_GROUP_MIN, .unit_bytes = 176, .run = 4, .wide_scales = true)

/* ---- Q6_K: low nibbles of 64 bytes are blocks 0 and 1 of a group, high ones 2 and 3 ---- */

INLINE void load_q6_k(qmat_super *w, const uint8_t *p) {
    UNROLL for (int e = 0; e < 2; e++) {
        __m256i high = load_two(p + 128 + 16 * e, p + 160 + 16 * e);
        UNROLL for (int j = 0; j < 4; j++) {
            const uint8_t *ql = p + 32 * (j % 2) + 16 * e;
            __m256i low = move_bits(load_two(ql, ql + 64), j / 2 * 4, 0);
            w->q[2 * j + e] =
                _mm256_or_si256(low_bits(low, 15), low_bits(move_bits(high, 2 * j, 4), 0x30));
        }
    }
    w->scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + 192)));
    w->d = spn_load_u16(p + 208);
}
QMAT_SUPERS(q6_k, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 210, .run = 4, .offset = 32)

/* ---- Q3_K ---- */

/* The 16 scales from the 16 bytes that the block ends with: | .. | low nibbles 8, the first eight's
 * lower | high two bits 4, a pair of bits for each four scales | d |. */
INLINE __m256i q3_k_scales(__m128i end) {
    const __m128i low_at = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    const __m128i high_at =
        _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi8(end, low_at), _mm_setr_epi32(0, 0, 4, 4));
    __m128i high = _mm_srlv_epi32(_mm_shuffle_epi8(end, high_at), _mm_setr_epi32(0, 2, 4, 6));
    low = _mm_and_si128(low, _mm_set1_epi8(15));
    high = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
    return _mm256_cvtepi8_epi16(_mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32)));
}

INLINE void load_q3_k(qmat_super *w, const uint8_t *p) {
    load_twos(w, p + 32);
    add_bits(w, p, 2);
    w->scales = q3_k_scales(_mm_loadu_si128((const void *)(p + 94)));
    w->d = spn_load_u16(p + 108);
}
QMAT_SUPERS(q3_k, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 110, .run = 4, .offset = 4)

/* ---- Q2_K ---- */

INLINE void load_q2_k(qmat_super *w, const uint8_t *p) {
    __m128i both = _mm_loadu_si128((const void *)p), low = _mm_set1_epi8(15);
    load_twos(w, p + 16);
    w->scales = _mm256_cvtepu8_epi16(_mm_and_si128(both, low));
    w->minima = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), low));
    w->d = spn_load_u16(p + 80);
    w->n = spn_load_u16(p + 82);
}
QMAT_SUPERS(q2_k, .kind = QMAT_GROUP_MIN, .unit_bytes = 84, .run = 4)

/* ---- IQ4_XS ---- */

INLINE void load_iq4_xs(qmat_super *w, const uint8_t *p) {
    const __m256i count = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    __m256i table = value_table(spn_iq4_values);
    UNROLL for (int j = 0; j < 4; j++) {
        __m256i raw = load_two(p + 8 + 16 * j, p + 72 + 16 * j);
        w->q[2 * j] = _mm256_shuffle_epi8(table, low_bits(raw, 15));
        w->q[2 * j + 1] = _mm256_shuffle_epi8(table, low_bits(_mm256_srli_epi16(raw, 4), 15));
    }
    __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(spn_load_u16(p + 2)), count);
    __m256i low =
        _mm256_srlv_epi32(_mm256_set1_epi32((int)spn_load_u32(p + 4)), _mm256_slli_epi32(count, 1));
    low = _mm256_and_si256(low, _mm256_set1_epi32(15));
    high = _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4);
    w->scales = twice_each(_mm256_sub_epi32(_mm256_or_si256(low, high), _mm256_set1_epi32(32)));
    w->d = spn_load_u16(p);
}
QMAT_SUPERS(iq4_xs, .kind = QMAT_GROUP_SIGNED, .unit_bytes = 136, .run = 1)

/* ---- TQ1_0, TQ2_0: 0, 1, 2 as they are stored, less 1 ---- */

INLINE void load_tq2_0(qmat_super *w, const uint8_t *p) {
    load_twos(w, p);
    w->scales = _mm256_set1_epi16(1);
    w->d = spn_load_u16(p + 64);
}
QMAT_SUPERS(tq2_0, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 66, .run = 8, .offset = 1,
            .wide_scales = true)

/* 16 numbers, as words: the whole part of 3 (byte * power mod 256) / 256. */
INLINE __m256i ternary_16(const uint8_t *bytes, __m256i power) {
    __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)bytes));
    x = _mm256_and_si256(_mm256_mullo_epi16(x, power), _mm256_set1_epi16(255));
    return _mm256_srli_epi16(_mm256_mullo_epi16(x, _mm256_set1_epi16(3)), 8);
}

INLINE void load_tq1_0(qmat_super *w, const uint8_t *p) {
    static const short powers[5] = {1, 3, 9, 27, 81};
    /* The last sub-block has powers 1, 3, 9, 27 in turn, of four bytes each. */
    const __m256i turns = _mm256_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27);
    __m256i x[16];
    uint8_t last[16];
    for (int i = 0; i < 4; i++) memcpy(last + 4 * i, p + 48, 4);
    for (int i = 0; i < 10; i++)
        x[i] = ternary_16(p + 16 * (i % 2), _mm256_set1_epi16(powers[i / 2]));
    for (int i = 10; i < 15; i++) x[i] = ternary_16(p + 32, _mm256_set1_epi16(powers[i - 10]));
    x[15] = ternary_16(last, turns);
    for (int r = 0; r < 8; r++)
        w->q[r] = _mm256_permute4x64_epi64(_mm256_packus_epi16(x[r], x[8 + r]), 0xd8);
    w->scales = _mm256_set1_epi16(1);
    w->d = spn_load_u16(p + 52);
}
QMAT_SUPERS(tq1_0, .kind = QMAT_GROUP_CENTRED, .unit_bytes = 54, .run = 8, .offset = 1,
            .wide_scales = true)

void spn_qmat_init_avx2_k(spn_kernels *table) {
    table->matmul[SPN_TYPE_Q2_K] = matmul_q2_k;
    table->matmul[SPN_TYPE_Q3_K] = matmul_q3_k;
    table->matmul[SPN_TYPE_Q4_K] = matmul_q4_k;
    table->matmul[SPN_TYPE_Q5_K] = matmul_q5_k;
    table->matmul[SPN_TYPE_Q6_K] = matmul_q6_k;
    table->matmul[SPN_TYPE_IQ4_XS] = matmul_iq4_xs;
    table->matmul[SPN_TYPE_TQ1_0] = matmul_tq1_0;
    table->matmul[SPN_TYPE_TQ2_0] = matmul_tq2_0;
}
