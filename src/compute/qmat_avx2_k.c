/* qmat_avx2_k.c - AVX2 products: the K types, super-blocks of 256.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A super-block is four pairs of blocks of 32; pair j has blocks 2 j and 2 j + 1, of half j / 2.
 */
#include "compute/qmat_avx2.h"

/* ---- common ---- */

INLINE int32_t dword_at(const uint8_t *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return x;
}

/* Two f16 numbers beside each other at byte `at` of four rows, each as [any chain][row]. */
INLINE void load_d_pair(const uint8_t *const p[4], size_t at, __m256 *first, __m256 *second) {
    __m128i words = _mm_setr_epi32(dword_at(p[0] + at), dword_at(p[1] + at), dword_at(p[2] + at),
                                   dword_at(p[3] + at));
    __m128i low = _mm_and_si128(words, _mm_set1_epi32(0xffff));
    __m256 f = _mm256_cvtph_ps(_mm_packus_epi32(low, _mm_srli_epi32(words, 16)));
    *first = _mm256_permute2f128_ps(f, f, 0x00);
    *second = _mm256_permute2f128_ps(f, f, 0x11);
}

/* The f16 number in the high half of the dword at byte `at`. */
INLINE __m256 load_high_d(const uint8_t *const p[4], size_t at) {
    __m256 first, second;
    load_d_pair(p, at, &first, &second);
    return second;
}

INLINE __m256 negate(__m256 x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }

/* One count for the first block's lane, one for the second's. */
INLINE __m256i two_counts(int low, int high) {
    return _mm256_setr_epi32(low, low, low, low, high, high, high, high);
}

INLINE __m256i low_bits(__m256i x, int mask) {
    return _mm256_and_si256(x, _mm256_set1_epi8((char)mask));
}

/* `value` in each byte of which the lane's bit of x is set. */
INLINE __m256i if_bits(__m256i x, int low_bit, int high_bit, int value) {
    const __m256i bit = _mm256_setr_epi64x((1LL << low_bit) * 0x0101010101010101,
                                           (1LL << low_bit) * 0x0101010101010101,
                                           (long long)((1ull << high_bit) * 0x0101010101010101ull),
                                           (long long)((1ull << high_bit) * 0x0101010101010101ull));
    return low_bits(_mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit), value);
}

/* `value` in each byte of which bit `n` of x is set. */
INLINE __m256i if_bit(__m256i x, int n, int value) {
    const __m256i bit = _mm256_set1_epi8((char)(1 << n));
    return low_bits(_mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit), value);
}

INLINE __m256i shift_right(__m256i x, size_t n) {
    return _mm256_srl_epi16(x, _mm_cvtsi64_si128((long long)n));
}

/* sa and sb of row i from the four int16 scales of a pair's sub-blocks in `scales`. */
INLINE void spread_scales(qmat_pair *w, int i, __m128i scales) {
    const __m256i at_a = _mm256_setr_epi32(0x01000100, 0x01000100, 0x01000100, 0x01000100,
                                           0x05040504, 0x05040504, 0x05040504, 0x05040504);
    const __m256i at_b = _mm256_add_epi8(at_a, _mm256_set1_epi8(2));
    __m256i both = _mm256_broadcastsi128_si256(scales);
    w->sa[i] = _mm256_shuffle_epi8(both, at_a);
    w->sb[i] = _mm256_shuffle_epi8(both, at_b);
}

/* The first two dwords of four rows' registers as [chain][row]. */
INLINE __m256i gather_pairs(const __m128i x[4]) {
    __m128i u = _mm_unpacklo_epi32(x[0], x[1]), v = _mm_unpacklo_epi32(x[2], x[3]);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi64(u, v)),
                                   _mm_unpackhi_epi64(u, v), 1);
}

/* ---- Q4_K, Q5_K: scales ---- */

/* Per row's lane: | sc 0-3 | m 0-3 | sc 4-7 | m 4-7 | from | d dmin | scales 12 |. */
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

/* D and N of pair j; both products are exact. */
INLINE void load_k4_scales(qmat_pair *w, const uint8_t *const p[4], int j) {
    /* Rows 0 2 and 1 3, so that an unpack and a permutation order them. */
    __m256i even = decode_k4_scales(load_two(p[0], p[2]));
    __m256i odd = decode_k4_scales(load_two(p[1], p[3]));
    const int c = j / 2 * 8 + j % 2 * 2; /* byte of the pair's first scale */
    const __m256i at = _mm256_broadcastsi128_si256(
        _mm_setr_epi32((int)0xffffff00 | c, (int)0xffffff00 | (c + 1), (int)0xffffff00 | (c + 4),
                       (int)0xffffff00 | (c + 5)));
    even = _mm256_shuffle_epi8(even, at); /* sc sc m m */
    odd = _mm256_shuffle_epi8(odd, at);
    __m256i sc = _mm256_permute4x64_epi64(_mm256_unpacklo_epi32(even, odd), 0xd8);
    __m256i m = _mm256_permute4x64_epi64(_mm256_unpackhi_epi32(even, odd), 0xd8);
    __m256 d, dmin;
    load_d_pair(p, 0, &d, &dmin);
    w->d = _mm256_mul_ps(d, _mm256_cvtepi32_ps(sc));
    w->n = _mm256_mul_ps(negate(dmin), _mm256_cvtepi32_ps(m));
}

