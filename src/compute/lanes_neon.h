/* lanes_neon.h - the 16 lanes of the contract as four Advanced SIMD registers.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The names are those of lanes_avx512.h, which explains them. fmax and fmin of this instruction set
 * return a NaN where there is one, so greater and lesser are selections here.
 */
#ifndef SPN_LANES_H
#define SPN_LANES_H

#include <arm_neon.h>

#include "compute/vec_math.h"

#define LANES_LEVEL neon
#define HW_HAS_PAIRS 0
#define HW_LANES 4
#define HW_COUNT 4
#define FMAT_ROWS 4 /* 4 x 6 sums, 6 activations and a weight: 31 of 32 registers */
#define FMAT_TOKENS 6
#define ATTN_ROWS 6 /* 6 x 4 sums, 4 of the cache, one q: 29 registers; 16 sums for few rows */
#define ATTN_WIDE(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define ATTN_DECODED_ROWS 6
#define DELTA_WIDE 1

typedef struct v16 {
    float32x4_t q[4];
} v16;
typedef struct m16 {
    uint32x4_t q[4]; /* all bits of a lane set or clear */
} m16;
typedef float32x4_t hw;

#define V_EACH1(op, x) ((v16){{op((x).q[0]), op((x).q[1]), op((x).q[2]), op((x).q[3])}})
#define V_EACH2(op, x, y)                                                           \
    ((v16){{op((x).q[0], (y).q[0]), op((x).q[1], (y).q[1]), op((x).q[2], (y).q[2]), \
            op((x).q[3], (y).q[3])}})
#define V_EACH3(op, x, y, z)                                                    \
    ((v16){{op((x).q[0], (y).q[0], (z).q[0]), op((x).q[1], (y).q[1], (z).q[1]), \
            op((x).q[2], (y).q[2], (z).q[2]), op((x).q[3], (y).q[3], (z).q[3])}})
#define M_EACH2(op, x, y)                                                           \
    ((m16){{op((x).q[0], (y).q[0]), op((x).q[1], (y).q[1]), op((x).q[2], (y).q[2]), \
            op((x).q[3], (y).q[3])}})

static inline v16 v_set1(float x) {
    float32x4_t q = vdupq_n_f32(x);
    return (v16){{q, q, q, q}};
}
static inline v16 v_zero(void) { return v_set1(0.0f); }
static inline v16 v_load(const float *x) {
    return (v16){{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}
static inline v16 v_load_n(const float *x, size_t n) {
    float part[16] = {0};
    if (n >= 16) return v_load(x);
    memcpy(part, x, n * sizeof(float));
    return v_load(part);
}
static inline void v_store(float *y, v16 v) {
    for (int i = 0; i < 4; i++) vst1q_f32(y + 4 * i, v.q[i]);
}
static inline void v_store_n(float *y, v16 v, size_t n) {
    float part[16];
    v_store(part, v);
    memcpy(y, part, (n < 16 ? n : 16) * sizeof(float));
}

static inline float32x4_t fma_4(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmaq_f32(c, a, b);
}
static inline float32x4_t fnma_4(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmsq_f32(c, a, b);
}
static inline float32x4_t max_4(float32x4_t a, float32x4_t x) {
    return vbslq_f32(vcgtq_f32(x, a), x, a);
}

static inline v16 v_add(v16 a, v16 b) { return V_EACH2(vaddq_f32, a, b); }
static inline v16 v_sub(v16 a, v16 b) { return V_EACH2(vsubq_f32, a, b); }
static inline v16 v_mul(v16 a, v16 b) { return V_EACH2(vmulq_f32, a, b); }
static inline v16 v_div(v16 a, v16 b) { return V_EACH2(vdivq_f32, a, b); }
static inline v16 v_fma(v16 a, v16 b, v16 c) { return V_EACH3(fma_4, a, b, c); }
static inline v16 v_fnma(v16 a, v16 b, v16 c) { return V_EACH3(fnma_4, a, b, c); }
static inline v16 v_select(m16 m, v16 yes, v16 no) { return V_EACH3(vbslq_f32, m, yes, no); }
static inline v16 v_abs(v16 a) { return V_EACH1(vabsq_f32, a); }
static inline v16 v_neg(v16 a) { return V_EACH1(vnegq_f32, a); }
static inline float32x4_t with_sign_4(float32x4_t a, float32x4_t s) {
    return vbslq_f32(vdupq_n_u32(0x80000000u), s, a);
}
static inline v16 v_with_sign(v16 a, v16 s) { return V_EACH2(with_sign_4, a, s); }
static inline v16 v_max(v16 a, v16 x) { return V_EACH2(max_4, a, x); }
static inline float32x4_t clamp_4(float32x4_t x, float32x4_t low, float32x4_t high) {
    x = vbslq_f32(vcltq_f32(high, x), high, x);
    return vbslq_f32(vcgtq_f32(low, x), low, x);
}
static inline v16 v_clamp(v16 x, float low, float high) {
    v16 l = v_set1(low), h = v_set1(high);
    return V_EACH3(clamp_4, x, l, h);
}
static inline v16 v_round(v16 x) { return V_EACH1(vrndnq_f32, x); }

static inline uint32x4_t count_4(int first) {
    const uint32x4_t i = {0, 1, 2, 3};
    return vaddq_u32(i, vdupq_n_u32((uint32_t)first));
}
static inline m16 m_range(size_t begin, size_t end) {
    m16 m;
    for (int i = 0; i < 4; i++) {
        uint32x4_t at = count_4(4 * i);
        m.q[i] = vandq_u32(vcgeq_u32(at, vdupq_n_u32((uint32_t)begin)),
                           vcltq_u32(at, vdupq_n_u32((uint32_t)end)));
    }
    return m;
}
static inline v16 v_fma_n(v16 a, v16 b, v16 c, size_t n) {
    return v_select(m_range(0, n), v_fma(a, b, c), c);
}
static inline v16 v_add_n(v16 a, v16 b, size_t n) {
    return v_select(m_range(0, n), v_add(a, b), a);
}
static inline m16 v_less(v16 a, v16 b) { return M_EACH2(vcltq_f32, a, b); }
static inline m16 v_equal(v16 a, v16 b) { return M_EACH2(vceqq_f32, a, b); }
static inline uint32x4_t differs_4(float32x4_t a, float32x4_t b) {
    return vmvnq_u32(vceqq_f32(a, b));
}
static inline m16 v_is_nan(v16 a) { return M_EACH2(differs_4, a, a); }
static inline unsigned m_bits(m16 m) {
    const uint32x4_t weights = {1, 2, 4, 8};
    unsigned bits = 0;
    for (int i = 0; i < 4; i++) bits |= vaddvq_u32(vandq_u32(m.q[i], weights)) << 4 * i;
    return bits;
}
static inline bool m_any(m16 m) { return m_bits(m) != 0; }

/* In two halves: only the second product can round. */
static inline float32x4_t scale_pow2_4(float32x4_t p, float32x4_t shifted) {
    int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32((int)SPN_EXP_MAGIC_BITS));
    int32x4_t half = vshrq_n_s32(n, 1), rest = vsubq_s32(n, half), bias = vdupq_n_s32(127);
    half = vshlq_n_s32(vaddq_s32(half, bias), 23);
    rest = vshlq_n_s32(vaddq_s32(rest, bias), 23);
    return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(half)), vreinterpretq_f32_s32(rest));
}
static inline v16 v_scale_pow2(v16 p, v16 n, v16 shifted) {
    (void)n;
    return V_EACH2(scale_pow2_4, p, shifted);
}

