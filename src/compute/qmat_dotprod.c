/* qmat_dotprod.c - quantised products with SDOT. SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

typedef int32x4_t dot_acc;

static inline dot_acc dot_zero(void) { return vdupq_n_s32(0); }

static inline dot_acc dot_add(dot_acc acc, int8x16_t a, int8x16_t x, int8x16_t b, int8x16_t y) {
    return vdotq_s32(vdotq_s32(acc, a, x), b, y);
}

static inline int32x4_t dot_sum(dot_acc acc) { return acc; }

#include "compute/qmat_arm.h"

void spn_qmat_init_dotprod(spn_kernels *table) { set_matmuls(table); }
