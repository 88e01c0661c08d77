/* delta_ref.c - the gated delta rule in plain C: contract (7) of kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/kernels.h"
#include "compute/vec_math.h"

/* Column j of S for one token; returns o_j. */
static float step_column(const spn_delta_args *args, size_t t, size_t j) {
    size_t d = args->d;
    const float *q = args->q + t * d, *k = args->k + t * d;
    float *s = args->state + j, seen = 0, out = 0;
    for (size_t i = 0; i < d; i++) {
        s[i * d] = s[i * d] * args->decay[t];
        seen = fmaf(s[i * d], k[i], seen);
    }
    float error = args->beta[t] * (args->v[t * args->ldv + j] - seen);
    for (size_t i = 0; i < d; i++) {
        s[i * d] = fmaf(error, k[i], s[i * d]);
        out = fmaf(s[i * d], q[i], out);
    }
    return out;
}

static void delta_ref(const spn_delta_args *args) {
    for (size_t t = 0; t < args->n_tokens; t++)
        for (size_t j = 0; j < args->d; j++) args->o[t * args->d + j] = step_column(args, t, j);
}

void spn_delta_init_ref(spn_kernels *table) { table->delta = delta_ref; }