static inline float v_fold(v16 v) {
    float32x4_t s = vaddq_f32(vaddq_f32(v.q[0], v.q[2]), vaddq_f32(v.q[1], v.q[3]));
    float32x2_t d = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(vpadd_f32(d, d), 0);
}
static inline void v_fold_4(float y[4], const float *x, size_t ldx) {
    float32x4_t s[4];
    for (size_t i = 0; i < 4; i++, x += ldx)
        s[i] = vaddq_f32(vaddq_f32(vld1q_f32(x), vld1q_f32(x + 8)),
                         vaddq_f32(vld1q_f32(x + 4), vld1q_f32(x + 12)));
    for (int i = 0; i < 4; i += 2) /* the halves of two side by side */
        s[i] = vaddq_f32(vcombine_f32(vget_low_f32(s[i]), vget_low_f32(s[i + 1])),
                         vcombine_f32(vget_high_f32(s[i]), vget_high_f32(s[i + 1])));
    vst1q_f32(y, vpaddq_f32(s[0], s[2]));
}
static inline float v_max_all(v16 v) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.q[0], v.q[1]), vmaxq_f32(v.q[2], v.q[3])));
}
static inline int v_least_fold(const v16 a[8]) {
    int best = 0;
    float sums[8];
    for (int i = 0; i < 8; i++) sums[i] = v_fold(a[i]);
    for (int i = 1; i < 8; i++) best = sums[i] < sums[best] ? i : best;
    return best;
}

/* n / amax and amax / n for n = 127 - j, j = 0..7. */
static inline void candidates_8(float id[8], float d[8], float amax) {
    const float32x4_t first = {127, 126, 125, 124}, second = {123, 122, 121, 120};
    float32x4_t a = vdupq_n_f32(amax);
    vst1q_f32(id, vdivq_f32(first, a));
    vst1q_f32(id + 4, vdivq_f32(second, a));
    vst1q_f32(d, vdivq_f32(a, first));
    vst1q_f32(d + 4, vdivq_f32(a, second));
}

/* ---- conversions of 16 elements ---- */

static inline float32x4_t f16_to_f32_4(uint16x4_t h) {
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}
static inline uint16x8_t load_u16x8(const void *x) { return vreinterpretq_u16_u8(vld1q_u8(x)); }

