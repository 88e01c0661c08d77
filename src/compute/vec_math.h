/* vec_math.h - exp, tanh and the activations, operation by operation.
 * SPDX-License-Identifier: Apache-2.0
 *
 * These scalars define what every level computes: each step is one IEEE operation (fmaf is fused),
 * without branches but selections, so that a vector of lanes does literally the same. Only the
 * choice of instructions may differ (a level may scale by 2^n in one instruction that rounds once).
 *
 * exp: n = round(x / ln 2), r = x - n ln 2 in two parts, e^r = 1 + r + r^2 q(r) with q of degree 4
 * fitted at Chebyshev nodes over |r| <= ln 2 / 2 (8e-9 of relative error), scaled by 2^n in two
 * halves, of which only the second can round, so subnormal results round once. Error below 1 ulp;
 * exp(x) = +0 from -104 down, exactly 0 for -inf, +inf above 88.73, NaN for NaN, 1 for 0.
 *
 * tanh: x + x^3 p(x^2) below 0.625, else 1 - 2 / (exp(2 |x|) + 1) with x's sign. Error below 2 ulp.
 *
 * gelu: 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3) is x / (1 + exp(-2 u)).
 */
#ifndef SPN_VEC_MATH_H
#define SPN_VEC_MATH_H

#include <math.h>
#include <stdint.h>

#include "compute/quant.h"

/* LANES_NAME(f) is f_<level>: the *_lanes.h files make each level's functions, and lanes_*.h tell
 * which level it is. */
#define LANES_NAME2(name, level) name##_##level
#define LANES_NAME1(name, level) LANES_NAME2(name, level)
#define LANES_NAME(name) LANES_NAME1(name, LANES_LEVEL)

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Before a loop of a constant count whose sums must become registers. */
#if defined(__clang__)
#define SPN_UNROLL(n) _Pragma("unroll")
#elif !defined(__OPTIMIZE__) /* gcc -O0 warns that it ignores it */
#define SPN_UNROLL(n)
#else
#define SPN_PRAGMA(text) _Pragma(#text)
#define SPN_UNROLL(n) SPN_PRAGMA(GCC unroll n)
#endif

#define SPN_EXP_LOW (-104.0f)
#define SPN_EXP_HIGH 89.0f
#define SPN_EXP_LOG2E 0x1.715476p+0f
#define SPN_EXP_MAGIC 0x1.8p23f /* adding it rounds to an integer, found in the low bits */
#define SPN_EXP_MAGIC_BITS 0x4b400000u
#define SPN_EXP_LN2_HIGH 0x1.62e430p-1f
#define SPN_EXP_LN2_LOW (-0x1.05c610p-29f)
#define SPN_EXP_C6 0.0013926926614f
#define SPN_EXP_C5 0.00836377387441f
#define SPN_EXP_C4 0.0416665501103f
#define SPN_EXP_C3 0.166665733819f
#define SPN_EXP_C2 0.5f

#define SPN_TANH_SPLIT 0.625f
#define SPN_TANH_C11 (-0.00604516509593f)
#define SPN_TANH_C9 0.020961329108f
#define SPN_TANH_C7 (-0.0538432631751f)
#define SPN_TANH_C5 0.133327188456f
#define SPN_TANH_C3 (-0.333333284333f)

#define SPN_GELU_A 0x1.988454p+0f /* 2 sqrt(2 / pi) */
#define SPN_GELU_B 0x1.2444f2p-4f /* 0.044715 times that */

/* 2^n for the exponents of normal numbers. */
static inline float spn_vm_pow2(uint32_t n) { return spn_f32_of_bits((n + 127u) << 23); }

static inline float spn_vm_exp(float x) {
    x = SPN_EXP_HIGH < x ? SPN_EXP_HIGH : x; /* a NaN passes both */
    x = SPN_EXP_LOW > x ? SPN_EXP_LOW : x;
    float shifted = fmaf(x, SPN_EXP_LOG2E, SPN_EXP_MAGIC), n = shifted - SPN_EXP_MAGIC;
    float r = fmaf(n, -SPN_EXP_LN2_LOW, fmaf(n, -SPN_EXP_LN2_HIGH, x));
    float p = fmaf(SPN_EXP_C6, r, SPN_EXP_C5);
    p = fmaf(p, r, SPN_EXP_C4);
    p = fmaf(p, r, SPN_EXP_C3);
    p = fmaf(p, r, SPN_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    int32_t whole = (int32_t)(spn_bits_of_f32(shifted) - SPN_EXP_MAGIC_BITS), half = whole >> 1;
    uint32_t rest = (uint32_t)whole - (uint32_t)half;
    return p * spn_vm_pow2((uint32_t)half) * spn_vm_pow2(rest);
}

static inline float spn_vm_tanh(float x) {
    float size = fabsf(x), z = x * x;
    float p = fmaf(SPN_TANH_C11, z, SPN_TANH_C9);
    p = fmaf(p, z, SPN_TANH_C7);
    p = fmaf(p, z, SPN_TANH_C5);
    p = fmaf(p, z, SPN_TANH_C3);
    float low = fmaf(x * z, p, x);
    float high = 1.0f - 2.0f / (spn_vm_exp(size + size) + 1.0f);
    high = spn_f32_of_bits(spn_bits_of_f32(high) | (spn_bits_of_f32(x) & 0x80000000u));
    return size < SPN_TANH_SPLIT ? low : high; /* a NaN takes `high` */
}

static inline float spn_vm_sigmoid(float x) { return 1.0f / (1.0f + spn_vm_exp(-x)); }

static inline float spn_vm_silu(float x) { return x / (1.0f + spn_vm_exp(-x)); }

static inline float spn_vm_gelu(float x) {
    float u = x * fmaf(x * x, SPN_GELU_B, SPN_GELU_A);
    return x / (1.0f + spn_vm_exp(-u));
}

/* The greater of two, `a` where x is NaN. */
static inline float spn_vm_max(float a, float x) { return x > a ? x : a; }

/* Folds 16 lanes as contract (1) says. */
static inline float spn_lane_fold(float lane[16]) {
    for (int h = 8; h > 0; h /= 2)
        for (int j = 0; j < h; j++) lane[j] = lane[j] + lane[j + h];
    return lane[0];
}

#endif
