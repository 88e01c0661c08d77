/* lanes_avx512.h - the 16 lanes of the contract as one AVX-512 register.
 * SPDX-License-Identifier: Apache-2.0
 *
 * lanes_*.h give the same names at every level; vec_lanes.h, fmat_lanes.h and attn_lanes.h are
 * written on them once. `v16` is 16 lanes; `hw` is one register of HW_LANES floats, of which a v16
 * has HW_COUNT. Loads with a count read no byte past it and give zeros beyond.
 */
#ifndef SPN_LANES_H
#define SPN_LANES_H

#include <immintrin.h>

#include "compute/vec_math.h"

#ifdef __AVX512BF16__
#define LANES_LEVEL avx512bf16
#define HW_HAS_PAIRS 1 /* hw_add_pairs */
#else
#define LANES_LEVEL avx512
#define HW_HAS_PAIRS 0
#endif
#define HW_LANES 16
#define HW_COUNT 1
#define FMAT_ROWS 4 /* 4 x 6 sums, 4 weights and an activation: 29 of 32 registers */
#define FMAT_TOKENS 6
#define ATTN_ROWS 6 /* 6 x 4 sums and 4 of the cache: 28 registers, q as a memory operand */
#define ATTN_WIDE(rows) 4
#define ATTN_DECODED_ROWS 12 /* two groups, each of which decodes anew */
#define DELTA_WIDE 8

typedef __m512 v16;
typedef __mmask16 m16;
typedef __m512 hw;

static inline __mmask16 first_n(size_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }

static inline v16 v_zero(void) { return _mm512_setzero_ps(); }
static inline v16 v_set1(float x) { return _mm512_set1_ps(x); }
static inline v16 v_load(const float *x) { return _mm512_loadu_ps(x); }
static inline v16 v_load_n(const float *x, size_t n) {
    return _mm512_maskz_loadu_ps(first_n(n), x);
}
static inline void v_store(float *y, v16 v) { _mm512_storeu_ps(y, v); }
static inline void v_store_n(float *y, v16 v, size_t n) { _mm512_mask_storeu_ps(y, first_n(n), v); }

