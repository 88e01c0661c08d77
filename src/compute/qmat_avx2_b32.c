/* qmat_avx2_b32.c - AVX2 products: the types with blocks of 32.
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

/* ---- Q8_0 ---- */

INLINE void load_q8_0(qmat_pair *w, const uint8_t *const p[4]) {
    for (int i = 0; i < 4; i++) {
        w->a[i] = load_two(p[i] + 2, p[i] + 36);
        w->b[i] = load_two(p[i] + 18, p[i] + 52);
    }
    w->d = load_f16(p, 0, 34);
}
QMAT_BLOCKS(q8_0, .kind = QMAT_SIGNED, .unit_bytes = 34, .run = 1)

/* ---- Q4_0, Q4_1 ---- */

INLINE void load_q4_0(qmat_pair *w, const uint8_t *const p[4]) {
    for (int i = 0; i < 4; i++) split_nibbles(w, i, p[i], 2, 18);
    w->d = load_f16(p, 0, 18);
}
QMAT_BLOCKS(q4_0, .kind = QMAT_PLAIN, .unit_bytes = 18, .run = 8, .offset = 8)

INLINE void load_q4_1(qmat_pair *w, const uint8_t *const p[4]) {
    for (int i = 0; i < 4; i++) split_nibbles(w, i, p[i], 4, 20);
    w->d = load_f16(p, 0, 20);
    w->n = load_f16(p, 2, 20);
}
QMAT_BLOCKS(q4_1, .kind = QMAT_MIN, .unit_bytes = 20, .run = 8)

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

INLINE void load_q5_0(qmat_pair *w, const uint8_t *const p[4]) {
    for (int i = 0; i < 4; i++) split_fives(w, i, p[i], 2, 22);
    w->d = load_f16(p, 0, 22);
}
QMAT_BLOCKS(q5_0, .kind = QMAT_PLAIN, .unit_bytes = 22, .run = 4, .offset = 16)

INLINE void load_q5_1(qmat_pair *w, const uint8_t *const p[4]) {
    for (int i = 0; i < 4; i++) split_fives(w, i, p[i], 4, 24);
    w->d = load_f16(p, 0, 24);
    w->n = load_f16(p, 2, 24);
}
QMAT_BLOCKS(q5_1, .kind = QMAT_MIN, .unit_bytes = 24, .run = 4)

/* ---- IQ4_NL, MXFP4: nibbles that stand for values of a table ---- */

INLINE void look_up(qmat_pair *w, int i, __m256i table) {
    w->a[i] = _mm256_shuffle_epi8(table, w->a[i]);
    w->b[i] = _mm256_shuffle_epi8(table, w->b[i]);
}

INLINE void load_iq4_nl(qmat_pair *w, const uint8_t *const p[4]) {
    load_q4_0(w, p);
    for (int i = 0; i < 4; i++) look_up(w, i, value_table(spn_iq4_values));
}
QMAT_BLOCKS(iq4_nl, .kind = QMAT_SIGNED, .unit_bytes = 18, .run = 1)

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

INLINE void load_mxfp4(qmat_pair *w, const uint8_t *const p[4]) {
    for (int i = 0; i < 4; i++) {
        split_nibbles(w, i, p[i], 1, 17);
        look_up(w, i, mxfp4_table());
    }
    w->d = power_of_2(_mm256_setr_epi32(p[0][0], p[1][0], p[2][0], p[3][0], p[0][17], p[1][17],
                                        p[2][17], p[3][17]));
}
QMAT_BLOCKS(mxfp4, .kind = QMAT_PLAIN, .unit_bytes = 17, .run = 4, .offset = 12)

void spn_qmat_init_avx2_b32(spn_kernels *table) {
    table->matmul[SPN_TYPE_Q4_0] = matmul_q4_0;
    table->matmul[SPN_TYPE_Q4_1] = matmul_q4_1;
    table->matmul[SPN_TYPE_Q5_0] = matmul_q5_0;
    table->matmul[SPN_TYPE_Q5_1] = matmul_q5_1;
    table->matmul[SPN_TYPE_Q8_0] = matmul_q8_0;
    table->matmul[SPN_TYPE_IQ4_NL] = matmul_iq4_nl;
    table->matmul[SPN_TYPE_MXFP4] = matmul_mxfp4;
}
