/* kv_tile.c - the tiled K cache: 16 positions side by side, so that their scores fill a register.
 * SPDX-License-Identifier: Apache-2.0
 *
 * kernels.h has the layout: a row's elements are dealt out at the tile's stride.
 */
#include "compute/kernels.h"
#include "compute/quant.h"

#define GROUP_Q8 ((2 + 32) * SPN_KV_TILE)
#define GROUP_Q4 ((2 + 16) * SPN_KV_TILE)

static uint8_t *tile_of(const uint8_t *tiles, spn_type type, size_t at, size_t dim_k) {
    size_t tile_bytes;
    switch (type) {
    case SPN_TYPE_F32:
        tile_bytes = 4 * dim_k * SPN_KV_TILE;
        break;
    case SPN_TYPE_Q8_0:
        tile_bytes = dim_k / 32 * GROUP_Q8;
        break;
    case SPN_TYPE_Q4_0:
        tile_bytes = dim_k / 32 * GROUP_Q4;
        break;
    default:
        tile_bytes = 2 * dim_k * SPN_KV_TILE;
        break;
    }
    return (uint8_t *)(uintptr_t)tiles + at / SPN_KV_TILE * tile_bytes;
}

/* Elements between a row and slot i of a tile. */
static inline void deal(uint8_t *tile, size_t i, const uint8_t *row, size_t n, size_t bytes) {
    for (size_t e = 0; e < n; e++)
        memcpy(tile + (e * SPN_KV_TILE + i) * bytes, row + e * bytes, bytes);
}

static inline void gather(uint8_t *row, const uint8_t *tile, size_t i, size_t n, size_t bytes) {
    for (size_t e = 0; e < n; e++)
        memcpy(row + e * bytes, tile + (e * SPN_KV_TILE + i) * bytes, bytes);
}

/* Nibbles of 8 bytes, which have nothing above them, side by side; and back. */
static uint32_t close_nibbles(uint64_t x) {
    x = (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (uint32_t)(x | x >> 16);
}

static uint64_t spread_nibbles(uint64_t x) {
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    return (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
}

/* A block's 16 bytes, of which the high nibbles are elements 16 to 31, to the tile's words of 8
 * elements; and back. Less 8 as four bits with a sign is the highest bit turned over. */
static void words_of_q4(uint32_t words[4], const uint8_t qs[16]) {
    for (size_t i = 0; i < 2; i++) {
        uint64_t x;
        memcpy(&x, qs + 8 * i, 8);
        words[i] = close_nibbles(x & 0x0f0f0f0f0f0f0f0f) ^ 0x88888888;
        words[2 + i] = close_nibbles(x >> 4 & 0x0f0f0f0f0f0f0f0f) ^ 0x88888888;
    }
}

static void q4_of_words(uint8_t qs[16], const uint32_t words[4]) {
    for (size_t i = 0; i < 2; i++) {
        uint64_t x =
            spread_nibbles(words[i] ^ 0x88888888) | spread_nibbles(words[2 + i] ^ 0x88888888) << 4;
        memcpy(qs + 8 * i, &x, 8);
    }
}

void spn_k_tile_store(uint8_t *tiles, spn_type type, size_t at, const void *row, size_t dim_k) {
    uint8_t *tile = tile_of(tiles, type, at, dim_k);
    size_t i = at % SPN_KV_TILE, n_groups = dim_k / 32;
    const spn_block_q8_0 *q8 = row;
    const spn_block_q4_0 *q4 = row;
    uint32_t words[4];
    switch (type) {
    case SPN_TYPE_F32:
        deal(tile, i, row, dim_k, 4);
        break;
    case SPN_TYPE_Q8_0:
        for (size_t g = 0; g < n_groups; g++, tile += GROUP_Q8) {
            memcpy(tile + 2 * i, &q8[g].d, 2);
            deal(tile + 2 * SPN_KV_TILE, i, (const uint8_t *)q8[g].qs, 32, 1);
        }
        break;
    case SPN_TYPE_Q4_0:
        for (size_t g = 0; g < n_groups; g++, tile += GROUP_Q4) {
            memcpy(tile + 2 * i, &q4[g].d, 2);
            words_of_q4(words, q4[g].qs);
            deal(tile + 2 * SPN_KV_TILE, i, (const uint8_t *)words, 4, 4);
        }
        break;
    default:
        deal(tile, i, row, dim_k, 2);
        break;
    }
}

void spn_k_tile_load(float *x, const uint8_t *tiles, spn_type type, size_t at, size_t dim_k) {
    const uint8_t *tile = tile_of(tiles, type, at, dim_k);
    size_t i = at % SPN_KV_TILE, n_groups = dim_k / 32;
    uint16_t half;
    spn_block_q8_0 q8;
    spn_block_q4_0 q4;
    uint32_t words[4];
    switch (type) {
    case SPN_TYPE_F32:
        gather((uint8_t *)x, tile, i, dim_k, 4);
        break;
    case SPN_TYPE_Q8_0:
        for (size_t g = 0; g < n_groups; g++, tile += GROUP_Q8) {
            memcpy(&q8.d, tile + 2 * i, 2);
            gather((uint8_t *)q8.qs, tile + 2 * SPN_KV_TILE, i, 32, 1);
            spn_row_to_f32(type, x + 32 * g, &q8, 32);
        }
        break;
    case SPN_TYPE_Q4_0:
        for (size_t g = 0; g < n_groups; g++, tile += GROUP_Q4) {
            memcpy(&q4.d, tile + 2 * i, 2);
            gather((uint8_t *)words, tile + 2 * SPN_KV_TILE, i, 4, 4);
            q4_of_words(q4.qs, words);
            spn_row_to_f32(type, x + 32 * g, &q4, 32);
        }
        break;
    default:
        for (size_t e = 0; e < dim_k; e++) {
            memcpy(&half, tile + (e * SPN_KV_TILE + i) * 2, 2);
            x[e] = type == SPN_TYPE_F16 ? spn_f32_of_f16(half) : spn_f32_of_bf16(half);
        }
    }
}
