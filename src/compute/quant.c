/* quant.c - decoding of every block type, and rounding of a KV cache's rows.
 * SPDX-License-Identifier: Apache-2.0
 *
 * (The types with grids are in quant_iq.c.) One decoder a type fills an spn_quant_unit with 32
 * elements; rows to f32, the reference product and unpacked panels all stand on it, so a format is
 * read in one place only. Layouts and formulas are in quant.h.
 */
#include "compute/quant.h"

#include <math.h>

#include "compute/kernels.h"
#include "compute/quant_iq.h"

const int8_t spn_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
const int8_t spn_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Element i of 32 whose low 16 are low nibbles and whose high 16 are high nibbles of qs. */
static int nibble_at(const uint8_t *qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }

static int bit_at(const uint8_t *bits, int i) { return bits[i >> 3] >> (i & 7) & 1; }

static void unit_scale(spn_quant_unit *unit, float d) {
    unit->d = d;
    unit->n = 0.0f;
    unit->m[0] = unit->m[1] = 0;
}

static void unit_scale_min(spn_quant_unit *unit, float d, float n, int m0, int m1) {
    unit->d = d;
    unit->n = n;
    unit->m[0] = (int16_t)m0;
    unit->m[1] = (int16_t)m1;
}

static void decode_q4_0(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q4_0 *block = (const spn_block_q4_0 *)row + b;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++) unit->s[i] = (int16_t)(nibble_at(block->qs, i) - 8);
}

static void decode_q4_1(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q4_1 *block = (const spn_block_q4_1 *)row + b;
    unit_scale_min(unit, spn_f32_of_f16(block->d), spn_f32_of_f16(block->m), 1, 1);
    for (int i = 0; i < 32; i++) unit->s[i] = (int16_t)nibble_at(block->qs, i);
}

static void decode_q5_0(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q5_0 *block = (const spn_block_q5_0 *)row + b;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++)
        unit->s[i] = (int16_t)((nibble_at(block->qs, i) | bit_at(block->qh, i) << 4) - 16);
}

static void decode_q5_1(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q5_1 *block = (const spn_block_q5_1 *)row + b;
    unit_scale_min(unit, spn_f32_of_f16(block->d), spn_f32_of_f16(block->m), 1, 1);
    for (int i = 0; i < 32; i++)
        unit->s[i] = (int16_t)(nibble_at(block->qs, i) | bit_at(block->qh, i) << 4);
}

static void decode_q8_0(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q8_0 *block = (const spn_block_q8_0 *)row + b;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++) unit->s[i] = block->qs[i];
}

static void decode_q2_k(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q2_k *block = (const spn_block_q2_k *)row + b / 8;
    b %= 8;
    const uint8_t *qs = block->qs + 32 * (b / 4), *sc = block->scales + 2 * b;
    unit_scale_min(unit, spn_f32_of_f16(block->d), -spn_f32_of_f16(block->dmin), sc[0] >> 4,
                   sc[1] >> 4);
    for (int i = 0; i < 32; i++)
        unit->s[i] = (int16_t)((sc[i / 16] & 15) * (qs[i] >> 2 * (b % 4) & 3));
}

static int scale_q3_k(const uint8_t *scales, size_t s) {
    int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
    int high = scales[8 + s % 4] >> 2 * (s / 4) & 3;
    return (low | high << 4) - 32;
}

static void decode_q3_k(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q3_k *block = (const spn_block_q3_k *)row + b / 8;
    b %= 8;
    const uint8_t *qs = block->qs + 32 * (b / 4);
    int sc[2] = {scale_q3_k(block->scales, 2 * b), scale_q3_k(block->scales, 2 * b + 1)};
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++) {
        int q = (qs[i] >> 2 * (b % 4) & 3) | (block->hmask[i] >> b & 1) << 2;
        unit->s[i] = (int16_t)(sc[i / 16] * (q - 4));
    }
}

