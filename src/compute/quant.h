/* quant.h - the blocks of the quantised tensor types, as they lie in a GGUF file.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each block has its picture, the formula that gives element i, and a static_assert of its size.
 * The S, M, D, N of a type are what contract (3) of kernels.h multiplies, with activations p_i
 * (int8) and all sums over the elements of a block of 32 (types with such blocks) or of a group of
 * 128 (the others):
 *
 *   type     S                              D              M                    N
 *   Q4_0     sum (q - 8) p                  d
 *   Q4_1     sum q p                        d              sum p                m
 *   Q5_0     sum (q - 16) p                 d
 *   Q5_1     sum q p                        d              sum p                m
 *   Q8_0     sum q p                        d
 *   IQ4_NL   sum kvalues[q] p               d
 *   MXFP4    sum values[q] p                2^(e - 128)
 *   Q2_K     sum (sc & 15) q p              d              sum (sc >> 4) p      -dmin
 *   Q3_K     sum sc (q - 4) p               d
 *   Q4_K     sum sc q p                     d              sum m p              -dmin
 *   Q5_K     sum sc q p                     d              sum m p              -dmin
 *   Q6_K     sum sc (q - 32) p              d
 *   IQ4_XS   sum (ls - 32) kvalues[q] p     d
 *   IQ2_XXS  sum (2 ls + 1) g p             d / 8
 *   IQ2_XS   sum (2 ls + 1) g p             d / 8
 *   IQ2_S    sum (2 ls + 1) g p             d / 8
 *   IQ3_XXS  sum (2 ls + 1) g p             d / 4
 *   IQ3_S    sum (2 ls + 1) g p             d
 *   IQ1_S    sum (2 ls + 1) (8 g + delta) p d / 8
 *   IQ1_M    sum (2 ls + 1) (8 g + delta) p d / 8
 *   TQ1_0    sum (q - 1) p                  d
 *   TQ2_0    sum (q - 1) p                  d
 *
 * d, dmin and the m of blocks of 32 are f16 numbers converted to f32; sc, ls and the m of
 * super-blocks are small integers, taken for each element's own sub-block of 32 or 16; g is a
 * grid's number with its sign, delta is 1 or -1. Products of a f16 and a small integer are exact in
 * f32.
 *
 * So every type says the same thing of its elements: w_i = D * s_i + N * m_i with small integers
 * s_i and m_i, both products exact. spn_quant_unit holds 32 of them, and spn_quant_decoder gives
 * the function that fills one: dequantising, the reference product and panels of unpacked weights
 * are all written on it.
 *
 * The structs have no alignment (a row may begin anywhere) and are little-endian, as the machines
 * are that this library runs on. Pictures show bytes from left to right.
 */
#ifndef SPN_QUANT_H
#define SPN_QUANT_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "gguf/gguf.h"

#define SPN_QUANT_K 256 /* elements of a super-block of the K and most IQ types */

#define SPN_BLOCK struct __attribute__((packed))

/* | d f16 | qs 16 |   element i: d * (nibble - 8); the low nibble of qs[i] is element i, its high
 * nibble element i + 16. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[16];
}
spn_block_q4_0;
static_assert(sizeof(spn_block_q4_0) == 18, "Q4_0");

/* | d f16 | m f16 | qs 16 |   d * nibble + m; nibbles as in Q4_0. */
typedef SPN_BLOCK {
    uint16_t d, m;
    uint8_t qs[16];
}
spn_block_q4_1;
static_assert(sizeof(spn_block_q4_1) == 20, "Q4_1");

/* | d f16 | qh 4 | qs 16 |   d * (q - 16); q's low 4 bits as in Q4_0, its fifth bit is bit i of qh.
 */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
}
spn_block_q5_0;
static_assert(sizeof(spn_block_q5_0) == 22, "Q5_0");

/* | d f16 | m f16 | qh 4 | qs 16 |   d * q + m; q as in Q5_0. */
typedef SPN_BLOCK {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
}
spn_block_q5_1;
static_assert(sizeof(spn_block_q5_1) == 24, "Q5_1");

/* | d f16 | qs 32 |   d * qs[i]. */
typedef SPN_BLOCK {
    uint16_t d;
    int8_t qs[32];
}
spn_block_q8_0;
static_assert(sizeof(spn_block_q8_0) == 34, "Q8_0");

