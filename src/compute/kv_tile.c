/* kv_tile.c - the tiled K cache: 16 positions side by side, so that their scores fill a register.
 * SPDX-License-Identifier: Apache-2.0
 *
 * kernels.h has the layout. A row is rounded as rows of the type are, then its elements are dealt
 * out at the tile's stride.
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

/* Elements of 1 << shift bytes between a row and slot i of a tile. */
static void deal(uint8_t *tile, size_t i, const uint8_t *row, size_t n, size_t bytes) {
    for (size_t e = 0; e < n; e++)
        memcpy(tile + (e * SPN_KV_TILE + i) * bytes, row + e * bytes, bytes);
}

static void gather(uint8_t *row, const uint8_t *tile, size_t i, size_t n, size_t bytes) {
    for (size_t e = 0; e < n; e++)
        memcpy(row + e * bytes, tile + (e * SPN_KV_TILE + i) * bytes, bytes);
}

static void store_half(uint8_t *tile, spn_type type, size_t i, const float *x, size_t dim_k) {
    for (size_t e = 0; e < dim_k; e++) {
        uint16_t half = type == SPN_TYPE_F16 ? spn_f16_of_f32(x[e]) : spn_bf16_of_f32(x[e]);
        memcpy(tile + (e * SPN_KV_TILE + i) * 2, &half, 2);
    }
}

void spn_k_tile_store(uint8_t *tiles, spn_type type, size_t at, const float *x, size_t dim_k) {
    uint8_t *tile = tile_of(tiles, type, at, dim_k);
    size_t i = at % SPN_KV_TILE, n_groups = dim_k / 32;
    spn_block_q8_0 q8;
    spn_block_q4_0 q4;
    switch (type) {
    case SPN_TYPE_F32:
        deal(tile, i, (const uint8_t *)x, dim_k, 4);
        break;
    case SPN_TYPE_Q8_0:
        for (size_t g = 0; g < n_groups; g++, tile += GROUP_Q8) {
            spn_row_from_f32(type, &q8, x + 32 * g, 32);
            memcpy(tile + 2 * i, &q8.d, 2);
            deal(tile + 2 * SPN_KV_TILE, i, (const uint8_t *)q8.qs, 32, 1);
        }
        break;
    case SPN_TYPE_Q4_0:
        for (size_t g = 0; g < n_groups; g++, tile += GROUP_Q4) {
            spn_row_from_f32(type, &q4, x + 32 * g, 32);
            memcpy(tile + 2 * i, &q4.d, 2);
            deal(tile + 2 * SPN_KV_TILE, i, q4.qs, 16, 1);
        }
        break;
    default:
        store_half(tile, type, i, x, dim_k);
        break;
    }
}

void spn_k_tile_load(float *x, const uint8_t *tiles, spn_type type, size_t at, size_t dim_k) {
    const uint8_t *tile = tile_of(tiles, type, at, dim_k);
    size_t i = at % SPN_KV_TILE, n_groups = dim_k / 32;
    uint16_t half;
    spn_block_q8_0 q8;
    spn_block_q4_0 q4;
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
            gather(q4.qs, tile + 2 * SPN_KV_TILE, i, 16, 1);
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