static void decode_q4_k(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q4_k *block = (const spn_block_q4_k *)row + b / 8;
    uint8_t sc, m;
    b %= 8;
    spn_scale_min_k4(block->scales, b, &sc, &m);
    const uint8_t *qs = block->qs + 32 * (b / 2);
    unit_scale_min(unit, spn_f32_of_f16(block->d), -spn_f32_of_f16(block->dmin), m, m);
    for (int i = 0; i < 32; i++) unit->s[i] = (int16_t)(sc * (qs[i] >> 4 * (b % 2) & 15));
}

static void decode_q5_k(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q5_k *block = (const spn_block_q5_k *)row + b / 8;
    uint8_t sc, m;
    b %= 8;
    spn_scale_min_k4(block->scales, b, &sc, &m);
    const uint8_t *qs = block->qs + 32 * (b / 2);
    unit_scale_min(unit, spn_f32_of_f16(block->d), -spn_f32_of_f16(block->dmin), m, m);
    for (int i = 0; i < 32; i++)
        unit->s[i] = (int16_t)(sc * ((qs[i] >> 4 * (b % 2) & 15) | (block->qh[i] >> b & 1) << 4));
}

static void decode_q6_k(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_q6_k *block = (const spn_block_q6_k *)row + b / 8;
    b %= 8;
    size_t h = b / 4, j = b % 4;
    const uint8_t *ql = block->ql + 64 * h + 32 * (j & 1), *qh = block->qh + 32 * h;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++) {
        int q = (ql[i] >> 4 * (j >> 1) & 15) | (qh[i] >> 2 * j & 3) << 4;
        unit->s[i] = (int16_t)(block->scales[2 * b + (size_t)i / 16] * (q - 32));
    }
}

static void decode_iq4_nl(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq4_nl *block = (const spn_block_iq4_nl *)row + b;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++) unit->s[i] = spn_iq4_values[nibble_at(block->qs, i)];
}

static void decode_iq4_xs(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq4_xs *block = (const spn_block_iq4_xs *)row + b / 8;
    b %= 8;
    int ls = (block->scales_l[b / 2] >> 4 * (b % 2) & 15) | (block->scales_h >> 2 * b & 3) << 4;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++)
        unit->s[i] = (int16_t)((ls - 32) * spn_iq4_values[nibble_at(block->qs + 16 * b, i)]);
}

static void decode_mxfp4(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_mxfp4 *block = (const spn_block_mxfp4 *)row + b;
    /* 2^(e - 128): the exponent e - 1 where that is normal, a subnormal below. */
    uint32_t bits = block->e < 2 ? 0x200000u << block->e : (uint32_t)(block->e - 1) << 23;
    unit_scale(unit, spn_f32_of_bits(bits));
    for (int i = 0; i < 32; i++) unit->s[i] = spn_mxfp4_values[nibble_at(block->qs, i)];
}

/* Number n of base 3 in a byte that holds them as a fraction. */
static int ternary(uint8_t byte, size_t n) {
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    return (uint8_t)(byte * powers[n]) * 3 >> 8;
}

static void decode_tq1_0(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_tq1_0 *block = (const spn_block_tq1_0 *)row + b / 8;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (size_t i = 0; i < 32; i++) {
        size_t e = 32 * (b % 8) + i;
        int q = e < 160   ? ternary(block->qs[e % 32], e / 32)
                : e < 240 ? ternary(block->qs[32 + e % 16], (e - 160) / 16)
                          : ternary(block->qh[e % 4], (e - 240) / 4);
        unit->s[i] = (int16_t)(q - 1);
    }
}

static void decode_tq2_0(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_tq2_0 *block = (const spn_block_tq2_0 *)row + b / 8;
    b %= 8;
    const uint8_t *qs = block->qs + 32 * (b / 4);
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (int i = 0; i < 32; i++) unit->s[i] = (int16_t)((qs[i] >> 2 * (b % 4) & 3) - 1);
}