/* | scales 16 | qs 64 | d f16 | dmin f16 |   d * (sc & 15) * q - dmin * (sc >> 4), sc =
 * scales[i / 16]. The block b = i / 32 of 32 elements takes bits 2 (b % 4) and up of the bytes
 * qs[32 (b / 4) + i % 32]. */
typedef SPN_BLOCK {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
}
spn_block_q2_k;
static_assert(sizeof(spn_block_q2_k) == 84, "Q2_K");

/* | hmask 32 | qs 64 | scales 12 | d f16 |   d * sc * (q - 4): q's low 2 bits as in Q2_K, its third
 * is bit b of hmask[i % 32]. sc of sub-block s = i / 16 has 6 bits less 32: the low four in the low
 * (s < 8) or high nibble of scales[s % 8], the high two in bits 2 (s / 4) and up of
 * scales[8 + s % 4]. */
typedef SPN_BLOCK {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
}
spn_block_q3_k;
static_assert(sizeof(spn_block_q3_k) == 110, "Q3_K");

/* | d f16 | dmin f16 | scales 12 | qs 128 |   d * sc * q - dmin * m for block b = i / 32: nibbles
 * of qs[32 (b / 2) + i % 32], low ones for even b. sc and m have 6 bits:
 *   b < 4:  sc = scales[b] & 63            m = scales[b + 4] & 63
 *   b >= 4: sc = scales[b + 4] & 15 | (scales[b - 4] >> 6) << 4
 *           m  = scales[b + 4] >> 4 | (scales[b] >> 6) << 4 */
typedef SPN_BLOCK {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
}
spn_block_q4_k;
static_assert(sizeof(spn_block_q4_k) == 144, "Q4_K");

/* | d f16 | dmin f16 | scales 12 | qh 32 | qs 128 |   as Q4_K, with bit b of qh[i % 32] as q's
 * fifth. */
typedef SPN_BLOCK {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
}
spn_block_q5_k;
static_assert(sizeof(spn_block_q5_k) == 176, "Q5_K");

/* | ql 128 | qh 64 | scales 16 (signed) | d f16 |   d * scales[i / 16] * (q - 32). Block b = i /
 * 32, half h = b / 4, j = b % 4, l = i % 32: q's low four bits are a nibble of ql[64 h + 32 (j & 1)
 * + l] (high for j >= 2), its high two bits 2 j and up of qh[32 h + l]. */
typedef SPN_BLOCK {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
}
spn_block_q6_k;
static_assert(sizeof(spn_block_q6_k) == 210, "Q6_K");

/* | d f16 | qs 16 |   d * spn_iq4_values[nibble]; nibbles as in Q4_0. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[16];
}
spn_block_iq4_nl;
static_assert(sizeof(spn_block_iq4_nl) == 18, "IQ4_NL");

/* | d f16 | scales_h u16 | scales_l 4 | qs 128 |   d * (ls - 32) * spn_iq4_values[nibble] for block
 * b: nibbles of qs[16 b ...] as in Q4_0; ls has its low four bits in a nibble of scales_l[b / 2]
 * (low for even b), its high two in bits 2 b and up of scales_h. */
typedef SPN_BLOCK {
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
}
spn_block_iq4_xs;
static_assert(sizeof(spn_block_iq4_xs) == 136, "IQ4_XS");

/* | e | qs 16 |   2^(e - 128) * spn_mxfp4_values[nibble] (twice an E2M1 number, hence 128 and not
 * 127); nibbles as in Q4_0. */
typedef SPN_BLOCK {
    uint8_t e;
    uint8_t qs[16];
}
spn_block_mxfp4;
static_assert(sizeof(spn_block_mxfp4) == 17, "MXFP4");

/* The IQ types below take their numbers from grids, rows of 8 (4 in IQ3) numbers. Block b = i / 32
 * has four groups of 8; group l = i / 8 % 4. A sign table's bit j negates number j of a group; a
 * sign of 7 bits has the parity of those as its eighth. */

