/* qmat_neon.c - quantised products with plain Advanced SIMD. SPDX-License-Identifier: Apache-2.0
 *
 * Two products of bytes fit 16 bits (2 * 128 * 127 = 32512 < 32768), so two steps are multiplied
 * into one register before it is added up: per 32 bytes four multiplies and two additions.
 */
#include <arm_neon.h>

typedef struct dot_acc {
    int32x4_t low, high; /* blocks 0 0 1 1 and 2 2 3 3 */
} dot_acc;

static inline dot_acc dot_zero(void) { return (dot_acc){vdupq_n_s32(0), vdupq_n_s32(0)}; }

static inline dot_acc dot_add(dot_acc acc, int8x16_t a, int8x16_t x, int8x16_t b, int8x16_t y) {
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(x)), high = vmull_high_s8(a, x);
    low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(y));
    high = vmlal_high_s8(high, b, y);
    return (dot_acc){vpadalq_s16(acc.low, low), vpadalq_s16(acc.high, high)};
}

static inline int32x4_t dot_sum(dot_acc acc) { return vpaddq_s32(acc.low, acc.high); }

#include "compute/qmat_arm.h"

void spn_qmat_init_neon(spn_kernels *table) { set_matmuls(table); }