static const struct {
    spn_quant_decode_fn decode;
    bool has_min;
} formats[SPN_TYPE_LIMIT] = {
    [SPN_TYPE_Q4_0] = {decode_q4_0, false},
    [SPN_TYPE_Q4_1] = {decode_q4_1, true},
    [SPN_TYPE_Q5_0] = {decode_q5_0, false},
    [SPN_TYPE_Q5_1] = {decode_q5_1, true},
    [SPN_TYPE_Q8_0] = {decode_q8_0, false},
    [SPN_TYPE_Q2_K] = {decode_q2_k, true},
    [SPN_TYPE_Q3_K] = {decode_q3_k, false},
    [SPN_TYPE_Q4_K] = {decode_q4_k, true},
    [SPN_TYPE_Q5_K] = {decode_q5_k, true},
    [SPN_TYPE_Q6_K] = {decode_q6_k, false},
    [SPN_TYPE_IQ4_NL] = {decode_iq4_nl, false},
    [SPN_TYPE_IQ4_XS] = {decode_iq4_xs, false},
    [SPN_TYPE_MXFP4] = {decode_mxfp4, false},
    [SPN_TYPE_IQ2_XXS] = {spn_decode_iq2_xxs, false},
    [SPN_TYPE_IQ2_XS] = {spn_decode_iq2_xs, false},
    [SPN_TYPE_IQ2_S] = {spn_decode_iq2_s, false},
    [SPN_TYPE_IQ3_XXS] = {spn_decode_iq3_xxs, false},
    [SPN_TYPE_IQ3_S] = {spn_decode_iq3_s, false},
    [SPN_TYPE_IQ1_S] = {spn_decode_iq1_s, false},
    [SPN_TYPE_IQ1_M] = {spn_decode_iq1_m, false},
    [SPN_TYPE_TQ1_0] = {decode_tq1_0, false},
    [SPN_TYPE_TQ2_0] = {decode_tq2_0, false},
};

spn_quant_decode_fn spn_quant_decoder(spn_type type) {
    return (unsigned)type < SPN_TYPE_LIMIT ? formats[type].decode : NULL;
}

bool spn_quant_has_min(spn_type type) {
    return (unsigned)type < SPN_TYPE_LIMIT && formats[type].has_min;
}

bool spn_quant_has_groups(spn_type type) {
    return spn_quant_decoder(type) != NULL && spn_type_traits_of(type)->block_len == SPN_QUANT_K;
}

unsigned spn_act_form_of(spn_type type) {
    if (type == SPN_TYPE_BF16) return SPN_ACT_FORM_BF16;
    if (spn_quant_decoder(type) == NULL) return 0;
    return spn_quant_has_groups(type) ? SPN_ACT_FORM_GROUPS : SPN_ACT_FORM_BLOCKS;
}

/* ---- rows to f32 ---- */

static void quant_to_f32(spn_type type, float *y, const uint8_t *row, size_t k) {
    spn_quant_decode_fn decode = formats[type].decode;
    bool has_min = formats[type].has_min;
    for (size_t b = 0; b < k / 32; b++) {
        spn_quant_unit unit;
        decode(&unit, row, b);
        for (size_t i = 0; i < 32; i++) {
            float w = unit.d * (float)unit.s[i];
            y[32 * b + i] = has_min ? w + unit.n * (float)unit.m[i / 16] : w;
        }
    }
}

void spn_row_to_f32(spn_type type, float *y, const void *row, size_t k) {
    const uint8_t *bytes = row;
    uint16_t half;
    switch (type) {
    case SPN_TYPE_F32:
        memcpy(y, row, k * sizeof(*y));
        break;
    case SPN_TYPE_F16:
        for (size_t i = 0; i < k; i++) {
            memcpy(&half, bytes + 2 * i, 2);
            y[i] = spn_f32_of_f16(half);
        }
        break;
    case SPN_TYPE_BF16:
        for (size_t i = 0; i < k; i++) {
            memcpy(&half, bytes + 2 * i, 2);
            y[i] = spn_f32_of_bf16(half);
        }
        break;
    default:
        quant_to_f32(type, y, bytes, k);
        break;
    }
}

