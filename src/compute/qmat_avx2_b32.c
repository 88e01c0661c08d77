/* qmat_avx2_b32.c - AVX2 products: the types with blocks of 32, and IQ4_XS.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_avx2.h"

/* ---- common ---- */

INLINE short word_at(const uint8_t *p) {
    short word;
    memcpy(&word, p, 2);
    return word;
}

/* The f16 numbers at byte `at` of two blocks of four rows, as [chain][row]. */
INLINE __m256 load_f16(const uint8_t *const p[4], size_t at, size_t bytes) {
    const uint8_t *const q[4] = {p[0] + at, p[1] + at, p[2] + at, p[3] + at};
    return _mm256_cvtph_ps(_mm_setr_epi16(
        word_at(q[0]), word_at(q[1]), word_at(q[2]), word_at(q[3]), word_at(q[0] + bytes),
        word_at(q[1] + bytes), word_at(q[2] + bytes), word_at(q[3] + bytes)));
}

/* Nibbles of row i's two blocks, whose 16 bytes begin at byte `at` of each. */
INLINE void split_nibbles(qmat_pair *w, int i, const uint8_t *p, size_t at, size_t bytes) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i raw = load_two(p + at, p + bytes + at);
    w->a[i] = _mm256_and_si256(raw, low);
    w->b[i] = _mm256_and_si256(_mm256_srli_epi16(raw, 4), low);
}

/* 32 elements of 16 bytes of nibbles. */
INLINE __m256i nibbles_32(const uint8_t *p) {
    __m128i raw = _mm_loadu_si128((const void *)p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(raw), _mm_srli_epi16(raw, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* ---- Q8_0 ---- */

INLINE void load_q8_0(qmat_pair *w, const uint8_t *const p[4], int j) {
    (void)j;
    for (int i = 0; i < 4; i++) {
        w->a[i] = load_two(p[i] + 2, p[i] + 36);
        w->b[i] = load_two(p[i] + 18, p[i] + 52);
    }
    w->d = load_f16(p, 0, 34);
}
INLINE __m256i decode_q8_0(const uint8_t *row, size_t b) {
    return _mm256_loadu_si256((const void *)(row + 34 * b + 2));
}
QMAT_TYPE(q8_0, 0, 1, QMAT_SIGNED, .block_bytes = 34, .unit_bytes = 68)

/* ---- Q4_0, Q4_1 ---- */

INLINE void load_q4_0(qmat_pair *w, const uint8_t *const p[4], int j) {
    (void)j;
    for (int i = 0; i < 4; i++) split_nibbles(w, i, p[i], 2, 18);
    w->d = load_f16(p, 0, 18);
}
INLINE __m256i decode_q4_0(const uint8_t *row, size_t b) { return nibbles_32(row + 18 * b + 2); }
QMAT_TYPE(q4_0, 8, 8, QMAT_PLAIN, .block_bytes = 18, .unit_bytes = 36)

INLINE void load_q4_1(qmat_pair *w, const uint8_t *const p[4], int j) {
    (void)j;
    for (int i = 0; i < 4; i++) split_nibbles(w, i, p[i], 4, 20);
    w->d = load_f16(p, 0, 20);
    w->n = load_f16(p, 2, 20);
}
INLINE __m256i decode_q4_1(const uint8_t *row, size_t b) { return nibbles_32(row + 20 * b + 4); }
QMAT_TYPE(q4_1, 0, 8, QMAT_MIN, .block_bytes = 20, .unit_bytes = 40)

/* ---- Q5_0, Q5_1: a fifth bit from | qh 4 |, bit i for element i ---- */

/* 16 where bit i % 8 of the byte that `index` picks from the lane's `bits` is set. */
INLINE __m256i fifth_bits(__m256i bits, __m256i index) {
    const __m256i each = _mm256_set1_epi64x((long long)0x8040201008040201);
    bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, index), each);
    return _mm256_and_si256(_mm256_cmpeq_epi8(bits, each), _mm256_set1_epi8(16));
}

INLINE __m256i lanes_of_bytes(int b0, int b1, int b2, int b3) {
    const long long ones = 0x0101010101010101;
    return _mm256_setr_epi64x(b0 * ones, b1 * ones, b2 * ones, b3 * ones);
}

INLINE __m256i load_bits(const uint8_t *low, const uint8_t *high) {
    int32_t x, y;
    memcpy(&x, low, 4);
    memcpy(&y, high, 4);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(x)), _mm_set1_epi32(y), 1);
}

INLINE void split_fives(qmat_pair *w, int i, const uint8_t *p, size_t at, size_t bytes) {
    split_nibbles(w, i, p, at + 4, bytes);
    __m256i bits = load_bits(p + at, p + bytes + at);
    w->a[i] = _mm256_or_si256(w->a[i], fifth_bits(bits, lanes_of_bytes(0, 1, 0, 1)));
    w->b[i] = _mm256_or_si256(w->b[i], fifth_bits(bits, lanes_of_bytes(2, 3, 2, 3)));
}

INLINE __m256i fives_32(const uint8_t *p) {
    return _mm256_or_si256(nibbles_32(p + 4),
                           fifth_bits(load_bits(p, p), lanes_of_bytes(0, 1, 2, 3)));
}

INLINE void load_q5_0(qmat_pair *w, const uint8_t *const p[4], int j) {
    (void)j;
    for (int i = 0; i < 4; i++) split_fives(w, i, p[i], 2, 22);
    w->d = load_f16(p, 0, 22);
}
INLINE __m256i decode_q5_0(const uint8_t *row, size_t b) { return fives_32(row + 22 * b + 2); }
QMAT_TYPE(q5_0, 16, 4, QMAT_PLAIN, .block_bytes = 22, .unit_bytes = 44)

