/* quant_iq.c - decoding of the types whose numbers come from grids (IQ1, IQ2, IQ3).
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layouts and formulas are in quant.h, the grids in iq_grids.c.
 */
#include "compute/quant_iq.h"

uint64_t spn_iq_entry_bytes(uint16_t entry, unsigned bits, const int8_t *values, int offset) {
    uint64_t bytes = 0;
    for (unsigned j = 0; j < (bits == 2 ? 8 : 4); j++) {
        uint8_t number = (uint8_t)(values[entry >> bits * j & ((1u << bits) - 1)] + offset);
        bytes |= (uint64_t)number << 8 * j;
    }
    return bytes;
}

static void unit_scale(spn_quant_unit *unit, float d) {
    unit->d = d;
    unit->n = 0.0f;
    unit->m[0] = unit->m[1] = 0;
}

/* The sign table of 7 bits: the eighth makes the number of minus signs even. */
static unsigned signs_of_7(unsigned bits) {
    bits &= 127;
    return bits | (unsigned)(__builtin_popcount(bits) & 1) << 7;
}

static int16_t signed_by(unsigned signs, int j, int value) {
    return (int16_t)(signs >> j & 1 ? -value : value);
}

/* 8 numbers of an IQ2 grid's entry. */
static void put_iq2(int16_t *s, uint16_t entry, unsigned signs, int factor) {
    static const int8_t values[4] = {8, 25, 43, 0};
    for (int j = 0; j < 8; j++) s[j] = signed_by(signs, j, values[entry >> 2 * j & 3] * factor);
}

/* 4 numbers of an IQ3 grid's entry, number 0 having sign `first`. */
static void put_iq3(int16_t *s, uint16_t entry, const int8_t *values, unsigned signs, int first,
                    int factor) {
    for (int j = 0; j < 4; j++)
        s[j] = signed_by(signs, first + j, values[entry >> 3 * j & 7] * factor);
}

/* 8 numbers of the IQ1 grid's entry, eightfold and shifted by delta. */
static void put_iq1(int16_t *s, uint16_t entry, int delta, int factor) {
    for (int j = 0; j < 8; j++) s[j] = (int16_t)((8 * ((entry >> 2 * j & 3) - 1) + delta) * factor);
}

void spn_decode_iq2_xxs(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq2_xxs *block = (const spn_block_iq2_xxs *)row + b / 8;
    const uint8_t *qs = block->qs + 8 * (b % 8);
    uint32_t aux = spn_load_u32(qs + 4);
    int factor = (int)(2 * (aux >> 28) + 1);
    unit_scale(unit, spn_f32_of_f16(block->d) * 0.125f);
    for (int l = 0; l < 4; l++)
        put_iq2(unit->s + 8 * l, spn_iq2_xxs_grid[qs[l]], signs_of_7(aux >> 7 * l), factor);
}

void spn_decode_iq2_xs(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq2_xs *block = (const spn_block_iq2_xs *)row + b / 8;
    b %= 8;
    unit_scale(unit, spn_f32_of_f16(block->d) * 0.125f);
    for (size_t l = 0; l < 4; l++) {
        unsigned q = block->qs[4 * b + l];
        int ls = block->scales[b] >> 4 * (l / 2) & 15;
        put_iq2(unit->s + 8 * l, spn_iq2_xs_grid[q & 511], signs_of_7(q >> 9), 2 * ls + 1);
    }
}

void spn_decode_iq2_s(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq2_s *block = (const spn_block_iq2_s *)row + b / 8;
    b %= 8;
    unit_scale(unit, spn_f32_of_f16(block->d) * 0.125f);
    for (size_t l = 0; l < 4; l++) {
        unsigned index = block->qs[4 * b + l] | (block->qh[b] >> 2 * l & 3u) << 8;
        int ls = block->scales[b] >> 4 * (l / 2) & 15;
        put_iq2(unit->s + 8 * l, spn_iq2_s_grid[index], block->signs[4 * b + l], 2 * ls + 1);
    }
}

void spn_decode_iq3_xxs(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    static const int8_t values[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    const spn_block_iq3_xxs *block = (const spn_block_iq3_xxs *)row + b / 8;
    const uint8_t *qs = block->qs + 8 * (b % 8);
    uint32_t aux = spn_load_u32(block->aux + 4 * (b % 8));
    int factor = (int)(2 * (aux >> 28) + 1);
    unit_scale(unit, spn_f32_of_f16(block->d) * 0.25f);
    for (int i = 0; i < 8; i++)
        put_iq3(unit->s + 4 * i, spn_iq3_xxs_grid[qs[i]], values, signs_of_7(aux >> 7 * (i / 2)),
                4 * (i % 2), factor);
}

void spn_decode_iq3_s(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    static const int8_t values[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    const spn_block_iq3_s *block = (const spn_block_iq3_s *)row + b / 8;
    b %= 8;
    int factor = 2 * (block->scales[b / 2] >> 4 * (b % 2) & 15) + 1;
    unit_scale(unit, spn_f32_of_f16(block->d));
    for (size_t i = 0; i < 8; i++) {
        unsigned index = block->qs[8 * b + i] | (block->qh[b] >> i & 1u) << 8;
        put_iq3(unit->s + 4 * i, spn_iq3_s_grid[index], values, block->signs[4 * b + i / 2],
                4 * (int)(i % 2), factor);
    }
}

void spn_decode_iq1_s(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq1_s *block = (const spn_block_iq1_s *)row + b / 8;
    b %= 8;
    unsigned qh = block->qh[b];
    unit_scale(unit, spn_f32_of_f16(block->d) * 0.125f);
    for (size_t l = 0; l < 4; l++) {
        unsigned index = block->qs[4 * b + l] | (qh >> 3 * l & 7) << 8;
        put_iq1(unit->s + 8 * l, spn_iq1_s_grid[index], qh & 0x8000 ? -1 : 1,
                (int)(2 * (qh >> 12 & 7) + 1));
    }
}

void spn_decode_iq1_m(spn_quant_unit *unit, const uint8_t *row, size_t b) {
    const spn_block_iq1_m *block = (const spn_block_iq1_m *)row + b / 8;
    b %= 8;
    unsigned d = 0;
    for (unsigned w = 0; w < 4; w++) d |= (unsigned)(block->scales[w] >> 12) << 4 * w;
    unit_scale(unit, spn_f32_of_f16((uint16_t)d) * 0.125f);
    for (size_t l = 0; l < 4; l++) {
        unsigned high = block->qh[2 * b + l / 2] >> 4 * (l % 2) & 15;
        unsigned index = block->qs[4 * b + l] | (high & 7) << 8;
        int ls = block->scales[b / 2] >> (6 * (b % 2) + 3 * (l / 2)) & 7;
        put_iq1(unit->s + 8 * l, spn_iq1_s_grid[index], high & 8 ? -1 : 1, 2 * ls + 1);
    }
}
