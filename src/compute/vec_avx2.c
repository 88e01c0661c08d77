/* vec_avx2.c - vectors' kernels with AVX2: vec_lanes.h on lanes_avx2.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx2.h"

#include "compute/vec_lanes.h"