INLINE void load_q5_1(qmat_pair *w, const uint8_t *const p[4], int j) {
    (void)j;
    for (int i = 0; i < 4; i++) split_fives(w, i, p[i], 4, 24);
    w->d = load_f16(p, 0, 24);
    w->n = load_f16(p, 2, 24);
}
INLINE __m256i decode_q5_1(const uint8_t *row, size_t b) { return fives_32(row + 24 * b + 4); }
QMAT_TYPE(q5_1, 0, 4, QMAT_MIN, .block_bytes = 24, .unit_bytes = 48)

/* ---- IQ4_NL, IQ4_XS, MXFP4: nibbles that stand for values of a table ---- */

INLINE void look_up(qmat_pair *w, int i, __m256i table) {
    w->a[i] = _mm256_shuffle_epi8(table, w->a[i]);
    w->b[i] = _mm256_shuffle_epi8(table, w->b[i]);
}

INLINE void load_iq4_nl(qmat_pair *w, const uint8_t *const p[4], int j) {
    load_q4_0(w, p, j);
    for (int i = 0; i < 4; i++) look_up(w, i, value_table(spn_iq4_values));
}
INLINE __m256i decode_iq4_nl(const uint8_t *row, size_t b) {
    return _mm256_shuffle_epi8(value_table(spn_iq4_values), decode_q4_0(row, b));
}
QMAT_TYPE(iq4_nl, 0, 1, QMAT_SIGNED, .block_bytes = 18, .unit_bytes = 36)

INLINE void load_iq4_xs(qmat_pair *w, const uint8_t *const p[4], int j) {
    int32_t first[4], low[4]; /* | d | scales_h | and | scales_l 4 | */
    for (int i = 0; i < 4; i++) {
        split_nibbles(w, i, p[i] + 32 * j, 8, 16);
        look_up(w, i, value_table(spn_iq4_values));
        memcpy(&first[i], p[i], 4);
        memcpy(&low[i], p[i] + 4, 4);
    }
    __m128i head = _mm_setr_epi32(first[0], first[1], first[2], first[3]);
    __m256i ls = _mm256_broadcastsi128_si256(_mm_setr_epi32(low[0], low[1], low[2], low[3]));
    const int at = 8 * j, high_at = 16 + 4 * j;
    ls = _mm256_srlv_epi32(ls, _mm256_setr_epi32(at, at, at, at, at + 4, at + 4, at + 4, at + 4));
    __m256i high =
        _mm256_srlv_epi32(_mm256_broadcastsi128_si256(head),
                          _mm256_setr_epi32(high_at, high_at, high_at, high_at, high_at + 2,
                                            high_at + 2, high_at + 2, high_at + 2));
    ls = _mm256_and_si256(ls, _mm256_set1_epi32(15));
    high = _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4);
    ls = _mm256_sub_epi32(_mm256_or_si256(ls, high), _mm256_set1_epi32(32));
    head = _mm_and_si128(head, _mm_set1_epi32(0xffff));
    w->d = _mm256_mul_ps(_mm256_cvtph_ps(_mm_packus_epi32(head, head)), _mm256_cvtepi32_ps(ls));
}
INLINE __m256i decode_iq4_xs(const uint8_t *row, size_t b) {
    return _mm256_shuffle_epi8(value_table(spn_iq4_values),
                               nibbles_32(row + b / 8 * 136 + 8 + 16 * (b % 8)));
}
QMAT_TYPE(iq4_xs, 0, 1, QMAT_SIGNED, .unit_bytes = 136)

/* The values plus 12 are at most 24. */
INLINE __m256i mxfp4_table(void) {
    return _mm256_add_epi8(value_table(spn_mxfp4_values), _mm256_set1_epi8(12));
}

/* 2^(e - 128): a normal number's exponent is e - 1, below are subnormal ones. */
INLINE __m256 power_of_2(__m256i e) {
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
    __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, is_tiny));
}

INLINE void load_mxfp4(qmat_pair *w, const uint8_t *const p[4], int j) {
    (void)j;
    for (int i = 0; i < 4; i++) {
        split_nibbles(w, i, p[i], 1, 17);
        look_up(w, i, mxfp4_table());
    }
    w->d = power_of_2(_mm256_setr_epi32(p[0][0], p[1][0], p[2][0], p[3][0], p[0][17], p[1][17],
                                        p[2][17], p[3][17]));
}
INLINE __m256i decode_mxfp4(const uint8_t *row, size_t b) {
    return _mm256_shuffle_epi8(mxfp4_table(), nibbles_32(row + 17 * b + 1));
}
QMAT_TYPE(mxfp4, 12, 4, QMAT_PLAIN, .block_bytes = 17, .unit_bytes = 34)

void spn_qmat_init_avx2_b32(spn_kernels *table) {
    table->matmul[SPN_TYPE_Q4_0] = matmul_q4_0;
    table->matmul[SPN_TYPE_Q4_1] = matmul_q4_1;
    table->matmul[SPN_TYPE_Q5_0] = matmul_q5_0;
    table->matmul[SPN_TYPE_Q5_1] = matmul_q5_1;
    table->matmul[SPN_TYPE_Q8_0] = matmul_q8_0;
    table->matmul[SPN_TYPE_IQ4_NL] = matmul_iq4_nl;
    table->matmul[SPN_TYPE_IQ4_XS] = matmul_iq4_xs;
    table->matmul[SPN_TYPE_MXFP4] = matmul_mxfp4;
}