/* | d f16 | qs 64 |   d * (2 ls + 1) / 8 * g: the 8 bytes of block b are four indices and a u32
 * with four signs of 7 bits and, on top, ls of 4 bits. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[64];
}
spn_block_iq2_xxs;
static_assert(sizeof(spn_block_iq2_xxs) == 66, "IQ2_XXS");

/* | d f16 | qs 32 u16 | scales 8 |   d * (2 ls + 1) / 8 * g: qs[4 b + l] is an index of 9 bits and
 * a sign of 7; ls is the low (l < 2) or high nibble of scales[b]. */
typedef SPN_BLOCK {
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8];
}
spn_block_iq2_xs;
static_assert(sizeof(spn_block_iq2_xs) == 74, "IQ2_XS");

/* | d f16 | qs 32 | signs 32 | qh 8 | scales 8 |   as IQ2_XS, with an index of 10 bits (the high
 * two at 2 l of qh[b]) and signs of 8. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
}
spn_block_iq2_s;
static_assert(sizeof(spn_block_iq2_s) == 82, "IQ2_S");

/* | d f16 | qs 64 | aux 8 u32 |   d * (2 ls + 1) / 4 * g: qs[8 b + 2 l] and the next index the two
 * halves of group l; aux[b] has signs and ls as in IQ2_XXS. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[64];
    uint8_t aux[32];
}
spn_block_iq3_xxs;
static_assert(sizeof(spn_block_iq3_xxs) == 98, "IQ3_XXS");

/* | d f16 | qs 64 | qh 8 | signs 32 | scales 4 |   d * (2 ls + 1) * g: indices as in IQ3_XXS with a
 * ninth bit, 2 l (and the next) of qh[b]; signs of 8 bits; ls a nibble of scales[b / 2]. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
}
spn_block_iq3_s;
static_assert(sizeof(spn_block_iq3_s) == 110, "IQ3_S");

/* | d f16 | qs 32 | qh 8 u16 |   d * (2 ls + 1) * (g + delta / 8): index of 11 bits (the high three
 * at 3 l of qh[b]), ls at bits 12-14 of qh[b], delta -1 where its top bit is set. */
typedef SPN_BLOCK {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
}
spn_block_iq1_s;
static_assert(sizeof(spn_block_iq1_s) == 50, "IQ1_S");

/* | qs 32 | qh 16 | scales 4 u16 |   as IQ1_S; a nibble of qh[2 b + l / 2] has the index's high
 * three bits and, on top, delta's sign; ls of sub-block s = i / 16 are 3 bits at 3 (s % 4) of
 * scales[s / 4], and the top nibbles of the four scales are d (the first one lowest). */
typedef SPN_BLOCK {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4];
}
spn_block_iq1_m;
static_assert(sizeof(spn_block_iq1_m) == 56, "IQ1_M");

/* | qs 48 | qh 4 | d f16 |   d * (q - 1): a byte holds five numbers of base 3 (four in qh), as the
 * fraction byte / 256: number n is the whole part of 3 (byte * 3^n mod 256) / 256. Elements 0-159
 * are numbers 0-4 of bytes 0-31, 160-239 those of bytes 32-47, 240-255 numbers 0-3 of qh. */
typedef SPN_BLOCK {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
}
spn_block_tq1_0;
static_assert(sizeof(spn_block_tq1_0) == 54, "TQ1_0");

/* | qs 64 | d f16 |   d * (q - 1): q has 2 bits, placed as in Q2_K. */
typedef SPN_BLOCK {
    uint8_t qs[64];
    uint16_t d;
}
spn_block_tq2_0;
static_assert(sizeof(spn_block_tq2_0) == 66, "TQ2_0");

/* iq_grids.c tells how entries are packed. */
extern const uint16_t spn_iq2_xxs_grid[256], spn_iq2_xs_grid[512], spn_iq2_s_grid[1024];
extern const uint16_t spn_iq3_xxs_grid[256], spn_iq3_s_grid[512], spn_iq1_s_grid[2048];
/* The numbers of an entry as bytes, the first one lowest: values[place] + offset. `bits` of a
 * place: 2, of eight numbers, or 3, of four. */
uint64_t spn_iq_entry_bytes(uint16_t entry, unsigned bits, const int8_t *values, int offset);

extern const int8_t spn_iq4_values[16];
extern const int8_t spn_mxfp4_values[16];

/* X(NAME): the types a product supports, the quantised ones among them, and those of a KV cache. */
// clang-format off
#define SPN_QUANT_TYPES(X) \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) \
    X(IQ4_XS) X(MXFP4) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) X(IQ1_S) X(IQ1_M) \
    X(TQ1_0) X(TQ2_0)
