/* lanes_avx2.h - the 16 lanes of the contract as two AVX2 registers.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The names are those of lanes_avx512.h, which explains them.
 */
#ifndef SPN_LANES_H
#define SPN_LANES_H

#include <immintrin.h>

#include "compute/vec_math.h"

#define LANES_LEVEL avx2
#define HW_HAS_PAIRS 0
#define HW_LANES 8
#define HW_COUNT 2
#define FMAT_ROWS 4 /* 4 x 3 sums, 3 activations and a weight: all 16 registers */
#define FMAT_TOKENS 3
#define ATTN_ROWS 6 /* at most 12 sums in registers, and 8 where few rows would wait for them */
#define ATTN_WIDE(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define ATTN_DECODED_ROWS 6 /* one group: each decodes anew */
#define DELTA_WIDE 2

typedef struct v16 {
    __m256 a, b; /* lanes 0-7 and 8-15 */
} v16;
typedef v16 m16; /* all bits of a lane set or clear */
typedef __m256 hw;

#define V_EACH1(op, x) ((v16){op((x).a), op((x).b)})
#define V_EACH2(op, x, y) ((v16){op((x).a, (y).a), op((x).b, (y).b)})
#define V_EACH3(op, x, y, z) ((v16){op((x).a, (y).a, (z).a), op((x).b, (y).b, (z).b)})

static inline __m256i first_n8(size_t n) {
    __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : (int)n), i);
}
static inline m16 first_n(size_t n) {
    return (m16){_mm256_castsi256_ps(first_n8(n)),
                 _mm256_castsi256_ps(first_n8(n > 8 ? n - 8 : 0))};
}

static inline v16 v_zero(void) { return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline v16 v_set1(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline v16 v_load(const float *x) {
    return (v16){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}
static inline v16 v_load_n(const float *x, size_t n) {
    return (v16){_mm256_maskload_ps(x, first_n8(n)),
                 n > 8 ? _mm256_maskload_ps(x + 8, first_n8(n - 8)) : _mm256_setzero_ps()};
}
static inline void v_store(float *y, v16 v) {
    _mm256_storeu_ps(y, v.a);
    _mm256_storeu_ps(y + 8, v.b);
}
static inline void v_store_n(float *y, v16 v, size_t n) {
    _mm256_maskstore_ps(y, first_n8(n), v.a);
    if (n > 8) _mm256_maskstore_ps(y + 8, first_n8(n - 8), v.b);
}

static inline v16 v_add(v16 a, v16 b) { return V_EACH2(_mm256_add_ps, a, b); }
static inline v16 v_sub(v16 a, v16 b) { return V_EACH2(_mm256_sub_ps, a, b); }
static inline v16 v_mul(v16 a, v16 b) { return V_EACH2(_mm256_mul_ps, a, b); }
static inline v16 v_div(v16 a, v16 b) { return V_EACH2(_mm256_div_ps, a, b); }
static inline v16 v_fma(v16 a, v16 b, v16 c) { return V_EACH3(_mm256_fmadd_ps, a, b, c); }
static inline v16 v_fnma(v16 a, v16 b, v16 c) { return V_EACH3(_mm256_fnmadd_ps, a, b, c); }
static inline v16 v_select(m16 m, v16 yes, v16 no) { return V_EACH3(_mm256_blendv_ps, no, yes, m); }
static inline v16 v_fma_n(v16 a, v16 b, v16 c, size_t n) {
    return v_select(first_n(n), v_fma(a, b, c), c);
}
static inline v16 v_add_n(v16 a, v16 b, size_t n) { return v_select(first_n(n), v_add(a, b), a); }
static inline v16 v_abs(v16 a) {
    v16 sign = v_set1(-0.0f);
    return V_EACH2(_mm256_andnot_ps, sign, a);
}
static inline v16 v_neg(v16 a) {
    v16 sign = v_set1(-0.0f);
    return V_EACH2(_mm256_xor_ps, sign, a);
}
static inline v16 v_with_sign(v16 a, v16 s) {
    v16 sign = v_set1(-0.0f);
    s = V_EACH2(_mm256_and_ps, s, sign);
    return V_EACH2(_mm256_or_ps, a, s);
}
static inline v16 v_max(v16 a, v16 x) { return V_EACH2(_mm256_max_ps, x, a); }
static inline v16 v_clamp(v16 x, float low, float high) {
    v16 l = v_set1(low), h = v_set1(high);
    x = V_EACH2(_mm256_min_ps, h, x);
    return V_EACH2(_mm256_max_ps, l, x);
}
static inline v16 v_round(v16 x) {
    return (v16){_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                 _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

static inline m16 v_less(v16 a, v16 b) {
    return (m16){_mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ), _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ)};
}
static inline m16 v_equal(v16 a, v16 b) {
    return (m16){_mm256_cmp_ps(a.a, b.a, _CMP_EQ_OQ), _mm256_cmp_ps(a.b, b.b, _CMP_EQ_OQ)};
}
static inline m16 v_is_nan(v16 a) {
    return (m16){_mm256_cmp_ps(a.a, a.a, _CMP_UNORD_Q), _mm256_cmp_ps(a.b, a.b, _CMP_UNORD_Q)};
}
static inline m16 m_range(size_t begin, size_t end) {
    m16 b = first_n(begin), e = first_n(end);
    return V_EACH2(_mm256_andnot_ps, b, e);
}
static inline unsigned m_bits(m16 m) {
    return (unsigned)_mm256_movemask_ps(m.a) | (unsigned)_mm256_movemask_ps(m.b) << 8;
}
static inline bool m_any(m16 m) { return m_bits(m) != 0; }

/* In two halves: only the second product can round. */
static inline __m256 scale_pow2_8(__m256 p, __m256 shifted) {
    __m256i n =
        _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32((int)SPN_EXP_MAGIC_BITS));
    __m256i half = _mm256_srai_epi32(n, 1), rest = _mm256_sub_epi32(n, half);
    __m256i bias = _mm256_set1_epi32(127);
    half = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    rest = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(half)), _mm256_castsi256_ps(rest));
}
static inline v16 v_scale_pow2(v16 p, v16 n, v16 shifted) {
    (void)n;
    return V_EACH2(scale_pow2_8, p, shifted);
}

