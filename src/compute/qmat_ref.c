/* qmat_ref.c - products with quantised weights in plain C: contract (3) of kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

/* One block's share of a product. */
static float block_product(const spn_quant_unit *unit, const spn_act *act, size_t at, bool has_min,
                           float acc) {
    const int8_t *q = act->q + 32 * at;
    int32_t sum = 0;
    for (size_t i = 0; i < 32; i++) sum += unit->s[i] * q[i];
    acc = fmaf((float)sum, unit->d * act->d[at], acc);
    if (!has_min) return acc;
    int32_t mins = unit->m[0] * act->sum[2 * at] + unit->m[1] * act->sum[2 * at + 1];
    return fmaf(unit->n, (float)mins * act->d[at], acc);
}

/* One row of weights is decoded once, into the scratch, and meets every token there. */
static void matmul_quant(spn_type type, const spn_matmul_args *args, size_t begin, size_t end) {
    spn_quant_decode_fn decode = spn_quant_decoder(type);
    bool has_min = spn_quant_has_min(type);
    spn_quant_unit *units = args->scratch;
    size_t n_blocks = args->k / 32;
    for (size_t r = begin; r < end; r++) {
        for (size_t b = 0; b < n_blocks; b++) decode(&units[b], args->w + r * args->row_bytes, b);
        for (size_t t = 0; t < args->n_tokens; t++) {
            float acc[4] = {0};
            for (size_t b = 0; b < n_blocks; b++)
                acc[b % 4] =
                    block_product(&units[b], &args->act, t * n_blocks + b, has_min, acc[b % 4]);
            args->y[t * args->ldy + r] = (acc[0] + acc[2]) + (acc[1] + acc[3]);
        }
    }
}

#define MATMUL(NAME)                                                                         \
    static void matmul_##NAME##_ref(const spn_matmul_args *args, size_t begin, size_t end) { \
        matmul_quant(SPN_TYPE_##NAME, args, begin, end);                                     \
    }
SPN_QUANT_TYPES(MATMUL)

void spn_qmat_init_ref(spn_kernels *table) {
#define SET_MATMUL(NAME) table->matmul[SPN_TYPE_##NAME] = matmul_##NAME##_ref;
    SPN_QUANT_TYPES(SET_MATMUL)
}
