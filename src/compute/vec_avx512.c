/* vec_avx512.c - vectors' kernels with AVX-512: vec_lanes.h on lanes_avx512.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx512.h"

#include "compute/vec_lanes.h"