/* ---- rows from f32 ---- */

/* The greatest magnitude of 32, NaN where one of them is, and the first element that has it. */
static float block_amax(const float *x, float *with_sign) {
    float amax = 0.0f;
    bool nan = false;
    *with_sign = 0.0f;
    for (size_t i = 0; i < 32; i++) {
        if (x[i] != x[i]) nan = true;
        if (fabsf(x[i]) > amax) {
            amax = fabsf(x[i]);
            *with_sign = x[i];
        }
    }
    return nan ? NAN : amax;
}

/* Adding 1.5 * 2^23 leaves no bits for a fraction: rounds |x| < 2^22 to nearest even. */
static float round_even(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

/* A block with a value that is not finite gets the scale NaN, so that the fault shows; one too
 * small for 1 / d to be finite gets 0, which its f16 scale rounds to anyway. */
static bool block_is_plain(float amax, float d, uint16_t *d_out) {
    bool finite = amax <= 0x1.fffffep127f;
    if (finite && d != 0.0f && fabsf(1.0f / d) <= 0x1.fffffep127f) return true;
    *d_out = finite ? 0 : 0x7e00;
    return false;
}

static void block_from_f32_q8_0(spn_block_q8_0 *block, const float *x) {
    float signed_max, amax = block_amax(x, &signed_max), d = amax / 127.0f;
    uint16_t d_bits = spn_f16_of_f32(d);
    if (!block_is_plain(amax, d, &d_bits)) {
        memset(block->qs, 0, sizeof(block->qs));
    } else {
        float id = 1.0f / d;
        for (size_t i = 0; i < 32; i++) block->qs[i] = (int8_t)round_even(x[i] * id);
    }
    block->d = d_bits;
}

static void block_from_f32_q4_0(spn_block_q4_0 *block, const float *x) {
    float signed_max, amax = block_amax(x, &signed_max), d = signed_max / -8.0f;
    uint16_t d_bits = spn_f16_of_f32(d);
    if (!block_is_plain(amax, d, &d_bits)) {
        memset(block->qs, 0x88, sizeof(block->qs));
    } else {
        float id = 1.0f / d;
        for (size_t i = 0; i < 16; i++) {
            int low = (int)(x[i] * id + 8.5f), high = (int)(x[i + 16] * id + 8.5f);
            block->qs[i] = (uint8_t)((low < 15 ? low : 15) | (high < 15 ? high : 15) << 4);
        }
    }
    block->d = d_bits;
}

void spn_row_from_f32(spn_type type, void *row, const float *x, size_t k) {
    uint8_t *bytes = row;
    uint16_t half;
    switch (type) {
    case SPN_TYPE_F16:
        for (size_t i = 0; i < k; i++) {
            half = spn_f16_of_f32(x[i]);
            memcpy(bytes + 2 * i, &half, 2);
        }
        break;
    case SPN_TYPE_BF16:
        for (size_t i = 0; i < k; i++) {
            half = spn_bf16_of_f32(x[i]);
            memcpy(bytes + 2 * i, &half, 2);
        }
        break;
    case SPN_TYPE_Q8_0:
        for (size_t b = 0; b < k / 32; b++)
            block_from_f32_q8_0((spn_block_q8_0 *)row + b, x + 32 * b);
        break;
    case SPN_TYPE_Q4_0:
        for (size_t b = 0; b < k / 32; b++)
            block_from_f32_q4_0((spn_block_q4_0 *)row + b, x + 32 * b);
        break;
    default:
        memcpy(row, x, k * sizeof(*x));
        break; /* F32 */
    }
}
