/* fmat_avx2.c - float matrices' kernels with AVX2: fmat_lanes.h on lanes_avx2.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx2.h"

#include "compute/fmat_lanes.h"