static inline v16 v_set1_f16(const void *x) {
    uint16_t h;
    memcpy(&h, x, sizeof(h));
    float32x4_t q = f16_to_f32_4(vdup_n_u16(h));
    return (v16){{q, q, q, q}};
}
static inline v16 v_load_f16(const void *x) {
    uint16x8_t a = load_u16x8(x), b = load_u16x8((const uint8_t *)x + 16);
    return (v16){{f16_to_f32_4(vget_low_u16(a)), f16_to_f32_4(vget_high_u16(a)),
                  f16_to_f32_4(vget_low_u16(b)), f16_to_f32_4(vget_high_u16(b))}};
}
static inline v16 v_load_f16_n(const void *x, size_t n) {
    uint16_t part[16] = {0};
    memcpy(part, x, 2 * n);
    return v_load_f16(part);
}
static inline float32x4_t bf16_to_f32_4(uint16x4_t h) {
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}
static inline v16 v_load_bf16(const void *x) {
    uint16x8_t a = load_u16x8(x), b = load_u16x8((const uint8_t *)x + 16);
    return (v16){{bf16_to_f32_4(vget_low_u16(a)), bf16_to_f32_4(vget_high_u16(a)),
                  bf16_to_f32_4(vget_low_u16(b)), bf16_to_f32_4(vget_high_u16(b))}};
}
static inline v16 v_load_bf16_n(const void *x, size_t n) {
    uint16_t part[16] = {0};
    memcpy(part, x, 2 * n);
    return v_load_bf16(part);
}
static inline v16 v_of_i8(int8x16_t b) {
    int16x8_t low = vmovl_s8(vget_low_s8(b)), high = vmovl_s8(vget_high_s8(b));
    return (v16){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                  vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                  vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                  vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
static inline v16 v_load_i8(const int8_t *x) { return v_of_i8(vld1q_s8(x)); }
typedef struct w16 {
    int32x4_t q[4];
} w16;
static inline w16 w_load(const void *x) {
    const uint8_t *at = x;
    w16 w;
    for (int i = 0; i < 4; i++) w.q[i] = vreinterpretq_s32_u8(vld1q_u8(at + 16 * i));
    return w;
}
static inline v16 w_nibble(w16 w, int i) {
    const int32x4_t up = vdupq_n_s32(28 - 4 * i);
    v16 v;
    for (int j = 0; j < 4; j++) v.q[j] = vcvtq_f32_s32(vshrq_n_s32(vshlq_s32(w.q[j], up), 28));
    return v;
}
static inline v16 nibbles_less_8(uint8x16_t b) {
    return v_of_i8(vsubq_s8(vreinterpretq_s8_u8(b), vdupq_n_s8(8)));
}
static inline void v_load_q4(const uint8_t *x, v16 d, v16 *low, v16 *high) {
    uint8x16_t b = vld1q_u8(x);
    *low = v_mul(d, nibbles_less_8(vandq_u8(b, vdupq_n_u8(15))));
    *high = v_mul(d, nibbles_less_8(vshrq_n_u8(b, 4)));
}
static inline int16x8_t whole_to_i16(float32x4_t a, float32x4_t b) {
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)), vqmovn_s32(vcvtnq_s32_f32(b)));
}
static inline int v_store_i8(int8_t *y, v16 v) {
    int8x16_t b = vcombine_s8(vqmovn_s16(whole_to_i16(v.q[0], v.q[1])),
                              vqmovn_s16(whole_to_i16(v.q[2], v.q[3])));
    vst1q_s8(y, b);
    return vaddlvq_s8(b);
}
static inline void v_store_f16(void *y, v16 v) {
    for (int i = 0; i < 4; i++)
        vst1_u8((uint8_t *)y + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(v.q[i])));
}
static inline uint16x4_t bf16_bits_4(float32x4_t v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), up, quiet), 16);
}
static inline void v_store_bf16(void *y, v16 v) {
    for (int i = 0; i < 4; i++)
        vst1_u8((uint8_t *)y + 8 * i, vreinterpret_u8_u16(bf16_bits_4(v.q[i])));
}

/* ---- registers ---- */

static inline hw hw_zero(void) { return vdupq_n_f32(0.0f); }
static inline hw hw_load(const float *x) { return vld1q_f32(x); }
static inline void hw_store(float *y, hw v) { vst1q_f32(y, v); }
static inline hw hw_fma(hw a, hw b, hw c) { return vfmaq_f32(c, a, b); }
static inline hw hw_load_f16(const void *x) {
    return f16_to_f32_4(vreinterpret_u16_u8(vld1_u8(x)));
}
static inline hw hw_first(hw pairs) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pairs), 16));
}
static inline hw hw_second(hw pairs) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pairs), vdupq_n_u32(0xffff0000u)));
}

/* ---- rotation of pairs ---- */

static inline void v_unzip(const float *x, v16 *even, v16 *odd) {
    for (int i = 0; i < 4; i++) {
        float32x4x2_t pair = vld2q_f32(x + 8 * i);
        even->q[i] = pair.val[0];
        odd->q[i] = pair.val[1];
    }
}
static inline void v_zip(float *y, v16 even, v16 odd) {
    for (int i = 0; i < 4; i++) vst2q_f32(y + 8 * i, (float32x4x2_t){{even.q[i], odd.q[i]}});
}

#endif