static inline float fold8(__m256 s) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float v_fold(v16 v) { return fold8(_mm256_add_ps(v.a, v.b)); }
static inline __m256 halves_sum(const float *x) {
    return _mm256_add_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8));
}
static inline void v_fold_4(float y[4], const float *x, size_t ldx) {
    __m256 a = halves_sum(x), b = halves_sum(x + ldx);
    __m256 c = halves_sum(x + 2 * ldx), d = halves_sum(x + 3 * ldx);
    a = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    c = _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    a = _mm256_add_ps(_mm256_shuffle_ps(a, c, 0x44), _mm256_shuffle_ps(a, c, 0xee));
    a = _mm256_hadd_ps(a, a); /* of x[0] and x[2], of x[1] and x[3] */
    _mm_storeu_ps(y, _mm_unpacklo_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
static inline float v_max_all(v16 v) {
    __m256 s = _mm256_max_ps(v.a, v.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

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
    __m256 b[8], c[4], d[2];
    for (int i = 0; i < 8; i++) b[i] = _mm256_add_ps(a[i].a, a[i].b);
    for (int i = 0; i < 4; i++) /* i in the low 128 bits, i + 4 in the high ones */
        c[i] = _mm256_add_ps(_mm256_permute2f128_ps(b[i], b[i + 4], 0x20),
                             _mm256_permute2f128_ps(b[i], b[i + 4], 0x31));
    for (int i = 0; i < 2; i++) /* pairs of i, i + 2 (and + 4) */
        d[i] = _mm256_add_ps(_mm256_shuffle_ps(c[i], c[i + 2], 0x44),
                             _mm256_shuffle_ps(c[i], c[i + 2], 0xee));
    /* Even lanes of the pairs and odd ones: d[0] has 0 0 2 2 | 4 4 6 6, d[1] 1 1 3 3 | 5 5 7 7. */
    __m256 even = _mm256_shuffle_ps(d[0], d[1], 0x88), odd = _mm256_shuffle_ps(d[0], d[1], 0xdd);
    odd = _mm256_add_ps(even, odd); /* 0 2 1 3 | 4 6 5 7 */
    return least_of_8(_mm256_permute_ps(odd, 0xd8));
}

/* n / amax and amax / n for n = 127 - j, j = 0..7. */
static inline void candidates_8(float id[8], float d[8], float amax) {
    __m256 n = _mm256_setr_ps(127, 126, 125, 124, 123, 122, 121, 120), a = _mm256_set1_ps(amax);
    _mm256_storeu_ps(id, _mm256_div_ps(n, a));
    _mm256_storeu_ps(d, _mm256_div_ps(a, n));
}

/* ---- conversions of 16 elements ---- */

static inline v16 v_set1_f16(const void *x) {
    uint16_t h;
    memcpy(&h, x, sizeof(h));
    __m256 v = _mm256_cvtph_ps(_mm_set1_epi16((short)h));
    return (v16){v, v};
}
static inline v16 v_load_f16(const void *x) {
    const __m128i *h = x;
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}
static inline v16 v_load_f16_n(const void *x, size_t n) {
    uint16_t part[16] = {0};
    memcpy(part, x, 2 * n);
    return v_load_f16(part);
}
static inline __m256 bf16_to_f32_8(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline v16 v_load_bf16(const void *x) {
    const __m128i *h = x;
    return (v16){bf16_to_f32_8(_mm_loadu_si128(h)), bf16_to_f32_8(_mm_loadu_si128(h + 1))};
}
static inline v16 v_load_bf16_n(const void *x, size_t n) {
    uint16_t part[16] = {0};
    memcpy(part, x, 2 * n);
    return v_load_bf16(part);
}
static inline v16 v_of_i8(__m128i b) {
    return (v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))};
}
static inline v16 v_load_i8(const int8_t *x) {
    return v_of_i8(_mm_loadu_si128((const __m128i *)x));
}
typedef struct w16 {
    __m256i a, b;
} w16;
static inline w16 w_load(const void *x) {
    const __m256i *w = x;
    return (w16){_mm256_loadu_si256(w), _mm256_loadu_si256(w + 1)};
}
static inline __m256 nibble_8(__m256i w, int i) {
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(w, 28 - 4 * i), 28));
}
static inline v16 w_nibble(w16 w, int i) { return (v16){nibble_8(w.a, i), nibble_8(w.b, i)}; }
static inline v16 nibbles_less_8(__m128i b) {
    return v_of_i8(_mm_sub_epi8(_mm_and_si128(b, _mm_set1_epi8(15)), _mm_set1_epi8(8)));
}
static inline void v_load_q4(const uint8_t *x, v16 d, v16 *low, v16 *high) {
    __m128i b = _mm_loadu_si128((const __m128i *)x);
    *low = v_mul(d, nibbles_less_8(b));
    *high = v_mul(d, nibbles_less_8(_mm_srli_epi16(b, 4)));
}
static inline __m128i whole_to_i16(__m256 v) {
    __m256i i = _mm256_cvtps_epi32(v);
    return _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
}
/* The sum of 16 signed bytes: of unsigned ones, less the offset. */
static inline int sum_i8(__m128i b) {
    __m128i s = _mm_sad_epu8(_mm_xor_si128(b, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(s) + _mm_extract_epi16(s, 4) - 16 * 128;
}
static inline int v_store_i8(int8_t *y, v16 v) {
    __m128i b = _mm_packs_epi16(whole_to_i16(v.a), whole_to_i16(v.b));
    _mm_storeu_si128((__m128i *)y, b);
    return sum_i8(b);
}
static inline void v_store_f16(void *y, v16 v) {
    __m128i *h = y;
    _mm_storeu_si128(h, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(h + 1, _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}
static inline __m256i bf16_bits_8(__m256 v) {
    __m256i bits = _mm256_castps_si256(v);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
}
static inline void v_store_bf16(void *y, v16 v) {
    __m256i packed = _mm256_packus_epi32(bf16_bits_8(v.a), bf16_bits_8(v.b));
    _mm256_storeu_si256((__m256i *)y, _mm256_permute4x64_epi64(packed, 0xd8));
}

/* ---- registers ---- */

static inline hw hw_zero(void) { return _mm256_setzero_ps(); }
static inline hw hw_load(const float *x) { return _mm256_loadu_ps(x); }
static inline void hw_store(float *y, hw v) { _mm256_storeu_ps(y, v); }
static inline hw hw_fma(hw a, hw b, hw c) { return _mm256_fmadd_ps(a, b, c); }
static inline hw hw_load_f16(const void *x) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
}
static inline hw hw_first(hw pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pairs), 16));
}
/* A mask, or a zero that the compiler keeps, would take a register of a loop that needs all of
 * them. */
