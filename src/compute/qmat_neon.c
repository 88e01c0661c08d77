/* qmat_neon.c - quantised products with plain Advanced SIMD. SPDX-License-Identifier: Apache-2.0
 */
#include "compute/qmat_arm.h"

ARM_TYPES(ARM_MATMUL_ROWS)

void spn_qmat_init_neon(spn_kernels *table) { ARM_TYPES(ARM_SET) }
