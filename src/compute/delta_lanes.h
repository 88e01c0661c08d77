/* delta_lanes.h - the gated delta rule over 16 lanes; each level's delta_*.c includes it once.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Contract (7) of kernels.h. Columns of the state S do not meet: a block of them, DELTA_WIDE
 * registers wide, goes through all tokens of the call while it lies in a near cache. What a token
 * leaves and what the next one needs are one walk over the rows: for 16 elements of S a load, three
 * fma, a multiplication and a store, which is bound by multiplying, so at most 0.75 of the f32 loop
 * (measured: 0.61 with AVX-512, 0.70 with AVX2). A token alone takes two walks and is bound by
 * reading S from memory.
 */
#include "compute/kernels.h"

typedef struct delta_block {
    const spn_delta_args *args;
    size_t column, n_last; /* columns in the last register */
    v16 error[DELTA_WIDE]; /* beta (v - S^T k) of the token */
    v16 out[DELTA_WIDE];   /* S^T q */
    v16 seen[DELTA_WIDE];  /* S^T k of the token to come */
} delta_block;

static inline v16 delta_load(const float *x, int c, int wide, size_t n_last) {
    return c < wide - 1 || n_last == 16 ? v_load(x + 16 * c) : v_load_n(x + 16 * c, n_last);
}

static inline void delta_store(float *y, v16 x, int c, int wide, size_t n_last) {
    if (c < wide - 1 || n_last == 16)
        v_store(y + 16 * c, x);
    else
        v_store_n(y + 16 * c, x, n_last);
}

/* A walk over the rows of S: `update` by token t - 1, `ahead` for token t. */
static ALWAYS_INLINE void delta_walk(delta_block *block, size_t t, int wide, bool update,
                                     bool ahead) {
    const spn_delta_args *args = block->args;
    size_t d = args->d, n_last = block->n_last;
    const float *k = args->k + t * d, *q_old = args->q + (t - update) * d;
    const float *k_old = args->k + (t - update) * d;
    v16 decay = v_set1(ahead ? args->decay[t] : 1.0f);
    v16 error[DELTA_WIDE], out[DELTA_WIDE], seen[DELTA_WIDE];
    for (int c = 0; c < wide; c++) {
        error[c] = block->error[c];
        out[c] = seen[c] = v_zero();
    }
    for (size_t i = 0; i < d; i++) {
        float *s = args->state + i * d + block->column;
        v16 k_i = v_set1(ahead ? k[i] : 0), k_old_i = v_set1(k_old[i]), q_i = v_set1(q_old[i]);
        for (int c = 0; c < wide; c++) {
            v16 x = delta_load(s, c, wide, n_last);
            if (update) {
                x = v_fma(error[c], k_old_i, x);
                out[c] = v_fma(x, q_i, out[c]);
            }
            if (ahead) {
                x = v_mul(x, decay);
                seen[c] = v_fma(x, k_i, seen[c]);
            }
            delta_store(s, x, c, wide, n_last);
        }
    }
    for (int c = 0; c < wide; c++) {
        block->out[c] = out[c];
        block->seen[c] = seen[c];
    }
}

static ALWAYS_INLINE void delta_columns(const spn_delta_args *args, size_t column, int wide,
                                        size_t n_last) {
    delta_block block = {.args = args, .column = column, .n_last = n_last};
    delta_walk(&block, 0, wide, false, true);
    for (size_t t = 0; t < args->n_tokens; t++) {
        const float *v = args->v + t * args->ldv + column;
        v16 beta = v_set1(args->beta[t]);
        for (int c = 0; c < wide; c++)
            block.error[c] = v_mul(beta, v_sub(delta_load(v, c, wide, n_last), block.seen[c]));
        if (t + 1 < args->n_tokens)
            delta_walk(&block, t + 1, wide, true, true);
        else
            delta_walk(&block, t + 1, wide, true, false);
        for (int c = 0; c < wide; c++)
            delta_store(args->o + t * args->d + column, block.out[c], c, wide, n_last);
    }
}

static void LANES_NAME(delta)(const spn_delta_args *args) {
    size_t column = 0, step = 16 * DELTA_WIDE;
    for (; column + step <= args->d; column += step) delta_columns(args, column, DELTA_WIDE, 16);
    for (; column + 16 <= args->d; column += 16) delta_columns(args, column, 1, 16);
    if (column < args->d) delta_columns(args, column, 1, args->d - column);
}

void LANES_NAME(spn_delta_init)(spn_kernels *table) { table->delta = LANES_NAME(delta); }