/* ---- Q4_K ---- */

INLINE void load_q4_k(qmat_pair *w, const uint8_t *const p[4], int j) {
    for (int i = 0; i < 4; i++) {
        const uint8_t *qs = p[i] + 16 + 32 * j;
        w->a[i] = low_bits(_mm256_srlv_epi32(load_twice(qs), two_counts(0, 4)), 15);
        w->b[i] = low_bits(_mm256_srlv_epi32(load_twice(qs + 16), two_counts(0, 4)), 15);
    }
    load_k4_scales(w, p, j);
}
INLINE __m256i decode_q4_k(const uint8_t *row, size_t b) {
    __m256i raw = _mm256_loadu_si256((const void *)(row + b / 8 * 144 + 16 + b % 8 / 2 * 32));
    return low_bits(shift_right(raw, b % 2 * 4), 15);
}
QMAT_TYPE(q4_k, 0, 8, QMAT_MIN, .unit_bytes = 144)

/* ---- Q5_K ---- */

INLINE void load_q5_k(qmat_pair *w, const uint8_t *const p[4], int j) {
    for (int i = 0; i < 4; i++) {
        const uint8_t *qs = p[i] + 48 + 32 * j, *qh = p[i] + 16;
        __m256i a = low_bits(_mm256_srlv_epi32(load_twice(qs), two_counts(0, 4)), 15);
        __m256i b = low_bits(_mm256_srlv_epi32(load_twice(qs + 16), two_counts(0, 4)), 15);
        w->a[i] = _mm256_or_si256(a, if_bits(load_twice(qh), 2 * j, 2 * j + 1, 16));
        w->b[i] = _mm256_or_si256(b, if_bits(load_twice(qh + 16), 2 * j, 2 * j + 1, 16));
    }
    load_k4_scales(w, p, j);
}
INLINE __m256i decode_q5_k(const uint8_t *row, size_t b) {
    const uint8_t *p = row + b / 8 * 176;
    __m256i raw = _mm256_loadu_si256((const void *)(p + 48 + b % 8 / 2 * 32));
    __m256i bits = _mm256_loadu_si256((const void *)(p + 16));
    return _mm256_or_si256(low_bits(shift_right(raw, b % 2 * 4), 15),
                           if_bit(bits, (int)(b % 8), 16));
}
QMAT_TYPE(q5_k, 0, 4, QMAT_MIN, .unit_bytes = 176)

/* ---- Q6_K ---- */

/* Bits 2 c, 2 c + 1 (in the second lane two further up) of each byte, as bits 4 and 5. */
INLINE __m256i q6_k_high(__m256i qh, int c) {
    qh = c == 0 ? _mm256_sllv_epi32(qh, two_counts(4, 2)) : _mm256_srlv_epi32(qh, two_counts(0, 2));
    return low_bits(qh, 0x30);
}

INLINE void load_q6_k(qmat_pair *w, const uint8_t *const p[4], int j) {
    const int half = j / 2, c = j % 2 * 2; /* the half's blocks c and c + 1 */
    __m128i scales[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *ql = p[i] + 64 * half, *qh = p[i] + 128 + 32 * half;
        __m256i a = low_bits(_mm256_srli_epi16(load_two(ql, ql + 32), 2 * c), 15);
        __m256i b = low_bits(_mm256_srli_epi16(load_two(ql + 16, ql + 48), 2 * c), 15);
        w->a[i] = _mm256_or_si256(a, q6_k_high(load_twice(qh), c));
        w->b[i] = _mm256_or_si256(b, q6_k_high(load_twice(qh + 16), c));
        scales[i] = _mm_cvtepi8_epi16(_mm_cvtsi32_si128(dword_at(p[i] + 192 + 4 * j)));
        spread_scales(w, i, scales[i]);
    }
    w->pairs = gather_pairs(scales);
    w->d = load_high_d(p, 206);
}
INLINE __m256i decode_q6_k(const uint8_t *row, size_t b) {
    const uint8_t *p = row + b / 8 * 210;
    size_t half = b % 8 / 4, c = b % 4;
    __m256i low = _mm256_loadu_si256((const void *)(p + 64 * half + 32 * (c % 2)));
    __m256i high = _mm256_loadu_si256((const void *)(p + 128 + 32 * half));
    low = low_bits(shift_right(low, c / 2 * 4), 15);
    high = low_bits(shift_right(high, 2 * c), 3);
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
}
QMAT_TYPE(q6_k, 32, 2, QMAT_SUB, .unit_bytes = 210, .offset_shift = 5)