static inline v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
static inline v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
static inline v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
static inline v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
static inline v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
/* c - a * b */
static inline v16 v_fnma(v16 a, v16 b, v16 c) { return _mm512_fnmadd_ps(a, b, c); }
/* Lanes from n on keep c. */
static inline v16 v_fma_n(v16 a, v16 b, v16 c, size_t n) {
    return _mm512_mask3_fmadd_ps(a, b, c, first_n(n));
}
static inline v16 v_add_n(v16 a, v16 b, size_t n) {
    return _mm512_mask_add_ps(a, first_n(n), a, b);
}
static inline v16 v_abs(v16 a) { return _mm512_abs_ps(a); }
static inline v16 v_neg(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
/* The sign of s on the magnitude a >= 0. */
static inline v16 v_with_sign(v16 a, v16 s) {
    return _mm512_or_ps(a, _mm512_and_ps(s, _mm512_set1_ps(-0.0f)));
}
/* x > a ? x : a, so `a` where x is NaN. */
static inline v16 v_max(v16 a, v16 x) { return _mm512_max_ps(x, a); }
/* x where it is NaN, else the lesser or greater. */
static inline v16 v_clamp(v16 x, float low, float high) {
    return _mm512_max_ps(v_set1(low), _mm512_min_ps(v_set1(high), x));
}
static inline v16 v_round(v16 x) { /* to nearest even; |x| < 2^22 */
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline m16 v_less(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline m16 v_equal(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline m16 v_is_nan(v16 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline m16 m_range(size_t begin, size_t end) { /* lanes begin..end - 1; ends below 17 */
    return (m16)(first_n(end) & ~first_n(begin));
}
static inline bool m_any(m16 m) { return m != 0; }
static inline unsigned m_bits(m16 m) { return m; }
/* yes where m, else no. */
static inline v16 v_select(m16 m, v16 yes, v16 no) { return _mm512_mask_blend_ps(m, no, yes); }

/* p * 2^n for the whole number n in the low bits of shifted = n + SPN_EXP_MAGIC, rounded once. */
static inline v16 v_scale_pow2(v16 p, v16 n, v16 shifted) {
    (void)shifted;
    return _mm512_scalef_ps(p, n);
}

static inline float fold8(__m256 s) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float v_fold(v16 v) {
    return fold8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}
/* y[i] = v_fold of the lanes at x + i * ldx: each step adds the halves of two side by side. */
static inline void v_fold_4(float y[4], const float *x, size_t ldx) {
    v16 a = v_load(x), b = v_load(x + ldx), c = v_load(x + 2 * ldx), d = v_load(x + 3 * ldx);
    a = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    c = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    a = _mm512_add_ps(_mm512_shuffle_f32x4(a, c, 0x88), _mm512_shuffle_f32x4(a, c, 0xdd));
    a = _mm512_add_ps(a,
                      _mm512_permute_ps(a, 0x4e)); /* one's four numbers are a lane of 128 bits */
    a = _mm512_add_ps(a, _mm512_permute_ps(a, 0xb1));
    _mm_storeu_ps(y, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, a)));
}
static inline float v_max_all(v16 v) { return _mm512_reduce_max_ps(v); } /* no NaN inside */

/* The first of the least of 8 numbers, none of them a NaN. */
static inline int least_of_8(__m256 v) {
    __m256 m = _mm256_min_ps(v, _mm256_permute2f128_ps(v, v, 1));
    m = _mm256_min_ps(m, _mm256_shuffle_ps(m, m, 0x4e));
    m = _mm256_min_ps(m, _mm256_shuffle_ps(m, m, 0xb1));
    return __builtin_ctz((unsigned)_mm256_movemask_ps(_mm256_cmp_ps(v, m, _CMP_EQ_OQ)));
}

/* Which of 8 vectors has the least fold. All are folded at once: each step adds the halves of two
 * vectors side by side. */
static inline int v_least_fold(const v16 a[8]) {
    __m512 b[4], c[2];
    for (int i = 0; i < 4; i++) /* lanes 0-7 of a[i], then of a[i + 4]; plus lanes 8-15 */
        b[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x44),
                             _mm512_shuffle_f32x4(a[i], a[i + 4], 0xee));
    for (int i = 0; i < 2; i++) /* quads: i, i + 4, i + 2, i + 6 */
        c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[i], b[i + 2], 0x88),
                             _mm512_shuffle_f32x4(b[i], b[i + 2], 0xdd));
    /* Pairs: 0 and 1 of quads 0, 4, 2, 6 in each 128 bits, then single sums. */
    __m512 d =
        _mm512_add_ps(_mm512_shuffle_ps(c[0], c[1], 0x44), _mm512_shuffle_ps(c[0], c[1], 0xee));
    d = _mm512_add_ps(d, _mm512_movehdup_ps(d));
    /* Sums stand at lanes 0 2 (0, 1), 4 6 (4, 5), 8 10 (2, 3), 12 14 (6, 7). */
    const __m512i order = _mm512_setr_epi32(0, 2, 8, 10, 4, 6, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    return least_of_8(_mm512_castps512_ps256(_mm512_permutexvar_ps(order, d)));
}

/* n / amax and amax / n for n = 127 - j, j = 0..7. */
static inline void candidates_8(float id[8], float d[8], float amax) {
    __m256 n = _mm256_setr_ps(127, 126, 125, 124, 123, 122, 121, 120), a = _mm256_set1_ps(amax);
    _mm256_storeu_ps(id, _mm256_div_ps(n, a));
    _mm256_storeu_ps(d, _mm256_div_ps(a, n));
}

/* ---- conversions of 16 elements ---- */

/* A half-precision number in all lanes. */
static inline v16 v_set1_f16(const void *x) {
    uint16_t h;
    memcpy(&h, x, sizeof(h));
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)h));
}
static inline v16 v_load_f16(const void *x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x));
}
static inline v16 v_load_f16_n(const void *x, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_n(n), x));
}
static inline v16 bf16_to_f32(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
static inline v16 v_load_bf16(const void *x) {
    return bf16_to_f32(_mm256_loadu_si256((const __m256i *)x));
}
static inline v16 v_load_bf16_n(const void *x, size_t n) {
    return bf16_to_f32(_mm256_maskz_loadu_epi16(first_n(n), x));
}
static inline v16 v_load_i8(const int8_t *x) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x)));
}
/* 16 words of 8 nibbles; nibble i of each as a signed number, whose bits 0..7, -8..-1 are. */
typedef __m512i w16;
static inline w16 w_load(const void *x) { return _mm512_loadu_si512(x); }
static inline v16 w_nibble(w16 w, int i) {
    const __m512 values = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
    return _mm512_permutexvar_ps(_mm512_srli_epi32(w, (unsigned)(4 * i)), values);
}
/* d times the low, and the high, nibbles of 16 bytes less 8. */
static inline void v_load_q4(const uint8_t *x, v16 d, v16 *low, v16 *high) {
    const __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x));
    __m512 products = _mm512_mul_ps(d, values);
    *low = _mm512_permutexvar_ps(b, products);
    *high = _mm512_permutexvar_ps(_mm512_srli_epi32(b, 4), products);
}
/* The sum of 16 signed bytes: of unsigned ones, less the offset. */
static inline int sum_i8(__m128i b) {
    __m128i s = _mm_sad_epu8(_mm_xor_si128(b, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(s) + _mm_extract_epi16(s, 4) - 16 * 128;
}
/* Whole numbers of -128..127 to bytes; returns their sum. */
static inline int v_store_i8(int8_t *y, v16 v) {
    __m128i b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
    _mm_storeu_si128((__m128i *)y, b);
    return sum_i8(b);
}
static inline void v_store_f16(void *y, v16 v) {
    _mm256_storeu_si256((__m256i *)y, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline void v_store_bf16(void *y, v16 v) {
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    up = _mm512_mask_or_epi32(up, v_is_nan(v), bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256((__m256i *)y, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}

/* ---- registers ---- */

static inline hw hw_zero(void) { return _mm512_setzero_ps(); }
static inline hw hw_load(const float *x) { return _mm512_loadu_ps(x); }
static inline void hw_store(float *y, hw v) { _mm512_storeu_ps(y, v); }
static inline hw hw_fma(hw a, hw b, hw c) { return _mm512_fmadd_ps(a, b, c); }
static inline hw hw_load_f16(const void *x) { return v_load_f16(x); }
/* The first, and the second, numbers of pairs of bfloat16. */
static inline hw hw_first(hw pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pairs), 16));
}
static inline hw hw_second(hw pairs) {
    return _mm512_and_ps(pairs, _mm512_castsi512_ps(_mm512_set1_epi32((int)0xffff0000)));
}
/* sum + w * x of the second numbers, and then of the first ones. */
#if HW_HAS_PAIRS
static inline hw hw_add_pairs(hw w, hw x, hw sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x);
}
#endif

/* ---- rotation of pairs ---- */

/* 16 pairs' first and second members from 32 floats, and back. */
static inline void v_unzip(const float *x, v16 *even, v16 *odd) {
    const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i o = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    v16 a = v_load(x), b = v_load(x + 16);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd = _mm512_permutex2var_ps(a, o, b);
}
static inline void v_zip(float *y, v16 even, v16 odd) {
    const __m512i l = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i h =
        _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    v_store(y, _mm512_permutex2var_ps(even, l, odd));
    v_store(y + 16, _mm512_permutex2var_ps(even, h, odd));
}

#endif
