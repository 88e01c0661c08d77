/* fmat_ref.c - products with float weights in plain C: contract (4) of kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

/* Filled up with zeros, which makes a lane that has become -0 into +0. */
static float dot_lanes(const float *a, const float *b, size_t n) {
    float lane[16] = {0};
    for (size_t i = 0; i < (n + 15) / 16 * 16; i++)
        lane[i % 16] = i < n ? fmaf(a[i], b[i], lane[i % 16]) : lane[i % 16] + 0.0f;
    return spn_lane_fold(lane);
}

static float flushed(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }

static float bf16_at(const uint8_t *row, size_t i, size_t k) {
    uint16_t bits = 0;
    if (i < k) memcpy(&bits, row + 2 * i, sizeof bits);
    return flushed(spn_f32_of_bf16(bits));
}

/* With BF16 weights. */
static float dot_pairs(const uint8_t *w, const uint8_t *x, size_t k) {
    float lane[16] = {0};
    for (size_t i = 0; i < k; i += 32)
        for (size_t l = 0; l < 16; l++)
            for (size_t e = i + 2 * l + 2; e-- > i + 2 * l;)
                lane[l] = flushed(fmaf(bf16_at(w, e, k), bf16_at(x, e, k), lane[l]));
    for (size_t h = 8; h > 0; h /= 2)
        for (size_t l = 0; l < h; l++) lane[l] = flushed(lane[l] + lane[l + h]);
    return lane[0];
}

/* One row of weights is converted once, into the scratch, and meets every token there. */
static void matmul_float(spn_type type, const spn_matmul_args *args, size_t begin, size_t end) {
    float *row = args->scratch;
    for (size_t r = begin; r < end; r++) {
        spn_row_to_f32(type, row, args->w + r * args->row_bytes, args->k);
        for (size_t t = 0; t < args->n_tokens; t++)
            args->y[t * args->ldy + r] = dot_lanes(row, args->act.x + t * args->act.ldx, args->k);
    }
}

static void matmul_f32_ref(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul_float(SPN_TYPE_F32, args, begin, end);
}

static void matmul_f16_ref(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul_float(SPN_TYPE_F16, args, begin, end);
}

static void matmul_bf16_ref(const spn_matmul_args *args, size_t begin, size_t end) {
    for (size_t r = begin; r < end; r++)
        for (size_t t = 0; t < args->n_tokens; t++)
            args->y[t * args->ldy + r] =
                dot_pairs(args->w + r * args->row_bytes,
                          (const uint8_t *)(args->act.bf16 + t * args->k), args->k);
}

void spn_fmat_init_ref(spn_kernels *table) {
    table->matmul[SPN_TYPE_F32] = matmul_f32_ref;
    table->matmul[SPN_TYPE_F16] = matmul_f16_ref;
    table->matmul[SPN_TYPE_BF16] = matmul_bf16_ref;
}