/* ---- Q3_K ---- */

/* The four scales, less their 32, of pair j's sub-blocks, as int16: low nibbles or high ones of
 * scales[4 (j % 2) ...], and bits 2 j and up of scales[8 ...]. */
INLINE __m128i q3_k_scales(const uint8_t *p, int j) {
    uint32_t low = (uint32_t)dword_at(p + 96 + j % 2 * 4) >> (j / 2 * 4) & 0x0f0f0f0f;
    uint32_t high = (uint32_t)dword_at(p + 104) >> (2 * j) & 0x03030303;
    __m128i sc = _mm_cvtsi32_si128((int)(low | high << 4));
    return _mm_cvtepi8_epi16(_mm_sub_epi8(sc, _mm_set1_epi8(32)));
}

INLINE void load_q3_k(qmat_pair *w, const uint8_t *const p[4], int j) {
    const int c = j % 2 * 2;
    __m128i scales[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *qs = p[i] + 32 + j / 2 * 32;
        const __m256i at = two_counts(2 * c, 2 * c + 2);
        __m256i a = low_bits(_mm256_srlv_epi32(load_twice(qs), at), 3);
        __m256i b = low_bits(_mm256_srlv_epi32(load_twice(qs + 16), at), 3);
        w->a[i] = _mm256_or_si256(a, if_bits(load_twice(p[i]), 2 * j, 2 * j + 1, 4));
        w->b[i] = _mm256_or_si256(b, if_bits(load_twice(p[i] + 16), 2 * j, 2 * j + 1, 4));
        scales[i] = q3_k_scales(p[i], j);
        spread_scales(w, i, scales[i]);
    }
    w->pairs = gather_pairs(scales);
    w->d = load_high_d(p, 106);
}
INLINE __m256i decode_q3_k(const uint8_t *row, size_t b) {
    const uint8_t *p = row + b / 8 * 110;
    __m256i low = _mm256_loadu_si256((const void *)(p + 32 + b % 8 / 4 * 32));
    __m256i high = _mm256_loadu_si256((const void *)p);
    return _mm256_or_si256(low_bits(shift_right(low, b % 4 * 2), 3), if_bit(high, (int)(b % 8), 4));
}
QMAT_TYPE(q3_k, 4, 4, QMAT_SUB, .unit_bytes = 110, .offset_shift = 2)

/* ---- Q2_K ---- */

INLINE void load_q2_k(qmat_pair *w, const uint8_t *const p[4], int j) {
    const int c = j % 2 * 2;
    __m128i minima[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *qs = p[i] + 16 + j / 2 * 32;
        const __m256i at = two_counts(2 * c, 2 * c + 2);
        w->a[i] = low_bits(_mm256_srlv_epi32(load_twice(qs), at), 3);
        w->b[i] = low_bits(_mm256_srlv_epi32(load_twice(qs + 16), at), 3);
        uint32_t scales = (uint32_t)dword_at(p[i] + 4 * j);
        spread_scales(w, i, _mm_cvtepu8_epi16(_mm_cvtsi32_si128((int)(scales & 0x0f0f0f0f))));
        minima[i] = _mm_cvtepu8_epi16(_mm_cvtsi32_si128((int)(scales >> 4 & 0x0f0f0f0f)));
    }
    w->pairs = gather_pairs(minima);
    load_d_pair(p, 80, &w->d, &w->n);
    w->n = negate(w->n);
}
INLINE __m256i decode_q2_k(const uint8_t *row, size_t b) {
    __m256i raw = _mm256_loadu_si256((const void *)(row + b / 8 * 84 + 16 + b % 8 / 4 * 32));
    return low_bits(shift_right(raw, b % 4 * 2), 3);
}
QMAT_TYPE(q2_k, 0, 4, QMAT_SUB_MIN, .unit_bytes = 84)

void spn_qmat_init_avx2_k(spn_kernels *table) {
    table->matmul[SPN_TYPE_Q2_K] = matmul_q2_k;
    table->matmul[SPN_TYPE_Q3_K] = matmul_q3_k;
    table->matmul[SPN_TYPE_Q4_K] = matmul_q4_k;
    table->matmul[SPN_TYPE_Q5_K] = matmul_q5_k;
    table->matmul[SPN_TYPE_Q6_K] = matmul_q6_k;
}
