/* fmat_ref.c - products with float weights in plain C: contract (4) of kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

static float dot_lanes(const float *a, const float *b, size_t n) {
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) lane[i % 16] = fmaf(a[i], b[i], lane[i % 16]);
    return spn_lane_fold(lane);
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
    matmul_float(SPN_TYPE_BF16, args, begin, end);
}

void spn_fmat_init_ref(spn_kernels *table) {
    table->matmul[SPN_TYPE_F32] = matmul_f32_ref;
    table->matmul[SPN_TYPE_F16] = matmul_f16_ref;
    table->matmul[SPN_TYPE_BF16] = matmul_bf16_ref;
}