static inline hw hw_second(hw pairs) {
    __m256i zero;
    __asm__ volatile("vpxor %0, %0, %0" : "=x"(zero));
    return _mm256_castsi256_ps(_mm256_blend_epi16(zero, _mm256_castps_si256(pairs), 0xaa));
}

/* ---- rotation of pairs ---- */

static inline void unzip_8(const float *x, __m256 *even, __m256 *odd) {
    __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
    __m256 e = _mm256_shuffle_ps(a, b, 0x88), o = _mm256_shuffle_ps(a, b, 0xdd);
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(e), 0xd8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(o), 0xd8));
}
static inline void v_unzip(const float *x, v16 *even, v16 *odd) {
    unzip_8(x, &even->a, &odd->a);
    unzip_8(x + 16, &even->b, &odd->b);
}
static inline void zip_8(float *y, __m256 even, __m256 odd) {
    __m256 l = _mm256_unpacklo_ps(even, odd), h = _mm256_unpackhi_ps(even, odd);
    _mm256_storeu_ps(y, _mm256_permute2f128_ps(l, h, 0x20));
    _mm256_storeu_ps(y + 8, _mm256_permute2f128_ps(l, h, 0x31));
}
static inline void v_zip(float *y, v16 even, v16 odd) {
    zip_8(y, even.a, odd.a);
    zip_8(y + 16, even.b, odd.b);
}

#endif
