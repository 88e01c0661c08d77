/* qmat_avx512_b32.c - AVX-512 loaders of the types with blocks of 32. SPDX-License-Identifier:
 * Apache-2.0
 *
 * A group of four blocks of a row is 68 to 136 bytes. Two or four (unaligned, overlapping) loads
 * cover it, a two-register byte permutation brings the weights' bytes into place, and masked word
 * permutations collect the rows' f16 scales as [chain][row].
 */
#include "compute/qmat_avx512.h"

/* ---- common ---- */

/* Collects the words `at` (of lanes' first dwords' positions, [chain][row]) of row i's register. */
INLINE __m256i pick_words(__m256i words, int row, __mmask16 chains, __m512i at, __m512i x) {
    __mmask32 mask = (__mmask32)((0x1111u << row) & chains);
    return _mm512_castsi512_si256(
        _mm512_mask_permutexvar_epi16(_mm512_castsi256_si512(words), mask, at, x));
}

/* Word c * step + first at position [c][any row]. */
INLINE __m512i word_index(int w0, int w1, int w2, int w3) {
    return _mm512_castsi256_si512(_mm256_setr_epi16(
        (short)w0, (short)w0, (short)w0, (short)w0, (short)w1, (short)w1, (short)w1, (short)w1,
        (short)w2, (short)w2, (short)w2, (short)w2, (short)w3, (short)w3, (short)w3, (short)w3));
}

/* ---- Q8_0 ---- */

/* Blocks 0 and 1 from loads at bytes 0 and 18 of the group, 2 and 3 from those at 68 and 72. */
static const uint8_t q8_0_a[64] ALIGNED = {LANE16(2), LANE16(36), LANE16(66), LANE16(100)};
static const uint8_t q8_0_b[64] ALIGNED = {LANE16(0), LANE16(34), LANE16(78), LANE16(112)};

INLINE void load_q8_0(qmat_group *w, const uint8_t *const p[4], int half) {
    (void)half;
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    const __m512i a_at = _mm512_load_si512(q8_0_a), b_at = _mm512_load_si512(q8_0_b);
    const __m512i d_at = word_index(0, 17, 0, 17);
    __m256i d0 = _mm256_setzero_si256(), d1 = d0;
    for (int i = 0; i < 4; i++) {
        __m512i x = load_once(p[i]), y = load_once(p[i] + 68);
        w->a[i] = _mm512_xor_si512(_mm512_permutex2var_epi8(x, a_at, y), sign);
        d0 = pick_words(d0, i, 0x00ff, d_at, x);
        d1 = pick_words(d1, i, 0xff00, d_at, y);
        x = _mm512_loadu_si512(p[i] + 18);
        y = _mm512_loadu_si512(p[i] + 72);
        w->b[i] = _mm512_xor_si512(_mm512_permutex2var_epi8(x, b_at, y), sign);
    }
    w->d = _mm512_cvtph_ps(_mm256_or_si256(d0, d1));
}
#define Q8_0 .kind = QMAT_PLAIN, .block_bytes = 34, .unit_bytes = 136
QMAT_ROWS_ALL(q8_0, Q8_0)

INLINE __m512i decode_q8_0(const uint8_t *row, size_t u, size_t n) {
    const uint8_t *p = row + 68 * u + 2;
    __m512i x = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)p));
    if (n == 2) x = _mm512_inserti64x4(x, _mm256_loadu_si256((const void *)(p + 34)), 1);
    return _mm512_xor_si512(x, _mm512_set1_epi8((char)0x80));
}

QMAT_UNPACK(q8_0, Q8_0)

static const qmat_type type_q8_0 = {.kind = QMAT_PLAIN,
                                    .panel_kind = QMAT_PLAIN,
                                    .offset = 128,
                                    .panel_offset = 128,
                                    QMAT_FUNCTIONS(q8_0)};
QMAT_MATMUL(q8_0)

void spn_qmat_init_avx512_b32(spn_kernels *table) { table->matmul[SPN_TYPE_Q8_0] = matmul_q8_0; }
