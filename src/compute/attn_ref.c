/* attn_ref.c - attention in plain C: contract (6) of kernels.h.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A block's K and V are converted into the scratch, position by position.
 */
#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

typedef struct attn_state {
    float m, l;
    float *o; /* [dim_v]: the output itself */
} attn_state;

/* Scores of positions [j, end) of the block into s[]. */
static float block_scores(const spn_attn_args *args, const float *q, const float *k, uint32_t n,
                          float m, float *s) {
    for (uint32_t j = 0; j < n; j++) {
        float sum = 0.0f;
        for (size_t e = 0; e < args->dim_k; e++) sum = fmaf(q[e], k[j * args->dim_k + e], sum);
        if (args->softcap != 0.0f) sum = spn_vm_tanh(sum / args->softcap) * args->softcap;
        s[j] = sum;
        m = spn_vm_max(m, sum);
    }
    return m;
}

/* Positions first <= j < end, all of one block of 64. */
static void attend_block(const spn_attn_args *args, const float *q, uint32_t first, uint32_t end,
                         attn_state *state) {
    float *k = args->scratch, *v = k + SPN_KV_BLOCK * args->dim_k, s[SPN_KV_BLOCK];
    float lane[16] = {0};
    uint32_t n = end - first, at = first % args->ring;
    for (uint32_t j = 0; j < n; j++) {
        spn_k_tile_load(k + j * args->dim_k, args->k, args->type_k, at + j, args->dim_k);
        spn_row_to_f32(args->type_v, v + j * args->dim_v, args->v + (at + j) * args->v_stride,
                       args->dim_v);
    }
    float m = block_scores(args, q, k, n, state->m, s);
    float c = state->m == -INFINITY ? 0.0f : spn_vm_exp(state->m - m);
    for (uint32_t j = 0; j < n; j++) {
        s[j] = s[j] == -INFINITY ? 0.0f : spn_vm_exp(s[j] - m);
        uint32_t l = (first + j) % 16;
        lane[l] = lane[l] + s[j];
    }
    state->m = m;
    state->l = fmaf(state->l, c, spn_lane_fold(lane));
    for (size_t e = 0; e < args->dim_v; e++) {
        float o = state->o[e] * c;
        for (uint32_t j = 0; j < n; j++) o = fmaf(s[j], v[j * args->dim_v + e], o);
        state->o[e] = o;
    }
}

static void attend_ref(const spn_attn_args *args) {
    for (size_t i = 0; i < args->n_q; i++) {
        attn_state state = {-INFINITY, 0.0f, args->out + i * args->ldo};
        if (args->sink) {
            state.m = args->sink[i];
            state.l = 1.0f;
        }
        memset(state.o, 0, args->dim_v * sizeof(float));
        uint64_t first = args->first[i], end = (uint64_t)args->last[i] + 1;
        while (first < end) {
            uint64_t next = first / SPN_KV_BLOCK * SPN_KV_BLOCK + SPN_KV_BLOCK;
            if (next > end) next = end;
            attend_block(args, args->q + i * args->ldq, (uint32_t)first, (uint32_t)next, &state);
            first = next;
        }
        float factor = state.l == 0.0f ? 0.0f : 1.0f / state.l;
        for (size_t e = 0; e < args->dim_v; e++)
            state.o[e] = state.l == 0.0f ? 0.0f : state.o[e] * factor;
    }
}

void spn_attn_init_ref(spn_kernels *table) { table->attend = attend_ref; }
