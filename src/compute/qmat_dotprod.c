/* qmat_dotprod.c - quantised products with SDOT. SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_arm.h"

ARM_TYPES(ARM_MATMUL_ROWS)

void spn_qmat_init_dotprod(spn_kernels *table) { ARM_TYPES(ARM_SET) }
