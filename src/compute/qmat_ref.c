/* qmat_ref.c - products with quantised weights in plain C: contract (3) of kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

/* The sums of one unit with the activations at block `at`. */
static int32_t unit_sum(const spn_quant_unit *unit, const spn_act *act, size_t at) {
    const int8_t *q = act->q + 32 * at;
    int32_t sum = 0;
    for (size_t i = 0; i < 32; i++) sum += unit->s[i] * q[i];
    return sum;
}

static int32_t unit_minima(const spn_quant_unit *unit, const spn_act *act, size_t at) {
    return unit->m[0] * act->sum[2 * at] + unit->m[1] * act->sum[2 * at + 1];
}

/* One row and one token, which begins at block `at` of the activations. */
static float product_in_blocks(const spn_quant_unit *units, size_t n_blocks, const spn_act *act,
                               size_t at, bool has_min) {
    float acc[4] = {0};
    for (size_t b = 0; b < n_blocks; b++) {
        const spn_quant_unit *unit = &units[b];
        float d = act->d[at + b], *sum = &acc[b % 4];
        *sum = fmaf((float)unit_sum(unit, act, at + b), unit->d * d, *sum);
        if (has_min) *sum = fmaf(unit->n, (float)unit_minima(unit, act, at + b) * d, *sum);
    }
    return (acc[0] + acc[2]) + (acc[1] + acc[3]);
}

static float product_in_groups(const spn_quant_unit *units, size_t n_blocks, const spn_act *act,
                               size_t at, bool has_min) {
    float acc = 0;
    for (size_t b = 0; b < n_blocks; b += 4) {
        float d = act->d[(at + b) / 4];
        int32_t sum = 0, minima = 0;
        for (size_t i = b; i < b + 4; i++) {
            sum += unit_sum(&units[i], act, at + i);
            if (has_min) minima += unit_minima(&units[i], act, at + i);
        }
        acc = fmaf((float)sum, units[b].d * d, acc);
        if (has_min) acc = fmaf(units[b].n, (float)minima * d, acc);
    }
    return acc;
}

/* One row of weights is decoded once, into the scratch, and meets every token there. */
static void matmul_quant(spn_type type, const spn_matmul_args *args, size_t begin, size_t end) {
    spn_quant_decode_fn decode = spn_quant_decoder(type);
    bool has_min = spn_quant_has_min(type), in_groups = spn_quant_has_groups(type);
    spn_quant_unit *units = args->scratch;
    size_t n_blocks = args->k / 32;
    for (size_t r = begin; r < end; r++) {
        for (size_t b = 0; b < n_blocks; b++) decode(&units[b], args->w + r * args->row_bytes, b);
        for (size_t t = 0; t < args->n_tokens; t++)
            args->y[t * args->ldy + r] = (in_groups ? product_in_groups : product_in_blocks)(
                units, n_blocks, &args->act, t * n_blocks, has_min);
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