// clang-format on
#define SPN_FLOAT_TYPES(X) X(F32) X(F16) X(BF16)
#define SPN_ROW_TYPES(X) SPN_FLOAT_TYPES(X) SPN_QUANT_TYPES(X)
#define SPN_KV_TYPES(X) SPN_FLOAT_TYPES(X) X(Q8_0) X(Q4_0)

/* ---- numbers at any place in a row ---- */

static inline uint16_t spn_load_u16(const void *at) {
    uint16_t x;
    memcpy(&x, at, sizeof(x));
    return x;
}

static inline uint32_t spn_load_u32(const void *at) {
    uint32_t x;
    memcpy(&x, at, sizeof(x));
    return x;
}

/* ---- half precision, exact one way, round to nearest even the other ---- */

static inline float spn_f32_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline uint32_t spn_bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float spn_f32_of_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00u) return spn_f32_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x400u) return spn_f32_of_bits(sign | ((rest << 13) + ((127u - 15u) << 23)));
    float tiny = (float)rest * 0x1p-24f; /* a subnormal counts units of 2^-24 */
    return sign ? -tiny : tiny;
}

static inline uint16_t spn_f16_of_f32(float x) {
    uint32_t bits = spn_bits_of_f32(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (rest >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above */
    if (rest < 0x38800000u) { /* below 2^-14: adding 0.5 leaves units of 2^-24, rounded */
        float shifted = spn_f32_of_bits(rest) + 0.5f;
        return (uint16_t)(sign | (spn_bits_of_f32(shifted) - 0x3f000000u));
    }
    uint32_t odd = rest >> 13 & 1u;
    return (uint16_t)(sign | ((rest + 0xfffu + odd - ((127u - 15u) << 23)) >> 13));
}

static inline float spn_f32_of_bf16(uint16_t h) { return spn_f32_of_bits((uint32_t)h << 16); }

static inline uint16_t spn_bf16_of_f32(float x) {
    uint32_t bits = spn_bits_of_f32(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* ---- 32 elements of any quantised type ---- */

/* Element i is d * s[i] + n * m[i / 16]: both products are exact, their sum rounds once. */
typedef struct spn_quant_unit {
    float d, n;
    int16_t s[32]; /* |s| <= 4096 */
    int16_t m[2];  /* 0..63, of a type with a minimum */
} spn_quant_unit;

/* Decodes block b (of 32) of a row. quant.c has the plain types, quant_iq.c those with grids. */
typedef void (*spn_quant_decode_fn)(spn_quant_unit *unit, const uint8_t *row, size_t b);
/* NULL for a type that is not quantised. */
spn_quant_decode_fn spn_quant_decoder(spn_type type);
/* Whether the product has the type's second fma, over N and M. */
bool spn_quant_has_min(spn_type type);
/* Whether the type has super-blocks: products in groups of 128, D and N for 256 elements. */
bool spn_quant_has_groups(spn_type type);

/* The 6-bit scale and minimum of block b in Q4_K and Q5_K. */
static inline void spn_scale_min_k4(const uint8_t *scales, size_t b, uint8_t *sc, uint8_t *m) {
    if (b < 4) {
        *sc = scales[b] & 63;
        *m = scales[b + 4] & 63;
    } else {
        *sc = (uint8_t)((scales[b + 4] & 15) | (scales[b - 4] >> 6) << 4);
        *m = (uint8_t)((scales[b + 4] >> 4) | (scales[b] >> 6) << 4);
    }
}

/* ---- rows ---- */

/* What the table's to_f32 and from_f32 do at the reference level; from_f32 for F32 F16 BF16 Q8_0
 * Q4_0. Q8_0: d = amax / 127, q = rint(x * (1 / d)). Q4_0: d = x / -8 for the x of largest
 * magnitude (the first of equals), q = min(15, trunc(x * (1 / d) + 8.5)). Both round with the
 * unrounded d, store it as f16, and take 0 for 1 / d where d is 0; see quant.c on extremes. */
void spn_row_to_f32(spn_type type, float *y, const void *row, size_t k);
void spn_row_from_f32(spn_type type, void *row, const float *x, size_t k);

#endif
