/* fmat_avx512bf16.c - float matrices' kernels with AVX-512 and its products of bfloat16:
 * fmat_lanes.h on lanes_avx512.h. SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx512.h"

#include "compute/fmat_lanes.h"
